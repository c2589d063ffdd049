"""The dashboard *Executors compared*: what running side by side buys, on each executor and number of workers.

Rules of this module:
- What is side by side comes from one run: the newest benchmark of each scenario in the time range.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Panel

from development.dashboards import panels as draw
from development.dashboards.layout import Row
from development.dashboards.panels import GREEN, ORANGE, RATIO, RED, SECONDS, TIMES, Look, Query
from harness.dashboards.grafana.queries import (
    CELL,
    CURVE,
    WHAT,
    by_cell,
    newest,
    of_one_run,
    one_for_each_worker_count,
    side_by_side,
    with_ideal,
    workers_as_value,
)
from harness.telemetry.metrics.metric_table import (
    CELL_LABELS,
    RUN_CRITICAL_PATH,
    RUN_EFFICIENCY,
    RUN_LOST,
    RUN_LOWER_BOUND,
    RUN_MAKESPAN,
    RUN_SCHEDULE_EFFICIENCY,
    RUN_SPEEDUP,
)

ONE_IS_BEST: Final = ((None, RED), (0.7, ORANGE), (0.9, GREEN))
MORE_THAN_ONE: Final = ((None, RED), (1.0, ORANGE), (1.1, GREEN))


def executors_compared() -> list[Row]:
    """Its rows."""
    return [
        Row("What running side by side buys", [_best(), _best_schedule(), _cells(), _speedup(), _efficiency()]),
        Row("What holds it back", [_bounds(), _lost()]),
        Row("All figures", [_figures()]),
    ]


def _best() -> Panel:
    look = Look(
        "What is the largest speedup?",
        "Serial makespan divided by makespan, of the cell where it is largest. Below 1 it is slower than one step at a "
        "time.",
        TIMES, width=8, height=4, limits=MORE_THAN_ONE, decimals=2,
    )  # fmt: skip
    return draw.figure(look, Query(f"topk(1, {by_cell(of_one_run(RUN_SPEEDUP))})", "{{cell}}"), name_too=True)


def _best_schedule() -> Panel:
    look = Look(
        "Which cell has the worst schedule?",
        "Lower bound divided by makespan, of the cell where it is lowest. 100 %: with these durations no order of "
        "starts is faster; only shorter steps, more workers or higher limits help.",
        RATIO, width=8, height=4, limits=ONE_IS_BEST, decimals=1,
    )  # fmt: skip
    worst = f"bottomk(1, {by_cell(of_one_run(RUN_SCHEDULE_EFFICIENCY))})"
    return draw.figure(look, Query(worst, "{{cell}}"), name_too=True)


def _cells() -> Panel:
    look = Look(
        "How many cells were measured?",
        "Combinations of scenario, executor, workers, policy and parameters in the time range.",
        draw.COUNT, width=8, height=4, decimals=0,
    )  # fmt: skip
    return draw.figure(look, Query(f"count({newest(RUN_MAKESPAN)})", "cells"))


def _speedup() -> Panel:
    look = Look(
        "How much faster is each executor than one step at a time?",
        "Serial makespan divided by makespan (median, paired per repetition) over the number of workers. The dashed "
        "line is ideal: twice the workers, twice as fast. A curve that bends away has run out of steps that could run.",
        TIMES, height=10,
    )  # fmt: skip
    return draw.over_workers(look, Query(with_ideal(of_one_run(RUN_SPEEDUP), workers_as_value())), series=CURVE)


def _efficiency() -> Panel:
    look = Look(
        "How much of each worker is used?",
        "Speedup divided by workers. The dashed line at 100 % is ideal; where a curve falls, further workers are "
        "idle.",
        RATIO, height=10,
    )  # fmt: skip
    return draw.over_workers(
        look, Query(with_ideal(of_one_run(RUN_EFFICIENCY), one_for_each_worker_count())), series=CURVE
    )


def _bounds() -> Panel:
    look = Look(
        "How far is each makespan from its lower bound?",
        "No schedule of the measured durations is shorter than the lower bound, and no number of workers goes below "
        "the critical path. What lies between makespan and lower bound is what scheduling could still gain.",
        SECONDS, height=14, colours={"makespan": draw.BLUE, "lower bound": draw.CALM, "critical path": draw.GREY},
    )  # fmt: skip
    shown = side_by_side(
        makespan=of_one_run(RUN_MAKESPAN),
        lower_bound=of_one_run(RUN_LOWER_BOUND),
        critical_path=of_one_run(RUN_CRITICAL_PATH),
    )
    return draw.bars(look, Query(shown), rows=CELL, columns=WHAT)


def _lost() -> Panel:
    look = Look(
        "Where does the time go?",
        "The makespan of each scenario and executor, split by cause along what led to its last end; the parts sum to "
        "it. `running` is work that the serial run needed too, `slowdown` what it took longer side by side.",
        SECONDS, height=14, colours=draw.CAUSES, least=None,
    )  # fmt: skip
    return draw.bars(look, Query(by_cell(of_one_run(RUN_LOST))), rows=CELL, columns="cause", stacked=True)


def _figures() -> Panel:
    look = Look(
        "What are the figures of each cell?",
        "The cells of the newest benchmark of each scenario in the time range, as they are in its JSON.",
        SECONDS, width=24, height=10, legend=False, least=None,
    )  # fmt: skip
    shown = (RUN_MAKESPAN, RUN_LOWER_BOUND, RUN_SPEEDUP, RUN_EFFICIENCY, RUN_SCHEDULE_EFFICIENCY)
    names = dict(zip(CELL_LABELS, CELL_LABELS, strict=True)) | {
        "Value #A": "makespan", "Value #B": "lower bound", "Value #C": "speedup", "Value #D": "efficiency",
        "Value #E": "schedule efficiency",
    }  # fmt: skip
    return draw.rows(
        look,
        [Query(of_one_run(metric), kind="instant") for metric in shown],
        names=names,
        hidden=["Time", "__name__"],
        units_of={"speedup": TIMES, "efficiency": RATIO, "schedule efficiency": RATIO},
    )

"""The dashboard *Trends*: runs over days and revisions, and whether schedule or work changed.

Rules of this module:
- A point is a run, at the time at which it ended. A mark is a revision that was not there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models.dashboard import Panel

from development.dashboards import panels as draw
from development.dashboards.layout import Row
from development.dashboards.links import run_link, trace_link
from development.dashboards.panels import COUNT, GREEN, ORANGE, RATIO, RED, SECONDS, TIMES, Look, Query
from harness.dashboards.grafana.profiles import Dialect
from harness.dashboards.grafana.queries import each_run, limit_line, runs_with_end
from harness.telemetry.metrics.metric_table import (
    CELL_LABELS,
    RUN_LOWER_BOUND,
    RUN_MAKESPAN,
    RUN_SCHEDULE_EFFICIENCY,
    RUN_SPEEDUP,
    RUN_STEP_OVERHEAD,
    MetricFamily,
)

_CELL: Final = "{{scenario}} {{executor}}@{{workers}} {{policy}} {{variant}}"
# What a curve is judged by: a name, the value and its colour.
ONE: Final = (("as fast as serial", 1.0, RED),)
LOW_IS_BAD: Final = (("good from 90 %", 0.9, GREEN), ("poor below 70 %", 0.7, ORANGE))


def trends(dialect: Dialect) -> list[Row]:
    """Its rows."""
    makespan = Look(
        "Did runs get slower?",
        "Makespan of every run (median over its repetitions). A step at a mark is a change; a single point is noise.",
        SECONDS,
    )  # fmt: skip
    speedup = Look(
        "Does running side by side still buy as much?",
        "Speedup of every benchmark. Below 1 it is slower than one step at a time.",
        TIMES, decimals=2,
    )  # fmt: skip
    schedule = Look(
        "Did the schedule get worse?",
        "Lower bound divided by makespan. If it falls while the lower bound stays, the schedule got worse, not the "
        "work.",
        RATIO, decimals=1,
    )  # fmt: skip
    work = Look(
        "Did the work get more?",
        "The lower bound: what the steps, workers and limits alone demand. If it rises, the work got slower, and no "
        "schedule helps.",
        SECONDS,
    )  # fmt: skip
    overhead = Look(
        "Does a step cost more to schedule?",
        "Overhead per step: between could start and did start with capacity free, and between its end and the engine "
        "knowing.",
        SECONDS,
    )  # fmt: skip
    return [
        Row("How fast", [_curve(makespan, RUN_MAKESPAN, dialect), _curve(speedup, RUN_SPEEDUP, dialect, ONE)]),
        Row(
            "Schedule or work",
            [_curve(schedule, RUN_SCHEDULE_EFFICIENCY, dialect, LOW_IS_BAD), _curve(work, RUN_LOWER_BOUND, dialect)],
        ),
        Row("Overhead, and the runs themselves", [_curve(overhead, RUN_STEP_OVERHEAD, dialect), _runs(dialect)]),
    ]


def _curve(
    look: Look, metric: MetricFamily, dialect: Dialect, limits: Sequence[tuple[str, float, str]] = ()
) -> Panel:  # fmt: skip
    queries = [Query(each_run(metric, dialect), _CELL)]
    queries += [Query(limit_line(metric, dialect, value), name) for name, value, _ in limits]
    return draw.time_series(look, queries, points=True, limits={name: colour for name, _, colour in limits})


def _runs(dialect: Dialect) -> Panel:
    look = Look(
        "Which runs are these?",
        "Every run of the chosen cells, when it ended, and its revision. A click on the run shows what happened in it, "
        "one on the trace id opens its trace.",
        COUNT, legend=False, least=None,
    )  # fmt: skip
    names = {"Value": "ended"} | {name: name for name in ("run_id", "revision", "trace_id", *CELL_LABELS, "machine")}
    return draw.rows(
        look,
        [Query(runs_with_end(dialect), kind=dialect.runs_query)],
        names=names,
        hidden=["Time", "__name__"],
        units_of={"ended": "dateTimeAsIso"},
        links={"run_id": [run_link()], "trace_id": [trace_link()]},
    )

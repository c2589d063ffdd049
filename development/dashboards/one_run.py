"""The dashboard *One run*: what happened within it, what it waited for, and the trace behind it.

Rules of this module:
- One cell is chosen. Curves show the whole time range; figures and totals are those of its newest run in it.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Panel

from development.dashboards import panels as draw
from development.dashboards.layout import Row
from development.dashboards.links import trace_link
from development.dashboards.panels import COUNT, GREEN, ORANGE, RATIO, RED, SECONDS, Look, Query
from harness.dashboards.grafana.profiles import Dialect
from harness.dashboards.grafana.queries import (
    NO_FAILURE,
    NO_WAIT,
    counts_by_duration,
    curve,
    lost_by_cause,
    newest,
    or_else,
    short_revision,
    total_by,
)
from harness.telemetry.metrics.metric_table import (
    CELL_LABELS,
    RESOURCE_CAPACITY,
    RESOURCE_IN_USE,
    RUN_CRITICAL_PATH,
    RUN_INFO,
    RUN_LOWER_BOUND,
    RUN_MAKESPAN,
    RUN_SCHEDULE_EFFICIENCY,
    STEP_ATTEMPTS,
    STEP_DURATION,
    STEP_FAILURES,
    STEP_RETRIES,
    STEP_WAIT,
    STEPS_READY,
    STEPS_RUNNING,
    TELEMETRY_LOST,
    WORKERS,
)

ONE_IS_BEST: Final = ((None, RED), (0.7, ORANGE), (0.9, GREEN))
NONE_IS_FINE: Final = ((None, GREEN), (1, RED))


def one_run(dialect: Dialect) -> list[Row]:
    """Its rows."""
    return [
        Row("The result", [_makespan(), _bound(), _critical_path(), _schedule(), _failed(), _unsent()]),
        Row("What happened", [_concurrency(dialect), _durations(dialect), _resources(dialect), _lost()]),
        Row("What went wrong, and what was waited for", [_waits(), _failures(), _retries(), _results()]),
        Row("Behind it", [_traces()]),
    ]


def _small(question: str, description: str, unit: str, **more: object) -> Look:
    return Look(question, description, unit, width=4, height=4, **more)  # type: ignore[arg-type]  # passed on as named


def _makespan() -> Panel:
    look = _small(
        "How long did it take?", "Makespan: from the first start to the last end, median over repetitions.", SECONDS
    )
    return draw.figure(look, Query(newest(RUN_MAKESPAN), "makespan"))


def _bound() -> Panel:
    look = _small(
        "How short could it have been?", "Lower bound: no schedule of the measured durations is shorter.", SECONDS
    )
    return draw.figure(look, Query(newest(RUN_LOWER_BOUND), "lower bound"))


def _schedule() -> Panel:
    look = _small(
        "Was it scheduled well?",
        "Lower bound divided by makespan. Near 100 % the steps, workers and limits hold it back, not the order of "
        "starts.",
        RATIO, limits=ONE_IS_BEST, decimals=1,
    )  # fmt: skip
    return draw.figure(look, Query(newest(RUN_SCHEDULE_EFFICIENCY), "schedule efficiency"))


def _critical_path() -> Panel:
    look = _small(
        "How long is its longest chain?",
        "Critical path: the longest chain of dependent steps. No number of workers goes below it.",
        SECONDS,
    )  # fmt: skip
    return draw.figure(look, Query(newest(RUN_CRITICAL_PATH), "critical path"))


def _failed() -> Panel:
    look = _small("Did attempts fail?", "Attempts at steps that did not succeed, retried ones included.", COUNT,
                  limits=NONE_IS_FINE, decimals=0)  # fmt: skip
    failed = newest(STEP_ATTEMPTS, labels='result!="succeeded"')
    return draw.figure(look, Query(f"sum({failed})", "attempts"))


def _unsent() -> Panel:
    look = _small(
        "Is the record whole?",
        "Spans that could not be delivered. Unless it is 0, the trace lacks steps: `makespan dashboards push` sends "
        "the run again from the store.",
        COUNT, limits=NONE_IS_FINE, decimals=0,
    )  # fmt: skip
    return draw.figure(look, Query(f"sum({newest(TELEMETRY_LOST)})", "spans lost"))


def _concurrency(dialect: Dialect) -> Panel:
    look = Look(
        "How many steps ran at each moment, and how many could have?",
        "Running against workers: below that line workers are idle. Ready steps that wait while workers are idle "
        "wait for a limit, a lock or a barrier.",
        COUNT, colours={"workers": draw.GREY, "running": draw.CALM, "ready": draw.LATE}, decimals=0,
    )  # fmt: skip
    queries = [
        Query(curve(STEPS_RUNNING, dialect), "running"),
        Query(curve(STEPS_READY, dialect), "ready"),
        Query(curve(WORKERS, dialect), "workers"),
    ]
    return draw.time_series(look, queries, steps=True, fill=15, interval=dialect.curve_interval)


def _durations(dialect: Dialect) -> Panel:
    look = Look(
        "How long did steps take?",
        "How many attempts of each duration had ended by then. Where the server keeps exemplars, each dot is an "
        "attempt: a click on it opens its trace.",
        SECONDS,
    )  # fmt: skip
    query = Query(counts_by_duration(STEP_DURATION, dialect), "{{le}}", exemplars=dialect.exemplars)
    return draw.heat_map(look, query, interval=dialect.curve_interval)


def _resources(dialect: Dialect) -> Panel:
    look = Look(
        "Which limit is used up?",
        "Units of each resource in use, against its capacity, dashed. Workers are a limit too. A curve that lies on "
        "its capacity is what the run waits for.",
        COUNT, decimals=0,
    )  # fmt: skip
    queries = [
        Query(curve(RESOURCE_IN_USE, dialect), "{{resource}} in use"),
        Query(curve(RESOURCE_CAPACITY, dialect), "{{resource}} capacity"),
        Query(curve(STEPS_RUNNING, dialect), "workers in use"),
        Query(curve(WORKERS, dialect), "workers capacity"),
    ]
    return draw.time_series(look, queries, steps=True, interval=dialect.curve_interval, dashed=".* capacity")


def _lost() -> Panel:
    look = Look(
        "Where did the time go?",
        "The makespan split by cause along what led to its last end; the parts sum to it.",
        SECONDS, colours=draw.CAUSES, least=None,
    )  # fmt: skip
    return draw.bars(look, Query(lost_by_cause()), rows="executor", columns="cause", stacked=True)


def _waits() -> Panel:
    look = Look(
        "What did ready steps wait for?",
        "Seconds between ready and granted, of all attempts together: more than the run is long, where many wait at "
        "once.",
        SECONDS, width=6,
    )  # fmt: skip
    waited = or_else(f"{total_by(STEP_WAIT, 'reason', suffix='_sum')} != 0", "reason", NO_WAIT)
    return draw.lengths(look, Query(waited, "{{reason}}"))


def _retries() -> Panel:
    look = Look(
        "Why were attempts repeated?",
        "Attempts after the first, by the result of the one before.",
        COUNT, width=6, decimals=0,
    )  # fmt: skip
    return draw.lengths(look, Query(total_by(STEP_RETRIES, "reason"), "{{reason}}"))


def _failures() -> Panel:
    look = Look(
        "Why did attempts fail?",
        "Failed attempts, by the type of the error and what a service answered.",
        COUNT, width=6, decimals=0,
    )  # fmt: skip
    failed = or_else(total_by(STEP_FAILURES, "error_type, http_status_code"), "error_type", NO_FAILURE)
    return draw.lengths(look, Query(failed, "{{error_type}} {{http_status_code}}"))


def _results() -> Panel:
    look = Look("Which tools failed?", "Attempts that ended, by tool and by result.", COUNT, width=6, decimals=0,
                colours={"succeeded": draw.CALM, "failed": draw.BAD, "timed_out": draw.BUSY})  # fmt: skip
    counted = f"sum by (tool, result) ({newest(STEP_ATTEMPTS)})"
    return draw.bars(look, Query(counted), rows="tool", columns="result", stacked=True)


def _traces() -> Panel:
    look = Look(
        "Which runs are these, and where are their traces?",
        "Every run of this cell in the time range. A click on the trace id opens the trace. A run without one was not "
        "traced.",
        COUNT, width=24, height=7, legend=False, least=None,
    )  # fmt: skip
    names = {name: name for name in ("run_id", "trace_id", "revision", "machine", *CELL_LABELS)}
    return draw.rows(
        look,
        [Query(short_revision(newest(RUN_INFO)), kind="instant")],
        names=names,
        hidden=["Time", "Value", "__name__"],
        links={"trace_id": [trace_link()]},
    )

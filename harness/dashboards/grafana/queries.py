"""PromQL for panels: small functions that return its text.

Rules of this module:
- Figures of a run are one sample at its end, so they are read by `last_over_time`. Never by `increase()`, which
  extrapolates: a total that is off by a few per cent is worse than none.
- What Grafana fills in ($scenario, $__range, …) is in the text as it is.
"""

from __future__ import annotations

from typing import Final

from harness.dashboards.grafana.profiles import Dialect
from harness.telemetry.metrics.metric_table import (
    CELL_LABELS,
    DEFAULT_VARIANT,
    RUN_COMPARED,
    RUN_COMPLETED,
    RUN_EFFICIENCY,
    RUN_INFO,
    RUN_LOST,
    RUN_LOST_COMPLETED,
    RUN_MAKESPAN,
    RUN_SPEEDUP,
    MetricFamily,
)

# Not $__range, which is rounded to seconds: a run may take less.
_RANGE: Final = "${__range_ms}ms"
CHOSEN: Final = ",".join(f'{label}=~"${label}"' for label in CELL_LABELS)
# How a cell is named where several are shown, and how its labels are joined to that name.
CELL: Final = "cell"
CURVE: Final = "series"
WHAT: Final = "what"
IDEAL: Final = "ideal"
NO_WAIT: Final = "no wait"
NO_FAILURE: Final = "no failure"
REVISION_CHARACTERS: Final = 10


def selector(metric: MetricFamily, suffix: str = "", labels: str = "") -> str:
    """The samples of the cells that are chosen above the dashboard. ``labels``: further matchers."""
    return f"{metric.name}{suffix}{{{CHOSEN}{',' if labels else ''}{labels}}}"


def exactly(expression: str) -> str:
    """The same where one value of each label is chosen: Grafana leaves characters of regular expressions in it as they
    are.
    """
    return expression.replace('=~"$', '="$')


def newest(metric: MetricFamily, suffix: str = "", labels: str = "") -> str:
    """Of each cell the last value in the time range of the dashboard: its newest run."""
    return f"last_over_time({selector(metric, suffix, labels)}[{_RANGE}])"


def lost_by_cause() -> str:
    """Of each cell how its newest run lost its time. A cause that this run cannot have, a limit of an earlier one, has
    its newest value from that one; runs that were sent by an earlier version do not say which they are.
    """
    cell = ", ".join(CELL_LABELS)
    lost, completed = f"{newest(RUN_LOST)} != 0", newest(RUN_LOST_COMPLETED)
    last = f"{completed} == on ({cell}) group_left () max by ({cell}) ({newest(RUN_COMPLETED)})"
    return f"(({lost}) and ({last})\nor\n({lost}) unless on ({cell}) {completed})"


def of_one_run(metric: MetricFamily) -> str:
    """The values of the cells of one benchmark, the newest of each scenario. Where nothing was compared, those of each
    cell's newest run. A cell that ran again by itself since has only its speedup and efficiency from that benchmark.
    """
    cell = ", ".join(CELL_LABELS)
    expression = lost_by_cause() if metric is RUN_LOST else newest(metric)
    compared, completed = (f"max by ({cell}) ({newest(each)})" for each in (RUN_COMPARED, RUN_COMPLETED))
    last = f"{compared} == on (scenario) group_left () max by (scenario) ({compared})"
    chosen = f"{expression} and on ({cell}) ({last})"
    if metric not in (RUN_SPEEDUP, RUN_EFFICIENCY):
        chosen = f"{chosen} and on ({cell}) ({completed} <= {compared})"
    return f"({chosen}\nor\n{expression} unless on (scenario) {compared})"


def each_run(metric: MetricFamily, dialect: Dialect) -> str:
    """Every run, at the time at which it ended."""
    return f"last_over_time({selector(metric)}[{dialect.window}])"


def curve(metric: MetricFamily, dialect: Dialect) -> str:
    """What went on within a run: the most in each step of the time axis, so that nothing is missed from far away."""
    return f"max_over_time({selector(metric)}[{dialect.window}])"


def counts_by_duration(metric: MetricFamily, dialect: Dialect) -> str:
    """The buckets of a histogram as they filled."""
    samples = selector(metric, "_bucket")
    last = f"sum by (le) (last_over_time({samples}[{dialect.window}]))"
    # Closer than samples lie apart, the short lookback fills the gaps; from far away it would miss whole runs.
    return f"sum by (le) ({samples})\nor\n{last}" if dialect.profile == "own" else last


def total_by(metric: MetricFamily, label: str, suffix: str = "") -> str:
    """The totals of the newest run, by a label."""
    return f"sum by ({label}) ({newest(metric, suffix)})"


def or_else(expression: str, label: str, text: str) -> str:
    """The expression; where it finds nothing, 0 under a label that says so: nothing is an answer too."""
    nothing = f'label_replace(max({newest(RUN_MAKESPAN)}) * 0, "{label}", "{text}", "", "")'
    return f"{expression}\nor\n({nothing} unless on () {expression})"


def runs_with_end(dialect: Dialect) -> str:
    """Every run with its labels; the value is when it ended, milliseconds since 1970."""
    if dialect.profile == "own":
        info, ended = each_run(RUN_INFO, dialect), each_run(RUN_COMPLETED, dialect)
        return short_revision(f"{info} * on ({', '.join(CELL_LABELS)}) group_left () {ended} * 1000")
    # A text file shows a run until the next one: the first time at which it was seen is nearest to its end.
    seen = f"min_over_time(timestamp({selector(RUN_INFO)})[{_RANGE}:1m]) * 1000"
    info, ended = newest(RUN_INFO), newest(RUN_COMPLETED)
    return short_revision(f"{seen}\nor\n{info} * on ({', '.join(CELL_LABELS)}) group_left () {ended} * 1000")


def short_revision(expression: str) -> str:
    """With revisions as people write them: Grafana cannot cut a label."""
    first = f"(.{{{REVISION_CHARACTERS}}}).*"
    return f'label_replace({expression}, "revision", "$1", "revision", "{first}")'


def limit_line(metric: MetricFamily, dialect: Dialect, value: float) -> str:
    """A constant that values are judged by, wherever there are values."""
    return f"max({each_run(metric, dialect)}) * 0 + {value:g}"


def by_cell(expression: str) -> str:
    """With a label that names the cell: ``jokes threads@4 dataflow n=4``; the default variant is left out."""
    place = f'label_join({expression}, "{CELL}", "@", "executor", "workers")'
    named = f'label_join({place}, "{CELL}", " ", "scenario", "{CELL}", "policy", "variant")'
    return f'label_replace({named}, "{CELL}", "$1", "{CELL}", "(.*) {DEFAULT_VARIANT}")'


def by_curve(expression: str) -> str:
    """With a label that names the cell but for its workers, which are on the axis: ``jokes threads dataflow``."""
    named = f'label_join({expression}, "{CURVE}", " ", "scenario", "executor", "policy", "variant")'
    return f'label_replace({named}, "{CURVE}", "$1", "{CURVE}", "(.*) {DEFAULT_VARIANT}")'


def side_by_side(**expressions: str) -> str:
    """Several figures of each cell, distinguished by a label; underscores in their names become spaces."""
    parts = [
        f'label_replace({by_cell(expression)}, "{WHAT}", "{name.replace("_", " ")}", "", "")'
        for name, expression in expressions.items()
    ]
    return "\nor\n".join(parts)


def with_ideal(expression: str, ideal: str) -> str:
    """Curves over workers, and the ideal one that they are compared with."""
    return f'{by_curve(expression)}\nor\nlabel_replace({ideal}, "{CURVE}", "{IDEAL}", "", "")'


def workers_as_value() -> str:
    """The number of workers as a value, for each number that was measured: speedup divided by efficiency."""
    return f"round(max by (workers) ({of_one_run(RUN_SPEEDUP)} / {of_one_run(RUN_EFFICIENCY)}))"


def one_for_each_worker_count() -> str:
    """1 for each number of workers that was measured."""
    return f"max by (workers) ({of_one_run(RUN_EFFICIENCY)} * 0) + 1"

"""The metrics that an expectation may name, and their values in one result.

Rules of this module:
- What the document states with an interval is taken from there, so that a verdict and a table never disagree.
- What it states for each repetition gets an interval of its own; what it states once has none.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.expectations.expectation import Metric
from harness.statistics import Interval, interval

Result = Mapping[str, Any]

LOST: Final = "lost."
LOST_KINDS: Final = ("resource.", "lock.", "rate.")
_FIRST_TOKEN: Final = "makespan.first_token_seconds"  # noqa: S105 - a name, no secret
AGGREGATE: Final = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)|median|mean|min|max")


class NotMeasuredError(Exception):
    """The document does not hold the figure; the message says why, and what to do."""


def measure(metric: Metric, result: Result) -> Interval:
    """The value in one entry of ``results``, with its interval where there is one.

    Raises:
        NotMeasuredError: the document does not hold it.

    """
    if metric.aggregate is not None:
        return Interval(_aggregated(metric.aggregate, _values(metric, result)))
    if metric.name in _ESTIMATES:
        return _ESTIMATES[metric.name](result)
    if metric.name in _ONCE:
        return Interval(_number(metric.name, _ONCE[metric.name](result)))
    return interval(_values(metric, result))


def _values(metric: Metric, result: Result) -> list[float]:
    if metric.name in _OF_STEPS:
        values = _OF_STEPS[metric.name](result)
        if not values:
            why = "no model answered piece by piece" if metric.name == "first_token_seconds" else "no step ran"
            raise NotMeasuredError(f"{metric.name} was not measured: {why}")
        return values
    if metric.name.startswith(LOST):
        return _lost(metric, result)
    return [_number(metric.name, _OF_SAMPLES[metric.name](sample)) for sample in result["samples"]]


def _lost(metric: Metric, result: Result) -> list[float]:
    cause = metric.name.removeprefix(LOST)
    seconds = [float(sample["lost_seconds"].get(cause, 0.0)) for sample in result["samples"]]
    if not metric.share:
        return seconds
    whole = [float(sample["makespan_seconds"]) for sample in result["samples"]]
    return [part / total if total > 0 else 0.0 for part, total in zip(seconds, whole, strict=True)]


def _number(name: str, value: Any) -> float:
    if value is None:
        raise NotMeasuredError(f"{name} was not measured in this run")
    return float(value)


def _estimate(name: str, result: Result) -> Interval:
    stated = result[name]
    if stated is None:
        raise NotMeasuredError(f"{name} needs a serial run to compare with: measure it with `makespan bench`")
    ends = stated["ci95"] or (None, None)
    return Interval(stated["median"], *ends)


def _efficiency(result: Result) -> Interval:
    speedup, workers = _estimate("speedup_ratio", result), result["workers"]
    if workers < 1:
        raise NotMeasuredError("efficiency_ratio is not defined without workers")
    if speedup.low is None or speedup.high is None:
        return Interval(speedup.median / workers)
    return Interval(speedup.median / workers, speedup.low / workers, speedup.high / workers)


def _speedup(sample: Result) -> float:
    if sample["baseline_seconds"] is None:
        raise NotMeasuredError("speedup_ratio needs a serial run to compare with: measure it with `makespan bench`")
    if sample["makespan_seconds"] <= 0:
        raise NotMeasuredError("speedup_ratio is not defined for a run without length")
    return float(sample["baseline_seconds"] / sample["makespan_seconds"])


def _schedule_efficiency(sample: Result) -> float | None:
    whole = sample["makespan_seconds"]
    return sample["lower_bound_seconds"] / whole if whole > 0 else None


def _errors(result: Result) -> int:
    """Failed steps: the most of any repetition where each says it, else of the one that is shown."""
    if all("errors" in sample for sample in result["samples"]):
        return max(int(sample["errors"]) for sample in result["samples"])
    return sum(1 for step in result["steps"] if step["status"] == "failed")


def _wait_seconds(result: Result) -> list[float]:
    """Of each attempt: all that it waited for before it was granted, and to go on after nested calls."""
    return [
        math.fsum(wait["to"] - wait["from"] for wait in attempt["waits"])
        for step in result["steps"]
        for attempt in step["attempts"]
    ]


def _duration_seconds(result: Result) -> list[float]:
    """Of each attempt that ended: its run time, less blocked and resuming."""
    return [
        attempt["ended"]
        - attempt["started"]
        - math.fsum(blocked["to"] - blocked["from"] for blocked in attempt["blocked"])
        - math.fsum(wait["to"] - wait["from"] for wait in attempt["waits"] if wait["from"] >= attempt["started"])
        for step in result["steps"]
        for attempt in step["attempts"]
        if attempt["ended"] is not None and attempt["started"] is not None
    ]


def _first_token_seconds(result: Result) -> list[float]:
    """Of each attempt whose model answered piece by piece: from its request to the first text."""
    facts = (attempt.get("facts", {}) for step in result["steps"] for attempt in step["attempts"])
    return [float(found[_FIRST_TOKEN]) for found in facts if _FIRST_TOKEN in found]


def _aggregated(aggregate: str, values: Sequence[float]) -> float:
    named: dict[str, Callable[[Sequence[float]], float]] = {
        "median": statistics.median, "mean": statistics.fmean, "min": min, "max": max,
    }  # fmt: skip
    if aggregate in named:
        return float(named[aggregate](values))
    return _quantile(values, float(aggregate.removeprefix("p")) / 100)


def _quantile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest (Hyndman and Fan's definition 7, "Sample quantiles in statistical packages", The
    American Statistician 50, 1996), as NumPy does it.
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


_ESTIMATES: Final[dict[str, Callable[[Result], Interval]]] = {
    "makespan_seconds": lambda result: _estimate("makespan_seconds", result),
    "speedup_ratio": lambda result: _estimate("speedup_ratio", result),
    "efficiency_ratio": _efficiency,
}
_OF_SAMPLES: Final[dict[str, Callable[[Result], float | None]]] = {
    "makespan_seconds": lambda sample: sample["makespan_seconds"],
    "speedup_ratio": _speedup,
    "baseline_seconds": lambda sample: sample["baseline_seconds"],
    "work_seconds": lambda sample: sample["work_seconds"],
    "lower_bound_seconds": lambda sample: sample["lower_bound_seconds"],
    "schedule_efficiency_ratio": _schedule_efficiency,
}
_ONCE: Final[dict[str, Callable[[Result], Any]]] = {
    "errors": _errors,
    "cpu_seconds": lambda result: result["cpu_seconds"],
    "critical_path_seconds": lambda result: result["critical_path_seconds"],
    "overhead_seconds_per_step": lambda result: result["overhead_seconds_per_step"],
    "startup_seconds": lambda result: result["startup_seconds"],
    "concurrency.mean": lambda result: result["concurrency"]["mean"],
    "concurrency.max": lambda result: result["concurrency"]["max"],
}
_OF_STEPS: Final[dict[str, Callable[[Result], list[float]]]] = {
    "step_wait_seconds": _wait_seconds,
    "step_duration_seconds": _duration_seconds,
    "first_token_seconds": _first_token_seconds,
}
# Names of many values only mean something in brackets: p95(step_wait_seconds).
ONLY_AGGREGATED: Final = frozenset(_OF_STEPS)
MAY_BE_AGGREGATED: Final = frozenset(_OF_SAMPLES) | ONLY_AGGREGATED
METRICS: Final = tuple(sorted({*_ESTIMATES, *_OF_SAMPLES, *_ONCE, *_OF_STEPS}))

"""The figures of a cell that are compared: one number of each for a repetition, or for a run of a baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from harness.analysis.families import Family, asked_in, families
from harness.statistics import Change, paired_change, predicted_change, unpaired_change

# Two independent sets of repetitions; repetitions in pairs; one run against single figures of earlier runs.
Method = Literal["unpaired", "paired", "against history"]
Sample = Mapping[str, Any]


def _ratio(over: str, under: str) -> Callable[[Sample], float | None]:
    def ratio(sample: Sample) -> float | None:
        above, below = sample.get(over), sample.get(under)
        return None if above is None or not below else float(above) / float(below)

    return ratio


def _seconds(name: str) -> Callable[[Sample], float | None]:
    return lambda sample: None if sample.get(name) is None else float(sample[name])


_READ: Final[dict[str, Callable[[Sample], float | None]]] = {
    "makespan": _seconds("makespan_seconds"),
    "work": _seconds("work_seconds"),
    "lower_bound": _seconds("lower_bound_seconds"),
    "baseline": _seconds("baseline_seconds"),
    "speedup": _ratio("baseline_seconds", "makespan_seconds"),
    "schedule_efficiency": _ratio("lower_bound_seconds", "makespan_seconds"),
}
METRICS: Final = tuple(_READ)


@dataclass(frozen=True, slots=True)
class Figures:
    """``values[metric]`` in order of time; empty where not every repetition has it. ``lost_seconds`` as in the
    document, one map for each. ``run_seconds``: of each step, the median over the repetitions, or in the one that is
    shown where only that shows it. ``families``: steps that are alike.
    """

    values: Mapping[str, Sequence[float]]
    lost_seconds: Sequence[Mapping[str, float]]
    run_seconds: Mapping[str, float] = field(default_factory=dict)
    families: tuple[Family, ...] = ()

    def __len__(self) -> int:
        return len(self.values["makespan"])

    def median(self, metric: str) -> float:
        """The median of a metric; NaN where it was not measured."""
        values = self.values[metric]
        return statistics.median(values) if values else math.nan

    def lost_median(self, cause: str) -> float:
        """The median of the seconds lost to a cause."""
        return statistics.median(float(lost.get(cause, 0.0)) for lost in self.lost_seconds)


def figures_of(results: Sequence[Mapping[str, Any]]) -> Figures:
    """The figures of all entries of ``results`` that are the same cell (usually one)."""
    samples = [sample for result in results for sample in result["samples"]]
    read = {name: [reader(sample) for sample in samples] for name, reader in _READ.items()}
    return Figures(
        values={name: [value for value in values if value is not None] if None not in values else []
                for name, values in read.items()},
        lost_seconds=[sample["lost_seconds"] for sample in samples],
        run_seconds=_median_run_seconds(results),
        families=_families(results[-1]["steps"]),
    )  # fmt: skip


def _median_run_seconds(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    known = [sample["step_seconds"] for result in results for sample in result["samples"] if sample.get("step_seconds")]
    if not known:
        return _run_seconds(results[-1]["steps"])
    step_ids = dict.fromkeys(step_id for one in known for step_id in one)
    return {step_id: statistics.median(one[step_id] for one in known if step_id in one) for step_id in step_ids}


def _families(steps: Sequence[Mapping[str, Any]]) -> tuple[Family, ...]:
    tools = {step["step_id"]: step.get("tool") for step in steps}
    asked = {}
    for step in steps:
        for attempt in step.get("attempts", ()):
            found = asked_in(attempt.get("facts") or {})
            if found is not None:
                asked[step["step_id"]] = found
    return tuple(families(tools, tools, asked))


def baseline_of(runs: Sequence[Figures]) -> Figures:
    """One figure for each of several runs: its median."""
    causes = sorted({cause for run in runs for lost in run.lost_seconds for cause in lost})
    return Figures(
        values={name: [run.median(name) for run in runs] if all(run.values[name] for run in runs) else []
                for name in METRICS},
        lost_seconds=[{cause: run.lost_median(cause) for cause in causes} for run in runs],
        run_seconds=runs[-1].run_seconds,
        families=runs[-1].families,
    )  # fmt: skip


def change_of(before: Figures, after: Figures, metric: str, method: Method) -> Change | None:
    """How a metric changed; None where it was not measured on both sides, or is 0 somewhere."""
    old, new = before.values[metric], after.values[metric]
    if not old or not new or min(old) <= 0 or min(new) <= 0:
        return None
    if method == "paired":
        return paired_change(old, new)
    return predicted_change(old, new) if method == "against history" else unpaired_change(old, new)


def _run_seconds(steps: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Started to ended, less blocked and resuming, over all attempts of each step."""
    return {step["step_id"]: math.fsum(map(_attempt_seconds, step.get("attempts", ()))) for step in steps}


def _attempt_seconds(attempt: Mapping[str, Any]) -> float:
    started, ended = attempt["started"], attempt["ended"]
    if started is None or ended is None:
        return 0.0
    blocked = math.fsum(one["to"] - one["from"] for one in attempt["blocked"])
    resuming = math.fsum(one["to"] - one["from"] for one in attempt["waits"] if one["from"] >= started)
    return float(ended - started - blocked - resuming)

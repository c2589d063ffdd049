"""All figures of one run together, in seconds and ratios.

Rules of this module:
- Figures come from integer nanoseconds, each divided once. A figure that is not defined is None.
- What needs another run to compare with (speedup, efficiency, slowdown) is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from executor.record.timeline import NANOSECONDS, Timeline
from harness.analysis.attempt_index import AttemptIndex
from harness.analysis.cautions import Caution, cautions
from harness.analysis.concurrency import concurrency
from harness.analysis.critical_path import CriticalPath, critical_path
from harness.analysis.lost_time import RUNNING, lost_nanoseconds
from harness.analysis.lower_bound import lower_bound
from harness.analysis.overhead import overhead_nanoseconds_per_step
from harness.analysis.work import cpu_seconds, work_nanoseconds

Key = TypeVar("Key", int, str)


@dataclass(frozen=True, slots=True)
class CriticalStep:
    """A step's part of the critical path: seconds, and the share of the whole path (None if that has no length)."""

    step_id: str
    seconds: float
    share_ratio: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in figures.

    ``steps_run`` counts steps with at least one attempt. ``concurrency_seconds[n]``: for how long exactly n attempts
    ran. ``binding_bound`` names the largest of ``lower_bound_terms``: ``critical_path``, ``work``, ``resource.X``,
    ``rate.X``, ``tokens.X``. ``lost_seconds`` sum to the makespan, largest first; ``largest_lost_cause`` is the
    largest but ``running``, None where nothing was lost. ``cpu_seconds`` is None where nobody measured them.
    """

    makespan_seconds: float
    work_seconds: float
    steps_run: int
    attempts: int
    concurrency_mean: float | None
    concurrency_max: int
    concurrency_seconds: Mapping[int, float]
    critical_path_seconds: float
    critical_path: tuple[CriticalStep, ...]
    lower_bound_seconds: float
    lower_bound_terms: Mapping[str, float]
    binding_bound: str | None
    schedule_efficiency_ratio: float | None
    overhead_seconds_per_step: float | None
    lost_seconds: Mapping[str, float]
    largest_lost_cause: str | None
    cpu_seconds: float | None
    cautions: tuple[Caution, ...]


def summary(
    timeline: Timeline, *, usable_cores: int | None = None, foreign: bool = False, index: AttemptIndex | None = None
) -> Summary:
    """Every figure of a run. O(attempts · log attempts).

    ``usable_cores`` belongs to the machine that ran it; ``foreign`` says that the trace was made elsewhere and may
    lack ``released_by``; ``index`` saves building it again.

    Raises:
        ValueError: the timeline's dependencies form a cycle.

    """
    index = index or AttemptIndex(timeline)
    path = critical_path(timeline, index)
    bound = lower_bound(timeline, index, path.nanoseconds)
    levels = concurrency(timeline, index)
    lost = lost_nanoseconds(timeline, index, foreign=foreign)
    overhead = overhead_nanoseconds_per_step(timeline, index)
    return Summary(
        makespan_seconds=index.makespan / NANOSECONDS,
        work_seconds=work_nanoseconds(timeline, index) / NANOSECONDS,
        steps_run=sum(1 for tries in index.tries if tries),
        attempts=len(index.ended),
        concurrency_mean=levels.mean,
        concurrency_max=levels.maximum,
        concurrency_seconds=_in_seconds(levels.nanoseconds_at),
        critical_path_seconds=path.nanoseconds / NANOSECONDS,
        critical_path=_shares(path),
        lower_bound_seconds=bound.nanoseconds / NANOSECONDS,
        lower_bound_terms=_in_seconds(bound.terms),
        binding_bound=bound.binding,
        schedule_efficiency_ratio=bound.nanoseconds / index.makespan if index.makespan else None,
        overhead_seconds_per_step=None if overhead is None else overhead / NANOSECONDS,
        lost_seconds=_in_seconds(lost),
        largest_lost_cause=next((cause for cause in lost if cause != RUNNING), None),
        cpu_seconds=cpu_seconds(timeline),
        cautions=cautions(timeline, index, levels, usable_cores=usable_cores, foreign=foreign),
    )


def _in_seconds(nanoseconds: Mapping[Key, int]) -> dict[Key, float]:
    return {key: value / NANOSECONDS for key, value in nanoseconds.items()}


def _shares(path: CriticalPath) -> tuple[CriticalStep, ...]:
    whole = path.nanoseconds
    return tuple(
        CriticalStep(part.step_id, part.nanoseconds / NANOSECONDS, part.nanoseconds / whole if whole else None)
        for part in path.parts
    )

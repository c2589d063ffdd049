"""The analyses of one run, each made when it is first asked for and kept.

Rules of this module:
- Figures come from integer nanoseconds, each divided once. A figure that is not defined is None.
- What needs another run to compare with (speedup, efficiency, slowdown) is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TypeVar

from executor.record.timeline import NANOSECONDS, Timeline
from harness.analysis.attempt_index import AttemptIndex
from harness.analysis.cautions import Caution, cautions
from harness.analysis.concurrency import Concurrency, concurrency
from harness.analysis.critical_path import CriticalPath, critical_path
from harness.analysis.failures import FailureGroup, failure_groups
from harness.analysis.lost_time import RUNNING, LostTime, Piece, lost_time, lost_time_and_pieces
from harness.analysis.lower_bound import LowerBound, lower_bound
from harness.analysis.overhead import overhead_nanoseconds_per_step
from harness.analysis.slack import slack_nanoseconds
from harness.analysis.summary import CriticalStep, Summary
from harness.analysis.work import cpu_seconds, work_nanoseconds

Key = TypeVar("Key", int, str)


class RunAnalysis:
    """What is known of a run. ``usable_cores`` belongs to the machine that ran it; ``foreign`` says that the trace was
    made elsewhere and may lack ``released_by``.

    ``critical_path``, ``lower_bound``, ``slack_nanoseconds`` and ``summary`` raise ValueError where the timeline's
    dependencies form a cycle. Each is O(attempts · log attempts) at most, once.
    """

    def __init__(self, timeline: Timeline, *, usable_cores: int | None = None, foreign: bool = False) -> None:
        self.timeline = timeline
        self.usable_cores = usable_cores
        self.foreign = foreign

    @cached_property
    def index(self) -> AttemptIndex:
        """The timeline, arranged for reading."""
        return AttemptIndex(self.timeline)

    @cached_property
    def work_nanoseconds(self) -> int:
        """What a single worker that never waits would need."""
        return work_nanoseconds(self.index)

    @cached_property
    def run_nanoseconds(self) -> dict[tuple[str, int], int]:
        """The run time of each attempt, by step id and attempt."""
        return {(one.step_id, one.attempt): self.index.run_nanoseconds(one) for one in self.index.ended}

    @cached_property
    def concurrency(self) -> Concurrency:
        """How many attempts ran at once."""
        return concurrency(self.index)

    @cached_property
    def overhead_nanoseconds_per_step(self) -> float | None:
        """Time in which nothing was lacking and yet nothing happened; None if no step ran."""
        return overhead_nanoseconds_per_step(self.index)

    @cached_property
    def critical_path(self) -> CriticalPath:
        """The longest chain of measured run times."""
        return critical_path(self.index)

    @cached_property
    def lower_bound(self) -> LowerBound:
        """What no schedule can be faster than, with these run times and limits."""
        return lower_bound(
            self.index,
            critical_path_nanoseconds=self.critical_path.nanoseconds,
            work_nanoseconds=self.work_nanoseconds,
        )

    @cached_property
    def lost_time(self) -> LostTime:
        """The makespan, split by cause."""
        return self._lost[0] if self.foreign else lost_time(self.index)

    @property
    def lost_nanoseconds(self) -> dict[str, int]:
        """The same in short: nanoseconds by cause, largest first."""
        return self.lost_time.by_cause

    @cached_property
    def lost_pieces(self) -> list[Piece]:
        """The same stretch by stretch, from the last one back to t = 0."""
        return self._lost[1]

    @cached_property
    def _lost(self) -> tuple[LostTime, list[Piece]]:
        """One walk for both: of a trace both are asked for."""
        return lost_time_and_pieces(self.index, foreign=self.foreign)

    @cached_property
    def slack_nanoseconds(self) -> dict[str, int]:
        """By how much each step that ran may become longer before the critical path does."""
        return slack_nanoseconds(self.index)

    @cached_property
    def cautions(self) -> tuple[Caution, ...]:
        """What to know before acting on the figures."""
        return cautions(self.index, self.concurrency, usable_cores=self.usable_cores, foreign=self.foreign)

    @cached_property
    def failures(self) -> tuple[FailureGroup, ...]:
        """The attempts that failed, in groups, the largest first."""
        return failure_groups(self.index)

    @cached_property
    def summary(self) -> Summary:
        """Every figure of the run."""
        makespan, bound, levels = self.index.makespan, self.lower_bound, self.concurrency
        lost, overhead = self.lost_nanoseconds, self.overhead_nanoseconds_per_step
        return Summary(
            makespan_seconds=makespan / NANOSECONDS,
            work_seconds=self.work_nanoseconds / NANOSECONDS,
            steps_run=sum(1 for tries in self.index.tries if tries),
            attempts=len(self.index.ended),
            concurrency_mean=levels.mean,
            concurrency_max=levels.maximum,
            concurrency_seconds=in_seconds(levels.nanoseconds_at),
            critical_path_seconds=self.critical_path.nanoseconds / NANOSECONDS,
            critical_path=_shares(self.critical_path),
            lower_bound_seconds=bound.nanoseconds / NANOSECONDS,
            lower_bound_terms=in_seconds(bound.terms),
            binding_bound=bound.binding,
            schedule_efficiency_ratio=bound.nanoseconds / makespan if makespan else None,
            overhead_seconds_per_step=None if overhead is None else overhead / NANOSECONDS,
            lost_seconds=in_seconds(lost),
            largest_lost_cause=next((cause for cause in lost if cause != RUNNING), None),
            cpu_seconds=cpu_seconds(self.timeline),
            cautions=self.cautions,
            failures=self.failures,
        )


def summary(timeline: Timeline, *, usable_cores: int | None = None, foreign: bool = False) -> Summary:
    """Every figure of a run, as :class:`RunAnalysis` has them.

    Raises:
        ValueError: the timeline's dependencies form a cycle.

    """
    return RunAnalysis(timeline, usable_cores=usable_cores, foreign=foreign).summary


def in_seconds(nanoseconds: Mapping[Key, int]) -> dict[Key, float]:
    """The same map in seconds."""
    return {key: value / NANOSECONDS for key, value in nanoseconds.items()}


def _shares(path: CriticalPath) -> tuple[CriticalStep, ...]:
    whole = path.nanoseconds
    return tuple(
        CriticalStep(part.step_id, part.nanoseconds / NANOSECONDS, part.nanoseconds / whole if whole else None)
        for part in path.parts
    )

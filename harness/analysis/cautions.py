"""Cautions: what a reader of the figures must know before acting on them. A closed set of typed warnings.

Rules of this module:
- A caution says what was seen, in figures, and what to do next.
- No guess without measured CPU seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from executor.record.timeline import NANOSECONDS
from harness.analysis.attempt_index import AttemptIndex, ended_of, started_of
from harness.analysis.concurrency import Concurrency
from harness.plain_text import counted, duration_text, duration_texts

# An attempt is "stretched" if it was on a CPU for a good part of its run time, yet not for most of it.
STRETCHED_AT_MOST = 0.8
# A CPU (or all usable ones) is "full" from here on; above 1 + its slack more than that many were used.
FULL_RATIO = 0.7
SLACK_RATIO = 0.15


@dataclass(frozen=True, slots=True)
class CpuBoundThreads:
    """Threads ran Python code side by side and shared one interpreter lock."""

    cpu_seconds: float
    run_seconds: float

    def __str__(self) -> str:
        return f"{_computed(self)}: threads took turns at one Python interpreter (the GIL); use `processes`"


@dataclass(frozen=True, slots=True)
class TooFewCores:
    """More steps computed at once than there are cores."""

    usable_cores: int
    workers: int
    cpu_seconds: float
    run_seconds: float

    def __str__(self) -> str:
        cores = counted(self.usable_cores, "core")
        return (
            f"{_computed(self)}: {cores} for {self.workers} workers; use {self.usable_cores} workers, or a machine "
            "with more cores"
        )


def _computed(caution: CpuBoundThreads | TooFewCores) -> str:
    cpu, run = duration_texts(caution.cpu_seconds, caution.run_seconds)
    return f"steps computed for {cpu} in {run} of run time"


@dataclass(frozen=True, slots=True)
class OverlappingEdges:
    """In a foreign trace, steps started before what they depend on had ended: the edge or a clock is wrong."""

    count: int
    step_id: str
    depends_on: str
    overlap_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.count} dependencies overlap in time; {self.step_id!r} started "
            f"{duration_text(self.overlap_seconds)} before the end of {self.depends_on!r}: check the clocks of the "
            "machines, or whether the steps stream"
        )


Caution = CpuBoundThreads | TooFewCores | OverlappingEdges


def cautions(
    index: AttemptIndex,
    levels: Concurrency,
    *,
    usable_cores: int | None = None,
    foreign: bool = False,
) -> tuple[Caution, ...]:
    """All cautions for a run. ``usable_cores`` is None where the machine is not known."""
    found: list[Caution] = []
    compute = _computing_caution(index, levels, usable_cores)
    if compute is not None:
        found.append(compute)
    if foreign:
        overlap = _overlap_caution(index)
        if overlap is not None:
            found.append(overlap)
    return tuple(found)


def _computing_caution(index: AttemptIndex, levels: Concurrency, usable_cores: int | None) -> Caution | None:
    """CPU-bound steps that ran at once and got less CPU than run time.

    Steps that mostly wait, and steps that had a core to themselves, are left out of the sums; then full use of one
    interpreter, or of all cores, shows that they hindered each other.
    """
    timeline = index.timeline
    busy = sum(length for level, length in levels.nanoseconds_at.items() if level) / NANOSECONDS
    if levels.maximum <= 1 or busy <= 0:
        return None
    cpu = run = all_cpu = 0.0
    for attempt in index.ended:
        seconds = attempt.cpu_seconds
        if seconds is None:
            continue
        all_cpu += seconds
        length = index.run_nanoseconds(attempt) / NANOSECONDS
        if length / (2 * levels.maximum) <= seconds <= STRETCHED_AT_MOST * length:
            cpu += seconds
            run += length
    if cpu < all_cpu / 2 or cpu <= 0:
        return None
    used = all_cpu / busy
    if timeline.backend == "threads" and FULL_RATIO <= used <= 1 + SLACK_RATIO:
        return CpuBoundThreads(cpu, run)
    if usable_cores is not None and timeline.workers > usable_cores and used >= FULL_RATIO * usable_cores:
        return TooFewCores(usable_cores, timeline.workers, cpu, run)
    return None


def _overlap_caution(index: AttemptIndex) -> OverlappingEdges | None:
    timeline = index.timeline
    count, worst, pair = 0, 0, (0, 0)
    for step, parents in enumerate(timeline.data_parents):
        if not index.tries[step]:
            continue
        started = started_of(index.tries[step][0])
        for parent in parents:
            if not index.tries[parent]:
                continue
            overlap = ended_of(index.last_of(parent)) - started
            if overlap > 0:
                count += 1
                if overlap > worst:
                    worst, pair = overlap, (step, parent)
    if not count:
        return None
    return OverlappingEdges(count, timeline.step_ids[pair[0]], timeline.step_ids[pair[1]], worst / NANOSECONDS)

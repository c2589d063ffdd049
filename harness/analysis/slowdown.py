"""Slowdown: how much longer steps ran than in the serial run that the run is paired with, and why.

Rules of this module:
- Pure: two timelines of the same workflow in, integer nanoseconds and typed warnings out.
- ``running`` becomes what the serial run needed for the same attempts, ``slowdown`` the excess, which may be negative.
  Both together are what ``running`` was, so the parts go on summing to the makespan exactly.
- An attempt that the serial run did not make has nothing to be compared with: all of it stays ``running``.
- The interpreter lock and the cores are named only where measured CPU seconds point at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from executor.record.timeline import Timeline
from harness.analysis.cautions import SLACK_RATIO, Caution, CpuBoundThreads, TooFewCores
from harness.analysis.failures import overload_advice
from harness.analysis.families import SlowFamily
from harness.analysis.lost_time import RUNNING
from harness.analysis.remedy import WORTH_ACTING_RATIO, remedy
from harness.analysis.run_analysis import RunAnalysis
from harness.analysis.summary import Summary
from harness.plain_text import counted, duration_text

SLOWDOWN = "slowdown"
# Steps that are on a CPU for this share of their run time compute: on a busy machine they get no more, and those that
# wait need far less.
_COMPUTING_RATIO = 0.25


@dataclass(frozen=True, slots=True)
class SlowerThanSerial:
    """Steps that do not compute ran longer side by side than one at a time."""

    slowdown_seconds: float
    serial_seconds: float
    # What is slower for several at once, where that has a name.
    cause: SlowFamily | None = None

    def __str__(self) -> str:
        if self.cause is not None:
            return (
                f"{self.cause}: it is slower for several at once; give it a resource with a smaller capacity, or use "
                "fewer workers"
            )
        return (
            f"steps needed {duration_text(self.slowdown_seconds)} more than the {duration_text(self.serial_seconds)} "
            "of the serial run, and not for computing: what they share (a service, a disk, memory) is slower for "
            "several at once; use fewer workers, or limit the steps that share it with a resource"
        )


SlowdownCaution = Caution | SlowerThanSerial


def split_running(run: RunAnalysis, serial: Mapping[tuple[str, int], int]) -> dict[str, int]:
    """Lost time in nanoseconds by cause, ``running`` split by the run times of the paired ``serial`` run
    (:attr:`RunAnalysis.run_nanoseconds`). Largest first.
    """
    lost = dict(run.lost_nanoseconds)
    if RUNNING not in lost:
        return lost
    needed = 0
    for attempt, nanoseconds in run.lost_time.running_by_attempt.items():
        whole = run.index.run_nanoseconds(attempt)
        by_itself = serial.get((attempt.step_id, attempt.attempt), whole)
        # The walk may enter an attempt in its middle, by one of its calls: then it is a part of it.
        needed += by_itself if nanoseconds == whole else by_itself * nanoseconds // whole if whole else nanoseconds
    slowdown = lost[RUNNING] - needed
    lost[RUNNING] = needed
    if slowdown:
        lost[SLOWDOWN] = slowdown
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def largest_lost_cause(lost: Mapping[str, float]) -> str | None:
    """The largest cause but ``running``; None where nothing was lost."""
    causes = {cause: value for cause, value in lost.items() if cause != RUNNING and value > 0}
    return max(causes, key=lambda cause: causes[cause], default=None)


def slowdown_cautions(
    timeline: Timeline,
    figures: Summary,
    lost_seconds: Mapping[str, float],
    serial: Summary,
    *,
    usable_cores: int | None = None,
) -> tuple[SlowdownCaution, ...]:
    """The cautions of ``figures``, and why steps were slower than in the ``serial`` run where they were and none of
    them says it already. ``lost_seconds`` come from :func:`split_running`.
    """
    cautions: tuple[SlowdownCaution, ...] = figures.cautions
    slowdown = lost_seconds.get(SLOWDOWN, 0.0)
    known = any(isinstance(one, CpuBoundThreads | TooFewCores) for one in cautions)
    if known or slowdown < WORTH_ACTING_RATIO * figures.makespan_seconds or figures.concurrency_max <= 1:
        return cautions
    if serial.cpu_seconds is None or serial.cpu_seconds < _COMPUTING_RATIO * serial.work_seconds:
        return (*cautions, SlowerThanSerial(slowdown, lost_seconds.get(RUNNING, 0.0)))
    cpu, run = figures.cpu_seconds or 0.0, figures.work_seconds
    busy = sum(seconds for level, seconds in figures.concurrency_seconds.items() if level)
    if timeline.backend in ("threads", "asyncio") and cpu <= (1 + SLACK_RATIO) * busy:
        return (*cautions, CpuBoundThreads(cpu, run))
    if usable_cores is not None and timeline.workers > usable_cores:
        return (*cautions, TooFewCores(usable_cores, timeline.workers, cpu, run))
    return (*cautions, SlowerThanSerial(slowdown, lost_seconds.get(RUNNING, 0.0)))


def with_cause(cautions: Sequence[SlowdownCaution], cause: SlowFamily | None) -> tuple[SlowdownCaution, ...]:
    """The same; the caution that steps were slower side by side names what was."""
    return tuple(replace(one, cause=cause) if isinstance(one, SlowerThanSerial) else one for one in cautions)


def remedy_beside_serial(
    timeline: Timeline, figures: Summary, lost_seconds: Mapping[str, float], cautions: Sequence[SlowdownCaution]
) -> str:
    """What held the run back, and what to do; :func:`remedy` where that is not the slowdown."""
    slowdown = lost_seconds.get(SLOWDOWN, 0.0)
    largest = largest_lost_cause(lost_seconds)
    if "failed" in timeline.statuses or overload_advice(figures.failures) is not None:
        return remedy(figures, timeline)
    if largest != SLOWDOWN or slowdown < WORTH_ACTING_RATIO * figures.makespan_seconds:
        return remedy(figures, timeline)
    head = f"{duration_text(slowdown)} because steps ran longer than in the serial run:"
    for caution in cautions:
        if isinstance(caution, CpuBoundThreads):
            return f"{head} threads took turns at one Python interpreter (the GIL); use processes."
        if isinstance(caution, TooFewCores):
            cores = counted(caution.usable_cores, "core")
            return f"{head} {cores} for {caution.workers} workers; use {caution.usable_cores} workers, or more cores."
    cause = next((one.cause for one in cautions if isinstance(one, SlowerThanSerial)), None)
    if cause is not None:
        return f"{head} {cause}; give it a resource with a smaller capacity, or use fewer workers."
    return f"{head} what they share is slower for several at once; use fewer workers, or limit the steps that share it."

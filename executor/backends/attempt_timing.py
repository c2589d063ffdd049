"""Running an attempt: when it started and ended, what CPU time it took, and whether it succeeded. In every worker.

Rules of this module:
- Whatever a call raises is the failure of its attempt, and of nothing else.
- The short calls without a context are timed by the backends themselves: to enter a block costs as much as they do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from executor.record.outcomes import Failure, outcome_of
from executor.record.timeline import NANOSECONDS, AttemptOutcome

# Asking for a thread's CPU time costs as much as scheduling a step: shorter steps are not measured.
SHORT_NANOSECONDS = 50_000


class CpuClock:
    """CPU seconds of the steps of one thread.

    A step shorter than ``SHORT_NANOSECONDS`` is not measured, and a reading is used again for steps that start that
    soon after it (their CPU time may be too large by as much).
    """

    __slots__ = ("cpu", "wall")

    def __init__(self) -> None:
        self.forget()
        self.cpu = 0

    def forget(self) -> None:
        """The last reading may be another thread's."""
        self.wall = -SHORT_NANOSECONDS - 1

    def start(self, now: int) -> None:
        """A step starts at ``now`` (nanoseconds): take a reading, unless the last one is new enough."""
        if now - self.wall > SHORT_NANOSECONDS:
            self.read(now)

    def read(self, now: int) -> None:
        """Take a reading at ``now`` (nanoseconds)."""
        self.wall = now
        self.cpu = time.thread_time_ns()

    def stop(self, started: int, now: int) -> float | None:
        """A step that started soon after the last reading ends: its CPU seconds, or None if it was short."""
        if now - started < SHORT_NANOSECONDS:
            return None
        before = self.cpu
        self.read(now)
        return min(self.cpu - before, now - started) / NANOSECONDS


class TimedAttempt:
    """An attempt while it runs, in a ``with`` block that ends with its call and lets nothing through.

    ``started`` and ``ended`` are nanoseconds of ``clock``. The block sets ``value`` to the output; where it raises,
    ``value`` is the :class:`Failure` that ``failure_of`` makes, and ``outcome`` says of which kind. Without a
    ``cpu_clock`` the CPU time is what the block says.
    """

    __slots__ = ("_clock", "_cpu_clock", "_failure_of", "cpu_seconds", "ended", "outcome", "started", "value")

    def __init__(
        self,
        clock: Callable[[], int],
        cpu_clock: CpuClock | None = None,
        failure_of: Callable[[BaseException], Failure] = Failure.of,
    ) -> None:
        self._clock = clock
        self._failure_of = failure_of
        self._cpu_clock = cpu_clock
        self.cpu_seconds: float | None = None
        self.outcome: AttemptOutcome = "succeeded"
        self.value: Any = None
        self.started = self.ended = clock()
        if cpu_clock is not None:
            cpu_clock.start(self.started)

    def __enter__(self) -> TimedAttempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> bool:
        self.ended = self._clock()
        if self._cpu_clock is not None:
            self.cpu_seconds = self._cpu_clock.stop(self.started, self.ended)
        if error is not None:
            self.outcome, self.value = outcome_of(error), self._failure_of(error)
        return True

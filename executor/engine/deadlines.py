"""What is due in a run although nothing completes: timeouts, wake-ups, and the end of a run that cannot move.

Rules of this module:
- A timeout counts from the instant at which the call has really started, not from the grant of its slot.
- The one who waits for the run is told as soon as something is due earlier than what it was last told.
- What only an abandoned call could move on is given a little time (it was told to stop), then it is ended, and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from threading import Lock

from executor.engine.driver import Driver
from executor.engine.instruments import Instrument
from executor.engine.run_record import EngineRecord
from executor.record.outcomes import Failure
from executor.record.timeline import NANOSECONDS, Attempt
from executor.tools.tool import RunContext

# How long a call that was told to stop may take, where nothing else of the run can move.
STALL_GRACE_NANOSECONDS = 2 * NANOSECONDS


class EngineTimes(EngineRecord):
    """The part of :class:`executor.engine.engine.Engine` that knows what is due, and when."""

    def __init__(self, driver: Driver, context: RunContext, instruments: Sequence[Instrument]) -> None:
        super().__init__(driver, context, instruments)
        self._lock = Lock()
        # Of those due at one instant the first to start comes first.
        self._deadlines: list[tuple[int, int, Attempt]] = []
        self._deadline_numbers = count()
        self._told_wake: int | None = None
        self._give_up_at: int | None = None
        # Nobody watches single attempts, nothing has a deadline: `succeed` may take the short way.
        self._plain = not (self._watches_start or self._watches_finish)

    def started(self, attempt: Attempt, at: int, worker: str) -> None:
        """An attempt of a step with a timeout has really started: its time runs from now on."""
        timeout = self.scheduler.steps[attempt.index].timeout
        if timeout is None:
            return
        with self._lock:
            if attempt.outcome is not None:
                return
            attempt.started = max(at, attempt.granted)
            attempt.worker = worker
            deadline = attempt.started + round(timeout * NANOSECONDS)
            self._plain = False
            heappush(self._deadlines, (deadline, next(self._deadline_numbers), attempt))
            sooner = self._told_wake is None or deadline < self._told_wake
            if sooner:
                self._told_wake = deadline
        if sooner:
            self._driver.notify()

    def wake_at(self) -> int | None:
        """When :meth:`advance` is due although nothing completes: a backoff, a rate or a timeout; else None."""
        with self._lock:
            self._told_wake = self._next_wake()
            return self._told_wake

    # ------------------------------------------------------------------ under the lock

    def _expire(self, now: int) -> None:
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, _, attempt = heappop(deadlines)
            if attempt.outcome is not None:
                continue
            attempt.ended = now
            timeout = self.scheduler.steps[attempt.index].timeout
            message = f"no end after its timeout of {timeout:g} s"
            self._note_failure(attempt, "timed_out", Failure("Timeout", message))
            status = self.scheduler.finish(attempt, "timed_out", now, abandoned=not self._driver.stops_at_once)
            self._stops.append(attempt)
            if self._watches_finish:
                self.instruments.call("attempt_finished", attempt, status)

    def _watch_for_stall(self, starts: Sequence[Attempt], now: int) -> None:
        """Where only abandoned calls could move the run on, wait a little (they were told to stop), then end it."""
        if starts or not self.scheduler.stalled:
            self._give_up_at = None
        elif self._give_up_at is None:
            self._give_up_at = now + STALL_GRACE_NANOSECONDS
        elif now >= self._give_up_at:
            self._give_up_at = None
            self._give_up(now)

    def _give_up(self, now: int) -> None:
        names = sorted({attempt.step_id for attempt in self.scheduler.abandoned})
        self.warnings.append(
            f"the run ended because nothing else could move: the call of {', '.join(map(repr, names))} goes on "
            "past its timeout and keeps its limits and locks"
        )
        self.scheduler.give_up(now)

    def _tell_of_wake(self) -> None:
        """The one who waits must know where something is due earlier than it was."""
        wake = self.scheduler.wake_at() if self._give_up_at is None else self._give_up_at
        if wake is not None and (self._told_wake is None or wake < self._told_wake):
            self._told_wake = wake
            self._driver.notify()

    def _next_wake(self) -> int | None:
        while self._deadlines and self._deadlines[0][2].outcome is not None:
            heappop(self._deadlines)
        wake = self.scheduler.wake_at() if self._give_up_at is None else self._give_up_at
        if self._deadlines and (wake is None or self._deadlines[0][0] < wake):
            return self._deadlines[0][0]
        return wake

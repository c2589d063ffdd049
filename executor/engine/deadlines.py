"""What is due in a run although nothing completes: timeouts, wake-ups, and the end of a run that cannot move.

Rules of this module:
- Used under the engine's lock. It changes nothing of the run: it says what is due, and the engine acts.
- :meth:`Deadlines.is_sooner` is asked whenever something may be due earlier than the waiting thread last heard of.
- What only an abandoned call could move on is given a little time, since the call was asked to stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count

from executor.record.timeline import NANOSECONDS, Attempt
from executor.scheduler import Scheduler

# How long a call that was asked to stop may take, where nothing else of the run can move.
STALL_GRACE_NANOSECONDS = 2 * NANOSECONDS
# Later than any instant.
NEVER = 1 << 80


class Deadlines:
    """The timeouts of the attempts that run, and the next instant at which the engine has to look again.

    Instants are nanoseconds since t = 0. ``known_wake`` is the instant that the waiting thread knows of; None: of none.
    ``next_timeout``: no timeout is over before it. It is a plain field, since the end of each step looks at it.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        # Of those due at one instant the first to start comes first.
        self._timeouts: list[tuple[int, int, Attempt]] = []
        self._numbers = count()
        self._known_wake: int | None = None
        self._give_up_at: int | None = None
        self.next_timeout = NEVER

    def add(self, attempt: Attempt, timeout_seconds: float) -> bool:
        """Note the timeout of an attempt that has started. True: the waiting thread must hear of it."""
        assert attempt.started is not None
        deadline = attempt.started + round(timeout_seconds * NANOSECONDS)
        heappush(self._timeouts, (deadline, next(self._numbers), attempt))
        if deadline >= self.next_timeout:
            # One that ended may be the next: it was told of, too.
            return False
        self.next_timeout = deadline
        return self._is_told_sooner(deadline)

    def expired(self, now: int) -> Iterator[Attempt]:
        """The running attempts whose timeout is over, the earliest first; each is given once."""
        timeouts = self._timeouts
        while timeouts and timeouts[0][0] <= now:
            _, _, attempt = heappop(timeouts)
            if attempt.outcome is None:
                yield attempt
        self._look_again()

    def is_stalled(self, starts: Sequence[Attempt], now: int) -> bool:
        """Whether only abandoned calls could move the run on, and the time that they are given is over."""
        if starts or not self._scheduler.stalled:
            self._give_up_at = None
        elif self._give_up_at is None:
            self._give_up_at = now + STALL_GRACE_NANOSECONDS
        elif now >= self._give_up_at:
            self._give_up_at = None
            return True
        return False

    def is_sooner(self) -> bool:
        """Whether the scheduler has something due earlier than the waiting thread last heard of."""
        wake = self._scheduler.wake_at() if self._give_up_at is None else self._give_up_at
        return wake is not None and self._is_told_sooner(wake)

    def wake_at(self) -> int | None:
        """When something is due: a backoff, a rate, a timeout or the end of a stall; None: nothing is."""
        timeouts = self._timeouts
        while timeouts and timeouts[0][2].outcome is not None:
            heappop(timeouts)
        self._look_again()
        wake = self._scheduler.wake_at() if self._give_up_at is None else self._give_up_at
        if timeouts and (wake is None or timeouts[0][0] < wake):
            wake = timeouts[0][0]
        self._known_wake = wake
        return wake

    def _look_again(self) -> None:
        self.next_timeout = self._timeouts[0][0] if self._timeouts else NEVER

    def _is_told_sooner(self, wake: int) -> bool:
        if self._known_wake is not None and self._known_wake <= wake:
            return False
        self._known_wake = wake
        return True

"""Calls that running steps make: who waits for which, and how it hears of their end. Used under the engine's lock.

Rules of this module:
- A step that waits for its calls is blocked: it holds neither slot nor limits. When the last of them is final it comes
  back through the scheduler, which grants both again.
- Whoever waits is told exactly once, with True if the calls are final and the step goes on, with False if the step was
  cancelled, timed out or died meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from executor.scheduler import Scheduler
from executor.timeline import Attempt

Resume: TypeAlias = Callable[[bool], None]


class Calls:
    """The blocked steps of one run."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: dict[Attempt, tuple[list[int], Resume]] = {}
        self._resuming: dict[Attempt, Resume] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting or self._resuming)

    def block(self, attempt: Attempt, step_ids: Sequence[str], now: int, resume: Resume) -> bool:
        """Block an attempt until these steps are final. False: they are already, and ``resume`` will not be called.

        Raises:
            SchedulerError: the attempt does not run.
        """
        scheduler = self._scheduler
        pending = [scheduler.index[step_id] for step_id in step_ids]
        pending = [index for index in pending if not scheduler.is_final(index)]
        if not pending:
            return False
        scheduler.block(attempt, now)
        self._waiting[attempt] = (pending, resume)
        return True

    def unblock_finished(self, now: int) -> None:
        """Let those come back whose calls are all final."""
        scheduler = self._scheduler
        for attempt in list(self._waiting):
            pending, resume = self._waiting[attempt]
            while pending and scheduler.is_final(pending[-1]):
                pending.pop()
            if not pending and attempt.outcome is None:
                del self._waiting[attempt]
                scheduler.unblock(attempt, now)
                self._resuming[attempt] = resume

    def resumed(self, attempt: Attempt) -> Resume | None:
        """The one to tell that an attempt has slot and limits again; None if the attempt starts afresh."""
        return self._resuming.pop(attempt, None)

    def abandoned(self) -> list[Resume]:
        """Those to tell that their step does not go on."""
        gone = [attempt for attempt in (*self._waiting, *self._resuming) if attempt.outcome is not None]
        return [
            self._waiting.pop(attempt)[1] if attempt in self._waiting else self._resuming.pop(attempt)
            for attempt in gone
        ]

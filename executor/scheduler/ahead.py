"""Handing steps out ahead of free workers, invisibly: they wait at a worker instead of here, and start without a round
trip. Used by backends to which a message costs more than a short step.

Rules of this module:
- Until it starts, a step that was handed out is what it was: ready, and waiting for a worker. It takes no slot, it can
  be taken back at any time, and cancelling it needs nobody's help.
- It is granted when the slot before it becomes free, which the scheduler may hear of later: the record holds the time
  at which that was, and attempts keep standing in order of grant.
- The order of starts holds: what is handed out is what would start next.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from executor.scheduler.queue import HANDED_OUT, INDEX_MASK, QUEUED
from executor.scheduler.starts import Starts
from executor.timeline import Attempt, Wait


class Ahead(Starts):
    """``hand_out``, ``take_back``, ``start_handed_out`` and ``regrant``."""

    def hand_out(self, most: int, fits: Callable[[int], bool]) -> list[int]:
        """Up to ``most`` steps that would start next if more slots were free, in the order of starts, as far as
        ``fits(index)`` holds. Nothing is handed out while anything waits for more than a slot.
        """
        queue = self._queue
        handed: list[int] = []
        if self._mode or self._has_calls or self._resuming or queue.lines or queue.reserved or self.policy == "serial":
            return handed
        heap = queue.open_heap
        queued = queue.queued
        while heap and len(handed) < most:
            index = heap[0] & INDEX_MASK
            if queued[index] == QUEUED:
                if self._made[index] or not fits(index):
                    break
                queued[index] = HANDED_OUT
                handed.append(index)
            heappop(heap)
        return handed

    def take_back(self, index: int) -> None:
        """A step that was handed out and did not start waits here again."""
        queue = self._queue
        if queue.queued[index] == HANDED_OUT:
            queue.queued[index] = QUEUED
            heappush(queue.open_heap, self._keys[index])

    def start_handed_out(self, index: int, at: int) -> Attempt | None:
        """The worker that has the step went on to it when its last one ended, ``at``. None: it was cancelled."""
        if self._queue.queued[index] != HANDED_OUT:
            return None
        attempt = self._grant(index, max(at, self._ready_at[index]))
        self._put_last_in_order()
        return attempt

    def regrant(self, attempt: Attempt, now: int) -> None:
        """A granted step was taken back from a worker that had not begun it: it waits for the next one until ``now``.
        Its slot stays taken.
        """
        if attempt.outcome is not None:
            return
        now = self._advance_to(now)
        granted = attempt.granted
        attempt.add_wait(Wait("worker", granted, now))
        attempt.granted = now
        place = len(self.attempts) - 1
        while self.attempts[place] is not attempt:
            place -= 1
        del self.attempts[place]
        self.attempts.append(attempt)
        self._put_last_in_order()

    def _put_last_in_order(self) -> None:
        """Move the last attempt to where its grant belongs; it is never far."""
        attempts = self.attempts
        last = len(attempts) - 1
        place = last
        while place and attempts[place - 1].granted > attempts[last].granted:
            place -= 1
        if place < last:
            attempts.insert(place, attempts.pop())

"""The short way for plain runs: one completion that ended well, and what starts after it, in one function.

Most steps of most runs need no limit, lock, gate, condition or retry. For those the general way costs more than
the step itself.

Rules of this module:
- It does exactly what :meth:`Scheduler.finish` and :meth:`Scheduler.start` do; a property test holds the two equal.
- It is taken only while :attr:`Core.plain` is True; whatever is not plain makes that False for good.
- Steps that made calls, and moments at which a step waits to resume from them, are not for it.
"""

from __future__ import annotations

from heapq import heappop, heappush

from executor.record.timeline import Attempt
from executor.scheduler.family import NOBODY
from executor.scheduler.intake import Intake
from executor.scheduler.queue import INDEX_MASK, QUEUED
from executor.scheduler.starts import Starts
from executor.scheduler.states import READY, RUNNING, SUCCEEDED


class Fast(Intake, Starts):
    """``succeed``."""

    def succeed(self, attempt: Attempt, now: int) -> list[Attempt] | None:
        """Finish ``attempt`` as succeeded and start what can start. None: not a plain case, nothing was changed."""
        index = attempt.index
        if not self.plain or self._live.get(index) is not attempt:
            return None
        if self._has_calls and (self._resuming or self._state[index] != RUNNING or self._family.has_calls(index)):
            return None
        if now > self._now:
            self._now = now
        else:
            now = self._now
        del self._live[index]
        attempt.outcome = "succeeded"
        attempt.known = now
        self._state[index] = SUCCEEDED
        self._free += 1
        self.remaining -= 1
        children = self._children[index]
        if children:
            self._release_plain(index, children, now)
        return self._start_plain(now)

    def _release_plain(self, index: int, children: list[int], now: int) -> None:
        pending = self._data_pending
        queue = self._queue
        epoch = None
        for child in children:
            left = pending[child] - 1
            pending[child] = left
            if left:
                continue
            if epoch is None:
                epoch = queue.epoch_at(now)
            self._state[child] = READY
            self._ready_at[child] = now
            self._released_by[child] = index
            queue.queued[child] = QUEUED
            heappush(queue.open_heap, self._keys[child])
            epoch.waiting += 1
            epoch.members.append(child)
            queue.epoch_of[child] = epoch

    def _start_plain(self, now: int) -> list[Attempt]:
        starts: list[Attempt] = []
        queue = self._queue
        heap = queue.open_heap
        if queue.reserved:
            # Those who were overtaken too often stand outside of the heap.
            return self._start_constrained(now)
        if not heap:
            return starts
        queued, epoch_of, oldest = queue.queued, queue.epoch_of, queue.epochs[0]
        step_ids = self.step_ids
        parents = self._family.parent if self._has_calls else None
        while self._free > 0 and heap:
            index = heappop(heap) & INDEX_MASK
            if queued[index] != QUEUED:
                continue
            queued[index] = 0
            epoch = epoch_of[index]
            if epoch is oldest and epoch.waiting > 1:
                # What `granted` does in by far the most cases.
                epoch.waiting -= 1
                epoch_of[index] = None
            else:
                queue.granted(index)
                oldest = queue.epochs[0]
            ready = self._ready_at[index]
            released_by = self._released_by[index]
            parent = NOBODY if parents is None else parents(index)
            attempt = Attempt(
                index,
                step_ids[index],
                1,
                ready,
                now,
                None if released_by < 0 else step_ids[released_by],
                None if parent < 0 else step_ids[parent],
                None if ready == now else "worker",
            )
            self._made[index] = 1
            self._state[index] = RUNNING
            self._live[index] = attempt
            self.attempts.append(attempt)
            starts.append(attempt)
            self._free -= 1
            if queue.overdue:
                return starts + self._start_constrained(now)
        return starts

"""Who starts now: resuming steps, reserved ones, then the queue, as far as slots, limits and rates allow.

Rules of this module:
- The order of starts: resuming, reserved (in the order of their reservations), nested calls (deepest first), then
  priority, upward rank, file order.
- After every round of starts each waiting step has one reason, the first that applies; the record keeps the changes.
"""

from __future__ import annotations

from heapq import heappop

from executor.record.timeline import Attempt, Wait
from executor.scheduler.family import NOBODY
from executor.scheduler.queue import HANDED_OUT, INDEX_MASK, QUEUED, RESERVED, Line, extend_history, waits_of
from executor.scheduler.resources import Demand
from executor.scheduler.settling import Settling
from executor.scheduler.states import READY, RESUMING, RUNNING


class Starts(Settling):
    """``start`` and what it needs."""

    def start(self, now: int) -> list[Attempt]:
        """What starts or resumes now, in the order of starts. An attempt with ``blocked`` intervals resumes."""
        now = self._advance_to(now)
        if self.timers:
            self._end_backoffs(now)
        self._open_gate(now)
        if self._mapped:
            self._start_mapped(now)
        queue = self._queue
        if self._resuming or queue.reserved or queue.lines:
            return self._start_constrained(now)
        # Who waited for a rate may have been cancelled since.
        self.rate_opens_at = None
        starts: list[Attempt] = []
        heap = queue.open_heap
        queued = queue.queued
        while self._free > 0 and heap:
            index = heappop(heap) & INDEX_MASK
            if queued[index] != QUEUED:
                continue
            starts.append(self._grant(index, now))
            if queue.overdue:
                return starts + self._start_constrained(now)
        return starts

    def _end_backoffs(self, now: int) -> None:
        timers = self.timers
        while timers:
            due, index = timers[0]
            # Otherwise it has ended while it backed off.
            waits = self._due.get(index) == due
            if waits and due > now:
                return
            heappop(timers)
            if waits:
                del self._due[index]
                self._state[index] = READY
                self._note(index, "", due)
                self._approach(index, now)

    # ------------------------------------------------------------------ with needs, reservations, resumings

    def _start_constrained(self, now: int) -> list[Attempt]:
        starts: list[Attempt] = []
        self.rate_opens_at = None
        while True:
            if self._queue.overdue:
                self._reserve_overdue(now)
            self.limits.clear_reserved()
            self._start_resuming(now, starts)
            self._start_reserved(now, starts)
            self._start_queued(now, starts)
            if not self._queue.overdue:
                break
        self._note_lines(now)
        return starts

    def _start_resuming(self, now: int, starts: list[Attempt]) -> None:
        waiting: list[int] = []
        for key in sorted(self._resuming):
            index = key & INDEX_MASK
            demand = self._demand.get(index)
            reason = None if demand is None else demand.lacks_units()
            if reason is None and self._free > 0:
                starts.append(self._resume(index, demand, now))
                continue
            waiting.append(key)
            self._note(index, reason or "worker", now)
            if index in self._resuming_reserved and demand is not None:
                demand.reserve(rates=False)
        self._resuming = waiting

    def _start_reserved(self, now: int, starts: list[Attempt]) -> None:
        queue = self._queue
        for index, demand in list(queue.reserved_with_needs.items()):
            self._start_reserved_open(now, starts, before=queue.reserved[index])
            reason = demand.lacks(now)
            if reason is None and self._free > 0:
                starts.append(self._grant(index, now))
                continue
            self._note(index, reason or "worker", now)
            self._wake_for_rate(demand, reason, now)
            demand.reserve()
        self._start_reserved_open(now, starts)

    def _start_reserved_open(self, now: int, starts: list[Attempt], before: int | None = None) -> None:
        """Those that need only a slot: as many as there are slots, without a look at the others."""
        while self._free > 0 and (index := self._queue.next_reserved_open(before)) is not None:
            starts.append(self._grant(index, now))

    def _start_queued(self, now: int, starts: list[Attempt]) -> None:
        """Start from the queue, until a step was overtaken too often: then reservations are due first."""
        queue = self._queue
        open_lines = list(queue.lines.values())
        while self._free > 0 and not queue.overdue:
            best: Line | None = None
            best_key = queue.head(queue.open_heap)
            for line in open_lines:
                key = queue.head(line.heap)
                if key is not None and (best_key is None or key < best_key):
                    best, best_key = line, key
            if best_key is None:
                return
            if best is not None and best.demand.lacks(now) is not None:
                open_lines.remove(best)
                continue
            # Its entry in the heap is skipped when it comes up.
            starts.append(self._grant(best_key & INDEX_MASK, now))

    def _reserve_overdue(self, now: int) -> None:
        for index in self._queue.overdue_steps():
            if self._state[index] == RESUMING:
                self._resuming_reserved.add(index)
                continue
            if self._queue.queued[index] == HANDED_OUT:
                # Its slot is the next one of the worker where it waits: no reservation would bring it sooner. If it is
                # taken back, it reserves then.
                continue
            self._reserve(index, now)

    def _reserve(self, index: int, now: int) -> None:
        """From now on the step goes before all that did not reserve. What it waited for so far is its own story now."""
        history = self._histories.setdefault(index, [])
        since = self._queued_at.pop(index, self._ready_at[index])
        for wait in self._queue_waits(index, since, now):
            extend_history(history, wait.reason, wait.start)
        self._queue.reserve(index, self._demand.get(index))

    def _note_lines(self, now: int) -> None:
        queue = self._queue
        for line in list(queue.lines.values()):
            if queue.head(line.heap) is None:
                del queue.lines[line.demand]
                continue
            reason = line.demand.lacks(now)
            line.note(reason or "worker", now)
            self._wake_for_rate(line.demand, reason, now)

    def _wake_for_rate(self, demand: Demand, reason: str | None, now: int) -> None:
        if reason is None or not reason.startswith("rate."):
            return
        opens_at = demand.opens_at(now)
        if opens_at is not None:
            self.rate_opens_at = opens_at if self.rate_opens_at is None else min(self.rate_opens_at, opens_at)

    # ------------------------------------------------------------------ one step

    def _grant(self, index: int, now: int) -> Attempt:
        queue = self._queue
        was_reserved = queue.queued[index] == RESERVED
        if was_reserved:
            queue.end_reservation(index)
        queue.queued[index] = 0
        queue.granted(index)
        ready = self._ready_at[index]
        waits: str | list[Wait] | None = None
        if self._histories or self._demand:
            waits = self._waits(index, ready, now, was_reserved=was_reserved)
        elif ready != now:
            waits = "worker"
        number = self._made[index] + 1
        self._made[index] = number
        released_by = self._released_by[index]
        step_ids = self.step_ids
        parent = self._family.parent(index) if self._has_calls else NOBODY
        attempt = Attempt(
            index,
            step_ids[index],
            number,
            ready,
            now,
            None if released_by < 0 else step_ids[released_by],
            None if parent < 0 else step_ids[parent],
            waits,
        )
        self._state[index] = RUNNING
        self._live[index] = attempt
        self.attempts.append(attempt)
        self._free -= 1
        if self._demand:
            self._take_needs(index, attempt, now)
        return attempt

    def _take_needs(self, index: int, attempt: Attempt, now: int) -> None:
        demand = self._demand.get(index)
        if demand is None:
            return
        demand.hold()
        demand.charge(now)
        if demand.tokens:
            attempt.tokens_reserved = demand.tokens

    def _waits(self, index: int, ready: int, now: int, *, was_reserved: bool) -> list[Wait] | None:
        """Why the step waited in [ready, now]: for its gate and locks first, then in the queue."""
        history = self._histories.pop(index, ())
        queued_at = self._queued_at.pop(index, ready)
        if ready == now:
            return None
        if was_reserved:
            return waits_of(history, ready, now)
        waits = waits_of(history, ready, queued_at) if history else []
        return (waits + self._queue_waits(index, queued_at, now)) or None

    def _queue_waits(self, index: int, since: int, now: int) -> list[Wait]:
        demand = self._demand.get(index)
        line = None if demand is None else self._queue.lines.get(demand)
        if line is not None:
            return waits_of(line.history, since, now)
        return [Wait("worker", since, now)] if since < now else []

    def _resume(self, index: int, demand: Demand | None, now: int) -> Attempt:
        attempt = self._live[index]
        if demand is not None:
            demand.hold()
        self._free -= 1
        self._state[index] = RUNNING
        self._resuming_reserved.discard(index)
        self._queue.granted(index)
        self._end_resuming(attempt, now)
        return attempt

    def _end_resuming(self, attempt: Attempt, now: int) -> None:
        history = self._histories.pop(attempt.index, [])
        since = attempt.blocked[-1].end
        for wait in waits_of(history, since, now):
            attempt.add_wait(wait)

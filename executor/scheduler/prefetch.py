"""Handing steps out ahead of free workers, invisibly: they wait at a worker instead of here, and start without a round
trip. Used by backends to which a message costs more than a short step.

Rules of this module:
- Until it starts, a step that was handed out is what it was: ready, and waiting for a worker. It takes no slot, it can
  be taken back at any time, and it can be cancelled without a worker.
- It is granted when the slot before it becomes free, which the scheduler may hear of later: the record holds the time
  at which that was, and attempts stay in order of grant.
- A limit is no hindrance where it is never full. Limits are held from the grant until the end is known, so what was
  handed out may hold them beside all that runs.
- The order of starts holds: what is handed out is what would start next. Where a step waits for its calls, those alone
  are handed out, and only if no other step could resume before they are over.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from executor.record.timeline import Attempt, Wait
from executor.scheduler.call_tree import NO_STEP
from executor.scheduler.constrained_start import reserve
from executor.scheduler.ready_queue import HANDED_OUT, INDEX_MASK, QUEUED, ReadyQueue

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions are the scheduler's own; they are here so that its class can be read as a whole.
# ruff: noqa: SLF001


def hand_out(scheduler: Scheduler, most: int, fits: Callable[[int], bool], holders: int | None = None) -> list[int]:
    """Up to ``most`` steps that would start next if more slots were free, in the order of starts, as far as
    ``fits(index)`` holds. Nothing is handed out while anything may wait for more than a slot.

    ``holders``: how many attempts, granted ones and those handed out before, hold limits at once at most; None: that is
    not known.
    """
    queue = scheduler._queue
    handed: list[int] = []
    if scheduler._mode or scheduler._mapped or scheduler._resuming or queue.reserved or scheduler.policy == "serial":
        return handed
    if queue.lines:
        most = min(most, 0 if holders is None or scheduler._abandoned else _room_in_limits(queue, holders))
    caller = _innermost_caller(scheduler) if scheduler._blocked_since else NO_STEP
    if caller is None:
        return handed
    heap = queue.open_heap
    queued = queue.queued
    while len(handed) < most:
        if queue.lines:
            heap = _first_heap(queue)
        if not heap:
            break
        index = heap[0] & INDEX_MASK
        if queued[index] == QUEUED:
            if (
                scheduler._made[index]
                or not fits(index)
                or (caller >= 0 and scheduler._call_tree.parent(index) != caller)
            ):
                break
            queued[index] = HANDED_OUT
            handed.append(index)
        heappop(heap)
    return handed


def _first_heap(queue: ReadyQueue) -> list[int]:
    """The heap whose first step would start next; an empty one: no step waits."""
    first, first_key = queue.open_heap, queue.head(queue.open_heap)
    for line in queue.lines.values():
        key = queue.head(line.heap)
        if key is not None and (first_key is None or key < first_key):
            first, first_key = line.heap, key
    return first


def _room_in_limits(queue: ReadyQueue, holders: int) -> int:
    """How many attempts beside ``holders`` may hold limits so that no step in any line waits for one."""
    return min(line.demand.room_beside(holders) for line in queue.lines.values())


def _innermost_caller(scheduler: Scheduler) -> int | None:
    """The blocked step for whose calls all others that are blocked wait, if there is one."""
    blocked = scheduler._blocked_since
    innermost = index = max(blocked, key=scheduler._call_tree.depth)
    waiting = 0
    while index >= 0:
        waiting += index in blocked
        index = scheduler._call_tree.parent(index)
    return innermost if waiting == len(blocked) else None


def take_back(scheduler: Scheduler, index: int) -> None:
    """A step that was handed out and did not start waits here again."""
    queue = scheduler._queue
    if queue.queued[index] != HANDED_OUT:
        return
    if queue.epoch_of[index] is None:
        # It was overtaken too often meanwhile.
        reserve(scheduler, index, scheduler._now)
        return
    queue.queued[index] = QUEUED
    heap = queue.open_heap
    if scheduler._demand and (demand := scheduler._demand.get(index)) is not None:
        line = queue.line(demand)
        line.waited_for_worker_since(_queued_at(scheduler, index))
        heap = line.heap
    heappush(heap, scheduler._keys[index])


def _queued_at(scheduler: Scheduler, index: int) -> int:
    return scheduler._wait_reasons.queued_at.get(index, scheduler._ready_at[index])


def start_handed_out(scheduler: Scheduler, index: int, at: int) -> Attempt | None:
    """The worker that has the step went on to it when its last one ended, ``at``. None: it was cancelled."""
    if scheduler._queue.queued[index] != HANDED_OUT:
        return None
    queued_at = _queued_at(scheduler, index)
    demand = scheduler._demand.get(index) if scheduler._queue.lines else None
    if demand is not None and (line := scheduler._queue.lines.get(demand)) is not None:
        line.waited_for_worker_since(queued_at)
    # The worker may have been free before the step was, and that was not known.
    attempt = scheduler._grant(index, max(at, queued_at))
    _put_in_order(scheduler, scheduler.attempts.pop())
    return attempt


def move_grant(scheduler: Scheduler, attempt: Attempt, at: int) -> None:
    """It turned out that a running attempt got its slot ``at`` another time, before or after: its worker had gone on
    to another step first, or to this one.
    """
    at = max(at, attempt.ready)
    waits = [Wait(wait.reason, wait.start, min(wait.end, at)) for wait in attempt.waits if wait.start < at]
    waited_until = waits[-1].end if waits else attempt.ready
    if waited_until < at:
        waits.append(Wait("worker", waited_until, at))
    attempt.waits = waits
    attempt.granted = at
    _remove(scheduler, attempt)
    _put_in_order(scheduler, attempt)


def regrant(scheduler: Scheduler, attempt: Attempt, at: int) -> None:
    """A granted step was taken back from a worker that had not begun it: it waited for the next one until ``at``, which
    the scheduler may hear of later. Its slot stays taken.
    """
    if attempt.outcome is not None:
        return
    attempt.add_wait(Wait("worker", attempt.granted, at))
    attempt.granted = at
    _remove(scheduler, attempt)
    _put_in_order(scheduler, attempt)


def _remove(scheduler: Scheduler, attempt: Attempt) -> None:
    """Take an attempt out of the record; it is never far from the end."""
    attempts = scheduler.attempts
    del attempts[next(place for place in reversed(range(len(attempts))) if attempts[place] is attempt)]


def _put_in_order(scheduler: Scheduler, attempt: Attempt) -> None:
    """Put an attempt to where its grant belongs; that is never far from the end."""
    attempts = scheduler.attempts
    place = len(attempts)
    while place and attempts[place - 1].granted > attempt.granted:
        place -= 1
    attempts.insert(place, attempt)

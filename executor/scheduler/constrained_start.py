"""Starts where more than a free slot is asked for: steps with needs, steps that reserved, and steps that resume.

Rules of this module:
- Resuming steps come first, then those that reserved, then the queue. A step that was overtaken too often reserves
  before any further start, or as soon as fewer than the most have reserved.
- What a step in front lacks counts as in use for those behind it, if it reserved.
- Each step that still waits has one reason, the first that applies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.record.timeline import Attempt
from executor.scheduler.ready_queue import HANDED_OUT, INDEX_MASK, Line
from executor.scheduler.resources import Demand
from executor.scheduler.states import RESUMING, RUNNING, START

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions are the scheduler's own; they are here so that its class can be read as a whole.
# ruff: noqa: SLF001


def start_constrained(scheduler: Scheduler, now: int) -> list[Attempt]:
    """Start where steps have needs, reserved, or resume."""
    starts: list[Attempt] = []
    queue = scheduler._queue
    scheduler.rate_opens_at = None
    while True:
        if queue.overdue:
            _reserve_overdue(scheduler, now)
        scheduler.limits.clear_reserved()
        if scheduler._resuming:
            _start_resuming(scheduler, now, starts)
        if queue.reserved:
            _start_reserved(scheduler, now, starts)
        _start_queued(scheduler, now, starts)
        if not queue.may_reserve():
            break
    note_lines(scheduler, now)
    return starts


def _start_resuming(scheduler: Scheduler, now: int, starts: list[Attempt]) -> None:
    waiting: list[int] = []
    for key in sorted(scheduler._resuming):
        index = key & INDEX_MASK
        demand = scheduler._demand.get(index)
        reason = None if demand is None else demand.lacks_units()
        if reason is None and scheduler._free > 0:
            starts.append(_resume(scheduler, index, demand, now))
            continue
        waiting.append(key)
        scheduler._wait_reasons.note(index, reason or "worker", now)
        if index in scheduler._resuming_reserved and demand is not None:
            demand.reserve(rates=False)
    scheduler._resuming = waiting


def _start_reserved(scheduler: Scheduler, now: int, starts: list[Attempt]) -> None:
    queue = scheduler._queue
    for index, demand in list(queue.reserved_with_needs.items()):
        _start_reserved_open(scheduler, now, starts, before=queue.reserved[index])
        reason = demand.lacks(now)
        if reason is None and scheduler._free > 0:
            starts.append(scheduler._grant(index, now))
            continue
        scheduler._wait_reasons.note(index, reason or "worker", now)
        _wake_for_rate(scheduler, demand, reason, now)
        demand.reserve()
    _start_reserved_open(scheduler, now, starts)


def _start_reserved_open(scheduler: Scheduler, now: int, starts: list[Attempt], before: int | None = None) -> None:
    """Those that need only a slot: as many as there are slots, without a look at the others."""
    while scheduler._free > 0 and (index := scheduler._queue.next_reserved_open(before)) is not None:
        starts.append(scheduler._grant(index, now))


def _start_queued(scheduler: Scheduler, now: int, starts: list[Attempt]) -> None:
    """Start from the queue, until a step is overdue that may reserve: that comes first."""
    queue = scheduler._queue
    open_lines = list(queue.lines.values())
    while scheduler._free > 0 and not queue.may_reserve():
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
        starts.append(scheduler._grant(best_key & INDEX_MASK, now))


def _reserve_overdue(scheduler: Scheduler, now: int) -> None:
    queue = scheduler._queue
    while queue.may_reserve() and (index := queue.next_overdue()) is not None:
        if scheduler._state[index] == RESUMING:
            scheduler._resuming_reserved.add(index)
            continue
        if queue.queued[index] == HANDED_OUT:
            # Its slot is the next one of the worker where it waits: no reservation would bring it sooner. If it is
            # taken back, it reserves then.
            continue
        reserve(scheduler, index, now)


def reserve(scheduler: Scheduler, index: int, now: int) -> None:
    """From now on the step goes before all that did not reserve."""
    scheduler._wait_reasons.enters_reservation(index, scheduler._ready_at[index], now)
    scheduler._queue.reserve(index, scheduler._demand.get(index))


def note_lines(scheduler: Scheduler, now: int) -> None:
    """Note for each line why it waits from ``now`` on; lines in which no step waits end."""
    queue = scheduler._queue
    for line in list(queue.lines.values()):
        if queue.head(line.heap) is None:
            del queue.lines[line.demand]
            continue
        reason = line.demand.lacks(now)
        history = line.history
        if not history or history[-1][1] != (reason or "worker"):
            line.note(reason or "worker", now)
        if reason is not None and line.demand.rated:
            _wake_for_rate(scheduler, line.demand, reason, now)


def _wake_for_rate(scheduler: Scheduler, demand: Demand, reason: str | None, now: int) -> None:
    if reason is None or not reason.startswith("rate."):
        return
    opens_at = demand.opens_at(now)
    if opens_at is not None:
        known = scheduler.rate_opens_at
        scheduler.rate_opens_at = opens_at if known is None else min(known, opens_at)


def _resume(scheduler: Scheduler, index: int, demand: Demand | None, now: int) -> Attempt:
    attempt = scheduler._live[index]
    if demand is not None:
        demand.hold()
    scheduler._free -= 1
    scheduler._move(index, START, RUNNING)
    scheduler._resuming_reserved.discard(index)
    scheduler._queue.granted(index)
    scheduler._end_resuming(attempt, now)
    return attempt

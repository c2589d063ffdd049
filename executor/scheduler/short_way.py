"""The short ways: what plain runs do at every step, each in one function.

Most steps of most runs need no limit, lock, gate, condition or retry. For those the general way costs more than the
step itself. The same holds for a single call that its step waits for: it takes the slot that the step gives back, and
gives it back to the step. Code that calls tools one after the other does little else.

Rules of this module:
- :func:`succeed` does exactly what :meth:`Scheduler.finish` and :meth:`Scheduler.start` do, :func:`succeed_together`
  what a `finish` for each of several attempts and one `start` do; :func:`call` what `add`, `block` and `start` do;
  :func:`come_back` what `finish`, `unblock` and `start` do. Property tests hold them equal.
- They are taken only while :attr:`Scheduler.short` is True, those of calls while :attr:`Scheduler.plain` is; whatever
  is not plain makes these False for good. `short` is True for conditions of top-level steps and for limits that are
  capacities, too.
- :func:`succeed` is not for steps that made calls, nor while a step waits to resume from them; the other two are taken
  only where it is certain beforehand that no other step would start or resume.
- They write states themselves, which elsewhere :meth:`Scheduler._move` alone does: a call for each change would cost a
  tenth of a step. Property tests hold each change to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS, Attempt, Wait
from executor.scheduler.admission import own_index
from executor.scheduler.call_tree import NO_STEP
from executor.scheduler.constrained_start import note_lines, start_constrained
from executor.scheduler.ready_queue import INDEX_MASK, QUEUED, Line, ReadyQueue, start_key
from executor.scheduler.states import BLOCKED, READY, RESUMING, RUNNING, SUCCEEDED
from executor.scheduler.wait_reasons import waits_in_line

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions are the scheduler's own; they are here so that its class can be read as a whole.
# ruff: noqa: SLF001

# `Attempt(…)` in two calls: CPython 3.11 and 3.12 make the one by way of C and back, which costs 3 % of a step.
new_attempt: Callable[[type[Attempt]], Attempt] = Attempt.__new__
fill_attempt = Attempt.__init__


def succeed(scheduler: Scheduler, attempt: Attempt, now: int) -> list[Attempt] | None:
    """Finish ``attempt`` as succeeded and start what can start. None: not a plain case, nothing was changed."""
    index = attempt.index
    if not scheduler.short or scheduler._live.get(index) is not attempt:
        return None
    if scheduler._has_calls and (
        scheduler._resuming or scheduler._state[index] != RUNNING or scheduler._call_tree.has_calls(index)
    ):
        return None
    if now > scheduler._now:
        scheduler._now = now
    else:
        now = scheduler._now
    del scheduler._live[index]
    attempt.outcome = "succeeded"
    attempt.known = now
    scheduler._state[index] = SUCCEEDED
    scheduler._free += 1
    scheduler.remaining -= 1
    if scheduler._demand and (demand := scheduler._demand.get(index)) is not None:
        demand.release()
    children = scheduler._children[index]
    if children:
        _release_plain(scheduler, index, children, now)
    return _start_plain(scheduler, now)


def succeed_together(scheduler: Scheduler, attempts: Sequence[Attempt], now: int) -> list[Attempt] | None:
    """Finish ``attempts`` as succeeded, all of one instant, and start what can start. None: not a plain case, nothing
    was changed.
    """
    live = scheduler._live
    if not scheduler.short or scheduler._has_calls or len(set(attempts)) < len(attempts):
        return None
    for attempt in attempts:
        if live.get(attempt.index) is not attempt:
            return None
    if now > scheduler._now:
        scheduler._now = now
    else:
        now = scheduler._now
    states, all_children, demands = scheduler._state, scheduler._children, scheduler._demand
    for attempt in attempts:
        if scheduler.condition_errors:
            # By the end of another of them, a condition was decided that cannot be: nothing is plain any more.
            scheduler.finish(attempt, "succeeded", now)
            continue
        index = attempt.index
        del live[index]
        attempt.outcome = "succeeded"
        attempt.known = now
        states[index] = SUCCEEDED
        scheduler._free += 1
        scheduler.remaining -= 1
        if demands and (demand := demands.get(index)) is not None:
            demand.release()
        children = all_children[index]
        if children:
            _release_plain(scheduler, index, children, now)
    return _start_plain(scheduler, now)


def _release_plain(scheduler: Scheduler, index: int, children: list[int], now: int) -> None:
    pending = scheduler._data_pending
    queue = scheduler._queue
    conditional, demands = scheduler._conditional, scheduler._demand
    epoch = None
    ended: list[int] = []
    for child in children:
        left = pending[child] - 1
        pending[child] = left
        if left:
            continue
        if conditional and child in conditional and scheduler._ends_by_condition(child):
            ended.append(child)
            continue
        scheduler._state[child] = READY
        scheduler._ready_at[child] = now
        scheduler._released_by[child] = index
        if epoch is None:
            epoch = queue.epoch_at(now)
        queue.queued[child] = QUEUED
        demand = demands.get(child) if demands else None
        heappush(queue.open_heap if demand is None else queue.line(demand).heap, scheduler._keys[child])
        epoch.waiting += 1
        epoch.members.append(child)
        queue.epoch_of[child] = epoch
    if ended:
        # Conditions have ended steps: what follows from it is decided the general way.
        scheduler._cascade(ended, index, now)


def _start_plain(scheduler: Scheduler, now: int) -> list[Attempt]:
    queue = scheduler._queue
    if queue.reserved:
        # Steps that were overtaken too often are not in the heap.
        return start_constrained(scheduler, now)
    starts: list[Attempt] = []
    heap = queue.open_heap
    open_lines = list(queue.lines.values()) if queue.lines else None
    queued, epoch_of, oldest = queue.queued, queue.epoch_of, queue.epochs[0]
    step_ids = scheduler.step_ids
    parents = scheduler._call_tree.parent if scheduler._has_calls else None
    while scheduler._free > 0:
        line = None
        if open_lines and (line := _first_line(queue, open_lines)) is not None:
            index = heappop(line.heap) & INDEX_MASK
        elif heap:
            index = heappop(heap) & INDEX_MASK
        else:
            break
        if queued[index] != QUEUED:
            continue
        queued[index] = 0
        if epoch_of[index] is oldest:
            # What `granted` does in by far the most cases.
            epoch_of[index] = None
            oldest.waiting -= 1
            if not oldest.waiting:
                queue.end_epochs()
                oldest = queue.epochs[0]
        else:
            queue.granted(index)
        ready = scheduler._ready_at[index]
        released_by = scheduler._released_by[index]
        parent = NO_STEP if parents is None else parents(index)
        waits: str | Sequence[Wait] | None = None
        if ready != now:
            waits = "worker" if line is None else waits_in_line(line.history, ready, now)
        attempt = new_attempt(Attempt)
        fill_attempt(
            attempt,
            index,
            step_ids[index],
            1,
            ready,
            now,
            None if released_by < 0 else step_ids[released_by],
            None if parent < 0 else step_ids[parent],
            waits,
        )
        scheduler._made[index] = 1
        scheduler._state[index] = RUNNING
        scheduler._live[index] = attempt
        scheduler.attempts.append(attempt)
        starts.append(attempt)
        scheduler._free -= 1
        if line is not None:
            line.demand.hold()
        if queue.overdue:
            return starts + start_constrained(scheduler, now)
    if queue.lines:
        note_lines(scheduler, now)
    return starts


def _first_line(queue: ReadyQueue, open_lines: list[Line]) -> Line | None:
    """The line whose first step starts next; None: one without needs does, or there is none. Lines that lack units are
    taken out of ``open_lines``.
    """
    while True:
        best: Line | None = None
        best_key = queue.head(queue.open_heap)
        for line in open_lines:
            key = queue.head(line.heap)
            if key is not None and (best_key is None or key < best_key):
                best, best_key = line, key
        if best is None or best.demand.lacks_units() is None:
            return best
        open_lines.remove(best)


# ---------------------------------------------------------------------- a single call


def call(scheduler: Scheduler, caller: Attempt, step: Step, now: int) -> Attempt | None:
    """Add a call, block ``caller``, start the call: its attempt. None: not a plain case, nothing was changed."""
    parent = caller.index
    queue = scheduler._queue
    if not scheduler.plain or scheduler._resuming or queue.reserved or queue.may_be_overdue() or scheduler._free < 0:
        return None
    if scheduler._live.get(parent) is not caller or scheduler._state[parent] != RUNNING:
        return None
    if step.needs or step.depends_on or step.reads or step.writes or step.when is not None or step.for_each is not None:
        return None
    call_tree, step_ids = scheduler._call_tree, scheduler.step_ids
    index = len(step_ids)
    expected_seconds = step.expected_seconds
    rank = NANOSECONDS if expected_seconds is None else round(expected_seconds * NANOSECONDS)
    key = start_key(index, step, rank, call_tree.depth(parent) + 1)
    first = queue.head(queue.open_heap)
    if first is not None and (scheduler._free or first < key):
        return None
    step_id = call_tree.add_plain_call(parent, caller.step_id, index, scheduler.index)
    if step_id is None:
        return None
    now = scheduler._advance_to(now)
    scheduler._has_calls = True
    _add_running_call(scheduler, step, step_id, key, parent, now)
    queue.pass_through(index, now)
    # The slot of the one is that of the other.
    scheduler._state[parent] = BLOCKED
    scheduler._blocked_since[parent] = now
    attempt = Attempt(index, step_id, 1, now, now, caller.step_id, caller.step_id)
    scheduler._live[index] = attempt
    scheduler.attempts.append(attempt)
    return attempt


def _add_running_call(scheduler: Scheduler, step: Step, step_id: str, key: int, parent: int, now: int) -> None:
    index = len(scheduler.step_ids)
    scheduler.steps.append(step)
    scheduler.step_ids.append(step_id)
    own_index(scheduler)[step_id] = index
    scheduler._state.append(READY)
    scheduler._state[index] = RUNNING
    scheduler._fate.append(0)
    scheduler._data_pending.append(0)
    scheduler._children.append([])
    scheduler._data_parents.append(())
    scheduler._order_parents.append(())
    scheduler._keys.append(key)
    scheduler._ready_at.append(now)
    scheduler._released_by.append(parent)
    scheduler._made.append(1)
    scheduler._queue.grow_by_one()
    scheduler.remaining += 1


def come_back(scheduler: Scheduler, attempt: Attempt, caller: Attempt, now: int) -> bool:
    """Finish ``attempt``, the last call that ``caller`` waits for, as succeeded, and let the caller resume. False:
    not a plain case, nothing was changed.
    """
    index, parent = attempt.index, caller.index
    queue, state, live = scheduler._queue, scheduler._state, scheduler._live
    if not scheduler.plain or scheduler._resuming or queue.reserved or queue.may_be_overdue() or scheduler._free < 0:
        return False
    if live.get(index) is not attempt or state[index] != RUNNING:
        return False
    if live.get(parent) is not caller or state[parent] != BLOCKED:
        return False
    if scheduler._children[index] or scheduler._call_tree.has_calls(index):
        return False
    if scheduler._free and queue.head(queue.open_heap) is not None:
        return False
    now = scheduler._advance_to(now)
    del live[index]
    attempt.outcome = "succeeded"
    attempt.known = now
    state[index] = SUCCEEDED
    scheduler.remaining -= 1
    state[parent] = RESUMING
    scheduler._end_block(caller, now)
    queue.pass_through(parent, now)
    state[parent] = RUNNING
    return True

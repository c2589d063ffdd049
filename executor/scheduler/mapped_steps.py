"""Mapped steps: one step of a workflow, done once for each item of a list that is known when it is ready.

A mapped step is a join: it holds neither slot nor limits. When it would start, the list is asked for, its items come in
as calls below it, and it is blocked until the last of them is final.

Rules of this module:
- An item has what its step has: tool, needs, retry, timeout, states, priority, rank. In the order of starts, where a
  run stops, and in what its failure means, it counts as a step of the workflow that was added late.
- Lists are made, and outputs put together, by the engine (:class:`executor.scheduler.items.Items`); here
  are numbers alone.
- It ends at the instant at which its last item is final: failed if an item failed, else cancelled if one was cancelled.
- Lists are asked for, and ends are noted, after all completions of an instant and before anything starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from executor.model.workflow import Resource, Step, max_parallel_resource
from executor.record.timeline import Attempt, Wait
from executor.scheduler.admission import NewStep, append_step
from executor.scheduler.ready_queue import INDEX_BITS, INDEX_MASK
from executor.scheduler.states import (
    BLOCKED,
    CANCEL,
    CANCELLED,
    EXPAND,
    FAIL,
    FAILED,
    READY,
    SUCCEED,
    SUCCEEDED,
)

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions are the scheduler's own; they are here so that its class can be read as a whole.
# ruff: noqa: SLF001

EVENT_OF_END = {SUCCEEDED: SUCCEED, FAILED: FAIL, CANCELLED: CANCEL}


def start_mapped(scheduler: Scheduler, now: int) -> None:
    """Ask for lists that are due, and end mapped steps whose items are final."""
    # An empty list, or a failure, may make other mapped steps ready, or end them.
    while scheduler._to_expand or scheduler._to_join:
        joining, scheduler._to_join = scheduler._to_join, []
        expanding, scheduler._to_expand = scheduler._to_expand, []
        for index in sorted(joining):
            if scheduler._state[index] == BLOCKED:
                _join(scheduler, index, now)
        for key in sorted(scheduler._keys[index] for index in expanding):
            index = key & INDEX_MASK
            if scheduler._state[index] == READY:
                _expand(scheduler, index, now)
        scheduler._open_gate(now)


def _expand(scheduler: Scheduler, index: int, now: int) -> None:
    items = scheduler._items
    waits = scheduler._wait_reasons.take_own(index, scheduler._ready_at[index], now)
    try:
        count = items.count(index)
    except Exception as error:  # noqa: BLE001  # whatever a user's expression raises is that step's failure
        scheduler.condition_errors[index] = error
        scheduler._move(index, EXPAND, FAILED)
        scheduler._cascade([index], index, now)
        return
    attempt = _begin(scheduler, index, waits, now)
    first = len(scheduler.steps)
    if count:
        scheduler._items_left[index] = count
        scheduler._move(index, EXPAND, BLOCKED)
        scheduler._blocked_since[index] = now
        scheduler._live[index] = attempt
        _add_items(scheduler, index, count)
    items.began(attempt, range(first, first + count))
    if not count:
        _end_mapped(scheduler, attempt, EXPAND, SUCCEEDED, now)
        return
    for item in range(first, first + count):
        scheduler._decide_new(item, index, now)


def _begin(scheduler: Scheduler, index: int, waits: Sequence[Wait], now: int) -> Attempt:
    ready, released_by = scheduler._ready_at[index], scheduler._released_by[index]
    attempt = Attempt(
        index,
        scheduler.step_ids[index],
        1,
        ready,
        now,
        None if released_by < 0 else scheduler.step_ids[released_by],
        None,
        waits or None,
    )
    attempt.started = now
    scheduler._made[index] = 1
    scheduler.attempts.append(attempt)
    return attempt


def _add_items(scheduler: Scheduler, index: int, count: int) -> None:
    step = _item_of(scheduler, index)
    rank = scheduler._keys[index] >> INDEX_BITS << INDEX_BITS
    first = len(scheduler.steps)
    call_tree = scheduler._call_tree
    new_ids = call_tree.new_ids(index, scheduler.step_ids[index], count, scheduler.index)
    for place, step_id in enumerate(new_ids, first):
        append_step(scheduler, NewStep(step, step_id, (), call_tree.add_call(index, place, step)), rank | place)
    scheduler._has_calls = True


def note_item(scheduler: Scheduler, index: int) -> None:
    """A step is final; it may be the last item of a mapped one."""
    parent = scheduler._call_tree.parent(index)
    left = scheduler._items_left.pop(parent, 0)
    if left > 1:
        scheduler._items_left[parent] = left - 1
    elif left:
        scheduler._to_join.append(parent)


def _item_of(scheduler: Scheduler, index: int) -> Step:
    """What is done for each item. All items share it: what differs is known to who runs them."""
    step = scheduler.steps[index]
    needs = dict(step.needs or {})
    if step.max_parallel is not None:
        name = max_parallel_resource(step.step_id)
        scheduler.limits.declare(name, Resource(capacity=step.max_parallel))
        needs[name] = 1
    alone = {"for_each": None, "max_parallel": None, "expected_items": None, "when": None, "depends_on": ()}
    return step.model_copy(update={**alone, "needs": needs or None, "parallel_group": None})


def _join(scheduler: Scheduler, index: int, now: int) -> None:
    states = {scheduler._state[item] for item in scheduler._call_tree.calls(index)}
    state = FAILED if FAILED in states else CANCELLED if CANCELLED in states else SUCCEEDED
    _end_mapped(scheduler, scheduler._live.pop(index), EVENT_OF_END[state], state, now)


def _end_mapped(scheduler: Scheduler, attempt: Attempt, event: int, state: int, now: int) -> None:
    index = attempt.index
    if index in scheduler._blocked_since:
        scheduler._end_block(attempt, now)
    attempt.ended = attempt.known = now
    attempt.outcome = "succeeded" if state == SUCCEEDED else "failed" if state == FAILED else "cancelled"
    items = scheduler._call_tree.calls(index)
    if scheduler.reused and items and scheduler.reused.issuperset(items):
        scheduler.reused.add(index)
        if scheduler.cached.issuperset(items):
            scheduler.cached.add(index)
    scheduler._items.ended(attempt, items)
    scheduler._move(index, event, state)
    scheduler._cascade([index], index, now)

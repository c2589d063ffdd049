"""Every invariant of the scheduler, computed from scratch and compared with what it keeps. For tests: O(steps)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from executor.model.device_needs import PARTS
from executor.scheduler.errors import SchedulerError
from executor.scheduler.ready_queue import OUT, RESERVED
from executor.scheduler.states import (
    BACKING_OFF,
    BLOCKED,
    CANCELLED,
    FIRST_FINAL,
    READY,
    RESUMING,
    RUNNING,
    STATE_NAMES,
    WAITING,
)

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions check the scheduler's own fields.
# ruff: noqa: SLF001


def _demand_that(scheduler: Scheduler, condition: bool, message: str, index: int | None = None) -> None:
    if not condition:
        raise SchedulerError(f"broken invariant: {message}", "" if index is None else scheduler.history(index))


def validate(scheduler: Scheduler) -> None:
    """Compare what is kept with what follows from the states.

    Raises:
        SchedulerError: they differ.
    """
    states = scheduler._state
    count = Counter(states)
    final = sum(number for state, number in count.items() if state >= FIRST_FINAL)
    _demand_that(
        scheduler,
        scheduler.remaining == len(states) - final + scheduler.held,
        "remaining counts the steps that are not final",
    )
    _demand_that(
        scheduler, scheduler._free == scheduler.slots - count[RUNNING], "free slots are slots less running steps"
    )
    live = count[RUNNING] + count[BLOCKED] + count[RESUMING]
    _demand_that(scheduler, len(scheduler._live) == live, "live attempts belong to running, blocked and resuming steps")
    made = Counter(attempt.index for attempt in scheduler.attempts)
    for index in range(len(states)):
        _demand_that(scheduler, scheduler._made[index] == made[index], "attempts are counted", index)
        _validate_step(scheduler, index)
    _validate_limits(scheduler)
    _validate_devices(scheduler)


def _validate_step(scheduler: Scheduler, index: int) -> None:
    state = scheduler._state[index]
    parents = scheduler._data_parents[index]
    pending = sum(scheduler._state[parent] < FIRST_FINAL for parent in parents)
    name = STATE_NAMES[state]
    if state == WAITING:
        _demand_that(
            scheduler, scheduler._data_pending[index] == pending > 0, "a waiting step waits for another", index
        )
    elif state != CANCELLED or scheduler._made[index]:
        _demand_that(scheduler, pending == 0, f"a step is {name} and a dependency is not final", index)
    queued = scheduler._queue.queued[index]
    _demand_that(scheduler, queued == OUT or state == READY, f"a step is queued and {name}", index)
    _demand_that(
        scheduler, (index in scheduler._queue.reserved) == (queued == RESERVED), "reserved steps are listed", index
    )
    if state == READY:
        waits_elsewhere = index in scheduler._held or scheduler._locks.locked(index)
        waits_elsewhere |= index in scheduler._to_expand or index in scheduler._to_reuse
        _demand_that(scheduler, (queued != OUT) != waits_elsewhere, "a ready step is queued, or held, or locked", index)
    _demand_that(
        scheduler, (index in scheduler._due) == (state == BACKING_OFF), "backing-off steps have a due time", index
    )
    resuming = scheduler._keys[index] in scheduler._resuming
    _demand_that(scheduler, resuming == (state == RESUMING), "resuming steps are listed", index)
    if state in (RUNNING, BLOCKED, RESUMING):
        _demand_that(scheduler, not scheduler._locks.locked(index), "a step runs past its locks", index)


def _validate_devices(scheduler: Scheduler) -> None:
    """Devices are held by live attempts, blocked ones too, and by abandoned ones; and by nothing else."""
    holders = [attempt for attempt in (*scheduler._live.values(), *scheduler._abandoned) if attempt.devices]
    for pool in scheduler.limits.pools.values():
        expected = {attempt for attempt in holders if pool.kind in (attempt.devices or ())}
        _demand_that(scheduler, set(pool.holding) == expected, f"devices of {pool.kind} are held by who has them")
        for device in pool.devices:
            needs = [need for need, devices in pool.holding.values() if device in devices]
            named = [it for it in expected if device.identifier in (it.devices or {})[pool.kind]]
            _demand_that(scheduler, len(named) == len(needs) == device.holders, "each attempt keeps its devices")
            alone = len(needs) == 1 or not any(need.whole for need in needs)
            _demand_that(scheduler, alone, f"a whole device of {pool.kind} is for one step alone")
            share = sum(PARTS if need.whole else need.share for need in needs)
            memory = sum(device.memory if need.whole else need.memory for need in needs)
            _demand_that(scheduler, share == device.share_held <= PARTS, f"shares of {pool.kind} are those held")
            _demand_that(scheduler, memory == device.memory_held <= device.memory, f"memory of {pool.kind} is counted")


def _validate_limits(scheduler: Scheduler) -> None:
    in_use: Counter[str] = Counter()
    held = [scheduler._demand.get(i) for i in scheduler._live if scheduler._state[i] == RUNNING]
    for demand in [*held, *scheduler._abandoned.values()]:
        for limit, units, _ in demand.parts if demand is not None else ():
            in_use[limit.name] += units
    for limit in scheduler.limits:
        _demand_that(scheduler, limit.in_use == in_use[limit.name], f"units of {limit.name} in use are those held")
        if limit.capacity is not None and limit.largest_capacity == limit.capacity:
            _demand_that(scheduler, limit.in_use <= limit.capacity, f"no more units of {limit.name} than its capacity")

"""Steps whose result is there already, from an earlier run: they end without an attempt when they would start.

Whether a result may be used is known only when everything that the step uses is there. So each step is asked about at
the instant at which it would go to the queue: its dependencies are final, its ``when`` is true, barrier and locks open.

Rules of this module:
- A reused step holds neither slot nor limits, takes no time, and has no attempt: nothing of it is measured.
- Steps are asked about after all completions of an instant and before anything starts, in the order of starts.
- A step that had an attempt in this run is asked about no more: its retry runs.
- What a reused step releases was released by whatever released the reused step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from executor.scheduler import mapped_steps
from executor.scheduler.ready_queue import INDEX_MASK
from executor.scheduler.states import READY, REUSE, SKIPPED, SUCCEEDED

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions are the scheduler's own; they are here so that its class can be read as a whole.
# ruff: noqa: SLF001

# `reused`, `cached`: its result is there. `left_out`: it counts as a step whose `when` is false. None: it runs.
Reuse: TypeAlias = Literal["reused", "cached", "left_out"] | None


def end_reused(scheduler: Scheduler, now: int) -> None:
    """End the steps whose result is there, and put the others into the queue."""
    # What ends may make further steps ready, and mapped steps bring in items.
    while scheduler._to_reuse:
        asked, scheduler._to_reuse = scheduler._to_reuse, []
        for key in sorted(scheduler._keys[index] for index in asked):
            index = key & INDEX_MASK
            if scheduler._state[index] == READY:
                _ask(scheduler, index, now)
        scheduler._open_gate(now)
        if scheduler._mapped:
            mapped_steps.start_mapped(scheduler, now)


def _ask(scheduler: Scheduler, index: int, now: int) -> None:
    assert scheduler._reuse is not None
    answer = scheduler._reuse(index)
    if answer is None:
        scheduler._push(index, now)
        return
    scheduler._wait_reasons.take_own(index, scheduler._ready_at[index], now)
    if answer == "left_out":
        scheduler._false_condition.add(index)
        scheduler._move(index, REUSE, SKIPPED)
    else:
        scheduler.reused.add(index)
        if answer == "cached":
            scheduler.cached.add(index)
        scheduler._move(index, REUSE, SUCCEEDED)
    scheduler.ended_unrun = True
    scheduler._cascade([index], scheduler._released_by[index], now)

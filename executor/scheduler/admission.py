"""Steps are added: a whole graph at first, later single steps, and the calls that running steps make.

Rules of this module:
- Everything is checked before anything is changed.
- Late steps are last: in the file order, and among those who use a state. The steps before them are not ranked again.
- What is added waits; :meth:`Scheduler.add` decides at once on those that wait for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from executor.dependencies import Graph, OrderEdge
from executor.dependencies.graph import topological_order
from executor.model.device_needs import need_faults, together_faults
from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS
from executor.scheduler.barriers import Gate
from executor.scheduler.call_tree import NO_STEP
from executor.scheduler.errors import SchedulerError
from executor.scheduler.locks import StateUse
from executor.scheduler.ready_queue import start_key
from executor.scheduler.resources import Limits
from executor.scheduler.states import BLOCKED, RUNNING

if TYPE_CHECKING:
    from executor.scheduler.scheduler import Scheduler

# These functions are the scheduler's own; they are here so that its class can be read as a whole.
# ruff: noqa: SLF001


class NewStep(NamedTuple):
    """A step to add: its id, and the indices of what it depends on."""

    step: Step
    step_id: str
    above: tuple[int, ...]
    edges: tuple[OrderEdge, ...]

    @property
    def parents(self) -> list[int]:
        """Over data and order edges."""
        return [*self.above, *(predecessor for predecessor, _ in self.edges)]


def add_graph(scheduler: Scheduler, graph: Graph) -> None:
    """Add the steps of a whole graph, which is known to keep the rules."""
    count = len(graph.steps)
    scheduler.steps.extend(graph.steps)
    scheduler.step_ids.extend(step.step_id for step in graph.steps)
    scheduler.index = graph.index
    _grow(scheduler, count)
    scheduler._data_parents.extend(graph.data_parents)
    scheduler._data_pending.extend(len(parents) for parents in graph.data_parents)
    children = scheduler._children
    # The integers of the index once more: a million of their own would take 32 MB.
    for index, parents in zip(graph.index.values(), graph.data_parents, strict=True):
        for parent in parents:
            children[parent].append(index)
    ranks = graph.ranks
    scheduler._keys.extend(start_key(index, step, ranks[index]) for index, step in enumerate(graph.steps))
    for index, step in enumerate(graph.steps):
        _add_order_edges(scheduler, index, graph.order_edges[index])
        _add_details(scheduler, index, step)
        if scheduler._gate is not None:
            _add_to_gate(scheduler, scheduler._gate, index, step, graph.levels[index])


def add_late(scheduler: Scheduler, steps: Sequence[Step]) -> None:
    """Add steps to those that are there.

    Raises:
        SchedulerError: a step breaks a rule; none was added.
    """
    checked = _check_late(scheduler, steps)
    if scheduler._late_state_use is None:
        scheduler._late_state_use = StateUse()
        for index in _fixed_order(scheduler):
            scheduler._late_state_use.edges(index, scheduler.steps[index])
    new: list[NewStep] = []
    for step, above in checked:
        edges = scheduler._late_state_use.edges(len(scheduler.steps) + len(new), step)
        new.append(NewStep(step, step.step_id, above, edges))
    _append_all(scheduler, new)


def _fixed_order(scheduler: Scheduler) -> list[int]:
    """The top-level steps that use a state, so that each comes after those that it has order edges to."""
    users = [
        index
        for index, step in enumerate(scheduler.steps)
        if (step.reads or step.writes) and scheduler._call_tree.parent(index) < 0
    ]
    position = {index: place for place, index in enumerate(topological_order(scheduler._data_parents))}
    return sorted(users, key=position.__getitem__)


def _check_late(scheduler: Scheduler, steps: Sequence[Step]) -> list[tuple[Step, tuple[int, ...]]]:
    """Each step with what it depends on."""
    first = len(scheduler.steps)
    known: dict[str, int] = {}
    checked: list[tuple[Step, tuple[int, ...]]] = []
    for offset, step in enumerate(steps):
        if step.step_id in scheduler.index or step.step_id in known:
            raise SchedulerError(f"step {step.step_id!r} is there already")
        _check_needs(scheduler.limits, step)
        above: set[int] = set()
        for name in step.depends_on:
            index = scheduler.index.get(name, known.get(name))
            if index is None:
                raise SchedulerError(f"step {step.step_id!r} depends on {name!r}, which no step before it is")
            above.add(index)
        checked.append((step, tuple(sorted(above))))
        known[step.step_id] = first + offset
    return checked


def _check_needs(limits: Limits, step: Step) -> None:
    for name, units in (step.needs or {}).items():
        kind = limits.device_kind(name)
        if kind is not None:
            for _, message, fix in need_faults(name, units, limits.pools[kind].declared, kind):
                raise SchedulerError(f"step {step.step_id!r} {message}: {fix}")
            continue
        if units != int(units):
            raise SchedulerError(f"step {step.step_id!r} needs {units:g} of {name!r}, which is counted in whole units")
        limit = limits.by_name.get(name)
        if limit is None:
            raise SchedulerError(f"step {step.step_id!r} needs the resource {name!r}, which is not declared")
        capacity = limit.capacity if limit.adaptive is None else limit.resource.smallest_capacity
        if capacity is not None and units > capacity:
            raise SchedulerError(f"step {step.step_id!r} needs {units} of {name!r}, capacity {capacity}")
        tokens = step.expected_tokens
        if limit.tokens is not None and tokens is not None and tokens > limit.tokens.burst:
            raise SchedulerError(f"step {step.step_id!r} expects more tokens than {name!r} ever holds")
    if limits.pools:
        for pool, need in limits.device_parts(step):
            for _, message, fix in together_faults(need, pool.declared):
                raise SchedulerError(f"step {step.step_id!r} {message}: {fix}")


def _check_devices_of_call(scheduler: Scheduler, step: Step, parent: int) -> None:
    """A step keeps its devices while it waits for its calls. If those waited for devices, two such steps could wait for
    each other for ever.
    """
    wanted = [pool.kind for pool, _ in scheduler.limits.device_parts(step)]
    above = parent if wanted else NO_STEP
    while above >= 0:
        attempt = scheduler._live.get(above)
        if attempt is not None and attempt.devices:
            raise SchedulerError(
                f"step {attempt.step_id!r} keeps its devices ({', '.join(attempt.devices)}) while it waits for its "
                f"calls, so these can need none ({wanted[0]}): let the calls alone need devices"
            )
        above = scheduler._call_tree.parent(above)


def add_child_steps(scheduler: Scheduler, steps: Sequence[Step], parent_id: str) -> int:
    """Add the calls of a running step. Returns the index of that step.

    Raises:
        SchedulerError: a call breaks a rule; none was added.
    """
    parent = scheduler.index.get(parent_id)
    if parent is None:
        raise SchedulerError(f"{parent_id!r} is no step, so it can make no calls")
    if scheduler._state[parent] not in (RUNNING, BLOCKED):
        raise SchedulerError(f"only a running step can make calls, {parent_id!r} is not", scheduler.history(parent))
    for step in steps:
        _check_needs(scheduler.limits, step)
        if scheduler.limits.pools:
            _check_devices_of_call(scheduler, step, parent)
    calls = scheduler._call_tree.check_calls(
        parent, parent_id, scheduler.steps[parent], steps, scheduler.index, scheduler.is_final, len(scheduler.steps)
    )
    first = len(scheduler.steps)
    _append_all(
        scheduler,
        [
            NewStep(step, step_id, above, scheduler._call_tree.add_call(parent, first + offset, step))
            for offset, (step, step_id, above) in enumerate(calls)
        ],
    )
    scheduler._has_calls = True
    return parent


def _append_all(scheduler: Scheduler, new: Sequence[NewStep]) -> None:
    """Add steps that come together; they are ranked among themselves."""
    first = len(scheduler.steps)
    ranks = [round((1.0 if it.step.expected_seconds is None else it.step.expected_seconds) * NANOSECONDS) for it in new]
    own = ranks[:]
    for offset in reversed(range(len(new))):
        if not (new[offset].above or new[offset].edges):
            continue
        for parent in new[offset].parents:
            if parent >= first:
                ranks[parent - first] = max(ranks[parent - first], own[parent - first] + ranks[offset])
    for index, it in enumerate(new, first):
        append_step(scheduler, it, start_key(index, it.step, ranks[index - first], scheduler._call_tree.depth(index)))


def append_step(scheduler: Scheduler, new: NewStep, key: int) -> None:
    """Add one step after all others; ``key`` is its place in the order of starts."""
    index = len(scheduler.steps)
    scheduler.steps.append(new.step)
    scheduler.step_ids.append(new.step_id)
    own_index(scheduler)[new.step_id] = index
    _grow(scheduler, 1)
    scheduler._data_parents.append(new.above)
    pending = 0
    for parent in new.above:
        if scheduler.is_final(parent):
            scheduler._fate[index] = max(scheduler._fate[index], scheduler._fate_from(parent))
        else:
            scheduler._children[parent].append(index)
            pending += 1
    scheduler._data_pending.append(pending)
    scheduler._keys.append(key)
    _add_order_edges(scheduler, index, new.edges)
    _add_details(scheduler, index, new.step)
    if scheduler._gate is not None and scheduler._call_tree.parent(index) < 0:
        level = max((_level(scheduler, parent) + 1 for parent in new.parents), default=0)
        _add_to_gate(scheduler, scheduler._gate, index, new.step, level)


def own_index(scheduler: Scheduler) -> dict[str, int]:
    """The index, to be written to."""
    if not scheduler.owns_index:
        scheduler.index = dict(scheduler.index)
        scheduler.owns_index = True
    return scheduler.index


def _level(scheduler: Scheduler, index: int) -> int:
    """A call has the level of the top-level step above it."""
    while (parent := scheduler._call_tree.parent(index)) >= 0:
        index = parent
    return scheduler._levels[index]


def _grow(scheduler: Scheduler, count: int) -> None:
    scheduler._state.extend(bytes(count))
    scheduler._fate.extend(bytes(count))
    scheduler._children.extend([] for _ in range(count))
    scheduler._ready_at.extend([0] * count)
    scheduler._released_by.extend([NO_STEP] * count)
    scheduler._made.extend([0] * count)
    scheduler._queue.grow(count)
    scheduler.remaining += count


def _add_order_edges(scheduler: Scheduler, index: int, edges: Sequence[OrderEdge]) -> None:
    if not edges:
        scheduler._order_parents.append(())
        return
    scheduler._has_locks = True
    scheduler.plain = scheduler.short = False
    scheduler._order_parents.append(tuple(dict.fromkeys(predecessor for predecessor, _ in edges)))
    scheduler._locks.add(index, edges, [scheduler._is_released(predecessor) for predecessor, _ in edges])


def _add_details(scheduler: Scheduler, index: int, step: Step) -> None:
    if step.for_each is not None:
        scheduler.plain = scheduler.short = False
        scheduler._mapped.add(index)
    elif step.needs:
        scheduler.plain = False
        demand = scheduler.limits.demand(step)
        if demand is not None:
            scheduler._demand[index] = demand
            scheduler.short &= not (demand.rated or demand.adapts or demand.devices)
    if step.when is not None:
        scheduler._conditional.add(index)
        scheduler.plain = False
        # A call that its condition ends may be what its step waits for.
        scheduler.short &= scheduler._call_tree.parent(index) == NO_STEP


def _add_to_gate(scheduler: Scheduler, gate: Gate, index: int, step: Step, level: int) -> None:
    scheduler._levels[index] = level
    gate.add(index, step, level)

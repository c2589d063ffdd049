"""Steps come in: a whole graph at first, later single steps, and the calls that running steps make.

Rules of this module:
- Everything is checked before anything is changed.
- Late steps stand last: in the file order, and among those who use a state. What is there is not ranked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from executor.dependencies import Graph, OrderEdge
from executor.dependencies.graph import topological_order
from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS
from executor.scheduler.barriers import Gate
from executor.scheduler.family import NOBODY
from executor.scheduler.locks import StateUse
from executor.scheduler.queue import start_key
from executor.scheduler.settling import Settling
from executor.scheduler.states import BLOCKED, RUNNING, WAITING
from executor.scheduler.story import SchedulerError


class NewStep(NamedTuple):
    """A step on its way in: its id, and the indices of what it depends on."""

    step: Step
    step_id: str
    above: tuple[int, ...]
    edges: tuple[OrderEdge, ...]

    @property
    def parents(self) -> list[int]:
        """Over data and order edges."""
        return [*self.above, *(predecessor for predecessor, _ in self.edges)]


class Intake(Settling):
    """``add`` in its three forms."""

    def add(self, steps: Graph | Sequence[Step], now: int, parent: str | None = None) -> list[str]:
        """Add a whole graph, or steps late, or the calls of a running step (``parent``). Returns the ids.

        Late steps name what they depend on in ``depends_on``. Calls get the ids ``<parent>/<n>``; within one batch
        they may name each other by the ids that they came with.

        Raises:
            SchedulerError: a rule is broken; nothing was added.
        """
        first = len(self.steps)
        caller = NOBODY
        if isinstance(steps, Graph):
            if first or parent is not None:
                raise SchedulerError("a graph is added first, and once; later steps are added as steps")
            self._add_graph(steps)
        elif parent is None:
            self._add_late(steps)
        else:
            caller = self._add_calls(steps, parent)
        now = self._advance_to(now)
        for index in range(first, len(self.steps)):
            if self._state[index] == WAITING and not self._data_pending[index]:
                self._decide_new(index, caller, now)
        return self.step_ids[first:]

    def hold(self) -> None:
        """Further steps will come: the run is not done before :meth:`release`, or until it is cancelled."""
        self.held += 1
        self.remaining += 1

    def release(self) -> None:
        """No further steps will come. Of a run that is not held nothing changes."""
        if self.held:
            self.held -= 1
            self.remaining -= 1

    def _add_graph(self, graph: Graph) -> None:
        count = len(graph.steps)
        self.steps.extend(graph.steps)
        self.step_ids.extend(step.step_id for step in graph.steps)
        self.index = dict(graph.index)
        self._grow(count)
        self._data_parents.extend(graph.data_parents)
        self._data_pending.extend(len(parents) for parents in graph.data_parents)
        children = self._children
        for index, parents in enumerate(graph.data_parents):
            for parent in parents:
                children[parent].append(index)
        ranks = graph.ranks
        self._keys.extend(start_key(index, step, ranks[index]) for index, step in enumerate(graph.steps))
        for index, step in enumerate(graph.steps):
            self._add_order_edges(index, graph.order_edges[index])
            self._add_details(index, step)
            if self._gate is not None:
                self._add_to_gate(self._gate, index, step, graph.levels[index])

    def _add_late(self, steps: Sequence[Step]) -> None:
        checked = self._check_late(steps)
        if self._late_state_use is None:
            self._late_state_use = StateUse()
            for index in self._fixed_order():
                self._late_state_use.edges(index, self.steps[index])
        new: list[NewStep] = []
        for step, above in checked:
            edges = self._late_state_use.edges(len(self.steps) + len(new), step)
            new.append(NewStep(step, step.step_id, above, edges))
        self._append_all(new)

    def _fixed_order(self) -> list[int]:
        """The top-level steps that use a state, so that each comes after those that it has order edges to."""
        users = [
            index
            for index, step in enumerate(self.steps)
            if (step.reads or step.writes) and self._family.parent(index) < 0
        ]
        position = {index: place for place, index in enumerate(topological_order(self._data_parents))}
        return sorted(users, key=position.__getitem__)

    def _check_late(self, steps: Sequence[Step]) -> list[tuple[Step, tuple[int, ...]]]:
        """Each step with what it depends on."""
        first = len(self.steps)
        known: dict[str, int] = {}
        checked: list[tuple[Step, tuple[int, ...]]] = []
        for offset, step in enumerate(steps):
            if step.step_id in self.index or step.step_id in known:
                raise SchedulerError(f"step {step.step_id!r} is there already")
            self._check_needs(step)
            above: set[int] = set()
            for name in step.depends_on:
                index = self.index.get(name, known.get(name))
                if index is None:
                    raise SchedulerError(f"step {step.step_id!r} depends on {name!r}, which no step before it is")
                above.add(index)
            checked.append((step, tuple(sorted(above))))
            known[step.step_id] = first + offset
        return checked

    def _check_needs(self, step: Step) -> None:
        for name, units in (step.needs or {}).items():
            limit = self.limits.by_name.get(name)
            if limit is None:
                raise SchedulerError(f"step {step.step_id!r} needs the resource {name!r}, which nobody declared")
            capacity = limit.capacity if limit.adaptive is None else limit.resource.smallest_capacity
            if capacity is not None and units > capacity:
                raise SchedulerError(f"step {step.step_id!r} needs {units} of {name!r}, capacity {capacity}")
            tokens = step.expected_tokens
            if limit.tokens is not None and tokens is not None and tokens > limit.tokens.burst:
                raise SchedulerError(f"step {step.step_id!r} expects more tokens than {name!r} ever holds")

    def _add_calls(self, steps: Sequence[Step], parent_id: str) -> int:
        parent = self.index.get(parent_id)
        if parent is None:
            raise SchedulerError(f"{parent_id!r} is no step, so it can make no calls")
        if self._state[parent] not in (RUNNING, BLOCKED):
            raise SchedulerError(f"only a running step can make calls, {parent_id!r} is not", self.story(parent))
        for step in steps:
            self._check_needs(step)
        calls = self._family.check_calls(
            parent, parent_id, self.steps[parent], steps, self.index, self.is_final, len(self.steps)
        )
        first = len(self.steps)
        self._append_all(
            [
                NewStep(step, step_id, above, self._family.add_call(parent, first + offset, step))
                for offset, (step, step_id, above) in enumerate(calls)
            ]
        )
        self._has_calls = True
        return parent

    def _append_all(self, new: Sequence[NewStep]) -> None:
        """Add steps that come together; they are ranked among themselves."""
        first = len(self.steps)
        ranks = [
            round((1.0 if it.step.expected_seconds is None else it.step.expected_seconds) * NANOSECONDS) for it in new
        ]
        own = ranks[:]
        for offset in reversed(range(len(new))):
            if not (new[offset].above or new[offset].edges):
                continue
            for parent in new[offset].parents:
                if parent >= first:
                    ranks[parent - first] = max(ranks[parent - first], own[parent - first] + ranks[offset])
        for index, it in enumerate(new, first):
            self._append(it, start_key(index, it.step, ranks[index - first], self._family.depth(index)))

    def _append(self, new: NewStep, key: int) -> None:
        index = len(self.steps)
        self.steps.append(new.step)
        self.step_ids.append(new.step_id)
        self.index[new.step_id] = index
        self._grow(1)
        self._data_parents.append(new.above)
        pending = 0
        for parent in new.above:
            if self.is_final(parent):
                self._fate[index] = max(self._fate[index], self._fate_from(parent))
            else:
                self._children[parent].append(index)
                pending += 1
        self._data_pending.append(pending)
        self._keys.append(key)
        self._add_order_edges(index, new.edges)
        self._add_details(index, new.step)
        if self._gate is not None and self._family.parent(index) < 0:
            level = max((self._level(parent) + 1 for parent in new.parents), default=0)
            self._add_to_gate(self._gate, index, new.step, level)

    def _level(self, index: int) -> int:
        """A call has the level of the step at the top of its family."""
        while (parent := self._family.parent(index)) >= 0:
            index = parent
        return self._levels[index]

    def _grow(self, count: int) -> None:
        self._state.extend(bytes(count))
        self._fate.extend(bytes(count))
        self._children.extend([] for _ in range(count))
        self._ready_at.extend([0] * count)
        self._released_by.extend([NOBODY] * count)
        self._made.extend([0] * count)
        self._queue.grow(count)
        self.remaining += count

    def _add_order_edges(self, index: int, edges: Sequence[OrderEdge]) -> None:
        if not edges:
            self._order_parents.append(())
            return
        self._has_locks = True
        self.plain = False
        self._order_parents.append(tuple(dict.fromkeys(predecessor for predecessor, _ in edges)))
        self._locks.add(index, edges, [self._is_released(predecessor) for predecessor, _ in edges])

    def _add_details(self, index: int, step: Step) -> None:
        if step.needs or step.when is not None or step.for_each is not None:
            self.plain = False
        if step.for_each is not None:
            self._mapped.add(index)
        elif step.needs:
            demand = self.limits.demand(step)
            if demand is not None:
                self._demand[index] = demand
        if step.when is not None:
            self._conditional.add(index)

    def _add_to_gate(self, gate: Gate, index: int, step: Step, level: int) -> None:
        self._levels[index] = level
        gate.add(index, step, level)

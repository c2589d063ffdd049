"""Steps that make calls: the parent of each, its depth, and how many abandoned attempts below it still run.

Rules of this module:
- A call may read only state that its parent reads or writes, and write only state that its parent writes; siblings
  exclude each other. It may depend only on siblings and on final steps.
- Ids of calls are ``<parent>/<n>``, n counting across attempts.
- An abandoned call counts for itself and all its ancestors: their locks stay, and their retries wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from executor.dependencies import OrderEdge
from executor.model.workflow import Step
from executor.scheduler.errors import SchedulerError
from executor.scheduler.locks import StateUse

# In place of the index of a step where there is none.
NO_STEP = -1

# A call to add: the step, its id, and the indices of what it depends on.
Call = tuple[Step, str, tuple[int, ...]]


class CallTree:
    """The tree of calls. Steps that neither call nor are called cost nothing."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._parent: dict[int, int] = {}
        self._depth: dict[int, int] = {}
        self._calls: dict[int, list[int]] = {}
        self._count: dict[int, int] = {}
        self._state_use: dict[int, StateUse] = {}
        self._abandoned: dict[int, int] = {}

    def parent(self, index: int) -> int:
        """The calling step, or :data:`NO_STEP`."""
        return self._parent.get(index, NO_STEP) if self._parent else NO_STEP

    def depth(self, index: int) -> int:
        """0 for a top-level step."""
        return self._depth.get(index, 0)

    def parents(self, count: int) -> Sequence[int]:
        """The calling step of each of ``count`` steps."""
        parents = [NO_STEP] * count
        for index, parent in self._parent.items():
            parents[index] = parent
        return parents

    def has_calls(self, index: int) -> bool:
        """Whether the step ever made a call."""
        return index in self._calls

    def calls(self, index: int) -> Sequence[int]:
        """The calls that the step made, in all its attempts."""
        return self._calls.get(index, ())

    def check_calls(
        self,
        parent: int,
        parent_id: str,
        parent_step: Step,
        steps: Sequence[Step],
        index_of: Mapping[str, int],
        is_final: Callable[[int], bool],
        first: int,
    ) -> list[Call]:
        """The calls to add, with ids and dependencies. ``first`` is the index that the first will have.

        Raises:
            SchedulerError: a call breaks a rule.
        """
        if self.depth(parent) >= self._max_depth:
            raise SchedulerError(
                f"step {parent_id!r} calls more than {self._max_depth} levels deep: does it call itself for ever?"
            )
        readable, writable = {*parent_step.reads, *parent_step.writes}, set(parent_step.writes)
        local: dict[str, int] = {}
        calls: list[Call] = []
        count = self._count.get(parent, 0)
        for offset, step in enumerate(steps):
            if step.for_each is not None:
                raise SchedulerError(
                    f"a call of step {parent_id!r} has `for_each`, which only steps of a workflow can have: make one "
                    "call for each item"
                )
            if step.reads or step.writes:
                forbidden = [*(set(step.reads) - readable), *(set(step.writes) - writable)]
                if forbidden:
                    raise SchedulerError(
                        f"a call of step {parent_id!r} uses the state {min(forbidden)!r}, which its step does not "
                        "declare"
                    )
            parents = [self._dependency(name, parent, parent_id, local, index_of, is_final) for name in step.depends_on]
            count += 1
            while f"{parent_id}/{count}" in index_of:
                # A step of the file that happens to be called so.
                count += 1
            step_id = f"{parent_id}/{count}"
            local[step.step_id] = local[step_id] = first + offset
            calls.append((step, step_id, tuple(sorted(set(parents))) if parents else ()))
        self._count[parent] = count
        return calls

    def _dependency(
        self,
        name: str,
        parent: int,
        parent_id: str,
        local: Mapping[str, int],
        index_of: Mapping[str, int],
        is_final: Callable[[int], bool],
    ) -> int:
        if name in local:
            return local[name]
        index = index_of.get(name)
        if index is not None and (self.parent(index) == parent or is_final(index)):
            return index
        raise SchedulerError(
            f"a call of step {parent_id!r} depends on {name!r}: only other calls of that step and steps that are "
            "final can be depended on"
        )

    def new_ids(self, parent: int, parent_id: str, count: int, index_of: Mapping[str, int]) -> Iterator[str]:
        """The ids of ``count`` further calls, each made when the one before it was added."""
        number = self._count.get(parent, 0)
        for _ in range(count):
            number += 1
            while f"{parent_id}/{number}" in index_of:
                # A step of the file that happens to be called so.
                number += 1
            self._count[parent] = number
            yield f"{parent_id}/{number}"

    def add_plain_call(self, parent: int, parent_id: str, index: int, index_of: Mapping[str, int]) -> str | None:
        """What :meth:`check_calls` and :meth:`add_call` do for one call that uses no state and depends on nothing: its
        id. None: too deep, nothing was noted.
        """
        depth = self._depth.get(parent, 0) + 1
        if depth > self._max_depth:
            return None
        number = self._count.get(parent, 0) + 1
        step_id = f"{parent_id}/{number}"
        while step_id in index_of:
            # A step of the file that happens to be called so.
            number += 1
            step_id = f"{parent_id}/{number}"
        self._count[parent] = number
        self._parent[index] = parent
        self._depth[index] = depth
        calls = self._calls.get(parent)
        if calls is None:
            self._calls[parent] = [index]
        else:
            calls.append(index)
        return step_id

    def add_call(self, parent: int, index: int, step: Step) -> tuple[OrderEdge, ...]:
        """Note a call, and return its order edges to its siblings."""
        self._parent[index] = parent
        self._depth[index] = self.depth(parent) + 1
        self._calls.setdefault(parent, []).append(index)
        if not (step.reads or step.writes):
            return ()
        return self._state_use.setdefault(parent, StateUse()).edges(index, step)

    def abandoned_below(self, index: int) -> int:
        """How many abandoned attempts of the step and of all below it still run."""
        return self._abandoned.get(index, 0)

    def abandon(self, index: int) -> None:
        """An attempt of the step goes on although no step waits for it."""
        while index >= 0:
            self._abandoned[index] = self._abandoned.get(index, 0) + 1
            index = self.parent(index)

    def return_abandoned(self, index: int) -> list[int]:
        """It ended. Returns the steps of which nothing is left running now, deepest first."""
        free: list[int] = []
        while index >= 0:
            self._abandoned[index] -= 1
            if not self._abandoned[index]:
                free.append(index)
            index = self.parent(index)
        return free

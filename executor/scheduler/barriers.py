"""Policies that make steps wait for each other although the graph does not: one gate each.

A gate lies between "all dependencies are final" and the queue for a slot. It concerns top-level steps alone: a
nested call belongs to its parent's level or batch and passes.

Rules of this module:
- A batch or level is over when its members are final, backoffs included.
- A gate opens in :meth:`Gate.open`, which the scheduler calls after all completions of an instant, before any start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Literal, Protocol, get_args

from executor.model.workflow import Step

Policy = Literal["dataflow", "levels", "barrier", "serial"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


class Gate(Protocol):
    """What the scheduler asks of a policy with barriers."""

    def add(self, index: int, step: Step, level: int) -> None:
        """A top-level step exists."""

    def arrive(self, index: int, *, locked: bool) -> bool:
        """A step became ready. True lets it pass; otherwise the gate holds it. ``locked``: order edges are open."""

    def unlock(self, index: int) -> None:
        """The order edges of a step that is held are satisfied now."""

    def leave(self, index: int) -> None:
        """A top-level step is final."""

    def open(self, is_held: Callable[[int], bool]) -> list[int]:
        """The held steps that may pass now. ``is_held``: the step still waits here (it was not cancelled)."""


class LevelGate:
    """``levels``: one barrier per level. A late step's level is at least the current one."""

    def __init__(self) -> None:
        self._level: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._pending: list[int] = []
        self._held: dict[int, list[int]] = {}
        self._current = 0

    def add(self, index: int, step: Step, level: int) -> None:
        level = max(level, self._current)
        self._level[index] = level
        if level not in self._left:
            self._left[level] = 0
            heappush(self._pending, level)
        self._left[level] += 1

    def arrive(self, index: int, *, locked: bool) -> bool:
        level = self._level[index]
        if level <= self._current:
            return True
        self._held.setdefault(level, []).append(index)
        return False

    def unlock(self, index: int) -> None:
        """Levels are counted over order edges too: the level decides alone."""

    def leave(self, index: int) -> None:
        self._left[self._level[index]] -= 1

    def open(self, is_held: Callable[[int], bool]) -> list[int]:
        released: list[int] = []
        pending = self._pending
        while pending and self._left[pending[0]] == 0:
            del self._left[heappop(pending)]
        if pending:
            self._current = pending[0]
        for level in sorted(level for level in self._held if level <= self._current):
            released.extend(index for index in self._held.pop(level) if is_held(index))
        return released


class BatchGate:
    """``barrier``: the seed's algorithm. Again and again, if an ungrouped step is ready the earliest-listed runs
    alone, else all ready members of the earliest group run; then all of them are waited for.
    """

    def __init__(self) -> None:
        self._group: dict[int, int | str] = {}
        self._alone: list[int] = []
        self._grouped: list[int] = []
        self._members: dict[int | str, list[int]] = {}
        self._batch: set[int] = set()

    def add(self, index: int, step: Step, level: int) -> None:
        if step.parallel_group is not None:
            self._group[index] = step.parallel_group

    def arrive(self, index: int, *, locked: bool) -> bool:
        if index in self._batch:
            return True
        if not locked:
            self.unlock(index)
        return False

    def unlock(self, index: int) -> None:
        group = self._group.get(index)
        if group is None:
            heappush(self._alone, index)
            return
        heappush(self._grouped, index)
        self._members.setdefault(group, []).append(index)

    def leave(self, index: int) -> None:
        self._batch.discard(index)

    def open(self, is_held: Callable[[int], bool]) -> list[int]:
        if self._batch:
            return []
        batch = self._next_alone(is_held) or self._next_group(is_held)
        self._batch.update(batch)
        return batch

    def _next_alone(self, is_held: Callable[[int], bool]) -> list[int] | None:
        while self._alone:
            index = heappop(self._alone)
            if is_held(index):
                return [index]
        return None

    def _next_group(self, is_held: Callable[[int], bool]) -> list[int]:
        chosen: set[int] = set()
        while self._grouped and not chosen:
            first = heappop(self._grouped)
            if is_held(first):
                chosen = {index for index in self._members.pop(self._group[first]) if is_held(index)}
        return sorted(chosen)


def gate_for(policy: Policy) -> Gate | None:
    """The gate of a policy; ``dataflow`` and ``serial`` (one slot) have none.

    Raises:
        ValueError: no such policy.
    """
    if policy == "levels":
        return LevelGate()
    if policy == "barrier":
        return BatchGate()
    if policy in POLICIES:
        return None
    raise ValueError(f"unknown policy {policy!r}: use one of {', '.join(POLICIES)}")


__all__: Sequence[str] = ("POLICIES", "BatchGate", "Gate", "LevelGate", "Policy", "gate_for")

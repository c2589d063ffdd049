"""Order edges: who must be done with a state before whom (rule 3).

Rules of this module:
- An order edge to a step that ran is satisfied when that step is final and nothing of it is left running; one to a
  step that never ran when that step is final and its own order edges are satisfied. The scheduler says when, this
  module counts.
- Within a scope (the top level, or the calls of one parent) conflicting steps follow each other in the order of
  arrival: an edge to the last writer, and for a writer to the readers since.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor.dependencies import OrderEdge
from executor.model.workflow import Step


class Locks:
    """Unsatisfied order edges of all steps. A step without any costs nothing."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._edges: dict[int, Sequence[OrderEdge]] = {}
        self._successors: dict[int, list[int]] = {}
        self._satisfied: set[int] = set()
        self._place: dict[int, int] = {}

    def add(self, index: int, edges: Sequence[OrderEdge], satisfied: Sequence[bool]) -> None:
        """Add a step's edges; ``satisfied[k]`` says that edge k already is."""
        unsatisfied = 0
        for place, (predecessor, _) in enumerate(edges):
            if satisfied[place]:
                self._satisfied.add(predecessor)
                continue
            unsatisfied += 1
            self._successors.setdefault(predecessor, []).append(index)
        if unsatisfied:
            self._open[index] = unsatisfied
            self._edges[index] = edges
            self._place[index] = 0

    def locked(self, index: int) -> bool:
        """Whether an order edge of the step is open."""
        return index in self._open

    def reason(self, index: int) -> str:
        """``lock.X`` with X the first state, writes before reads, that is not open to the step yet."""
        edges = self._edges[index]
        place = self._place[index]
        while edges[place][0] in self._satisfied:
            place += 1
        self._place[index] = place
        return f"lock.{edges[place][1]}"

    def satisfy(self, predecessor: int) -> list[int]:
        """All edges to ``predecessor`` are satisfied. Returns the steps that had one, each once, in order."""
        successors = self._successors.pop(predecessor, [])
        self._satisfied.add(predecessor)
        for index in successors:
            left = self._open[index] - 1
            if left:
                self._open[index] = left
            else:
                del self._open[index], self._edges[index], self._place[index]
        return list(dict.fromkeys(successors))


class StateUse:
    """Who used which state last, within one scope."""

    def __init__(self) -> None:
        self._writer: dict[str, int] = {}
        self._readers: dict[str, list[int]] = {}

    def edges(self, index: int, step: Step) -> tuple[OrderEdge, ...]:
        """The order edges of a step that arrives last, and note its own use."""
        edges: list[OrderEdge] = []
        for state in dict.fromkeys(step.writes):
            readers = self._readers.pop(state, [])
            writer = self._writer.get(state)
            before = readers if writer is None else [writer, *readers]
            edges.extend((other, state) for other in before)
            self._writer[state] = index
        for state in dict.fromkeys(step.reads):
            if state in step.writes:
                continue
            writer = self._writer.get(state)
            if writer is not None:
                edges.append((writer, state))
            self._readers.setdefault(state, []).append(index)
        return tuple(edges)

"""Rule 3: steps that share state run in one fixed order, the topological order of the data edges."""

from __future__ import annotations

from collections.abc import Sequence

from executor.dependencies.graph import OrderEdge
from executor.model.workflow import Step


def order_edges(steps: Sequence[Step], order: Sequence[int]) -> list[tuple[OrderEdge, ...]]:
    """``edges[i]``: the steps that step i follows because of a state, with the state; writes before reads.

    A writer follows the last writer and all readers since; a reader follows the last writer. Each reader is followed
    once, so there are O(steps) edges. They go forward in a topological order of the data edges: no cycle can arise.
    """
    edges: list[tuple[OrderEdge, ...]] = [()] * len(steps)
    last_writer: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    for place in order:
        step = steps[place]
        if not step.writes and not step.reads:
            continue
        found: list[OrderEdge] = []
        for state in dict.fromkeys(step.writes):
            if state in last_writer:
                found.append((last_writer[state], state))
            found.extend((reader, state) for reader in readers.pop(state, ()))
            last_writer[state] = place
        for state in dict.fromkeys(step.reads):
            if state in step.writes:
                continue
            if state in last_writer:
                found.append((last_writer[state], state))
            readers.setdefault(state, []).append(place)
        edges[place] = tuple(found)
    return edges

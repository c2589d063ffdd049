"""The graph as arrays, and what is computed from edges alone: orders, cycles, levels, ranks."""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from executor.model.findings import Finding
from executor.model.workflow import Step

# (predecessor, state): an order edge by rule 3. A pair per state, writes before reads.
OrderEdge = tuple[int, str]
Parents = Sequence[tuple[int, ...]]

NANOSECONDS = 1_000_000_000
DEFAULT_EXPECTED_SECONDS = 1.0


@dataclass(slots=True)
class Graph:
    """A checked workflow as arrays indexed by step, in file order.

    ``steps`` are resolved: with their tool, its needs and its defaults. ``data_parents[i]``: sorted distinct indices
    that step i depends on (declared or by rule 1). ``order_edges[i]``: ``(predecessor, state)`` pairs by rule 3.
    ``topological``: Kahn's order that always takes the earliest-listed available step. ``levels[i]``: longest path in
    edges (data and order) from a root, 0 for roots. ``ranks[i]``: upward rank in nanoseconds: own expected duration
    plus the largest rank of a child.
    """

    steps: Sequence[Step]
    index: dict[str, int]
    data_parents: list[tuple[int, ...]]
    order_edges: list[tuple[OrderEdge, ...]]
    topological: Sequence[int]
    levels: list[int]
    ranks: list[int]


@dataclass(slots=True)
class Plan:
    """What :func:`executor.dependencies.plan` found: the findings, and the graph unless one of them is an error."""

    findings: list[Finding] = field(default_factory=list)
    graph: Graph | None = None


def topological_order(parents: Parents) -> Sequence[int]:
    """Kahn's order that always takes the earliest-listed available step; without the steps in or behind a cycle.

    Source: A. B. Kahn, "Topological sorting of large networks", CACM 5 (1962).
    """
    if all(not above or above[-1] < step for step, above in enumerate(parents)):
        return range(len(parents))
    first_child, children = _children(parents)
    missing = array("q", map(len, parents))
    available = [step for step, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while available:
        step = heapq.heappop(available)
        order.append(step)
        for position in range(first_child[step], first_child[step + 1]):
            child = children[position]
            missing[child] -= 1
            if missing[child] == 0:
                heapq.heappush(available, child)
    return order


def _children(parents: Parents) -> tuple[array[int], array[int]]:
    """The edges turned round: the children of step i are ``children[first[i]:first[i + 1]]``."""
    first = array("q", bytes(8 * (len(parents) + 1)))
    for above in parents:
        for parent in above:
            first[parent + 1] += 1
    for step in range(len(parents)):
        first[step + 1] += first[step]
    place = array("q", first)
    children = array("q", bytes(8 * first[-1]))
    for step, above in enumerate(parents):
        for parent in above:
            children[place[parent]] = step
            place[parent] += 1
    return first, children


def components(parents: Parents, order: Sequence[int]) -> list[list[int]]:
    """The strongly connected components of more than one step, each sorted, by their earliest-listed step.

    Only steps that ``order`` left out can be in one. Source: R. Tarjan, "Depth-first search and linear graph
    algorithms", SIAM J. Comput. 1 (1972), without recursion.
    """
    # The steps of the order count as done: they are not visited again.
    number = {step: place for place, step in enumerate(order)}
    low: dict[int, int] = {}
    open_steps: list[int] = []
    is_open: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(parents)):
        if root in number:
            continue
        path = [(root, iter(parents[root]))]
        number[root] = low[root] = len(number)
        open_steps.append(root)
        is_open.add(root)
        while path:
            step, above = path[-1]
            for parent in above:
                if parent not in number:
                    number[parent] = low[parent] = len(number)
                    open_steps.append(parent)
                    is_open.add(parent)
                    path.append((parent, iter(parents[parent])))
                    break
                if parent in is_open:
                    low[step] = min(low[step], number[parent])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[step])
                if low[step] == number[step]:
                    component = _closed(open_steps, is_open, step)
                    if len(component) > 1:
                        found.append(component)
    return sorted(found)


def _closed(open_steps: list[int], is_open: set[int], root: int) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != root:
        component.append(open_steps.pop())
        is_open.discard(component[-1])
    return sorted(component)


def shortest_cycle(parents: Parents, component: Sequence[int]) -> list[int]:
    """A shortest cycle through the earliest-listed step of a component: each step is needed by the next one."""
    inside = set(component)
    start = component[0]
    needed_by: dict[int, int] = {}
    queue = deque([start])
    while queue:
        step = queue.popleft()
        for parent in parents[step]:
            if parent == start:
                cycle = [start, step]
                while cycle[-1] != start:
                    cycle.append(needed_by[cycle[-1]])
                return cycle
            if parent in inside and parent not in needed_by:
                needed_by[parent] = step
                queue.append(parent)
    raise AssertionError("a strongly connected component has a cycle")


def levels_of(order: Sequence[int], parents: Parents, edges: Sequence[Sequence[OrderEdge]]) -> list[int]:
    """The longest path in edges from a root, by step; 0 for roots."""
    levels = [0] * len(parents)
    # One integer a level: a million of their own would take 32 MB.
    numbers = [0]
    for step in order:
        level = -1
        for parent in parents[step]:
            if levels[parent] > level:  # noqa: PLR1730  # a call of max costs three times as much
                level = levels[parent]
        for parent, _state in edges[step]:
            if levels[parent] > level:  # noqa: PLR1730  # as above
                level = levels[parent]
        level += 1
        if level == len(numbers):
            numbers.append(level)
        levels[step] = numbers[level]
    return levels


def ranks_of(
    steps: Sequence[Step], order: Sequence[int], parents: Parents, edges: Sequence[Sequence[OrderEdge]]
) -> list[int]:
    """The upward rank in nanoseconds, by step: its expected duration plus the largest rank of a child.

    Source: H. Topcuoglu et al., "Performance-effective and low-complexity task scheduling for heterogeneous
    computing", IEEE TPDS 13 (2002), without communication costs.
    """
    ranks = [0] * len(steps)
    for step in reversed(order):
        seconds = steps[step].expected_seconds
        rank = ranks[step] + round((DEFAULT_EXPECTED_SECONDS if seconds is None else seconds) * NANOSECONDS)
        ranks[step] = rank
        for parent in parents[step]:
            if ranks[parent] < rank:  # noqa: PLR1730  # a call of max costs three times as much
                ranks[parent] = rank
        for parent, _state in edges[step]:
            if ranks[parent] < rank:  # noqa: PLR1730  # as above
                ranks[parent] = rank
    return ranks


def spelled(names: Sequence[str]) -> str:
    """``a → b → a``; a long chain with its middle left out."""
    if len(names) > 20:
        names = [*names[:10], f"… {len(names) - 19:,} more …", *names[-9:]]
    return " → ".join(names)


def listed(names: Sequence[object]) -> str:
    """``'a', 'b' and 'c'``; of many only the first. At least one."""
    *shown, last = [repr(name) for name in names[:5]]
    if len(names) > 5:
        return f"{', '.join(shown)}, {last} and {len(names) - 5:,} more"
    return f"{', '.join(shown)} and {last}" if shown else last

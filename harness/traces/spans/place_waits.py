"""Calls whose span opens before they have their place in a limit, as with the pool of connections of an HTTP client.

Their wait looks like work. What they call shows when it ended: the first span inside them begins after another call
has ended.

Rules of this module:
- Calls of one name beside each other are looked at. Those whose first child began before any of them ended had a
  place at once, and show how long the way from a span to its first child takes.
- Each further one takes the place of one call that ended while it was open, shortly before its first child began.
- Only where calls that begin so show a limit as calls without such a wait do, those that had to wait are moved.
- A span is never moved by less than what counts as prompt: that is its own work.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from statistics import median
from typing import Final

from harness.traces.spans.full_places import (
    FEWEST_WAITING,
    PROMPT_NANOSECONDS,
    PROMPT_RATIO,
    Call,
    full_stretches,
)
from harness.traces.spans.span_tree import Tree

_FEWEST: Final = 2 + FEWEST_WAITING
# From a place to the first child it takes at most so many times what it takes where a place is free, or this share of
# a usual call where that is less.
_WAYS: Final = 2
_LONGEST_WAY_RATIO: Final = 0.5


def begin_with_place(tree: Tree, waiting: Container[int]) -> int:
    """Let them begin when they had their place. ``waiting``: spans that only wait. Returns how many were moved."""
    start, children = tree.start, tree.children
    moved: dict[int, int] = {}
    for siblings in (tree.roots, *children):
        if len(siblings) < _FEWEST:
            continue
        by_name: dict[tuple[str, str], list[int]] = {}
        for index in siblings:
            if children[index] and index not in waiting:
                span = tree.spans[index]
                by_name.setdefault((span.name, span.service), []).append(index)
        for members in by_name.values():
            if len(members) >= _FEWEST:
                for at_once, calls in full_stretches(_from_their_place(tree, members), staggered=False):
                    moved |= {
                        index: begun
                        for begun, ended, index in calls[at_once:]
                        if begun - start[index] > max(PROMPT_NANOSECONDS, PROMPT_RATIO * (ended - begun))
                    }
    for index, begun in moved.items():
        start[index] = begun
    if moved:
        tree.regroup()
    return len(moved)


def _from_their_place(tree: Tree, members: Sequence[int]) -> list[Call]:
    """The calls, in order of start, each from when it had a place on, if another one had to give that back first."""
    start, end = tree.start, tree.end
    firsts = sorted((max(start[index], start[tree.children[index][0]]), index) for index in members)
    ends = sorted(end[index] for index in members)
    usual = median(max(0, end[index] - first) for first, index in firsts)
    way = max((first - start[index] for first, index in firsts if first < ends[0]), default=0)
    slack = max(PROMPT_NANOSECONDS, int(min(_LONGEST_WAY_RATIO * usual, max(_WAYS * way, PROMPT_RATIO * usual))))
    free = list(range(len(ends) + 1))  # by end: the next one, itself included, whose place nobody has taken
    calls: list[Call] = []
    for first, index in firsts:
        place = _next_free(free, bisect_left(ends, max(start[index], first - slack)))
        begun = start[index]
        if place < len(ends) and ends[place] <= first:
            begun = ends[place]
            free[place] = place + 1
        if begun < end[index]:  # else it held none
            calls.append((begun, end[index], index))
    return sorted(calls)


def _next_free(free: list[int], at: int) -> int:
    """Follows those that are taken, and makes the way shorter for the next time (path halving, Tarjan 1975)."""
    while free[at] != at:
        free[at] = free[free[at]]
        at = free[at]
    return at

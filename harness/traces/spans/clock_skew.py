"""Clocks of services that do not agree: estimates each one's offset, and shifts its spans.

Rules of this module:
- Only what cannot be otherwise counts as skew: a child that begins before its parent, or the work of a server that
  outlasts the call of its client. Work that goes on after its parent ended is nothing wrong.
- A host of a service is one clock. Its offset is the middle of what all its calls allow, as in NTP.
- Within one clock nothing is shifted: there is nothing to estimate from.

Source: the offset of a request and its reply, RFC 5905, section 8.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

from executor.tracing.attribute_names import WAIT_REASON
from harness.plain_text import some_of
from harness.traces.spans.span_tree import Tree

Clock = tuple[str, str]
# Clocks of one machine differ by about as much as it takes to read them.
SMALLEST_SKEW_NANOSECONDS = 1_000
_CLOCKS_NAMED = 5


def correct_skew(tree: Tree) -> None:
    """Shift the spans of services whose clocks cannot be right; say so."""
    outside = [index for index in tree.order if tree.parent[index] >= 0 and _impossible(tree, index)]
    if not outside:
        return
    clocks = _clocks(tree)
    between = [index for index in outside if clocks[index] != clocks[tree.parent[index]]]
    offsets = _offsets(tree, clocks) if between else {}
    if offsets:
        for index, clock in enumerate(clocks):
            offset = offsets.get(clock, 0)
            tree.start[index] += offset
            tree.end[index] += offset
        shifts = [
            f"{clock[0] or 'unnamed service'}{f' on {clock[1]}' if clock[1] else ''} by {offset / 1e6:+.3f} ms"
            for clock, offset in sorted(offsets.items())
        ]
        tree.note(
            "clock_skew",
            "children outside their parents, since the clocks of services differ",
            f"shifted: {some_of(shifts, _CLOCKS_NAMED)}; times across services are estimates",
            len(between),
        )
    left = sum(1 for index in outside if _impossible(tree, index))
    tree.note(
        "child_outside_parent",
        "children that begin before their parent, or outlast the call that they serve",
        "left as they are; the part outside the parent counts as the child's own",
        left,
    )


def _impossible(tree: Tree, index: int) -> bool:
    parent = tree.parent[index]
    if WAIT_REASON in tree.spans[index].attributes:
        return False  # our own waits stand below the attempt that they came before
    if tree.start[index] < tree.start[parent] - SMALLEST_SKEW_NANOSECONDS:
        return True
    return _is_call(tree, index) and tree.end[index] > tree.end[parent] + SMALLEST_SKEW_NANOSECONDS


def _is_call(tree: Tree, index: int) -> bool:
    spans = tree.spans
    return spans[index].kind == "server" and spans[tree.parent[index]].kind == "client"


def _clocks(tree: Tree) -> list[Clock]:
    known: dict[tuple[int, str], Clock] = {}
    clocks = []
    for span in tree.spans:
        key = (id(span.resource), span.service)
        clock = known.get(key)
        if clock is None:
            resource = span.resource
            host: Any = resource.get("host.name") or resource.get("k8s.pod.name") or resource.get("hostname") or ""
            clock = known[key] = (span.service, str(host))
        clocks.append(clock)
    return clocks


def _offsets(tree: Tree, clocks: list[Clock]) -> dict[Clock, int]:
    """What to add to each clock's times, going outwards from the first root's clock."""
    bounds: dict[tuple[Clock, Clock], list[tuple[int, int]]] = {}
    for index in tree.order:
        parent = tree.parent[index]
        if parent >= 0 and clocks[parent] != clocks[index]:
            low = tree.start[parent] - tree.start[index]
            bounds.setdefault((clocks[parent], clocks[index]), []).append((low, tree.end[parent] - tree.end[index]))
    neighbours: dict[Clock, list[tuple[Clock, int]]] = {}
    for (caller, called), allowed in bounds.items():
        offset = _offset(allowed)
        neighbours.setdefault(caller, []).append((called, offset))
        neighbours.setdefault(called, []).append((caller, -offset))
    offsets = {}
    for root in tree.roots:
        if clocks[root] in offsets:
            continue
        offsets[clocks[root]] = 0
        queue = deque([clocks[root]])
        while queue:
            clock = queue.popleft()
            for other, offset in neighbours.get(clock, ()):
                if other not in offsets:
                    offsets[other] = offsets[clock] + offset
                    queue.append(other)
    return {clock: offset for clock, offset in offsets.items() if offset}


def _offset(allowed: list[tuple[int, int]]) -> int:
    """The offset that puts the called ones inside their callers; 0 where they are."""
    fitting = [(low, high) for low, high in allowed if low <= high]
    if not fitting:  # the work outlasts the call everywhere: only the beginnings say something
        return max(0, *(low for low, _ in allowed))
    low, high = max(low for low, _ in fitting), min(high for _, high in fitting)
    if low > high:  # no offset fits all of them (a clock that drifts or was set): the middle of most
        return int(median((low + high) // 2 for low, high in fitting))
    return 0 if low <= 0 <= high else (low + high) // 2

"""The spans of a trace as a tree, with their times as they were corrected.

Rules of this module:
- Times are nanoseconds since 1970, in ``start`` and ``end`` by span; the spans themselves stay as they were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.traces.trace_model import Span, TraceFinding

NO_PARENT = -1


@dataclass(slots=True)
class Tree:
    """Lists are indexed by span. ``order`` holds parents before children; ``children`` are in order of start."""

    spans: Sequence[Span]
    parent: list[int]
    start: list[int]
    end: list[int]
    index_of: dict[str, int]
    findings: list[TraceFinding] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)

    def note(self, code: str, message: str, effect: str, count: int = 1) -> None:
        """Add a finding, if it was found at all."""
        if count:
            self.findings.append(TraceFinding(code, message, effect, count))

    def regroup(self) -> None:
        """Children, roots and order again, after parents or starts have changed."""
        count = len(self.parent)
        children: list[list[int]] = [[] for _ in range(count)]
        roots: list[int] = []
        for index in sorted(range(count), key=lambda one: (self.start[one], self.end[one], one)):
            (roots if self.parent[index] == NO_PARENT else children[self.parent[index]]).append(index)
        order = list(roots)
        for index in order:
            order.extend(children[index])
        self.children, self.roots, self.order = children, roots, order

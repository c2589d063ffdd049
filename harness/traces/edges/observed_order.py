"""The observed order as edges: what a step may have needed, for all that the trace shows.

Rules of this module:
- Of its siblings, a step may have needed all that ended before it began. Only those are listed from which no other
  one of them lies in between (the transitive reduction of the interval order).
- At most :data:`MOST_PREDECESSORS` a step, the last-ended: so the edges stay linear in the steps.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from harness.traces.edges.stated_edges import StatedEdges
from harness.traces.spans.span_steps import Steps

MOST_PREDECESSORS: Final = 32
# Times in microseconds were cut: the next span seems to begin up to this much before the one before has ended.
_TIE_NANOSECONDS: Final = 1_000
# Of a step that is said not to need some of those, so many are looked at.
_MOST_LOOKED_AT: Final = 1_024


def observed_edges(steps: Steps, covered: set[int], stated: StatedEdges) -> Iterator[tuple[int, int]]:
    """(before, after) for every step that is not covered by something better."""
    for group in steps.groups.values():
        if len(group) > 1:
            yield from _among(steps, group, covered, stated)


def _among(steps: Steps, group: Sequence[int], covered: set[int], stated: StatedEdges) -> Iterator[tuple[int, int]]:
    starts, ends = steps.starts, steps.ends
    if not stated.denied and all(ends[one] <= starts[later] for one, later in pairwise(group)):
        yield from ((one, later) for one, later in pairwise(group) if later not in covered)
        return
    by_end = sorted(group, key=lambda step: (ends[step], step))
    sorted_ends = [ends[step] for step in by_end]
    latest = [-1]  # of the first n by end: the last of them to begin, since steps are listed by their start
    for step in by_end:
        latest.append(max(latest[-1], step))

    def ended_before(step: int) -> int:
        """How many, by end: of those that end in the instant in which the step begins, the earlier-listed."""
        place = bisect_left(sorted_ends, starts[step])
        return bisect_left(by_end, step, lo=place, hi=bisect_right(sorted_ends, starts[step], lo=place))

    for step in group:
        if step in covered:
            continue
        ended = ended_before(step)
        if step in stated.denied:
            yield from _not_denied(steps, step, by_end[max(0, ended - _MOST_LOOKED_AT) : ended], stated)
            continue
        tied = [
            before
            for before in by_end[ended : ended + MOST_PREDECESSORS]
            if before < step and ends[before] <= starts[step] + _TIE_NANOSECONDS
        ]
        last = max([latest[ended], *tied])
        if last < 0:
            continue
        # Those that ended before the last of them began lie behind that one.
        first = max(min(ended_before(last), ended), ended - MOST_PREDECESSORS)
        for before in (*by_end[first:ended], *tied):
            if before >= last or ends[before] > starts[last] + _TIE_NANOSECONDS:
                yield before, step


def _not_denied(steps: Steps, step: int, ended: Sequence[int], stated: StatedEdges) -> Iterator[tuple[int, int]]:
    """The same without those that the user says it does not need."""
    left = [before for before in ended if before < step and not stated.denies(before, step)]
    latest = max((steps.starts[before] for before in left), default=0)
    for before in left[-MOST_PREDECESSORS:]:
        if steps.ends[before] > latest:
            yield before, step

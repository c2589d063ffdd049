"""How many steps ran and waited, and how much of each resource was in use, over the time of a run. Pure.

Rules of this module:
- Integer nanoseconds from t = 0. A curve is a list of changes ``(at, value)``, the first at 0, the last (0) at the end.
- Blocked and resuming attempts do not run and hold no units; at one instant ends come before starts.
- A step is ready from the end of its last dependency until it is granted; waits for a barrier, a lock, a backoff or a
  rate are part of that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from executor.record.timeline import Timeline
from harness.analysis.attempt_index import AttemptIndex, known_of

Curve: TypeAlias = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Curves:
    """``end``: the last `known`, and no less than the makespan."""

    running: Curve
    ready: Curve
    in_use: Mapping[str, Curve]
    end: int


def curves_of(timeline: Timeline) -> Curves:
    """The curves of a run. O(attempts · log attempts)."""
    index = AttemptIndex(timeline)
    running: list[tuple[int, int]] = []
    ready: list[tuple[int, int]] = []
    in_use: dict[str, list[tuple[int, int]]] = {name: [] for name in timeline.resources}
    end = index.makespan
    for attempt in index.ended:
        known = known_of(attempt)
        end = max(end, known)
        ready += ((attempt.ready, 1), (attempt.granted, -1))
        for start, stop in index.run_segments(attempt):
            running += ((start, 1), (stop, -1))
        needs = timeline.needs[attempt.index] if timeline.needs else None
        if not needs:
            continue
        held = _held(attempt.granted, known, [(pause.start, pause.end) for pause in index.pauses(attempt)])
        for name, units in needs.items():
            for start, stop in held:
                in_use.setdefault(name, []).extend(((start, units), (stop, -units)))
    return Curves(
        running=_summed(running, end),
        ready=_summed(ready, end),
        in_use={name: _summed(changes, end) for name, changes in in_use.items()},
        end=end,
    )


def values_at(curve: Curve, instants: Sequence[int]) -> list[int]:
    """The curve's value at each instant: that of the last change by then."""
    places = [at for at, _ in curve]
    found = []
    for instant in instants:
        place = bisect_right(places, instant) - 1
        found.append(curve[place][1] if place >= 0 else 0)
    return found


def _held(granted: int, known: int, pauses: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """``[granted, known]`` without the pauses."""
    bounds = [granted]
    for start, end in pauses:
        bounds += (max(bounds[-1], start), max(bounds[-1], end))
    bounds.append(max(bounds[-1], known))
    return [(start, end) for start, end in list(pairwise(bounds))[::2] if end > start]


def _summed(changes: list[tuple[int, int]], end: int) -> Curve:
    """From changes to values: one for each instant at which the value changes."""
    by_instant: dict[int, int] = {0: 0}
    for at, change in changes:
        by_instant[at] = by_instant.get(at, 0) + change
    by_instant.setdefault(end, 0)
    curve: Curve = []
    value = 0
    for at in sorted(by_instant):
        value += by_instant[at]
        if not curve or value != curve[-1][1]:
            curve.append((at, value))
    if curve[-1][0] != end:
        curve.append((end, value))
    return curve

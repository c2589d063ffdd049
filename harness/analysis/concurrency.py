"""Concurrency: how many attempts ran at once, weighted by time.

Rules of this module:
- Only running counts: blocked and resuming attempts do not run.
- At one instant ends come before starts, so attempts that only touch were never concurrent.
- The integral of the distribution is the work, exactly; its length is the makespan, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.analysis.attempt_index import AttemptIndex, ended_of, started_of


@dataclass(frozen=True, slots=True)
class Concurrency:
    """``nanoseconds_at[n]``: for how long exactly n attempts ran. ``maximum``: the largest n held for any time.

    ``mean`` is work divided by makespan (never a speedup), None for a run without length.
    """

    mean: float | None
    maximum: int
    nanoseconds_at: Mapping[int, int]


def concurrency(index: AttemptIndex) -> Concurrency:
    """Mean, maximum and distribution over [0, makespan]. O(attempts · log attempts)."""
    starts: list[int] = []
    ends: list[int] = []
    for attempt in index.ended:
        if not index.pauses(attempt):
            started, ended = started_of(attempt), ended_of(attempt)
            if ended > started:
                starts.append(started)
                ends.append(ended)
            continue
        for start, end in index.run_segments(attempt):
            starts.append(start)
            ends.append(end)
    starts.sort()
    ends.sort()
    levels = _time_at_each_level(starts, ends, index.makespan)
    work = sum(ends) - sum(starts)
    mean = work / index.makespan if index.makespan else None
    return Concurrency(mean, max(levels, default=0), levels)


def most_at_once(starts: Iterable[int], ends: Iterable[int]) -> int:
    """The most of some intervals, each with a length, that share an instant; those that only touch do not."""
    begins, finished = sorted(starts), sorted(ends)
    most = place = 0
    for number, begun in enumerate(begins, 1):
        while finished[place] <= begun:
            place += 1
        most = max(most, number - place)
    return most


def _time_at_each_level(starts: list[int], ends: list[int], makespan: int) -> dict[int, int]:
    levels: dict[int, int] = {}
    running = cursor = begun = 0
    for end in ends:
        while begun < len(starts) and starts[begun] < end:
            if starts[begun] > cursor:
                levels[running] = levels.get(running, 0) + starts[begun] - cursor
                cursor = starts[begun]
            running += 1
            begun += 1
        if end > cursor:
            levels[running] = levels.get(running, 0) + end - cursor
            cursor = end
        running -= 1
    if makespan > cursor:
        levels[running] = levels.get(running, 0) + makespan - cursor
    return dict(sorted(levels.items()))

"""Capacities that changed during a run (``capacity: auto``, and workers that came and went): in words, as a table, and
as data to draw. Pure.

Rules of this module:
- A capacity holds from its time until the next one's, the last one to the end of the run.
- The table is short: beyond ``ROWS_SHOWN`` changes it holds the first ones, and says how many it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from executor.record.timeline import NANOSECONDS, Timeline
from harness.plain_text import duration_text
from harness.report.html.safe_text import visible

ROWS_SHOWN: Final = 400
WORKERS: Final = "workers"


class CapacityRow(NamedTuple):
    """``at``: when it began to hold; ``held``: for how long it did."""

    at: str
    capacity: int
    held: str


class CapacityCurve(NamedTuple):
    """The capacity of a resource over a run, or the number of workers. ``what`` names it in a sentence, ``how`` says
    how it came about; ``left_out`` counts the changes that have no row.
    """

    name: str
    what: str
    how: str
    words: str
    rows: list[CapacityRow]
    left_out: int


def capacity_curves(timeline: Timeline) -> list[CapacityCurve]:
    """A curve for the workers, if they changed, and each resource whose capacity was found out, as in the document."""
    return [
        CapacityCurve(
            visible(name),
            *_named(name, timeline),
            capacity_words(changes),
            _rows(changes, timeline),
            max(0, len(changes) - ROWS_SHOWN),
        )
        for name, changes in changing(timeline)
    ]


def _named(name: str, timeline: Timeline) -> tuple[str, str]:
    if name == WORKERS and timeline.worker_changes:
        return "Number of workers", "which came and went while it ran"
    return f"Capacity of {visible(name)}", "found out while it ran"


def changing(timeline: Timeline) -> Iterator[tuple[str, Sequence[tuple[int, int]]]]:
    """What held for a part of the run alone: ``workers`` first, where workers came and went; then capacities."""
    if timeline.worker_changes:
        yield WORKERS, timeline.worker_changes
    for name, changes in timeline.capacity_changes.items():
        if changes:
            yield name, changes


def capacity_words(changes: Sequence[tuple[int, int]]) -> str:
    """The whole curve in words: ``4 at first, 1 to 16, 8 at the end``."""
    capacities = [capacity for _, capacity in changes]
    return f"{capacities[0]} at first, {min(capacities)} to {max(capacities)}, {capacities[-1]} at the end"


def capacity_columns(changes: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Times, each as the difference to the one before, and the capacity from each on. Nanoseconds."""
    times = [time for time, _ in changes]
    differences = [later - earlier for earlier, later in pairwise([0, *times])]
    return differences, [capacity for _, capacity in changes]


def _rows(changes: Sequence[tuple[int, int]], timeline: Timeline) -> list[CapacityRow]:
    ends = [time for time, _ in changes[1:]] + [timeline.makespan_nanoseconds]
    return [
        CapacityRow(duration_text(time / NANOSECONDS), capacity, duration_text(max(0, end - time) / NANOSECONDS))
        for (time, capacity), end in list(zip(changes, ends, strict=True))[:ROWS_SHOWN]
    ]

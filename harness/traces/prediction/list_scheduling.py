"""Schedules a graph of units quickly: how long it takes with so many workers, and under one limit.

Rules of this module:
- Each free worker gets the ready unit with the longest chain behind it, the earlier-listed of several: what policy
  ``dataflow`` does. A test holds it equal to the production scheduler.
- O(n log n) in units and edges.

Source: list scheduling (Graham 1966), by the upward rank.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush

from harness.analysis.concurrency import most_at_once
from harness.traces.prediction.flat_graph import Flat


# One function over plain integers: of a large trace, calls would cost most of the time.
def list_schedule(  # noqa: C901, PLR0912, PLR0915 - see above
    flat: Flat, workers: int, *, limited: Collection[int] = (), at_once: int | None = None
) -> int:
    """The makespan with so many workers. ``at_once``: how many of the units in ``limited`` may run side by side."""
    # A unit is its place in the order of starts; one that runs is its end in nanoseconds and, in the low bits, itself.
    graph = flat.by_place()
    after, special = graph.after, graph.special
    missing = graph.missing.copy()
    mask = (1 << (len(after).bit_length())) - 1
    lasting = [length * (mask + 1) + unit for unit, length in enumerate(graph.lengths)]
    delays = {unit: delay * (mask + 1) + unit for unit, delay in graph.delays.items()}
    in_queue = {flat.places[unit] for unit in limited}
    free, left = workers, len(in_queue) if at_once is None else at_once
    opening = graph.opening.copy()  # apart from those that become ready: a heap of them all would cost more
    next_opening = opening[-1] if opening else mask
    ready: list[int] = []
    waiting: list[int] = []  # limited ones for which there is no place
    held = set(graph.held)  # they stand among those that run, and end when they may begin
    running = [delays[unit] for unit in held]
    heapify(running)
    now = 0  # in the high bits
    while True:
        while free:
            if waiting and left and waiting[0] < next_opening and (not ready or waiting[0] < ready[0]):
                unit = heappop(waiting)
            elif ready and ready[0] < next_opening:
                unit = heappop(ready)
            elif opening:
                unit = opening.pop()
                next_opening = opening[-1] if opening else mask
            else:
                break
            if in_queue and unit in in_queue:
                if not left:
                    heappush(waiting, unit)
                    continue
                left -= 1
            free -= 1
            heappush(running, now + lasting[unit])
        if not running:
            return now // (mask + 1)
        until = running[0] | mask
        now = until - mask
        while running and running[0] <= until:
            unit = heappop(running) - now
            if held and unit in held:
                held.discard(unit)
                if graph.lengths[unit]:
                    heappush(ready, unit)
                    continue
            else:
                free += 1
                if in_queue:
                    left += unit in in_queue
            released: Sequence[int] = after[unit]
            while released:
                joints: Sequence[int] = ()
                for one in released:
                    if missing[one] > 1:
                        missing[one] -= 1
                    elif not special[one]:
                        heappush(ready, one)
                    elif one in delays:
                        held.add(one)
                        heappush(running, now + delays[one])
                    else:
                        joints = [*joints, *after[one]] if joints else after[one]
                released = joints


def enough_workers(flat: Flat) -> int:
    """How many units run side by side at most where each begins as soon as it can: so many workers are enough."""
    starts = [0] * len(flat.lengths)
    ends = [0] * len(flat.lengths)
    for unit, before in enumerate(flat.before):
        begun = 0
        for one in before:
            if ends[one] > begun:  # noqa: PLR1730 - a call of max costs three times as much
                begun = ends[one]
        if unit in flat.delays:
            begun += flat.delays[unit]
        starts[unit], ends[unit] = begun, begun + flat.lengths[unit]
    lasting = [unit for unit, length in enumerate(flat.lengths) if length]
    return most_at_once([starts[unit] for unit in lasting], [ends[unit] for unit in lasting])

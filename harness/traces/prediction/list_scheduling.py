"""Schedules a graph of units quickly: how long it takes with so many workers, and under one limit.

Rules of this module:
- Each free worker gets the ready unit with the longest chain behind it, the earlier-listed of several: what policy
  ``dataflow`` does. A test holds it equal to the production scheduler.
- O(n log n) in units and edges.

Source: list scheduling (Graham 1966), by the upward rank.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush

from harness.traces.prediction.flat_graph import Flat


def list_schedule(flat: Flat, workers: int, *, limited: Collection[int] = (), at_once: int | None = None) -> int:
    """The makespan with so many workers. ``at_once``: how many of the units in ``limited`` may run side by side."""
    return _Schedule(flat, workers, limited, len(limited) if at_once is None else at_once).run()


def most_at_once(flat: Flat) -> int:
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
    begins = sorted(start for start, length in zip(starts, flat.lengths, strict=True) if length)
    finished = sorted(end for end, length in zip(ends, flat.lengths, strict=True) if length)
    most = place = 0
    for number, begun in enumerate(begins, 1):
        while finished[place] <= begun:
            place += 1
        most = max(most, number - place)
    return most


class _Schedule:
    """Heaps of plain integers: a unit's place in the order of starts; an end in nanoseconds, and the unit."""

    def __init__(self, flat: Flat, workers: int, limited: Collection[int], at_once: int) -> None:
        self.flat = flat
        self.free = workers
        self.limited = limited
        self.places_left = at_once
        self.now = 0
        self.bits = len(flat.lengths).bit_length()
        self.by_place = [0] * len(flat.places)
        for unit, place in enumerate(flat.places):
            self.by_place[place] = unit
        self.missing = [len(before) for before in flat.before]
        self.ready: list[int] = []
        self.waiting: list[int] = []  # limited ones for which there is no place
        self.running: list[int] = []
        self.held: set[int] = set()  # by delays; they stand among those that run, and end when they may begin
        for unit, count in enumerate(self.missing):
            if not count:
                self._admit(unit)

    def run(self) -> int:
        while self.ready or self.running or self.waiting:
            self._start()
            self._end()
        return self.now

    def _admit(self, unit: int) -> None:
        delay = self.flat.delays.get(unit)
        if delay:
            self.held.add(unit)
            heappush(self.running, (self.now + delay) << self.bits | unit)
        else:
            heappush(self.ready, self.flat.places[unit])

    def _start(self) -> None:
        ready, waiting, limited = self.ready, self.waiting, self.limited
        while self.free and (ready or (waiting and self.places_left)):
            from_waiting = waiting and self.places_left and (not ready or waiting[0] < ready[0])
            place = heappop(waiting if from_waiting else ready)
            unit = self.by_place[place]
            if unit in limited:
                if not self.places_left:
                    heappush(waiting, place)
                    continue
                self.places_left -= 1
            self.free -= 1
            heappush(self.running, (self.now + self.flat.lengths[unit]) << self.bits | unit)

    def _end(self) -> None:
        """Go on to the next end, and let go what waited for it alone."""
        running, lengths, after, missing = self.running, self.flat.lengths, self.flat.after, self.missing
        bits, delays = self.bits, self.flat.delays
        mask = (1 << bits) - 1
        self.now = running[0] >> bits
        ended = []
        while running and running[0] >> bits == self.now:
            unit = heappop(running) & mask
            if unit in self.held:
                self.held.discard(unit)
                if lengths[unit]:
                    heappush(self.ready, self.flat.places[unit])
                else:
                    ended.append(unit)
                continue
            ended.append(unit)
            self.free += 1
            self.places_left += unit in self.limited
        while ended:
            for unit in after[ended.pop()]:
                missing[unit] -= 1
                if missing[unit]:
                    continue
                if lengths[unit] or unit in delays:
                    self._admit(unit)
                else:
                    ended.append(unit)

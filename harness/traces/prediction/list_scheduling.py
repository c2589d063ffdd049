"""Schedules a graph of units quickly: how long it takes with so many workers, and under one limit.

Rules of this module:
- Each free worker gets the ready unit with the longest chain behind it, the earlier-listed of several: what policy
  ``dataflow`` does. A test holds it equal to the production scheduler.
- O(n log n) in units and edges.

Source: list scheduling (Graham 1966), by the upward rank.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush

from harness.traces.prediction.flat_graph import Flat


def list_schedule(flat: Flat, workers: int, *, limited: Collection[int] = (), at_once: int | None = None) -> int:
    """The makespan with so many workers. ``at_once``: how many of the units in ``limited`` may run side by side."""
    if limited:
        return _Schedule(flat, workers, limited, len(limited) if at_once is None else at_once).run()
    return _without_limit(flat, workers)


def _without_limit(flat: Flat, workers: int) -> int:
    """The same without a limit, in one function: calls would cost most of the time of a large trace."""
    lengths, after, places, delays = flat.lengths, flat.after, flat.places, flat.delays
    bits = len(lengths).bit_length()
    mask = (1 << bits) - 1
    by_place = _inverse(places)
    missing = list(map(len, flat.before))
    first = [unit for unit, count in enumerate(missing) if not count]
    held = {unit for unit in first if unit in delays}  # they stand among those that run, and end when they may begin
    # Those that are ready from the beginning, the next one last: a heap of them all would cost more.
    opening = sorted((places[unit] for unit in first if unit not in held), reverse=True)
    ready: list[int] = []
    running = [delays[unit] << bits | unit for unit in held]
    heapify(running)
    free, now = workers, 0
    while True:
        while free and (ready or opening):
            from_opening = opening and (not ready or opening[-1] < ready[0])
            unit = by_place[opening.pop() if from_opening else heappop(ready)]
            free -= 1
            heappush(running, (now + lengths[unit]) << bits | unit)
        if not running:
            return now
        now = running[0] >> bits
        while running and running[0] >> bits == now:
            unit = heappop(running) & mask
            if unit not in held:
                free += 1
            else:
                held.discard(unit)
                if lengths[unit]:
                    heappush(ready, places[unit])
                    continue
            released: Iterable[int] = after[unit]
            while released:
                joints = []
                for one in released:
                    left = missing[one] = missing[one] - 1
                    if left:
                        continue
                    if one in delays:
                        held.add(one)
                        heappush(running, (now + delays[one]) << bits | one)
                    elif lengths[one]:
                        heappush(ready, places[one])
                    else:
                        joints.append(one)
                released = [behind for joint in joints for behind in after[joint]] if joints else ()


def _inverse(places: Sequence[int]) -> list[int]:
    """The unit at each place."""
    by_place = [0] * len(places)
    for unit, place in enumerate(places):
        by_place[place] = unit
    return by_place


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
        self.by_place = _inverse(flat.places)
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

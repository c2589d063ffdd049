"""A timeline arranged for reading: attempts by step, the pauses inside an attempt, and which call made which child.

Rules of this module:
- Pure: integer nanoseconds in, integer nanoseconds out; nothing here divides.
- Attempts without an end (still running when the record was closed) are left out. One that ended without having
  started counts as started at its end.
- A nested step belongs to the last blocked interval of its parent that holds its first ``ready`` and its last
  ``ended``.
- Building and every question asked later cost O(1) an attempt, or O(log calls) for a nested one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from executor.record.timeline import Attempt, Timeline

BLOCKED = "blocked"


def ended_of(attempt: Attempt) -> int:
    """When the attempt ended; its grant if it is unknown."""
    return attempt.granted if attempt.ended is None else attempt.ended


def started_of(attempt: Attempt) -> int:
    """When the attempt started; one that never did counts as started at its end."""
    return ended_of(attempt) if attempt.started is None else attempt.started


def known_of(attempt: Attempt) -> int:
    """When the engine knew of the end; the end itself where it was not recorded."""
    return ended_of(attempt) if attempt.known is None else attempt.known


class Pause:
    """A part of an attempt, after its start, in which it did not run: blocked on a call, or waiting to go on.

    ``reason`` is ``blocked`` or that of the wait. ``place`` counts the pauses of the attempt, ``call`` the blocked
    ones of the step over all its attempts (-1 for waits). ``last_child`` is the last-ended attempt of the call's
    children. Nanoseconds.
    """

    __slots__ = ("attempt", "call", "end", "last_child", "place", "reason", "start")

    def __init__(self, attempt: Attempt, reason: str, start: int, end: int) -> None:
        self.attempt = attempt
        self.reason = reason
        self.start = start
        self.end = end
        self.place = 0
        self.call = -1
        self.last_child: Attempt | None = None

    def holds(self, ready: int, ended: int) -> bool:
        """Whether ``[ready, ended]`` lies inside."""
        return self.start <= ready and ended <= self.end


def pauses_of(attempt: Attempt) -> list[Pause]:
    """The pauses of an attempt in order of time, cut to ``[started, ended]``."""
    started, ended = started_of(attempt), ended_of(attempt)
    waits = attempt.waits
    if not attempt.blocked and (not waits or waits[-1].start < started):
        return []
    pauses = [
        Pause(attempt, BLOCKED, max(start, started), min(end, ended))
        for start, end in attempt.blocked
        if start <= ended and end >= started
    ]
    pauses += [
        Pause(attempt, reason, start, min(end, ended))
        for reason, start, end in waits
        if started <= start < min(end, ended)
    ]
    pauses.sort(key=lambda pause: (pause.start, pause.end))
    for place, pause in enumerate(pauses):
        pause.place = place
    return pauses


class AttemptIndex:
    """What the analyses look up. ``ended`` holds the attempts that ended, in the timeline's order."""

    def __init__(self, timeline: Timeline) -> None:
        steps = len(timeline.step_ids)
        self.timeline = timeline
        self.makespan = timeline.makespan_nanoseconds
        self.nested_in: Sequence[int] = timeline.nested_in or [-1] * steps
        self.ended = [attempt for attempt in timeline.attempts if attempt.ended is not None]
        self.tries = self._by_step(steps)
        self._last: dict[int, Attempt] = {}  # by step, of those with several attempts
        self._pauses: dict[Attempt, list[Pause]] = {}
        self.calls: dict[int, list[Pause]] = {}
        self.call_of: dict[int, Pause] = {}
        self._index_pauses()
        self._index_children()

    def _by_step(self, steps: int) -> list[Sequence[Attempt]]:
        tries: list[Sequence[Attempt]] = [()] * steps
        several: dict[int, list[Attempt]] = {}
        for attempt in self.ended:
            index = attempt.index
            if not tries[index]:
                tries[index] = (attempt,)
            else:
                several.setdefault(index, list(tries[index])).append(attempt)
        for index, retried in several.items():
            tries[index] = sorted(retried, key=lambda attempt: attempt.attempt)
        return tries

    def _index_pauses(self) -> None:
        for index, tries in enumerate(self.tries):
            for attempt in tries:
                pauses = pauses_of(attempt)
                if not pauses:
                    continue
                self._pauses[attempt] = pauses
                calls = [pause for pause in pauses if pause.reason == BLOCKED]
                if calls:
                    self.calls.setdefault(index, []).extend(calls)
        for calls in self.calls.values():
            for number, pause in enumerate(calls):
                pause.call = number

    def _index_children(self) -> None:
        if not self.calls:
            return
        starts: dict[int, list[int]] = {}
        for index, parent in enumerate(self.nested_in):
            calls = self.calls.get(parent)
            tries = self.tries[index]
            if calls is None or not tries:
                continue
            if parent not in starts:
                starts[parent] = [pause.start for pause in calls]
            # Calls of a step do not overlap: only the last one begun by then can hold the child, or its ends meet.
            number = bisect_right(starts[parent], tries[0].ready) - 1
            if number >= 0:
                self.call_of[index] = calls[number]
                self._note_last_child(calls[number], index)

    def _note_last_child(self, call: Pause, index: int) -> None:
        tries = self.tries[index]
        last = self.last_of(index)
        if call.holds(tries[0].ready, ended_of(last)) and (
            call.last_child is None or ended_of(last) > ended_of(call.last_child)
        ):
            call.last_child = last

    def last_of(self, step: int) -> Attempt:
        """The last-ended of the attempts of a step that ran; of several, the latest attempt."""
        tries = self.tries[step]
        if len(tries) == 1:
            return tries[0]
        found = self._last.get(step)
        if found is None:
            found = self._last[step] = max(tries, key=lambda attempt: (ended_of(attempt), attempt.attempt))
        return found

    def is_held(self, child: int) -> bool:
        """Whether the call that a nested step came from lasted until the step's end."""
        call, tries = self.call_of.get(child), self.tries[child]
        return call is not None and call.holds(tries[0].ready, ended_of(self.last_of(child)))

    def pauses(self, attempt: Attempt) -> Sequence[Pause]:
        """The attempt's pauses in order of time."""
        return self._pauses.get(attempt, ())

    def run_segments(self, attempt: Attempt) -> Iterator[tuple[int, int]]:
        """The parts of ``[started, ended]`` in which the attempt ran, in order."""
        cursor, ended = started_of(attempt), ended_of(attempt)
        for pause in self._pauses.get(attempt, ()):
            if pause.start > cursor:
                yield cursor, pause.start
            cursor = max(cursor, pause.end)
        if ended > cursor:
            yield cursor, ended

    def run_nanoseconds(self, attempt: Attempt) -> int:
        """Started to ended, less blocked and resuming."""
        if attempt not in self._pauses:
            return ended_of(attempt) - started_of(attempt)
        return sum(end - start for start, end in self.run_segments(attempt))

"""How attempts that made calls spent their time, from the record of a run. Pure.

Rules of this module:
- A caller waits where the record says that it is blocked; a call belongs to the last wait that had begun when the call
  became ready. What is left of the attempt, less its resuming, is its own running time.
- Calls that became ready together were asked together. One that became ready at the very instant at which another of
  its wait was over was asked in turn: so many at once as there were to begin with (``max_workers``). Any other was
  asked at a time of its own, by code that goes on while the step waits in another place.
- A call that was cancelled was withdrawn, or its caller was over: both end the wait for it.
- A call without an attempt never began: it has the place between its neighbours, first in a wait that has no other. It
  was asked with those before it if these were given up; if they went on, it is asked, and given up, by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from executor.record.timeline import NANOSECONDS, Attempt, Interval, Timeline
from harness.benchmark.recorded_calls.recorded_call import Ask, Plan

# Of each attempt that made calls, by the place of its step and its number.
Plans: TypeAlias = "dict[tuple[int, int], Plan]"


def plans_of(timeline: Timeline, mapped: Collection[int]) -> Plans:
    """Those of a run. ``mapped``: the places of mapped steps, whose items are no calls of running code."""
    found: Plans = {}
    calls: dict[int, list[int]] = {}
    for index, parent in enumerate(timeline.nested_in):
        if parent >= 0 and parent not in mapped:
            calls.setdefault(parent, []).append(index)
    if not calls:
        return found
    wanted = {*calls, *(index for made in calls.values() for index in made)}
    attempts: dict[int, list[Attempt]] = {}
    for attempt in timeline.attempts:
        if attempt.index in wanted:
            attempts.setdefault(attempt.index, []).append(attempt)
    for parent, made in calls.items():
        _add_plans(found, timeline, attempts, attempts.get(parent, ()), made)
    return found


def _add_plans(
    found: Plans,
    timeline: Timeline,
    attempts: dict[int, list[Attempt]],
    callers: Sequence[Attempt],
    calls: Sequence[int],
) -> None:
    waits = [(caller, place) for caller in callers for place in range(len(caller.blocked))]
    if not waits:
        return
    intervals = [caller.blocked[place] for caller, place in waits]
    ready = [attempts[call][0].ready if call in attempts else None for call in calls]
    of_wait: list[list[int]] = [[] for _ in waits]
    for call, place in zip(calls, _places(ready, [interval.start for interval in intervals]), strict=True):
        of_wait[place].append(call)
    asked: dict[tuple[int, int], list[tuple[Ask, ...]]] = {}
    for (caller, _), interval, made in zip(waits, intervals, of_wait, strict=True):
        asks = _asks(timeline, attempts, interval, made)
        asked.setdefault((caller.index, caller.attempt), []).append(asks)
    for caller in callers:
        if caller.blocked:
            key = caller.index, caller.attempt
            found[key] = Plan(own_seconds(caller), tuple(asked[key]))


def _places(ready: Sequence[int | None], starts: Sequence[int]) -> list[int]:
    """Which wait each call belongs to. Calls are in the order in which they were made."""
    known = [None if at is None else max(0, bisect_right(starts, at) - 1) for at in ready]
    empty = sorted(set(range(len(starts))) - {place for place in known if place is not None})
    following = len(starts) - 1
    upper = [0] * len(known)
    for number in range(len(known) - 1, -1, -1):
        place = known[number]
        following = upper[number] = following if place is None else place
    places = []
    previous = 0
    for place, last in zip(known, upper, strict=True):
        if place is None:
            while empty and empty[0] < previous:
                empty.pop(0)
            place = empty.pop(0) if empty and empty[0] <= last else previous  # noqa: PLW2901  # found instead of it
        places.append(place)
        previous = place
    return places


@dataclass(slots=True)
class _Asked:
    """An :class:`Ask` that grows."""

    at: int
    first: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    withdrawn: int | None = None

    def words(self, start: int) -> Ask:
        withdrawn = None if self.withdrawn is None else max(0, self.withdrawn - self.at) / NANOSECONDS
        at_once = len(self.first) if self.later else None
        return Ask(max(0, self.at - start) / NANOSECONDS, (*self.first, *self.later), at_once, withdrawn)


def _asks(
    timeline: Timeline, attempts: dict[int, list[Attempt]], wait: Interval, calls: Sequence[int]
) -> tuple[Ask, ...]:
    asks: list[_Asked] = []
    ends: dict[int, _Asked] = {}
    newest: _Asked | None = None
    # What never began, and what was asked before it.
    idle: list[tuple[_Asked, _Asked | None]] = []
    for call in calls:
        step_id, tries = timeline.step_ids[call], attempts.get(call, ())
        if not tries:
            if not idle or idle[-1][1] is not newest:
                idle.append((_Asked(wait.start if newest is None else newest.at), newest))
                asks.append(idle[-1][0])
            idle[-1][0].first.append(step_id)
            continue
        at = tries[0].ready
        if newest is not None and not newest.later and at == newest.at:
            ask = newest
            ask.first.append(step_id)
        elif at in ends:
            ask = ends[at]
            ask.later.append(step_id)
        else:
            ask = newest = _Asked(at, [step_id])
            asks.append(ask)
        over = tries[-1].known
        if timeline.statuses[call] == "cancelled":
            over = over if tries[-1].outcome == "cancelled" and over is not None else wait.end
            ask.withdrawn = over if ask.withdrawn is None else min(ask.withdrawn, over)
        elif over is not None:
            ends[over] = ask
    made = {timeline.step_ids[call]: number for number, call in enumerate(calls)}
    for ask, before in idle:
        ask.withdrawn = wait.end
        if before is not None and before.withdrawn is not None and not before.later:
            before.first = sorted([*before.first, *ask.first], key=made.__getitem__)
            asks.remove(ask)
    return tuple(ask.words(wait.start) for ask in asks)


def own_seconds(attempt: Attempt) -> tuple[float, ...]:
    """How long an attempt itself ran before, between and after its waits."""
    started = attempt.granted if attempt.started is None else attempt.started
    ended = started if attempt.ended is None else attempt.ended
    resuming = [wait for wait in attempt.waits if wait.start >= started and wait.end > wait.start]
    found, cursor, next_wait = [], started, 0
    for start, end in [*attempt.blocked, (ended, ended)]:
        lost = 0
        while next_wait < len(resuming) and resuming[next_wait].start < start:
            lost += resuming[next_wait].end - resuming[next_wait].start
            next_wait += 1
        found.append(max(0, start - cursor - lost) / NANOSECONDS)
        cursor = end
    return tuple(found)

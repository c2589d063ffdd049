"""Stretches of time in which as many calls ran as a limit lets through: each further one began as another ended.

Rules of this module:
- The most that ran at once may be a limit where each further one began as another ended, while as many as that ran.
- Where one begins while fewer run, nothing had to wait: what came before may be a queue, and so may what comes after.
- Of several names, one that begins when all before it have ended follows them all, and waited for no place.
- One at a time is no limit that one can tell from a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from statistics import median
from typing import Final

from harness.analysis.concurrency import most_at_once

# Begun as another ended: within this share of its own length, or of the usual one.
PROMPT_RATIO: Final = 0.05
PROMPT_NANOSECONDS: Final = 1_000_000
FEWEST_WAITING: Final = 2
# Of calls of several names, those that began while others still ran: else it is a superstep like another.
_STAGGERED_RATIO: Final = 0.5

Call = tuple[int, int, int]  # start, end, which


def full_stretches(calls: Sequence[Call], *, staggered: bool) -> Iterator[tuple[int, Sequence[Call]]]:
    """(the most at once, its calls) wherever further ones waited, those that had to in order behind the first so many.
    ``calls``: in order of start, nanoseconds. ``staggered``: of several names, and begun while others ran.
    """
    if len(calls) < 2 * FEWEST_WAITING:
        return
    usual = median(end - start for start, end, _ in calls)
    least = min(PROMPT_NANOSECONDS, int(PROMPT_RATIO * usual))
    for cluster in _clusters(calls, least):
        if len(cluster) < 2 + FEWEST_WAITING:
            continue
        most = most_at_once([start for start, _, _ in cluster], [end for _, end, _ in cluster])
        if most > 1 and len(cluster) >= most + FEWEST_WAITING:
            yield from _stretches(cluster, most, least, usual, staggered)


def _clusters(calls: Sequence[Call], least: int) -> Iterator[Sequence[Call]]:
    """Calls in order of start, cut where none runs."""
    begin, until = 0, calls[0][1]
    for place, (start, end, _) in enumerate(calls):
        if start > until + max(least, int(PROMPT_RATIO * (end - start))):
            yield calls[begin:place]
            begin = place
        until = max(until, end)
    yield calls[begin:]


def _stretches(
    cluster: Sequence[Call], most: int, least: int, usual: float, staggered: bool
) -> Iterator[tuple[int, Sequence[Call]]]:
    running: list[Call] = []  # by end
    members: list[Call] = []
    full_until: int | None = None  # while all places are taken: when the first of them becomes free
    beside = waited = 0
    for start, end, step in cluster:
        while running and running[0][0] <= start:
            if len(running) == most:
                full_until = running[0][0]
            heappop(running)
        prompt = max(least, int(PROMPT_RATIO * min(end - start, usual)))
        follows_all = staggered and not running
        if members and full_until is not None and start - full_until <= prompt and not follows_all:
            members.append((start, end, step))
            waited += 1
            beside += bool(running)
        elif members:  # one began although a place was free: none waited any longer
            yield from _accepted(members, most, waited, beside, staggered)
            members, waited, beside, full_until = [], 0, 0, None
        heappush(running, (end, start, step))
        if len(running) == most and not members:
            members = sorted((begun, ended, one) for ended, begun, one in running)
            full_until = None
    yield from _accepted(members, most, waited, beside, staggered)


def _accepted(
    members: Sequence[Call], most: int, waited: int, beside: int, staggered: bool
) -> Iterator[tuple[int, Sequence[Call]]]:
    if staggered and (waited < most or beside < _STAGGERED_RATIO * waited):
        return
    if waited >= FEWEST_WAITING:
        yield most, members

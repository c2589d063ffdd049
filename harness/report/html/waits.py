"""Waits for drawing: an attempt's waits in few intervals, and what it waited for in all. Pure.

A step that lacks a worker and a limit may change its reason hundreds of times while it waits. No chart can show that;
so such a wait is cut into equal parts, and each part has the reason that took most of it. The totals stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from executor.record.timeline import Attempt, Wait

INTERVALS_DRAWN = 20_000


def parts_allowed(attempts: int) -> int:
    """Into how many parts the waits of an attempt may be cut, so that a report of many attempts stays small."""
    return max(2, min(24, INTERVALS_DRAWN // max(1, attempts)))


def drawn_waits(attempt: Attempt, parts: int) -> tuple[Sequence[Wait], dict[str, int]]:
    """The waits to draw, and the exact totals by reason in nanoseconds (empty where the waits drawn are exact)."""
    waits = attempt.waits
    if len(waits) <= parts:
        return waits, {}
    before = [wait for wait in waits if wait.end <= attempt.granted]
    after = [wait for wait in waits if wait.end > attempt.granted]
    totals: dict[str, int] = {}
    for reason, start, end in waits:
        totals[reason] = totals.get(reason, 0) + end - start
    return [*_coarse(before, parts), *_coarse(after, parts)], totals


def _coarse(waits: Sequence[Wait], parts: int) -> list[Wait]:
    if len(waits) <= parts:
        return list(waits)
    first, last = waits[0].start, waits[-1].end
    edges = [first + (last - first) * number // parts for number in range(parts + 1)]
    drawn: list[Wait] = []
    place = 0
    for start, end in pairwise(edges):
        shares: dict[str, int] = {}
        while place < len(waits):
            wait = waits[place]
            if wait.start >= end:
                break
            shares[wait.reason] = shares.get(wait.reason, 0) + min(end, wait.end) - max(start, wait.start)
            if wait.end > end:
                break
            place += 1
        if not shares or end == start:
            continue
        reason = max(shares, key=shares.__getitem__)
        if drawn and drawn[-1].reason == reason and drawn[-1].end == start:
            drawn[-1] = Wait(reason, drawn[-1].start, end)
        else:
            drawn.append(Wait(reason, start, end))
    return drawn


def waited_by_reason(attempts: Sequence[Attempt]) -> list[tuple[str, int, int]]:
    """``(reason, attempts, nanoseconds)`` of all waits, longest first."""
    total: dict[str, int] = {}
    counts: dict[str, int] = {}
    for attempt in attempts:
        reasons = set()
        for reason, start, end in attempt.waits:
            if end > start:
                total[reason] = total.get(reason, 0) + end - start
                reasons.add(reason)
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + 1
    return sorted(((reason, counts[reason], total[reason]) for reason in total), key=lambda row: -row[2])

"""What a Gantt chart draws: bars in lanes by worker or rows by step, and an attempt's waits in few intervals. Pure.

A step that lacks a worker and a limit may change its reason hundreds of times while it waits. No chart can show that;
so such a wait is cut into equal parts, and each part has the reason that took most of it. The totals stay exact.

Rules of this module:
- No two attempts of a lane overlap in time: what one worker did at once (an asyncio worker, a foreign trace) gets
  lanes of its own.
- A nested step is below the step that called it.
- O(attempts · log attempts), and no recursion.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from executor.record.timeline import Attempt, Timeline, Wait

UNKNOWN_WORKER = "unknown worker"
WAITING_FOR_ITEMS = "waiting for items"


@dataclass(frozen=True, slots=True)
class Lanes:
    """``lane_of[place]`` for each attempt of the timeline; ``labels`` for each lane."""

    lane_of: tuple[int, ...]
    labels: tuple[str, ...]


def bar_of(attempt: Attempt, makespan: int) -> tuple[int, int]:
    """From start to end in nanoseconds; an attempt that had not ended reaches to the makespan."""
    start = attempt.granted if attempt.started is None else attempt.started
    end = max(start, makespan) if attempt.ended is None else attempt.ended
    return start, end


def worker_lanes(timeline: Timeline) -> Lanes:
    """A lane for each worker, and more where its attempts overlap. Workers are ordered as people count."""
    makespan = timeline.makespan_nanoseconds
    by_worker: dict[str, list[tuple[int, int, int]]] = {}
    for place, attempt in enumerate(timeline.attempts):
        start, end = bar_of(attempt, makespan)
        by_worker.setdefault(attempt.worker or _lane_without_worker(attempt), []).append((start, end, place))
    lane_of = [0] * len(timeline.attempts)
    labels: list[str] = []
    for worker in sorted(by_worker, key=_counting_key):
        lanes = _pack(by_worker[worker], lane_of, first=len(labels))
        labels += [worker if number == 0 else f"{worker} ({number + 1})" for number in range(lanes)]
    return Lanes(tuple(lane_of), tuple(labels))


@dataclass(frozen=True, slots=True)
class DeviceLanes:
    """``lanes_of[place]``: of each attempt that had devices, a lane for each; ``labels`` for each lane."""

    lanes_of: dict[int, list[int]]
    labels: tuple[str, ...]


def device_lanes(timeline: Timeline) -> DeviceLanes:
    """A lane for each device, and more where several steps shared it; those that no step had are there, too."""
    makespan = timeline.makespan_nanoseconds
    by_device: dict[tuple[str, str], list[tuple[int, int, int]]] = {
        (kind, name): []
        for kind, resource in timeline.resources.items()
        if resource.devices is not None
        for name in resource.devices.names
    }
    for place, attempt in enumerate(timeline.attempts):
        start, end = bar_of(attempt, makespan)
        for kind, ids in (attempt.devices or {}).items():
            for name in ids:
                by_device.setdefault((kind, name), []).append((start, end, place))
    lanes_of: dict[int, list[int]] = {}
    labels: list[str] = []
    for (kind, name), bars in by_device.items():
        lane_of = [0] * len(timeline.attempts) if bars else []
        lanes = max(1, _pack(bars, lane_of, first=len(labels)))
        for _, _, place in bars:
            lanes_of.setdefault(place, []).append(lane_of[place])
        labels += [f"{kind} {name}" if number == 0 else f"{kind} {name} ({number + 1})" for number in range(lanes)]
    return DeviceLanes(lanes_of, tuple(labels))


def _lane_without_worker(attempt: Attempt) -> str:
    """A mapped step takes no worker: all it does is wait for its items."""
    if attempt.started is None or attempt.ended is None or attempt.ended == attempt.started:
        return UNKNOWN_WORKER
    waited = sum(end - start for start, end in attempt.blocked)
    return WAITING_FOR_ITEMS if waited == attempt.ended - attempt.started else UNKNOWN_WORKER


def _pack(bars: list[tuple[int, int, int]], lane_of: list[int], *, first: int) -> int:
    """Give each bar the first lane that is free; returns how many lanes that took."""
    bars.sort()
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    lanes = 0
    for start, end, place in bars:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, lanes = lanes, lanes + 1
        lane_of[place] = first + lane
        heapq.heappush(busy, (end, lane))
    return lanes


def _counting_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts ``thread-2`` before ``thread-10``."""
    return tuple(
        (0, int(part), "") if part.isascii() and part.isdecimal() else (1, 0, part)
        for part in re.split(r"([0-9]{1,18})", name)
        if part
    )


def step_rows(timeline: Timeline) -> list[tuple[int, int]]:
    """``(step, depth)`` from the top: by first ready time, calls below their caller, steps that never ran last."""
    never = timeline.makespan_nanoseconds + 1
    ready = [never] * len(timeline.step_ids)
    for attempt in timeline.attempts:
        ready[attempt.index] = min(ready[attempt.index], attempt.ready)
    nested_in: Sequence[int] = timeline.nested_in or [-1] * len(timeline.step_ids)
    order = sorted(range(len(timeline.step_ids)), key=lambda step: (ready[step], step))
    children: dict[int, list[int]] = {}
    for step in order:
        children.setdefault(nested_in[step], []).append(step)
    rows: list[tuple[int, int]] = []
    stack = [(step, 0) for step in reversed(children.get(-1, ()))]
    while stack:
        step, depth = stack.pop()
        rows.append((step, depth))
        stack += [(child, depth + 1) for child in reversed(children.get(step, ()))]
    return rows


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

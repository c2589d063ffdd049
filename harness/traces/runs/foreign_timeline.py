"""The timeline of a trace that is not ours: attempts, calls, and what each step waited for before it began.

Rules of this module:
- ``ready`` is when the last step that it needs ended; without one, when the call that it belongs to began, or t = 0.
- What lies between ``ready`` and the start is given to one of: ``worker`` (others ran, one after the other),
  ``barrier`` (others ran side by side, and all had ended before it began), ``gap`` (no child ran: time inside the
  parent that no child covers), ``late_start`` (others ran, none of them ended, and it is unknown what it waited for).
- A step's calls are the stretches in which its children ran. A step among whose children some declare what
  depends on what makes one call of them all: what lies between is theirs to shorten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter

from executor.record.timeline import Attempt, Interval, StepStatus, Timeline, Wait
from harness.analysis.concurrency import most_at_once
from harness.traces.edges.found_edges import Edges
from harness.traces.spans.span_steps import Steps

WORKER, BARRIER, GAP, BACKOFF, LATE = "worker", "barrier", "gap", "backoff", "late_start"
# Later starts than that, and than this share of the makespan, are worth a word.
_FEWEST_LATE_NANOSECONDS = 1_000_000
_LATE_RATIO = 0.02


def timeline_of(steps: Steps, edges: Edges, origin: int) -> Timeline:
    """The timeline, with every edge as a data edge."""
    count = len(steps.members)
    parents: list[list[int]] = [[] for _ in range(count)]
    for before, after in sorted(edges.by_pair):
        parents[after].append(before)
    calls = {step: _calls(steps, edges, step, group) for step, group in steps.groups.items() if step >= 0}
    siblings = {caller: _Siblings(steps, group) for caller, group in steps.groups.items()}
    attempts: list[Attempt] = []
    for step, caller in enumerate(steps.nested_in):
        _add_attempts(attempts, steps, edges, step, parents[step], calls.get(caller), siblings[caller], origin)
    attempts.sort(key=attrgetter("granted"))  # of several at one instant those stay in order of steps
    _block(attempts, calls, origin)
    return Timeline(
        step_ids=steps.ids,
        data_parents=parents,
        order_parents=[()] * count,
        statuses=[_status(steps, step) for step in range(count)],
        attempts=attempts,
        workers=max(1, _most_at_once(attempts)),
        nested_in=steps.nested_in,
        policy="observed",
        backend="trace",
    )


def late_starts(timeline: Timeline, edges: Edges) -> dict[int, int]:
    """By step, how long it waited while others ran and none of them ended, and it is unknown for what: of those of
    which it is not declared what they need. Notes it, where it is worth a word.
    """
    late: dict[int, int] = {}
    for attempt in timeline.attempts:
        step = attempt.index
        if attempt.attempt == 1 and step not in edges.covered and step not in edges.begun_in:
            waited = sum(end - start for reason, start, end in attempt.waits if reason == LATE)
            if waited:
                late[step] = waited
    least = max(_FEWEST_LATE_NANOSECONDS, int(_LATE_RATIO * timeline.makespan_nanoseconds))
    edges.steps.tree.note(
        "late_start",
        "steps that began after others and before any of those had ended, and waited for nothing that one can see",
        "the sure figures let them begin as late as they did; if nothing held them back, there is more to gain",
        sum(waited > least for waited in late.values()),
    )
    return late


class _Siblings:
    """Who of a group ran when."""

    def __init__(self, steps: Steps, group: Sequence[int]) -> None:
        self.starts = [steps.starts[step] for step in group]
        self.ends = sorted(steps.ends[step] for step in group)
        self.one_by_one = all(
            steps.ends[one] <= steps.starts[later] for one, later in pairwise(group)
        )  # fmt: skip

    def last_end(self, time: int) -> int | None:
        """When the last of those that ended by then did."""
        place = bisect_right(self.ends, time)
        return self.ends[place - 1] if place else None

    def busy_since(self, last: int, time: int) -> int:
        """From when on a sibling ran until that instant, if none ended between ``last`` and it."""
        begun = bisect_right(self.starts, last)
        if begun > bisect_right(self.ends, last):
            return last
        return min(time, self.starts[begun]) if begun < len(self.starts) else time

    def running_across(self, time: int) -> int:
        """How many began before that instant and ended after it."""
        return bisect_left(self.starts, time) - bisect_right(self.ends, time)


def _calls(steps: Steps, edges: Edges, parent: int, group: Sequence[int]) -> list[tuple[int, int]]:
    """The stretches of time in which a step's children ran, cut to the step itself."""
    low, high = steps.starts[parent], steps.ends[parent]
    stretches: list[tuple[int, int]] = []
    whole = any(step in edges.covered for step in group)
    for step in group:
        start, end = max(low, steps.starts[step]), min(high, steps.ends[step])
        if end < start:
            continue
        if stretches and (whole or start <= stretches[-1][1]):
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], end))
        else:
            stretches.append((start, end))
    return stretches


def _add_attempts(
    attempts: list[Attempt],
    steps: Steps,
    edges: Edges,
    step: int,
    needed: Sequence[int],
    calls: Sequence[tuple[int, int]] | None,
    siblings: _Siblings,
    origin: int,
) -> None:
    tree, ids, ends, parent = steps.tree, steps.ids, steps.ends, steps.nested_in[step]
    step_id, start = ids[step], steps.starts[step]
    caller_id = ids[parent] if parent >= 0 else None
    ready, released_by = origin, None
    if needed:
        last = needed[0] if len(needed) == 1 else max(needed, key=lambda other: (ends[other], -other))
        ready, released_by = ends[last], ids[last]
    if calls is not None:
        begun = _call_begun(calls, start)
        if released_by is None or ready < begun:
            ready, released_by = begun, caller_id
    ready = min(ready, start)
    for number, index in enumerate(steps.members[step], 1):
        begin, end = tree.start[index], tree.end[index]
        span = tree.spans[index]
        if number > 1:
            waits: str | Sequence[Wait] | None = BACKOFF
        else:
            waits = _waits(edges, step, ready, begin, siblings, origin) if ready < begin else None
        attempt = Attempt(
            step,
            step_id,
            number,
            ready - origin,
            begin - origin,
            released_by if number == 1 else None,
            caller_id,
            waits,
        )
        attempt.started = begin - origin
        attempt.ended = attempt.known = max(begin, end) - origin
        attempt.worker = _worker(span.attributes) if span.attributes else None
        attempt.outcome = "failed" if span.status == "error" else "succeeded"
        attempts.append(attempt)
        ready = max(begin, end)


def _call_begun(calls: Sequence[tuple[int, int]], start: int) -> int:
    """When the last call began that had begun by then; then, if none had."""
    place = bisect_right(calls, (start, 1 << 63)) - 1
    return calls[place][0] if place >= 0 else start


def _waits(edges: Edges, step: int, ready: int, begin: int, siblings: _Siblings, origin: int) -> str | Sequence[Wait]:
    waits = []
    last = siblings.last_end(begin)
    if last is None or last <= ready:
        last = ready
    else:
        reason = BARRIER
        if step not in edges.levels and (siblings.one_by_one or siblings.running_across(begin) > 0):
            reason = WORKER
        waits.append(Wait(reason, ready - origin, last - origin))
    busy = siblings.busy_since(last, begin)
    if busy >= begin and not waits:
        return GAP
    if last < busy:
        waits.append(Wait(GAP, last - origin, busy - origin))
    if busy < begin:
        waits.append(Wait(LATE, busy - origin, begin - origin))
    return waits


def _worker(attributes: dict[str, object]) -> str | None:
    for name in ("thread.name", "thread.id"):
        if name in attributes:
            return str(attributes[name])
    return None


def _status(steps: Steps, step: int) -> StepStatus:
    return "failed" if steps.tree.spans[steps.members[step][-1]].status == "error" else "succeeded"


def _block(attempts: Sequence[Attempt], calls: dict[int, list[tuple[int, int]]], origin: int) -> None:
    for attempt in attempts:
        stretches = calls.get(attempt.index)
        if stretches:
            started, ended = attempt.started or 0, attempt.ended or 0
            attempt.blocked = [
                Interval(max(start - origin, started), min(end - origin, ended))
                for start, end in stretches
                if start - origin <= ended and end - origin >= started
            ]


def _most_at_once(attempts: Sequence[Attempt]) -> int:
    """The most attempts that ran at one instant, those blocked on their calls left out."""
    starts: list[int] = []
    ends: list[int] = []
    for attempt in attempts:
        cursor, ended = attempt.started or 0, attempt.ended or 0
        for start, end in attempt.blocked:
            if start > cursor:
                starts.append(cursor)
                ends.append(start)
            cursor = max(cursor, end)
        if ended > cursor:
            starts.append(cursor)
            ends.append(ended)
    return most_at_once(starts, ends)

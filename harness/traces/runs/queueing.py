"""Calls that went through a limit: a pool, a semaphore, workers at a queue.

Rules of this module:
- Calls of one caller and one kind that ran side by side are looked at together, and those of each name by themselves,
  which is what counts where it explains as much. The most that ran at once may be a limit where each further one began
  as another ended, while as many as that ran.
- Of several names, one that begins when all before it have ended follows them all, and waited for no place.
- Where one begins while fewer run, nothing had to wait: what came before may be a queue, and so may what comes after.
- A poll takes no place: it asks how far another is.
- A call of which it is declared what it needs waited for that, not for a limit.
- One at a time is no limit that one can tell from a sequence.
- Workers at a queue may have a span each, with what they took inside. They are known by their name; each goes on
  without a pause, and none ends before the last thing was taken. A node of LangGraph is no such worker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from statistics import median
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.analysis.concurrency import most_at_once
from harness.plain_text import some_of
from harness.traces.edges.framework_edges import langgraph_metadata
from harness.traces.spans.waiting_spans import POLL
from harness.traces.trace_model import DECLARED, ForeignRun

MOST_QUEUES: Final = 20
# Begun as another ended: within this share of its own length, or of the usual one.
_PROMPT_RATIO: Final = 0.05
_PROMPT_NANOSECONDS: Final = 1_000_000
_FEWEST_WAITING: Final = 2
_NAMES_SHOWN: Final = 3
# Of steps of several names, how many names there may be for each.
_NAMES_RATIO: Final = 0.34
# Of calls of several names, those that began while others still ran: else it is a superstep like another.
_STAGGERED_RATIO: Final = 0.5
_WORKER: Final = re.compile(r"worker|consumer", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[\W_]*\d+$")

_Call = tuple[int, int, int]  # start, end, step


@dataclass(frozen=True, slots=True)
class Queue:
    """Steps of which at most ``at_once`` ran side by side. ``name``: what they are called, the most frequent name
    first. ``rounds``: the steps, in order of start, of each time that as many waited. ``waited_seconds``: all
    together, from the first start on.
    """

    name: str
    steps: int
    at_once: int
    waited_seconds: float
    rounds: Sequence[Sequence[int]] = ()


def queues_of(run: ForeignRun) -> list[Queue]:
    """The queues of a run, those in which most was waited first."""
    timeline = run.timeline
    declared = {edge.after for edge in run.edges if edge.label == DECLARED}
    groups: dict[tuple[int, str], list[tuple[int, int, int]]] = {}
    nested: Sequence[int] = timeline.nested_in or [-1] * len(timeline.step_ids)
    for attempt in timeline.attempts:
        start, end, step = attempt.started, attempt.ended, attempt.index
        polls = bool(run.waiting) and run.waiting[step] == POLL
        if start is not None and end is not None and end > start and step not in declared and not polls:
            groups.setdefault((nested[step], run.spans[step][0].kind), []).append((start, end, step))
    found: dict[tuple[int, str, int], list[Sequence[tuple[int, int, int]]]] = {}
    for (caller, _), calls in groups.items():
        calls.sort()
        by_name: dict[str, list[tuple[int, int, int]]] = {}
        for call in calls:
            by_name.setdefault(run.names[call[2]], []).append(call)
        alike = [
            (name, at_once, members)
            for name, named in by_name.items()
            for at_once, members in _episodes(named, staggered=False)
        ]
        explained = {step for _, at_once, members in alike for _, _, step in members[at_once:]}
        taken: set[int] = set()
        for at_once, members in _episodes(calls, staggered=True) if len(by_name) > 1 else ():
            names = {run.names[step] for _, _, step in members}
            if len(names) > _NAMES_RATIO * len(members):
                continue  # so many kinds of steps are branches of a program, one after the other in each
            if not explained.issuperset(step for _, _, step in members[at_once:]):
                found.setdefault((caller, _names(run, members), at_once), []).append(members)
                taken.update(step for _, _, step in members)
        for name, at_once, members in alike:
            if taken.isdisjoint(step for _, _, step in members):
                found.setdefault((caller, name, at_once), []).append(members)
    queues = [_queue(name, at_once, rounds) for (_, name, at_once), rounds in found.items()]
    queues += _queues_of_workers(run, groups)
    queues.sort(key=lambda one: -one.waited_seconds)
    return queues[:MOST_QUEUES]


def _queues_of_workers(run: ForeignRun, groups: Mapping[tuple[int, str], Sequence[_Call]]) -> Iterator[Queue]:
    """Queues whose workers have a span each, beside each other in one caller."""
    inside: dict[int, list[_Call]] = {}
    for (caller, _), calls in groups.items():
        inside.setdefault(caller, []).extend(calls)
    workers: dict[tuple[int, str], list[_Call]] = {}
    for (caller, _), calls in groups.items():
        for call in calls:
            name = run.names[call[2]]
            if call[2] in inside and _WORKER.search(name) and not langgraph_metadata(run.spans[call[2]][0]):
                workers.setdefault((caller, _NUMBER.sub("", name)), []).append(call)
    for beside in workers.values():
        taken = sorted(call for worker in beside for call in inside[worker[2]])
        names = {run.names[step] for _, _, step in taken}
        at_once = len(beside)
        if at_once < 2 or len(names) > 1 or len(taken) < at_once + max(_FEWEST_WAITING, at_once):
            continue
        usual = median(end - start for start, end, _ in taken)
        prompt = max(_PROMPT_NANOSECONDS, int(_PROMPT_RATIO * usual))
        earliest_end = min(end for _, end, _ in beside)
        if taken[-1][0] <= earliest_end + prompt and all(_goes_on(one, inside[one[2]], prompt) for one in beside):
            yield _queue(names.pop(), at_once, [taken])


def _goes_on(worker: _Call, taken: Sequence[_Call], prompt: int) -> bool:
    """Whether a worker is busy from its beginning to its end."""
    reached, until, _ = worker
    for start, end, _ in sorted(taken):
        if not -prompt <= start - reached <= prompt:
            return False
        reached = end
    return until - reached <= prompt


def _names(run: ForeignRun, members: Sequence[tuple[int, int, int]]) -> str:
    counts = Counter(run.names[step] for _, _, step in members)
    return some_of([name for name, _ in counts.most_common()], _NAMES_SHOWN)


def _queue(name: str, at_once: int, rounds: Sequence[Sequence[tuple[int, int, int]]]) -> Queue:
    waited = sum(start - members[0][0] for members in rounds for start, _, _ in members[at_once:])
    steps = [[step for _, _, step in members] for members in rounds]
    return Queue(name, sum(map(len, steps)), at_once, waited / NANOSECONDS, steps)


def _episodes(
    calls: Sequence[tuple[int, int, int]], *, staggered: bool
) -> Iterator[tuple[int, Sequence[tuple[int, int, int]]]]:
    """(the most at once, its calls) wherever further ones waited. ``staggered``: they began while others ran."""
    if len(calls) < 2 * _FEWEST_WAITING:
        return
    usual = median(end - start for start, end, _ in calls)
    least = min(_PROMPT_NANOSECONDS, int(_PROMPT_RATIO * usual))
    for cluster in _clusters(calls, least):
        if len(cluster) < 2 + _FEWEST_WAITING:
            continue
        most = most_at_once([start for start, _, _ in cluster], [end for _, end, _ in cluster])
        if most > 1 and len(cluster) >= most + _FEWEST_WAITING:
            yield from _full_stretches(cluster, most, least, usual, staggered)


def _clusters(calls: Sequence[tuple[int, int, int]], least: int) -> Iterator[Sequence[tuple[int, int, int]]]:
    """Calls in order of start, cut where none runs."""
    begin, until = 0, calls[0][1]
    for place, (start, end, _) in enumerate(calls):
        if start > until + max(least, int(_PROMPT_RATIO * (end - start))):
            yield calls[begin:place]
            begin = place
        until = max(until, end)
    yield calls[begin:]


def _full_stretches(
    cluster: Sequence[tuple[int, int, int]], most: int, least: int, usual: float, staggered: bool
) -> Iterator[tuple[int, Sequence[tuple[int, int, int]]]]:
    running: list[tuple[int, int, int]] = []  # by end
    members: list[tuple[int, int, int]] = []
    full_until: int | None = None  # while all places are taken: when the first of them becomes free
    beside = waited = 0
    for start, end, step in cluster:
        while running and running[0][0] <= start:
            if len(running) == most:
                full_until = running[0][0]
            heappop(running)
        prompt = max(least, int(_PROMPT_RATIO * min(end - start, usual)))
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
    members: Sequence[tuple[int, int, int]], most: int, waited: int, beside: int, staggered: bool
) -> Iterator[tuple[int, Sequence[tuple[int, int, int]]]]:
    if staggered and (waited < most or beside < _STAGGERED_RATIO * waited):
        return
    if waited >= _FEWEST_WAITING:
        yield most, members

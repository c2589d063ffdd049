"""Calls that went through a limit: a pool, a semaphore, workers at a queue.

Rules of this module:
- Calls of one caller and one kind that ran side by side are looked at together, and those of each name by themselves,
  which is what counts where it explains as much.
- A poll takes no place: it asks how far another is.
- A call of which it is declared what it needs waited for that, not for a limit.
- Workers at a queue may have a span each, with what they took inside. They are known by their name; each goes on
  without a pause, and none ends before the last thing was taken. A node of LangGraph is no such worker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.plain_text import some_of
from harness.traces.edges.framework_edges import langgraph_metadata
from harness.traces.spans.full_places import (
    FEWEST_WAITING,
    PROMPT_NANOSECONDS,
    PROMPT_RATIO,
    Call,
    full_stretches,
)
from harness.traces.spans.waiting_spans import POLL
from harness.traces.trace_model import DECLARED, ForeignRun

_NAMES_SHOWN: Final = 3
# Of steps of several names, how many names there may be for each.
_NAMES_RATIO: Final = 0.34
_WORKER: Final = re.compile(r"worker|consumer", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[\W_]*\d+$")


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
    groups: dict[tuple[int, str], list[Call]] = {}
    nested: Sequence[int] = timeline.nested_in or [-1] * len(timeline.step_ids)
    for attempt in timeline.attempts:
        start, end, step = attempt.started, attempt.ended, attempt.index
        polls = bool(run.waiting) and run.waiting[step] == POLL
        if start is not None and end is not None and end > start and step not in declared and not polls:
            groups.setdefault((nested[step], run.spans[step][0].kind), []).append((start, end, step))
    found: dict[tuple[int, str, int], list[Sequence[Call]]] = {}
    for (caller, _), calls in groups.items():
        calls.sort()
        by_name: dict[str, list[Call]] = {}
        for call in calls:
            by_name.setdefault(run.names[call[2]], []).append(call)
        alike = [
            (name, at_once, members)
            for name, named in by_name.items()
            for at_once, members in full_stretches(named, staggered=False)
        ]
        explained = {step for _, at_once, members in alike for _, _, step in members[at_once:]}
        taken: set[int] = set()
        for at_once, members in full_stretches(calls, staggered=True) if len(by_name) > 1 else ():
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
    return queues


def _queues_of_workers(run: ForeignRun, groups: Mapping[tuple[int, str], Sequence[Call]]) -> Iterator[Queue]:
    """Queues whose workers have a span each, beside each other in one caller."""
    inside: dict[int, list[Call]] = {}
    for (caller, _), calls in groups.items():
        inside.setdefault(caller, []).extend(calls)
    workers: dict[tuple[int, str], list[Call]] = {}
    for (caller, _), calls in groups.items():
        for call in calls:
            name = run.names[call[2]]
            if call[2] in inside and _WORKER.search(name) and not langgraph_metadata(run.spans[call[2]][0]):
                workers.setdefault((caller, _NUMBER.sub("", name)), []).append(call)
    for beside in workers.values():
        taken = sorted(call for worker in beside for call in inside[worker[2]])
        names = {run.names[step] for _, _, step in taken}
        at_once = len(beside)
        if at_once < 2 or len(names) > 1 or len(taken) < at_once + max(FEWEST_WAITING, at_once):
            continue
        usual = median(end - start for start, end, _ in taken)
        prompt = max(PROMPT_NANOSECONDS, int(PROMPT_RATIO * usual))
        earliest_end = min(end for _, end, _ in beside)
        if taken[-1][0] <= earliest_end + prompt and all(_goes_on(one, inside[one[2]], prompt) for one in beside):
            yield _queue(names.pop(), at_once, [taken])


def _goes_on(worker: Call, taken: Sequence[Call], prompt: int) -> bool:
    """Whether a worker is busy from its beginning to its end."""
    reached, until, _ = worker
    for start, end, _ in sorted(taken):
        if not -prompt <= start - reached <= prompt:
            return False
        reached = end
    return until - reached <= prompt


def _names(run: ForeignRun, members: Sequence[Call]) -> str:
    counts = Counter(run.names[step] for _, _, step in members)
    return some_of([name for name, _ in counts.most_common()], _NAMES_SHOWN)


def _queue(name: str, at_once: int, rounds: Sequence[Sequence[Call]]) -> Queue:
    waited = sum(start - members[0][0] for members in rounds for start, _, _ in members[at_once:])
    steps = [[step for _, _, step in members] for members in rounds]
    return Queue(name, sum(map(len, steps)), at_once, waited / NANOSECONDS, steps)

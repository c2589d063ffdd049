"""A trace as a plain graph of units that only run: what can be scheduled quickly, whatever its nesting.

A span without children is one unit. One with children is two: what it does before them, and what it does after; while
they run it holds no worker. Units without length are joints, and take no worker.

Rules of this module:
- Linear in spans and edges, no recursion.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from executor.model.workflow import Resource
from executor.record.timeline import Attempt, Timeline
from harness.analysis import AttemptIndex
from harness.analysis.attempt_index import ended_of, started_of
from harness.traces.edges.kept_edges import edges_that_hold
from harness.traces.spans.waiting_spans import POLL
from harness.traces.trace_model import ForeignRun

# Where some steps hold none, a worker is a resource.
WORKER: Final = "a worker"


@dataclass(slots=True)
class Flat:
    """Units in topological order. ``lengths`` are nanoseconds, ``before[i]`` the units that unit i needs, ``services``
    what it calls, ``ranks`` the longest chain that begins with it, ``after`` the units that need it,
    ``places`` where it is in the order of starts. ``delays``: by unit, nanoseconds between the end of what it needs
    and its start, in which it takes no worker.
    """

    lengths: list[int] = field(default_factory=list)
    before: list[Sequence[int]] = field(default_factory=list)
    services: list[str | None] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    after: list[list[int]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    delays: dict[int, int] = field(default_factory=dict)

    def add(self, length: int, before: Sequence[int], service: str | None = None, delay: int = 0) -> int:
        """One more unit."""
        if delay:
            self.delays[len(self.lengths)] = delay
        self.lengths.append(length)
        self.before.append(before)
        self.services.append(service)
        return len(self.lengths) - 1


def flat_graph(
    run: ForeignRun,
    services: Sequence[str | None],
    index: AttemptIndex,
    *,
    assumed: bool,
    whole: Collection[int] = (),
) -> Flat:
    """The units of a run. ``assumed``: whether assumed edges count. ``whole``: steps that are one unit with all that
    they call, as long as they were open.
    """
    edges_to: dict[int, list[int]] = {}
    followed: set[int] = set()
    for before_it, after_it, _, _ in run.edges if assumed else edges_that_hold(run):
        edges_to.setdefault(after_it, []).append(before_it)
        followed.add(before_it)
    children: dict[int, list[int]] = {}
    for step, parent in enumerate(index.nested_in):
        children.setdefault(parent, []).append(step)
    flat = Flat()
    starts = _starts(index) if run.begun_in else []
    entries: dict[int, tuple[Sequence[int], int]] = {}  # by step: what its first unit needs, and its delay
    exits: dict[int, int] = {}
    # A frame: a step, the unit that it begins behind (its caller's), and whether its calls are laid out.
    frames: list[tuple[int, int, bool]] = [(step, -1, False) for step in reversed(children.get(-1, ()))]
    while frames:
        step, head, done = frames.pop()
        calls = children.get(step)
        if done and calls:
            last = [exits[call] for call in calls if call not in followed]
            exits[step] = flat.add(_own(index, step)[1], last or [head])
            continue
        listed = edges_to.get(step)
        needed = [exits[before] for before in listed if before in exits] if listed else None
        before: Sequence[int] = needed or ([head] if head >= 0 else [])
        delay = run.delays.get(step, 0) if assumed else 0
        holder = run.begun_in.get(step)
        if holder in entries:  # it begins as long after that one as it did
            before, delay = entries[holder]
            delay += starts[step] - starts[holder]
        if run.begun_in:
            entries[step] = before, delay
        if calls and step in whole:
            open_for = ended_of(index.last_of(step)) - started_of(index.tries[step][0])
            exits[step] = flat.add(open_for, before, services[step], delay)
            continue
        if not calls:
            length = whole_nanoseconds(index, step)
            if run.waiting and run.waiting[step] == POLL:  # takes its time and no worker
                length, delay = 0, delay + length
            exits[step] = flat.add(length, before, services[step], delay)
            continue
        opening = flat.add(_own(index, step)[0], before, None, delay)
        frames.append((step, opening, True))
        frames += [(call, opening, False) for call in reversed(calls)]
    finish(flat)
    return flat


def _starts(index: AttemptIndex) -> list[int]:
    return [started_of(tries[0]) if tries else 0 for tries in index.tries]


def whole_nanoseconds(index: AttemptIndex, step: int) -> int:
    """All attempts of a step, and the waits between them."""
    tries = index.tries[step]
    if len(tries) == 1:
        attempt = tries[0]
        if not index.pauses(attempt) and attempt.started is not None and attempt.ended is not None:
            return attempt.ended - attempt.started
        return index.run_nanoseconds(attempt)
    ran = sum(index.run_nanoseconds(attempt) for attempt in tries)
    return ran + sum(end - start for one in tries[1:] for _, start, end in one.waits)


def _own(index: AttemptIndex, step: int) -> tuple[int, int]:
    """Nanoseconds of a caller's own before its first call, and after that."""
    tries = index.tries[step]
    if not tries:
        return 0, 0
    pauses = index.pauses(tries[0])
    started = tries[0].granted if tries[0].started is None else tries[0].started
    before = max(0, pauses[0].start - started) if pauses else 0
    return before, max(0, whole_nanoseconds(index, step) - before)


def finish(flat: Flat) -> None:
    """Fill in what follows from the units: ``after``, ``ranks``, ``places``."""
    flat.after = [[] for _ in flat.lengths]
    for unit, needed in enumerate(flat.before):
        for one in needed:
            flat.after[one].append(unit)
    ranks = list(flat.lengths)
    lengths = flat.lengths
    delays = flat.delays
    for unit in range(len(ranks) - 1, -1, -1):
        rank = ranks[unit]
        if unit in delays:
            rank += delays[unit]
        for before in flat.before[unit]:
            if ranks[before] < rank + lengths[before]:  # noqa: PLR1730 - a call of max costs three times as much
                ranks[before] = rank + lengths[before]
    flat.ranks = ranks
    flat.places = [0] * len(ranks)
    for place, unit in enumerate(sorted(range(len(ranks)), key=lambda one: -ranks[one])):
        flat.places[unit] = place


def longest_chain(flat: Flat) -> int:
    """The makespan with a worker for every unit."""
    late = [flat.ranks[unit] + delay for unit, delay in flat.delays.items()]
    return max(max(flat.ranks, default=0), max(late, default=0))


def flat_timeline(flat: Flat) -> Timeline:
    """The units as a run that the production scheduler can run again (:class:`harness.simulation.what_if.Rerun`)."""
    count = len(flat.lengths)
    data_parents = [sorted(set(before)) for before in flat.before]
    lengths, services = list(flat.lengths), list(flat.services)
    for unit, delay in flat.delays.items():  # a step of its own, which holds no worker
        lengths.append(delay)
        services.append(None)
        data_parents.append(data_parents[unit])
        data_parents[unit] = [len(lengths) - 1]
    names = [f"unit {number}" for number in range(len(lengths))]
    attempts = []
    for number, (name, length) in enumerate(zip(names, lengths, strict=True)):
        attempt = Attempt(number, name, 1, 0, 0)
        attempt.started, attempt.ended, attempt.known, attempt.outcome = 0, length, length, "succeeded"
        attempts.append(attempt)
    called = dict.fromkeys(service for service in flat.services if service is not None)
    return Timeline(
        step_ids=names,
        data_parents=data_parents,
        order_parents=[()] * len(names),
        statuses=["succeeded"] * len(names),
        attempts=attempts,
        workers=1,
        needs=[
            {**({} if service is None else {service: 1}), **({WORKER: 1} if flat.delays and number < count else {})}
            for number, service in enumerate(services)
        ],
        resources={name: Resource() for name in called},
    )

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

from executor.record.timeline import Attempt, Timeline
from harness.analysis import AttemptIndex
from harness.analysis.attempt_index import ended_of, started_of
from harness.traces.edges.kept_edges import edges_that_hold
from harness.traces.spans.waiting_spans import POLL
from harness.traces.trace_model import ForeignRun

# Where some steps hold none, a worker is a resource.
WORKER: Final = "a worker"


@dataclass(slots=True)
class ByPlace:
    """The units of a graph by their place in the order of starts: what a schedule reads. ``special``: whether a unit is
    a joint, or begins late. ``opening``: those that need nothing, the next one last; ``held``: those of them that
    begin late.
    """

    lengths: list[int]
    after: list[list[int]]
    missing: list[int]
    special: bytearray
    delays: dict[int, int]
    opening: list[int]
    held: list[int]


@dataclass(slots=True)
class Flat:
    """Units in topological order. ``lengths`` are nanoseconds, ``before[i]`` the units that unit i needs, ``services``
    what it calls, ``ranks`` the longest chain that begins with it, ``places`` where it is in the order of starts.
    ``delays``: by unit, nanoseconds between the end of what it needs and its start, in which it takes no worker.
    """

    lengths: list[int] = field(default_factory=list)
    before: list[Sequence[int]] = field(default_factory=list)
    services: list[str | None] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    delays: dict[int, int] = field(default_factory=dict)
    _by_place: ByPlace | None = None

    def add(self, length: int, before: Sequence[int], service: str | None = None, delay: int = 0) -> int:
        """One more unit."""
        if delay:
            self.delays[len(self.lengths)] = delay
        self.lengths.append(length)
        self.before.append(before)
        self.services.append(service)
        return len(self.lengths) - 1

    def by_place(self) -> ByPlace:
        """The same by place; made once for all schedules."""
        if self._by_place is None:
            self._by_place = _by_place(self)
        return self._by_place


@dataclass(slots=True)
class Layout:
    """The units that a run has, whatever depends on what. ``steps``: by unit, its step, or the complement for what a
    step does after its calls. ``first``, ``last``: by step, its first unit and its last one, -1 for one within a whole
    step. ``calls``: by step that is laid out, its calls. ``polls``: by unit, how long it takes without a worker.
    """

    lengths: list[int] = field(default_factory=list)
    services: list[str | None] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    calls: dict[int, list[int]] = field(default_factory=dict)
    polls: dict[int, int] = field(default_factory=dict)


def layout_of(
    run: ForeignRun, services: Sequence[str | None], index: AttemptIndex, *, whole: Collection[int] = ()
) -> Layout:
    """The units of a run. ``whole``: steps that are one unit with all that they call, as long as they were open."""
    children: dict[int, list[int]] = {}
    for step, parent in enumerate(index.nested_in):
        children.setdefault(parent, []).append(step)
    laid = Layout(first=[-1] * len(index.nested_in), last=[-1] * len(index.nested_in))
    lengths, called, steps = laid.lengths, laid.services, laid.steps
    waiting = run.waiting
    stack = children.get(-1, [])[::-1]  # steps, or the complement of one whose calls are laid out
    while stack:
        step = stack.pop()
        unit = len(lengths)
        steps.append(step)
        if step < 0:
            laid.last[~step] = unit
            lengths[laid.first[~step]], after = _own(index, ~step)
            lengths.append(after)
            called.append(None)
            continue
        laid.first[step] = laid.last[step] = unit
        if step not in children:
            length = whole_nanoseconds(index, step)
            if waiting and waiting[step] == POLL:  # takes its time and no worker
                laid.polls[unit] = length
                length = 0
        elif step in whole:
            length = ended_of(index.last_of(step)) - started_of(index.tries[step][0])
        else:
            lengths.append(0)  # known when its calls are laid out
            called.append(None)
            laid.calls[step] = children[step]
            stack.append(~step)
            stack += reversed(children[step])
            continue
        lengths.append(length)
        called.append(services[step])
    return laid


def flat_graph(run: ForeignRun, layout: Layout, index: AttemptIndex, *, assumed: bool) -> Flat:
    """The units of a run with what they need. ``assumed``: whether assumed edges count."""
    edges_to: dict[int, list[int]] = {}
    followed: set[int] = set()
    for before_it, after_it, _, _ in run.edges if assumed else edges_that_hold(run):
        edges_to.setdefault(after_it, []).append(before_it)
        followed.add(before_it)
    flat = Flat(lengths=layout.lengths, services=layout.services)
    last, nested_in, begun_in = layout.last, index.nested_in, run.begun_in
    delayed = run.delays if assumed else {}
    starts = _starts(index) if begun_in else []
    entries: dict[int, tuple[Sequence[int], int]] = {}  # by step: what its first unit needs, and its delay
    openings: dict[int, Sequence[int]] = {-1: ()}  # by caller: its first unit
    for unit, step in enumerate(layout.steps):
        if step < 0:
            flat.before.append([last[call] for call in layout.calls[~step] if call not in followed] or openings[~step])
            continue
        before: Sequence[int] = ()
        if step in edges_to:
            before = [last[one] for one in edges_to[step] if 0 <= last[one] < unit]
        if not before:
            before = openings[nested_in[step]]
        delay = delayed.get(step, 0)
        if begun_in:
            holder = begun_in.get(step)
            if holder in entries:  # it begins as long after that one as it did
                before, delay = entries[holder]
                delay += starts[step] - starts[holder]
            entries[step] = before, delay
        if unit in layout.polls:
            delay += layout.polls[unit]
        if delay:
            flat.delays[unit] = delay
        flat.before.append(before)
        if step in layout.calls:
            openings[step] = (unit,)
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
    """Fill in what follows from the units: ``ranks``, ``places``."""
    lengths, delays = flat.lengths, flat.delays
    ranks = list(lengths)
    for unit in range(len(ranks) - 1, -1, -1):
        rank = ranks[unit]
        if unit in delays:
            rank += delays[unit]
        for before in flat.before[unit]:
            if ranks[before] < rank + lengths[before]:  # noqa: PLR1730 - a call of max costs three times as much
                ranks[before] = rank + lengths[before]
    flat.ranks = ranks
    flat.places = [0] * len(ranks)
    for place, unit in enumerate(sorted(range(len(ranks)), key=ranks.__getitem__, reverse=True)):
        flat.places[unit] = place


def _by_place(flat: Flat) -> ByPlace:
    places, count = flat.places, len(flat.places)
    found = ByPlace([0] * count, [[] for _ in places], [0] * count, bytearray(count), {}, [], [])
    lengths, after, missing, special = found.lengths, found.after, found.missing, found.special
    found.delays = {places[unit]: delay for unit, delay in flat.delays.items()}
    for place, length, before in zip(places, flat.lengths, flat.before, strict=True):
        lengths[place] = length
        special[place] = not length or place in found.delays
        missing[place] = len(before)
        for one in before:
            after[places[one]].append(place)
        if not before:
            (found.held if place in found.delays else found.opening).append(place)
    found.opening.sort(reverse=True)
    return found


def longest_chain(flat: Flat) -> int:
    """The makespan with a worker for every unit."""
    late = [flat.ranks[unit] + delay for unit, delay in flat.delays.items()]
    return max(max(flat.ranks, default=0), max(late, default=0))


def flat_timeline(flat: Flat) -> Timeline:
    """The units as a run that the production scheduler can run again (:class:`harness.simulation.what_if.Rerun`)."""
    from executor.model.workflow import Resource  # noqa: PLC0415 - heavy: only a limit needs it

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

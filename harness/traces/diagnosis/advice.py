"""What could run side by side: spans that went one after the other with nothing known between them.

Each is tried in the run as it was: the later one begins when the earlier did (or when what it is known to need has
ended), everything else stays in its observed order, and the gain is what the makespan loses by that.

Rules of this module:
- Only siblings, only spans that work (a poll or a sleep is no work), only such as are worth a second look: the longest.
- ``assumed``: an assumed edge lies between them. Whether it is real the trace does not tell; a file of edges would.
- Bounded: of any trace at most :data:`MOST_SPANS` spans are looked at, each trial is linear in the siblings, and a
  budget of spans visited covers all trials, those that promise most first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.traces.edges.kept_edges import edges_that_hold
from harness.traces.trace_model import ASSUMED, INFERRED, Edge, ForeignRun

MOST_SPANS: Final = 48
# Spans shorter than that share of the makespan are not worth running beside anything.
_WORTH_LOOKING_RATIO: Final = 0.005
# Of those that ended before a span began, it is taken to have waited for the last ones.
_WAITED_FOR: Final = 8
# Spans that all trials together may visit: so many, and so many more for each span of the trace.
_BUDGET: Final = 200_000
_BUDGET_PER_SPAN: Final = 2


@dataclass(frozen=True, slots=True)
class Together:
    """Steps (indices, in order of time) that ran one after the other and might not need to. ``assumed``: an assumed
    edge lies between two of them. ``evidence``: from where it is known what the later ones need (sources of edges, as
    ``links``); of those that are assumed, what is between them.
    """

    steps: tuple[int, ...]
    gain_seconds: float
    assumed: bool
    evidence: tuple[str, ...] = ()


def side_by_side(run: ForeignRun) -> tuple[list[Together], list[Together]]:
    """Sets of steps that could run together, and pairs; each with the largest gain first."""
    groups = _Groups(run)
    trials: list[tuple[int, bool, int, tuple[int, ...], _Behind]] = []
    for caller, steps in groups.worth_looking(run.timeline.makespan_nanoseconds):
        known, any_edge = _paths(groups, caller, steps)
        candidates = [pair for pair in combinations(steps, 2) if groups.in_a_row(*pair) and not known.has(*pair)]
        several = [tuple(one) for one in _sets(candidates, steps, groups, any_edge)]
        trials += [(-groups.at_most(one), False, caller, one, any_edge) for one in several]
        trials += [(-groups.at_most(pair), True, caller, pair, any_edge) for pair in candidates]
    sets: list[Together] = []
    pairs: list[Together] = []
    # Sets first: each says more than its pairs.
    for _, is_pair, caller, steps_tried, any_edge in sorted(trials, key=lambda one: (one[1], one[0])):
        if groups.visits_left <= 0:
            break
        (pairs if is_pair else sets).extend(_tried(groups, caller, steps_tried, any_edge))
    sets.sort(key=lambda one: (-one.gain_seconds, one.steps))
    pairs.sort(key=lambda one: (-one.gain_seconds, one.steps))
    return sets, pairs


def _tried(groups: _Groups, caller: int, steps: Sequence[int], any_edge: _Behind) -> Iterator[Together]:
    gain = groups.gain(caller, steps)
    if gain > 0:
        assumed = any(any_edge.has(*pair) for pair in combinations(steps, 2))
        yield Together(tuple(steps), gain / NANOSECONDS, assumed, groups.evidence(steps[1:], assumed=assumed))


def _sets(
    pairs: Sequence[tuple[int, int]], steps: Sequence[int], groups: _Groups, any_edge: _Behind
) -> list[list[int]]:
    """Sets in which every pair could run together. Where only an assumption lies between, those of one kind: calls
    in a loop, or of several tools in a row.
    """
    free = set(pairs)
    sets: list[list[int]] = []
    for step in steps:
        for one in sets:
            if all((other, step) in free and _belongs(groups, other, step, any_edge) for other in one):
                one.append(step)
                break
        else:
            sets.append([step])
    return [one for one in sets if len(one) > 1]


def _belongs(groups: _Groups, earlier: int, later: int, any_edge: _Behind) -> bool:
    names = groups.run.names
    return not any_edge.has(earlier, later) or _kind(names[earlier]) == _kind(names[later])


def _kind(name: str) -> str:
    """What is done, without what it is done to: ``execute_tool`` of OpenTelemetry's ``execute_tool search``."""
    return name.partition(" ")[0]


def _paths(groups: _Groups, caller: int, steps: Sequence[int]) -> tuple[_Behind, _Behind]:
    """Which of the steps lie behind each: over known edges, and over any."""
    place = {step: number for number, step in enumerate(steps)}
    known: dict[int, int] = {}
    any_edge: dict[int, int] = {}
    for step in groups.members[caller]:
        over_known = over_any = 0
        for (before, *_), label in groups.edges_to.get(step, ()):
            bit = 1 << place[before] if before in place else 0
            over_any |= any_edge.get(before, 0) | bit
            if label != ASSUMED:
                over_known |= known.get(before, 0) | bit
        known[step], any_edge[step] = over_known, over_any
    return _Behind(place, known), _Behind(place, any_edge)


class _Behind:
    """Which of some steps lie behind a step: a bit for each."""

    def __init__(self, place: Mapping[int, int], bits: Mapping[int, int]) -> None:
        self.place = place
        self.bits = bits

    def has(self, earlier: int, later: int) -> bool:
        """Whether a chain of edges leads from the earlier one to the later."""
        return bool(self.bits[later] >> self.place[earlier] & 1)


class _Groups:
    """The steps of each caller in order of start, and what each of them waited for."""

    def __init__(self, run: ForeignRun) -> None:
        timeline = run.timeline
        self.run = run
        self.starts = [0] * len(timeline.step_ids)
        self.ends = [0] * len(timeline.step_ids)
        for attempt in reversed(timeline.attempts):
            if attempt.ended is not None:
                start = attempt.granted if attempt.started is None else attempt.started
                self.starts[attempt.index] = start
                self.ends[attempt.index] = max(self.ends[attempt.index], attempt.ended)
        nested: Sequence[int] = timeline.nested_in or [-1] * len(timeline.step_ids)
        self.nested_in = nested
        self._ran = {attempt.index for attempt in timeline.attempts}
        self._waited_for: dict[int, dict[int, list[int]]] = {}
        self.visits_left = _BUDGET + _BUDGET_PER_SPAN * len(self._ran)

    @cached_property
    def members(self) -> dict[int, list[int]]:
        """By caller, its steps in order of start."""
        members: dict[int, list[int]] = {}
        for step in sorted(self._ran, key=lambda one: (self.starts[one], self.ends[one], one)):
            members.setdefault(self.nested_in[step], []).append(step)
        return members

    @cached_property
    def place(self) -> dict[int, int]:
        """By step, its place in its caller."""
        return {step: number for steps in self.members.values() for number, step in enumerate(steps)}

    @cached_property
    def ends_before(self) -> dict[int, int]:
        """By step, the last end among those of its caller that began before it."""
        found: dict[int, int] = {}
        for steps in self.members.values():
            latest = 0
            for step in steps:
                found[step] = latest
                latest = max(latest, self.ends[step])
        return found

    @cached_property
    def edges_to(self) -> dict[int, list[tuple[Edge, str]]]:
        """By step, its edges, each with how sure it is."""
        found: dict[int, list[tuple[Edge, str]]] = {}
        kept = {(edge.before, edge.after) for edge in edges_that_hold(self.run)}
        for edge in self.run.edges:
            known = INFERRED if edge.label == ASSUMED and (edge.before, edge.after) in kept else edge.label
            found.setdefault(edge.after, []).append((edge, known))
        return found

    def worth_looking(self, makespan: int) -> list[tuple[int, list[int]]]:
        """The callers with at least two long steps, and these in order of start."""
        waiting = self.run.waiting
        least = max(1, int(_WORTH_LOOKING_RATIO * makespan))
        worth = {
            step for step in self._ran
            if self.ends[step] - self.starts[step] >= least and not (waiting and waiting[step])
        }  # fmt: skip
        if len(worth) < 2:
            return []
        long = [step for steps in self.members.values() if len(steps) > 1 for step in steps if step in worth]
        long.sort(key=lambda step: self.starts[step] - self.ends[step])
        found: dict[int, list[int]] = {}
        for step in sorted(long[:MOST_SPANS], key=lambda one: (self.starts[one], self.ends[one], one)):
            found.setdefault(self.nested_in[step], []).append(step)
        return [(caller, steps) for caller, steps in found.items() if len(steps) > 1]

    def evidence(self, later: Sequence[int], *, assumed: bool) -> tuple[str, ...]:
        """The sources of those edges of the later steps that are assumed, or that are not."""
        edges = [edge for step in later for edge, _ in self.edges_to.get(step, ())]
        return tuple(sorted({edge.source for edge in edges if (edge.label == ASSUMED) == assumed}))

    def in_a_row(self, earlier: int, later: int) -> bool:
        """Whether the second began after the first had ended."""
        return self.ends[earlier] <= self.starts[later]

    def at_most(self, steps: Sequence[int]) -> int:
        """What these can gain at most: all but the longest of them."""
        lengths = [self.ends[step] - self.starts[step] for step in steps]
        return sum(lengths) - max(lengths)

    def gain(self, caller: int, steps: Sequence[int]) -> int:
        """Nanoseconds of makespan that go away if these run together, everything else in its observed order."""
        waited_for = self._observed(caller)
        first, *later = steps
        moved: dict[int, Sequence[int]] = {}
        for step in later:
            needed = [edge.before for edge, label in self.edges_to.get(step, ()) if label != ASSUMED]
            moved[step] = [*waited_for[first], *needed]
        saved = self._saved(caller, moved, {})
        while saved > 0 and caller >= 0 and self.visits_left > 0:
            outer = self.nested_in[caller]
            saved = self._saved(outer, {}, {caller: saved})
            caller = outer
        return saved if caller < 0 else 0

    def _saved(self, caller: int, moved: Mapping[int, Sequence[int]], shorter: Mapping[int, int]) -> int:
        """By how much the caller's steps end sooner, all of them together. ``moved``: what those need that run sooner;
        who waited for one of them waits for what that one had waited for.
        """
        waited_for = self._observed(caller)
        members = self.members[caller]
        ends: dict[int, int] = {}  # as they would be, of all from the first that changes
        through: dict[int, int | None] = {}  # by moved step: when all had ended that it had waited for
        first = min(self.place[step] for step in (moved or shorter))
        self.visits_left -= len(members) - first
        last = latest = self.ends_before[members[first]]
        for step in members[first:]:
            before = waited_for[step]
            released = self._latest(ends, through, before)
            if step in moved:
                through[step] = released
                released = max((ends.get(one, self.ends[one]) for one in moved[step]), default=None)
            start = self.starts[step]
            if before:
                start = self._opening(caller) if released is None else start + released - self.ends[before[-1]]
            end = start + self.ends[step] - self.starts[step] - shorter.get(step, 0)
            ends[step] = end
            last = max(last, end)
            latest = max(latest, self.ends[step])
        return latest - last

    def _opening(self, caller: int) -> int:
        """When the caller's first step began: where one that waits for no other begins."""
        return self.starts[self.members[caller][0]]

    def _observed(self, caller: int) -> dict[int, list[int]]:
        """What each step waited for: those of its siblings that had ended when it began, the last ones."""
        found = self._waited_for.get(caller)
        if found is None:
            found = {}
            steps = self.members[caller]
            by_end = sorted(steps, key=lambda one: (self.ends[one], one))
            ended = 0
            for step in steps:
                while ended < len(by_end) and self.ends[by_end[ended]] <= self.starts[step]:
                    ended += 1
                found[step] = [one for one in by_end[max(0, ended - _WAITED_FOR) : ended] if one != step]
            self._waited_for[caller] = found
        return found

    def _latest(self, ends: Mapping[int, int], through: Mapping[int, int | None], before: Sequence[int]) -> int | None:
        """When all of those have ended that a step waits for, and all that one which moved had waited for."""
        found: int | None = None
        for one in before:
            end = ends.get(one)
            if end is None:
                end = self.ends[one]
            earlier = through.get(one)
            if earlier is not None and earlier > end:
                end = earlier
            if found is None or end > found:
                found = end
        return found

"""What could run side by side: spans that went one after the other with nothing known between them.

Each is tried in the run as it was: the later one begins when the earlier did (or when what it is known to need has
ended), everything else stays in its observed order, and the gain is what the makespan loses by that.

Rules of this module:
- Only siblings, only spans that work (a poll or a sleep is no work), only such as are worth a second look: the longest.
- ``assumed``: an assumed edge lies between them. Whether it is real the trace does not tell; a file of edges would.
- Bounded: of any trace at most :data:`MOST_SPANS` spans are looked at, and each trial is linear in the siblings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.traces.edges.kept_edges import edges_that_hold
from harness.traces.trace_model import ASSUMED, INFERRED, ForeignRun

MOST_SPANS: Final = 48
MOST_PAIRS: Final = 50
# Spans shorter than that share of the makespan are not worth running beside anything.
_WORTH_LOOKING_RATIO: Final = 0.005
# Of those that ended before a span began, it is taken to have waited for the last ones.
_WAITED_FOR: Final = 8
_BUDGET: Final = 3_000_000


@dataclass(frozen=True, slots=True)
class Together:
    """Steps (indices, in order of time) that ran one after the other and might not need to. ``assumed``: an assumed
    edge lies between two of them.
    """

    steps: tuple[int, ...]
    gain_seconds: float
    assumed: bool


def side_by_side(run: ForeignRun) -> tuple[list[Together], list[Together]]:
    """Sets of steps that could run together, and pairs; each with the largest gain first."""
    makespan = run.timeline.makespan_nanoseconds
    groups = _Groups(run)
    sets: list[Together] = []
    pairs: list[Together] = []
    budget = _BUDGET
    for caller, steps in groups.worth_looking(makespan):
        known, any_edge = _paths(groups, caller, steps)
        candidates = [pair for pair in combinations(steps, 2) if groups.in_a_row(*pair) and not known.has(*pair)]
        for pair in candidates:
            budget -= len(groups.members[caller])
            if budget < 0:
                break
            pairs += _tried(groups, caller, pair, any_edge)
        for several in _sets(candidates, steps, groups, any_edge):
            sets += _tried(groups, caller, several, any_edge)
    sets.sort(key=lambda one: (-one.gain_seconds, one.steps))
    pairs.sort(key=lambda one: (-one.gain_seconds, one.steps))
    return sets, pairs[:MOST_PAIRS]


def _tried(groups: _Groups, caller: int, steps: Sequence[int], any_edge: _Behind) -> Iterator[Together]:
    gain = groups.gain(caller, steps)
    if gain > 0:
        assumed = any(any_edge.has(*pair) for pair in combinations(steps, 2))
        yield Together(tuple(steps), gain / NANOSECONDS, assumed)


def _sets(
    pairs: Sequence[tuple[int, int]], steps: Sequence[int], groups: _Groups, any_edge: _Behind
) -> list[list[int]]:
    """Sets in which every pair could run together. Where only an assumption stands between, those of one name: calls
    in a loop.
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
    return not any_edge.has(earlier, later) or names[earlier] == names[later]


def _paths(groups: _Groups, caller: int, steps: Sequence[int]) -> tuple[_Behind, _Behind]:
    """Which of the steps lie behind each: over known edges, and over any."""
    place = {step: number for number, step in enumerate(steps)}
    known: dict[int, int] = {}
    any_edge: dict[int, int] = {}
    for step in groups.members[caller]:
        over_known = over_any = 0
        for before, label in groups.edges_to.get(step, ()):
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
        self.members: dict[int, list[int]] = {}
        ran = {attempt.index for attempt in timeline.attempts}
        for step in sorted(ran, key=lambda one: (self.starts[one], self.ends[one], one)):
            self.members.setdefault(nested[step], []).append(step)
        self.edges_to: dict[int, list[tuple[int, str]]] = {}
        kept = {(edge.before, edge.after) for edge in edges_that_hold(run)}
        for before, after, label, _ in run.edges:
            known = INFERRED if label == ASSUMED and (before, after) in kept else label
            self.edges_to.setdefault(after, []).append((before, known))
        self._waited_for: dict[int, dict[int, list[int]]] = {}

    def worth_looking(self, makespan: int) -> list[tuple[int, list[int]]]:
        """The callers with at least two long steps, and these in order of start."""
        waiting = self.run.waiting
        least = max(1, int(_WORTH_LOOKING_RATIO * makespan))
        long = [
            step
            for steps in self.members.values()
            if len(steps) > 1
            for step in steps
            if self.ends[step] - self.starts[step] >= least and not (waiting and waiting[step])
        ]
        long.sort(key=lambda step: self.starts[step] - self.ends[step])
        found: dict[int, list[int]] = {}
        for step in sorted(long[:MOST_SPANS], key=lambda one: (self.starts[one], self.ends[one], one)):
            found.setdefault(self.nested_in[step], []).append(step)
        return [(caller, steps) for caller, steps in found.items() if len(steps) > 1]

    def in_a_row(self, earlier: int, later: int) -> bool:
        """Whether the second began after the first had ended."""
        return self.ends[earlier] <= self.starts[later]

    def gain(self, caller: int, steps: Sequence[int]) -> int:
        """Nanoseconds of makespan that go away if these run together, everything else in its observed order."""
        waited_for = self._observed(caller)
        first, *later = steps
        changed: dict[int, list[int]] = {}
        moved = set(later)
        for step in later:
            needed = [before for before, label in self.edges_to.get(step, ()) if label != ASSUMED]
            changed[step] = [*waited_for[first], *needed]
        for step in self.members[caller]:
            if step not in moved and not moved.isdisjoint(waited_for[step]):
                changed[step] = list({*waited_for[step], *self._before(waited_for, moved, step)})
        saved = self._saved(caller, changed, {})
        while saved > 0 and caller >= 0:
            outer = self.nested_in[caller]
            saved = self._saved(outer, {}, {caller: saved})
            caller = outer
        return saved

    def _before(self, waited_for: Mapping[int, list[int]], moved: set[int], step: int) -> set[int]:
        """What a step waited for through those that moved away."""
        found: set[int] = set()
        open_ones = [one for one in waited_for[step] if one in moved]
        while open_ones:
            for before in waited_for[open_ones.pop()]:
                if before in moved:
                    open_ones.append(before)
                else:
                    found.add(before)
        return found

    def _saved(self, caller: int, changed: Mapping[int, Sequence[int]], shorter: Mapping[int, int]) -> int:
        """By how much the caller's steps end sooner, all of them together."""
        waited_for = self._observed(caller)
        ends: dict[int, int] = {}
        last = latest = 0
        for step in self.members[caller]:
            start = self.starts[step]
            before = waited_for[step]
            observed = max((self.ends[one] for one in before), default=None)
            if observed is not None:
                new = max((ends.get(one, self.ends[one]) for one in changed.get(step, before)), default=None)
                start += (new - observed) if new is not None else self._opening(caller, step) - start
            end = start + self.ends[step] - self.starts[step] - shorter.get(step, 0)
            ends[step] = end
            last = max(last, end)
            latest = max(latest, self.ends[step])
        return latest - last

    def _opening(self, caller: int, step: int) -> int:
        """When the caller's first step began: where one that waits for nobody begins."""
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

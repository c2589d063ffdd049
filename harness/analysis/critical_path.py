"""The critical path: the longest chain of measured run times. However many workers, no run is shorter.

Rules of this module:
- Chains go over data and order edges. A step counts with all its attempts and the backoffs that it served.
- A nested call splits its parent: a chain goes from the parent before the call through the call's children to the
  parent after it.
- Through a skipped step a chain goes data→data, data→order or order→order, never order→data: a step that does not
  run waits for no lock. Through a cancelled step, which need not have waited for its data, only order→order.
- One pass in topological order, without recursion: O(steps + edges).

How: every step is a node, and every call that it made adds one (its return). A chain enters at the step's node and
leaves at its last one. A step that never ran has two lengths, one for chains that leave over data edges and one for
order edges; ``state`` is twice the node, plus 1 for the second.

Source: critical path method (Kelley and Walker 1959) over Kahn's order (1962).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.attempt_index import BLOCKED, AttemptIndex, Pause, ended_of, started_of

NO_CHAIN = -1


class PathPart(NamedTuple):
    """A step's part of the path. A step that called others occurs once for each part of its own."""

    step_id: str
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """``parts`` in order of time; their sum is ``nanoseconds``. Of equally long chains, the earliest-listed."""

    nanoseconds: int
    parts: tuple[PathPart, ...]


def critical_path(index: AttemptIndex) -> CriticalPath:
    """The longest chain.

    Raises:
        ValueError: the timeline's dependencies form a cycle.

    """
    return _LongestChain(index).solve()


class _LongestChain:
    def __init__(self, index: AttemptIndex) -> None:
        timeline = self.timeline = index.timeline
        self.index = index
        self.steps = len(timeline.step_ids)
        self.ran = [bool(tries) for tries in index.tries]
        self.step_of = list(range(self.steps))  # by node
        self.gain = [0] * self.steps  # by node: the step's own time that the node adds
        self.returns: dict[int, int] = {}  # step → its first return node; the others follow
        self.last_node = list(range(self.steps))  # by step
        for step, tries in enumerate(index.tries):
            if tries:
                self._lay_out(step)
        self.call_of = settled_calls(index)
        self.length = [NO_CHAIN] * (2 * len(self.gain))  # by state
        self.link = [NO_CHAIN] * (2 * len(self.gain))  # by state: the state before

    def _lay_out(self, step: int) -> None:
        """Make the step's nodes, each with the time that it adds."""
        gains = own_parts(self.index, step)
        self.gain[step] = gains[0]
        if len(gains) > 1:
            self.returns[step] = len(self.gain)
            self.gain += gains[1:]
            self.step_of += [step] * (len(gains) - 1)
            self.last_node[step] = len(self.gain) - 1

    def solve(self) -> CriticalPath:
        self._visit_all()
        best = NO_CHAIN
        for step in range(self.steps):
            state = 2 * self.last_node[step]
            if self.ran[step] and (best == NO_CHAIN or self.length[state] > self.length[best]):
                best = state
        if best == NO_CHAIN:
            return CriticalPath(0, ())
        return CriticalPath(self.length[best], self._parts(best))

    def _parts(self, state: int) -> tuple[PathPart, ...]:
        parts: list[tuple[int, int]] = []
        while state != NO_CHAIN:
            node = state >> 1
            step, gain = self.step_of[node], self.gain[node]
            if self.ran[step] and (node < self.steps or gain):
                if parts and parts[-1][0] == step:
                    parts[-1] = (step, parts[-1][1] + gain)
                else:
                    parts.append((step, gain))
            state = self.link[state]
        return tuple(PathPart(self.timeline.step_ids[step], gain) for step, gain in reversed(parts))

    def _visit_all(self) -> None:
        waiting_for, children, heirs = self._edges()
        queue = [node for node, count in enumerate(waiting_for) if count == 0]
        visited = 0
        while visited < len(queue):
            node = queue[visited]
            visited += 1
            step = self.step_of[node]
            if node < self.steps:
                self._enter(step)
            else:
                self._return(node, children.get(node, ()))
            for other in self._reached(node, children, heirs[step]):
                left = waiting_for[other] = waiting_for[other] - 1
                if left == 0:
                    queue.append(other)
        if visited < len(waiting_for):
            stuck = next(node for node, count in enumerate(waiting_for) if count > 0)
            raise ValueError(f"the dependencies of step {self.timeline.step_ids[self.step_of[stuck]]!r} form a cycle")

    def _reached(self, node: int, children: Mapping[int, list[int]], heirs: list[int]) -> list[int]:
        """The nodes that wait for this one: the next call with its children, or the steps after the whole step."""
        step = self.step_of[node]
        if node != self.last_node[step]:
            following = node + 1 if node >= self.steps else self.returns[step]
            return [following, *children.get(following, ()), *children.get(~following, ())]
        call = self.call_of.get(step)
        return heirs if call is None or not call[1] else [*heirs, self._return_node(call[0])]

    def _edges(self) -> tuple[list[int], dict[int, list[int]], list[list[int]]]:
        """What each node waits for, the children by the node where their call returns (its complement for those that
        outlived the call), and the steps that follow each step.
        """
        waiting_for = [0] * self.steps + [1] * (len(self.gain) - self.steps)
        heirs: list[list[int]] = [[] for _ in range(self.steps)]
        for parents in (self.timeline.data_parents, self.timeline.order_parents):
            for step, its_parents in enumerate(parents):
                waiting_for[step] += len(its_parents)
                for parent in its_parents:
                    heirs[parent].append(step)
        children: dict[int, list[int]] = {}
        for child, (call, held) in self.call_of.items():
            node = self._return_node(call)
            waiting_for[child] += 1
            waiting_for[node] += held
            children.setdefault(node if held else ~node, []).append(child)
        return waiting_for, children, heirs

    def _return_node(self, call: Pause) -> int:
        return self.returns[call.attempt.index] + call.call

    def _enter(self, step: int) -> None:
        """The longest chains that reach a step, by the rules for steps that ran, were skipped, were cancelled."""
        length, last_node = self.length, self.last_node
        by_data = longest = NO_CHAIN
        for parent in self.timeline.data_parents[step]:
            state = 2 * last_node[parent]
            if length[state] > longest:
                by_data, longest = state, length[state]
        order_parents = self.timeline.order_parents[step]
        by_order = self._longest([self._order_state(parent) for parent in order_parents]) if order_parents else NO_CHAIN
        if self.ran[step]:
            call = self.call_of.get(step)
            best = by_data if by_order == NO_CHAIN else self._longest((by_data, by_order))
            if call is not None:
                by_call = self._call_state(call[0])
                if length[by_call] > (NO_CHAIN if best == NO_CHAIN else length[best]):
                    best = by_call
            length[2 * step] = self.gain[step] + (length[best] if best != NO_CHAIN else 0)
            self.link[2 * step] = best
        elif self.timeline.statuses[step] in ("skipped", "failed", "succeeded"):
            self._pass_on(2 * step, by_data)
            self._pass_on(2 * step + 1, self._longest((by_data, by_order)))
        else:
            self._pass_on(2 * step + 1, by_order)

    def _return(self, node: int, children: Sequence[int]) -> None:
        step = self.step_of[node]
        before = 2 * (node - 1 if node > self.returns[step] else step)
        best = self._longest([before, *[2 * self.last_node[child] for child in children]])
        self._set(2 * node, best, self.gain[node])

    def _order_state(self, step: int) -> int:
        return 2 * self.last_node[step] + (not self.ran[step])

    def _call_state(self, call: Pause) -> int:
        """Where the parent is when it makes the call."""
        step = call.attempt.index
        return 2 * (self.returns[step] + call.call - 1 if call.call else step)

    def _longest(self, states: Iterable[int]) -> int:
        best, longest, length = NO_CHAIN, NO_CHAIN, self.length
        for state in states:
            if state != NO_CHAIN and length[state] > longest:
                best, longest = state, length[state]
        return best

    def _set(self, state: int, before: int, gain: int) -> None:
        self.length[state] = gain + (self.length[before] if before != NO_CHAIN else 0)
        self.link[state] = before

    def _pass_on(self, state: int, before: int) -> None:
        if before != NO_CHAIN:
            self._set(state, before, 0)


def own_parts(index: AttemptIndex, step: int) -> list[int]:
    """The step's own time, cut at each of its calls: run times of all its attempts and the backoffs served between."""
    tries = index.tries[step]
    if len(tries) == 1 and not index.pauses(tries[0]):
        return [max(0, ended_of(tries[0]) - started_of(tries[0]))]
    parts = [0]
    for number, attempt in enumerate(tries):
        waits = attempt.waits if number else ()
        if waits and waits[0].reason == "backoff":
            parts[-1] += waits[0].end - waits[0].start
        cursor = started_of(attempt)
        for pause in index.pauses(attempt):
            parts[-1] += max(0, pause.start - cursor)
            cursor = max(cursor, pause.end)
            if pause.reason == BLOCKED:
                parts.append(0)
        parts[-1] += max(0, ended_of(attempt) - cursor)
    return parts


def settled_calls(index: AttemptIndex) -> dict[int, tuple[Pause, bool]]:
    """For each nested step that ran: the call that it came from, and whether the call lasted until its end.

    Where calls and steps of no length share an instant, "the last interval that holds it" may put a step into a later
    call than one that followed it. Such a step is moved to its follower's call, which holds it as well.
    """
    if not index.call_of:
        return {}
    timeline = index.timeline
    number = {child: call.call for child, call in index.call_of.items()}
    work = [child for child, parent in enumerate(index.nested_in) if parent >= 0]
    while work:
        child = work.pop()
        if child not in number:
            continue
        for before in (*timeline.data_parents[child], *timeline.order_parents[child]):
            if index.nested_in[before] != index.nested_in[child]:
                continue
            if number.get(before, number[child] + 1) > number[child]:
                number[before] = number[child]
                work.append(before)
    settled: dict[int, tuple[Pause, bool]] = {}
    for child in index.call_of:
        call = index.calls[index.nested_in[child]][number[child]]
        tries = index.tries[child]
        settled[child] = call, call.holds(tries[0].ready, ended_of(index.last_of(child)))
    return settled

"""The critical path: the longest chain of measured run times. However many workers, no run is shorter.

Rules of this module:
- Chains go over data and order edges. A step counts with all its attempts and the backoffs that it served.
- A nested call splits its parent: a chain goes from the parent before the call through the call's children to the
  parent after it.
- Through a skipped step a chain goes data→data, data→order or order→order, never order→data: a step that does not
  run waits for no lock. Through a cancelled step, which need not have waited for its data, only order→order.
- Each node is visited once what it needs was, without recursion: O(steps + edges).

How: every step is a node, and every call that it made adds one (its return). A chain enters at the step's node and
leaves at its last one. A step that never ran has two lengths, one for chains that leave over data edges and one for
order edges; ``state`` is twice the node, plus 1 for the second.

Source: critical path method (Kelley and Walker 1959).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.attempt_index import BLOCKED, AttemptIndex, Pause, ended_of, started_of

NO_CHAIN = -1
ON_THE_WAY, DONE = 1, 2


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
        self.call_node = [NO_CHAIN] * self.steps  # by step: where its caller was when it made the call
        self.held: dict[int, list[int]] = {}  # by return node: the calls that it waits for
        for child, (call, held) in settled_calls(index).items():
            caller, node = call.attempt.index, self.returns[call.attempt.index] + call.call
            self.call_node[child] = node - 1 if call.call else caller
            if held:
                self.held.setdefault(node, []).append(child)
        self.length = [NO_CHAIN] * (2 * len(self.gain))  # by state
        self.link = [NO_CHAIN] * (2 * len(self.gain))  # by state: the state before
        self.visited = bytearray(len(self.gain))  # by node: 0 not yet, 1 on the way, 2 done

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
        """Each node behind those that it needs. Steps are listed in order of time, or nearly so: few have to wait."""
        for first, visited in enumerate(self.visited):
            if not visited:
                missing = self._visit(first)
                if missing:
                    self._visit_behind(first, missing)

    def _visit_behind(self, first: int, missing: list[int]) -> None:
        stack = [first]
        while stack:
            if missing:
                if any(self.visited[other] for other in missing):
                    step_id = self.timeline.step_ids[self.step_of[first]]
                    raise ValueError(f"the dependencies of step {step_id!r} form a cycle")
                stack += missing
            else:
                stack.pop()
            missing = self._visit(stack[-1]) if stack and self.visited[stack[-1]] != DONE else []

    def _visit(self, node: int) -> list[int]:
        """Visit a node, or say which ones have to be visited before."""
        missing = self._enter(node) if node < self.steps else self._return(node)
        self.visited[node] = ON_THE_WAY if missing else DONE
        return missing

    def _enter(self, step: int) -> list[int]:
        """The longest chains that reach a step, or the nodes that have to be visited before."""
        length, last_node, visited = self.length, self.last_node, self.visited
        missing: list[int] = []
        by_data = longest = NO_CHAIN
        for parent in self.timeline.data_parents[step]:
            node = last_node[parent]
            if visited[node] != DONE:
                missing.append(node)
            elif length[2 * node] > longest:
                by_data, longest = 2 * node, length[2 * node]
        order_parents = self.timeline.order_parents[step]
        if order_parents:
            missing += [node for node in map(last_node.__getitem__, order_parents) if visited[node] != DONE]
        call = self.call_node[step]
        if call != NO_CHAIN and visited[call] != DONE:
            missing.append(call)
        if missing:
            return missing
        by_order = self._longest([self._order_state(parent) for parent in order_parents]) if order_parents else NO_CHAIN
        if not self.ran[step]:
            self._pass_through(step, by_data, by_order)
            return missing
        if by_order != NO_CHAIN and length[by_order] > longest:
            by_data, longest = by_order, length[by_order]
        if call != NO_CHAIN and length[2 * call] > longest:
            by_data, longest = 2 * call, length[2 * call]
        length[2 * step] = self.gain[step] + (longest if by_data != NO_CHAIN else 0)
        self.link[2 * step] = by_data
        return missing

    def _pass_through(self, step: int, by_data: int, by_order: int) -> None:
        """By the rules for steps that were skipped, and that were cancelled."""
        if self.timeline.statuses[step] in ("skipped", "failed", "succeeded"):
            self._pass_on(2 * step, by_data)
            self._pass_on(2 * step + 1, self._longest((by_data, by_order)))
        else:
            self._pass_on(2 * step + 1, by_order)

    def _return(self, node: int) -> list[int]:
        """The longest chain that reaches a return, or the nodes that have to be visited before."""
        length, last_node, visited = self.length, self.last_node, self.visited
        step = self.step_of[node]
        before = node - 1 if node > self.returns[step] else step
        missing = [before] if visited[before] != DONE else []
        best, longest = 2 * before, length[2 * before]
        for child in self.held.get(node, ()):
            last = last_node[child]
            if visited[last] != DONE:
                missing.append(last)
            elif length[2 * last] > longest:
                best, longest = 2 * last, length[2 * last]
        if not missing:
            length[2 * node] = self.gain[node] + longest
            self.link[2 * node] = best
        return missing

    def _order_state(self, step: int) -> int:
        return 2 * self.last_node[step] + (not self.ran[step])

    def _longest(self, states: Iterable[int]) -> int:
        best, longest, length = NO_CHAIN, NO_CHAIN, self.length
        for state in states:
            if state != NO_CHAIN and length[state] > longest:
                best, longest = state, length[state]
        return best

    def _pass_on(self, state: int, before: int) -> None:
        if before != NO_CHAIN:
            self.length[state] = self.length[before]
            self.link[state] = before


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
    nested_in, data_parents, order_parents = index.nested_in, index.timeline.data_parents, index.timeline.order_parents
    number = {child: call.call for child, call in index.call_of.items()}
    work = list(number)
    while work:
        child = work.pop()
        place, caller = number[child], nested_in[child]
        for parents in (data_parents[child], order_parents[child]):
            for before in parents:
                if nested_in[before] == caller and number.get(before, place + 1) > place:
                    number[before] = place
                    work.append(before)
    settled: dict[int, tuple[Pause, bool]] = {}
    for child in index.call_of:
        call = index.calls[index.nested_in[child]][number[child]]
        tries = index.tries[child]
        settled[child] = call, call.holds(tries[0].ready, ended_of(index.last_of(child)))
    return settled

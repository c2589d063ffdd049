"""Slack: by how much a step may become longer before the critical path does.

Rules of this module:
- Chains are those of :mod:`harness.analysis.critical_path`: measured run times over data and order edges, with the same
  rules for steps that did not run. Waiting for workers and limits is no part of it.
- A nested step has its parent's slack, and what its call had to spare beside it. Calls that ended before their children
  did are left out, and so are their children.
- No recursion; O(steps + edges).

Source: total float of the critical path method (Kelley and Walker 1959).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from executor.record.timeline import Timeline
from harness.analysis.attempt_index import AttemptIndex
from harness.analysis.critical_path import NO_CHAIN, own_parts, settled_calls


def slack_nanoseconds(index: AttemptIndex) -> dict[str, int]:
    """Nanoseconds by step id, for each step that ran, in the order of the timeline.

    Raises:
        ValueError: the timeline's dependencies form a cycle.

    """
    timeline = index.timeline
    groups = _groups(index)
    lengths = {step: sum(own_parts(index, step)) for step in range(len(timeline.step_ids)) if index.tries[step]}
    chains: dict[tuple[int, int], _Chains] = {}
    for key in sorted(groups, key=lambda key: -_depth(index, key[0])):
        chains[key] = _Chains(timeline, groups[key], lengths)
        if key[0] >= 0:
            lengths[key[0]] = lengths.get(key[0], 0) + chains[key].longest
    slack: dict[int, int] = {}
    for key in reversed(chains):
        found = chains[key]
        spare = 0 if key[0] < 0 else slack.get(key[0], 0)
        slack.update({step: spare + found.longest - found.through(step) for step in found.members if step in lengths})
    return {timeline.step_ids[step]: slack[step] for step in sorted(slack)}


def _groups(index: AttemptIndex) -> dict[tuple[int, int], list[int]]:
    """Steps that may depend on each other: those at the top under (−1, 0), those of one call under (parent, call)."""
    calls = settled_calls(index)
    groups: dict[tuple[int, int], list[int]] = {}
    for step, parent in enumerate(index.nested_in):
        if parent < 0:
            groups.setdefault((-1, 0), []).append(step)
            continue
        call, held = calls.get(step, (None, False))
        if call is not None and held:
            groups.setdefault((parent, call.call), []).append(step)
    _add_steps_that_never_ran(index, groups)
    return groups


def _add_steps_that_never_ran(index: AttemptIndex, groups: Mapping[tuple[int, int], list[int]]) -> None:
    """Chains lead through them as well; of which call they were is unknown, and in others they have no edges."""
    idle: dict[int, list[int]] = {}
    for step, parent in enumerate(index.nested_in):
        if parent >= 0 and not index.tries[step]:
            idle.setdefault(parent, []).append(step)
    for (parent, _), members in groups.items():
        members.extend(idle.get(parent, ()))
        members.sort()


def _depth(index: AttemptIndex, step: int) -> int:
    depth = 0
    while step >= 0:
        step = index.nested_in[step]
        depth += 1
    return depth


class _Chains:
    """The longest chains before and behind each step of a group."""

    def __init__(self, timeline: Timeline, members: Sequence[int], lengths: Mapping[int, int]) -> None:
        self.timeline = timeline
        self.members = members
        self.lengths = lengths
        inside = set(members)
        self.data = {step: [one for one in timeline.data_parents[step] if one in inside] for step in members}
        self.order = {step: [one for one in timeline.order_parents[step] if one in inside] for step in members}
        self.before: dict[int, int] = {}  # of steps that ran: the longest chain that ends where the step begins
        self.behind: dict[int, int] = {}  # of steps that ran: the longest chain that begins where it ends
        topological = self._topological()
        self._go_forward(topological)
        self._go_back(topological)
        self.longest = max((self.through(step) for step in members if step in lengths), default=0)

    def through(self, step: int) -> int:
        """The longest chain with the step in it."""
        return self.before[step] + self.lengths[step] + self.behind[step]

    def _topological(self) -> list[int]:
        missing = {step: len(self.data[step]) + len(self.order[step]) for step in self.members}
        children: dict[int, list[int]] = {step: [] for step in self.members}
        for step in self.members:
            for parent in (*self.data[step], *self.order[step]):
                children[parent].append(step)
        ready = [step for step in self.members if not missing[step]]
        for step in ready:
            for child in children[step]:
                missing[child] -= 1
                if not missing[child]:
                    ready.append(child)
        if len(ready) < len(self.members):
            stuck = next(step for step in self.members if missing[step] > 0)
            raise ValueError(f"the dependencies of step {self.timeline.step_ids[stuck]!r} form a cycle")
        return ready

    def _go_forward(self, topological: Sequence[int]) -> None:
        """``by_data`` and ``by_order``: the longest chain that leaves a step over an edge of that kind."""
        by_data: dict[int, int] = {}
        by_order: dict[int, int] = {}
        for step in topological:
            from_data = _longest(by_data[parent] for parent in self.data[step])
            from_order = _longest(by_order[parent] for parent in self.order[step])
            if step in self.lengths:
                self.before[step] = max(0, from_data, from_order)
                by_data[step] = by_order[step] = self.before[step] + self.lengths[step]
            elif self.timeline.statuses[step] == "cancelled":
                by_data[step], by_order[step] = NO_CHAIN, from_order
            else:
                by_data[step], by_order[step] = from_data, max(from_data, from_order)

    def _go_back(self, topological: Sequence[int]) -> None:
        """The same from behind: the longest chain that enters a step over an edge of that kind."""
        data_of: dict[int, list[int]] = {step: [] for step in self.members}
        order_of: dict[int, list[int]] = {step: [] for step in self.members}
        for step in self.members:
            for parent in self.data[step]:
                data_of[parent].append(step)
            for parent in self.order[step]:
                order_of[parent].append(step)
        by_data: dict[int, int] = {}
        by_order: dict[int, int] = {}
        for step in reversed(topological):
            from_data = _longest(by_data[child] for child in data_of[step])
            from_order = _longest(by_order[child] for child in order_of[step])
            if step in self.lengths:
                self.behind[step] = max(0, from_data, from_order)
                by_data[step] = by_order[step] = self.behind[step] + self.lengths[step]
            elif self.timeline.statuses[step] == "cancelled":
                by_data[step], by_order[step] = NO_CHAIN, from_order
            else:
                by_data[step], by_order[step] = max(from_data, from_order), from_order


def _longest(chains: Iterable[int]) -> int:
    return max(chains, default=NO_CHAIN)

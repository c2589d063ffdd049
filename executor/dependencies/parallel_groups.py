"""Rule 2: a ``parallel_group`` claims that its members are independent. The claim is checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from executor.dependencies.graph import OrderEdge, Parents, listed, spelled
from executor.model.findings import Finding
from executor.model.workflow import Step

# Steps looked at for all groups together. Members of one level, as groups usually are, cost nothing; where every
# group spans a large graph, the check would cost groups · steps.
VISITS_LIMIT = 5_000_000


def groups_of(steps: Sequence[Step]) -> dict[int | str, list[int]]:
    """The members of each group, in file order. 1 and "1" are two groups."""
    groups: dict[int | str, list[int]] = {}
    for place, step in enumerate(steps):
        if step.parallel_group is not None:
            groups.setdefault(step.parallel_group, []).append(place)
    return groups


class Groups:
    """Checks all groups; collects what is wrong."""

    def __init__(
        self,
        steps: Sequence[Step],
        parents: Parents,
        edges: Sequence[Sequence[OrderEdge]],
        levels: Sequence[int],
    ) -> None:
        self.findings: list[Finding] = []
        self._steps = steps
        self._parents = parents
        self._edges = edges
        self._levels = levels
        self._visits = 0

    def check(self) -> list[Finding]:
        """All findings: conflicts over a state first, then paths between members, group by group."""
        unchecked: list[int | str] = []
        for group, members in groups_of(self._steps).items():
            if len(members) < 2:
                continue
            conflicts = self._check_states(group, members)
            if self._visits <= VISITS_LIMIT:
                self._check_paths(group, members, conflicts)
            # Also the group that went over the limit: not all of it was looked at.
            if self._visits > VISITS_LIMIT:
                unchecked.append(group)
        if unchecked:
            self._add_unchecked(unchecked)
        return self.findings

    def _add_unchecked(self, groups: Sequence[int | str]) -> None:
        which = f"groups {listed(groups)} span" if len(groups) > 1 else f"group {listed(groups)} spans"
        message = f"{which} too much of a large graph to be checked for paths between members"
        fix = "take `parallel_group` out where the policy `barrier` is not used: it changes nothing elsewhere"
        self.findings.append(Finding("warning", "group-not-checked", message, fix, path=("steps",)))

    def _check_states(self, group: int | str, members: Sequence[int]) -> dict[int, set[str]]:
        """The states over which a member conflicts with another, by member."""
        writers: dict[str, list[int]] = {}
        readers: dict[str, list[int]] = {}
        for place in members:
            step = self._steps[place]
            for state in dict.fromkeys(step.writes):
                writers.setdefault(state, []).append(place)
            for state in dict.fromkeys(step.reads):
                if state not in step.writes:
                    readers.setdefault(state, []).append(place)
        conflicts: dict[int, set[str]] = {}
        for state, writing in writers.items():
            reading = readers.get(state, [])
            if len(writing) + len(reading) < 2:
                continue
            for place in (*writing, *reading):
                conflicts.setdefault(place, set()).add(state)
            self._add_conflict(group, state, writing, reading)
        return conflicts

    def _add_conflict(self, group: int | str, state: str, writing: Sequence[int], reading: Sequence[int]) -> None:
        names = [self._steps[place].step_id for place in writing]
        if len(writing) > 1:
            does = f"{listed(names)} of group {group!r} all write {state!r}"
            place, field = writing[1], "writes"
        else:
            does = f"{listed(names)} of group {group!r} writes {state!r}"
            place, field = reading[0], "reads"
        if reading:
            does += f", which {listed([self._steps[reader].step_id for reader in reading])} of the same group read"
        words = self._steps[place].writes if field == "writes" else self._steps[place].reads
        message = f"{does}: they cannot run together"
        fix = "put them into different groups, or give each its own state"
        path = ("steps", place, field, words.index(state))
        self.findings.append(Finding("error", "group-conflict", message, fix, self._steps[place].step_id, path))

    def _check_paths(self, group: int | str, members: Sequence[int], conflicts: dict[int, set[str]]) -> None:
        levels = {self._levels[place] for place in members}
        if len(levels) == 1:
            return  # every edge leads to a higher level
        inside = set(members)
        region = self._above(members, min(levels))
        # For a step below a member: (that member, the next step on the way to it).
        origin: dict[int, tuple[int, int]] = {}
        for place in sorted(region, key=self._levels.__getitem__):
            for parent in self._all_parents(place):
                if parent in inside:
                    origin[place] = parent, parent
                    break
                if parent in origin:
                    origin[place] = origin[parent][0], parent
                    break
            if place in inside and place in origin:
                source = origin[place][0]
                if not conflicts.get(place, set()) & conflicts.get(source, set()):
                    self._add_path(group, place, source, origin)

    def _above(self, members: Sequence[int], lowest: int) -> set[int]:
        """The members and all that lies between them: above one, and above the lowest level of a member."""
        region = set(members)
        stack = [place for place in members if self._levels[place] > lowest]
        while stack and self._visits <= VISITS_LIMIT:
            for parent in self._all_parents(stack.pop()):
                self._visits += 1
                if parent not in region and self._levels[parent] > lowest:
                    region.add(parent)
                    stack.append(parent)
        return region

    def _all_parents(self, place: int) -> Iterator[int]:
        yield from self._parents[place]
        for parent, _state in self._edges[place]:
            yield parent

    def _add_path(self, group: int | str, place: int, source: int, origin: dict[int, tuple[int, int]]) -> None:
        way = [place]
        while way[-1] != source:
            way.append(origin[way[-1]][1])
        names = [self._steps[step].step_id for step in reversed(way)]
        message = f"depends on {names[0]!r} of the same group {group!r}: {spelled(names)}"
        fix = "take one of them out of the group, or take the dependency out"
        path = ("steps", place, "parallel_group")
        self.findings.append(Finding("error", "group-dependency", message, fix, names[-1], path))

"""What could be written better: dependencies that say nothing new, groups that could be wider."""

from __future__ import annotations

from collections.abc import Sequence

from executor.dependencies.graph import Graph, listed
from executor.dependencies.groups import groups_of
from executor.dependencies.references import templates_of
from executor.findings import Finding

# The ancestors of every step are kept as bits: steps² / 8 bytes.
HINTS_LIMIT_STEPS = 5_000


def hints_of(graph: Graph) -> list[Finding]:
    """All hints, or one that says why there are none."""
    if len(graph.steps) > HINTS_LIMIT_STEPS:
        message = f"hints are left out: the workflow has more than {HINTS_LIMIT_STEPS:,} steps"
        return [Finding("hint", "hints-skipped", message)]
    return [*_unneeded(graph), *_wider_groups(graph)]


def _unneeded(graph: Graph) -> list[Finding]:
    """Declared dependencies that a longer path implies, unless the step uses the output."""
    findings: list[Finding] = []
    # ancestors[i]: a set of steps as the bits of a number.
    ancestors = [0] * len(graph.steps)
    for place in graph.topological:
        step = graph.steps[place]
        parents = graph.data_parents[place]
        implied = 0
        for parent in parents:
            implied |= ancestors[parent]
        ancestors[place] = implied
        for parent in parents:
            ancestors[place] |= 1 << parent
        if not step.depends_on or not any(implied >> parent & 1 for parent in parents):
            continue
        used = {name for _path, template in templates_of(step) for name in template.references}
        for position, name in enumerate(step.depends_on):
            if name not in used and implied >> graph.index[name] & 1:
                message = f"need not name {name!r}: it waits for it through another step"
                path = ("steps", place, "depends_on", position)
                findings.append(Finding("hint", "unneeded-dependency", message, "take it out", step.step_id, path))
    return findings


def _wider_groups(graph: Graph) -> list[Finding]:
    """Ungrouped steps that could run beside a group: of its level, so without a path to it, and of other state."""
    findings: list[Finding] = []
    ungrouped: dict[int, list[int]] = {}
    for place, step in enumerate(graph.steps):
        if step.parallel_group is None:
            ungrouped.setdefault(graph.levels[place], []).append(place)
    taken: set[int] = set()
    for group, members in groups_of(graph.steps).items():
        levels = {graph.levels[member] for member in members}
        if len(levels) != 1:
            continue
        joining = _joining(graph, members, [place for place in ungrouped.get(levels.pop(), ()) if place not in taken])
        if joining:
            taken.update(joining)
            names = [graph.steps[place].step_id for place in joining]
            message = f"group {group!r} could be wider: {listed(names)} can run beside it"
            path = ("steps", joining[0])
            fix = f"add `parallel_group: {group}` to it"
            findings.append(Finding("hint", "group-could-be-wider", message, fix, names[0], path))
    return findings


def _joining(graph: Graph, members: Sequence[int], candidates: Sequence[int]) -> list[int]:
    writes = {state for member in members for state in graph.steps[member].writes}
    reads = {state for member in members for state in graph.steps[member].reads}
    joining: list[int] = []
    for place in candidates:
        step = graph.steps[place]
        if writes.isdisjoint(step.writes) and writes.isdisjoint(step.reads) and reads.isdisjoint(step.writes):
            joining.append(place)
            writes.update(step.writes)
            reads.update(step.reads)
    return joining

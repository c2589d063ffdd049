"""What could be written better: dependencies that say nothing new, groups that could be wider."""

from __future__ import annotations

from executor.dependencies.graph import Graph, listed
from executor.dependencies.parallel_groups import groups_of
from executor.dependencies.step_references import templates_of
from executor.model.findings import Finding

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
    # The ancestors of each step: a set of steps as the bits of a number.
    ancestors: dict[int, int] = {}
    for place in graph.topological:
        step = graph.steps[place]
        implied = direct = 0
        for parent in graph.data_parents[place]:
            implied |= ancestors[parent]
            direct |= 1 << parent
        ancestors[place] = implied | direct
        unneeded = [
            (position, name) for position, name in enumerate(step.depends_on) if implied >> graph.index[name] & 1
        ]
        if not unneeded:
            continue
        used = {name for _path, template in templates_of(step) for name in template.references}
        for position, name in unneeded:
            if name not in used:
                message = f"need not name {name!r}: it waits for it through another step"
                path = ("steps", place, "depends_on", position)
                findings.append(Finding("hint", "unneeded-dependency", message, "take it out", step.step_id, path))
    return findings


def _wider_groups(graph: Graph) -> list[Finding]:
    """Ungrouped steps that could run beside a group: those of its level, so without a path to it.

    They share no state with it or with each other either: an order edge would make it another level.
    """
    findings: list[Finding] = []
    ungrouped: dict[int, list[int]] = {}
    for place, step in enumerate(graph.steps):
        if step.parallel_group is None:
            ungrouped.setdefault(graph.levels[place], []).append(place)
    for group, members in groups_of(graph.steps).items():
        levels = {graph.levels[member] for member in members}
        if len(levels) != 1:
            continue
        # Each step is offered to one group.
        joining = ungrouped.pop(levels.pop(), ())
        if joining:
            names = [graph.steps[place].step_id for place in joining]
            message = f"group {group!r} could be wider: {listed(names)} can run beside it"
            path = ("steps", joining[0])
            # As YAML reads it back: 1 and "1" are two groups.
            fix = f"add `parallel_group: {group!r}` to it"
            findings.append(Finding("hint", "group-could-be-wider", message, fix, names[0], path))
    return findings

"""All rules at once: a workflow comes in, a report and a graph come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from executor.dependencies.graph import (
    Graph,
    Parents,
    Plan,
    components,
    levels_of,
    ranks_of,
    shortest_cycle,
    spelled,
    topological_order,
)
from executor.dependencies.hints import hints_of
from executor.dependencies.parallel_groups import Groups
from executor.dependencies.shared_state import order_edges
from executor.dependencies.step_references import References
from executor.dependencies.step_requirements import Resolver
from executor.model.findings import Finding, Path
from executor.model.workflow import Resource, Step, ToolDeclaration, Workflow, max_parallel_resource


def plan(
    workflow: Workflow,
    *,
    tools: Mapping[str, ToolDeclaration] | None = None,
    resources: Mapping[str, Resource] | None = None,
    default_tool: str | None = None,
    hints: bool = True,
) -> Plan:
    """Check a workflow by all rules and build its graph.

    ``tools``: every tool that there is (built-in ones, too), or None to check no tool. ``resources``: every resource,
    or None to check no need. ``default_tool``: what a step without a tool gets, with a warning. Findings are in file
    order; those about the whole workflow come first. Paths count from the workflow: ``("steps", 1, "depends_on", 0)``.
    """
    steps = workflow.steps
    if not steps:
        return Plan([Finding("error", "no-steps", "the workflow has no steps", "add a step", path=("steps",))])
    index, findings = _index(steps)
    findings += _mapping_faults(steps, resources or {})
    references = References(steps, index, workflow.inputs)
    parents = references.read()
    findings += references.findings
    resolver = Resolver(tools, resources, default_tool)
    resolved = resolver.resolve(steps)
    findings += resolver.findings
    order = topological_order(parents)
    if len(order) != len(steps):
        acyclic, cycles = _broken(steps, parents, order)
        findings += cycles
        # The other rules are checked on what is left: a cycle hides no other fault.
        parents, order = acyclic, topological_order(acyclic)
    edges = order_edges(steps, order)
    levels = levels_of(order, parents, edges)
    findings += Groups(steps, parents, edges, levels).check()
    graph: Graph | None = None
    if not any(finding.severity == "error" for finding in findings):
        ranks = ranks_of(resolved, order, parents, edges)
        graph = Graph(resolved, index, parents, edges, order, levels, ranks)
        if hints:
            findings += hints_of(graph)
    if not hints:
        findings = [finding for finding in findings if finding.severity != "hint"]
    return Plan(sorted(findings, key=_place), graph)


def workflow_with_dependencies(workflow: Workflow, graph: Graph) -> Workflow:
    """The workflow with every dependency that rule 1 found written into ``depends_on``, behind the declared ones."""
    steps: list[Step] = []
    for place, step in enumerate(workflow.steps):
        known = {graph.index[name] for name in step.depends_on}
        added = [graph.steps[parent].step_id for parent in graph.data_parents[place] if parent not in known]
        steps.append(step.model_copy(update={"depends_on": (*step.depends_on, *added)}) if added else step)
    return workflow.model_copy(update={"steps": tuple(steps)})


def _index(steps: Sequence[Step]) -> tuple[dict[str, int], list[Finding]]:
    """The first place of each id, and what is said about the others."""
    index = {step.step_id: place for place, step in enumerate(steps)}
    findings: list[Finding] = []
    if len(index) == len(steps):
        return index, findings
    index = {}
    for place, step in enumerate(steps):
        first = index.setdefault(step.step_id, place)
        if first != place:
            message = f"the id {step.step_id!r} is used twice: by steps[{first}] and by steps[{place}]"
            fix = "give one of them another id"
            path = ("steps", place, "step_id")
            findings.append(Finding("error", "duplicate-id", message, fix, step.step_id, path))
    return index, findings


def _mapping_faults(steps: Sequence[Step], resources: Mapping[str, Resource]) -> list[Finding]:
    """What is wrong with `for_each` and its fields, apart from its templates."""
    findings: list[Finding] = []
    for place, step in enumerate(steps):
        if step.for_each is None:
            for field in ("max_parallel", "expected_items"):
                if getattr(step, field) is not None:
                    message = f"`{field}` says something about the items of `for_each`, which is missing"
                    fix = "add `for_each` with the list, or take it out"
                    path = ("steps", place, field)
                    findings.append(Finding("error", "without-for-each", message, fix, step.step_id, path))
        elif step.max_parallel is not None and (name := max_parallel_resource(step.step_id)) in resources:
            message = f"`max_parallel` is a resource called {name!r}, and one of this name is declared"
            path = ("steps", place, "max_parallel")
            fix = "give the declared one another name"
            findings.append(Finding("error", "resource-name-taken", message, fix, step.step_id, path))
    return findings


def _broken(
    steps: Sequence[Step], parents: Parents, order: Sequence[int]
) -> tuple[list[tuple[int, ...]], list[Finding]]:
    """The graph without the edges inside cycles, and a finding for each strongly connected component."""
    acyclic = list(parents)
    findings: list[Finding] = []
    for component in components(parents, order):
        cycle = shortest_cycle(parents, component)
        names = [steps[place].step_id for place in cycle]
        message = f"the steps wait for each other: {spelled(names)} (an arrow leads to the step that waits)"
        if len(component) > len(cycle) - 1:
            message += f"; {len(component)} steps are caught in this and further cycles"
        fix = f"take one of these dependencies out, such as that of {names[1]!r} on {names[0]!r}"
        path = ("steps", cycle[1], *_field(steps[cycle[1]], names[0]))
        findings.append(Finding("error", "cycle", message, fix, names[1], path))
        inside = set(component)
        for place in component:
            acyclic[place] = tuple(parent for parent in acyclic[place] if parent not in inside)
    return acyclic, findings


def _field(step: Step, name: str) -> tuple[str | int, ...]:
    """Where a step declares its dependency on ``name``; nothing if a template does."""
    return ("depends_on", step.depends_on.index(name)) if name in step.depends_on else ()


def _place(finding: Finding) -> Path:
    """The place of the step that it is about; nothing, which sorts first, if it is about the whole workflow."""
    return finding.path[1:2]

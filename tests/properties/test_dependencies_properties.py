"""The rules on random workflows, against definitions so simple that they can be read."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from executor.dependencies import Graph, plan, workflow_with_dependencies
from executor.model.workflow import Step, Workflow, dump_workflow, parse_workflow

STATES = ("x", "y")


@st.composite
def workflows(draw: st.DrawFn, *, groups: bool = False) -> Workflow:
    """An acyclic workflow of up to nine steps, listed in any order, some dependencies only in templates."""
    count = draw(st.integers(1, 9))
    steps = []
    for number in range(count):
        earlier = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        declared = draw(st.sets(st.sampled_from(sorted(earlier)))) if earlier else set()
        states = draw(st.fixed_dictionaries({state: st.sampled_from("-rwb") for state in STATES}))
        mentioned = " ".join(f"{{{{ steps.s{parent}.output }}}}" for parent in sorted(earlier - declared))
        steps.append(
            Step(
                step_id=f"s{number}",
                depends_on=tuple(f"s{parent}" for parent in sorted(declared)),
                prompt=mentioned or None,
                reads=tuple(state for state, use in states.items() if use in "rb"),
                writes=tuple(state for state, use in states.items() if use in "wb"),
                expected_seconds=draw(st.none() | st.integers(0, 5)),
                parallel_group=draw(st.none() | st.sampled_from([1, 2])) if groups else None,
            )
        )
    return Workflow(steps=tuple(draw(st.permutations(steps))))


def graph_of(workflow: Workflow) -> Graph:
    found = plan(workflow, hints=False)
    assert found.graph is not None, found.findings
    return found.graph


def all_parents(graph: Graph) -> list[set[int]]:
    return [
        set(parents) | {parent for parent, _ in edges}
        for parents, edges in zip(graph.data_parents, graph.order_edges, strict=True)
    ]


def ancestors(parents: list[set[int]], order: list[int]) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in parents]
    for place in order:
        found[place] = parents[place].union(*(found[parent] for parent in parents[place]))
    return found


def conflict(one: Step, other: Step) -> bool:
    return bool(set(one.writes) & {*other.reads, *other.writes} or set(other.writes) & {*one.reads, *one.writes})


@given(workflows())
def test_the_fixed_order_is_kahns_with_the_earliest_listed_step_first(workflow: Workflow) -> None:
    graph = graph_of(workflow)
    wanted: list[int] = []
    while len(wanted) < len(workflow.steps):
        wanted.append(
            min(
                place
                for place in range(len(workflow.steps))
                if place not in wanted and set(graph.data_parents[place]) <= set(wanted)
            )
        )
    assert list(graph.topological) == wanted


@given(workflows())
def test_conflicting_steps_are_ordered_and_only_as_the_fixed_order_says(workflow: Workflow) -> None:
    graph = graph_of(workflow)
    position = {place: number for number, place in enumerate(graph.topological)}
    parents = all_parents(graph)
    assert all(position[parent] < position[place] for place, above in enumerate(parents) for parent in above)
    above = ancestors(parents, graph.topological)
    for place, step in enumerate(workflow.steps):
        for other, another in enumerate(workflow.steps):
            if position[other] < position[place] and conflict(step, another):
                assert other in above[place]
        for parent, state in graph.order_edges[place]:
            uses = {*step.reads, *step.writes}
            assert state in uses
            assert conflict(step, workflow.steps[parent])


@given(workflows())
def test_the_order_edges_of_a_state_are_at_most_two_per_use(workflow: Workflow) -> None:
    graph = graph_of(workflow)
    for state in STATES:
        uses = sum(state in {*step.reads, *step.writes} for step in workflow.steps)
        assert sum(edge[1] == state for edges in graph.order_edges for edge in edges) <= 2 * uses


@given(workflows())
def test_writes_stand_before_reads_in_the_order_edges_of_a_step(workflow: Workflow) -> None:
    graph = graph_of(workflow)
    for step, edges in zip(workflow.steps, graph.order_edges, strict=True):
        listed = [*step.writes, *(state for state in step.reads if state not in step.writes)]
        assert all(listed.index(one[1]) <= listed.index(other[1]) for one, other in pairwise(edges))


@given(workflows())
def test_levels_and_ranks_are_longest_paths_over_data_and_order_edges(workflow: Workflow) -> None:
    graph = graph_of(workflow)
    parents = all_parents(graph)
    for place in graph.topological:
        assert graph.levels[place] == max((graph.levels[parent] + 1 for parent in parents[place]), default=0)
    for place in reversed(graph.topological):
        seconds = workflow.steps[place].expected_seconds
        below = [graph.ranks[child] for child, above in enumerate(parents) if place in above]
        assert graph.ranks[place] == (1 if seconds is None else seconds) * 10**9 + max(below, default=0)


@given(workflows(groups=True))
def test_a_group_is_refused_exactly_if_two_members_conflict_or_have_a_path(workflow: Workflow) -> None:
    free = Workflow(steps=tuple(step.model_copy(update={"parallel_group": None}) for step in workflow.steps))
    graph = graph_of(free)
    above = ancestors(all_parents(graph), graph.topological)
    pairs = [
        (place, other)
        for place, step in enumerate(workflow.steps)
        for other, another in enumerate(workflow.steps)
        if place != other and step.parallel_group is not None and step.parallel_group == another.parallel_group
    ]
    clashing = {place for place, other in pairs if conflict(workflow.steps[place], workflow.steps[other])}
    below = {place for place, other in pairs if other in above[place]}
    findings = plan(workflow, hints=False).findings
    assert bool(findings) == bool(clashing or below)
    named = {finding.path[1] for finding in findings}
    assert named <= clashing | below
    # A path that only says that two members conflict is not reported again.
    assert below - clashing <= {finding.path[1] for finding in findings if finding.code == "group-dependency"}


@given(workflows())
def test_dependencies_survive_file_to_model_to_file(workflow: Workflow) -> None:
    graph = graph_of(workflow)
    written, findings = parse_workflow(dump_workflow(workflow_with_dependencies(workflow, graph)))
    assert findings == []
    assert written is not None
    assert graph_of(written).data_parents == graph.data_parents
    bare = Workflow(steps=tuple(step.model_copy(update={"prompt": None}) for step in written.steps))
    assert graph_of(bare).data_parents == graph.data_parents


@given(workflows(), st.data())
def test_closing_any_path_is_reported_as_a_cycle_of_real_dependencies(workflow: Workflow, data: st.DataObject) -> None:
    graph = graph_of(workflow)
    above = ancestors([set(parents) for parents in graph.data_parents], graph.topological)
    paths = [(place, upper) for place in range(len(above)) for upper in above[place]]
    if not paths:
        return
    place, upper = data.draw(st.sampled_from(paths))
    steps = list(workflow.steps)
    steps[upper] = steps[upper].model_copy(update={"depends_on": (*steps[upper].depends_on, steps[place].step_id)})
    found = plan(Workflow(steps=tuple(steps)))
    assert found.graph is None
    cycles = [finding for finding in found.findings if finding.code == "cycle"]
    assert len(cycles) == 1
    names = cycles[0].message.split(": ")[1].split(" (")[0].split(" → ")
    needs = {step.step_id: {steps[parent].step_id for parent in parents} for step, parents in
             zip(steps, graph.data_parents, strict=True)}  # fmt: skip
    needs[steps[upper].step_id].add(steps[place].step_id)
    assert names[0] == names[-1]
    assert all(before in needs[after] for before, after in pairwise(names))

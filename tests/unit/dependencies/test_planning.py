"""All rules at once: what a plan says, in which words and order, and what its graph holds."""

from __future__ import annotations

from executor.dependencies import Plan, plan, workflow_with_dependencies
from executor.model.workflow import Resource, Step, ToolDeclaration, Workflow
from tests.unit.dependencies.plans import codes, graph_of, planned, said, step

WAIT = "the steps wait for each other"
ARROW = "(an arrow leads to the step that waits)"
TAKE_OUT = "fix: take one of these dependencies out, such as that of {!r} on {!r}"


# -- the graph --------------------------------------------------------------------------------------------------------


def test_a_graph_holds_the_resolved_steps_and_what_follows_from_their_edges() -> None:
    tools = {"t": ToolDeclaration(kind="noop", expected_seconds=3)}
    graph = graph_of(
        step("c", "b", tool="t"), step("a", tool="t", writes=("s",)), step("b", "a", tool="t", reads=("s",)),
        tools=tools,
    )  # fmt: skip
    assert graph.index == {"c": 0, "a": 1, "b": 2}
    assert [one.expected_seconds for one in graph.steps] == [3, 3, 3]
    assert (graph.data_parents, graph.order_edges) == ([(2,), (), (1,)], [(), (), ((1, "s"),)])
    assert (graph.topological, graph.levels) == ([1, 2, 0], [2, 0, 1])
    assert graph.ranks == [3 * 10**9, 9 * 10**9, 6 * 10**9]


def test_dependencies_found_in_templates_are_written_behind_the_declared_ones() -> None:
    steps = (
        step("a"), step("b"), step("c"),
        step("d", "b", prompt="{{ steps.c.output }}{{ steps.b.output }}{{ steps.a.output }}"), step("e", "a"),
    )  # fmt: skip
    workflow = Workflow(steps=steps)
    written = workflow_with_dependencies(workflow, graph_of(*steps))
    assert written.steps[3].depends_on == ("b", "a", "c")
    assert all(written.steps[place] is steps[place] for place in (0, 1, 2, 4))


# -- hints and order --------------------------------------------------------------------------------------------------


def test_hints_are_given_unless_nobody_wants_them() -> None:
    workflow = Workflow(steps=(step("a"), step("b", "a"), step("c", "b", "a", "a")))
    found = plan(workflow)
    assert codes(found) == [("repeated-dependency", "c"), ("unneeded-dependency", "c"), ("unneeded-dependency", "c")]
    assert found.graph is not None
    silent = plan(workflow, hints=False)
    assert (silent.findings, silent.graph is None) == ([], False)


def test_findings_of_one_step_stand_in_the_order_of_the_rules() -> None:
    found = planned(
        step("a", writes=("s",), parallel_group=1, tool="zz"),
        step("b", writes=("s",), parallel_group=1, tool="zz", when="steps.nobody.output", max_parallel=2),
        step("a"),
        tools={"t": ToolDeclaration(kind="noop")},
        default_tool="t",
    )
    assert codes(found) == [
        ("unknown-tool", "a"),
        ("without-for-each", "b"),
        ("unknown-dependency", "b"),
        ("unknown-tool", "b"),
        ("group-conflict", "b"),
        ("duplicate-id", "a"),
        ("default-tool", "a"),
    ]
    assert found.graph is None


def test_what_is_said_of_the_whole_workflow_stands_first_with_its_words() -> None:
    assert said(planned()) == ["error[no-steps] steps: the workflow has no steps", "fix: add a step"]


# -- ids --------------------------------------------------------------------------------------------------------------


def test_an_id_used_again_is_told_at_each_further_place() -> None:
    found = planned(step("b"), step("a"), step("c"), step("a"), step("a"))
    sentence = (
        "error[duplicate-id] step 'a', steps[{0}].step_id: the id 'a' is used twice: by steps[1] and by steps[{0}]"
    )
    fix = "fix: give one of them another id"
    assert said(found) == [sentence.format(3), fix, sentence.format(4), fix]


def test_an_id_used_twice_means_its_first_step() -> None:
    twice = [step("a"), step("x", "a"), step("a", "x")]
    assert codes(planned(*twice)) == [("duplicate-id", "a")]
    # No cycle: x waits for the first a.
    assert codes(planned(step("a", "x"), step("x"), step("a", "x"))) == [("duplicate-id", "a")]


# -- lists of items ---------------------------------------------------------------------------------------------------


def test_fields_of_a_mapped_step_without_a_list_are_errors() -> None:
    found = planned(step("x", for_each="[1]", max_parallel=1), step("a", max_parallel=2, expected_items=0), step("b"))
    sentence = (
        "error[without-for-each] step 'a', steps[1].{field}: `{field}` says something about the items of `for_each`, "
        "which is missing"
    )
    fix = "fix: add `for_each` with the list, or take it out"
    assert said(found) == [sentence.format(field="max_parallel"), fix, sentence.format(field="expected_items"), fix]


def test_the_name_of_the_resource_of_max_parallel_may_not_be_taken() -> None:
    mapped = [step("o", for_each="[1]"), step("m", for_each="[1]", max_parallel=2)]
    taken = "`max_parallel` is a resource called 'm.max_parallel', and one of this name is declared"
    assert said(planned(*mapped, resources={"m.max_parallel": Resource(capacity=1)})) == [
        f"error[resource-name-taken] step 'm', steps[1].max_parallel: {taken}",
        "fix: give the declared one another name",
    ]
    graph_of(*mapped, resources={"max_parallel": Resource(capacity=1), "o.max_parallel": Resource(capacity=1)})
    graph_of(*mapped)


# -- cycles -----------------------------------------------------------------------------------------------------------


def test_a_cycle_is_told_at_the_step_behind_its_earliest_one() -> None:
    assert said(planned(step("x"), step("a", "c"), step("b", "x", "a"), step("c", "b"))) == [
        f"error[cycle] step 'b', steps[2].depends_on[1]: {WAIT}: a → b → c → a {ARROW}",
        TAKE_OUT.format("b", "a"),
    ]


def test_a_cycle_by_a_template_is_told_at_its_step() -> None:
    assert said(planned(step("a", "b"), step("b", prompt="{{ steps.a.output }}"))) == [
        f"error[cycle] step 'b', steps[1]: {WAIT}: a → b → a {ARROW}",
        TAKE_OUT.format("b", "a"),
    ]


def test_of_a_knot_of_cycles_a_shortest_one_is_told_and_how_many_steps_are_caught() -> None:
    knot = [step("a", "c", "b"), step("b", "a"), step("c", "b"), step("y", "z"), step("z", "y", "a")]
    caught = "3 steps are caught in this and further cycles"
    assert said(planned(*knot)) == [
        f"error[cycle] step 'b', steps[1].depends_on[0]: {WAIT}: a → b → a {ARROW}; {caught}",
        TAKE_OUT.format("b", "a"),
        f"error[cycle] step 'z', steps[4].depends_on[0]: {WAIT}: y → z → y {ARROW}",
        TAKE_OUT.format("z", "y"),
    ]


def grouped_behind(*steps: str) -> Plan:
    """Two members of a group, one below the other, that both wait for these steps; and two steps in a cycle."""
    return planned(
        step("a", "b"), step("b", "a"), step("self", "self"), step("free"),
        step("d", *steps, parallel_group=1), step("e", "d", parallel_group=1),
    )  # fmt: skip


def test_a_cycle_hides_no_fault_of_the_steps_behind_it() -> None:
    for before in ("free", "self", "a", "b"):
        assert codes(grouped_behind(before)) == [("cycle", "b"), ("self-dependency", "self"), ("group-dependency", "e")]


def test_a_cycle_hides_no_fault_of_the_steps_in_it() -> None:
    ring = [step("a", "b", parallel_group=1), step("b", "a"), step("c", "b", parallel_group=1)]
    assert codes(planned(*ring)) == [("cycle", "b")]
    ring[1] = step("b", "a", "x")
    ring.append(step("x", parallel_group=1))
    assert codes(planned(*ring)) == [("cycle", "b"), ("group-dependency", "c")]


# -- outputs of earlier runs ------------------------------------------------------------------------------------------


def test_what_has_effects_or_depends_on_more_than_its_inputs_takes_no_output_from_the_cache() -> None:
    found = planned(
        Step(step_id="once", cache="inputs", idempotent=False),
        Step(step_id="writer", cache="inputs", writes=("s",)),
        Step(step_id="reader", cache="inputs", reads=("s",)),
        Step(step_id="fine", cache="inputs"),
        Step(step_id="off", idempotent=False),
        step("z", idempotent=False, reads=("s",), writes=("s",)),
    )
    reasons = {
        "once": "`idempotent: false`, so each time it is done counts",
        "writer": "`writes`: a step whose output comes from a cache does not write",
        "reader": "`reads`: its output depends on more than its inputs",
    }
    expected = []
    for place, (name, reason) in enumerate(reasons.items()):
        where = f"error[not-cacheable] step {name!r}, steps[{place}].cache"
        expected += [f"{where}: `cache: inputs` does not go with {reason}", "fix: leave `cache` out"]
    assert said(found) == expected


def test_a_tool_that_must_not_be_called_twice_takes_no_output_from_the_cache() -> None:
    tools = {"pay": ToolDeclaration(kind="noop", idempotent=False)}
    again = Step(step_id="again", tool="pay", cache="inputs", idempotent=True)
    assert codes(planned(Step(step_id="a", tool="pay", cache="inputs"), again, tools=tools)) == [("not-cacheable", "a")]

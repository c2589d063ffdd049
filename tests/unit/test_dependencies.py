"""The rules: references, groups, shared state, tools and resources; all findings at once."""

from __future__ import annotations

from typing import Any

import pytest

from executor.dependencies import (
    DEFAULT_EXPECTED_TOKENS,
    HINTS_LIMIT_STEPS,
    Graph,
    Plan,
    plan,
    workflow_with_dependencies,
)
from executor.model.findings import Finding
from executor.model.workflow import Resource, Retry, Step, ToolDeclaration, Workflow, dump_workflow, parse_workflow


def planned(*steps: Step, inputs: dict[str, Any] | None = None, **options: Any) -> Plan:
    return plan(Workflow(steps=steps, inputs=inputs or {}), **options)


def graph_of(*steps: Step, **options: Any) -> Graph:
    found = planned(*steps, **options)
    assert found.graph is not None, found.findings
    return found.graph


def step(step_id: str, *depends_on: str, **fields: Any) -> Step:
    return Step(step_id=step_id, depends_on=depends_on, **fields)


def errors(found: Plan) -> list[Finding]:
    assert (found.graph is None) == any(finding.severity == "error" for finding in found.findings)
    return [finding for finding in found.findings if finding.severity == "error"]


def error(found: Plan) -> Finding:
    assert len(errors(found)) == 1, found.findings
    return errors(found)[0]


def hints(found: Plan) -> list[str]:
    return [finding.code for finding in found.findings if finding.severity == "hint"]


# -- rule 1 -----------------------------------------------------------------------------------------------------------


def test_the_graph_of_the_joke_has_its_edges_levels_and_ranks() -> None:
    graph = graph_of(
        Step(step_id="joke", expected_seconds=5, prompt="Write a joke"),
        Step(step_id="french", parallel_group=1, expected_seconds=3, prompt="French: {{ steps.joke.output }}"),
        Step(step_id="spanish", parallel_group=1, depends_on=("joke",)),
    )
    assert graph.index == {"joke": 0, "french": 1, "spanish": 2}
    assert graph.data_parents == [(), (0,), (0,)]
    assert graph.levels == [0, 1, 1]
    assert graph.ranks == [8_000_000_000, 3_000_000_000, 1_000_000_000]


def test_a_step_depends_on_what_prompt_arguments_and_condition_mention() -> None:
    graph = graph_of(
        *(step(name) for name in "abcde"),
        step(
            "f",
            "e",
            prompt="{{ steps.d.output | upper }}",
            args={"x": [{"y": "{{ steps.b.output }}"}]},
            when="steps.a.output",
        ),
    )
    assert graph.data_parents[5] == (0, 1, 3, 4)


def test_a_template_that_says_more_mentions_its_steps_all_the_same() -> None:
    said = "{{ inputs.topic }} {{ steps.b.output }}"
    steps = [step("a"), step("b"), step("c", "a", prompt=said), step("d", prompt=said)]
    assert graph_of(*steps, inputs={"topic": "cats"}).data_parents == [(), (), (0, 1), (1,)]


def test_every_reference_is_written_into_depends_on_and_survives_the_file() -> None:
    workflow = Workflow(steps=(step("a"), step("b"), step("c", "b", prompt="{{ steps.a.output }}{{ steps.b.output }}")))
    graph = plan(workflow).graph
    assert graph is not None
    written = workflow_with_dependencies(workflow, graph)
    assert written.steps[2].depends_on == ("b", "a")
    assert written.steps[0] is workflow.steps[0]
    again, findings = parse_workflow(dump_workflow(written))
    assert findings == []
    assert again == written


def test_an_unknown_dependency_suggests_the_nearest_id() -> None:
    finding = error(planned(step("joke"), step("french", "joek")))
    assert (finding.code, finding.step, finding.field) == ("unknown-dependency", "french", "steps[1].depends_on[0]")
    assert "'joke'" in finding.fix


def test_references_to_unknown_steps_are_found_wherever_they_stand() -> None:
    found = planned(
        step("a", prompt="{{ steps.x.output }}", args={"q": ["{{ steps.y.output }}"]}, when="steps.z.output")
    )
    assert [finding.field for finding in errors(found)] == ["steps[0].prompt", "steps[0].args.q[0]", "steps[0].when"]


def test_a_self_dependency_is_an_error_however_it_is_written() -> None:
    assert error(planned(step("a", "a"))).code == "self-dependency"
    assert error(planned(step("a", prompt="{{ steps.a.output }}"))).code == "self-dependency"


def test_a_duplicate_id_is_named_with_both_places() -> None:
    finding = error(planned(step("a"), step("b"), step("a")))
    assert finding.code == "duplicate-id"
    assert finding.path == ("steps", 2, "step_id")
    assert "steps[0]" in finding.message
    assert "steps[2]" in finding.message


def test_a_workflow_without_steps_is_an_error() -> None:
    assert error(planned()).code == "no-steps"


def test_a_cycle_is_printed_in_the_direction_of_the_work() -> None:
    finding = error(planned(step("a", "b"), step("b", "a")))
    assert finding.code == "cycle"
    assert "a → b → a" in finding.message
    chain = error(planned(step("a", "c"), step("b", "a"), step("c", "b")))
    assert "a → b → c → a" in chain.message


def test_each_knot_of_cycles_is_one_finding() -> None:
    found = planned(
        step("a", "b"), step("b", "a"), step("x", "y", "b"), step("y", "z"), step("z", "x"), step("after", "x")
    )
    assert [finding.code for finding in errors(found)] == ["cycle", "cycle"]


def test_a_cycle_through_templates_is_found() -> None:
    found = planned(step("a", prompt="{{ steps.b.output }}"), step("b", prompt="{{ steps.a.output }}"))
    assert error(found).code == "cycle"


def test_a_cycle_hides_no_other_fault() -> None:
    found = planned(
        step("a", "b"), step("b", "a"), step("c", "nobody"),
        step("d", parallel_group=1), step("e", "d", parallel_group=1),
    )  # fmt: skip
    assert {finding.code for finding in errors(found)} == {"cycle", "unknown-dependency", "group-dependency"}


def test_template_faults_come_with_their_place() -> None:
    found = planned(step("a", prompt="{{ '' .__class__ }}", args={"x": "{% for %}"}))
    assert [(finding.code, finding.field) for finding in errors(found)] == [
        ("template-private", "steps[0].prompt"),
        ("template-syntax", "steps[0].args.x"),
    ]
    assert {finding.step for finding in errors(found)} == {"a"}


def test_an_unknown_input_is_a_warning_with_a_suggestion() -> None:
    found = planned(step("a", prompt="{{ inputs.topik }}"), inputs={"topic": 1})
    assert found.graph is not None
    assert [(finding.severity, finding.code) for finding in found.findings] == [("warning", "unknown-input")]
    assert "'topic'" in found.findings[0].fix


def test_what_is_said_of_items_needs_a_list_of_them() -> None:
    found = planned(step("a", for_each="[1]", max_parallel=2), step("b", max_parallel=2), step("c", expected_items=3))
    assert [(finding.code, finding.step) for finding in errors(found)] == [
        ("without-for-each", "b"),
        ("without-for-each", "c"),
    ]


def test_devices_are_not_known_before_a_step_has_them() -> None:
    found = errors(planned(step("a", when="devices.gpu == '0'"), step("b", for_each="{{ devices.gpu }}")))
    assert [(one.step, one.message, one.fix) for one in found] == [
        (
            name,
            f"`devices` is not defined in `{field}`, which is evaluated before a step gets its devices",
            "use it in `prompt` or `args`",
        )
        for name, field in (("a", "when"), ("b", "for_each"))
    ]


def test_findings_stand_in_file_order() -> None:
    found = planned(step("a", tool="q"), step("b", "zz"), step("c", "c"), tools={})
    places = [finding.path[1] for finding in found.findings]
    assert places == sorted(places)


# -- rule 2 -----------------------------------------------------------------------------------------------------------


def test_two_writers_in_one_group_are_an_error() -> None:
    finding = error(planned(step("a", writes=("s",), parallel_group=1), step("b", writes=("s",), parallel_group=1)))
    assert (finding.code, finding.step, finding.field) == ("group-conflict", "b", "steps[1].writes[0]")


def test_a_reader_and_a_writer_in_one_group_are_an_error() -> None:
    finding = error(planned(step("a", reads=("r", "s"), parallel_group=1), step("b", writes=("s",), parallel_group=1)))
    assert (finding.code, finding.step, finding.field) == ("group-conflict", "a", "steps[0].reads[1]")


def test_readers_may_share_a_group() -> None:
    graph_of(step("a", reads=("s",), parallel_group=1), step("b", reads=("s",), parallel_group=1))


def test_a_group_member_may_not_depend_on_another_even_indirectly() -> None:
    found = planned(
        step("a", parallel_group="g"),
        step("b", "a"),
        step("c", "b", parallel_group="g"),
        step("d", "a", parallel_group="g"),
    )
    assert [(finding.code, finding.step) for finding in errors(found)] == [
        ("group-dependency", "c"),
        ("group-dependency", "d"),
    ]
    assert "a → b → c" in errors(found)[0].message


def test_a_path_over_an_order_edge_counts() -> None:
    found = planned(
        step("a", parallel_group=1),
        step("w1", "a", writes=("s",)),
        step("w2", writes=("s",)),
        step("b", "w2", parallel_group=1),
    )
    assert (error(found).code, error(found).step) == ("group-dependency", "b")
    assert "a → w1 → w2 → b" in error(found).message


def test_members_of_different_levels_without_a_path_are_fine() -> None:
    graph_of(step("a", parallel_group=1), step("x"), step("b", "x", parallel_group=1))


def test_number_one_and_text_one_are_two_groups() -> None:
    graph_of(step("a", parallel_group=1), step("b", "a", parallel_group="1"))


# -- rule 3 -----------------------------------------------------------------------------------------------------------


def test_order_edges_go_to_the_last_writer_and_the_readers_since() -> None:
    graph = graph_of(
        step("w1", writes=("s",)),
        step("r1", reads=("s",)),
        step("r2", reads=("s",)),
        step("w2", writes=("s",)),
        step("r3", reads=("s",)),
        step("w3", writes=("s",)),
    )
    assert graph.order_edges == [
        (), ((0, "s"),), ((0, "s"),), ((0, "s"), (1, "s"), (2, "s")), ((3, "s"),), ((3, "s"), (4, "s")),
    ]  # fmt: skip
    assert graph.data_parents == [()] * 6
    assert graph.levels == [0, 1, 1, 2, 3, 4]


def test_writes_stand_before_reads_and_a_step_that_does_both_is_a_writer() -> None:
    graph = graph_of(step("a", writes=("x", "y")), step("b", reads=("x", "y"), writes=("y",)))
    assert graph.order_edges[1] == ((0, "y"), (0, "x"))


def test_the_fixed_order_takes_the_earliest_listed_available_step() -> None:
    graph = graph_of(step("a", "c", writes=("s",)), step("b", writes=("s",)), step("c"), step("d", writes=("s",)))
    assert graph.topological == [1, 2, 0, 3]
    assert graph.order_edges == [((1, "s"),), (), (), ((0, "s"),)]


def test_an_order_edge_stands_beside_a_data_edge() -> None:
    graph = graph_of(step("a", writes=("s",)), step("b", "a", writes=("s",)))
    assert graph.data_parents[1] == (0,)
    assert graph.order_edges[1] == ((0, "s"),)


# -- tools and resources ----------------------------------------------------------------------------------------------

TOOLS = {
    "llm": ToolDeclaration(
        kind="llm", needs={"llm": 1, "gpu": 2}, retry=Retry(max_attempts=2), timeout=9, expected_seconds=4
    ),
    "noop": ToolDeclaration(kind="noop"),
}


def test_an_unknown_tool_suggests_the_nearest_one() -> None:
    finding = error(planned(step("a", tool="lm"), tools=TOOLS))
    assert (finding.code, finding.field) == ("unknown-tool", "steps[0].tool")
    assert "'llm'" in finding.fix


def test_tools_are_checked_only_where_they_are_known() -> None:
    graph_of(step("a", tool="anything"), step("b"))
    assert error(planned(step("b"), tools=TOOLS)).code == "no-tool"


def test_a_step_takes_from_its_tool_what_it_does_not_say_itself() -> None:
    graph = graph_of(step("a", tool="llm", needs={"llm": 3}, timeout=1, idempotent=False), tools=TOOLS)
    resolved = graph.steps[0]
    assert resolved.needs == {"llm": 3, "gpu": 2}
    assert (resolved.timeout, resolved.idempotent, resolved.expected_seconds) == (1, False, 4)
    assert resolved.retry == Retry(max_attempts=2)
    assert graph.ranks == [4_000_000_000]


def test_steps_that_nothing_changes_are_shared() -> None:
    first, second = step("a", tool="noop"), step("b", tool="llm")
    graph = graph_of(first, second, tools=TOOLS)
    assert graph.steps[0] is first
    assert graph.steps[1] is not second
    assert second.needs is None


def test_the_default_tool_is_given_with_one_warning() -> None:
    found = planned(step("a"), step("b", tool="noop"), step("c"), tools=TOOLS, default_tool="noop", hints=False)
    assert found.graph is not None
    assert [entry.tool for entry in found.graph.steps] == ["noop"] * 3
    assert [(finding.severity, finding.code) for finding in found.findings] == [("warning", "default-tool")]
    assert "'a' and 'c'" in found.findings[0].message


def test_needs_are_checked_against_resources() -> None:
    resources = {"llm": Resource(capacity=2), "gpu": Resource(capacity=2)}
    found = planned(
        step("a", needs={"llm": 3}), step("b", needs={"lm": 1}), step("c", needs={"gpu": 2}), resources=resources
    )
    assert [(finding.code, finding.field) for finding in errors(found)] == [
        ("need-above-capacity", "steps[0].needs.llm"),
        ("unknown-resource", "steps[1].needs.lm"),
    ]
    assert "'llm'" in errors(found)[1].fix
    assert planned(step("a", needs={"what": 3})).graph is not None


def test_a_fault_of_a_tool_is_told_once() -> None:
    found = planned(step("a", tool="llm"), step("b", tool="llm"), tools=TOOLS, resources={"llm": Resource(capacity=1)})
    assert error(found).code == "unknown-resource"
    assert "'llm'" in error(found).message


def test_a_token_estimate_above_the_burst_is_an_error() -> None:
    for resource in (Resource(tokens_per_minute=100), Resource(tokens_per_minute=1000, token_burst=100)):
        found = planned(step("a", needs={"llm": 1}, expected_tokens=101), resources={"llm": resource})
        assert (error(found).code, error(found).field) == ("tokens-above-burst", "steps[0].expected_tokens")
        graph_of(step("a", needs={"llm": 1}, expected_tokens=100), resources={"llm": resource})


def test_a_step_under_a_token_limit_without_an_estimate_gets_one_that_fits() -> None:
    for limit, wanted in ((90_000, DEFAULT_EXPECTED_TOKENS), (100, 100)):
        resources = {"llm": Resource(tokens_per_minute=limit)}
        graph = graph_of(step("a", needs={"llm": 1}), step("b"), resources=resources)
        assert [entry.expected_tokens for entry in graph.steps] == [wanted, None]


# -- hints and size ---------------------------------------------------------------------------------------------------


def test_a_dependency_that_a_longer_path_implies_is_a_hint() -> None:
    found = planned(step("a"), step("b", "a"), step("c", "b", "a"))
    assert hints(found) == ["unneeded-dependency"]
    assert found.findings[0].field == "steps[2].depends_on[1]"
    assert planned(step("a"), step("b", "a"), step("c", "b", "a"), hints=False).findings == []


def test_a_dependency_whose_output_is_used_is_needed() -> None:
    assert hints(planned(step("a"), step("b", "a"), step("c", "b", "a", prompt="{{ steps.a.output }}"))) == []


def test_a_group_that_could_be_wider_is_a_hint() -> None:
    found = planned(
        step("a"),
        step("b", "a", parallel_group=1, writes=("s",)),
        step("c", "a", parallel_group=1),
        step("d", "a"),
        step("e", "a", reads=("s",)),
    )
    assert hints(found) == ["group-could-be-wider"]
    assert found.findings[0].step == "d"


def test_above_the_limit_hints_are_skipped_and_it_says_so() -> None:
    many = [step(f"s{number}") for number in range(HINTS_LIMIT_STEPS + 1)]
    assert hints(planned(*many)) == ["hints-skipped"]


@pytest.mark.slow
@pytest.mark.parametrize("templates", [False, True])
def test_a_chain_of_a_hundred_thousand_steps_is_planned(templates: bool) -> None:
    chain = [step("s0")]
    for number in range(1, 100_000):
        before = f"s{number - 1}"
        chain.append(
            step(f"s{number}", prompt=f"{{{{ steps.{before}.output }}}}") if templates else step(f"s{number}", before)
        )
    graph = graph_of(*reversed(chain))
    assert max(graph.levels) == 99_999
    assert max(graph.ranks) == 100_000 * 10**9
    assert graph.topological[0] == 99_999


def test_a_cycle_of_a_hundred_thousand_steps_is_printed_short() -> None:
    ring = [step(f"s{number}", f"s{(number - 1) % 100_000}") for number in range(100_000)]
    finding = error(planned(*ring))
    assert finding.code == "cycle"
    assert len(finding.message) < 1000


def test_a_long_chain_inside_a_group_is_found() -> None:
    chain = [step("s0", parallel_group=1)]
    chain += [step(f"s{number}", f"s{number - 1}") for number in range(1, 50_000)]
    chain += [step("end", "s49999", parallel_group=1)]
    assert error(planned(*chain)).step == "end"

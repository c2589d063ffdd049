"""What a step takes from its tool, and what tools and resources do not allow."""

from __future__ import annotations

from typing import Any

import pytest

from executor.dependencies.step_requirements import DEFAULT_EXPECTED_TOKENS, Resolver, token_burst_of
from executor.model.workflow import AutoCapacity, Devices, Resource, Retry, Step, ToolDeclaration
from tests.unit.dependencies.plans import codes, graph_of, planned, said, step

RETRY = Retry(max_attempts=2)
FULL = ToolDeclaration(
    kind="noop", needs={"gpu": 2, "api": 1}, retry=RETRY, timeout=9, idempotent=False, expected_seconds=4,
    expected_tokens=7,
)  # fmt: skip
OWN: dict[str, Any] = {
    "needs": {"gpu": 2, "api": 1}, "retry": Retry(max_attempts=5), "timeout": 1.5, "idempotent": True,
    "expected_seconds": 0, "expected_tokens": 0,
}  # fmt: skip


def resolved(one: Step, tool: ToolDeclaration) -> dict[str, Any]:
    """What a step of this tool has in the end."""
    (found,) = Resolver({"t": tool}, None, None).resolve([one])
    return {name: getattr(found, name) for name in OWN}


# -- what a tool gives ------------------------------------------------------------------------------------------------


def test_a_step_that_says_nothing_has_all_from_its_tool() -> None:
    assert resolved(step("a", tool="t"), FULL) == {name: getattr(FULL, name) for name in OWN}
    assert resolved(step("a", tool="t"), ToolDeclaration(kind="noop")) == dict.fromkeys(OWN)


@pytest.mark.parametrize("name", OWN)
def test_a_field_that_the_step_gives_stands_and_the_others_come_from_the_tool(name: str) -> None:
    expected = {field: getattr(FULL, field) for field in OWN} | {name: OWN[name]}
    assert resolved(step("a", tool="t", **{name: OWN[name]}), FULL) == expected


def test_needs_are_merged_key_by_key_and_none_at_all_says_nothing() -> None:
    assert resolved(step("a", tool="t", needs={"gpu": 1, "disk": 3}), FULL)["needs"] == {"gpu": 1, "api": 1, "disk": 3}
    assert resolved(step("a", tool="t", needs={}), FULL)["needs"] == {"gpu": 2, "api": 1}


def test_steps_that_nothing_changes_are_shared_and_the_others_are_in_place() -> None:
    steps = [step("a", tool="n"), step("b", tool="t"), step("c", tool="t", **OWN), step("d", tool="t")]
    tools = {"n": ToolDeclaration(kind="noop"), "t": FULL}
    found = Resolver(tools, None, None).resolve(steps)
    assert [one is other for one, other in zip(found, steps, strict=True)] == [True, False, True, False]
    assert [one.step_id for one in found] == list("abcd")
    assert [one.timeout for one in found] == [None, 9, 1.5, 9]
    assert Resolver(tools, None, None).resolve(steps[:1]) == steps[:1]
    unchanged = steps[::2]
    assert Resolver(tools, None, None).resolve(unchanged) is unchanged


# -- tools ------------------------------------------------------------------------------------------------------------


def test_a_step_without_a_tool_or_with_an_unknown_one_is_told_with_what_there_is() -> None:
    tools = {"other": ToolDeclaration(kind="noop"), "llm": ToolDeclaration(kind="noop")}
    steps = [step("a"), step("b", tool="lm"), step("c", tool="zzzz"), step("d", tool="lm")]
    assert said(planned(*steps, tools=tools)) == [
        "error[no-tool] step 'a', steps[0]: has no tool",
        "fix: add `tool`, or set `default_tool` in config.yaml",
        "error[unknown-tool] step 'b', steps[1].tool: there is no tool 'lm'",
        "fix: did you mean 'llm'?",
        "error[unknown-tool] step 'c', steps[2].tool: there is no tool 'zzzz'",
        "fix: known tools: llm, other",
        "error[unknown-tool] step 'd', steps[3].tool: there is no tool 'lm'",
        "fix: did you mean 'llm'?",
    ]


def test_the_default_tool_is_given_with_one_warning_at_the_first_step() -> None:
    tools = {"t": FULL}
    fix = "fix: add `tool`, or change `default_tool` in config.yaml"
    one = planned(step("x", tool="t"), step("a"), tools=tools, default_tool="t")
    assert said(one) == ["warning[default-tool] step 'a', steps[1]: 'a' names no tool and gets 't'", fix]
    two = planned(step("a"), step("x", tool="t"), step("b"), tools=tools, default_tool="t")
    assert said(two) == ["warning[default-tool] step 'a', steps[0]: 'a' and 'b' name no tool and get 't'", fix]
    assert two.graph is not None
    assert [(one.tool, one.timeout) for one in two.graph.steps] == [("t", 9)] * 3
    # Also where no tool is checked.
    assert [one.tool for one in graph_of(step("a"), step("b", tool="q"), default_tool="t").steps] == ["t", "q"]


# -- resources --------------------------------------------------------------------------------------------------------


def test_needs_that_no_resource_can_meet_are_told_at_the_need() -> None:
    resources = {
        "gpu": Resource(capacity=2), "api": Resource(rate_per_minute=60), "auto": Resource(auto=AutoCapacity(min=3)),
    }  # fmt: skip
    needs = {"what": 1, "gpo": 1, "gpu": 3, "api": 9, "auto": 4}
    head = "step 'a', steps[0].needs."
    assert said(planned(step("a", needs=needs), resources=resources)) == [
        f"error[unknown-resource] {head}what: needs 'what', which is no resource",
        "fix: declare it: resources: {what: {capacity: …}}",
        f"error[unknown-resource] {head}gpo: needs 'gpo', which is no resource",
        "fix: did you mean 'gpu'?",
        f"error[need-above-capacity] {head}gpu: needs 3 of 'gpu', which has a capacity of 2",
        "fix: need fewer, or raise the capacity",
        f"error[need-above-capacity] {head}auto: needs 4 of 'auto', which has a capacity of 3 at the least",
        "fix: write capacity: {auto: {min: 4}}",
    ]
    graph_of(step("a", needs={"gpu": 2, "auto": 3, "api": 9}), resources=resources)


def test_each_need_of_a_step_is_looked_at_behind_a_device_and_behind_a_fault() -> None:
    resources = {"gpu": Resource(devices=Devices(ids=("0",))), "llm": Resource(capacity=1)}
    found = planned(step("a", needs={"gpu": 1, "llm": 0.5, "what": 1}), resources=resources)
    assert codes(found) == [("not-whole", "a"), ("unknown-resource", "a")]


def test_resources_are_checked_only_where_they_are_known() -> None:
    graph_of(step("a", needs={"what": 9}))
    assert codes(planned(step("a", needs={"what": 9}), resources={})) == [("unknown-resource", "a")]


def test_a_fault_of_a_tool_is_told_once_for_each_tool_and_resource() -> None:
    needing = ToolDeclaration(kind="noop", needs={"gpu": 3, "what": 1})
    steps = [
        step("a", tool="t"), step("b", tool="t"), step("c"), step("d", tool="u"),
        step("e", tool="t", needs={"gpu": 4}), step("f", tool="t", needs={"gpu": 1}),
    ]  # fmt: skip
    found = planned(
        *steps, tools={"t": needing, "u": needing}, resources={"gpu": Resource(capacity=2)}, default_tool="u"
    )
    above = "needs 3 of 'gpu', which has a capacity of 2"
    assert [line for line in said(found) if line.startswith("error")] == [
        f"error[need-above-capacity] step 'a', steps[0].tool: {above} (as its tool 't' says)",
        "error[unknown-resource] step 'a', steps[0].tool: needs 'what', which is no resource (as its tool 't' says)",
        f"error[need-above-capacity] step 'c', steps[2].tool: {above} (as its tool 'u' says)",
        "error[unknown-resource] step 'c', steps[2].tool: needs 'what', which is no resource (as its tool 'u' says)",
        "error[need-above-capacity] step 'e', steps[4].needs.gpu: needs 4 of 'gpu', which has a capacity of 2",
    ]


# -- model tokens -----------------------------------------------------------------------------------------------------


def test_the_burst_of_tokens_is_one_minutes_worth_unless_it_says_more() -> None:
    assert token_burst_of(Resource(capacity=1)) is None
    assert token_burst_of(Resource(tokens_per_minute=99.5)) == 99
    assert token_burst_of(Resource(tokens_per_minute=99.5, token_burst=3)) == 3


def test_an_estimate_above_the_burst_is_told_where_it_is_written() -> None:
    resources = {"plain": Resource(capacity=1), "llm": Resource(tokens_per_minute=100)}
    too_much = "is expected to use {} tokens of 'llm', which gives out at most 100 at once"
    fix = "fix: expect fewer, or raise token_burst"
    needs = {"plain": 1, "llm": 1}
    assert said(planned(step("a", needs=needs, expected_tokens=101), resources=resources)) == [
        f"error[tokens-above-burst] step 'a', steps[0].expected_tokens: {too_much.format(101)}",
        fix,
    ]
    graph_of(step("a", needs=needs, expected_tokens=100), resources=resources)
    tools = {"t": ToolDeclaration(kind="noop", needs=needs, expected_tokens=102)}
    found = planned(
        step("a", tool="t"), step("b", tool="t"), step("c", tool="t", expected_tokens=103),
        step("d", tool="t", expected_tokens=99), tools=tools, resources=resources,
    )  # fmt: skip
    assert said(found) == [
        f"error[tokens-above-burst] step 'a', steps[0].tool: {too_much.format(102)} (as its tool 't' says)",
        fix,
        f"error[tokens-above-burst] step 'c', steps[2].expected_tokens: {too_much.format(103)}",
        fix,
    ]


def test_where_the_step_needs_and_its_tool_expects_too_much_it_is_told_at_the_estimate() -> None:
    tools = {"t": ToolDeclaration(kind="noop", expected_tokens=102)}
    found = planned(
        step("a", tool="t", needs={"llm": 1}), tools=tools, resources={"llm": Resource(tokens_per_minute=100)}
    )
    assert [finding.field for finding in found.findings] == ["steps[0].expected_tokens"]


def test_a_step_without_an_estimate_is_taken_to_use_what_every_bucket_holds() -> None:
    resources = {
        "plain": Resource(capacity=5),
        "small": Resource(tokens_per_minute=100),
        "large": Resource(tokens_per_minute=9000),
    }
    tools = {"n": ToolDeclaration(kind="noop"), "e": ToolDeclaration(kind="noop", timeout=1, expected_tokens=5)}

    def expected(*names: str, tool: str = "n", **fields: Any) -> int | None:
        one = step("a", tool=tool, needs=dict.fromkeys(names, 1), **fields)
        return graph_of(one, tools=tools, resources=resources).steps[0].expected_tokens

    assert expected("plain") is None
    assert expected("plain", "large") == DEFAULT_EXPECTED_TOKENS
    assert expected("large", "small") == expected("small", "large") == 100
    assert expected("small", tool="e") == 5
    assert expected("small", expected_tokens=0) == expected("small", expected_tokens=0, tool="e") == 0


def test_a_step_of_a_tool_that_gives_only_needs_gets_an_estimate_beside_them() -> None:
    tools = {"t": ToolDeclaration(kind="noop", needs={"llm": 1})}
    (one,) = graph_of(step("a", tool="t"), tools=tools, resources={"llm": Resource(tokens_per_minute=10)}).steps
    assert (one.needs, one.expected_tokens) == ({"llm": 1}, 10)

"""The words of a workflow: what loads, what is refused, and what is said about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ConfigDict, ValidationError

from executor.model.findings import Finding, nearest
from executor.model.workflow import (
    Resource,
    Retry,
    Step,
    StrictModel,
    ToolDeclaration,
    Workflow,
    dump_workflow,
    parse_workflow,
    translate,
)


def findings_of(*steps: Any, **fields: Any) -> list[Finding]:
    workflow, findings = parse_workflow({"steps": list(steps), **fields})
    assert (workflow is None) == bool(findings)
    return findings


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_workflow_as_the_seed_writes_it_loads() -> None:
    step = {
        "step_id": "step1",
        "description": "Write a joke",
        "tool": "writer",
        "parallel_group": None,
        "depends_on": [],
    }
    workflow, findings = parse_workflow({"steps": [step]}, default_id="jokes")
    assert findings == []
    assert workflow is not None
    assert workflow.workflow_id == "jokes"
    assert workflow.steps == (Step(step_id="step1", description="Write a joke", tool="writer"),)


def test_a_step_keeps_only_what_differs_from_the_defaults() -> None:
    step = Step(step_id="a", tool="noop", priority=0, depends_on=(), timeout=2.0)
    assert step.__dict__ == {"step_id": "a", "tool": "noop", "timeout": 2.0}
    assert (step.priority, step.depends_on, step.retry, step.on_failure) == (0, (), None, "continue")
    assert step == Step(step_id="a", tool="noop", timeout=2.0)
    assert hash(step) == hash(Step(step_id="a", tool="noop", timeout=2.0))
    assert step.model_copy(update={"timeout": None}) == Step(step_id="a", tool="noop")


def test_a_step_is_written_out_with_all_its_fields() -> None:
    step = Step(step_id="a", priority=0)
    assert list(step.model_dump()) == list(Step.model_fields)
    assert Workflow(steps=(step,)).model_dump(mode="json")["steps"][0] == step.model_dump(mode="json")
    assert step.model_dump(exclude_unset=True) == {"step_id": "a", "priority": 0}
    assert step.model_dump(exclude_defaults=True) == {"step_id": "a"}
    assert Step.model_validate(step.model_dump()) == step


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": -1.0}, {"max_parallel": 0}, {"priority": 10**9}, {"tool": ""}, {"expected_tokens": -1}, {"ttl": 1.0}],
    ids=str,
)
def test_a_kind_of_step_has_the_bounds_of_all_steps(wrong: dict[str, Any]) -> None:
    class Kind(Step):
        pass

    for kind in (Step, Kind):
        with pytest.raises(ValidationError):
            kind.model_validate({"step_id": "a", **wrong})
        assert kind.model_validate({"step_id": "a", "tool_name": "noop"}).tool == "noop"


def test_a_kind_of_step_with_fields_of_its_own_is_refused() -> None:
    with pytest.raises(TypeError, match="Kind cannot have fields that other steps have not"):

        class Kind(Step):
            more: int = 0


@pytest.mark.parametrize("name", sorted(Step.model_fields.keys() - {"step_id"}))
def test_null_stands_for_every_absent_field_of_a_step(name: str) -> None:
    workflow, findings = parse_workflow({"steps": [{"step_id": "a", name: None}]})
    assert findings == []
    assert workflow is not None
    assert workflow.steps == (Step(step_id="a"),)


def test_null_stands_for_absent_fields_everywhere_else() -> None:
    data = {
        "workflow_id": None,
        "description": None,
        "inputs": None,
        "steps": [{"step_id": "a", "retry": {"jitter": None}}],
    }
    workflow, findings = parse_workflow(data)
    assert findings == []
    assert workflow == Workflow(steps=(Step(step_id="a", retry=Retry()),))
    assert Resource.model_validate({"capacity": 3, "burst": None}) == Resource(capacity=3)


def test_tool_name_is_accepted_for_tool() -> None:
    workflow, _ = parse_workflow({"steps": [{"step_id": "a", "tool_name": "x"}]})
    assert workflow is not None
    assert workflow.steps[0].tool == "x"


def test_tool_and_tool_name_at_once_are_an_error() -> None:
    finding = only(findings_of({"step_id": "a", "tool": "x", "tool_name": "x"}))
    assert finding.code == "given-twice"
    assert finding.path == ("steps", 0, "tool_name")
    assert "`tool`" in finding.message


def test_an_unknown_field_suggests_the_nearest_name() -> None:
    finding = only(findings_of({"step_id": "a", "depend_on": []}))
    assert (finding.code, finding.step, finding.path) == ("unknown-field", "a", ("steps", 0, "depend_on"))
    assert "`depends_on`" in finding.fix


def test_an_unknown_field_deeper_down_suggests_a_name_of_that_place() -> None:
    finding = only(findings_of({"step_id": "a", "retry": {"max_atempts": 3}}))
    assert finding.path == ("steps", 0, "retry", "max_atempts")
    assert "`max_attempts`" in finding.fix


def test_an_unknown_field_is_an_error_even_if_it_is_null() -> None:
    assert only(findings_of({"step_id": "a"}, stepz=None)).code == "unknown-field"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("step_id", 5, "wrong-type"),
        ("step_id", "", "empty"),
        ("step_id", "a\x00b", "control-character"),
        ("step_id", "a\nb", "control-character"),
        ("step_id", "a\u202eb", "control-character"),
        ("step_id", "\ud800", "not-unicode"),
        ("tool", True, "wrong-type"),
        ("prompt", ["x"], "wrong-type"),
        ("args", [], "wrong-type"),
        ("parallel_group", True, "wrong-type"),
        ("parallel_group", 1.0, "wrong-type"),
        ("depends_on", "joke", "wrong-type"),
        ("depends_on", [1], "wrong-type"),
        ("depends_on", {"a": 1}, "wrong-type"),
        ("writes", [""], "empty"),
        ("needs", {"llm": True}, "wrong-type"),
        ("needs", {"llm": "1"}, "wrong-type"),
        ("needs", {"llm": -0.5}, "out-of-range"),
        ("needs", {"llm": 0}, "out-of-range"),
        ("needs", {"l\nm": 1}, "control-character"),
        ("timeout", 0, "out-of-range"),
        ("timeout", "5", "wrong-type"),
        ("timeout", float("nan"), "not-finite"),
        ("timeout", float("inf"), "not-finite"),
        ("expected_seconds", -1, "out-of-range"),
        ("expected_seconds", False, "wrong-type"),
        ("idempotent", 0, "wrong-type"),
        ("priority", 10**9, "out-of-range"),
        ("on_failure", "halt", "unknown-value"),
        ("retry", 3, "wrong-type"),
        ("args", {"a": float("nan")}, "not-json"),
        ("args", {"a": [{"b": float("-inf")}]}, "not-json"),
        ("args", {"a": object()}, "not-json"),
        ("args", {"a": {1: 2}}, "not-json"),
    ],
)
def test_nothing_is_coerced_and_nothing_strange_gets_in(field: str, value: Any, code: str) -> None:
    finding = only(findings_of({"step_id": "a", field: value}))
    assert finding.code == code
    assert finding.path[:3] == ("steps", 0, field)
    assert finding.fix


def test_not_a_number_is_found_deep_inside_with_its_place() -> None:
    finding = only(findings_of({"step_id": "a", "args": {"x": [1, {"y": float("nan")}]}}))
    assert finding.field == "steps[0].args.x[1].y"
    assert only(findings_of({"step_id": "a"}, inputs={"q": [float("inf")]})).field == "inputs.q[0]"


def test_values_nested_a_hundred_thousand_deep_are_refused_and_break_nothing() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    finding = only(findings_of({"step_id": "a", "args": {"x": deep}}))
    assert "levels deep" in finding.message


def test_values_that_hold_themselves_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert only(findings_of({"step_id": "a", "args": {"x": loop}})).code == "not-json"


def test_groups_one_and_text_one_differ() -> None:
    assert Step(step_id="a", parallel_group=1).parallel_group != Step(step_id="a", parallel_group="1").parallel_group


def test_a_step_without_a_usable_id_is_named_by_its_place() -> None:
    findings = findings_of({"step_id": "a"}, {"tool": "x"}, {"step_id": 3}, "text")
    assert [finding.step for finding in findings] == ["steps[1]", "steps[2]", "steps[3]"]
    assert findings[0].code == "missing-field"


def test_all_faults_are_listed_at_once_in_file_order() -> None:
    findings = findings_of(
        {"step_id": "a", "timeout": -1, "needz": {}}, {"step_id": "b", "retry": {"multiplier": 0}}, inputs=[]
    )
    assert [finding.field for finding in findings] == [
        "inputs",
        "steps[0].timeout",
        "steps[0].needz",
        "steps[1].retry.multiplier",
    ]


def test_a_wrong_type_in_a_union_is_one_finding() -> None:
    finding = only(findings_of({"step_id": "a", "parallel_group": [1]}))
    assert "a whole number or text" in finding.message


def test_messages_never_show_values() -> None:
    findings = findings_of({"step_id": "a", "prompt": ["hunter2"], "args": {"key": {"hunter2"}}, "timeout": "hunter2"})
    assert len(findings) == 3
    assert "hunter2" not in str([str(finding) for finding in findings])


def test_names_from_a_file_cannot_steer_the_terminal() -> None:
    finding = only(findings_of({"step_id": "a", "\x1b[31mred\n": 1}))
    assert "\x1b" not in str(finding)
    assert "\n" not in finding.field


@pytest.mark.parametrize("data", [None, [], "steps", 3, True])
def test_a_workflow_that_is_no_mapping_is_one_finding(data: object) -> None:
    workflow, findings = parse_workflow(data)
    assert workflow is None
    assert only(findings).code == "wrong-type"


def test_field_names_that_are_no_text_are_refused() -> None:
    assert only(findings_of({"step_id": "a", 1: 2})).code == "wrong-type"


def test_file_to_model_to_file_keeps_everything() -> None:
    data = {
        "workflow_id": "w",
        "description": "d",
        "inputs": {"topic": "cats", "n": [1, None]},
        "steps": [
            {"step_id": "a", "tool": "x", "args": {"q": [1, {"z": None}]}, "retry": {"max_attempts": 5}},
            {"step_id": "b", "depends_on": ["a"], "parallel_group": 0, "reads": ["s"], "idempotent": False},
            {"step_id": "c", "depends_on": ["a", "b"], "parallel_group": "0", "on_failure": "stop", "priority": -1},
        ],
    }
    workflow, findings = parse_workflow(data)
    assert findings == []
    assert workflow is not None
    assert dump_workflow(workflow) == data
    again, _ = parse_workflow(json.loads(json.dumps(dump_workflow(workflow))))
    assert again == workflow


def test_a_tool_declaration_keeps_the_options_of_its_kind_and_refuses_what_json_cannot_hold() -> None:
    assert ToolDeclaration.model_validate({"kind": "llm", "system": "s", "x": None}).options == {
        "system": "s",
        "x": None,
    }
    with pytest.raises(ValidationError) as caught:
        ToolDeclaration.model_validate({"kind": "llm", "temperature": float("nan")})
    finding = only(
        translate(caught.value, ToolDeclaration, ("tools", "t"), {"kind": "llm", "temperature": float("nan")})
    )
    assert finding.path == ("tools", "t", "temperature")


class Cell(StrictModel):
    """A model of another package, for :func:`translate`."""

    model_config = ConfigDict(extra="forbid")

    workers: list[int]
    tools: dict[str, Resource]
    steps: list[Step]


def test_any_model_of_the_house_can_be_translated_with_a_prefix() -> None:
    data = {"workers": [1, "2"], "tools": {"x": {"capacty": 1}}, "steps": [{"step_id": "a", "tmeout": 1}]}
    with pytest.raises(ValidationError) as caught:
        Cell.model_validate(data)
    findings = translate(caught.value, Cell, ("benchmark",), data)
    assert [(finding.field, finding.step) for finding in findings] == [
        ("benchmark.workers[1]", None),
        ("benchmark.tools.x.capacty", None),
        ("benchmark.steps[0].tmeout", "a"),
    ]
    assert "`capacity`" in findings[1].fix
    assert "`timeout`" in findings[2].fix


def test_the_nearest_name_is_found_by_spelling_and_by_case() -> None:
    assert nearest("Joke", ["poke", "joke"]) == "joke"
    assert nearest("jok", ["joke", "french"]) == "joke"
    assert nearest("zzz", ["joke", "french"]) is None
    assert nearest("step12345x", [f"step{i}" for i in range(100_000)]) is not None


def test_steps_with_the_same_fields_share_the_set_of_their_names_and_a_changed_copy_has_its_own() -> None:
    one, other = Step(step_id="a", tool="noop"), Step(step_id="b", tool="noop")
    assert one.model_fields_set is other.model_fields_set
    changed = one.model_copy(update={"priority": 1})
    assert changed.model_fields_set == {"step_id", "tool", "priority"}
    assert other.model_fields_set == {"step_id", "tool"}


def test_a_step_of_checked_words_is_the_one_that_checking_makes() -> None:
    words = {"depends_on": ("a",), "step_id": "b", "tool": "noop", "expected_seconds": 0.5}
    made, checked = Step.of_checked(dict(words)), Step(**words)  # type: ignore[arg-type]  # words of several types
    assert made == checked
    assert made.model_dump() == checked.model_dump()
    assert made.model_fields_set is checked.model_fields_set
    assert made.model_copy(update={"priority": 1}) == checked.model_copy(update={"priority": 1})

"""The seed system's richer files: how their fields, references and order become native."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from executor.model.findings import Finding
from executor.templates.template import render_text
from harness.files.strict_file import read_document
from harness.scenario.seed.seed_file import Imported, import_seed, is_seed_file
from harness.scenario.seed.seed_steps import IMPORTER_FIELDS
from harness.scenario.seed.seed_templates import References, escape

JINJA = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def render(source: str, inputs: dict[str, Any] | None = None, **outputs: Any) -> str:
    steps = {name: {"output": output} for name, output in outputs.items()}
    return JINJA.from_string(source).render(inputs=inputs or {}, steps=steps)


def imported(*steps: dict[str, Any], **top: Any) -> Imported:
    data = {**top, "steps": list(steps)}
    untouched = copy.deepcopy(data)
    assert is_seed_file(data)
    result = import_seed(data)
    assert data == untouched
    return result


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"step_id": name, "type": "python_tool", "tool": "noop", **fields}


def codes(result: Imported, severity: str = "error") -> list[str]:
    return [finding.code for finding in result.findings if finding.severity == severity]


def only(result: Imported, code: str) -> Finding:
    (finding,) = (each for each in result.findings if each.code == code)
    return finding


# What is imported at all


@pytest.mark.parametrize(
    "data",
    [
        {"steps": [{"step_id": "a", "type": "llm_call"}]},
        {"steps": [{"step_id": "a", "output_key": "x"}]},
        {"steps": [], "outputs": {"x": {"source_reference": "steps.a.x"}}},
        {"steps": [], "tools": {"x": {"tool_id": "x", "type": "llm"}}},
        {"tasks": [{"candidates": ["a"]}]},
    ],
)
def test_a_file_with_a_mark_of_that_system_is_imported(data: dict[str, Any]) -> None:
    assert is_seed_file(data)


@pytest.mark.parametrize(
    "data",
    [
        {"steps": [{"step_id": "a", "tool": "noop", "parallel_group": "x"}]},
        {"steps": [{"step_id": "a"}], "tools": {"x": {"kind": "llm", "type": "whatever"}}},
        {"steps": [{"step_id": "a"}], "tools": {"x": {}}},
        {"steps": "nonsense"},
        {},
    ],
)
def test_a_native_file_is_not_imported(data: dict[str, Any]) -> None:
    assert not is_seed_file(data)


# References


@pytest.mark.parametrize(
    "reference", ["steps.a.summary", "${steps.a.summary}", "steps.a.output", "${steps.a.output}", "{summary}", "{a}"]
)
def test_every_spelling_of_a_reference_becomes_the_same_template(reference: str) -> None:
    result = imported(step("a", output_name="summary"), step("b", input_mapping={"x": reference}))
    assert result.data["steps"][1]["args"] == {"x": "{{ steps.a.output }}"}


def test_a_reference_can_go_into_an_output() -> None:
    result = imported(
        step("a", output_name="page"),
        step("b", input_mapping={"x": "${steps.a.page.links.0.title}", "y": "steps.a.output.title"}),
    )
    args = result.data["steps"][1]["args"]
    assert render(args["x"], a={"links": [{"title": "one"}]}) == "one"
    assert render(args["y"], a={"title": "two"}) == "two"


def test_an_output_may_have_the_name_of_a_dict_method() -> None:
    result = imported(step("a", output_name="x"), step("b", input_mapping={"y": "{x.items}"}))
    assert render(result.data["steps"][1]["args"]["y"], a={"items": "mine"}) == "mine"


@pytest.mark.parametrize("name", ["a-b", "a.b", "2nd", "0", "items"])
def test_an_id_that_is_no_identifier_can_be_referred_to(name: str) -> None:
    result = imported(step(name, output_name="x"), step("c", input_mapping={"y": f"steps.{name}.x"}))
    assert render(result.data["steps"][1]["args"]["y"], **{name: "fine"}) == "fine"


def test_a_name_means_the_steps_own_mapping_first() -> None:
    result = imported(
        step("a", output_name="text"),
        step("b", type="llm_call", prompt_template="Read {text}", input_mapping={"text": "inputs.letter"}),
        inputs={"letter": "dear"},
    )
    assert result.data["steps"][1]["prompt"] == "Read {{ inputs.letter }}"


def test_a_literal_of_the_mapping_is_put_into_the_template() -> None:
    result = imported(
        step("a", type="llm_call", prompt_template="In {style} {n}", input_mapping={"style": "{% plain", "n": 3})
    )
    assert render(result.data["steps"][0]["prompt"]) == "In {% plain 3"


def test_an_earlier_output_shadows_an_input_of_the_same_name() -> None:
    first = step("a", input={"q": "{text}"}, output_key="text")
    second = step("b", input={"q": "{text}"})
    args = [each["args"]["q"] for each in imported(first, second, inputs={"text": "t"}).data["steps"]]
    assert args == ["{{ inputs.text }}", "{{ steps.a.output }}"]


def test_an_unknown_output_name_takes_the_whole_output_and_says_so() -> None:
    result = imported(step("a", output_name="page"), step("b", input_mapping={"x": "steps.a.sheet"}))
    assert result.data["steps"][1]["args"]["x"] == "{{ steps.a.output }}"
    assert only(result, "unknown-output").path == ("steps", 1, "input_mapping", "x")


@pytest.mark.parametrize("value", ["a.output", "{{ a.output }}", 'on {{a.letter}} and "more"'])
def test_what_reads_like_an_output_and_stays_text_is_said(value: str) -> None:
    steps = [step("a", output_name="letter"), step("b", input_mapping={"x": value})]
    found = only(imported(*steps), "reads-like-reference")
    assert found.severity == "warning"
    assert found.step == "b"
    assert found.fix == "write steps.a.output for a whole value, {a} inside of text"


@pytest.mark.parametrize("value", ["a.txt", "b.output", "c.output", "see {{ a.txt }}", "{a.output}", "steps.a.output"])
def test_other_text_with_a_dot_is_not_remarked_on(value: str) -> None:
    found = imported(step("a"), step("b", input_mapping={"x": value})).findings
    assert [one.code for one in found if one.code == "reads-like-reference"] == []


def test_an_unknown_step_is_kept_for_the_rules_to_find() -> None:
    result = imported(step("a", input_mapping={"x": "steps.nobody.output"}))
    assert result.data["steps"][0]["args"]["x"] == "{{ steps.nobody.output }}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ inputs.secret }}", "{% for x in y %}", "{# note #}", '{"a": {"b": 1}}', "{}", "{ name }", "{a b}", "{1}",
        "${1+2}", "{{name}}", "a {", "{{{", "}} %} #}", "line\n", "{%- x", "{{ '{{' }}",
    ],
)  # fmt: skip
def test_other_braces_stay_text(text: str) -> None:
    result = imported(step("a", input={"x": text}))
    assert render(result.data["steps"][0]["args"]["x"]) == text
    assert not result.missing_inputs


def test_braces_of_json_around_a_placeholder_stay_text() -> None:
    result = imported(step("a", input={"x": '{"p": {"q": {n}}} ${n} {${n}}'}), inputs={"n": 3})
    assert render(result.data["steps"][0]["args"]["x"], {"n": 3}) == '{"p": {"q": 3}} 3 {3}'


def test_escaped_text_renders_to_itself_before_an_expression() -> None:
    assert render(escape("a{", before_expression=True) + "{{ inputs.x }}", {"x": 1}) == "a{1"


def test_a_native_prompt_stays_as_it_is() -> None:
    prompt = "Translate {literally}: {{ steps.a.output | upper }}"
    result = imported(step("a"), step("b", type="llm_call", prompt=prompt))
    assert result.data["steps"][1]["prompt"] == prompt


# Prompts, tasks, inputs of a step


def test_a_task_with_an_earlier_step_is_asked_with_its_output() -> None:
    result = imported(
        step("a", type="llm_call", task_for_node="Write a joke"),
        step("b", type="llm_call", task_for_node="Translate it", input_from_step="a"),
    )
    joke, translation = (each["prompt"] for each in result.data["steps"])
    assert joke == "Write a joke"
    assert render(translation, a="Why?") == "Translate it\n\nWhy?"


def test_a_template_can_place_the_earlier_output_itself() -> None:
    result = imported(step("a"), step("b", type="llm_call", prompt_template="Do {input}!", input_from_step="a"))
    assert result.data["steps"][1]["prompt"] == "Do {{ steps.a.output }}!"


def test_a_dependency_that_a_template_does_not_mention_is_kept() -> None:
    result = imported(
        step("a"),
        step("b"),
        step(
            "c", type="llm_call", prompt_template="Sum up ${steps.b.output}",
            input_mapping={"x": "steps.a.output", "y": "steps.b.output"},
        ),
    )  # fmt: skip
    assert result.data["steps"][2]["depends_on"] == ["a"]


def test_inputs_of_a_tool_become_arguments() -> None:
    result = imported(step("a", input={"deep": [{"x": "{n}"}, 1, None]}), inputs={"n": 3})
    assert result.data["steps"][0]["args"] == {"deep": [{"x": "{{ inputs.n }}"}, 1, None]}


def test_a_prompt_among_the_inputs_is_the_prompt() -> None:
    result = imported({"step_id": "a", "tool": "x", "input": {"prompt": "On {topic}", "k": 1}}, inputs={"topic": "t"})
    assert result.data["steps"][0]["prompt"] == "On {{ inputs.topic }}"
    assert result.data["steps"][0]["args"] == {"k": 1}


@pytest.mark.parametrize(
    ("fields", "retry"),
    [
        ({"retry_on_failure": True, "max_retries": 2}, {"max_attempts": 3}),
        ({"retry_on_failure": True}, {"max_attempts": 4}),
        ({"retry_on_failure": False, "max_retries": 2}, {"max_attempts": 1}),
        ({"max_retries": 2}, None),
    ],
)
def test_retries_are_attempts_after_the_first(fields: dict[str, Any], retry: dict[str, Any] | None) -> None:
    assert imported(step("a", **fields)).data["steps"][0].get("retry") == retry


def test_groups_keep_their_type() -> None:
    result = imported(step("a", parallel_group=1), step("b", parallel_group="1"), step("c", parallel_group="x"))
    assert [each["parallel_group"] for each in result.data["steps"]] == [1, "1", "x"]


# What the file declares


def test_declared_inputs_become_values_and_the_others_are_asked_for() -> None:
    result = imported(
        step("a", input={"x": "{forgotten}"}),
        inputs={
            "plain": 7,
            "given": {"type": "number", "required": False, "default": 100},
            "optional": {"type": "string", "required": False},
            "asked": {"type": "string", "required": True, "description": "The text"},
        },
    )
    assert result.data["inputs"] == {"plain": 7, "given": 100, "optional": None}
    assert result.missing_inputs == {"asked": ("inputs", "asked"), "forgotten": ("steps", 0, "input", "x")}


def test_an_embedded_model_becomes_a_tool() -> None:
    tool = {"tool_id": "s", "name": "S", "description": "d", "type": "llm", "system_prompt": "Be brief", "timeout": 60}
    result = imported(step("a"), tools={"s": {**tool, "endpoint": "http://localhost:11434"}})
    assert result.data["tools"] == {"s": {"kind": "llm", "description": "d", "system": "Be brief", "timeout": 60}}
    assert only(result, "endpoint-ignored").path == ("tools", "s", "endpoint")


def test_embedded_code_is_not_supported() -> None:
    result = imported(step("a"), tools={"s": {"tool_id": "s", "type": "python", "source_code": "…"}})
    assert only(result, "not-supported").path == ("tools", "s", "type")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"conditional": {"if": "x"}}, "conditional"),
        ({"repeat": 3}, "repeat"),
        ({"tool": None, "generate_tool": True}, "generate_tool"),
        ({"type": "sub_workflow"}, "type"),
        ({"workflow_path": "other.json"}, "workflow_path"),
    ],
)
def test_what_would_change_the_meaning_is_not_supported(fields: dict[str, Any], field: str) -> None:
    result = imported(step("first"), step("a", **fields))
    fault = only(result, "not-supported")
    assert (fault.severity, fault.step, fault.path) == ("error", "a", ("steps", 1, field))


def test_a_choice_between_tools_is_not_supported() -> None:
    fault = only(import_seed({"tasks": [{"name": "x"}, {"candidates": ["a", "b"]}]}), "not-supported")
    assert fault.path == ("tasks", 1, "candidates")


@pytest.mark.parametrize("fields", [{"conditional": None}, {"repeat": None}, {"generate_tool": False}])
def test_what_is_switched_off_is_no_fault(fields: dict[str, Any]) -> None:
    assert codes(imported(step("a", **fields))) == []


def test_a_tool_that_would_be_generated_may_be_named_instead() -> None:
    assert codes(imported(step("a", generate_tool=True))) == []


def test_unknown_fields_are_warnings_that_name_them() -> None:
    result = imported(step("a", colour="red"), flavour="sweet", version="1.0")
    warned = [each for each in result.findings if each.code == "unknown-field"]
    assert [each.severity for each in warned] == ["warning", "warning"]
    assert {each.path for each in warned} == {("flavour",), ("steps", 0, "colour")}
    assert all(repr(each.path[-1]) in each.message for each in warned)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input_mapping": "x"}, "input_mapping"),
        ({"prompt_template": 3}, "prompt_template"),
        ({"input_from_step": 3}, "input_from_step"),
        ({"retry_on_failure": True, "max_retries": "3"}, "max_retries"),
        ({"retry_on_failure": "yes"}, "retry_on_failure"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(fields: dict[str, Any], field: str) -> None:
    assert only(imported(step("a", **fields)), "wrong-type").path == ("steps", 0, field)


def test_the_origin_of_what_was_converted_is_known() -> None:
    result = imported(step("a", type="llm_call", prompt_template="x"), step("b", input_mapping={"k": "v"}))
    assert result.origins["steps", 0, "prompt"] == ("steps", 0, "prompt_template")
    assert result.origins["steps", 1, "args", "k"] == ("steps", 1, "input_mapping", "k")


# Order


def test_steps_without_any_relation_run_in_file_order_and_it_is_said() -> None:
    result = imported(step("a"), step("b"), step("c"))
    assert [each.get("depends_on") for each in result.data["steps"]] == [None, ["a"], ["b"]]
    assert only(result, "file-order").severity == "warning"


@pytest.mark.parametrize(
    "fields", [{"depends_on": ["a"]}, {"parallel_group": 1}, {"input": {"x": "{a}"}}, {"input_from_step": "a"}]
)
def test_one_relation_is_enough_for_the_graph_to_decide(fields: dict[str, Any]) -> None:
    result = imported(step("a"), step("b", **fields), step("c"))
    assert "depends_on" not in result.data["steps"][2]
    assert codes(result, "warning") == []


def test_a_reference_to_an_input_is_no_relation_between_steps() -> None:
    result = imported(step("a", input={"x": "{n}"}), step("b"), inputs={"n": 1})
    assert codes(result, "warning") == ["file-order"]


@pytest.mark.parametrize("steps", [None, "x", [3, "y"], [{"type": "x"}, {"step_id": 7, "type": "x"}], []])
def test_malformed_steps_are_left_for_the_model_to_judge(steps: Any) -> None:
    data = {"steps": steps, "outputs": {"x": {"type": "string", "source_reference": "steps.a.x"}}}
    assert isinstance(import_seed(data), Imported)


def test_a_reference_finds_the_longest_id() -> None:
    references = References(["a", "a.b"], [frozenset({"x"}), frozenset({"y"})], frozenset())
    assert references.value("steps.a.b.y", 0, ()) == "{{ steps['a.b'].output }}"
    assert references.value("steps.a.x", 0, ()) == "{{ steps.a.output }}"


def test_a_byte_order_mark_before_such_a_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"steps": [step("a")]}).encode())
    assert is_seed_file(read_document(path).data)


# Steps that ask a model with nothing but a mapping, one form however much of it is used, JSON inside of text


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "llm_call"},
        {"type": "llm_call", "tool": "llm"},
        {"tool": "llm"},
        {"tool": "writer"},
        {"tool_name": "writer", "type": "existing_tool"},
    ],
)
def test_what_is_mapped_for_a_model_is_asked_though_there_is_no_prompt(fields: dict[str, Any]) -> None:
    ask = {"step_id": "b", **fields, "input_mapping": {"text": "steps.a.output", "tone": "dry"}}
    result = imported(step("a"), ask, tools={"writer": {"tool_id": "writer", "type": "llm"}})
    native = result.data["steps"][1]
    assert render(native["prompt"], a="Why?") == "text: Why?\n\ntone: dry"
    assert "args" not in native


FORM: dict[str, Any] = {
    "inputs": {"city": {"type": "string", "default": "Bonn"}},
    "steps": [{"step_id": "a", "name": "first", "tool": "noop", "prompt": "in {city}"}],
}


@pytest.mark.parametrize("field", ["nothing", "inputs", "outputs", "output_name", "repeat", "max_retries"])
def test_a_file_of_that_form_is_read_as_one_whatever_part_of_it_is_used(field: str) -> None:
    values = {
        "inputs": {"x": "{city}"}, "outputs": ["page"], "output_name": "page", "repeat": {"times": 2}, "max_retries": 1,
    }  # fmt: skip
    data = copy.deepcopy(FORM)
    if field in values:
        data["steps"][0][field] = values[field]
    assert is_seed_file(data)
    result = import_seed(data)
    assert result.data["inputs"] == {"city": "Bonn"}
    assert result.data["steps"][0]["prompt"] == "in {{ inputs.city }}"
    assert [one.code for one in result.findings] == (["not-supported"] if field == "repeat" else [])


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}", fullmatch=True),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)),
        max_size=4,
    )
)
def test_placeholders_in_json_text_become_json(values: dict[str, Any]) -> None:
    names = [*values]
    text = "{" + ", ".join(f'"{name}": {{{name}}}, "q_{name}": "<{{{name}}}>"' for name in names) + "}"
    result = imported(step("a", input={"body": text}), inputs=values)
    written = json.loads(render_text(result.data["steps"][0]["args"]["body"], values, {}))
    for name in names:
        assert written[name] == values[name]
        value = values[name]
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        assert written[f"q_{name}"] == f"<{plain}>"


def test_the_page_of_the_form_tells_of_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/import-workflows.md").read_text()
    assert [name for name in sorted(IMPORTER_FIELDS) if f"`{name}`" not in page] == []

"""File → model → file keeps dependencies and groups, whatever the graph and whatever the spelling."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from executor.dependencies import workflow_with_dependencies
from executor.model.findings import Finding, WorkflowError
from executor.model.workflow import dump_workflow
from harness.config import Config, load_config
from harness.files.packaged import default_config_path
from harness.files.strict_file import parse_document, read_document
from harness.scenario.scenario_file import load_document
from harness.scenario.scenario_model import Loaded, ScenarioFile
from harness.scenario.seed.seed_steps import IMPORTER_FIELDS, NATIVE_FIELDS
from harness.scenario.seed.seed_templates import References
from tests.properties.effort import examples

CONFIG: Config = load_config(default_config_path())
JINJA = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=6).filter(
    lambda name: "'" not in name and '"' not in name and "\\" not in name
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def native_steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Steps in any order of listing; each draws its parents, declared or mentioned, from those drawn before it."""
    names = draw(st.lists(NAMES, min_size=1, max_size=7, unique=True))
    steps: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        step: dict[str, Any] = {"step_id": name, "tool": "noop"}
        parents = draw(st.sets(st.sampled_from(names[:index]))) if index else set()
        declared = [parent for parent in sorted(parents) if draw(st.booleans())]
        mentioned = sorted(parents.difference(declared))
        if declared:
            step["depends_on"] = declared
        if mentioned:
            step["prompt"] = " ".join("{{ steps['" + parent + "'].output }}" for parent in mentioned)
        if draw(st.booleans()):
            # A group of one is independent whatever the graph.
            step["parallel_group"] = draw(st.sampled_from([index, f"group {index}"]))
        steps.append(step)
    return draw(st.permutations(steps))


def loaded(data: object, kind: str) -> Loaded:
    text = json.dumps(data) if kind == "json" else yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    return load_document(
        parse_document(text, source=f"f.{kind}", format="json" if kind == "json" else "yaml"), config=CONFIG
    )


def relations(result: Loaded) -> dict[str, tuple[frozenset[str], Any]]:
    steps = result.workflow.steps
    return {
        step.step_id: (frozenset(steps[parent].step_id for parent in parents), step.parallel_group)
        for step, parents in zip(steps, result.graph.data_parents, strict=True)
    }


@given(native_steps(), st.sampled_from(["json", "yaml"]), st.sampled_from(["json", "yaml"]))
@settings(deadline=None, max_examples=examples(60))
def test_dependencies_and_groups_survive_file_model_file(steps: list[dict[str, Any]], first: str, second: str) -> None:
    before = loaded({"steps": steps}, first)
    after = loaded(dump_workflow(before.workflow), second)
    assert relations(before) == relations(after)
    assert before.workflow == after.workflow
    written_out = loaded(dump_workflow(workflow_with_dependencies(before.workflow, before.graph)), second)
    assert relations(before) == relations(written_out)
    assert all(relations(before)[step.step_id][0] == frozenset(step.depends_on) for step in written_out.workflow.steps)


@given(native_steps())
@settings(deadline=None, max_examples=examples(60))
def test_an_imported_file_keeps_what_its_references_mean(steps: list[dict[str, Any]]) -> None:
    expected = relations(loaded({"steps": steps}, "json"))
    foreign = []
    for step in steps:
        parents = sorted(expected[step["step_id"]][0].difference(step.get("depends_on", ())))
        own = {name: value for name, value in step.items() if name != "prompt"}
        mapping = {str(index): f"steps.{parent}.output" for index, parent in enumerate(parents)}
        foreign.append({**own, "tool": "builtins:dict", "type": "python_tool", "input_mapping": mapping})
    imported = loaded({"steps": foreign}, "json")
    if any(parents or group is not None for parents, group in expected.values()) or len(steps) == 1:
        assert relations(imported) == expected
    assert relations(loaded(dump_workflow(imported.workflow), "yaml")) == relations(imported)


@given(st.text())
@settings(deadline=None)
def test_text_without_placeholders_renders_to_itself(text: str) -> None:
    references = References((), (), frozenset())
    source = references.template(text, 0, ())
    if not references.asked:
        # Jinja2 reads every kind of line end as \n.
        assert JINJA.from_string(source).render() == text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text(alphabet="{}%#$ ab\n"), st.text(alphabet="{}%#$ ab\n"))
@settings(deadline=None)
def test_literal_braces_around_a_placeholder_stay(before: str, after: str) -> None:
    references = References((), (), frozenset({"name"}))
    source = references.template(f"{before} {{name}} {after}", 0, ())
    rendered = JINJA.from_string(source).render(inputs={"name": "NAME", **dict.fromkeys(references.asked, "")})
    assert " NAME " in rendered


@given(st.dictionaries(st.text(min_size=1, max_size=4), JSON_VALUES, min_size=1, max_size=4))
@settings(deadline=None)
def test_json_data_is_read_exactly(data: dict[str, Any]) -> None:
    document = parse_document(json.dumps(data), source="f.json", format="json")
    assert document.data == data
    assert document.line_of(("anything",)) == 1


@given(st.dictionaries(st.text(min_size=1, max_size=4), JSON_VALUES, min_size=1, max_size=4))
@settings(deadline=None)
def test_yaml_that_a_library_wrote_is_read_exactly(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data)
    assert parse_document(text, source="f.yaml", format="yaml").data == data


FIELDS = st.sampled_from([
    *ScenarioFile.model_fields, *sorted(NATIVE_FIELDS), *sorted(IMPORTER_FIELDS), "outputs", "tasks", "kind",
    "input_parameters", "executors", "workers", "policies", "parameters", "tool_id", "source_reference", "default",
    "required", "noop", "capacity",
])  # fmt: skip
WORDS = st.sampled_from([
    "noop", "llm", "a", "b", "steps.a.output", "${steps.a.x}", "{a}", "{{ inputs.a }}", "{{ copy }}", "{{ copy_item }}",
    "{{ steps.a.output }}", "{% if", "{{", "", "llm_call", "threads", "a:b",
])  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=25,
)


@given(
    st.dictionaries(FIELDS, ANYTHING, max_size=5),
    st.lists(st.dictionaries(FIELDS, ANYTHING, max_size=6) | ANYTHING, max_size=4) | ANYTHING,
    st.dictionaries(WORDS | st.just("scale"), WORDS | ANYTHING, max_size=2),
)
@settings(deadline=None, max_examples=examples(60))
def test_any_data_is_loaded_or_reported(top: dict[str, Any], steps: Any, given_settings: dict[str, Any]) -> None:
    text = json.dumps({**top, "steps": steps}, indent=1)
    found: list[Finding] = []
    try:
        load_document(parse_document(text, source="f.json", format="json"), settings=given_settings, config=CONFIG)
    except WorkflowError as error:
        found += error.findings
        if all(one.severity != "error" for one in found):
            found.append(Finding("error", "no-error", "raised without an error"))
    assert [finding for finding in found if finding.file is None] == []


@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,-&*!?|>'\"#% ab1\n\t", max_size=60).map(str.encode))
@settings(deadline=None, max_examples=examples(80))
def test_any_bytes_are_read_or_reported(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("f.json", "f.yaml"):
            path = Path(folder) / name
            path.write_bytes(content)
            found: list[Finding] = []
            try:
                read_document(path)
            except WorkflowError as error:
                found += error.findings
            assert [finding for finding in found if finding.file != str(path)] == []

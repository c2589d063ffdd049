"""Loading a scenario, a workflow or an imported file: one report, every finding with its place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from executor.model.findings import Finding, WorkflowError
from executor.model.workflow import dump_workflow
from executor.running import run
from harness.benchmark.matrix import MatrixRequest, build_matrix
from harness.config import Config, load_config
from harness.files.packaged import default_config_path, shipped_scenarios
from harness.files.strict_file import parse_document
from harness.scenario.scenario_file import load, load_document
from harness.scenario.scenario_model import Loaded

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(default_config_path())


def read(text: str | dict[str, Any], config: Config, settings: dict[str, Any] | None = None, **options: Any) -> Loaded:
    if isinstance(text, str):
        document = parse_document(text, source="plan.yaml", format="yaml")
    else:
        document = parse_document(json.dumps(text, indent=1), source="plan.json", format="json")
    return load_document(document, settings=settings, config=config, **options)


def faults(text: str | dict[str, Any], config: Config, settings: dict[str, Any] | None = None) -> list[Finding]:
    with pytest.raises(WorkflowError) as caught:
        read(text, config, settings)
    return [finding for finding in caught.value.findings if finding.severity == "error"]


SCENARIO = """\
scenario: joke
task: write a joke
scale: 0.1
inputs: {topic: cats, n: 2, languages: [French, "{{ evil }}"]}
resources: {llm: {capacity: 4}}
tools:
  writer: {kind: llm, needs: {llm: 1}}
steps:
- {step_id: joke, tool: writer, prompt: "A joke about {{ inputs.topic }}"}
- step_id: translation
  copies: "{{ inputs.languages }}"
  description: "To {{ copy_item }} ({{ copy }})"
  tool: writer
  prompt: "To {{ copy_item }}, {{ copy }} of {{ inputs.languages | length }}: {{ steps.joke.output }}"
- {step_id: collect, tool: noop, depends_on: [translation]}
benchmark: {executors: [serial, threads], workers: [2], policies: [dataflow], repetitions: 3, parameters: {n: [1, 2]}}
expect: ["errors == 0"]
"""


def test_a_scenario_is_read_whole(config: Config) -> None:
    loaded = read(SCENARIO, config)
    scenario = loaded.scenario
    assert (scenario.scenario, scenario.task, scenario.scale) == ("joke", "write a joke", 0.1)
    assert scenario.inputs["topic"] == "cats"
    assert (scenario.benchmark.executors, scenario.benchmark.workers) == (("serial", "threads"), (2,))
    assert (scenario.benchmark.repetitions, scenario.benchmark.parameters) == (3, {"n": (1, 2)})
    assert scenario.expect == ("errors == 0",)
    assert loaded.resources["llm"].capacity == 4
    assert loaded.tools["writer"].kind == "llm"
    assert "nmt_translator" in loaded.tools
    assert not loaded.imported


def test_the_scenario_says_nothing_and_the_workflow_is_still_named(config: Config) -> None:
    loaded = read("steps: [{step_id: a, tool: noop}]", config)
    assert (loaded.scenario.scenario, loaded.workflow.workflow_id, loaded.scenario.scale) == ("plan", "plan", 1.0)


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_every_shipped_scenario_loads_by_its_name(name: str, config: Config) -> None:
    assert load(name, config=config).scenario.scenario == name


def test_the_seeds_first_plan_runs_as_it_stands(config: Config) -> None:
    loaded = load(FIXTURES / "seed_example_1.json", config=config)
    assert loaded.workflow.workflow_id == "seed_example_1"
    assert [(step.step_id, step.depends_on, step.parallel_group) for step in loaded.workflow.steps] == [
        ("step1", (), None), ("step2", ("step1",), 1), ("step3", ("step1",), 1),
    ]  # fmt: skip
    assert [step.prompt for step in loaded.workflow.steps] == [
        "Write a joke",
        "Translate to French\n\n{{ steps.step1.output }}",
        "Translate to Spanish\n\n{{ steps.step1.output }}",
    ]
    assert {each.code for each in loaded.findings if each.severity == "hint"} >= {"default-prompt"}


def test_the_seeds_second_plan_gets_the_default_tool_with_a_warning(config: Config) -> None:
    loaded = load(FIXTURES / "seed_example_2.json", config=config)
    assert {step.tool for step in loaded.workflow.steps} == {"content_generator"}
    (warning,) = (each for each in loaded.findings if each.code == "default-tool")
    assert (warning.severity, warning.line) == ("warning", 3)


# Settings


def test_a_setting_changes_an_input_or_the_scale(config: Config) -> None:
    loaded = read(SCENARIO, config, {"scale": "0.5", "n": "7", "topic": "1.10", "languages": '["Czech"]'})
    assert loaded.scenario.scale == 0.5
    assert loaded.parameters == {"scale": 0.5, "n": 7, "topic": "1.10", "languages": ["Czech"]}
    assert loaded.workflow.inputs["languages"] == ["Czech"]
    assert [step.step_id for step in loaded.workflow.steps] == ["joke", "translation-1", "collect"]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"topik": "x"}, "unknown-input"),
        ({"n": "many"}, "wrong-type"),
        ({"n": "true"}, "wrong-type"),
        ({"languages": "5"}, "wrong-type"),
        ({"scale": "fast"}, "wrong-type"),
        ({"scale": "0"}, "out-of-range"),
        ({"n": "1e999"}, "not-finite"),
    ],
)
def test_a_wrong_setting_is_the_command_lines_fault(settings: dict[str, Any], code: str, config: Config) -> None:
    (fault,) = faults(SCENARIO, config, settings)
    assert (fault.file, fault.code) == ("command line", code)


def test_an_unknown_setting_suggests_the_nearest_input(config: Config) -> None:
    assert "topic" in faults(SCENARIO, config, {"topik": "x"})[0].fix


# Copies


def test_copies_are_written_out_with_their_number_and_item(config: Config) -> None:
    first, second = read(SCENARIO, config).workflow.steps[1:3]
    assert (first.step_id, first.description) == ("translation-1", "To French (1)")
    assert first.prompt == "To {{ inputs.languages[0] }}, 1 of {{ inputs.languages | length }}: {{ steps.joke.output }}"
    assert second.description == "To {{ evil }} (2)"
    assert second.prompt is not None
    assert "evil" not in second.prompt


def test_whoever_depends_on_a_copied_step_depends_on_every_copy(config: Config) -> None:
    assert read(SCENARIO, config).workflow.steps[3].depends_on == ("translation-1", "translation-2")


def test_a_copy_may_depend_on_its_twin(config: Config) -> None:
    text = """
inputs: {n: 2}
steps:
- {step_id: a, copies: "{{ inputs.n }}", tool: "builtins:dict", args: {index: "{{ copy }}", text: "no {{ copy }}"}}
- {step_id: b, copies: 2, tool: noop, depends_on: ["a-{{ copy }}"], when: "{{ copy }} > 1"}
"""
    steps = read(text, config).workflow.steps
    assert [step.step_id for step in steps] == ["a-1", "a-2", "b-1", "b-2"]
    assert [step.depends_on for step in steps[2:]] == [("a-1",), ("a-2",)]
    assert steps[1].args == {"index": 2, "text": "no 2"}
    assert steps[3].when == "2 > 1"


@pytest.mark.parametrize(
    "copies", ["0", "-1", "1.5", "true", "x", '"{{ inputs.m }}"', '"{{ inputs.topic }}"', "[a]", "1000001"]
)
def test_copies_that_cannot_be_counted_are_a_fault(copies: str, config: Config) -> None:
    text = (
        f"inputs: {{topic: cats}}\nsteps:\n- {{step_id: b, tool: noop}}\n- {{step_id: a, tool: noop, copies: {copies}}}"
    )
    (fault,) = faults(text, config)
    assert (fault.code, fault.step, fault.path, fault.line) == ("bad-copies", "a", ("steps", 1, "copies"), 4)


def test_null_copies_are_absent_ones(config: Config) -> None:
    assert [
        step.step_id for step in read("steps: [{step_id: a, tool: noop, copies: null}]", config).workflow.steps
    ] == ["a"]


def test_an_item_without_a_list_is_a_fault(config: Config) -> None:
    (fault,) = faults('steps: [{step_id: a, tool: "builtins:dict", copies: 2, args: {x: "{{ copy_item }}"}}]', config)
    assert fault.code == "bad-copies"


def test_a_fault_in_a_copied_step_is_reported_once_and_where_it_stands(config: Config) -> None:
    text = "steps:\n- {step_id: a, copies: 3, tool: noop}\n- {step_id: b, copies: 3, tool: noop,\n   timeot: 1}\n- 5\n"
    found = faults(text, config)
    assert [(each.code, each.path, each.line) for each in found] == [
        ("unknown-field", ("steps", 1, "timeot"), 4),
        ("wrong-type", ("steps", 2), 5),
    ]


# One report


def test_all_findings_of_a_file_are_in_one_report(config: Config) -> None:
    text = """\
scenario: x
inputz: {}
scale: 0
tools:
  a: {kind: llm, sistem: x}
  b: {kinds: llm}
  c: {kind: lm}
resources: {r: {capacity: 0}}
benchmark: {executors: [thread], repetitions: 3, parameters: {q: [1]}}
steps:
- {step_id: one, tool: noop, depnds_on: [x]}
- {step_id: 5, tool: noop, timeout: -1}
- {step_id: two, tool: noop, depends_on: [nobody]}
- {step_id: three, tool: nothing}
"""
    found = faults(text, config, {"nn": "1"})
    places = {each.line for each in found if each.file == "plan.yaml"}
    assert places == {2, 3, 5, 6, 7, 8, 11, 12, 13, 14}
    assert all(each.line is not None for each in found if each.file == "plan.yaml")
    assert [each.file for each in found if each.file != "plan.yaml"] == ["command line"]


def test_an_unknown_executor_and_an_unknown_parameter_are_faults(config: Config) -> None:
    text = "benchmark: {executors: [thread], parameters: {q: [1]}}\nsteps: [{step_id: a, tool: noop}]"
    assert [(each.code, each.path) for each in faults(text, config)] == [
        ("unknown-executor", ("benchmark", "executors", 0)),
        ("unknown-input", ("benchmark", "parameters", "q")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "steps: 5", "steps: [5, a, null, [x]]", "steps: {a: b}", "inputs: 5\nsteps: []", "tools: [a]\nsteps: []",
        "scenario: 5\nsteps: []", "resources: x\nsteps: []", "benchmark: 7\nsteps: []", "expect: x\nsteps: []",
        "steps: [{step_id: [a], copies: 2}]", "steps: [{copies: 2}]", "workflow_id: {a: b}", "a: b", "tools: {a: 5}",
        "inputs: [a]\nsteps: [{step_id: a, type: x}]", "steps: [{step_id: {}, type: [x], input: 3}]\noutputs: {}",
    ],
)  # fmt: skip
def test_a_malformed_file_is_a_report_and_never_a_traceback(text: str, config: Config) -> None:
    found = faults(text, config, {"n": "3"})
    assert found
    assert all(each.file is not None for each in found)


# Imported files

IMPORTED = {
    "workflow_id": "digest",
    "inputs": {"url": {"type": "string", "required": True}},
    "steps": [
        {"step_id": "fetch", "type": "python_tool", "tool": "builtins:dict", "input_mapping": {"url": "inputs.url"}},
        {
            "step_id": "sum",
            "type": "llm_call",
            "tool": "content_generator",
            "prompt_template": "Summarize ${steps.fetch.output} {{literally}}",
            "output_name": "summary",
        },
    ],
    "outputs": {"summary": {"type": "string", "source_reference": "steps.sum.summary"}},
}


def test_an_imported_file_loads_and_depends_by_its_references(config: Config) -> None:
    loaded = read(IMPORTED, config, {"url": "http://127.0.0.1/"})
    assert loaded.imported
    assert loaded.workflow.inputs == {"url": "http://127.0.0.1/"}
    assert loaded.graph.data_parents == [(), (0,)]


def test_a_required_input_is_asked_for_where_the_file_declares_it(config: Config) -> None:
    (fault,) = faults(IMPORTED, config)
    assert (fault.code, fault.path) == ("missing-input", ("inputs", "url"))
    assert "--set url=" in fault.fix
    loaded = read(IMPORTED, config, allow_missing_inputs=True)
    assert [each.code for each in loaded.findings if each.severity == "warning"] == ["missing-input"]


def test_a_fault_of_the_rules_leads_back_to_the_field_of_the_file(config: Config) -> None:
    steps = [{**IMPORTED["steps"][1], "prompt_template": "${steps.nobody.output}"}]
    (fault,) = faults({"steps": steps}, config)
    assert fault.path[:3] == ("steps", 0, "prompt_template")
    assert fault.line == 7


def test_a_file_order_survives_being_written_and_read_again(config: Config) -> None:
    steps = [{"step_id": name, "type": "python_tool", "tool": "noop"} for name in "abc"]
    first = read({"steps": steps}, config)
    second = read(dump_workflow(first.workflow), config)
    assert first.graph.data_parents == second.graph.data_parents == [(), (0,), (1,)]
    assert not second.imported


def test_a_module_beside_the_file_is_found_wherever_the_command_is_started(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "beside_this_file.py").write_text("def greet(name):\n    return f'hello {name}'\n", encoding="utf-8")
    path = tmp_path / "w.yaml"
    path.write_text("steps: [{step_id: a, tool: 'beside_this_file:greet', args: {name: Ada}}]\n", encoding="utf-8")
    made = load(path, config=config)
    assert run(made.workflow, graph=made.graph).outputs == {"a": "hello Ada"}
    assert sys.path[-1] == str(tmp_path)


def test_a_benchmark_finds_a_module_beside_the_file_too(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "beside_the_benchmark.py").write_text("def greet(): return 1\n", encoding="utf-8")
    path = tmp_path / "w.yaml"
    path.write_text("scenario: w\nsteps: [{step_id: a, tool: 'beside_the_benchmark:greet'}]\n", encoding="utf-8")
    assert build_matrix([str(path)], MatrixRequest(executors=("serial",)), config).cells


@pytest.mark.parametrize(
    ("tool", "said", "fix"),
    [
        ("no_such_module_here:greet", "there is no module 'no_such_module_here'", "put it beside the workflow file"),
        ("json:lods", "'json' has no 'lods'", "did you mean 'loads'"),
    ],
)
def test_a_function_that_cannot_be_had_is_said_with_the_reason(tool: str, said: str, fix: str, config: Config) -> None:
    with pytest.raises(WorkflowError) as refused:
        read(f"steps: [{{step_id: a, tool: '{tool}'}}]\n", config)
    (finding,) = refused.value.findings
    assert (finding.code, finding.step) == ("unknown-tool", "a")
    assert said in finding.message
    assert fix in finding.fix


def test_a_copy_uses_the_output_of_its_twin(config: Config) -> None:
    made = read(
        "steps:\n"
        "  - {step_id: user, copies: 2, tool: noop}\n"
        "  - step_id: answer\n    copies: 2\n    tool: builtins:dict\n"
        "    args: {value: \"{{ steps['user-{{ copy }}'].output }}\"}\n",
        config,
    )
    ids = [step.step_id for step in made.graph.steps]
    parents = {ids[place]: [ids[one] for one in above] for place, above in enumerate(made.graph.data_parents)}
    assert parents == {"user-1": [], "user-2": [], "answer-1": ["user-1"], "answer-2": ["user-2"]}


def test_wrong_calls_of_tools_are_said_beside_all_else_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(
        "steps:\n"
        "  - {step_id: a, tool: sleep, args: {second: 1}, depends_on: [zz]}\n"
        "  - {step_id: b, tool: 'math:sqroot'}\n",
        encoding="utf-8",
    )
    with pytest.raises(WorkflowError) as caught:
        load(path)
    assert [finding.code for finding in caught.value.findings] == ["unknown-dependency", "unknown-tool", "tool-call"]


@pytest.mark.parametrize(
    ("field", "fix"),
    [
        ("id: a", "did you mean `step_id`?"),
        ("name: a", "did you mean `step_id`?"),
        ("step_id: a, if: 'true'", "did you mean `when`?"),
        ("step_id: a, with: {}", "did you mean `args`?"),
        ("step_id: a, after: [b]", "did you mean `depends_on`?"),
        ("step_id: a, foreach: [b]", "did you mean `for_each`?"),
        ("step_id: a, needs: [b]", "steps that have to end first are in `depends_on`"),
    ],
)
def test_what_other_systems_call_a_field_leads_to_its_name_here(field: str, fix: str, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(f"steps: [{{tool: noop, {field}}}]", encoding="utf-8")
    with pytest.raises(WorkflowError) as caught:
        load(path)
    assert any(fix in (finding.fix or "") for finding in caught.value.findings), str(caught.value)

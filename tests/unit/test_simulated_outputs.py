"""On the virtual clock the output of a tool is unknown: it is handed on, assumed or said, and fails nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from executor.backends.virtual import VirtualBackend
from executor.engine.simulated_outputs import MadeUp, SimulatedOutputs
from executor.model.findings import WorkflowError
from executor.templates.render_budget import STUB, UnknownValueError
from executor.templates.template import evaluate_condition, evaluate_expression, render_text, render_value
from harness.cli.app import app
from harness.execution import Execution, document_of, execute
from harness.files.packaged import shipped_scenarios
from harness.scenario.forecast import forecast
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Loaded
from harness.simulation import simulate, subject_of_document, subject_of_scenario
from harness.simulation.simulation_document import simulation_schema

FUNCTION = 'tools: {tool: {kind: python, callable: "builtins:dict"}}\n'
MANY = 64
# `failing` fails on purpose.
WITHOUT_FAULTS = sorted(set(shipped_scenarios()) - {"failing"})


def scenario(folder: Path, steps: str, more: str = "") -> Loaded:
    path = folder / "one.yaml"
    path.write_text(f"scenario: one\n{FUNCTION}{more}steps:\n{steps}", encoding="utf-8")
    return load(path)


def played(loaded: Loaded) -> Execution:
    return execute(loaded, executor="virtual", workers=MANY)


def outcome(loaded: Loaded) -> tuple[float, Mapping[str, Any], list[str]]:
    """Seconds, errors and warnings of a run on the virtual clock."""
    done = played(loaded).run
    return done.timeline.makespan_seconds, done.errors, list(done.warnings)


def expected_seconds(loaded: Loaded) -> float:
    """What `plan` promises with a worker for each step."""
    return forecast(
        loaded.graph,
        workers=MANY,
        scale=loaded.scenario.scale,
        inputs=loaded.workflow.inputs,
        expected_outputs=loaded.scenario.expected_outputs,
    ).critical_path_amount


@pytest.mark.parametrize(
    "use",
    [
        "steps.a.output.name",
        "steps.a.output['name'][0].first",
        "steps.a.output | length",
        "steps.a.output.splitlines() | first",
        "steps.a.output + 1",
        "{'x': steps.a.output, 'y': [steps.a.output.z]}",
        "'yes' if steps.a.output.ok else 'no'",
        "steps.a.output ~ ' and more'",
    ],
)
@pytest.mark.parametrize(
    "place", ["args: {value: '{{ %s }}'}", "prompt: 'Say {{ %s }} now'", "args: {v: ['x {{ %s }}']}"]
)
def test_a_field_of_an_output_that_nobody_knows_fails_no_step(tmp_path: Path, use: str, place: str) -> None:
    template = (place % use.replace("'", "''")) if "'" in place else place % use
    loaded = scenario(
        tmp_path,
        "  - {step_id: a, tool: tool, expected_seconds: 1}\n"
        f"  - step_id: b\n    tool: tool\n    expected_seconds: 2\n    {template}\n"
        "  - {step_id: c, tool: tool, expected_seconds: 3, depends_on: [b]}\n",
    )
    seconds, errors, _ = outcome(loaded)
    assert (seconds, errors) == (6, {})
    assert expected_seconds(loaded) == 6


def test_a_template_that_is_wrong_whatever_the_outputs_fails_its_step(tmp_path: Path) -> None:
    loaded = scenario(
        tmp_path,
        "  - {step_id: a, tool: tool, expected_seconds: 1}\n"
        '  - {step_id: b, tool: tool, expected_seconds: 2, depends_on: [a], args: {value: "{{ inputs.x.y.z }}"}}\n',
        "inputs: {x: 1}\n",
    )
    seconds, errors, _ = outcome(loaded)
    assert seconds == 1
    assert "b" in errors


def test_a_duration_that_only_a_run_knows_is_the_stated_one_or_an_assumed_one(tmp_path: Path) -> None:
    steps = (
        "  - {step_id: a, tool: tool, expected_seconds: 1}\n"
        "  - {step_id: b, tool: sleep, %s args: {seconds: '{{ steps.a.output.n }}'}}\n"
    )
    stated, errors, warnings = outcome(scenario(tmp_path, steps % "expected_seconds: 4,"))
    assert (stated, errors, warnings) == (5, {}, [])
    assumed, errors, warnings = outcome(scenario(tmp_path, steps % ""))
    assert (assumed, errors) == (2, {})
    assert "1 s was assumed" in warnings[0]


def test_a_prompt_that_only_a_run_knows_leaves_the_arguments_known(tmp_path: Path) -> None:
    loaded = scenario(
        tmp_path,
        "  - {step_id: a, tool: llm, expected_seconds: 1, prompt: hello}\n"
        "  - {step_id: b, tool: flaky, prompt: '{{ steps.a.output }}', args: {fail_times: 1, seconds: 3},"
        " retry: {max_attempts: 2, backoff_seconds: 0}}\n",
    )
    assert outcome(loaded) == (7, {}, [])


def test_a_condition_that_only_a_run_knows_is_taken_to_hold_and_that_is_said(tmp_path: Path) -> None:
    steps = (
        "  - {step_id: a, tool: tool, expected_seconds: 1}\n"
        '  - {step_id: b, tool: tool, expected_seconds: 2, when: "steps.a.output.score > 3"}\n'
    )
    seconds, errors, warnings = outcome(scenario(tmp_path, steps))
    assert (seconds, errors) == (3, {})
    assert warnings == ["the condition of step 'b' is only known in a run: taken to hold (expected_outputs)"]
    decided = scenario(tmp_path, steps, "expected_outputs: {a: {score: 1}}\n")
    assert outcome(decided) == (1, {}, [])


def test_a_list_that_only_a_run_knows_has_the_expected_items(tmp_path: Path) -> None:
    steps = (
        "  - {step_id: a, tool: tool, expected_seconds: 1}\n"
        '  - {step_id: m, tool: tool, expected_seconds: 1, for_each: "{{ steps.a.output.list }}", max_parallel: 1,'
        '%s args: {value: "{{ item.name }}"}}\n'
        '  - {step_id: z, tool: tool, expected_seconds: 1, args: {all: "{{ steps.m.output[0].text }}"}}\n'
    )
    assert outcome(scenario(tmp_path, steps % " expected_items: 4,"))[:2] == (6, {})
    seconds, errors, warnings = outcome(scenario(tmp_path, steps % ""))
    assert (seconds, errors) == (3, {})
    assert warnings == ["the list of step 'm' is only known in a run: 1 item assumed (expected_items)"]
    known = scenario(tmp_path, steps % " expected_items: 9,", "expected_outputs: {a: {list: [{name: x}, {name: y}]}}\n")
    assert outcome(known) == (4, {}, [])
    assert expected_seconds(known) == 4


def test_the_expected_output_of_a_mapped_step_is_that_of_each_item(tmp_path: Path) -> None:
    loaded = scenario(
        tmp_path,
        "  - {step_id: m, tool: tool, expected_seconds: 1, for_each: [1, 2]}\n"
        '  - {step_id: b, tool: tool, expected_seconds: 1, when: "steps.m.output == [5, 5]"}\n',
        "expected_outputs: {m: 5}\n",
    )
    done = played(loaded).run
    assert done.outputs["m"] == [5, 5]
    assert done.timeline.makespan_seconds == 2
    assert not done.warnings


def test_a_list_with_unknown_values_in_it_has_a_known_length(tmp_path: Path) -> None:
    loaded = scenario(
        tmp_path,
        "  - {step_id: a, tool: tool, expected_seconds: 1}\n"
        '  - {step_id: m, tool: tool, expected_seconds: 1, for_each: "{{ [steps.a.output, steps.a.output.x, 3] }}",'
        " max_parallel: 1}\n",
    )
    assert outcome(loaded) == (4, {}, [])


def test_the_made_up_text_of_a_model_decides_nothing(tmp_path: Path) -> None:
    loaded = scenario(
        tmp_path,
        "  - {step_id: a, tool: llm, expected_seconds: 1, prompt: hello}\n"
        "  - {step_id: b, tool: tool, expected_seconds: 2, when: \"steps.a.output == 'yes'\"}\n",
    )
    seconds, errors, warnings = outcome(loaded)
    assert (seconds, errors) == (3, {})
    assert "taken to hold" in warnings[0]
    assert str(played(loaded).run.outputs["a"]).startswith("[simulated llm]")


def test_an_expected_output_of_a_step_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="there is no step 'ab'"):
        scenario(tmp_path, "  - {step_id: a, tool: tool}\n", "expected_outputs: {ab: 1}\n")


def test_templates_hand_unknown_values_on_and_look_into_none() -> None:
    outputs = SimulatedOutputs({"a": MadeUp("shown"), "m": [MadeUp("x"), 1], "k": {"n": 2}})
    assert evaluate_expression("steps.a.output.x[1].y", {}, outputs) is STUB
    assert evaluate_expression("steps.m.output | length", {}, outputs) == 2
    assert render_value({"v": "{{ steps.k.output.n }}"}, {}, outputs) == {"v": 2}
    assert evaluate_condition("steps.k.output.n == 2", {}, outputs)
    with pytest.raises(UnknownValueError):
        render_text("{{ steps.a.output }}", {}, outputs)
    with pytest.raises(UnknownValueError):
        evaluate_condition("steps.a.output", {}, outputs)


# ------------------------------------------------------------------ simulate equals plan, and the recorded run


@pytest.mark.parametrize("name", WITHOUT_FAULTS)
def test_a_shipped_scenario_without_faults_takes_what_its_plan_promises(name: str) -> None:
    loaded = load(name)
    subject = subject_of_scenario(loaded, workers=MANY)
    assert subject.failures == {}
    base = simulate(subject).base_seconds
    if not loaded.resources:
        assert base == pytest.approx(expected_seconds(loaded), abs=1e-6)
    else:
        bound = forecast(
            loaded.graph, workers=MANY, scale=loaded.scenario.scale, resources=loaded.resources,
            inputs=loaded.workflow.inputs,
        ).lower_bound_amount  # fmt: skip
        assert base >= bound - 1e-6


def random_scenario(random: Random, *, ordered: bool = False) -> str:
    """Steps that use fields of each other's outputs, under conditions and for lists that only a run knows. ``ordered``:
    with priorities, limits and shared states, and some that state no duration.
    """
    lines = []
    mapped = set()
    for number in range(random.randint(2, 10)):
        earlier = random.sample(range(number), min(number, random.randint(0, 3)))
        fields = [f"step_id: s{number}", "description: do it", f"tool: {random.choice(('tool', 'llm'))}"]
        fields.append(f"expected_seconds: {random.randint(1, 9)}")
        uses = [
            f"steps.s{one}.output{'' if one in mapped else random.choice(('', '.name', '[0]', ' | length', '.a.b'))}"
            for one in earlier
        ]
        place = random.choice(("args", "prompt", "when", "for_each", "depends_on"))
        if not uses or place == "depends_on":
            fields.append(f"depends_on: [{', '.join(f's{one}' for one in earlier)}]")
        elif place == "args":
            args = ", ".join(f"v{index}: '{{{{ {use} }}}}'" for index, use in enumerate(uses))
            fields[2] = "tool: tool"
            fields.append(f"args: {{{args}}}")
        elif place == "prompt":
            fields.append(f"prompt: 'Use {' and '.join('{{ ' + use + ' }}' for use in uses)}'")
        elif place == "when":
            fields.append(f"when: '{' and '.join(f'({use}) != 3' for use in uses)}'")
        else:
            mapped.add(number)
            fields.append(f"for_each: '{{{{ {uses[0]} }}}}'")
            fields.append(f"expected_items: {random.randint(0, 4)}")
            fields.append(f"depends_on: [{', '.join(f's{one}' for one in earlier)}]")
            if random.random() < 0.5:
                fields.append(f"max_parallel: {random.randint(1, 3)}")
        if ordered:
            fields.append(f"priority: {random.choice((0, 0, 1, -3))}")
            if random.random() < 0.4:
                fields.append("needs: {gate: 1}")
            if random.random() < 0.3:
                fields.append(random.choice(("reads: [book]", "writes: [book]")))
        lines.append(f"  - {{{', '.join(fields)}}}\n")
    return "".join(lines)


def test_a_random_scenario_takes_what_its_plan_promises(tmp_path: Path) -> None:
    for seed in range(150):
        steps = random_scenario(Random(seed))
        loaded = scenario(tmp_path, steps)
        subject = subject_of_scenario(loaded, workers=MANY)
        assert subject.failures == {}, (seed, steps)
        assert simulate(subject).base_seconds == pytest.approx(expected_seconds(loaded), abs=1e-6), (seed, steps)


def test_steps_that_are_foreseen_go_as_those_that_are_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def facts(done: Execution) -> tuple[Any, ...]:
        run = done.run
        tries = [(one.step_id, one.ready, one.started, one.ended, one.worker) for one in run.timeline.attempts]
        return tries, run.statuses, run.outputs, run.warnings, set(done.assumed)

    foresee, seen = VirtualBackend._foresee, 0
    for seed in range(30):
        random = Random(seed)
        steps = random_scenario(random, ordered=True).replace("expected_seconds: 5, ", "")
        steps = steps.replace("expected_seconds: 4, ", "timeout: 0.5, ").replace(
            "expected_seconds: 3, ", "timeout: 2, "
        )
        expected = f"expected_outputs: {{s0: {random.randint(0, 9)}}}\n" if seed % 2 else ""
        loaded = scenario(tmp_path, steps, "resources: {gate: {capacity: 1}}\n" + expected)
        with monkeypatch.context() as patch:
            found = facts(execute(loaded, executor="virtual", workers=3))
            seen += "[virtual] output" in found[2].values()
            patch.setattr(VirtualBackend, "_foresee", lambda backend, engine: [None] * len(foresee(backend, engine)))
            assert facts(execute(loaded, executor="virtual", workers=3)) == found, (seed, steps)
    assert seen > 10


def test_a_recorded_run_takes_what_was_recorded(tmp_path: Path) -> None:
    for seed in range(100):
        random = Random(seed)
        loaded = scenario(tmp_path, random_scenario(random, ordered=True), "resources: {gate: {capacity: 2}}\n")
        policy = random.choice(("dataflow", "levels", "barrier"))
        done = execute(loaded, executor="virtual", workers=random.randint(1, 4), policy=policy)
        document = json.loads(json.dumps(document_of(done)))
        assert simulate(subject_of_document(document)).base_seconds == pytest.approx(
            done.run.timeline.makespan_seconds, abs=1e-6
        ), seed


# ------------------------------------------------------------------ a failure comes first


def test_a_simulated_failure_is_told_first_and_ends_with_status_1(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    done = CliRunner().invoke(app, ["simulate", "failing", "--json", str(target)])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0] == "FAILED on the virtual clock: 1 step"
    assert lines[1].startswith("  check: ToolError: failed on purpose")
    assert lines[2] == "  skipped for that reason, and without time here: report, send"
    document = json.loads(target.read_text())
    jsonschema.validate(document, simulation_schema(), cls=jsonschema.Draft202012Validator)
    assert [one["step_id"] for one in document["failures"]] == ["check"]
    assert document["skipped"] == ["report", "send"]


def test_a_run_that_had_failed_says_so_first_and_is_no_failure_of_the_simulation(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    CliRunner().invoke(app, ["run", "failing", "--executor", "virtual", "--json", str(target), "--quiet"])
    done = CliRunner().invoke(app, ["simulate", str(target)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0] == "FAILED when it was recorded, and fails here as it did: 1 step"


def test_what_does_not_fail_says_nothing_of_failures(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", "cpu_bound"])
    assert done.exit_code == 0
    assert "FAILED" not in done.output

"""How steps call their tools is checked before a run: a call that can only fail is a finding of the plan."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from executor.model.findings import Finding, WorkflowError
from executor.model.workflow import Step, Workflow
from executor.running import run
from harness.config import load_config
from harness.scenario.scenario_file import load


def findings_of(folder: Path, steps: str) -> list[Finding]:
    """What is wrong with a scenario of these steps."""
    path = folder / "one.yaml"
    path.write_text(f"scenario: one\nsteps:\n{steps}")
    with pytest.raises(WorkflowError) as caught:
        load(str(path), config=load_config(None))
    return [one for one in caught.value.findings if one.severity == "error"]


@pytest.mark.parametrize(
    ("step", "message", "field"),
    [
        ("{step_id: a, tool: llm}", "asks nothing of its tool 'llm'", "tool"),
        ("{step_id: a, tool: http, args: {url: /orders}}", "gives its tool 'http' no whole address", "args"),
        ("{step_id: a, tool: http}", "gives its tool 'http' no whole address", "tool"),
        ("{step_id: a, tool: node, args: {source: 'x', code: y}}", "has the argument 'code'", "args"),
        ("{step_id: a, tool: node, args: {input: {}}}", "gives its tool 'node' no code to run", "tool"),
        ("{step_id: a, tool: llm, args: {model: m}}", "asks nothing of its tool 'llm'", "tool"),
        ("{step_id: a, tool: llm, prompt: hi, args: {modell: m}}", "has the argument 'modell'", "args"),
        ("{step_id: a, tool: llm, prompt: hi, args: {messages: [{role: user}]}}", "has both a prompt", "args"),
        ("{step_id: a, tool: http, args: {link: 'http://127.0.0.1'}}", "has the argument 'link'", "args"),
        ("{step_id: a, tool: command, args: {arg: [ls]}}", "has the argument 'arg'", "args"),
        ("{step_id: a, tool: sleep, args: {second: 1}, expected_seconds: 1}", "has the argument 'second'", "args"),
        ("{step_id: a, tool: sleep}", "does not say how long its tool 'sleep' takes", "tool"),
        ("{step_id: a, tool: busy, args: {seconds: -1}}", "has an args.seconds that is no number of 0 or", "args"),
        ("{step_id: a, tool: flaky, args: {seconds: 1}}", "does not say when its tool 'flaky' fails", "tool"),
        ("{step_id: a, tool: noop, args: {second: 1}}", "has the argument 'second'", "args"),
        ("{step_id: a, tool: command}", "gives its tool 'command' nothing to run", "tool"),
        ("{step_id: a, tool: command, prompt: x, args: {argv: [cat], stdin: x}}", "has both a prompt and", "args"),
        ("{step_id: a, tool: 'json:loads', args: {s: x, strickt: 1}, prompt: x}", "does not fit the function", "args"),
        ("{step_id: a, tool: 'textwrap:dedent'}", "does not fit the function of its tool 'textwrap:dedent'", "tool"),
    ],
)
def test_a_call_that_can_only_fail_is_a_finding_with_its_line(
    tmp_path: Path, step: str, message: str, field: str
) -> None:
    (finding,) = findings_of(tmp_path, f"  - {step}\n")
    assert finding.code == "tool-call"
    assert finding.message.startswith(message)
    assert (finding.line, finding.path[:3]) == (3, ("steps", 0, field))
    assert finding.fix


def test_templates_in_arguments_are_left_to_the_run(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "scenario: one\ninputs: {m: []}\nsteps:\n"
        "  - {step_id: a, tool: llm, args: {messages: '{{ inputs.m }}', temperature: '{{ 1 }}'}}\n"
    )
    assert load(str(path), config=load_config(None)).graph.steps[0].step_id == "a"


def test_arguments_that_a_declaration_ignores_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "scenario: one\ntools: {llm: {kind: llm, ignored_args: [city]}}\n"
        "steps:\n  - {step_id: a, tool: llm, prompt: hi, args: {city: Bonn}}\n"
    )
    assert load(str(path), config=load_config(None)).graph.steps[0].step_id == "a"


def test_a_workflow_from_python_is_checked_too() -> None:
    with pytest.raises(WorkflowError, match="asks nothing of its tool 'llm'"):
        run(Workflow(steps=(Step(step_id="a", tool="llm"),)))


def test_a_function_whose_wrapper_gives_an_argument_is_no_fault() -> None:
    def inner(given: int, value: int) -> int:
        return given + value

    @functools.wraps(inner)
    def outer(value: int) -> int:
        return inner(1, value)

    done = run(Workflow(steps=(Step(step_id="a", tool="outer", args={"value": 2}),)), tools={"outer": outer})
    assert done.outputs == {"a": 3}

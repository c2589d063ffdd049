"""Placeholders in text that is JSON: which ones write Python's text instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from executor import run
from executor.model.workflow import Step, Workflow
from harness.scenario.json_text import json_hints
from harness.scenario.scenario_file import load

OUTPUT = "{{ steps.a.output }}"


def hinted(text: Any, **inputs: Any) -> list[str]:
    steps = (Step(step_id="a", tool="sleep"), Step(step_id="b", tool="echo", args={"body": text}))
    return [finding.field for finding in json_hints(Workflow(steps=steps, inputs=inputs))]


@pytest.mark.parametrize(
    "text",
    [
        f'{{"flag": {OUTPUT}}}',
        f'[1, {OUTPUT}, {{"b": 2}}]',
        f' {{"quoted": "{OUTPUT}", "bare": {OUTPUT}}}',
        '{"a": {"b": {{ steps.a.output.c }}}}',
        '{"flag": {{ inputs.flag }}}',
    ],
)
def test_a_bare_placeholder_in_json_text_has_a_hint(text: str) -> None:
    assert hinted(text, flag=True) == ["steps[1].args.body"]


@pytest.mark.parametrize(
    "text",
    [
        OUTPUT,
        f"{{not JSON: {OUTPUT}}}",
        f"[{OUTPUT}] write about it",
        f'{{"quoted": "it is \\"{OUTPUT}\\""}}',
        '{"flag": {{ steps.a.output | tojson }}}',
        '{"flag": {{ (steps.a.output or none)|tojson }}}',
        '{"many": {{ steps.a.output | length }}, "n": {{ inputs.n }}}',
        '{"plain": 1}',
    ],
)
def test_what_is_no_json_text_or_surely_writes_json_has_none(text: str) -> None:
    assert hinted(text, n=3) == []


def test_texts_deep_inside_of_arguments_and_prompts_are_looked_at() -> None:
    text = f'{{"flag": {OUTPUT}}}'
    assert hinted({"parts": ["plain", {"inner": text}]}) == ["steps[1].args.body.parts[1].inner"]
    steps = (Step(step_id="b", tool="llm", prompt=text),)
    assert [one.field for one in json_hints(Workflow(steps=steps))] == ["steps[0].prompt"]


@pytest.mark.parametrize("value", [True, None, ["b"], {"c": False}, 'a "word"', 1.5])
def test_what_the_hint_advises_is_json(value: Any) -> None:
    text = '{"flag": {{ steps.a.output | tojson }}}'
    steps = (Step(step_id="a", tool="make"), Step(step_id="b", tool="echo", args={"body": text}))
    done = run(Workflow(steps=steps), backend="threads", tools={"make": lambda: value, "echo": lambda body: body})
    assert json.loads(done.outputs["b"]) == {"flag": value}
    assert hinted(text) == []


def test_a_file_has_the_hint_with_its_line(tmp_path: Any) -> None:
    file = tmp_path / "flow.yaml"
    lines = [
        "steps:",
        "  - {step_id: a, tool: sleep, expected_seconds: 1, description: A}",
        "  - step_id: b",
        "    tool: llm",
        "    description: B",
    ]
    file.write_text("\n".join([*lines, "    prompt: '{\"flag\": {{ steps.a.output }}}'"]) + "\n", encoding="utf-8")
    (hint,) = [one for one in load(file).findings if one.code == "python-in-json"]
    assert (hint.severity, hint.step, hint.line) == ("hint", "b", 6)

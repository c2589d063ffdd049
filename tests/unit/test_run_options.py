"""What `run` says of options that it cannot take, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from executor import Resource, Step, Workflow, WorkflowError, run, step


def one() -> int:
    return 1


marked = step(one)
WORKFLOW = Workflow(steps=(Step(step_id="a", tool="one"),))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"executor": "threads"}, "a run has no option 'executor': did you mean 'backend'?"),
        ({"wokers": 2}, "a run has no option 'wokers': did you mean 'workers'?"),
        ({"workers": "4"}, "workers is '4', where a whole number belongs"),
        ({"workers": 2.5}, "workers is 2.5, where a whole number belongs"),
        ({"workers": True}, "workers is True, where a whole number belongs"),
        ({"seed": "x"}, "seed is 'x', where a whole number belongs"),
        ({"scale": "1"}, "scale is '1', where a number belongs"),
        ({"scale": -1}, "scale is -1: it has to be above 0, and finite"),
        ({"scale": float("nan")}, "scale is nan: it has to be above 0, and finite"),
        ({"tools": [one]}, "tools is of type list, where a mapping belongs: {name: function}"),
        ({"resources": ["x"]}, "resources is of type list, where a mapping belongs: {name: Resource(…)}"),
        ({"resources": {"x": 3}}, "the resource 'x' is of type int, where a mapping belongs: {capacity: 3}"),
        ({"inputs": ["x"]}, "inputs is of type list, where a mapping belongs: {name: value}"),
    ],
)
def test_an_option_of_the_wrong_kind_is_named_with_what_belongs_there(options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        run(WORKFLOW, **{"tools": {"one": one}, **options})
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("jokes.yaml", "read the file"),
        (Path("jokes.yaml"), "read the file"),
        ({"steps": [{"step_id": "a", "tool": "one"}]}, "give Workflow"),
        (WORKFLOW.steps[0], "put steps into a workflow"),
        (list(WORKFLOW.steps), "put steps into a workflow"),
        (marked, "call it"),
        (one, "mark the function with @step"),
    ],
)
def test_what_is_no_workflow_is_refused_with_what_to_give_instead(given: Any, fix: str) -> None:
    with pytest.raises(TypeError, match=fix):
        run(given, tools={"one": one})


def test_resources_may_be_written_as_in_a_file() -> None:
    steps = tuple(Step(step_id=name, tool="sleep", args={"seconds": 1}, needs={"seat": 1}) for name in "ab")
    result = run(Workflow(steps=steps), resources={"seat": {"capacity": 1}}, backend="virtual", workers=2)
    assert [wait.reason for attempt in result.timeline.attempts for wait in attempt.waits] == ["resource.seat"]
    with pytest.raises(ValueError, match="capacity"):
        run(WORKFLOW, tools={"one": one}, resources={"seat": {"capacity": 0}})
    assert run(WORKFLOW, tools={"one": one}, resources={"seat": Resource(capacity=1)}).outputs == {"a": 1}


def test_a_declared_tool_that_cannot_be_had_is_said_with_its_reason() -> None:
    with pytest.raises(WorkflowError, match="'math' has no 'sqroot'") as caught:
        run(WORKFLOW, tools={"one": "math:sqroot"})
    assert len(caught.value.findings) == 1

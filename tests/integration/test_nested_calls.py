"""Steps that call tools, from the command line: a node like the one that people bring along, under a limit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from executor import Resource, Step, Workflow, run
from harness.packaged import shipped_scenarios
from harness.testing.called_graphs import graph_with_calls
from harness.testing.oracle import assert_ok, check_timeline
from tests.unit.test_node_runtime import shout


def result_of(folder: Path, executor: str, *options: str) -> dict[str, Any]:
    path = str(shipped_scenarios()["translation_node"])
    command = [sys.executable, "-m", "harness.cli", "run", path, "--executor", executor, "--json", "result.json"]
    done = subprocess.run(
        [*command, "--set", "scale=0.05", *options],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads((folder / "result.json").read_text(encoding="utf-8"))["results"]
    return dict(result)


@pytest.mark.parametrize("executor", ["threads", "processes", "asyncio", "serial"])
def test_a_nodes_calls_stand_in_the_result_and_keep_the_models_limit(executor: str, tmp_path: Path) -> None:
    result = result_of(tmp_path, executor)
    steps = {step["step_id"]: step for step in result["steps"]}
    calls = [f"translations/{number}" for number in (1, 2, 3)]
    assert sorted(steps) == ["joke", "translations", *calls]
    assert {step["status"] for step in steps.values()} == {"succeeded"}
    translated = steps["translations"]["output"]
    assert [translated[name] for name in ("french", "spanish", "german")] == [steps[call]["output"] for call in calls]
    attempts = [steps[call]["attempts"][0] for call in calls]
    changes = sorted([(one["granted"], 1) for one in attempts] + [(one["known"], -1) for one in attempts])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    assert most == (1 if executor == "serial" else 2)
    assert {one["parent"] for one in attempts} == {"translations"}
    assert steps["translations"]["attempts"][0]["blocked"]


@pytest.mark.parametrize("backend", ["threads", "asyncio", "processes"])
def test_the_oracle_finds_nothing_in_a_run_of_nodes_that_wait_for_a_limit(backend: str) -> None:
    source = """
from node_runtime import call_tool, call_tools_parallel
def main():
    some = call_tools_parallel([("shout", text) for text in "abcde"], max_workers=3)
    return some + [call_tool("shout", text) for text in "fg"]
"""
    shouting = {"kind": "python", "callable": "tests.unit.test_node_runtime:shout", "needs": {"air": 1}}
    found = run(
        Workflow(
            steps=(
                Step(step_id="a", tool="many"),
                Step(step_id="b", tool="many", needs={"air": 1}),
                Step(step_id="c", tool="many"),
                Step(step_id="d", tool="noop", depends_on=("a", "b")),
            )
        ),
        tools={"many": {"kind": "node", "source": source}, "shout": shouting},
        resources={"air": Resource(capacity=2)},
        backend=backend,
        workers=2,
    )
    assert found.ok, found.errors
    assert found.outputs["b"] == list("ABCDEFG")
    assert shout("x") == "X"
    graph = graph_with_calls(found)
    assert len(graph.steps) == 4 + 3 * 7
    assert_ok(check_timeline(graph, found.timeline))


def test_a_thousand_calls_of_one_step_after_the_other_and_at_once() -> None:
    from executor.node_runtime import call_tool, call_tools_parallel

    def caller() -> int:
        for _ in range(500):
            call_tool("noop")
        return len(call_tools_parallel([("noop", None)] * 500, max_workers=7))

    for backend in ("threads", "asyncio"):
        found = run(
            Workflow(steps=(Step(step_id="a", tool="caller"),)), tools={"caller": caller}, backend=backend, workers=3
        )
        assert found.outputs["a"] == 500
        assert len(found.statuses) == 1001
        assert found.dropped_completions == 0

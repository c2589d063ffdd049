"""Steps that call tools, from the command line: a node like the one that people bring along, under a limit."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from executor import Resource, Step, Workflow, run
from executor.backends.child_steps import Batch
from executor.backends.processes.dispatch import Dispatcher
from executor.engine.engine import Engine
from executor.engine.instruments import Instrument
from executor.node_runtime import call_tool_async, call_tools_parallel
from harness.files.packaged import shipped_scenarios
from harness.testing.backends.suite_steps import note, notes
from harness.testing.oracle.called_graphs import graph_with_calls
from harness.testing.oracle.judge import assert_ok, check_timeline
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


@pytest.mark.slow
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


def note_many(folder: str, count: int) -> int:
    """Many short calls."""
    return len(call_tools_parallel([("note", None, {"folder": folder, "text": str(n)}) for n in range(count)]))


def fail_amid(folder: str, count: int, after: int) -> None:
    """The same in a thread of its own; when some of them have run, the step fails."""
    ThreadPoolExecutor(1).submit(copy_context().run, note_many, folder, count)
    while len(notes(folder)) < after:
        time.sleep(0.001)
    raise ValueError("enough")


def noted_and_recorded(step: Step, folder: Path) -> tuple[set[str], set[str]]:
    """The calls that ran by their own account, and those that the record knows of."""
    tools = {"note": note, "note_many": note_many, "fail_amid": fail_amid}
    result = run(Workflow(steps=(step,)), backend="processes", workers=2, tools=tools)
    assert result.statuses["a"] == "failed"
    assert_ok(check_timeline(graph_with_calls(result), result.timeline, handed_out_ahead=True))
    calls = [attempt.step_id for attempt in result.timeline.attempts if attempt.parent]
    return set(notes(folder)), {str(int(call.removeprefix("a/")) - 1) for call in calls}


@pytest.mark.parametrize("timeout", [0.45, 0.55])
def test_whatever_ran_when_its_caller_times_out_stands_in_the_record(timeout: float, tmp_path: Path) -> None:
    step = Step(step_id="a", tool="note_many", args={"folder": str(tmp_path), "count": 20_000}, timeout=timeout)
    noted, recorded = noted_and_recorded(step, tmp_path)
    assert noted <= recorded


@pytest.mark.slow
@pytest.mark.parametrize("after", range(200, 620, 60))
def test_whatever_ran_when_its_caller_fails_stands_in_the_record(after: int, tmp_path: Path) -> None:
    args = {"folder": str(tmp_path), "count": 5_000, "after": after}
    noted, recorded = noted_and_recorded(Step(step_id="a", tool="fail_amid", args=args), tmp_path)
    assert len(noted) >= after
    assert noted <= recorded


class KeepsEngine(Instrument):
    """Shows which engine runs."""

    engine: Engine | None = None

    def run_started(self, engine: Engine) -> None:
        self.engine = engine


@pytest.mark.slow
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("after", [300, 600])
def test_whatever_ran_when_the_run_is_cancelled_stands_in_the_record(after: int, later: bool, tmp_path: Path) -> None:
    watch = KeepsEngine()

    def cancel_amid() -> None:
        while watch.engine is None or len(notes(tmp_path)) < after:
            time.sleep(0.001)
        (watch.engine.cancel_later if later else watch.engine.cancel)()

    steps = [Step(step_id=f"s{n}", tool="note", args={"folder": str(tmp_path), "text": f"s{n}"}) for n in range(6_000)]
    cancelling = threading.Thread(target=cancel_amid)
    cancelling.start()
    result = run(
        Workflow(steps=tuple(steps)), backend="processes", workers=2, tools={"note": note}, instruments=[watch]
    )
    cancelling.join()
    assert "cancelled" in result.statuses.values()
    assert set(notes(tmp_path)) <= {attempt.step_id for attempt in result.timeline.attempts}


def test_a_cancellation_that_comes_after_the_driver_looked_waits_until_it_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_calls = Dispatcher._stop_calls
    asked = []

    def and_cancel(self: Dispatcher) -> None:
        stop_calls(self)
        if self._ahead > 4 and not asked:
            asked.append(True)
            # As a signal's handler does.
            self._engine.request_cancel()

    monkeypatch.setattr(Dispatcher, "_stop_calls", and_cancel)
    steps = [Step(step_id=f"s{n}", tool="note", args={"folder": str(tmp_path), "text": f"s{n}"}) for n in range(3_000)]
    result = run(Workflow(steps=tuple(steps)), backend="processes", workers=2, tools={"note": note})
    assert "cancelled" in result.statuses.values()
    assert set(notes(tmp_path)) <= {attempt.step_id for attempt in result.timeline.attempts}


async def go_on_with_the_first() -> Any:
    """Two calls at once; as soon as the end of one arrives, a third that calls another."""
    waits = [asyncio.ensure_future(call_tool_async("noop")) for _ in range(2)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    found = await call_tool_async("deeper")
    await asyncio.wait(waits)
    return found


async def deeper() -> Any:
    """A coroutine that waits for a call, as the one above does: their threads can do nothing else."""
    return await call_tool_async("noop", "here")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_news_that_comes_late_does_not_undo_that_a_step_waits_again(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, asked = itertools.count(1), itertools.count(1)
    third = threading.Event()
    resume, submit = Batch._resume, Batch.submit

    def resume_the_second_late(self: Batch, goes_on: bool) -> None:
        if next(arrived) == 2 and backend == "threads":
            assert third.wait(30)
        resume(self, goes_on)

    def submit_and_tell(self: Batch) -> Any:
        starts = submit(self)
        if next(asked) == 3:
            third.set()
        return starts

    monkeypatch.setattr(Batch, "_resume", resume_the_second_late)
    monkeypatch.setattr(Batch, "submit", submit_and_tell)
    result = run(
        Workflow(steps=(Step(step_id="a", tool="go_on_with_the_first"),)),
        backend=backend,
        workers=1,
        tools={"go_on_with_the_first": go_on_with_the_first, "deeper": deeper},
    )
    assert result.outputs["a"] == "here"

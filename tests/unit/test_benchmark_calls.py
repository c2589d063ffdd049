"""Calls of models: counted, bounded, recorded, replayed, and kept from caches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from executor import Resource, Step, Workflow, run
from executor.engine.engine import Engine
from executor.engine.instruments import Instrument
from executor.model.workflow import ToolDeclaration
from executor.node_runtime import call_tool, call_tools_parallel
from executor.record.timeline import NANOSECONDS
from executor.tools.llm import LlmOptions
from executor.tools.tool import Tool, ToolContext
from harness.benchmark import (
    Budget,
    CallRecorder,
    Matrix,
    MatrixRequest,
    Outcome,
    RecordedRuns,
    Runner,
    Session,
    build_matrix,
    estimate,
)
from harness.benchmark.caching import UniqueLlmTool, with_nonce
from harness.benchmark.listeners import CallKeeper
from harness.benchmark.recorded_calls.recorded_call import RecordingError
from harness.config import Config

CHAT = """
scenario: chat
scale: 0.004
inputs: {topic: cats}
tools:
  writer: {kind: llm, system: Be short., max_tokens: 50}
  clerk: {kind: sleep}
steps:
  - {step_id: a, tool: writer, expected_seconds: 5, prompt: "On {{ inputs.topic }}"}
  - {step_id: b, tool: writer, expected_seconds: 3, prompt: "French: {{ steps.a.output }}", expected_tokens: 70}
  - {step_id: c, tool: clerk, args: {seconds: 1}, depends_on: [a]}
benchmark: {executors: [threads], workers: [2], repetitions: 2, warmup: 0}
"""


def matrix_of(folder: Path, text: str = CHAT, wishes: MatrixRequest | None = None) -> Matrix:
    path = folder / "chat.yaml"
    path.write_text(text, encoding="utf-8")
    return build_matrix([path], wishes or MatrixRequest(), Config())


def measure(matrix: Matrix, *, replay: RecordedRuns | None = None, recorder: CallRecorder | None = None,
            budget: Budget | None = None) -> Outcome:  # fmt: skip
    with Runner(matrix, replay=replay) as runner:
        listeners = [] if recorder is None else [CallKeeper(recorder)]
        outcome = Session(matrix, runner, listeners=listeners, budget=budget).run()
    assert outcome.failure is None
    return outcome


def recorded(folder: Path, matrix: Matrix) -> tuple[Path, Outcome]:
    path = folder / "calls.jsonl"
    recorder = CallRecorder(path)
    outcome = measure(matrix, recorder=recorder)
    recorder.close()
    return path, outcome


def test_calls_and_tokens_are_counted_and_estimated(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    with Runner(matrix) as runner:
        (expected,) = estimate(matrix, runner).cases
    assert (expected.runs, expected.calls_a_run, expected.calls) == (4, 2, 8)
    assert expected.tokens_a_run > 70 + 50
    assert expected.tokens_guessed == 1
    outcome = measure(matrix)
    assert outcome.calls == 8
    assert outcome.tokens > 0


def test_a_budget_of_calls_stops_between_runs(tmp_path: Path) -> None:
    outcome = measure(matrix_of(tmp_path), budget=Budget(max_calls=5))
    assert (outcome.stopped_by, outcome.calls) == ("calls", 4)
    assert sum(len(series.samples) for series in outcome.series) == 2


def test_a_budget_of_tokens_goes_by_what_the_first_run_used(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    once = measure(matrix, budget=Budget(max_calls=2)).tokens
    outcome = measure(matrix, budget=Budget(max_tokens=max(3 * once, 250)))
    assert outcome.stopped_by == "tokens" or outcome.tokens <= 3 * once
    assert outcome.tokens <= max(3 * once, 250)


def test_a_replay_answers_the_same_after_the_same_time_and_asks_nobody(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    path, first = recorded(tmp_path, matrix)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [len(line["calls"]) for line in lines[1:]] == [2] * 4
    again = measure(matrix_of(tmp_path, CHAT.replace("expected_seconds: 5", "expected_seconds: 500")),
                    replay=RecordedRuns(path))  # fmt: skip
    assert (again.calls, again.tokens) == (0, 0)
    for old, new in zip(first.series, again.series, strict=True):
        for one, other in zip(old.samples, new.samples, strict=True):
            assert other.outputs == one.outputs
    serial = {(line["repetition"], call["step_id"]): call["seconds"] for line in lines[1:]
              if line["executor"] == "serial" for call in line["calls"]}  # fmt: skip
    for sample in again.series[1].samples:
        for attempt in sample.timeline.attempts:
            if attempt.step_id in ("a", "b"):
                took = ((attempt.ended or 0) - (attempt.started or 0)) / NANOSECONDS
                assert took >= serial[sample.repetition, attempt.step_id] - 1e-6


def test_a_call_that_was_not_recorded_fails_and_says_so(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path, matrix_of(tmp_path))
    changed = matrix_of(tmp_path, CHAT.replace("French: ", "German: "))
    sample = measure(changed, replay=RecordedRuns(path)).series[0].samples[0]
    assert sample.errors == 1
    assert "the recording holds no attempt 1 of step 'b'" in str(sample.step_errors["b"])


def test_recorded_failures_fail_again_and_are_tried_again(tmp_path: Path) -> None:
    text = """
scenario: flaky
tools: {shaky: {kind: python, callable: "tests.unit.test_benchmark_calls:shaky"}}
steps: [{step_id: a, tool: shaky, retry: {max_attempts: 3, backoff_seconds: 0}}]
benchmark: {executors: [threads], workers: [1], repetitions: 1, warmup: 0}
"""
    FAILURES.clear()
    path, first = recorded(tmp_path, matrix_of(tmp_path, text))
    again = measure(matrix_of(tmp_path, text), replay=RecordedRuns(path))
    outcomes = [[one.outcome for one in series.samples[0].timeline.attempts] for series in again.series]
    assert outcomes == [[one.outcome for one in first.series[0].samples[0].timeline.attempts]] * 2
    assert outcomes[0] == ["failed", "succeeded"]


FAILURES: list[int] = []


def shaky() -> str:
    FAILURES.append(1)
    if len(FAILURES) == 1:
        raise ValueError("the first time")
    return "fine"


@pytest.mark.parametrize("text", ["", "{}\n", '{"schema": "makespan.calls/1"}\n{"calls": 3}\n', "not json\n"])
def test_a_file_that_holds_no_calls_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError, match=r"calls\.jsonl"):
        RecordedRuns(path)


def test_a_scenario_that_was_not_recorded_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path, matrix_of(tmp_path))
    with pytest.raises(RecordingError, match="no run of 'other'"):
        Runner(matrix_of(tmp_path, CHAT.replace("scenario: chat", "scenario: other")), replay=RecordedRuns(path))


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text("dear", encoding="utf-8")
    with pytest.raises(RecordingError, match="already"):
        CallRecorder(path)
    assert path.read_text(encoding="utf-8") == "dear"


def unique(**options: Any) -> UniqueLlmTool:
    tool = UniqueLlmTool("m", LlmOptions(base_url="http://127.0.0.1:9/v1", **options))
    tool.nonce = "n1"
    return tool


def test_the_nonce_stands_at_the_very_beginning_of_what_a_model_reads() -> None:
    assert unique().marked({})["system"].startswith("[n1]")
    assert unique(system="Be short.").marked({})["system"].endswith("\nBe short.")
    assert unique(system="Be short.").marked({"system": "Be long."})["system"].endswith("\nBe long.")
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    marked = unique().marked({"messages": messages})["messages"]
    assert marked[0]["content"].startswith("[n1]")
    assert marked[0]["content"].endswith("\nhi")
    assert marked[1:] == messages[1:]
    assert messages[0]["content"] == "hi"
    assert unique().marked({"messages": [{"role": "user", "content": [{}]}]})["messages"][0]["role"] == "system"


def test_real_endpoints_get_a_new_nonce_for_each_run_and_the_stand_in_gets_none() -> None:
    real = ToolDeclaration.model_validate({"kind": "llm", "base_url": "http://127.0.0.1:9/v1"})
    standin = ToolDeclaration.model_validate({"kind": "llm", "base_url": "http://127.0.0.1:9/v1", "stand_in": True})
    tools = {"real": real, "standin": standin, "other": ToolDeclaration(kind="noop")}
    first, second = with_nonce(tools), with_nonce(tools)
    assert (first["standin"], first["other"]) == (standin, tools["other"])
    nonces = [tool.nonce for tool in (first["real"], second["real"]) if isinstance(tool, UniqueLlmTool)]
    assert len(set(nonces)) == 2


class Ready(Tool):
    kind = "ready"
    calls_when_ready: ClassVar[list[str]] = []

    def prepare(self) -> None:
        self.calls_when_ready.append("ready")

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> str:
        return self.calls_when_ready[-1]


class Begins(Instrument):
    def run_started(self, engine: Engine) -> None:
        Ready.calls_when_ready.append("begun")


def calls_ready() -> Any:
    return call_tool("ready")


def test_a_tool_that_stands_for_a_declared_one_is_made_ready_before_the_run_begins() -> None:
    tool = Ready("ready")
    workflow = Workflow(steps=(Step(step_id="x", tool="code"),))
    tools = {"ready": tool, "code": calls_ready}
    assert run(workflow, tools=tools, instruments=[Begins()]).outputs["x"] == "ready"
    tool.declaration = ToolDeclaration(kind="ready")
    assert run(workflow, tools=tools, instruments=[Begins()]).outputs["x"] == "begun"


def asks_twice() -> list[str]:
    return [str(one) for one in call_tools_parallel([("real", "a"), ("real", "b")], return_exceptions=True)]


def test_a_model_that_gets_a_nonce_keeps_its_limits_and_retries_where_code_calls_it() -> None:
    words = {"kind": "llm", "base_url": "http://127.0.0.1:9/v1", "needs": {"llm": 1}, "retry": {"max_attempts": 1}}
    tools = with_nonce({"real": ToolDeclaration.model_validate(words)})
    assert isinstance(tools["real"], UniqueLlmTool)
    done = run(
        Workflow(steps=(Step(step_id="x", tool="code"),)),
        tools={**tools, "code": asks_twice},
        resources={"llm": Resource(capacity=1)},
    )
    assert list(done.timeline.needs) == [None, {"llm": 1}, {"llm": 1}]
    assert [attempt.step_id for attempt in done.timeline.attempts] == ["x", "x/1", "x/2"]

"""Recorded calls of code and of mapped steps, replayed: the same steps, outputs and limits, and no service is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from executor.child_steps.child_request import Done, Withdraw
from executor.node_runtime import StepOverError
from executor.record.timeline import NANOSECONDS
from harness.benchmark import Budget, RecordedRuns, Runner, estimate
from harness.benchmark.budget import Spending
from harness.benchmark.recorded_calls.call_replay import _Places
from harness.benchmark.recorded_calls.recorded_call import Ask, RecordingError
from tests.unit.replays import (
    ASKED,
    HERE,
    TRIES,
    attempts_of,
    entries,
    fates,
    measured,
    most_at_once,
    own_seconds,
    plan_of,
    recorded,
    scenario,
)
from tests.unit.test_benchmark_calls import matrix_of

# Recorded calls are played in real time.
pytestmark = pytest.mark.slow

# Workers that are processes take their time to start.
EXECUTORS = ("serial", "threads", "asyncio", pytest.param("processes", marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def nobody_asked_yet() -> None:
    ASKED.clear()
    TRIES.clear()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_items_of_a_mapped_step_are_replayed(tmp_path: Path, executor: str) -> None:
    text = scenario(
        'step_id: words, tool: in_turn, args: {words: [x]}',
        'step_id: each, tool: ask, for_each: "[steps.words.output, 1, 2]", args: {text: "{{ item }}-{{ index }}"}',
        'step_id: listed, tool: ask, for_each: [d, "{{ steps.words.output }}"], args: {text: "{{ item }}"}',
        'step_id: end, tool: ask, args: {text: "{{ steps.each.output[2] }}"}',
    )  # fmt: skip
    path, first = recorded(tmp_path, text, "serial")
    again = measured(tmp_path, text, executor, path=path)
    assert again.run.outputs["each"] == ["x!-0!", "1-1!", "2-2!"]
    assert fates(again) == fates(first)
    assert ASKED == []
    assert most_at_once(again, "ask") <= 2


CALLERS = (
    "tool: together, args: {words: [a, b, c, d, e]}",
    "tool: together, args: {words: [f, g, h, i], at_once: 1}",
    "tool: in_turn, args: {words: [k, l, m]}",
    "tool: of_others, args: {words: [n, o]}",
    'tool: of_others, for_each: [[p], [q, r]], args: {words: "{{ item }}"}',
    "tool: carries_on",
    "tool: gives_up_once, retry: {max_attempts: 3, backoff_seconds: 0}",
    "tool: uses_others",
)


@pytest.mark.parametrize(
    ("first_on", "executor", "workers"),
    [
        ("threads", "threads", 1),
        ("threads", "asyncio", 1),
        pytest.param("threads", "processes", 1, marks=pytest.mark.slow),
        ("threads", "threads", 3),
        ("serial", "asyncio", 3),
        ("asyncio", "processes", 3),
        pytest.param("processes", "threads", 2, marks=pytest.mark.slow),
    ],
)
def test_code_that_calls_is_played_with_its_calls(tmp_path: Path, first_on: str, executor: str, workers: int) -> None:
    text = scenario(*(f"step_id: x{place}, {step}" for place, step in enumerate(CALLERS)))
    path, first = recorded(tmp_path, text, first_on)
    again = measured(tmp_path, text, executor, workers=workers, path=path)
    assert fates(again) == fates(first)
    assert ASKED == []
    assert most_at_once(again, "ask") <= 2
    callers = [attempt for attempt in again.run.timeline.attempts if again.steps[attempt.index].tool == "together"]
    assert len(callers) == 7
    assert all(attempt.blocked for attempt in callers)


def test_a_played_caller_runs_for_its_own_time_and_holds_no_slot_while_it_waits(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: in_turn, args: {words: [a, b]}")
    path, _ = recorded(tmp_path, text)
    plan = plan_of(path, "x")
    assert len(plan["own_seconds"]) == 3
    assert [[ask["calls"] for ask in wait] for wait in plan["waits"]] == [[["x/1"]], [["x/2"]]]
    again = measured(tmp_path, text, "serial", path=path)
    (caller,) = attempts_of(again, "x")
    assert len(caller.blocked) == 2
    assert own_seconds(caller) >= sum(plan["own_seconds"]) - 1e-6
    blocked = sum(end - start for start, end in caller.blocked) / NANOSECONDS
    assert blocked >= sum(one["seconds"] for one in entries(path) if one["step_id"] != "x") - 1e-6


def test_calls_that_were_asked_in_turn_are_asked_in_turn_again(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: together, args: {words: [a, b, c], at_once: 1}")
    path, _ = recorded(tmp_path, text)
    assert plan_of(path, "x")["waits"] == [[{"after_seconds": 0.0, "calls": ["x/1", "x/2", "x/3"], "at_once": 1}]]
    assert most_at_once(measured(tmp_path, text, "threads", workers=4, path=path), "ask") == 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_caller_that_waits_in_several_places_asks_each_in_its_time(tmp_path: Path, executor: str) -> None:
    text = scenario("step_id: x, tool: in_two_places")
    path, first = recorded(tmp_path, text, "asyncio")
    ((one, two),) = plan_of(path, "x")["waits"]
    assert (one["calls"], two["calls"]) == (["x/1"], ["x/2"])
    assert two["after_seconds"] > 0.02
    again = measured(tmp_path, text, executor, path=path)
    assert fates(again) == fates(first)
    (caller,), (later,) = attempts_of(again, "x"), attempts_of(again, "x/2")
    assert caller.started is not None
    assert (later.ready - caller.started) / NANOSECONDS >= two["after_seconds"] - 0.001


@pytest.mark.parametrize("executor", EXECUTORS)
def test_calls_that_were_given_up_are_given_up_again(tmp_path: Path, executor: str) -> None:
    text = scenario("step_id: x, tool: does_not_wait")
    path, first = recorded(tmp_path, text, "asyncio")
    assert [one[0] for one in fates(first).values()].count("cancelled") == 3
    assert first.run.statuses["x"] == "succeeded"
    again = measured(tmp_path, text, executor, path=path)
    assert {name: fate[:2] for name, fate in fates(again).items()} == {
        name: fate[:2] for name, fate in fates(first).items()
    }


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_caller_that_ran_out_of_time_does_again(tmp_path: Path, executor: str) -> None:
    text = scenario("step_id: x, tool: waits_for_ever, timeout: 0.3", more="").replace("capacity: 2", "capacity: 1")
    path, first = recorded(tmp_path, text, "asyncio")
    assert fates(first) == {"x": ("failed", None, 1), "x/1": ("cancelled", None, 1), "x/2": ("cancelled", None, 0)}
    again = measured(tmp_path, text, executor, path=path)
    assert fates(again) == fates(first)
    assert attempts_of(again, "x")[0].outcome == "timed_out"
    # Where its time is no longer limited it ends all the same, as it did.
    unlimited = measured(tmp_path, text.replace(", timeout: 0.3", ""), executor, path=path)
    assert fates(unlimited) == fates(first)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_code_that_computes_really_runs_and_its_calls_are_answered(tmp_path: Path, executor: str) -> None:
    text = scenario("step_id: x, tool: computes, args: {words: [a, b]}")
    path, first = recorded(tmp_path, text)
    assert [one["step_id"] for one in entries(path)] == ["x/1", "x/2"]
    again = measured(tmp_path, text, executor, path=path)
    assert again.run.outputs["x"] == ["a", "a!", "b", "b!"]
    assert fates(again) == fates(first)
    assert ASKED == []


def test_calls_of_code_that_really_runs_are_found_by_what_they_ask(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: computes, args: {words: [a, b]}")
    path, _ = recorded(tmp_path, text)
    other = measured(tmp_path, text.replace("[a, b]", "[a, z]"), "threads", path=path)
    assert "the recording holds no attempt 1 of step 'x/2'" in str(other.run.errors["x/2"])
    # In another order, as code that calls from several threads may come to.
    assert measured(tmp_path, text.replace("[a, b]", "[b, a]"), "threads", path=path).run.outputs["x/1"] == "b!"


def test_tools_that_cost_nothing_really_run_inside_a_played_caller(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: uses_others")
    path, first = recorded(tmp_path, text)
    given = {one["step_id"]: one.get("args") for one in entries(path)}
    assert given == {"x": None, "x/1": {"seconds": 0.02}, "x/2": {"value": "four"}, "x/3": None}
    again = measured(tmp_path, text, "threads", path=path)
    # A set is nothing that JSON could give back: that call is played.
    assert [step.tool for step in again.steps] == ["uses_others", "sleep", "number", "number (as recorded)"]
    assert fates(again) == fates(first)


def test_a_call_that_fails_where_it_did_not_leaves_the_end_of_its_caller_as_it_was(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: uses_others")
    path, first = recorded(tmp_path, text)
    again = measured(tmp_path, text.replace(f"{HERE}:number", "math:sqrt"), "threads", path=path)
    assert again.run.statuses["x/2"] == "failed"
    assert again.run.outputs["x"] == first.run.outputs["x"]


def test_errors_are_what_they_were(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: ask, args: {text: no, fails: 9}")
    path, first = recorded(tmp_path, text)
    again = measured(tmp_path, text, "threads", path=path)
    error = again.run.errors["x"]
    assert (error.error_type, error.message) == ("LookupError", "no: try 2 fails")
    assert str(error) == str(first.run.errors["x"])


def test_a_prompt_that_names_the_output_of_a_step_left_out_is_found_again(tmp_path: Path) -> None:
    text = scenario(
        'step_id: maybe, tool: ask, when: "false", args: {text: never}',
        'step_id: x, tool: ask, args: {text: "{{ steps.maybe.output }}"}',
    )  # fmt: skip
    path, first = recorded(tmp_path, text)
    assert fates(measured(tmp_path, text, "threads", path=path)) == fates(first)
    assert first.run.statuses["x"] == "succeeded"


def test_an_output_that_json_cannot_hold_does_not_harm_the_recording(tmp_path: Path) -> None:
    more = f'  strange: {{kind: python, callable: "{HERE}:strange"}}\n'
    text = scenario("step_id: a, tool: strange", 'step_id: b, tool: strange, args: {it: "{{ steps.a.output }}"}')
    text = text.replace("benchmark:", f"{more}benchmark:")
    path, _ = recorded(tmp_path, text)
    assert "('no', 'text')" in entries(path)[0]["output"]


def test_calls_of_code_and_items_count_and_a_replay_asks_nobody(tmp_path: Path) -> None:
    text = """
scenario: paid
scale: 0.001
tools:
  writer: {kind: llm, system: Be short., max_tokens: 20}
  caller: {kind: node, source: "from node_runtime import call_llm\\ndef main(): return call_llm('hi', tool='writer')"}
steps:
  - {step_id: each, tool: writer, for_each: [a, b, c], prompt: "On {{ item }}"}
  - {step_id: x, tool: caller}
benchmark: {executors: [threads], workers: [2], repetitions: 1, warmup: 0}
"""
    path, first = recorded(tmp_path, text)
    assert first.calls == 4
    assert first.tokens > 0
    matrix = matrix_of(tmp_path, text)
    with Runner(matrix) as runner:
        spending = Spending(Budget(max_calls=7), estimate(matrix, runner))
        # A node's calls are known once it has run.
        assert estimate(matrix, runner).cases[0].calls_a_run == 3
        spending.add(runner.run(matrix.cells[-1], 1))
        assert spending.refuses(matrix.cells[-1]) == "calls"
    with Runner(matrix, replay=RecordedRuns(path)) as runner:
        assert not runner.stand_in
        assert (estimate(matrix, runner).calls, estimate(matrix, runner).tokens) == (0, 0)
        again = runner.run(matrix.cells[-1], 1)
    assert (again.calls, again.tokens) == (0, 0)
    assert fates(again) == fates(first)


def test_calls_withdrawn_before_they_were_made_are_no_end_of_their_caller() -> None:
    def begin(one: Ask, done: Done) -> Withdraw:
        return lambda: done(None)

    asks = (Ask(0, ("x/1",), withdrawn_after_seconds=0), Ask(0, ("x/2",), withdrawn_after_seconds=0.001))
    _Places(asks).play(begin, time.sleep)


def test_a_caller_that_is_told_that_it_is_over_ends() -> None:
    def begin(one: Ask, done: Done) -> Withdraw:
        done(None)
        return lambda: None

    with pytest.raises(StepOverError):
        _Places((Ask(0, ("x/1",)), Ask(0.001, ("x/2",)))).play(begin, time.sleep)


# ---------------------------------------------------------------------- files


def older(path: Path, *, of: str) -> Path:
    """The same file as an older version would have written it."""
    head, line = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    kept = ("step_id", "attempt", "key", "seconds", "outcome")
    words = [
        {**{name: one[name] for name in kept}, "output": one.get("output"), "error": None, "tokens_used": None,
         "last": True}
        for one in line["calls"] if "parent" not in one
    ]  # fmt: skip
    found = path.with_name(of)
    lines = [{**head, "schema": "makespan.calls/1"}, {**line, "calls": words}]
    found.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return found


def test_an_older_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: together, args: {words: [a, b]}", "step_id: y, tool: ask, args: {text: c}")
    path, first = recorded(tmp_path, text)
    again = measured(tmp_path, text, "threads", path=older(path, of="older.jsonl"))
    assert fates(again) == {name: fate for name, fate in fates(first).items() if "/" not in name}


def test_an_older_file_is_refused_where_it_lacks_items(tmp_path: Path) -> None:
    text = scenario("step_id: each, tool: ask, for_each: [a], args: {text: '{{ item }}'}")
    path, _ = recorded(tmp_path, text)
    with pytest.raises(RecordingError, match="left out the items of step 'each': record it again"):
        measured(tmp_path, text, "threads", path=older(path, of="older.jsonl"))


def test_a_tool_that_recorded_code_called_and_that_is_gone_is_refused_before_anything_runs(tmp_path: Path) -> None:
    text = scenario("step_id: x, tool: uses_others")
    path, _ = recorded(tmp_path, text)
    with pytest.raises(RecordingError, match="code of step 'x' called the tool 'number', which is not there any more"):
        measured(tmp_path, text.replace("  number: {", "  counter: {"), "threads", path=path)


def changed(path: Path, change: Mapping[str, Any]) -> Path:
    """The same file with other words in the plan of x."""
    head, line = path.read_text(encoding="utf-8").splitlines()
    words = json.loads(line)
    for one in words["calls"]:
        if "plan" in one:
            one["plan"] |= change
    path.write_text(f"{head}\n{json.dumps(words)}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"own_seconds": [1.0]}, "1 waits has 1 own_seconds, not 2"),
        ({"waits": [[{"after_seconds": 0, "calls": ["x/7"]}]]}, "called 'x/7', which is not there"),
        ({"waits": 3}, "line 2 is no recorded run"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(tmp_path: Path, change: Mapping[str, Any], words: str) -> None:
    path, _ = recorded(tmp_path, scenario("step_id: x, tool: together, args: {words: [a]}"))
    with pytest.raises(RecordingError, match=words):
        RecordedRuns(changed(path, change))


def test_a_cancelled_call_that_nobody_ends_is_refused(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path, scenario("step_id: x, tool: does_not_wait"), "asyncio")
    waits = plan_of(path, "x")["waits"]
    del waits[0][0]["withdrawn_after_seconds"]
    with pytest.raises(RecordingError, match="'x/1' was cancelled, and nothing says when"):
        RecordedRuns(changed(path, {"waits": waits}))

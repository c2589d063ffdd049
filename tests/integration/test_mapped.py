"""Mapped steps on every backend that runs tools, and from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from executor.engine.instruments import Instrument
from executor.model.workflow import Retry, Step, Workflow
from executor.record.timeline import Attempt, StepStatus
from executor.running import Run, run
from harness.analysis import RunAnalysis
from harness.files.packaged import shipped_scenarios

BACKENDS = ("serial", "threads", "asyncio", "processes")


def words(text: str) -> list[str]:
    return text.split()


def shout(value: Any, place: int) -> str:
    return f"{value!s}!{place}".upper()


def fail_on(value: str, bad: str) -> str:
    if value == bad:
        raise ValueError("this one is bad")
    return value


def joined(values: list[str]) -> str:
    return "-".join(values)


TOOLS = {"words": words, "shout": shout, "fail_on": fail_on, "joined": joined}


def executed(*steps: Step, backend: str = "threads", **options: Any) -> Run:
    return run(Workflow(steps=steps), backend=backend, tools=TOOLS, **options)


def words_of(text: str) -> Step:
    return Step(step_id="list", tool="words", args={"text": text})


def shout_each(for_each: Any, **fields: Any) -> Step:
    return Step(
        step_id="each", tool="shout", for_each=for_each, args={"value": "{{ item }}", "place": "{{ index }}"}, **fields
    )


@pytest.mark.parametrize(
    ("backend", "workers"),
    [(name, workers) for name in BACKENDS for workers in (1, 3) if (name, workers) != ("serial", 3)],
)
def test_the_outputs_stand_in_the_order_of_the_items(backend: str, workers: int) -> None:
    result = executed(
        words_of("to be or not"),
        shout_each("{{ steps.list.output }}", max_parallel=2),
        Step(step_id="end", tool="joined", args={"values": "{{ steps.each.output }}"}),
        backend=backend,
        workers=workers,
    )
    assert result.ok, result.errors
    assert result.outputs["each"] == ["TO!0", "BE!1", "OR!2", "NOT!3"]
    assert result.outputs["each/3"] == "OR!2"
    assert result.outputs["end"] == "TO!0-BE!1-OR!2-NOT!3"
    timeline = result.timeline
    assert sum(RunAnalysis(timeline).lost_nanoseconds.values()) == timeline.makespan_nanoseconds


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_list_gives_an_empty_list(backend: str) -> None:
    result = executed(
        words_of(""), shout_each("steps.list.output"),
        Step(step_id="end", tool="joined", args={"values": "{{ steps.each.output }}"}), backend=backend,
    )  # fmt: skip
    assert (result.outputs["each"], result.outputs["end"]) == ([], "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_items_keep_their_types_and_inputs_are_seen(backend: str) -> None:
    step = Step(
        step_id="each",
        tool="noop",
        for_each=[{"n": 1}, "{{ inputs.second }}", None],
        prompt="{{ index }}: {{ item }} of {{ inputs.total }}",
    )
    result = run(Workflow(steps=(step,), inputs={"second": [2, 3], "total": 3}), backend=backend)
    assert result.outputs["each"] == ["0: {'n': 1} of 3", "1: [2, 3] of 3", "2: None of 3"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_output_that_looks_like_a_template_stays_text(backend: str) -> None:
    steps = (
        Step(step_id="list", tool="words", args={"text": "{{ inputs.text }}"}),
        Step(step_id="each", tool="noop", for_each="steps.list.output", prompt="{{ item }}"),
    )
    result = run(Workflow(steps=steps, inputs={"text": "{{inputs}} {%raw%}"}), backend=backend, tools=TOOLS)
    assert result.outputs["each"] == ["{{inputs}}", "{%raw%}"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_error_names_the_items_and_the_others_are_kept(backend: str) -> None:
    result = executed(
        words_of("a b c"),
        Step(step_id="each", tool="fail_on", for_each="steps.list.output", args={"value": "{{ item }}", "bad": "b"}),
        Step(step_id="end", tool="joined", args={"values": "{{ steps.each.output }}"}),
        backend=backend,
    )
    assert result.statuses == {
        "list": "succeeded", "each": "failed", "end": "skipped",
        "each/1": "succeeded", "each/2": "failed", "each/3": "succeeded",
    }  # fmt: skip
    assert result.errors["each"].message == "1 of 3 items failed: index 1 ('each/2'): ValueError: this one is bad"
    assert (result.outputs["each/1"], result.outputs["each/3"]) == ("a", "c")
    assert "each" not in result.outputs


def test_many_failures_are_counted_and_the_first_ones_told() -> None:
    step = Step(step_id="each", tool="fail_on", for_each=["b"] * 5, args={"value": "{{ item }}", "bad": "b"})
    message = executed(step).errors["each"].message
    assert message.startswith("5 of 5 items failed: index 0 ('each/1')")
    assert message.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("expression", "words_in_message"),
    [
        ("'a b'", "it gives text, where a list belongs; make one of it, such as steps.a.output.splitlines()"),
        ("{'a': [1]}", "it gives a mapping, where a list belongs; name the field that holds one"),
        ("3", "it gives a number, where a list belongs"),
        ("none", "it gives null, where a list belongs"),
        ("inputs.absent", "the mapping has no 'absent'"),
    ],
)
def test_what_is_no_list_fails_the_step_and_says_which_kind_it_is(expression: str, words_in_message: str) -> None:
    result = executed(shout_each(expression), Step(step_id="other", tool="noop"))
    assert result.statuses == {"each": "failed", "other": "succeeded"}
    message = str(result.errors["each"])
    assert message.startswith("step 'each': ")
    assert "its `for_each` gives no list: " in message
    assert words_in_message in message


def test_no_item_stands_in_an_error() -> None:
    result = run(Workflow(steps=(shout_each("inputs.key"),), inputs={"key": "s3cret"}), tools=TOOLS)
    assert "s3cret" not in str(result.errors["each"])


def test_too_many_items_are_refused() -> None:
    result = run(Workflow(steps=(shout_each("inputs.many"),), inputs={"many": [0] * 100_001}), tools=TOOLS)
    message = result.errors["each"].message
    assert "more than 100,000" in message


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_never_more_items_run_at_once_than_max_parallel(backend: str) -> None:
    running: Counter[str] = Counter()
    most = 0
    lock = threading.Lock()

    def watched() -> None:
        nonlocal most
        with lock:
            running["now"] += 1
            most = max(most, running["now"])
        time.sleep(0.005)
        with lock:
            running["now"] -= 1

    step = Step(step_id="each", tool="watched", for_each=list(range(12)), max_parallel=3)
    result = run(Workflow(steps=(step,)), backend=backend, workers=8, tools={"watched": watched})
    assert result.ok
    assert most <= 3
    assert result.timeline.resources["each.max_parallel"].capacity == 3


def test_a_timeout_is_that_of_one_item() -> None:
    def slow(value: float) -> float:
        time.sleep(value)
        return value

    step = Step(step_id="each", tool="slow", for_each=[0.0, 2.0, 0.0], args={"value": "{{ item }}"}, timeout=0.3)
    result = run(Workflow(steps=(step,)), tools={"slow": slow})
    assert [result.statuses[f"each/{n}"] for n in (1, 2, 3)] == ["succeeded", "failed", "succeeded"]
    assert "index 1 ('each/2'): Timeout" in result.errors["each"].message


def test_an_item_that_fails_once_is_tried_again_alone() -> None:
    tries: Counter[int] = Counter()

    def flaky(value: int) -> int:
        tries[value] += 1
        if value == 1 and tries[value] == 1:
            raise ConnectionError("not yet")
        return value

    retry = Retry(max_attempts=2, backoff_seconds=0)
    step = Step(step_id="each", tool="flaky", for_each=[0, 1, 2], args={"value": "{{ item }}"}, retry=retry)
    result = run(Workflow(steps=(step,)), tools={"flaky": flaky})
    assert result.outputs["each"] == [0, 1, 2]
    assert tries == {0: 1, 1: 2, 2: 1}
    assert result.errors == {}


def test_instruments_hear_of_the_step_and_of_its_items() -> None:
    class Watch(Instrument):
        def __init__(self) -> None:
            self.heard: list[tuple[str, str]] = []

        def attempt_started(self, attempt: Attempt) -> None:
            self.heard.append(("started", attempt.step_id))

        def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
            self.heard.append((status, attempt.step_id))

    watch = Watch()
    executed(shout_each(["x", "y"]), backend="serial", instruments=[watch])
    assert watch.heard == [
        ("started", "each"), ("started", "each/1"), ("succeeded", "each/1"),
        ("started", "each/2"), ("succeeded", "each/2"), ("succeeded", "each"),
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["levels", "barrier", "serial"])
def test_every_policy_runs_it(policy: Any) -> None:
    result = executed(
        words_of("a b c"),
        shout_each("steps.list.output"),
        Step(step_id="z", tool="noop", depends_on=("each",)),
        policy=policy,
    )
    assert result.outputs["each"] == ["A!0", "B!1", "C!2"]


def test_a_mapped_step_over_the_outputs_of_a_mapped_step() -> None:
    result = executed(
        words_of("a b"), shout_each("steps.list.output"),
        Step(step_id="again", tool="noop", for_each="{{ steps.each.output }}", prompt="<{{ item }}>"),
    )  # fmt: skip
    assert result.outputs["again"] == ["<A!0>", "<B!1>"]


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], check=False, cwd=folder, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_shipped_scenario_maps_over_what_it_finds_in_the_run(tmp_path: Path) -> None:
    path = str(shipped_scenarios()["sentences"])
    done = cli(tmp_path, "run", path, "--set", "scale=0.005", "--json", "result.json")
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["results"]
    steps = {step["step_id"]: step for step in result["steps"]}
    items = [step for name, step in steps.items() if name.startswith("proofread/")]
    assert len(items) >= 2
    assert {step["nested_in"] for step in items} == {"proofread"}
    assert steps["proofread"]["output"] == [step["output"] for step in items]
    assert steps["together"]["output"] == "\n".join(steps["proofread"]["output"])
    assert result["resources"]["proofread.max_parallel"]["capacity"] == 3


def test_the_plan_says_how_many_items_it_assumes(tmp_path: Path) -> None:
    done = cli(tmp_path, "plan", str(shipped_scenarios()["sentences"]))
    assert done.returncode == 0, done.stderr
    assert "proofread: 17 items assumed (expected_items)" in done.stdout

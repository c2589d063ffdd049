"""A run while it goes on: the words of the seed, failures, and the status of what runs and waits."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from executor.engine.instruments import Instruments
from executor.model.workflow import Resource, Step, Workflow
from executor.running import run
from harness.report.terminal.console import Terminal
from harness.report.terminal.run_progress import STEPS_IN_DETAIL, progress_for, reason_text


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(
    steps: Sequence[Step],
    *,
    stream: io.StringIO | None = None,
    backend: str = "virtual",
    tools: dict[str, Callable[..., Any]] | None = None,
    **options: Any,
) -> str:
    stream = io.StringIO() if stream is None else stream
    with progress_for(Terminal(stream, environment={"TERM": "xterm"}), len(steps)) as progress:
        run(Workflow(steps=tuple(steps)), backend=backend, tools=tools or {}, instruments=[progress], **options)
    return stream.getvalue()


def step(step_id: str, *depends_on: str, **words: Any) -> Step:
    given = {"step_id": step_id, "tool": "noop", "expected_seconds": 1.0, "depends_on": list(depends_on), **words}
    return Step.model_validate(given)


JOKE = (
    step("joke", description="Write a joke"),
    step("french", "joke", description="Translate to French"),
    step("spanish", "joke", description="Translate to Spanish"),
)


def test_steps_that_start_together_are_shown_in_the_words_of_the_seed() -> None:
    text = shown(JOKE)
    assert "Executing 2 steps in parallel:\n  - Translate to French\n  - Translate to Spanish\n" in text


def test_a_step_that_joins_a_running_one_is_a_line_beside_how_many_run() -> None:
    steps = [step("long", expected_seconds=5.0), step("first"), step("second", "first")]
    text = shown(steps)
    assert "Executing 2 steps in parallel:\n  - long\n  - first\n" in text
    assert "  + second · 2 running\n" in text
    assert text.count("long") == 2  # its start and its end


def test_steps_of_one_description_that_join_are_counted() -> None:
    late = [step(f"t{number}", "first", description="Translate") for number in range(9)]
    text = shown([step("long", expected_seconds=5.0), step("first"), *late], workers=12)
    assert "  + Translate (9) · 10 running\n" in text


def test_steps_one_after_the_other_are_not_called_parallel() -> None:
    text = shown([step("a"), step("b", "a")])
    assert "in parallel" not in text
    assert text.splitlines() == [
        "Executing 1 step:", "  - a", "  succeeded: a (1 s)", "Executing 1 step:", "  - b", "  succeeded: b (1 s)",
    ]  # fmt: skip


def test_a_failed_attempt_says_why_and_that_another_follows() -> None:
    calls: list[int] = []

    def sometimes() -> str:
        calls.append(1)
        if len(calls) < 2:
            raise ValueError("[bold]not\x1b[31m yet")
        return "done"

    steps = [step("try", tool="sometimes", retry={"max_attempts": 2, "backoff_seconds": 0.0})]
    text = shown(steps, backend="threads", tools={"sometimes": sometimes})
    assert "failed, another attempt follows: try" in text
    assert "succeeded: try (attempt 2)" in text
    assert "\x1b" not in text
    assert "[bold]not" in text


def test_a_large_run_is_not_shown_step_by_step() -> None:
    stream = io.StringIO()

    def hold() -> None:
        for _ in range(200):
            if "in parallel" in stream.getvalue():
                break
            time.sleep(0.05)

    steps = [step(f"s{number}", tool="hold") for number in range(STEPS_IN_DETAIL + 1)]
    text = shown(steps, stream=stream, backend="threads", tools={"hold": hold}, workers=4)
    assert text.count("Executing 4 steps in parallel:\n  - s0\n  - s1\n  - s2\n  - s3\n") == 1
    assert text.count("Executing") == 1
    assert "succeeded" not in text


def test_a_large_run_costs_no_hook() -> None:
    progress = progress_for(Terminal(io.StringIO()), STEPS_IN_DETAIL + 1)
    instruments = Instruments([progress])
    assert not instruments.watches("attempt_started")
    assert not instruments.watches("attempt_finished")


def test_failures_of_a_large_run_are_shown() -> None:
    def broken() -> None:
        raise ValueError("broken on purpose")

    steps = [step(f"s{number}") for number in range(STEPS_IN_DETAIL)] + [step("bad", tool="broken")]
    assert "failed: bad: ValueError: broken on purpose" in shown(steps, backend="threads", tools={"broken": broken})


def test_the_status_on_a_terminal_names_what_runs_and_what_waits_for_which_reason() -> None:
    stream = FakeTerminal()
    released = threading.Event()

    def hold() -> None:
        # Until the status was drawn with all of it, however long that takes here.
        for _ in range(200):
            if "runs for" in stream.getvalue():
                break
            released.wait(0.05)

    steps = [
        step("holding", tool="hold", needs={"llm": 1}),
        step("limited", needs={"llm": 1}),
        step("dependent", "holding"),
    ]
    llm = {"llm": Resource(capacity=1)}
    text = shown(steps, stream=stream, backend="threads", tools={"hold": hold}, resources=llm)
    assert "1 running" in text
    assert "runs for 0." in text
    assert "waits for units of llm: limited" in text
    assert "waits for step 'holding': dependent" in text


def test_every_reason_of_the_record_has_plain_words() -> None:
    reasons = ["worker", "barrier", "backoff", "resuming", "lock.notes", "resource.llm", "rate.llm"]
    texts = [reason_text(reason) for reason in reasons]
    assert len(set(texts)) == len(reasons)
    assert all("." not in text and "_" not in text for text in texts)


def test_a_reason_that_many_steps_fail_for_is_said_once() -> None:
    def broken() -> None:
        raise ValueError("broken on purpose")

    text = shown([step(f"s{number}", tool="broken") for number in range(5)], backend="serial", tools={"broken": broken})
    assert text.count("broken on purpose") == 1
    assert text.count(", as s0") == 4

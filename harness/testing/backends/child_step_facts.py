"""Facts about steps that call tools while they run: the calls are steps, a step that waits for them holds no worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executor import Resource, Run, Step
from executor.node_runtime import (
    CallError,
    call_tool,
    call_tool_async,
    call_tool_resilient,
    call_tools_parallel,
    call_tools_parallel_async,
)
from harness.testing.backends.backend_case import BackendFacts, needs, step, unless
from harness.testing.backends.suite_steps import STEPS, note, notes
from harness.testing.oracle.called_graphs import graph_with_calls
from harness.testing.oracle.judge import assert_ok, check_timeline

LEVELS = 10
LONG_SECONDS = 20.0


def call_echoes(values: list[Any], at_once: int | None = None) -> list[Any]:
    """Call `echo` for each value, in parallel."""
    return call_tools_parallel([("echo", None, {"value": value}) for value in values], max_workers=at_once)


async def call_echoes_async(values: list[Any]) -> list[Any]:
    """The same from a coroutine: two batches at once."""
    calls = [("echo", None, {"value": value}) for value in values]
    first, second = await asyncio.gather(call_tools_parallel_async(calls[:2]), call_tools_parallel_async(calls[2:]))
    return [*first, *second]


def descend(levels: int) -> int:
    """Call itself, so many levels deep."""
    return 0 if levels == 0 else 1 + int(call_tool("descend", levels=levels - 1))


async def descend_async(levels: int) -> int:
    """The same as a coroutine."""
    return 0 if levels == 0 else 1 + int(await call_tool_async("descend_async", levels=levels - 1))


def call_a_coroutine(levels: int) -> int:
    """A plain function that calls a coroutine function, which calls further."""
    return int(call_tool("descend_async", levels=levels))


def call_naps(count: int, seconds: float) -> list[Any]:
    """Several naps in parallel."""
    return call_tools_parallel([("nap", None, {"seconds": seconds})] * count)


def call_one_that_fails() -> dict[str, Any]:
    """What the error of a failed call holds, and what is kept of the others."""
    try:
        call_tools_parallel([("echo", None, {"value": 1}), ("fail", None, {"message": "no"}), ("echo", "a prompt")])
    except CallError as error:
        kept = [str(one.reason) if isinstance(one, CallError) else one for one in error.results]
        return {"tool": error.tool, "step_id": error.step_id, "reason": error.reason, "results": kept}
    return {}


def call_many_things(folder: str) -> list[Any]:
    """Odd ones: no call at all, an unknown tool, a spare for one that fails."""
    none = call_tools_parallel([])
    (unknown,) = call_tools_parallel([("ecko", None, {})], return_exceptions=True)
    return [none, str(unknown), call_tool_resilient(["refuse_note", "note_of"], folder=folder, text="here")]


def note_of(folder: str, text: str) -> str:
    """A note."""
    return note(folder, text)


def refuse_note(folder: str, text: str) -> str:
    """Fail where a note is asked for."""
    raise ValueError(f"no {text} in {folder}")


def call_and_die(folder: str) -> None:
    """Make calls, then fail while they are under way: in a thread of its own it cannot wait for them."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # for this one alone
    from contextvars import copy_context  # noqa: PLC0415  # as above

    pool = ThreadPoolExecutor(1)
    calls = [("beat", None, {"folder": folder, "seconds": LONG_SECONDS})]
    pool.submit(copy_context().run, call_tools_parallel, calls)
    while not notes(folder):
        time.sleep(0.01)
    pool.shutdown(wait=False)
    raise ValueError("enough")


def call_template(text: str) -> Any:
    """A prompt that looks like a template."""
    return call_tool("echo", text)


def call_flaky(fail_times: int) -> Any:
    """A tool that fails at first."""
    return call_tool("flaky", fail_times=fail_times)


CALLING = {
    function.__name__: function
    for function in (
        call_echoes, call_echoes_async, descend, descend_async, call_a_coroutine, call_naps, call_one_that_fails,
        call_many_things, note_of, refuse_note, call_and_die, call_template, call_flaky,
    )
}  # fmt: skip
"""The tools of these facts, by name."""


class CallFacts(BackendFacts):
    """Steps that call."""

    def run_calls(self, *steps: Step, tools: Mapping[str, Any] | None = None, **options: Any) -> Run:
        """Run steps with the tools of these facts beside the others, and judge the record."""
        run = self.run(*steps, tools={**STEPS, **CALLING, **(tools or {})}, **options)
        assert_ok(check_timeline(graph_with_calls(run), run.timeline, handed_out_ahead=self.hands_out_ahead))
        return run

    def can_it_calls(self, folder: Path) -> bool:
        """Whether a call reaches the engine."""
        return self.run(step("a", "call_echoes", values=[1]), tools={**STEPS, **CALLING}).outputs.get("a/1") == 1

    @needs("tools", "calls")
    def test_calls_are_steps_below_the_one_that_makes_them(self) -> None:
        run = self.run_calls(step("a", "call_echoes", values=[1, "two", None]))
        assert run.outputs == {"a": [1, "two", None], "a/1": 1, "a/2": "two", "a/3": None}
        attempts = {attempt.step_id: attempt for attempt in run.timeline.attempts}
        assert [attempts[name].parent for name in ("a", "a/1", "a/2", "a/3")] == [None, "a", "a", "a"]
        assert len(attempts["a"].blocked) == 1

    @needs("tools", "calls")
    def test_calls_of_a_coroutine_that_waits_in_two_places(self) -> None:
        run = self.run_calls(step("a", "call_echoes_async", values=[1, 2, 3, 4]))
        assert run.outputs["a"] == [1, 2, 3, 4]

    @needs("tools", "calls")
    def test_one_worker_is_enough_for_ten_levels_of_calls(self) -> None:
        run = self.run_calls(step("a", "descend", levels=LEVELS), workers=1)
        assert run.outputs["a"] == LEVELS
        run = self.run_calls(step("a", "descend_async", levels=LEVELS), workers=1)
        assert run.outputs["a"] == LEVELS

    @needs("tools", "calls")
    def test_a_called_coroutine_knows_that_it_is_not_the_one_before_it_on_its_worker(self) -> None:
        run = self.run_calls(
            step("first", "double_async", value=1),
            step("a", "call_a_coroutine", levels=2, depends_on=("first",)),
            workers=1,
        )
        assert run.outputs == {"first": 2, "a": 2, "a/1": 2, "a/1/1": 1, "a/1/1/1": 0}

    @needs("tools", "calls", "parallel")
    def test_calls_run_side_by_side_as_far_as_their_limits_allow(self) -> None:
        naps = step("a", "call_naps", count=3, seconds=0.15)
        run = self.run_calls(naps, workers=3)
        assert most_at_once(run, "a") >= 2
        nap = {"kind": "python", "callable": "harness.testing.backends.suite_steps:nap", "needs": {"bed": 1}}
        run = self.run_calls(naps, workers=3, tools={"nap": nap}, resources={"bed": Resource(capacity=1)})
        assert run.statuses["a"] == "succeeded"
        assert most_at_once(run, "a") == 1

    @needs("tools", "calls")
    def test_at_most_so_many_calls_are_under_way_as_asked_for(self) -> None:
        run = self.run_calls(step("a", "call_echoes", values=list(range(6)), at_once=2))
        assert run.outputs["a"] == list(range(6))
        assert most_at_once(run, "a", since="ready") <= 2

    @needs("tools", "calls")
    def test_a_call_that_fails_is_named_and_the_others_are_kept(self) -> None:
        run = self.run_calls(step("a", "call_one_that_fails"))
        assert run.statuses == {"a": "succeeded", "a/1": "succeeded", "a/2": "failed", "a/3": "succeeded"}
        expected = {"tool": "fail", "step_id": "a/2", "reason": "no", "results": [1, "no", "a prompt"]}
        assert run.outputs["a"] == expected

    @needs("tools", "calls")
    def test_no_calls_unknown_calls_and_calls_with_a_spare(self, tmp_path: Path) -> None:
        run = self.run_calls(step("a", "call_many_things", folder=str(tmp_path)))
        none, unknown, spare = run.outputs["a"]
        assert (none, spare) == ([], "here")
        assert "there is no tool 'ecko'" in unknown
        assert "did you mean 'echo'" in unknown

    @needs("tools", "calls")
    def test_what_is_called_with_is_never_taken_for_a_template(self) -> None:
        run = self.run_calls(step("a", "call_template", text="{{ '{{ inputs }}' }}"))
        assert run.outputs["a"] == "{{ inputs }}"

    @needs("tools", "calls")
    def test_a_step_that_calls_itself_for_ever_is_told_so(self) -> None:
        run = self.run_calls(step("a", "descend", levels=1_000))
        assert run.statuses["a"] == "failed"
        assert "calls more than 32 levels deep: does it call itself for ever?" in run.errors["a"].message

    @needs("tools", "calls", "parallel", "stops_functions")
    def test_the_calls_of_a_step_that_fails_are_cancelled(self, tmp_path: Path) -> None:
        began = time.monotonic()
        run = self.run_calls(step("a", "call_and_die", folder=str(tmp_path)))
        assert run.statuses == {"a": "failed", "a/1": "cancelled"}
        assert time.monotonic() - began < LONG_SECONDS / 2

    @needs("tools", "calls")
    def test_a_call_is_retried_as_its_tool_says(self) -> None:
        # The declaration's retry is the tool's affair: the oracle does not know it.
        flaky = {"kind": "flaky", "retry": {"max_attempts": 2, "backoff_seconds": 0.01}}
        run = self.run(step("a", "call_flaky", fail_times=1), tools={**STEPS, **CALLING, "flaky": flaky})
        assert run.statuses == {"a": "succeeded", "a/1": "succeeded"}
        assert [attempt.outcome for attempt in run.timeline.attempts if attempt.parent] == ["failed", "succeeded"]

    @needs("tools")
    @unless("calls")
    def test_a_step_that_calls_where_nobody_can_is_told_so(self) -> None:
        run = self.run(step("a", "call_echoes", values=[1]), tools={**STEPS, **CALLING})
        assert "steps cannot call tools on this executor" in run.errors["a"].message


def most_at_once(run: Run, parent: str, since: str = "granted") -> int:
    """How many calls of a step were under way at once, at most."""
    changes: list[tuple[int, int]] = []
    for attempt in run.timeline.attempts:
        if attempt.parent == parent and attempt.known is not None:
            changes += [(getattr(attempt, since), 1), (attempt.known, -1)]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most

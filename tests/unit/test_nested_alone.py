"""A single call that its step waits for, run by the thread or the coroutine of the step: no difference is visible."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from executor import Instrument, Step, Workflow, arun, run
from executor.backends.asyncio import AsyncioBackend
from executor.node_runtime import CallError, call_tool, call_tool_async
from tests.movable_clock import MovableClock
from tests.unit.test_node_runtime import fail, run_tool

TRIES: list[int] = []
RETRIED = {"kind": "python", "retry": {"max_attempts": 3, "backoff_seconds": 0.01}}
THIRD_TIME = {**RETRIED, "callable": "tests.unit.test_nested_alone:third_time"}
THIRD_TIME_ASYNC = {**RETRIED, "callable": "tests.unit.test_nested_alone:third_time_async"}


def third_time() -> int:
    TRIES.append(1)
    if len(TRIES) < 3:
        raise ValueError("not yet")
    return len(TRIES)


async def third_time_async() -> int:
    return third_time()


def test_a_run_that_its_host_cancels_takes_its_steps_along_at_once_those_in_a_call_too() -> None:
    ends: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(20)

    async def caller() -> None:
        for _ in range(2):
            try:
                await call_tool_async("slow")
            except BaseException as error:
                ends.append(type(error).__name__)
                if isinstance(error, asyncio.CancelledError):
                    raise

    async def main() -> set[asyncio.Task[Any]]:
        steps = (Step(step_id="a", tool="caller"), Step(step_id="b", tool="slow"))
        begun = Begun("a/1", "b")
        running = asyncio.ensure_future(
            arun(Workflow(steps=steps), backend="asyncio", tools={"caller": caller, "slow": slow}, instruments=[begun])
        )
        await begun.all.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]  # there is one

    assert asyncio.run(main()) == set()
    assert ends == ["CancelledError"]


class Begun(Instrument):
    """Signals when all of these steps have begun."""

    def __init__(self, *step_ids: str) -> None:
        self.missing = set(step_ids)
        self.all = asyncio.Event()

    def attempt_started(self, attempt: Any) -> None:
        self.missing.discard(attempt.step_id)
        if not self.missing:
            self.all.set()


def test_a_call_with_a_time_limit_of_its_own_inside_is_not_cancelled_by_that() -> None:
    async def slow() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(20)
        except TimeoutError:
            return "late"
        return "in time"

    async def caller() -> list[str]:
        return [await call_tool_async("slow"), await call_tool_async("slow")]

    found = run(
        Workflow(steps=(Step(step_id="a", tool="caller"),)), backend="asyncio", tools={"caller": caller, "slow": slow}
    )
    assert found.outputs["a"] == ["late", "late"]
    assert set(found.statuses.values()) == {"succeeded"}


def test_a_call_that_raises_the_error_of_a_cancellation_has_failed() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    async def caller() -> str:
        try:
            await call_tool_async("gives_up")
        except CallError as error:
            return error.error_type
        return "nothing"

    found = run(
        Workflow(steps=(Step(step_id="a", tool="caller"),)),
        backend="asyncio",
        tools={"caller": caller, "gives_up": gives_up},
    )
    assert found.outputs["a"] == "CancelledError"
    assert found.statuses["a/1"] == "failed"


def test_who_waits_no_longer_for_a_call_that_it_runs_itself_cancels_it() -> None:
    ends: list[str] = []
    limits: list[asyncio.Timeout] = []

    async def slow(prompt: str) -> None:
        # The time of its caller is over once it runs, and not before.
        limits[-1].reschedule(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ends.append("slow")
            raise

    async def caller() -> list[str]:
        found = []
        for _ in range(2):
            try:
                async with asyncio.timeout(None) as limit:
                    limits.append(limit)
                    await call_tool_async("slow", "a")
            except TimeoutError:
                found.append("went on")
            # Neither of the two is asked to stop once more.
            await asyncio.sleep(0.05)
        return [*found, await call_tool_async("shout", "b")]

    found = run_tool(caller, backend="asyncio", workers=1, more={"slow": slow})
    assert found.outputs["a"] == ["went on", "went on", "B"], found.errors
    assert found.statuses == {"a": "succeeded", "a/1": "cancelled", "a/2": "cancelled", "a/3": "succeeded"}
    assert ends == ["slow", "slow"]


def test_a_coroutine_past_its_timeout_ends_in_the_call_that_it_runs_itself() -> None:
    ends: list[str] = []
    backend = AsyncioBackend(1)
    clock = MovableClock(backend)

    async def slow() -> None:
        clock.move(60)
        try:
            await asyncio.sleep(20)
        finally:
            ends.append("call")

    async def caller() -> None:
        try:
            await call_tool_async("slow")
        except asyncio.CancelledError:
            ends.append("step")
            raise

    steps = (Step(step_id="a", tool="caller", timeout=60), Step(step_id="b", tool="noop"))
    found = run(Workflow(steps=steps), tools={"caller": caller, "slow": slow}, backend=backend)
    assert found.statuses == {"a": "failed", "b": "succeeded", "a/1": "cancelled"}
    assert ends == ["call", "step"]


def test_a_run_that_is_cancelled_ends_the_call_that_a_coroutine_runs_itself() -> None:
    engines: list[Any] = []
    ends: list[str] = []

    class Watch(Instrument):
        def run_started(self, engine: Any) -> None:
            engines.append(engine)

    async def slow() -> None:
        try:
            asyncio.get_running_loop().call_later(0.05, engines[0].cancel)
            await asyncio.sleep(20)
        finally:
            ends.append("call")

    async def caller() -> None:
        try:
            await call_tool_async("slow")
        finally:
            ends.append("step")

    found = run_tool(caller, backend="asyncio", workers=1, more={"slow": slow}, instruments=[Watch()])
    assert found.statuses == {"a": "cancelled", "a/1": "cancelled"}
    assert ends == ["call", "step"]


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_what_a_call_sets_is_not_seen_by_the_step_that_waits_for_it(backend: str) -> None:
    variable = ContextVar("variable", default="none")

    async def setting(value: str) -> str:
        before = variable.get()
        variable.set(value)
        await asyncio.sleep(0)
        return before + variable.get()

    def setting_plainly(value: str) -> str:
        before = variable.get()
        variable.set(value)
        return before + variable.get()

    async def caller() -> list[str]:
        variable.set("mine")
        return [await call_tool_async("setting", value=value) for value in "ab"] + [variable.get()]

    def calling() -> list[str]:
        variable.set("mine")
        return [call_tool("setting", value=value) for value in "ab"] + [variable.get()]

    tool, step = (setting, caller) if backend == "asyncio" else (setting_plainly, calling)
    found = run_tool(step, backend=backend, workers=1, more={"setting": tool})
    first, second, after = found.outputs["a"]
    assert first == "nonea"
    assert second.endswith("b")
    assert "mine" not in first + second
    assert after == "mine"


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_a_call_that_its_step_runs_itself_is_retried_and_its_failure_told(backend: str) -> None:
    async def fail_async(prompt: str) -> None:
        raise ValueError(f"no {prompt}")

    async def caller() -> list[Any]:
        found = [await call_tool_async("third_time_async")]
        try:
            await call_tool_async("fail_async", "luck")
        except CallError as error:
            found.append(error.reason)
        return found

    def calling() -> list[Any]:
        found = [call_tool("third_time")]
        try:
            call_tool("fail", "luck")
        except CallError as error:
            found.append(error.reason)
        return found

    TRIES.clear()
    tools = {"third_time": THIRD_TIME, "third_time_async": THIRD_TIME_ASYNC, "fail": fail, "fail_async": fail_async}
    found = run_tool(caller if backend == "asyncio" else calling, backend=backend, workers=1, more=tools)
    assert found.outputs["a"] == [3, "no luck"], found.errors
    tries = [(one.step_id, one.attempt) for one in found.timeline.attempts]
    assert tries == [("a", 1), ("a/1", 1), ("a/1", 2), ("a/1", 3), ("a/2", 1)]


def test_who_waits_no_longer_cancels_a_call_that_is_about_to_be_retried() -> None:
    async def caller() -> str:
        try:
            async with asyncio.timeout(0.1):
                await call_tool_async("third_time_async")
        except TimeoutError:
            return "went on"
        return "waited"

    TRIES.clear()
    declared = {**THIRD_TIME_ASYNC, "retry": {"max_attempts": 3, "backoff_seconds": 20.0, "jitter": "none"}}
    found = run_tool(caller, backend="asyncio", workers=1, more={"third_time_async": declared})
    assert found.outputs["a"] == "went on", found.errors
    assert found.statuses == {"a": "succeeded", "a/1": "cancelled"}
    assert len(TRIES) == 1


def test_a_coroutine_that_calls_again_and_again_lets_others_have_their_turn() -> None:
    rounds = 0

    async def look() -> bool:
        return rounds > 0

    async def caller() -> bool:
        while not await call_tool_async("look"):
            pass
        return True

    async def other() -> None:
        nonlocal rounds
        await asyncio.sleep(0.01)
        rounds += 1

    steps = (Step(step_id="a", tool="caller"), Step(step_id="b", tool="other"))
    found = run(
        Workflow(steps=steps), tools={"caller": caller, "look": look, "other": other}, backend="asyncio", workers=2
    )
    assert found.outputs["a"] is True

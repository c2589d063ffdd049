"""The synthetic loads: what they do, what they refuse, and that their outputs hold nothing measured."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from typing import Any

import pytest

from executor.model.workflow import ToolDeclaration
from executor.tools.registry import make_tool
from executor.tools.tool import RunContext, Tool, ToolContext, ToolError


def tool_of(kind: str) -> Tool:
    return make_tool("load", ToolDeclaration(kind=kind))


def context(**given: Any) -> ToolContext:
    run = RunContext(scale=given.pop("scale", 1.0), seed=given.pop("seed", 0))
    return ToolContext(run, given.pop("step_id", "a"), **given)


def both_forms(kind: str, args: dict[str, Any], prompt: str | None = None, **given: Any) -> list[Any]:
    tool = tool_of(kind)
    assert tool.call is not None
    assert tool.call_async is not None

    async def awaited() -> Any:
        assert tool.call_async is not None
        return await tool.call_async(context(**given), prompt, args)

    return [tool.call(context(**given), prompt, args), asyncio.run(awaited())]


def test_noop_returns_its_prompt_in_both_forms() -> None:
    assert both_forms("noop", {}, prompt="hello") == ["hello", "hello"]
    assert both_forms("noop", {}) == [None, None]


def test_noop_without_a_context_is_the_same_noop() -> None:
    direct = tool_of("noop").direct("hello", {})
    assert direct is not None
    assert direct() == "hello"
    assert tool_of("noop").direct(None, {"x": 1}) is None


def test_sleep_scales_its_seconds_and_reports_what_was_asked_for() -> None:
    assert both_forms("sleep", {"seconds": 2}, scale=0.001) == [{"slept_seconds": 0.002}] * 2


def test_sleep_falls_back_to_expected_seconds() -> None:
    assert both_forms("sleep", {}, expected_seconds=0.5, scale=0.01) == [{"slept_seconds": 0.005}] * 2


def test_sleep_takes_at_least_its_time() -> None:
    tool = tool_of("sleep")
    assert tool.call is not None
    for seconds in (0.01, 0.05):
        begin = time.perf_counter()
        tool.call(context(), None, {"seconds": seconds})
        assert time.perf_counter() - begin >= seconds


def test_a_rendered_number_is_a_number() -> None:
    assert both_forms("sleep", {"seconds": "0.002"}) == [{"slept_seconds": 0.002}] * 2


@pytest.mark.parametrize("seconds", [-1, "soon", float("nan"), float("inf"), True, [1], "9" * 400])
def test_an_impossible_duration_is_refused_for_good(seconds: Any) -> None:
    for kind in ("sleep", "busy"):
        tool = tool_of(kind)
        assert tool.call is not None
        with pytest.raises(ToolError, match=r"args\.seconds must be a number") as caught:
            tool.call(context(), None, {"seconds": seconds})
        assert not caught.value.retryable


def test_a_load_without_a_duration_says_where_to_put_it() -> None:
    for kind in ("sleep", "busy"):
        tool = tool_of(kind)
        assert tool.call is not None
        with pytest.raises(ToolError, match="expected_seconds"):
            tool.call(context(), None, {})


def test_an_unknown_argument_is_named_with_the_nearest_one() -> None:
    for kind in ("sleep", "busy", "flaky"):
        tool = tool_of(kind)
        assert tool.call is not None
        with pytest.raises(ToolError, match=r"args\.second: unknown argument \(did you mean 'seconds'\?\)"):
            tool.call(context(), None, {"second": 1})
    noop = tool_of("noop")
    assert noop.call is not None
    with pytest.raises(ToolError, match="unknown argument"):
        noop.call(context(), None, {"x": 1})


def test_busy_uses_the_cpu_time_that_it_states() -> None:
    tool = tool_of("busy")
    assert tool.cpu_bound
    assert tool.call is not None
    begin = time.thread_time()
    assert tool.call(context(scale=0.1), None, {"seconds": 0.5}) == {"busy_seconds": 0.05}
    assert time.thread_time() - begin >= 0.05


def test_busy_coroutines_take_turns_and_each_uses_its_own_time() -> None:
    tool = tool_of("busy")
    turns: list[str] = []

    async def watch() -> None:
        for _ in range(3):
            turns.append("watch")
            await asyncio.sleep(0)

    async def both() -> None:
        assert tool.call_async is not None
        begin = time.thread_time()
        busy = [tool.call_async(context(), None, {"seconds": 0.03}) for _ in range(2)]
        await asyncio.gather(*busy, watch())
        turns.append("end")
        assert time.thread_time() - begin >= 0.06

    asyncio.run(both())
    assert turns == ["watch", "watch", "watch", "end"]


@pytest.mark.parametrize("kind", ["sleep", "busy"])
def test_a_cancelled_load_ends_long_before_its_time(kind: str) -> None:
    tool = tool_of(kind)
    assert tool.call is not None
    stopped = context()
    timer = threading.Timer(0.05, stopped.cancel)
    timer.start()
    begin = time.perf_counter()
    with pytest.raises(ToolError, match="cancelled"):
        tool.call(stopped, None, {"seconds": 60})
    timer.join()
    assert time.perf_counter() - begin < 30


def test_flaky_fails_on_its_first_attempts_and_then_succeeds() -> None:
    tool = tool_of("flaky")
    assert tool.call is not None
    for attempt in (1, 2):
        with pytest.raises(ToolError, match=f"attempt {attempt}") as caught:
            tool.call(context(attempt=attempt), None, {"fail_times": 2})
        assert caught.value.retryable
    assert tool.call(context(attempt=3), None, {"fail_times": 2}) == {"succeeded_on_attempt": 3}


def fates(seed: int) -> list[bool]:
    tool = tool_of("flaky")
    results = []
    for step in range(200):
        simulated = tool.simulate(context(step_id=f"s{step}", seed=seed), None, {"fail_ratio": 0.3})
        assert simulated is not None
        results.append(simulated.error is not None)
    return results


def test_flaky_by_ratio_is_drawn_from_seed_step_and_attempt_alone() -> None:
    assert fates(1) == fates(1)
    assert fates(1) != fates(2)
    assert 30 <= sum(fates(1)) <= 90


def test_flaky_wants_exactly_one_way_to_fail() -> None:
    tool = tool_of("flaky")
    assert tool.call is not None
    for args in ({}, {"fail_times": 1, "fail_ratio": 0.5}, {"fail_ratio": 2}):
        with pytest.raises(ToolError) as caught:
            tool.call(context(), None, args)
        assert not caught.value.retryable


@pytest.mark.parametrize(
    ("kind", "args"),
    [("sleep", {"seconds": 0.01}), ("busy", {"seconds": 0.01}), ("flaky", {"fail_times": 0}), ("noop", {})],
)
def test_simulation_gives_the_output_of_the_real_call(kind: str, args: dict[str, Any]) -> None:
    simulated = tool_of(kind).simulate(context(), None, args)
    assert simulated is not None
    assert simulated.duration_seconds == args.get("seconds", 0)
    assert [simulated.output] * 2 == both_forms(kind, args)


def test_synthetic_tools_travel_to_other_processes() -> None:
    for kind in ("noop", "sleep", "busy", "flaky"):
        assert pickle.loads(pickle.dumps(tool_of(kind))).kind == kind

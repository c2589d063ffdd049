"""`node_runtime`: what may be asked for, what comes back, and what happens outside of any run."""

from __future__ import annotations

import asyncio
import gc
import importlib
import pickle
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from executor import Instrument, Step, Workflow, find_backend, run
from executor.node_runtime import (
    CallError,
    call_llm,
    call_tool,
    call_tool_async,
    call_tool_resilient,
    call_tool_resilient_async,
    call_tools_parallel,
    call_tools_parallel_async,
    declare_tools,
)
from tests.movable_clock import PATIENCE_SECONDS, Ends, MovableClock

DOZE_SECONDS = 5.0


def shout(prompt: str = "", **_: Any) -> str:
    return prompt.upper()


def doze() -> None:
    time.sleep(DOZE_SECONDS)


def fail(prompt: str = "", **_: Any) -> str:
    raise ValueError(f"no {prompt}")


@pytest.fixture
def by_hand() -> Iterator[None]:
    """A script's own tools, as long as the test lasts."""
    module = importlib.import_module("executor.node_runtime")
    declare_tools({"shout": shout, "fail": fail})
    yield
    module._declared.clear()


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ("shout", "calls is a str: give a list"),
        ({"shout": "a"}, "calls is a dict: give a list"),
        (["shout"], r"calls\[0\] is a str, 'shout': write \(tool, prompt\)"),
        ([("shout", "a"), ("shout",)], r"calls\[1\] is a tuple"),
        ([(1, "a")], r"calls\[0\]: the tool is an int, 1, where its name belongs"),
        ([("shout", 1)], r"calls\[0\]: the prompt is an int, 1, where a text or None belongs"),
        ([("shout", "a", [1])], r"calls\[0\]: the arguments are a list, \[1\], where a dict"),
        ([("shout", "a", {1: 2})], r"calls\[0\]: the arguments are a dict"),
    ],
)
def test_wrong_calls_are_refused_before_any_is_made(calls: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call_tools_parallel(calls)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_wrong_limit_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="max_workers is a"):
        call_tools_parallel([("shout", "a")], max_workers=limit)


def test_no_calls_give_no_results_without_any_engine() -> None:
    assert call_tools_parallel([]) == []
    assert asyncio.run(call_tools_parallel_async([])) == []


def test_someone_to_call_must_be_named() -> None:
    with pytest.raises(ValueError, match="at least one tool"):
        call_tool_resilient([])


@pytest.mark.usefixtures("by_hand")
def test_a_script_run_by_hand_has_an_engine_of_its_own() -> None:
    assert call_tool("shout", "a") == "A"
    assert call_tools_parallel([("shout", "a"), ("shout", "b", {"extra": 1})], max_workers=1) == ["A", "B"]
    assert asyncio.run(call_tool_async("shout", "a")) == "A"
    assert call_llm("a", tool="shout") == "A"
    with pytest.raises(CallError, match=r"did you mean 'shout'\? \(no run is under way: say what it is"):
        call_tool("shot", "a")


@pytest.mark.usefixtures("by_hand")
def test_one_failing_call_is_named_and_the_others_results_are_kept() -> None:
    with pytest.raises(CallError, match=r"the call of tool 'fail', 2 of 3, .* failed: ValueError: no b$") as caught:
        call_tools_parallel([("shout", "a"), ("fail", "b"), ("shout", "c")])
    error = caught.value
    assert (error.tool, error.error_type, error.reason) == ("fail", "ValueError", "no b")
    assert (error.results[0], error.results[2]) == ("A", "C")
    assert isinstance(error.results[1], CallError)
    assert "in fail" in "".join(error.results[1].__notes__)


@pytest.mark.usefixtures("by_hand")
def test_several_failing_calls_are_counted() -> None:
    with pytest.raises(CallError, match=r"1 of 2, .*no a \(2 of 2 calls failed\)"):
        call_tools_parallel([("fail", "a"), ("fail", "b")])


@pytest.mark.usefixtures("by_hand")
def test_exceptions_are_results_where_that_is_asked_for() -> None:
    good, bad = call_tools_parallel([("shout", "a"), ("fail", "b")], return_exceptions=True)
    assert good == "A"
    assert isinstance(bad, CallError)


@pytest.mark.usefixtures("by_hand")
def test_the_first_tool_that_succeeds_is_taken() -> None:
    assert call_tool_resilient(["fail", "shout", "fail"], "a") == "A"
    assert asyncio.run(call_tool_resilient_async(["fail", "shout"], "a")) == "A"
    with pytest.raises(CallError, match=r"all of 2 tools failed: .*no a.*no a"):
        call_tool_resilient(["fail", "fail"], "a")


@pytest.mark.usefixtures("by_hand")
def test_a_call_error_travels_between_processes() -> None:
    with pytest.raises(CallError) as caught:
        call_tool("fail", "a")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), error.tool, error.step_id) == (str(caught.value), "fail", "script/1")


def test_the_short_name_is_the_same_module() -> None:
    sys.modules.pop("node_runtime", None)
    assert importlib.import_module("node_runtime") is importlib.import_module("executor.node_runtime")


def run_tool(function: Any, more: Mapping[str, Any] | None = None, **options: Any) -> Any:
    tools = {"caller": function, "shout": shout, **(more or {})}
    return run(Workflow(steps=(Step(step_id="a", tool="caller"),)), tools=tools, **options)


def test_a_thread_that_does_not_know_its_step_is_told_how_it_can() -> None:
    found: list[str] = []

    def caller() -> None:
        def work() -> None:
            try:
                call_tool("shout", "a")
            except RuntimeError as error:
                found.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert run_tool(caller).ok
    assert "copy_context" in found[0]


def test_threads_that_know_their_step_may_wait_at_the_same_time() -> None:
    async def several() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(call_tool, "shout", text) for text in "abc"))

    def caller() -> list[str]:
        return asyncio.run(several())

    for backend in ("threads", "asyncio"):
        found = run_tool(caller, backend=backend, workers=1)
        assert found.outputs["a"] == ["A", "B", "C"], found.errors


def test_a_coroutine_that_would_hold_up_the_loop_is_told_so() -> None:
    async def caller() -> str:
        return str(call_tool("shout", "a"))

    found = run_tool(caller, backend="asyncio")
    assert "write `await call_tool_async(…)`" in found.errors["a"].message


def test_who_stops_waiting_for_a_call_cancels_it() -> None:
    started = asyncio.Event()

    async def slow(prompt: str) -> None:
        started.set()
        await asyncio.sleep(20)

    async def caller() -> str:
        call = asyncio.ensure_future(call_tool_async("slow", "a"))
        await started.wait()
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            return "went on"
        return "waited"

    found = run(
        Workflow(steps=(Step(step_id="a", tool="caller"),)),
        tools={"caller": caller, "slow": slow},
        backend="asyncio",
        workers=1,
    )
    assert found.outputs == {"a": "went on"}
    assert found.statuses == {"a": "succeeded", "a/1": "cancelled"}


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_a_step_past_its_timeout_takes_its_calls_along(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    made, ends = find_backend(backend)(1), Ends()
    clock = MovableClock(made)

    def caller() -> None:
        call_tool("nap")

    def nap() -> None:
        clock.move(60)
        assert ends.all_ended.wait(PATIENCE_SECONDS)

    found = run(
        Workflow(steps=(Step(step_id="a", tool="caller", timeout=60), Step(step_id="b", tool="noop"))),
        tools={"caller": caller, "nap": nap},
        backend=made,
        instruments=[ends],
    )
    assert found.statuses == {"a": "failed", "b": "succeeded", "a/1": "cancelled"}
    assert found.errors["a"].outcome == "timed_out"
    gc.collect()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_a_call_past_its_own_timeout_does_not_hold_up_the_step_that_waits_for_it(backend: str) -> None:
    def caller() -> list[str]:
        return [str(one) for one in call_tools_parallel([("short", None), ("shout", "b")], return_exceptions=True)]

    began = time.monotonic()
    found = run(
        Workflow(steps=(Step(step_id="a", tool="caller"),)),
        tools={
            "caller": caller,
            "shout": shout,
            "short": {"kind": "python", "callable": "tests.unit.test_node_runtime:doze", "timeout": 0.1},
        },
        backend=backend,
        workers=1,
    )
    assert "no end after its timeout of 0.1 s" in found.outputs["a"][0]
    assert found.outputs["a"][1] == "B"
    assert time.monotonic() - began < DOZE_SECONDS


def test_tools_by_reference_cannot_be_called_unless_a_step_names_them() -> None:
    def caller() -> Any:
        return call_tool("os:getcwd")

    assert "there is no tool 'os:getcwd'" in run_tool(caller).errors["a"].message


def test_what_is_wrong_with_a_tool_is_its_calls_failure() -> None:
    def caller() -> list[str]:
        calls = [("hungry", "a"), ("shout", "b")]
        return [str(one) for one in call_tools_parallel(calls, return_exceptions=True)]

    found = run(
        Workflow(steps=(Step(step_id="a", tool="caller"),)),
        tools={"caller": caller, "shout": shout, "hungry": {"kind": "noop", "needs": {"food": 1}}},
    )
    assert "needs 'food', which is no resource" in found.outputs["a"][0]
    assert found.outputs["a"][1] == "B"


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_workers_that_stood_in_for_waiting_ones_go_home_again(backend: str) -> None:
    engines: list[Any] = []

    class Watch(Instrument):
        def run_started(self, engine: Any) -> None:
            engines.append(engine)

    def workers() -> int:
        return len(engines[0]._driver._workers)

    def few() -> int:
        # Each goes home when it comes to its turn, and a busy machine lets them come later.
        late = time.monotonic() + PATIENCE_SECONDS
        while workers() > 5 and time.monotonic() < late:
            time.sleep(0.01)
        return workers()

    async def deep(levels: int) -> int:
        # A coroutine that makes two calls at once: it can run neither meanwhile.
        calls = [("deep", None, {"levels": levels - 1}), ("workers", None)]
        return max(await call_tools_parallel_async(calls)) if levels else workers()

    found = run(
        Workflow(
            steps=(
                Step(step_id="a", tool="deep", args={"levels": 20}),
                *(Step(step_id=f"b{place}", tool="workers", depends_on=("a",)) for place in range(40)),
                Step(step_id="c", tool="few", depends_on=tuple(f"b{place}" for place in range(40))),
            )
        ),
        tools={"deep": deep, "workers": workers, "few": few},
        backend=backend,
        workers=1,
        instruments=[Watch()],
    )
    assert found.outputs["a"] >= 20
    assert found.outputs["c"] <= 5

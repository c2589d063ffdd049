"""The cost of a call that a step makes, against the same no-op as a step of the file; and of a node's start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor import Step, Workflow, run
from executor.dependencies import plan
from executor.node_runtime import call_tool, call_tool_async, call_tools_parallel, call_tools_parallel_async
from executor.tools.node import NodeOptions, NodeTool
from executor.tools.tool import RunContext, ToolContext
from tests.benchmarks.measure import paired, report

CALLS = 200
WORKERS = 2


def noop() -> None:
    """Nothing."""


async def noop_async() -> None:
    """Nothing, as a coroutine."""


def at_once(count: int) -> None:
    """So many calls in parallel."""
    call_tools_parallel([("noop_", None)] * count)


def in_turn(count: int) -> None:
    """So many calls, one after the other."""
    for _ in range(count):
        call_tool("noop_")


async def at_once_async(count: int) -> None:
    """The same from a coroutine."""
    await call_tools_parallel_async([("noop_", None)] * count)


async def in_turn_async(count: int) -> None:
    """The same from a coroutine."""
    for _ in range(count):
        await call_tool_async("noop_")


TOOLS: dict[bool, dict[str, Callable[..., Any]]] = {
    False: {"noop_": noop, "at once": at_once, "in turn": in_turn},
    True: {"noop_": noop_async, "at once": at_once_async, "in turn": in_turn_async},
}


def steps_of(way: str) -> tuple[Step, ...]:
    """The same no-ops as steps of a file: side by side, or one after the other."""
    chained = way == "in turn"
    return tuple(
        Step(step_id=f"s{place}", tool="noop_", depends_on=(f"s{place - 1}",) if chained and place else ())
        for place in range(CALLS)
    )


def caller_of(way: str) -> tuple[Step, ...]:
    """One step that makes as many calls."""
    return (Step(step_id="caller", tool=way, args={"count": CALLS}),)


def measured(backend: str, make: Callable[[str], tuple[Step, ...]], way: str, *, whole: bool) -> Callable[[], float]:
    """Seconds of a run of these steps, from the first start to the last end; with ``whole`` also what it took to write
    and to plan them. A call is written, checked and given its place while the run goes on.
    """

    def seconds() -> float:
        began = time.perf_counter()
        workflow = Workflow(steps=make(way))
        graph = plan(workflow, hints=False).graph
        planning_seconds = time.perf_counter() - began
        done = run(workflow, tools=TOOLS[backend == "asyncio"], backend=backend, workers=WORKERS, graph=graph)
        assert done.ok, done.errors
        return done.timeline.makespan_seconds + (planning_seconds if whole else 0.0)

    return seconds


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "run"])
@pytest.mark.parametrize("way", ["at once", "in turn"])
@pytest.mark.parametrize("backend", ["threads", "asyncio", "processes"])
def test_cost_of_a_call(benchmark: BenchmarkFixture, backend: str, way: str, whole: bool) -> None:
    ours = measured(backend, caller_of, way, whole=whole)
    found = paired(ours, measured(backend, steps_of, way, whole=whole), 9)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(ours, rounds=3)
    against = "steps written, planned and run" if whole else "steps that are planned already"
    report(f"calls {way}, {backend}@{WORKERS}, against {against}", found, CALLS, "3" if whole else "—")


def test_start_of_a_node(benchmark: BenchmarkFixture) -> None:
    tool = NodeTool("node", NodeOptions(source="def main(): return {'text': 'done'}"))
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]

    def node() -> float:
        began = time.perf_counter()
        assert tool.call(ToolContext(RunContext(), "a"), None, {"content": "hi"}) == {"text": "done"}
        return time.perf_counter() - began

    def bare() -> float:
        began = time.perf_counter()
        subprocess.run(command, input=b'{"content": "hi"}', check=True, capture_output=True)
        return time.perf_counter() - began

    found = paired(node, bare, 41)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(node, rounds=3)
    report("start of a node, against bare Python", found, 1, "1.5")

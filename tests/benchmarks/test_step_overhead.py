"""The cost of a no-op step, against the same graph run by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks import graphs
from tests.benchmarks.measure import Runner, paired, report, workflow_of
from tests.benchmarks.yardsticks import by_hand_asyncio, by_hand_processes, by_hand_threads

GRAPHS = {"wide 1,000": graphs.wide(1000), "layered 10 × 50": graphs.layered(10, 50), "chain 200": graphs.chain(200)}


def noop() -> None:
    """Nothing."""


async def noop_async() -> None:
    """Nothing, as a coroutine."""


CASES: dict[str, tuple[Callable[..., Any], Callable[..., float], dict[str, str], int]] = {
    "threads": (noop, by_hand_threads, {"wide 1,000": "0.6", "layered 10 × 50": "0.6", "chain 200": "0.5"}, 21),
    "asyncio": (noop_async, by_hand_asyncio, {"wide 1,000": "0.8", "layered 10 × 50": "0.8", "chain 200": "—"}, 21),
    "processes": (noop, by_hand_processes, dict.fromkeys(GRAPHS, "0.5"), 9),
}


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("graph", list(GRAPHS))
@pytest.mark.parametrize("backend", list(CASES))
def test_overhead_of_a_step(benchmark: BenchmarkFixture, backend: str, graph: str, workers: int) -> None:
    call, by_hand, at_most, repetitions = CASES[backend]
    parents = GRAPHS[graph]
    ours = Runner(workflow_of(parents), backend, workers, call)
    found = paired(ours, lambda: by_hand(parents, workers, call), repetitions)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(ours, rounds=3)
    report(f"{backend}@{workers}, {graph}", found, len(parents), at_most[graph])


@pytest.mark.parametrize("graph", list(GRAPHS))
def test_overhead_of_a_plain_function_on_asyncio(benchmark: BenchmarkFixture, graph: str) -> None:
    parents, workers = GRAPHS[graph], 8
    ours = Runner(workflow_of(parents), "asyncio", workers, noop)
    in_a_thread = partial(asyncio.to_thread, noop)
    found = paired(ours, lambda: by_hand_asyncio(parents, workers, in_a_thread), 9)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(ours, rounds=3)
    report(f"asyncio@{workers}, plain functions, {graph}", found, len(parents), "0.5")

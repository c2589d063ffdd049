"""One engine against simulated clusters: CPU time a step for 10 to 10,000 workers, and how long a step must last so
that one engine keeps them busy. Source of the model: one server (the engine) in a closed loop with N workers.
"""

from __future__ import annotations

import cProfile
import pstats
import random
import statistics
import time
from collections import Counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor.backends import find_backend
from executor.dependencies import plan
from executor.engine.engine import Engine
from tests.benchmarks import graphs
from tests.benchmarks.measure import ROWS, workflow_of

SIZES = (10, 100, 1_000, 10_000)
STEPS = 10_000
BUSY = 0.98
PARTS = ("scheduler", "engine", "record", "templates", "backends/virtual")


def cpu_seconds_a_step(workers: int, profile: cProfile.Profile | None = None) -> float:
    """CPU time of engine, scheduler and the virtual clock for one step of layers as wide as two steps a worker."""
    count = max(STEPS, 4 * workers)
    width = min(2 * workers, count // 2)
    parents = graphs.layered(count // width, width)
    draw = random.Random(1)
    # Each ends at an instant of its own, as on a cluster.
    planned = plan(workflow_of(parents, "sleep", [draw.uniform(0.5, 1.5) for _ in parents]), hints=False)
    assert planned.graph is not None
    from executor.tools.registry import resolve_tool

    backend = find_backend("virtual")(workers)
    engine = Engine(planned.graph, {"sleep": resolve_tool("sleep", {})}, backend, slots=workers)
    backend.open(engine)
    began = time.process_time()
    if profile is None:
        backend.drive(engine)
    else:
        profile.runcall(backend.drive, engine)
    spent = time.process_time() - began
    backend.close()
    assert engine.scheduler.done
    assert not engine.errors
    return spent / len(parents)


def shortest_seconds(workers: int, cpu_seconds: float) -> float:
    """How long steps must last so that workers are busy for :data:`BUSY` of the time: an engine that spends
    ``cpu_seconds`` on each gives one out only so often, and a worker waits for its own at least once.
    """
    return max(BUSY * workers * cpu_seconds, BUSY / (1 - BUSY) * cpu_seconds)


def shares(workers: int) -> str:
    """Where the time goes: the parts of the program, in per cent of the profile."""
    profile = cProfile.Profile()
    cpu_seconds_a_step(workers, profile)
    spent: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]  # it is there
        spent[next((part for part in PARTS if f"executor/{part}" in file), "built-in functions and others")] += own
    total = sum(spent.values())
    return ", ".join(f"{part} {own / total:.0%}" for part, own in spent.most_common(4))


@pytest.mark.parametrize("workers", SIZES)
def test_one_engine_against_simulated_workers(benchmark: BenchmarkFixture, workers: int) -> None:
    cpu = statistics.median(cpu_seconds_a_step(workers) for _ in range(3))
    benchmark.extra_info["cpu_microseconds"] = cpu * 1e6
    benchmark.pedantic(lambda: cpu_seconds_a_step(workers), rounds=1)
    name = f"one engine, {workers:,} simulated workers: steps a second at most; ms a step for {BUSY:.0%} busy"
    ROWS.append(
        (
            name,
            f"{cpu * 1e6:.1f}",
            "",
            f"{1 / cpu:,.0f}; {shortest_seconds(workers, cpu) * 1e3:.3g}",
            "",
            shares(workers),
        )
    )

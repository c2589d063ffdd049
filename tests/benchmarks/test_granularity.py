"""How short a step may be: METG(50 %), the step duration at which half of the time is work.

Source: "Task Bench: a parameterized benchmark for evaluating parallel runtime performance", SC 2020.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks import graphs
from tests.benchmarks.measure import ROWS, Runner, workflow_of
from tests.benchmarks.yardsticks import by_hand_processes, by_hand_threads

WIDTH, LAYERS, WORKERS = 8, 40, 8
DURATIONS = [2**power * 25e-6 for power in range(8)]


def granularity(efficiencies: list[float]) -> float:
    """The duration at which the efficiency crosses one half, between the measured ones (log scale)."""
    for place in range(1, len(DURATIONS)):
        low, high = efficiencies[place - 1], efficiencies[place]
        if low < 0.5 <= high:
            share = (0.5 - low) / (high - low)
            return math.exp(math.log(DURATIONS[place - 1]) * (1 - share) + math.log(DURATIONS[place]) * share)
    return DURATIONS[0] if efficiencies[0] >= 0.5 else math.inf


@pytest.mark.parametrize(
    ("backend", "yardstick", "at_most"), [("threads", by_hand_threads, "0.7"), ("processes", by_hand_processes, "0.5")]
)
def test_minimum_effective_task_granularity(
    benchmark: BenchmarkFixture, backend: str, yardstick: Callable[..., float], at_most: str
) -> None:
    parents = graphs.stencil(WIDTH, LAYERS)

    def efficiency(elapsed: list[float], seconds: float) -> float:
        return LAYERS * seconds / statistics.median(elapsed)

    ours: list[float] = []
    by_hand: list[float] = []
    for seconds in DURATIONS:
        # A worker process has to be able to import it.
        sleep: Any = partial(time.sleep, seconds)
        runner = Runner(workflow_of(parents), backend, WORKERS, sleep)
        pairs = [(runner(), yardstick(parents, WORKERS, sleep)) for _ in range(9)]
        ours.append(efficiency([mine for mine, _ in pairs], seconds))
        by_hand.append(efficiency([other for _, other in pairs], seconds))
    mine, other = granularity(ours), granularity(by_hand)
    benchmark.extra_info["ratio"] = mine / other
    benchmark.pedantic(Runner(workflow_of(parents), backend, WORKERS, partial(time.sleep, DURATIONS[2])), rounds=3)
    row = (f"METG(50 %), stencil 8 × 40, {backend} sleeping", f"{mine * 1e6:.0f}", f"{other * 1e6:.0f}")
    ROWS.append((*row, f"{mine / other:.2f}", "", at_most))

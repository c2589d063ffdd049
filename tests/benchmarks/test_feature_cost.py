"""What templates, limits, retries, timeouts and conditions add to a step: CPU time against plain steps, in turn; and
the same features written by hand."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor import Resource, Retry, Step, Workflow, run
from tests.benchmarks.measure import ROWS, Runner, paired, report
from tests.benchmarks.yardsticks import (
    RealSteps,
    by_hand_asyncio_with,
    by_hand_processes_with,
    by_hand_threads_with,
)

WIDTH, LAYERS, REPETITIONS = 50, 20, 7
FEATURES = ("plain", "three references", "filters", "limit", "retry", "timeout", "condition", "all of them")
ALL_OF_THEM = frozenset({"three references", "limit", "retry", "timeout", "condition"})
LIMITS = {"llm": Resource(capacity=8)}


PARENTS = [
    tuple((layer - 1) * WIDTH + (place + other) % WIDTH for other in range(3)) if layer else ()
    for layer in range(LAYERS)
    for place in range(WIDTH)
]


def with_feature(feature: str, tool: str = "noop") -> Workflow:
    """A layered graph in which each step uses three outputs of the layer above."""
    steps = []
    for layer in range(LAYERS):
        for place in range(WIDTH):
            above = [f"s{layer - 1}_{(place + other) % WIDTH}" for other in range(3)] if layer else []
            fields: dict[str, Any] = {}
            if feature in ("three references", "all of them"):
                # Else each text would be three times as long as those before it.
                fields["prompt"] = " ".join(f"{{{{ steps.{one}.output }}}}" for one in above) if layer % 2 else "x"
            if feature == "filters" and above:
                fields["prompt"] = " ".join(f"{{{{ steps.{one}.output | string | length }}}}" for one in above)
            if feature in ("limit", "all of them"):
                fields["needs"] = {"llm": 1}
            if feature in ("retry", "all of them"):
                fields["retry"] = Retry(max_attempts=3)
            if feature in ("timeout", "all of them"):
                fields["timeout"] = 60
            if feature in ("condition", "all of them") and above:
                fields["when"] = f"steps.{above[0]}.output != 'no'"
            steps.append(Step(step_id=f"s{layer}_{place}", tool=tool, depends_on=tuple(above), **fields))
    return Workflow(steps=tuple(steps))


@pytest.mark.parametrize(("backend", "workers"), [("threads", 8), ("asyncio", 8), ("virtual", 8), ("processes", 2)])
def test_cost_of_a_step_with_features(backend: str, workers: int) -> None:
    """Of ``processes``, what it costs the process that has the engine."""
    workflows = {feature: with_feature(feature) for feature in FEATURES}
    microseconds: dict[str, list[float]] = {feature: [] for feature in FEATURES}
    for _ in range(REPETITIONS):
        for feature, workflow in workflows.items():
            gc.collect()
            before = time.process_time()
            done = run(workflow, backend=backend, workers=workers, resources=LIMITS)
            microseconds[feature].append((time.process_time() - before) * 1e6 / len(workflow.steps))
            assert done.ok
    plain = statistics.median(microseconds["plain"])
    for feature, found in microseconds.items():
        with_it, at_most = statistics.median(found), "3" if feature == "all of them" else "2"
        what = f"CPU of a step on {backend}@{workers}, {feature} ÷ plain"
        ROWS.append((what, f"{with_it:.1f}", f"{plain:.1f} (plain)", f"{with_it / plain:.2f}", "", at_most))


def echo(prompt: str | None = None) -> str | None:
    """What `noop` does."""
    return prompt


async def echo_async(prompt: str | None = None) -> str | None:
    """The same as a coroutine."""
    return prompt


BY_HAND: dict[str, tuple[Any, Any, int]] = {
    "threads": (echo, by_hand_threads_with, 8),
    "asyncio": (echo_async, by_hand_asyncio_with, 8),
    "processes": (echo, by_hand_processes_with, 2),
}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("backend", list(BY_HAND))
def test_steps_with_features_against_the_same_by_hand(benchmark: BenchmarkFixture, backend: str, feature: str) -> None:
    call, by_hand, workers = BY_HAND[backend]
    features = ALL_OF_THEM if feature == "all of them" else frozenset({feature})
    ours = Runner(with_feature(feature, "step"), backend, workers, call, resources=LIMITS)
    found = paired(ours, lambda: by_hand(RealSteps(features, PARENTS, WIDTH), workers, call), REPETITIONS)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(ours, rounds=1)
    report(f"{backend}@{workers}, 20 × 50, {feature}", found, len(PARENTS), "0.7")

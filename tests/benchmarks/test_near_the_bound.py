"""How near to the proven optimum: makespan ÷ lower bound of sleeping steps, by policy."""

from __future__ import annotations

import random
import statistics
import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor.model.workflow import Workflow
from executor.running import run
from harness.analysis import summary
from tests.benchmarks import graphs
from tests.benchmarks.measure import ROWS, workflow_of

WORKERS = 8


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


@pytest.mark.parametrize(("width", "at_most"), [(12, "1.01"), (40, "1.02")])
def test_makespan_over_lower_bound(benchmark: BenchmarkFixture, width: int, at_most: str) -> None:
    draw = random.Random(7)
    parents = graphs.layered(8, width)
    seconds = [draw.lognormvariate(0, 0.8) * 0.020 for _ in parents]
    ungrouped = workflow_of(parents, seconds=seconds)
    # Each layer is a group, as an author who knows `barrier` would write it: ungrouped steps would run alone.
    steps = [step.model_copy(update={"parallel_group": place // width}) for place, step in enumerate(ungrouped.steps)]
    workflow = Workflow(steps=tuple(steps))
    ratios: dict[str, list[float]] = {"dataflow": [], "levels": [], "barrier": []}
    for _ in range(7):
        for policy, found in ratios.items():
            result = run(workflow, backend="threads", workers=WORKERS, policy=policy, tools={"step": sleep})  # type: ignore[arg-type]  # the keys are policies
            figures = summary(result.timeline)
            found.append(figures.makespan_seconds / figures.lower_bound_seconds)
    benchmark.extra_info.update({policy: statistics.median(found) for policy, found in ratios.items()})
    benchmark.pedantic(
        lambda: run(workflow, backend="threads", workers=WORKERS, tools={"step": sleep}), rounds=1, iterations=1
    )
    for policy, found in ratios.items():
        quartiles = statistics.quantiles(found, n=4)
        ROWS.append(
            (
                f"makespan ÷ lower bound, 8 layers × {width}, {policy}",
                "",
                "",
                f"{statistics.median(found):.3f}",
                f"{quartiles[0]:.3f} – {quartiles[2]:.3f}",
                at_most if policy == "dataflow" else "shown beside",
            )
        )

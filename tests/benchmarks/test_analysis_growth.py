"""What the analysis costs an attempt, report included, at 10,000 and at 100,000 attempts: in proportion, or more?"""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

from executor.backends.virtual import VirtualBackend
from executor.model.workflow import Step, Workflow
from executor.running import Run, run
from harness.analysis import summary
from harness.environment import environment_facts
from harness.report.html import report_html
from harness.result import Repetition, result_document, run_document
from tests.benchmarks.measure import ROWS

LAYER = 50
SMALL, LARGE = 10_000, 100_000
AT_MOST = 1.3


def simulated(steps: int) -> Run:
    """Layers of 50 steps, each with two parents in the layer before, on 8 workers."""
    words = []
    for place in range(steps):
        layer, column = divmod(place, LAYER)
        before = tuple(f"s{(layer - 1) * LAYER + (column + shift) % LAYER}" for shift in (0, 7)) if layer else ()
        seconds = 0.01 * (1 + place * 7919 % 13)
        words.append(Step(step_id=f"s{place}", tool="noop", depends_on=before, expected_seconds=seconds))
    return run(Workflow(workflow_id="layers", steps=tuple(words)), backend=VirtualBackend(8))


def seconds_of(call: Callable[[], object], times: int) -> float:
    """The least of several."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def test_growth_of_the_analysis(benchmark: BenchmarkFixture) -> None:
    runs = {steps: simulated(steps) for steps in (SMALL, LARGE)}

    def figures(steps: int) -> object:
        return summary(runs[steps].timeline)

    def whole(steps: int) -> object:
        found = runs[steps]
        result = result_document(
            [Repetition(found.timeline, found.outputs, found.errors)], executor="virtual", parameters={}
        )  # fmt: skip
        document = run_document(
            run_id="0", scenario="layers", started_at="2024-01-01T00:00:00+00:00", environment=environment_facts(),
            results=[{**result, "scenario": "layers"}],
        )  # fmt: skip
        return report_html([document])

    asked = (("figures", figures, "shown beside"), ("figures, document and HTML report", whole, str(AT_MOST)))
    for name, call, at_most in asked:
        small = seconds_of(lambda call=call: call(SMALL), 3) / SMALL  # type: ignore[misc]  # bound for the loop
        large = seconds_of(lambda call=call: call(LARGE), 2) / LARGE  # type: ignore[misc]  # bound for the loop
        benchmark.extra_info[name] = large / small
        ROWS.append(
            (
                f"analysis of an attempt, {name}, at 100,000 ÷ at 10,000 attempts",
                f"{large * 1e6:.1f}",
                f"{small * 1e6:.1f} (at 10,000)",
                f"{large / small:.2f}",
                "",
                at_most,
            )
        )
    benchmark.pedantic(lambda: figures(SMALL), rounds=1)

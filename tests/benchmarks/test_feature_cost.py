"""What templates, limits, retries, timeouts and conditions add to a step: CPU time against plain steps, in turn."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

import pytest

from executor import Resource, Retry, Step, Workflow, run

WIDTH, LAYERS, REPETITIONS = 50, 20, 7
FEATURES = ("plain", "three references", "filters", "limit", "retry", "timeout", "condition", "all of them")
LIMITS = {"llm": Resource(capacity=8)}


def with_feature(feature: str) -> Workflow:
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
            steps.append(Step(step_id=f"s{layer}_{place}", tool="noop", depends_on=tuple(above), **fields))
    return Workflow(steps=tuple(steps))


@pytest.mark.parametrize("backend", ["threads", "asyncio", "virtual"])
def test_cost_of_a_step_with_features(backend: str) -> None:
    workflows = {feature: with_feature(feature) for feature in FEATURES}
    microseconds: dict[str, list[float]] = {feature: [] for feature in FEATURES}
    for _ in range(REPETITIONS):
        for feature, workflow in workflows.items():
            gc.collect()
            before = time.process_time()
            done = run(workflow, backend=backend, workers=8, resources=LIMITS)
            microseconds[feature].append((time.process_time() - before) * 1e6 / len(workflow.steps))
            assert done.ok
    plain = statistics.median(microseconds["plain"])
    print(f"\n| {backend} | CPU µs a step | ÷ plain |\n|---|---|---|")
    for feature, found in microseconds.items():
        print(f"| {feature} | {statistics.median(found):.1f} | {statistics.median(found) / plain:.2f} |")

"""`capacity: auto` against fixed capacities, on the stand-in with a limit that the run is not told."""

from __future__ import annotations

import statistics

import pytest

from executor.running import Run, run
from executor.workflow import Resource, Retry, Step, ToolDeclaration, Workflow
from harness.standin.server import StandIn

HIDDEN_LIMIT = 8
CALLS = 240
FIXED = (4, 6, 7, 8, 9, 12, 16)
ROUNDS = 3
AUTO = Resource.model_validate({"capacity": "auto"})


def asked(base_url: str, llm: Resource) -> Run:
    """All calls, none of which waits for another."""
    tool = ToolDeclaration.model_validate({"kind": "llm", "base_url": base_url, "stand_in": True})
    retry = Retry(max_attempts=1000, backoff_seconds=0.01, jitter="none")
    steps = tuple(
        Step(step_id=f"s{n}", tool="ask", prompt=f"Say {n}", needs={"llm": 1}, expected_seconds=0.1, retry=retry)
        for n in range(CALLS)
    )
    return run(
        Workflow(steps=steps), backend="asyncio", workers=64, tools={"ask": tool}, resources={"llm": llm}
    )  # fmt: skip


@pytest.mark.slow
def test_it_comes_within_15_percent_of_the_best_fixed_capacity() -> None:
    seconds: dict[str, list[float]] = {}
    curve: list[int] = []
    with StandIn(concurrency=HIDDEN_LIMIT) as standin:
        for _ in range(ROUNDS):
            for name, llm in [("auto", AUTO), *((str(one), Resource(capacity=one)) for one in FIXED)]:
                result = asked(standin.base_url, llm)
                assert result.ok
                seconds.setdefault(name, []).append(result.timeline.makespan_seconds)
                curve = [value for _, value in result.timeline.capacity_changes.get("llm", ())] or curve
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min((name for name in medians if name != "auto"), key=medians.__getitem__)
    ratio = medians["auto"] / medians[best]
    told = ", ".join(f"{name}: {median:.2f} s" for name, median in medians.items())
    print(f"\nhidden limit {HIDDEN_LIMIT}; {told}; auto is {ratio:.3f} × the best ({best}); its capacities: {curve}")
    assert ratio <= 1.15

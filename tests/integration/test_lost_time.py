"""Lost time sums to the makespan to the nanosecond: random runs of the engine, simulated and real, and calls."""

from __future__ import annotations

import pytest

from executor import Resource, Retry, Run, Step, Workflow, run
from executor.node_runtime import call_tools_parallel
from executor.record.timeline import Timeline
from harness.analysis import RunAnalysis
from harness.testing.drawing.generator import DrawnRun, random_workflow
from harness.testing.fuzz.faulty_simulation import play
from harness.testing.fuzz.fuzzing import Settings, quiet_instruments
from harness.testing.fuzz.real_runs import REAL_FEATURES, play_for_real, scaled

RUNS = 300
REAL_RUNS = 20


def assert_sums(timeline: Timeline) -> None:
    lost = RunAnalysis(timeline).lost_nanoseconds
    assert sum(lost.values()) == timeline.makespan_nanoseconds
    assert all(part > 0 for part in lost.values())


def test_random_runs_with_limits_failures_retries_calls_and_faults_on_the_virtual_clock() -> None:
    settings = Settings(seed=11, size=25)
    nested = 0
    with quiet_instruments():
        for number in range(RUNS):
            candidate = settings.draw(number)
            timeline = play(*candidate).timeline
            nested += any(parent >= 0 for parent in timeline.nested_in)
            assert_sums(timeline)
    assert nested > RUNS // 20


@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio"])
def test_random_runs_on_real_backends(backend: str) -> None:
    for number in range(REAL_RUNS):
        assert_sums(play_for_real(scaled(random_workflow(number, 12, REAL_FEATURES), scale=0.005), backend).timeline)


@pytest.mark.slow
def test_random_runs_in_processes() -> None:
    for number in (2, 7, 13):
        drawn = scaled(random_workflow(number, 12, REAL_FEATURES), scale=0.005)
        assert_sums(play_for_real(DrawnRun(drawn.workflow, drawn.behaviour), "processes").timeline)


def call_some(count: int) -> int:
    """Calls that wait for each other's limit, and one that fails and is tried again."""
    found = call_tools_parallel([("nap", None, {"number": number}) for number in range(count)], return_exceptions=True)
    return len(found)


def nap(number: int) -> int:
    """Some milliseconds."""
    return sum(range(20_000 * (1 + number % 3)))


@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio", "processes"])
def test_steps_that_call_others_under_a_limit(backend: str) -> None:
    steps = [Step(step_id="first", tool="nap", args={"number": 1})]
    steps += [
        Step(step_id=f"node-{place}", tool="call_some", args={"count": 3}, depends_on=("first",)) for place in range(3)
    ]
    steps.append(
        Step(step_id="flaky", tool="flaky", args={"fail_times": 1}, retry=Retry(max_attempts=2, backoff_seconds=0.01))
    )
    done: Run = run(
        Workflow(steps=tuple(steps)),
        backend=backend,
        workers=None if backend == "serial" else 2,
        tools={"call_some": call_some, "nap": {"kind": "python", "callable": f"{__name__}:nap", "needs": {"api": 1}}},
        resources={"api": Resource(capacity=1)},
    )
    assert done.ok, done.errors
    assert len(done.timeline.step_ids) == 5 + 9
    assert_sums(done.timeline)

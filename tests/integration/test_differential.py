"""The same random workflow on every backend: the same final states, outputs and attempts, and the oracle is content.

So it is for steps that call others, many levels deep. On `virtual` no tool runs: its final states and attempts are
compared.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from executor import Step, Workflow, run
from harness.testing.drawing.behaviour import AttemptPlan, StepPlan, called_by
from harness.testing.drawing.generator import DrawnRun, random_workflow
from harness.testing.fuzz.faults import NO_FAULTS
from harness.testing.fuzz.faulty_simulation import play
from harness.testing.fuzz.fuzzing import fuzz
from harness.testing.fuzz.real_run_judging import judge_real
from harness.testing.fuzz.real_runs import REAL_FEATURES, RealRun, play_for_real, scaled
from harness.testing.oracle.judge import assert_ok, outputs_equal

# Whether a timeout of a millisecond comes before the end, and who is first to fail, is the machine's affair.
STEADY = REAL_FEATURES - {"timeouts", "cancellations", "stops"}
CALLING = {"nested", "deep", "failures", "retries", "states", "resources", "priorities"}
POLICIES = ("dataflow", "levels", "barrier", "serial")


def drawn(number: int, size: int = 10) -> DrawnRun:
    return scaled(random_workflow(number, size, STEADY), scale=0.005)


def drawn_with_calls(count: int, first: int = 0) -> list[DrawnRun]:
    """So many runs in which steps call others."""
    found: list[DrawnRun] = []
    while len(found) < count:
        run = scaled(random_workflow(first, 8, CALLING), scale=0.005)
        if any(call for plan in run.behaviour.steps.values() for call in called_by(plan)):
            found.append(run)
        first += 1
    return found


def with_workers(run: DrawnRun, workers: int) -> DrawnRun:
    return DrawnRun(run.workflow, replace(run.behaviour, workers=workers))


def assert_same(one: RealRun, other: RealRun) -> None:
    assert one.statuses == other.statuses
    assert outputs_equal(one.engine.outputs, other.engine.outputs) == []
    assert one.attempts == other.attempts
    assert {name: error.error_type for name, error in one.engine.errors.items()} == {
        name: error.error_type for name, error in other.engine.errors.items()
    }


def assert_same_on_virtual(one: RealRun) -> None:
    """No tool runs there: the outputs are none."""
    played = play(one.run, NO_FAULTS)
    other = RealRun(one.run, "virtual", played.timeline, played.engine)
    assert other.statuses == one.statuses
    assert other.attempts == one.attempts


def assert_alike(runs: list[DrawnRun], backends: tuple[str, ...]) -> None:
    for one in runs:
        serial = play_for_real(one, "serial")
        assert_ok(judge_real(serial))
        assert_same_on_virtual(serial)
        for backend in backends:
            other = play_for_real(one, backend)
            assert_ok(judge_real(other))
            assert_same(serial, other)


def test_steps_that_call_others_end_everywhere_alike() -> None:
    runs = drawn_with_calls(15)
    assert_alike(runs, ("threads", "asyncio"))
    assert max(step_id.count("/") for run in runs for step_id in play(run, NO_FAULTS).timeline.step_ids) >= 4


@pytest.mark.slow
def test_steps_that_call_others_end_on_processes_alike() -> None:
    assert_alike([with_workers(run, 2) for run in drawn_with_calls(1, first=500)], ("processes",))


@pytest.mark.slow
def test_many_steps_that_call_others_end_everywhere_alike() -> None:
    assert_alike(drawn_with_calls(100, first=1_000), ("threads", "asyncio"))
    assert_alike([with_workers(run, 2) for run in drawn_with_calls(5, first=2_000)], ("processes",))


@pytest.mark.slow
def test_fuzzing_processes_finds_nothing() -> None:
    report = fuzz(12, seed=4, backend="processes", size=10)
    assert report.ok, report.failures


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
def test_a_random_workflow_ends_on_this_backend_as_on_serial(backend: str) -> None:
    assert_alike([drawn(number) for number in range(25)], (backend,))


def test_a_random_workflow_ends_on_processes_as_on_serial() -> None:
    assert_alike([with_workers(drawn(number), 2) for number in (3, 8, 21)], ("processes",))


def test_a_random_workflow_ends_under_each_policy_alike() -> None:
    for number in range(100, 112):
        run = drawn(number)
        first = play_for_real(run, "threads")
        for policy in POLICIES:
            other = play_for_real(DrawnRun(run.workflow, replace(run.behaviour, policy=policy)), "threads")
            assert_ok(judge_real(other))
            assert_same(first, other)


def test_a_worker_that_really_dies_is_judged_as_such() -> None:
    workflow, behaviour = drawn(5, size=3)
    died = StepPlan((AttemptPlan(0, "worker_died"), AttemptPlan(0)))
    steps = tuple(
        step.model_copy(update={"when": None, "retry": None, "for_each": None, "max_parallel": None})
        for step in workflow.steps
    )
    plans = dict.fromkeys(behaviour.steps, died)
    run = DrawnRun(
        workflow.model_copy(update={"steps": steps}), replace(behaviour, steps=plans, workers=2, policy="dataflow")
    )
    played = play_for_real(run, "processes")
    assert_ok(judge_real(played))
    assert set(played.attempts.values()) == {2}
    assert {one.outcome for one in played.timeline.attempts} == {"worker_died", "succeeded"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio"])
def test_fuzzing_a_real_backend_finds_nothing(backend: str) -> None:
    report = fuzz(30, seed=2, backend=backend, size=10)
    assert report.ok, report.failures
    assert report.dags == 30


@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio", "processes"])
def test_the_output_of_a_step_whose_condition_is_false_is_null_to_others(backend: str) -> None:
    steps = (
        Step(step_id="maybe", tool="noop", when="inputs.go"),
        Step(step_id="after", tool="noop", prompt="{{ steps.maybe.output is none }}"),
    )
    result = run(Workflow(inputs={"go": False}, steps=steps), backend=backend)
    assert result.statuses == {"maybe": "skipped", "after": "succeeded"}
    assert result.outputs == {"after": "True"}

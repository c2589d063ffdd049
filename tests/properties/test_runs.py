"""The production engine on `virtual` against the oracle, the reference and itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor import Retry, Step, Workflow, run
from executor.record.timeline import Timeline
from executor.scheduler import POLICIES
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, StepPlan
from harness.testing.drawing.generator import DEFAULT_FEATURES, FEATURES, DrawnRun, random_workflow
from harness.testing.drawing.simulated_run import simulate
from harness.testing.drawing.strategies import workflows
from harness.testing.fuzz.faults import FAULT_KINDS, NO_FAULTS, draw_faults
from harness.testing.fuzz.faulty_run_judging import compare_with_serial, depends_on_order
from harness.testing.fuzz.faulty_simulation import play
from harness.testing.fuzz.fuzzing import FuzzReport, Settings, examine, quiet_instruments
from harness.testing.fuzz.replay_files import read_replay
from harness.testing.fuzz.shrinking import Candidate
from harness.testing.fuzz.transition_coverage import ALL_TRANSITIONS
from harness.testing.oracle.judge import Violation, assert_ok, same_schedule
from tests.properties.effort import examples
from tests.properties.reference.reference_schedule import Reference

RUNS = settings(
    max_examples=examples(100),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# What the reference does not do to the nanosecond: it rounds rates, and takes events of one instant in its own order.
COMPARABLE = DEFAULT_FEATURES - {"jitter", "rates", "tokens", "limits", "timeouts", "cancellations"} | {"resources"}
REGRESSIONS = Path(__file__).parent / "regressions"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_instruments():
        yield


def facts(timeline: Timeline) -> list[tuple[object, ...]]:
    """Who ran when, and how it ended."""
    return sorted(
        (one.step_id, one.attempt, one.ready, one.granted, one.started, one.ended, one.known, one.outcome)
        for one in timeline.attempts
    )


@RUNS
@given(workflows(max_steps=15, features=FEATURES))
def test_every_run_has_every_property_of_the_oracle(run: DrawnRun) -> None:
    assert_ok(examine(Candidate(run, NO_FAULTS)))


@RUNS
@given(workflows(max_steps=12, features=FEATURES), st.integers(0, 1 << 32), st.sampled_from(FAULT_KINDS))
def test_every_run_has_every_property_with_faults_around_it(run: DrawnRun, seed: int, kind: str) -> None:
    assert_ok(examine(Candidate(run, draw_faults(seed, run, (kind, "disorder")))))


@settings(RUNS, max_examples=examples(40))
@given(workflows(max_steps=12))
def test_every_policy_keeps_the_rules(run: DrawnRun) -> None:
    for policy in POLICIES:
        assert_ok(examine(Candidate(DrawnRun(run.workflow, replace(run.behaviour, policy=policy)), NO_FAULTS)))


@RUNS
@given(workflows(max_steps=12, features=DEFAULT_FEATURES - {"cancellations", "stops"}))
def test_side_by_side_gives_the_outputs_of_a_serial_run(run: DrawnRun) -> None:
    assert_ok(compare_with_serial(play(run, NO_FAULTS)))


def test_the_same_seed_gives_the_same_schedule() -> None:
    for number in range(60):
        run = random_workflow(number, 15, FEATURES)
        faults = draw_faults(number, run)
        assert same_schedule(play(run, faults).timeline, play(run, faults).timeline) == []


def test_another_seed_gives_other_backoffs() -> None:
    differences = 0
    for number in range(60):
        workflow, behaviour = random_workflow(number, 15, ("failures", "retries", "jitter"))
        one, other = (simulate(workflow, replace(behaviour, seed=seed)) for seed in (1, 2))
        differences += same_schedule(one, other) != []
    assert differences > 3


def failing(outcome_count: int) -> StepPlan:
    return StepPlan(attempts=(AttemptPlan(0, "failed"),) * outcome_count)


def test_a_backoff_of_no_length_lasts_to_the_end_of_its_instant_in_both() -> None:
    again = Retry(max_attempts=2, backoff_seconds=0.0, jitter="none")
    steps = (Step(step_id="a", tool="noop", retry=again), Step(step_id="b", tool="noop", on_failure="stop"))
    run = DrawnRun(Workflow(steps=steps), Behaviour({"a": failing(2), "b": failing(1)}, workers=2))
    reference = Reference(run.behaviour.describe(run.workflow), run.behaviour)
    reference.run()
    assert list(simulate(*run).statuses) == list(reference.timeline().statuses) == ["failed", "failed"]


@RUNS
@given(workflows(max_steps=12, features=COMPARABLE))
def test_the_production_scheduler_does_what_the_slow_reference_does(run: DrawnRun) -> None:
    reference = Reference(run.behaviour.describe(run.workflow), run.behaviour)
    reference.run()
    slow, fast = reference.timeline(), simulate(*run)
    assert facts(fast) == facts(slow)
    assert dict(zip(fast.step_ids, fast.statuses, strict=True)) == dict(zip(slow.step_ids, slow.statuses, strict=True))


@settings(RUNS, max_examples=examples(40))
@given(workflows(max_steps=12, features=FEATURES - {"cancellations", "stops"}), st.integers(1, 4))
def test_the_number_of_workers_changes_no_outcome(run: DrawnRun, workers: int) -> None:
    if depends_on_order(run):
        return
    behaviour: Behaviour = replace(run.behaviour, workers=workers)
    one, other = simulate(*run), simulate(run.workflow, behaviour)
    assert dict(zip(one.step_ids, one.statuses, strict=True)) == dict(zip(other.step_ids, other.statuses, strict=True))


@pytest.mark.slow
def test_random_runs_reach_nearly_every_transition() -> None:
    report = FuzzReport("virtual", 1)
    found: list[Violation] = []
    for number in range(800):
        found += examine(Settings(seed=1).draw(number), report, thorough=number % 10 == 0)
    assert_ok(found)
    # All are reached in 20,000 runs; what happens to steps that resume is rare. No list is drawn that cannot be had.
    common = {transition for transition in ALL_TRANSITIONS if transition[0] != "resuming"}
    assert common - {("ready", "expand", "failed")} <= set(report.transitions)
    assert report.faults.keys() == set(FAULT_KINDS)


def test_a_step_that_was_overtaken_a_thousand_times_is_not_forgotten() -> None:
    """At the real limit: two chains side by side until just after it, then each at its own pace."""
    steps = [Step(step_id="last", tool="noop", expected_seconds=0.0)]
    for chain in (0, 1):
        for place in range(620):
            seconds = 1.0 if place < 501 else 1.0 + chain / 7
            above = (f"c{chain}-{place - 1}",) if place else ()
            steps.append(Step(step_id=f"c{chain}-{place}", tool="noop", depends_on=above, expected_seconds=seconds))
    ended = run(Workflow(steps=tuple(steps)), backend="virtual", workers=2)
    grants = [attempt.step_id for attempt in ended.timeline.attempts]
    assert 1000 < grants.index("last") < 1010


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_once_found_stays_away(path: Path) -> None:
    assert_ok(examine(Candidate(*read_replay(path))))


def test_seeds_that_once_found_something_find_nothing() -> None:
    for line in (REGRESSIONS / "seeds.txt").read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words:
            seed, size, number = map(int, words)
            found = examine(Settings(seed=seed, size=size).draw(number))
            assert found == [], f"seed {seed}, size {size}, workflow {number}"

"""Random runs with mapped steps on the virtual clock: the oracle, the analyses, and the record."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings

from executor.record.timeline import Timeline
from harness.analysis import RunAnalysis
from harness.result import Repetition, result_document, timeline_from_document
from harness.testing.drawing.generator import DEFAULT_FEATURES, FEATURES, DrawnRun
from harness.testing.drawing.simulated_run import simulate
from harness.testing.drawing.strategies import workflows
from harness.testing.fuzz.faults import NO_FAULTS
from harness.testing.fuzz.faulty_run_judging import compare_with_serial
from harness.testing.fuzz.faulty_simulation import play
from harness.testing.fuzz.fuzzing import examine, quiet_instruments
from harness.testing.fuzz.shrinking import Candidate
from harness.testing.oracle.judge import assert_ok, same_schedule
from tests.properties.effort import examples

RUNS = settings(
    max_examples=examples(60),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
MAPPED = (
    "mapped",
    "priorities",
    "resources",
    "states",
    "failures",
    "retries",
    "stops",
    "policies",
    "nested",
    "timeouts",
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_instruments():
        yield


def assume_mapped(run: DrawnRun) -> None:
    assume(any(step.for_each is not None for step in run.workflow.steps))


def played(run: DrawnRun) -> Timeline:
    assume_mapped(run)
    return simulate(run.workflow, run.behaviour)


@RUNS
@given(workflows(max_steps=10, features=FEATURES))
def test_every_run_with_mapped_steps_has_every_property_of_the_oracle(run: DrawnRun) -> None:
    assume_mapped(run)
    assert_ok(examine(Candidate(run, NO_FAULTS)))


@RUNS
@given(workflows(max_steps=8, features=DEFAULT_FEATURES - {"cancellations", "stops"} | {"mapped"}))
def test_mapped_steps_give_the_outputs_of_a_serial_run(run: DrawnRun) -> None:
    assume_mapped(run)
    assert_ok(compare_with_serial(play(run, NO_FAULTS)))


@RUNS
@given(workflows(max_steps=10, features=MAPPED))
def test_lost_time_still_sums_to_the_makespan(run: DrawnRun) -> None:
    timeline = played(run)
    assert sum(RunAnalysis(timeline).lost_nanoseconds.values()) == timeline.makespan_nanoseconds


@RUNS
@given(workflows(max_steps=10, features=MAPPED))
def test_no_run_is_faster_than_its_lower_bound(run: DrawnRun) -> None:
    timeline = played(run)
    assert RunAnalysis(timeline).lower_bound.nanoseconds <= timeline.makespan_nanoseconds


@RUNS
@given(workflows(max_steps=10, features=MAPPED))
def test_a_mapped_step_works_at_nothing_itself(run: DrawnRun) -> None:
    timeline = played(run)
    mapped = {step.step_id for step in run.workflow.steps if step.for_each is not None}
    for attempt in timeline.attempts:
        if attempt.step_id in mapped:
            assert attempt.started is not None
            assert attempt.ended is not None
            assert sum(end - start for start, end in attempt.blocked) == attempt.ended - attempt.started
            assert attempt.attempt == 1


@settings(RUNS, max_examples=examples(25))
@given(workflows(max_steps=10, features=MAPPED))
def test_the_document_gives_the_same_record_back(run: DrawnRun) -> None:
    timeline = played(run)
    again = timeline_from_document(json.loads(json.dumps(result_document([Repetition(timeline)]))))
    assert same_schedule(timeline, again) == []

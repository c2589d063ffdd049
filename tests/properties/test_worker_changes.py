"""Workers that come and go during a run: in the record, in the lower bound, in the result document."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor.record.timeline import Attempt, ClockReading, Timeline
from harness.analysis.run_analysis import RunAnalysis
from harness.result import Repetition, result_document, run_schema, timeline_from_document
from harness.testing.drawing.generator import FEATURES, DrawnRun
from harness.testing.drawing.strategies import workflows
from harness.testing.fuzz.faults import FaultPlan
from harness.testing.fuzz.faulty_run_judging import judge_played
from harness.testing.fuzz.faulty_simulation import Played, play
from harness.testing.fuzz.fuzzing import quiet_instruments
from tests.properties.effort import examples

SECOND = 1_000_000_000
RUNS = settings(
    max_examples=examples(60),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SIZES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), min_size=1, max_size=5)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_instruments():
        yield


def resized(run: DrawnRun, sizes: list[tuple[int, int]]) -> Played:
    # The last change leaves a worker, so that the run ends.
    plan = tuple((time * SECOND // 4, (("workers", workers),)) for time, workers in sorted(sizes))
    return play(run, FaultPlan(resizes=plan))


@RUNS
@given(workflows(max_steps=15, features=FEATURES), SIZES)
def test_every_change_is_in_the_record_and_the_oracle_agrees(run: DrawnRun, sizes: list[tuple[int, int]]) -> None:
    assert judge_played(resized(run, sizes)) == []


@RUNS
@given(workflows(max_steps=15, features=FEATURES), SIZES)
def test_no_run_is_faster_than_the_workers_that_there_were_allow(run: DrawnRun, sizes: list[tuple[int, int]]) -> None:
    timeline = resized(run, sizes).timeline
    bound = RunAnalysis(timeline).lower_bound
    assert bound.nanoseconds <= timeline.makespan_nanoseconds
    if not timeline.worker_changes:
        assert bound.terms["work"] == -(-RunAnalysis(timeline).work_nanoseconds // timeline.workers)


def steps_in_a_row(*spans: tuple[float, float]) -> Timeline:
    attempts = []
    for number, (start, end) in enumerate(spans):
        attempt = Attempt(number, f"s{number}", 1, 0, round(start * SECOND))
        attempt.started, attempt.ended = round(start * SECOND), round(end * SECOND)
        attempt.known, attempt.outcome = attempt.ended, "succeeded"
        attempts.append(attempt)
    ids = [one.step_id for one in attempts]
    empty: list[tuple[int, ...]] = [() for _ in ids]
    return Timeline(ids, empty, empty, ["succeeded" for _ in ids], attempts, 4, backend="virtual")


def test_workers_count_for_as_long_as_they_were_there() -> None:
    timeline = steps_in_a_row((0, 2), (2, 4), (4, 6), (4, 6), (4, 6), (4, 6))
    assert RunAnalysis(timeline).lower_bound.terms["work"] == 3 * SECOND
    # One worker for 4 s, then four: 12 s of work take 4 s and 8 s ÷ 4.
    timeline.worker_changes = [(0, 1), (4 * SECOND, 4)]
    assert RunAnalysis(timeline).lower_bound.terms["work"] == 6 * SECOND
    assert RunAnalysis(timeline).lower_bound.binding == "work"


def test_what_ran_on_past_a_reduction_counts_as_nothing() -> None:
    timeline = steps_in_a_row((0, 3), (0, 3))
    timeline.worker_changes = [(0, 2), (1 * SECOND, 1), (2 * SECOND, 0)]
    # Of 6 s, 1 s ran beyond the one worker, and 2 s beyond none: 3 s are left, and took 2 s.
    assert RunAnalysis(timeline).lower_bound.terms["work"] == 2 * SECOND


def test_of_several_changes_at_one_instant_the_last_one_counts() -> None:
    timeline = steps_in_a_row((0, 2), (0, 2))
    timeline.worker_changes = [(0, 4), (0, 1)]
    assert RunAnalysis(timeline).lower_bound.terms["work"] == 2 * SECOND


def test_the_result_document_gives_the_changes_and_clocks_back() -> None:
    timeline = steps_in_a_row((0, 3), (0, 3))
    timeline.worker_changes = [(0, 2), (SECOND, 1)]
    timeline.clocks = {"far process-1": ClockReading(-5, 7, None, 1, 0)}
    document = json.loads(json.dumps(result_document([Repetition(timeline)])))
    jsonschema.Draft202012Validator({"$defs": run_schema()["$defs"], "$ref": "#/$defs/result"}).validate(document)
    again = timeline_from_document(document)
    assert list(again.worker_changes) == [(0, 2), (SECOND, 1)]
    assert again.clocks == timeline.clocks

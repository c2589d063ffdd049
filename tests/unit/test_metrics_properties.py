"""Curves, totals and series of random runs: with calls, retries, failures, limits, cancellations and all policies."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings

from executor.record.timeline import NANOSECONDS, Timeline
from harness.analysis import RunAnalysis
from harness.analysis.attempt_index import AttemptIndex
from harness.result import Repetition, result_document, timeline_from_document
from harness.telemetry.metrics.labels import result_labels
from harness.telemetry.metrics.run_metrics import run_samples, step_totals
from harness.telemetry.metrics.time_series import Curve, curves_of, series_of
from harness.testing.drawing.generator import FEATURES, DrawnRun
from harness.testing.drawing.simulated_run import simulate
from harness.testing.drawing.strategies import workflows
from tests.properties.effort import examples
from tests.unit.metric_documents import is_stale
from tests.unit.run_documents import document

RUNS = settings(
    max_examples=examples(60),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def area(curve: Curve) -> int:
    return sum(value * (end - start) for (start, value), (end, _) in pairwise(curve))


def played(run: DrawnRun) -> Timeline:
    return simulate(run.workflow, run.behaviour)


@RUNS
@given(workflows(max_steps=12, features=FEATURES))
def test_curves_hold_exactly_the_work_the_waiting_and_no_more_than_there_is(run: DrawnRun) -> None:
    timeline = played(run)
    index = AttemptIndex(timeline)
    curves = curves_of(timeline)
    assert area(curves.running) == sum(index.run_nanoseconds(one) for one in index.ended)
    assert area(curves.ready) == sum(one.granted - one.ready for one in index.ended)
    most = max((value for _, value in curves.running), default=0)
    assert most >= RunAnalysis(timeline).concurrency.maximum
    for name, curve in curves.in_use.items():
        capacity = timeline.resources[name].capacity
        assert capacity is None or max(value for _, value in curve) <= capacity
        assert min(value for _, value in curve) >= 0
    for curve in (curves.running, curves.ready, *curves.in_use.values()):
        assert curve[0][0] == 0
        assert curve[-1] == (curves.end, 0)


@RUNS
@given(workflows(max_steps=12, features=FEATURES))
def test_what_is_sent_of_a_run_adds_up_to_its_record_and_its_document(run: DrawnRun) -> None:
    timeline = played(run)
    cell = result_document([Repetition(timeline)], executor="threads")
    whole = document(cell)
    ended = [one for one in timeline.attempts if one.outcome is not None]
    totals = step_totals(cell, timeline_from_document(cell))
    assert sum(totals.attempts.values()) == sum(totals.durations.counts) == len(ended)
    assert totals.busy == sum(AttemptIndex(timeline).run_nanoseconds(one) for one in ended)
    assert sum(totals.retries.values()) == sum(one.attempt > 1 for one in ended)
    last = {(one.name, one.labels): one.points[-2].value for one in series_of(whole) if is_stale(one.points[-1].value)}
    labels = result_labels(cell, str(whole["scenario"]))
    if timeline.attempts:
        for sample in totals.samples(labels):
            assert last[sample.name, sample.labels] == sample.value
    lost = [one.value for one in run_samples(cell, labels, completed_seconds=0.0) if one.name.endswith("lost_seconds")]
    assert abs(sum(lost) - timeline.makespan_seconds) <= 1e-9 * (1 + len(timeline.attempts))
    assert round(sum(lost) * NANOSECONDS) >= 0

"""Expectations: how lines are read, and when they are met."""

from __future__ import annotations

import pickle
from xml.etree import ElementTree as ET

import pytest

from executor.model.findings import WorkflowError
from executor.record.timeline import NANOSECONDS, Wait
from harness.expectations import (
    Expectation,
    ExpectationError,
    Metric,
    Selector,
    all_met,
    judge,
    junit,
    parse_expectation,
    parse_expectations,
)
from harness.result import DocumentError, Repetition, result_document
from tests.unit.run_documents import document, result, timeline

SERIAL = [2.0, 2.1, 2.0, 2.05, 1.95, 2.0]
FAST = [1.0, 1.05, 1.0, 1.02, 0.98, 1.0]


def verdicts(line, *results, **more):
    return judge([parse_expectation(line)], document(*results, **more))


def only(line, *results):
    (verdict,) = verdicts(line, *results)
    return verdict


@pytest.mark.parametrize(
    ("line", "selector", "metric", "operator", "threshold"),
    [
        ("threads@4 speedup_ratio >= 1.3", Selector("threads", 4), Metric("speedup_ratio"), ">=", 1.3),
        ("errors == 0", None, Metric("errors"), "==", 0),
        ("errors==0", None, Metric("errors"), "==", 0),
        ("lost.worker share < 0.1", None, Metric("lost.worker", share=True), "<", 0.1),
        ("p95(step_wait_seconds) < .2", None, Metric("step_wait_seconds", "p95"), "<", 0.2),
        ("makespan_seconds <= 3", None, Metric("makespan_seconds"), "<=", 3),
        ("makespan_seconds <= 900ms", None, Metric("makespan_seconds"), "<=", 0.9),
        ("makespan_seconds <= 2 min", None, Metric("makespan_seconds"), "<=", 120),
        ("p99(first_token_seconds) < 250 ms", None, Metric("first_token_seconds", "p99"), "<", 0.25),
        ("lost.worker share < 10%", None, Metric("lost.worker", share=True), "<", 0.1),
        ("lost.worker < 1.5s", None, Metric("lost.worker"), "<", 1.5),
        ("schedule_efficiency_ratio > 90 %", None, Metric("schedule_efficiency_ratio"), ">", 0.9),
        ("* lost.resource.llm > -1e-3", Selector(), Metric("lost.resource.llm"), ">", -0.001),
        ("  dask/barrier   errors != 2 ", Selector("dask", None, "barrier"), Metric("errors"), "!=", 2),
        (
            'processes@2/dataflow{n=8, topic="a, b}", who=cats and dogs, deep={"x": [1, 2]}} errors == 0',
            Selector(
                "processes", 2, "dataflow", {"n": 8, "topic": "a, b}", "who": "cats and dogs", "deep": {"x": [1, 2]}}
            ),
            Metric("errors"), "==", 0,
        ),
    ],
)  # fmt: skip
def test_a_line_is_read(line, selector, metric, operator, threshold):
    assert parse_expectation(line) == Expectation(line, selector, metric, operator, threshold)


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("", 1, "an operator is missing"),
        ("errors", 7, "an operator is missing"),
        ("errors = 0", 8, "'=' is no operator"),
        ("errors ! 0", 8, "'!' is no operator"),
        ("errors ==", 10, "a number is missing"),
        ("errors == many", 11, "a number is missing"),
        ("errors > = 1", 10, "a number is missing"),
        ("errors == 10%", 13, "'%' after the number"),
        ("errors == 10 ms", 14, "'ms' after the number"),
        ("speedup_ratio > 1s", 18, "'s' after the number"),
        ("makespan_seconds < 5%", 21, "'%' after the number"),
        ("errors == 1 2", 13, "'2' after the number"),
        ("makespan_seconds < 1e999", 20, "too large"),
        ("== 3", 1, "a metric is missing"),
        ("a b c d > 1", 5, "'c' is one word too many"),
        ("threads@x errors == 0", 9, "'x' is no number of workers"),
        ("threads@0 errors == 0", 9, "'0' is no number of workers"),
        ("@4 errors == 0", 1, "an executor is missing"),
        ("threads@4/flow errors == 0", 11, "there is no policy 'flow'"),
        ("threads{n=4 errors == 0", 8, "never closed"),
        ("threads{n} errors == 0", 10, "the value of 'n' is missing"),
        ("threads{n=} errors == 0", 11, "a value is missing"),
        ("threads{=4} errors == 0", 9, "a parameter's name is missing"),
        ("threads{n=1, n=2} errors == 0", 14, "is there twice"),
        ("threads{n=1}x errors == 0", 13, "after the brace"),
        ("spedup_ratio > 1", 1, "there is no metric 'spedup_ratio'"),
        ("threads@4 spedup_ratio > 1", 11, "there is no metric 'spedup_ratio'"),
        ("p95(errors) > 1", 5, "errors is one value"),
        ("q95(makespan_seconds) > 1", 1, "'q95' sums nothing up"),
        ("p95(makespan_seconds > 1", 1, "brackets"),
        ("step_wait_seconds < 1", 1, "a value for each step"),
        ("lost.wroker share < 0.1", 6, "no time is lost to 'wroker'"),
        ("lost.resource. < 0.1", 6, "no time is lost to 'resource.'"),
        ("makespan_seconds share < 1", 1, "only lost time has a share"),
    ],
)
def test_a_line_that_does_not_parse_points_at_the_column(line, column, message):
    with pytest.raises(ExpectationError) as caught:
        parse_expectation(line)
    assert caught.value.column == column
    assert message in caught.value.message
    shown = str(caught.value).splitlines()
    assert shown[1] == f"    {line}"
    assert shown[2].index("^") == 4 + column - 1


def test_a_misspelt_name_is_answered_with_the_nearest_one():
    with pytest.raises(ExpectationError, match="did you mean 'speedup_ratio'"):
        parse_expectation("spedup_ratio > 1")
    with pytest.raises(ExpectationError, match="did you mean 'dataflow'"):
        parse_expectation("threads/dataflw errors == 0")


def test_all_lines_that_do_not_parse_are_told_at_once_with_their_place():
    with pytest.raises(WorkflowError) as caught:
        parse_expectations(["errors = 0", "errors == 0", "nothing > 1"])
    assert [finding.path for finding in caught.value.findings] == [("expect", 0), ("expect", 2)]
    assert "column 8" in str(caught.value)
    assert [one.line for one in parse_expectations(["errors == 0", "errors >= 0"])] == ["errors == 0", "errors >= 0"]


def test_the_error_survives_pickling_and_hides_control_characters():
    with pytest.raises(ExpectationError) as caught:
        parse_expectation("errors\x1b[2J == 0")
    assert "\x1b" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_unfavourable_end_of_the_interval_is_judged():
    cell = result(FAST, baselines=SERIAL)
    low, high = cell["speedup_ratio"]["ci95"]
    assert low < 2.0 < high or low <= 2.0
    met = only(f"threads@4 speedup_ratio >= {low - 0.01}", cell)
    assert met.met
    assert met.margin == pytest.approx(0.01)
    assert (met.measured, met.low, met.high) == (cell["speedup_ratio"]["median"], low, high)
    missed = only(f"threads@4 speedup_ratio >= {low + 0.001}", cell)
    assert not missed.met
    assert missed.judged
    assert "more repetitions" in missed.reason


def test_a_median_on_the_wrong_side_says_how_far():
    verdict = only("makespan_seconds <= 0.5", result([1.0]))
    assert not verdict.met
    assert verdict.margin == -0.5
    assert "0.5 short of it" in verdict.reason


@pytest.mark.parametrize(
    ("line", "met"),
    [
        ("makespan_seconds >= 1", True),
        ("makespan_seconds > 1", False),
        ("makespan_seconds <= 1", True),
        ("makespan_seconds < 1", False),
        ("makespan_seconds == 1", True),
        ("makespan_seconds == 1.5", False),
        ("makespan_seconds != 1", False),
        ("makespan_seconds != 2", True),
        ("max(makespan_seconds) <= 1", True),
        ("mean(work_seconds) == 1", True),
        ("lower_bound_seconds == 1", True),
        ("critical_path_seconds == 1", True),
        ("schedule_efficiency_ratio == 1", True),
        ("concurrency.max == 1", True),
        ("concurrency.mean == 1", True),
        ("lost.running share == 1", True),
        ("lost.worker == 0", True),
        ("lost.resource.llm share == 0", True),
        ("startup_seconds == 0", True),
        ("errors == 0", True),
        ("p95(step_duration_seconds) == 1", True),
        ("p95(step_wait_seconds) == 0", True),
    ],
)
def test_every_operator_and_metric_is_judged(line, met):
    assert only(line, result([1.0])).met is met


def test_efficiency_is_the_speedup_by_workers_with_its_interval():
    cell = result(FAST, baselines=SERIAL)
    verdict = only("efficiency_ratio >= 0.1", cell)
    assert verdict.low == cell["speedup_ratio"]["ci95"][0] / 4


def test_waits_and_durations_are_taken_from_every_attempt():
    one = timeline(1.0, 0.5)
    one.attempts[0].waits = [Wait("worker", 0, NANOSECONDS // 2)]
    cell = result_document([Repetition(one)])
    assert only("max(step_wait_seconds) == 0.5", cell).met
    assert only("min(step_duration_seconds) == 1", cell).met
    assert only("lost.worker share < 0.34", cell).met


def test_errors_are_the_steps_that_failed():
    one = timeline(1.0)
    one.statuses = ["failed"]
    assert only("errors == 1", result_document([Repetition(one)])).met
    counted = result([1.0, 1.0])
    counted["samples"][0]["errors"], counted["samples"][1]["errors"] = 3, 0
    assert only("errors == 3", counted).met


def test_a_line_without_selector_is_about_every_cell():
    found = verdicts("errors == 0", result([1.0]), result([1.0], backend="serial", workers=1))
    assert [one.cell for one in found] == ["threads@4/dataflow", "serial@1/dataflow"]
    assert all_met(found)


@pytest.mark.parametrize(
    ("selector", "count"),
    [("threads", 3), ("*", 4), ("threads@4{n=1}", 1), ("threads{n=2}", 1), ("threads{n=true}", 0), ("*/levels", 0)],
)
def test_a_selector_leaves_out_what_may_be_anything(selector, count):
    cells = [
        result([1.0], parameters={"n": 1}),
        result([1.0], parameters={"n": 2, "m": "x"}),
        result([1.0]),
        result([1.0], backend="serial", workers=1),
    ]
    found = verdicts(f"{selector} errors == 0", *cells)
    assert sum(one.judged for one in found) == count


def test_a_selector_that_matches_nothing_is_not_met_and_says_what_there_is():
    verdict = only("threads@8 errors == 0", result([1.0]))
    assert not verdict.met
    assert not verdict.judged
    assert verdict.reason == "no cell matches threads@8; there are threads@4/dataflow"


def test_a_speedup_that_nobody_measured_is_not_met_and_says_how_to_measure_it():
    for line in ("speedup_ratio > 1", "efficiency_ratio > 1", "min(speedup_ratio) > 1"):
        verdict = only(line, result([1.0]))
        assert not verdict.met
        assert not verdict.judged
        assert "makespan bench" in verdict.reason
    assert "not measured" in only("cpu_seconds < 1", result([1.0])).reason


def test_a_document_of_another_kind_is_refused():
    with pytest.raises(DocumentError):
        judge([parse_expectation("errors == 0")], {"schema": "other"})


def test_junit_counts_failures_and_errors_and_escapes_what_files_say():
    found = verdicts("errors == 0", result([1.0])) + verdicts("makespan_seconds < 0.5", result([1.0]))
    found += verdicts('dask{x="<&\x01>"} errors == 0', result([1.0]))
    root = ET.fromstring(junit(found, suite='jokes <"&>'))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert suite.get("name") == 'jokes <"&>'
    assert [[child.tag for child in case] for case in suite] == [["system-out"], ["failure"], ["error"]]
    assert suite[0].get("classname") == 'jokes <"&>.threads@4/dataflow'
    assert suite[2].get("name") == 'dask{x="<&\N{REPLACEMENT CHARACTER}>"} errors == 0'


def test_a_verdict_is_a_document_of_plain_values():
    verdict = only("errors == 0", result([1.0]))
    assert verdict.document() == {
        "line": "errors == 0", "cell": "threads@4/dataflow", "met": True, "judged": True, "measured": 0.0,
        "low": None, "high": None, "margin": 0.0, "reason": "measured 0", "confirmed": None,
    }  # fmt: skip
    assert str(verdict) == "met: errors == 0 [threads@4/dataflow]: measured 0"


def test_the_time_to_the_first_token_is_that_of_attempts_that_have_one():
    found = result(FAST)
    found["steps"][0]["attempts"][0]["facts"] = {"makespan.first_token_seconds": 0.2}
    assert only("p95(first_token_seconds) < 250ms", found).met
    assert not only("p95(first_token_seconds) < 150ms", found).met
    missing = only("max(first_token_seconds) < 1s", result(FAST))
    assert not missing.met
    assert "piece by piece" in str(missing)

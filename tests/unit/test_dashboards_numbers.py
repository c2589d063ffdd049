"""How variables are filled in, and how an answer is compared with the JSON of runs."""

from __future__ import annotations

from typing import Any

import pytest

from harness.dashboards.validation.expected_numbers import Known, close, known_numbers
from harness.dashboards.validation.number_comparison import differences
from harness.dashboards.validation.substitution import alternatives, filled, seconds_of, time_words
from tests.unit.run_documents import document, result

CELL = {"scenario": "jokes", "executor": "threads", "workers": "4", "policy": "dataflow", "variant": "default"}
SERIAL = {**CELL, "executor": "serial", "workers": "1"}
MAKESPAN = "makespan_run_makespan_seconds"


def known(value: float, labels: dict[str, str] = CELL, metric: str = MAKESPAN, age: int = 0) -> Known:
    return Known(metric, labels, value, "run", age)


def answered(value: float, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [0, str(value)]}


def faults_of(expression: str, answer: list[dict[str, Any]], numbers: list[Known], **options: Any) -> list[str]:
    return list(differences(expression, answer, numbers, **{"instant": True, **options}))


# ---------------------------------------------------------------------- variables


def test_one_value_is_filled_in_as_it_is_and_several_as_alternatives() -> None:
    assert filled('x{a="$a"}', {"a": "n=1.5"}) == 'x{a="n=1.5"}'
    assert filled('x{a=~"$a"}', {"a": ["p", "q"]}) == 'x{a=~"(p|q)"}'
    assert filled("[${__range}] $unknown ${a:regex}", {"__range": "5s", "a": "b"}) == "[5s] $unknown b"


def test_what_means_something_in_a_regular_expression_is_escaped_twice_as_promql_wants_it() -> None:
    assert alternatives(["n=1.5"]) == r"n=1\\.5"
    assert alternatives(['a"b', "c"]) == r"(a\"b|c)"


def test_a_longer_name_is_not_taken_for_a_shorter_one() -> None:
    assert filled("$__interval_ms $__interval", time_words(0, 100, 2, 1)) == "2000 2000ms"


def test_the_rate_interval_holds_four_scrapes_at_least() -> None:
    assert time_words(0, 100, 0.01, 15)["__rate_interval"] == "60000ms"
    assert time_words(0, 100, 100, 15)["__rate_interval"] == "115000ms"


@pytest.mark.parametrize(("text", "seconds"), [("10ms", 0.01), ("15s", 15), ("30d", 2_592_000), ("", 7), ("soon", 7)])
def test_a_span_is_read_as_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text, 7) == pytest.approx(seconds)


# ---------------------------------------------------------------------- numbers


def test_a_number_that_is_the_jsons_is_fine_and_one_that_is_not_is_told_with_it() -> None:
    numbers = [known(2.0), known(5.0, SERIAL)]
    assert faults_of(MAKESPAN, [answered(2.0, **CELL), answered(5.0, **SERIAL)], numbers) == []
    (sentence,) = faults_of(MAKESPAN, [answered(5.0, **CELL)], numbers)
    assert sentence.startswith("it shows 5 for scenario jokes, executor threads")
    assert sentence.endswith("the JSON of the run says 2")


def test_rounding_is_no_difference_and_a_millionth_is_one() -> None:
    assert close(0.1 + 0.2, 0.3)
    assert not close(1.0, 1.000001)
    assert faults_of(MAKESPAN, [answered(2.000002, **CELL)], [known(2.0)])


def test_at_one_moment_only_the_newest_run_counts_and_over_a_range_every_run() -> None:
    numbers = [known(2.0), known(3.0, age=1)]
    assert faults_of(MAKESPAN, [answered(3.0, **CELL)], numbers)
    curve = {"metric": CELL, "values": [[0, "3.0"], [1, "2.0"]]}
    assert faults_of(MAKESPAN, [curve], numbers, instant=False) == []


def test_a_sum_is_compared_with_the_sum_of_what_the_matchers_take() -> None:
    metric = "makespan_step_attempts_total"
    numbers = [
        known(4.0, {**CELL, "tool": "a", "result": "succeeded"}, metric),
        known(2.0, {**CELL, "tool": "a", "result": "failed"}, metric),
        known(1.0, {**CELL, "tool": "b", "result": "failed"}, metric),
    ]
    expression = f'sum({metric}{{result!="succeeded"}})'
    assert faults_of(expression, [answered(3.0)], numbers) == []
    assert faults_of(expression, [answered(7.0)], numbers)


def test_a_count_is_compared_with_how_many_there_are() -> None:
    numbers = [known(2.0), known(5.0, SERIAL)]
    assert faults_of(f"count({MAKESPAN})", [answered(2)], numbers) == []
    assert faults_of(f"count({MAKESPAN})", [answered(3)], numbers) == ["it counts 3; the JSON of the runs has 2"]


def test_figures_that_stand_side_by_side_are_not_taken_for_one_another() -> None:
    numbers = [known(2.0), known(1.0, metric="makespan_run_lower_bound_seconds")]
    expression = f"{MAKESPAN} or makespan_run_lower_bound_seconds"
    assert faults_of(expression, [answered(1.0, **CELL, what="lower bound")], numbers) == []
    assert faults_of(expression, [answered(1.0, **CELL, what="makespan")], numbers)


def test_a_cells_name_is_read_as_the_queries_write_it() -> None:
    numbers = [known(2.0), known(5.0, SERIAL)]
    assert faults_of(MAKESPAN, [answered(2.0, cell="jokes threads@4 dataflow")], numbers) == []
    assert faults_of(MAKESPAN, [answered(5.0, cell="jokes threads@4 dataflow")], numbers)
    assert faults_of(MAKESPAN, [answered(5.0, series="jokes serial dataflow")], numbers) == []


def test_what_a_query_makes_up_and_cells_of_unknown_runs_are_left_out() -> None:
    numbers = [known(2.0)]
    assert faults_of(MAKESPAN, [answered(9.0, series="ideal", workers="9")], numbers) == []
    foreign = [tuple(CELL.items())]
    assert faults_of(MAKESPAN, [answered(9.0, **CELL)], numbers, foreign=foreign) == []


def test_a_series_of_a_metric_whose_numbers_nobody_states_is_not_judged_by_another_ones() -> None:
    expression = f"makespan_step_wait_seconds_sum or {MAKESPAN}"
    assert faults_of(expression, [answered(9.0, **CELL, reason="worker")], [known(2.0)]) == []
    waited = known(3.0, {**CELL, "reason": "worker"}, "makespan_step_wait_seconds_sum")
    assert faults_of(expression, [answered(9.0, **CELL, reason="worker")], [known(2.0), waited])


def test_the_numbers_of_documents_are_those_of_their_json() -> None:
    older, newer = document(result([1.0, 1.1, 1.2]), run_id="a"), document(result([2.0, 2.1, 2.2]), run_id="b")
    numbers = known_numbers([older, newer])
    makespans = {one.run_id: (one.value, one.age) for one in numbers if one.metric == MAKESPAN}
    assert makespans == {"a": (1.1, 1), "b": (2.1, 0)}


def test_a_speedup_stays_that_of_the_newest_run_that_measured_one() -> None:
    older = document(result([1.0], baselines=[2.0]), run_id="a")
    numbers = known_numbers([older, document(result([2.0]), run_id="b")])
    speedups = {one.run_id: (one.value, one.age) for one in numbers if one.metric == "makespan_run_speedup_ratio"}
    assert speedups == {"a": (2.0, 0)}


def test_a_limit_that_a_query_draws_is_no_number_of_a_run() -> None:
    numbers = [known(0.97)]
    for factor, faults in ((0, 0), (1, 1)):
        expression = f"max(last_over_time({MAKESPAN}[5s])) * {factor} + 0.9"
        assert len(faults_of(expression, [answered(0.9)], numbers)) == faults

"""What holds of every expectation and of every set of samples."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.expectations import (
    METRICS,
    Expectation,
    ExpectationError,
    Metric,
    Selector,
    judge,
    parse_expectation,
)
from harness.expectations.measuring import ONLY_AGGREGATED
from harness.statistics import Interval, holm, interval, paired_ratio, verdict
from tests.properties.effort import examples
from tests.unit.run_documents import document, result

PIECES = [
    "threads", "@", "4", "/", "dataflow", "{", "}", "n", "=", ",", '"', "\\", " ", "errors", "speedup_ratio", "p95",
    "(", ")", ">=", "==", "<", "1", "0.3", "lost.worker", "share", "[", "]", "\t", "{n=4}", "%", "é", "\x00",
]  # fmt: skip
SIMPLE = [Metric(name) for name in METRICS if name not in ONLY_AGGREGATED]
METRIC = st.one_of(
    st.sampled_from(SIMPLE),
    st.builds(Metric, st.sampled_from(["lost.worker", "lost.resource.llm", "lost.lock.α"]), share=st.booleans()),
    st.builds(
        Metric, st.sampled_from(["step_wait_seconds", "makespan_seconds"]), st.sampled_from(["p95", "p99.9", "max"])
    ),
)
NAMES = st.text("abcxyz_-.0123456789é", min_size=1, max_size=6)
VALUES = st.one_of(
    st.integers(-9, 9), st.booleans(), st.none(), st.text(max_size=8), st.lists(st.integers(0, 3), max_size=2)
)  # fmt: skip
SELECTORS = st.builds(
    Selector,
    NAMES.filter(lambda name: name != "share"),
    st.none() | st.integers(1, 999),
    st.none() | st.sampled_from(["dataflow", "levels", "barrier", "serial"]),
    st.dictionaries(NAMES, VALUES, max_size=3),
)
TIMES = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=8)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=30))
@settings(max_examples=examples(300), deadline=None)
def test_every_text_is_an_expectation_or_an_error_within_the_line(line):
    column = 1
    try:
        parse_expectation(line)
    except ExpectationError as error:
        column = error.column
    assert 1 <= column <= len(line) + 1


@given(st.none() | SELECTORS, METRIC, st.sampled_from([">=", "<=", "==", "!=", ">", "<"]), st.floats(-1e9, 1e9))
@settings(max_examples=examples(200), deadline=None)
def test_an_expectation_that_was_written_is_read_as_it_was_meant(selector, metric, operator, threshold):
    line = f"{'' if selector is None else f'{selector} '}{metric} {operator} {threshold!r}"
    assert parse_expectation(line) == Expectation(line, selector, metric, operator, threshold)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.floats(0, 12))
@settings(max_examples=examples(30), deadline=None)
def test_both_sides_of_a_line_are_never_met_together(times, threshold):
    cell = result(times)
    lines = [f"makespan_seconds <= {threshold!r}", f"makespan_seconds > {threshold!r}"]
    below, above = judge([parse_expectation(line) for line in lines], document(cell))
    assert not (below.met and above.met)
    if len(times) == 1:
        assert below.met or above.met


@given(TIMES)
@settings(max_examples=examples(40), deadline=None)
@example([62211.0, 62210.34871143949, 62210.34871143949])  # an end rounds to beyond the median
def test_an_interval_holds_the_median_and_lies_within_the_samples(times):
    found = interval(times)
    assert found.low is not None
    assert found.high is not None
    assert min(times) <= found.low <= found.median <= found.high <= max(times)


@given(TIMES)
@settings(max_examples=examples(40), deadline=None)
def test_a_thing_is_neither_faster_nor_slower_than_itself(times):
    found = paired_ratio(times, times)
    assert found.interval == Interval(1.0, 1.0, 1.0)
    assert found.verdict == verdict(found.interval) == "undecided"


@given(st.lists(st.none() | st.floats(0, 1), max_size=12))
def test_corrected_p_values_only_grow_and_keep_their_order(p_values):
    corrected = holm(p_values)
    both = zip(p_values, corrected, strict=True)
    pairs = sorted((before, after) for before, after in both if before is not None and after is not None)
    assert len(pairs) == sum(value is not None for value in p_values)
    assert all(before <= after <= 1 for before, after in pairs)
    assert [after for _, after in pairs] == sorted(after for _, after in pairs)
    if pairs:
        assert pairs[0][1] == pytest.approx(min(1, pairs[0][0] * len(pairs)))

"""The parts of a report, each by itself: families, headlines, axes, names that fit, the machine in words."""

from __future__ import annotations

import copy

import pytest

from harness.report.html.charts import families_of, family_strips, makespan_strips, scaling_charts, time_ticks
from harness.report.html.head import head_of
from harness.report.html.machine import machine_words
from harness.report.html.plan_section import fitting
from harness.report.html.report_cells import cells_of, cells_shown, headline, headlines
from harness.result import Repetition, result_document
from tests.unit.reporting import Drawing, document, fork_join, matrix


def test_copies_items_and_numbered_spans_are_one_family_each() -> None:
    steps = ["a", "a/1", "a/2", "page-1", "page-2", "x-1/1", "x-2/1", "x-1", "x-2", "call", "call#2", "solo-1"]
    assert list(families_of(steps).values()) == [
        "a", "items of a", "items of a", "page", "page", "items of x", "items of x", "x", "x", "call", "call", "solo-1",
    ]  # fmt: skip


def test_a_family_has_a_row_for_the_headline_and_one_for_serial() -> None:
    results = []
    for executor, length in (("serial", 1.0), ("threads", 2.0)):
        drawing = Drawing(backend=executor)
        for number in range(3):
            drawing.step(f"page-{number}").run(f"page-{number}", 0, 0, length)
        results.append(result_document([Repetition(drawing.timeline())] * 2))
    found = family_strips(cells_of([document(*results)]))
    assert found is not None
    assert [(row.label, row.cell, row.text, row.values) for row in found.rows] == [
        ("page (3 steps)", "threads@2", "2 s (2 s to 2 s)", 6), ("page (3 steps)", "serial@2", "1 s (1 s to 1 s)", 6),
    ]  # fmt: skip
    assert found.legend == ("threads@2", "serial@2")


def test_steps_that_ran_once_have_no_distribution() -> None:
    assert family_strips(cells_of([document(result_document([Repetition(fork_join())]))])) is None


def test_each_scenario_has_a_headline_of_its_own() -> None:
    one, other = matrix()["results"], copy.deepcopy(matrix()["results"])
    for scenario, results in (("orders", one), ("letters", other)):
        for result in results:
            result["scenario"] = scenario
    other[4]["makespan_seconds"] = {"median": 1.0, "ci95": None}
    cells = cells_of([document(*one, *other, scenario="orders + letters")])
    assert [cell.label for cell in headlines(cells)] == ["threads@4 · orders", "asyncio@4 · letters"]
    verdicts = head_of([document(*one, *other)], cells).verdicts
    assert [verdict.split(" took ")[0] for verdict in verdicts] == ["threads@4 · orders", "asyncio@4 · letters"]


def test_of_cells_that_are_as_short_the_one_with_the_fewest_workers_is_the_headline() -> None:
    whole = matrix()
    whole["results"][1]["makespan_seconds"] = {"median": 4.05, "ci95": None}
    assert headline(cells_of([whole])).label == "threads@2"
    whole["results"][1]["makespan_seconds"] = {"median": 4.06, "ci95": None}
    assert headline(cells_of([whole])).label == "threads@4"


def test_of_many_cells_the_headline_and_serial_are_open_at_first() -> None:
    assert cells_shown(cells_of([matrix()])) == {0, 2}
    whole = matrix()
    del whole["results"][2:]
    assert cells_shown(cells_of([whole])) == {0, 1}


def test_a_run_in_which_steps_failed_says_that_first_and_counts_its_errors() -> None:
    drawing = Drawing().step("a", status="failed").step("b", ["a"], status="skipped").run("a", 0, 0, 2)
    drawing.attempts[0].outcome = "failed"
    one = result_document([Repetition(drawing.timeline(), errors={"a": "ToolError: refused"})])
    one["failures"] = [{
        "tool": "http", "error_type": "ToolError", "http_status_code": 429, "retry_after_seconds": 1.0, "attempts": 6,
        "calls": 15, "message": "too many",
    }]  # fmt: skip
    whole = document(one)
    head = head_of([whole], cells_of([whole]))
    assert head.verdicts == ["1 of 2 steps failed: threads@2 ended after 2 s."]
    assert head.remedy_title == "What failed"
    assert head.failures == [{
        "tool": "http", "error_type": "ToolError", "status": "429", "attempts": "6", "calls": "15", "asked": "1 s",
        "message": "too many",
    }]  # fmt: skip


def test_a_column_in_which_no_cell_says_anything_is_left_out() -> None:
    columns = head_of([matrix()], cells_of([matrix()])).columns
    assert "speedup (95 %)" in columns
    assert "failed attempts" in columns
    assert "start-up" not in columns
    alone = document(result_document([Repetition(fork_join())]), result_document([Repetition(fork_join())]))
    assert "speedup (95 %)" not in head_of([alone], cells_of([alone])).columns


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1000.001, 1000.0012), (0, 3e-9), (86_000, 90_000), (0.0999, 0.1)])
def test_no_two_ticks_read_the_same(low: float, high: float) -> None:
    texts = [tick.text for tick in time_ticks(low, high)]
    assert len(texts) > 1
    assert len(set(texts)) == len(texts)


def test_numbers_of_workers_on_an_axis_keep_their_distance() -> None:
    whole = matrix()
    for place, workers in ((1, 1), (2, 2), (3, 4), (4, 128)):
        whole["results"][place].update(executor="threads", workers=workers)
    chart = scaling_charts(cells_of([whole]))[0]
    assert [text for _, text in chart.x_ticks] == ["4", "128"]


def test_an_interval_lies_within_its_axis() -> None:
    found = makespan_strips(cells_of([matrix()]))
    assert found is not None
    for row in found.rows:
        assert row.interval is not None
        assert 0 <= row.interval[0] <= row.middle <= row.interval[1] <= 100


def test_a_name_is_cut_to_the_width_that_its_letters_take() -> None:
    assert fitting("fetch_forum", 124) == "fetch_forum"
    assert len(fitting("i" * 60, 124)) > len(fitting("W" * 60, 124)) > len(fitting("翻" * 60, 124))


def test_a_machine_is_said_in_sentences_without_what_is_not_known() -> None:
    assert machine_words({}) == ""
    assert machine_words({"machine": "vm", "usable_cores": 1, "cores": 4, "revision": None, "stand_in": True}) == (
        "It ran on vm: 1 usable core of 4. The stand-in service answered for the language model."
    )
    odd = {"usable_cores": "two", "memory_bytes": "much", "load_average_at_start": "?", "packages": [1], "site": "x"}
    assert machine_words(odd) == "Besides: usable cores two, memory bytes much, site x."

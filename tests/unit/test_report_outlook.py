"""The page of an analysis: predictions and gains, in drawings and in tables that need no script."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.plain_text import duration_text
from harness.report.html import report_html
from harness.report.html.outlook import outlooks_of
from harness.report.terminal.analysis_text import analysis_lines
from harness.traces.diagnosis.analysis_document import run_documents, trace_document
from harness.traces.diagnosis.diagnosis import Diagnosis, diagnose
from tests.unit.trace_making import langgraph, run_of

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m"


def in_a_row(*, names: dict[str, str] | None = None) -> Diagnosis:
    return diagnose(run_of({"a": (0, 2), "b": (2, 5), "c": (5, 6), "d": (6, 7)}, names=names or {}))


def page_of(*diagnoses: Diagnosis) -> str:
    return report_html(run_documents(diagnoses), [trace_document(one) for one in diagnoses])


def section_of(page: str) -> str:
    found = re.search(r'<section id="outlook".*?</section>', page, re.DOTALL)
    assert found is not None
    return found.group()


def rows_of(section: str, table: str) -> list[list[str]]:
    """The cells of each row of the tables of one class, as text."""
    found = []
    for one in re.findall(rf'<table class="{table} cards">.*?</table>', section, re.DOTALL):
        body = one.split("<tbody>")[1]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
            cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
            found.append([re.sub(r"<[^>]*>", "", cell) for cell in cells])
    return found


def test_every_prediction_of_the_document_stands_in_a_table_beside_what_was_measured() -> None:
    diagnosis = in_a_row()
    predicted = trace_document(diagnosis)["predictions"]["dataflow"]
    rows = rows_of(section_of(page_of(diagnosis)), "predictions")
    assert rows[0][:3] == ["measured", "7 s", "–"]
    assert [row[0] for row in rows[1:]] == [f"{workers} workers" for workers in predicted]
    assert [row[1] for row in rows[1:]] == [duration_text(one["makespan_seconds"]) for one in predicted.values()]
    assert [row[3] for row in rows[1:]] == [
        duration_text(one["without_assumed_makespan_seconds"]) for one in predicted.values()
    ]


def test_without_assumed_edges_there_is_no_column_for_them() -> None:
    sure = diagnose(run_of({"a": (0, 2), "b": (2, 5), "c": (5, 6)}, links={"b": ["a"], "c": ["a"]}))
    section = section_of(page_of(sure))
    assert {len(row) for row in rows_of(section, "predictions")} == {3}
    assert rows_of(section, "predictions")[1][1:] == ["5 s", "−1 s (17 %)"]
    assert "assumed" not in section


def test_what_to_change_first_comes_with_the_largest_gain_first_and_with_what_it_rests_on() -> None:
    sure = diagnose(run_of({"a": (0, 2), "b": (2, 5), "c": (5, 6)}, links={"b": ["a"], "c": ["a"]}))
    assert rows_of(section_of(page_of(sure)), "changes") == [
        ["−1 s (17 %)", "", "run together: b, c", "the trace names all dependencies (links)"]
    ]
    (outlook,) = outlooks_of([trace_document(in_a_row())])
    shares = [change.percent for change in outlook.changes]
    assert shares == sorted(shares, reverse=True)
    assert {change.rests_on for change in outlook.changes} == {"an assumed edge is not real (observed order)"}


def test_a_barrier_stands_among_the_changes() -> None:
    times = {"start": (0, 1), "fast": (1, 2), "slow": (1, 4), "after fast": (4, 6), "after slow": (4, 5)}
    nodes = {
        "start": langgraph(1, "start"),
        "fast": langgraph(2, "fast", "start"),
        "slow": langgraph(2, "slow", "start"),
        "after fast": langgraph(3, "after fast", "fast"),
        "after slow": langgraph(3, "after slow", "slow"),
    }
    rows = rows_of(section_of(page_of(diagnose(run_of(times, attributes=nodes)))), "changes")
    assert ["−2 s (33 %)", "", "let after fast begin before slow ends", "the trace names all dependencies"] in rows


def test_bars_are_drawn_without_a_script_and_in_proportion() -> None:
    section = section_of(page_of(in_a_row()))
    widths = [float(width) for width in re.findall(r'<rect class="k-(?:running|overhead)" width="([\d.]+)%"', section)]
    assert widths[0] == max(widths) == 100
    assert "<canvas" not in section
    assert "<script" not in section


def test_names_of_a_trace_are_text_on_the_page() -> None:
    page = page_of(in_a_row(names={"a": HOSTILE, "b": HOSTILE}))
    section = section_of(page)
    assert "<img" not in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "&lt;/script&gt;" in section


def test_several_traces_are_told_apart_and_one_needs_no_name() -> None:
    one = in_a_row()
    assert "<figcaption>" not in section_of(page_of(one))
    assert section_of(page_of(one, one)).count("<figcaption>") == 2


def test_steps_that_began_late_are_told_beside_the_predictions_and_at_the_top() -> None:
    late = diagnose(run_of({"a": (0, 3), "b": (2, 5)}))
    said = "the sure figures let them begin as late as they did; if nothing held them back, there is more to gain"
    page = page_of(late)
    assert said in section_of(page)
    assert said in page.replace(section_of(page), "")
    assert said in " ".join(line.text for line in analysis_lines(late))
    (finding,) = trace_document(late)["findings"]
    assert (finding["code"], finding["effect"]) == ("late_start", said)
    assert said not in page_of(in_a_row())


def test_no_bar_is_longer_than_its_place_where_a_schedule_takes_longer_without_some_edges() -> None:
    analysis: dict[str, Any] = trace_document(in_a_row())
    for predicted in analysis["predictions"]["dataflow"].values():
        predicted["without_assumed_makespan_seconds"] = 70.0
    (outlook,) = outlooks_of([analysis])
    bars = [bar for row in outlook.rows for bar in (row.percent, row.hopeful_percent) if bar is not None]
    assert max(bars) == 100


def test_a_report_of_runs_has_no_outlook() -> None:
    assert 'id="outlook"' not in report_html(run_documents([in_a_row()]))


@pytest.mark.parametrize(("field", "left"), [("predictions", (0, 6)), ("pairs", (6, 0))])
def test_an_analysis_that_lacks_a_part_is_shown_without_it(field: str, left: tuple[int, int]) -> None:
    analysis: dict[str, Any] = trace_document(in_a_row())
    analysis[field] = type(analysis[field])()
    (outlook,) = outlooks_of([analysis])
    assert (len(outlook.rows), len(outlook.changes)) == left

"""Exports of a run document: the trace, CSV, Markdown."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise

import pytest

from harness.report.export import FORMATS, chrome_trace, csv_text, markdown
from harness.result import DocumentError
from tests.unit.reporting import Drawing, document, fork_join, matrix, nested, result


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def events(timeline, phase):
    return [event for event in chrome_trace(document(result(timeline)))["traceEvents"] if event["ph"] == phase]


def test_each_attempt_is_a_slice_in_microseconds():
    slices = [(event["name"], event["ts"], event["dur"]) for event in events(fork_join(), "X")]
    assert slices == [("a", 0, 2e6), ("b", 2e6, 4e6), ("c", 2.5e6, 5e5), ("c #2", 4e6, 1e6), ("d", 6e6, 2e6)]


def test_waits_are_asynchronous_slices_that_close():
    begins = {event["id"]: event for event in events(fork_join(), "b")}
    ends = {event["id"]: event for event in events(fork_join(), "e")}
    assert begins.keys() == ends.keys()
    assert [(event["name"], event["ts"], ends[name]["ts"]) for name, event in begins.items()] == [
        ("waiting: resource.llm", 2e6, 2.5e6),
        ("waiting: backoff", 3e6, 4e6),
    ]


def test_each_dependency_is_a_flow_from_inside_its_source():
    starts, finishes = events(fork_join(), "s"), events(fork_join(), "f")
    assert len(starts) == len(finishes) == 4
    assert len({event["id"] for event in starts}) == 4
    assert [event["id"] for event in starts] == [event["id"] for event in finishes]
    assert starts[0]["ts"] == 2e6 - 0.001
    assert finishes[0]["ts"] == 2e6


def test_slices_of_a_thread_nest_or_follow_each_other():
    for timeline in (fork_join(), nested()):
        threads = {}
        for event in events(timeline, "X"):
            threads.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
        for spans in threads.values():
            spans.sort()
            for (start, end), (begin, until) in pairwise(spans):
                assert end <= begin or (start <= begin and until <= end)


def test_the_counter_of_running_attempts_ends_at_zero():
    levels = [event["args"]["attempts"] for event in events(fork_join(), "C")]
    assert max(levels) == 2
    assert levels[-1] == 0


def test_cells_are_processes_with_their_names():
    trace = chrome_trace(matrix())
    named = [event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"]
    assert named == ["serial@1", "threads@2", "threads@4", "asyncio@2", "asyncio@4"]
    flows = [event["id"] for event in trace["traceEvents"] if event["ph"] == "s"]
    assert len(set(flows)) == len(flows)


def test_the_trace_is_json_that_a_strict_reader_takes():
    text = FORMATS["perfetto"](matrix())
    assert json.loads(text, parse_constant=pytest.fail)["displayTimeUnit"] == "ms"


def test_attempts_as_csv_keep_their_times():
    found = rows(csv_text(document(result(fork_join()))))
    assert [(row["step_id"], row["attempt"], row["started"], row["outcome"]) for row in found] == [
        ("a", "1", "0.0", "succeeded"), ("b", "1", "2.0", "succeeded"), ("c", "1", "2.5", "failed"),
        ("c", "2", "4.0", "succeeded"), ("d", "1", "6.0", "succeeded"),
    ]  # fmt: skip
    assert found[2]["waits"] == "resource.llm:2.000000000-2.500000000"


def test_steps_as_csv_sum_their_attempts():
    found = {row["step_id"]: row for row in rows(csv_text(document(result(fork_join())), "steps"))}
    assert (found["c"]["attempts"], found["c"]["run_seconds"], found["c"]["waited_seconds"]) == ("2", "1.5", "1.5")
    assert found["d"]["depends_on"] == "b c"
    assert found["c"]["critical_path_seconds"] == ""


def test_cells_as_csv_have_intervals_and_lost_time():
    found = rows(csv_text(matrix(), "cells"))
    assert [row["cell"] for row in found] == ["serial@1", "threads@2", "threads@4", "asyncio@2", "asyncio@4"]
    assert (found[0]["speedup_low_ratio"], found[2]["speedup_ratio"], found[2]["speedup_low_ratio"]) == (
        "",
        "2.0",
        "1.9",
    )
    assert float(found[0]["lost_running_seconds"]) == 8


def test_a_field_that_looks_like_a_formula_is_text_for_a_spreadsheet():
    step_id = '=HYPERLINK("http://x")\n'
    text = csv_text(document(result(Drawing().step(step_id).run(step_id, 0, 0, 1).timeline())))
    assert rows(text)[0]["step_id"] == '\'=HYPERLINK("http://x")␊'


def test_markdown_has_the_cells_and_their_figures():
    text = markdown(matrix())
    assert "| threads@4 | 4 s (3.95 s to 4.05 s) | 2.00× (1.90× to 2.10×) | 50 % | 8 s |" in text
    assert "Critical path: a 2 s → b 4 s → d 2 s = 8 s" in text


def test_markdown_shows_the_marks_of_a_name_as_text():
    step_id = "a|b`<script>*_[x](y)"
    text = markdown(document(result(Drawing().step(step_id).run(step_id, 0, 0, 1).timeline())))
    assert "a\\|b\\`&lt;script&gt;\\*\\_\\[x\\](y)" in text
    assert "<script>" not in text


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_an_empty_run_can_be_exported(form):
    assert FORMATS[form](document(result(Drawing().timeline())))


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_what_is_no_document_is_refused(form):
    with pytest.raises(DocumentError, match="schema"):
        FORMATS[form]({"schema": "x"})

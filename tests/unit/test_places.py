"""Twenty questions of a newcomer, and the file in which each behaviour is found.

The tree alone should lead there: after a rename or a move of one of these files, check that its new name still does.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The question, the file, and what is defined there.
PLACES = [
    ("Which step may start now is decided", "executor/scheduler/scheduler.py", "class Scheduler"),
    ("Which changes of a step's state are allowed", "executor/scheduler/states.py", "TRANSITIONS"),
    ("How long a failed attempt waits before the next", "executor/scheduler/backoff.py", "def retry_wait"),
    ("Rates and capacities of a resource are counted", "executor/scheduler/resources.py", "class Bucket"),
    ("Upward ranks and levels of a workflow are computed", "executor/dependencies/graph.py", "def ranks_of"),
    (
        "Members of a parallel_group are checked for conflicts",
        "executor/dependencies/parallel_groups.py",
        "class Groups",
    ),
    ("A step that ran too long is noticed", "executor/engine/deadlines.py", "class Deadlines"),
    (
        "A fault of a workflow file becomes a message with a fix",
        "executor/model/validation_messages.py",
        "def translate",
    ),
    ("The filters that a template may use are listed", "executor/templates/filters.py", "FILTERS"),
    (
        "The bytes between a run and its worker process are framed",
        "executor/backends/processes/frames.py",
        "class FrameReader",
    ),
    ("A program is run as a step", "executor/tools/command.py", "class CommandTool"),
    ("The makespan is split by cause of loss", "harness/analysis/lost_time.py", "def lost_time"),
    ("The shortest possible makespan is worked out", "harness/analysis/lower_bound.py", "def lower_bound"),
    ("The interval around a median is estimated", "harness/statistics/resampling.py", "def interval"),
    ("Zipkin's JSON is read", "harness/traces/formats/zipkin.py", "def span_of"),
    ("Edges of LangGraph runs are found", "harness/traces/edges/framework_edges.py", "def framework_edges"),
    (
        "The names and help texts of all metrics are listed",
        "harness/telemetry/metrics/metric_table.py",
        "class MetricFamily",
    ),
    ("What @last~1 means is resolved", "harness/store/run_references.py", "def load_reference"),
    ("The exit status of a command is defined", "harness/exit_codes.py", "class ExitCode"),
    ("Random workflows with faults are made smaller", "harness/testing/fuzz/shrinking.py", "def shrink"),
]


def test_there_are_twenty_questions() -> None:
    assert len({question for question, _, _ in PLACES}) == 20


@pytest.mark.parametrize(("question", "place", "defined"), PLACES, ids=[place for _, place, _ in PLACES])
def test_the_answer_is_where_its_file_name_says(question: str, place: str, defined: str) -> None:
    text = (ROOT / place).read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(defined)}", text, flags=re.MULTILINE), f"{question}: not in {place}"

"""Limits that a trace shows: workers at a queue with spans of their own, and pools of few calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.traces.prediction.raised_limits import raised_limits
from harness.traces.prediction.trace_what_if import WhatIf
from harness.traces.runs.queueing import queues_of
from harness.traces.trace_model import ForeignRun
from tests.unit.traces_by_hand import run_of, span

# Six things of 10, 30, 20, … milliseconds, taken in turn by two workers.
TAKEN = {"one": [(0, 10), (10, 30), (30, 50)], "two": [(0, 30), (30, 40), (40, 60)]}


def workers(taken: dict[str, Sequence[tuple[float, float]]], name: str = "worker", **values: Any) -> ForeignRun:
    """Spans of workers, and in each the calls that it made."""
    spans = [span("run", 0, 60)]
    for key, calls in taken.items():
        spans.append(span(f"{name} {len(spans)}", 0, calls[-1][1], "run", key=key, **values))
        spans += [span("fetch", start, end, key, key=f"{key} {start}") for start, end in calls]
    return run_of(*spans)


def test_workers_with_a_span_each_are_a_queue_of_what_they_took() -> None:
    run = workers(TAKEN)
    (queue,) = queues_of(run)
    assert (queue.name, queue.steps, queue.at_once) == ("fetch", 6, 2)
    raised = raised_limits(WhatIf(run), [queue], 60_000_000)
    assert [(one.at_once, round(one.makespan_seconds * 1000)) for one in raised] == [(4, 40), (None, 30)]


def test_a_worker_that_ends_before_the_last_thing_is_taken_stood_at_no_queue() -> None:
    assert queues_of(workers({**TAKEN, "one": [(0, 10), (10, 20), (20, 30)]})) == []


def test_a_worker_that_pauses_had_nothing_to_take() -> None:
    assert queues_of(workers({**TAKEN, "one": [(0, 10), (20, 30), (30, 50)]})) == []


def test_agents_side_by_side_are_no_workers_at_a_queue() -> None:
    assert queues_of(workers(TAKEN, name="agent")) == []


def test_nodes_of_langgraph_are_no_workers_at_a_queue() -> None:
    node = json.dumps({"langgraph_step": 1, "langgraph_node": "worker", "langgraph_triggers": ["branch:to:worker"]})
    assert queues_of(workers(TAKEN, metadata=node)) == []


def test_two_calls_of_one_name_that_begin_as_others_end_show_a_pool_of_three() -> None:
    times = [(0, 20), (0, 30), (0, 50), (20, 45), (30, 60)]
    calls = [span("fetch", start, end, "run", key=f"call {number}") for number, (start, end) in enumerate(times)]
    (queue,) = queues_of(run_of(span("run", 0, 60), *calls))
    assert (queue.steps, queue.at_once) == (5, 3)

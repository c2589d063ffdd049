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


# (when its client's span opens, when its server's begins, when both end) of calls through a pool of two connections.
POOLED = [(0, 2, 100), (0, 3, 150), (0, 104, 220), (1, 156, 230), (1, 223, 330), (2, 233, 360)]


def pooled(calls: Sequence[tuple[float, float, float]]) -> ForeignRun:
    """Spans of clients, each with one of a server in it."""
    spans = [span("run", 0, max(end for _, _, end in calls) + 1)]
    for number, (opened, begun, end) in enumerate(calls):
        spans.append(span("GET", opened, end, "run", key=f"call {number}", kind=3))
        spans.append(span("price", begun, end, f"call {number}", key=f"served {number}", kind=2, service="shop"))
    return run_of(*spans)


def test_calls_that_wait_inside_their_span_for_a_connection_show_the_pool() -> None:
    run = pooled(POOLED)
    (queue,) = queues_of(run)
    assert (queue.name, queue.steps, queue.at_once) == ("GET", 6, 2)
    assert "waits_for_place" in {finding.code for finding in run.findings}
    raised = raised_limits(WhatIf(run), [queue], 361_000_000)
    # As many at once as there are: the longest call is what is left, 150 ms from where it opened.
    assert [one.at_once for one in raised] == [4, None]
    assert raised[1].makespan_seconds < raised[0].makespan_seconds < 0.27


def test_calls_without_length_hold_no_place() -> None:
    run = pooled([(1, 1, 1)] * 5)
    assert queues_of(run) == []
    assert "waits_for_place" not in {finding.code for finding in run.findings}


def test_calls_whose_servers_begin_at_once_wait_for_no_place() -> None:
    run = pooled([(opened, opened + 2, end) for opened, _, end in POOLED])
    assert queues_of(run) == []
    assert "waits_for_place" not in {finding.code for finding in run.findings}


def test_calls_whose_servers_begin_while_a_place_is_free_wait_for_something_else() -> None:
    run = pooled([(0, 2, 100), (0, 3, 150), (0, 124, 220), (1, 186, 230), (1, 250, 330), (2, 290, 360)])
    assert "waits_for_place" not in {finding.code for finding in run.findings}

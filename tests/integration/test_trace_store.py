"""Runs whose traces go to a real trace store over OTLP/HTTP: it holds what was run, and its answer is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import summary
from harness.result import timeline_from_document
from harness.traces import ForeignRun, foreign_run, read_traces
from tests.integration.calling import started
from tests.integration.trace_store import TraceStore, plain_span, spans_in_store, trace_store
from tests.properties.test_trace_round_trip import record

__all__ = ["trace_store"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Edges of data and order, a limit that is waited for, a retry after a backoff, a failure, and steps that never ran.
RICH = """
scenario: rich
resources: {desk: {capacity: 1}}
steps:
  - {step_id: a, tool: sleep, args: {seconds: 0.01}, writes: [page]}
  - {step_id: b, tool: sleep, args: {seconds: 0.02}, depends_on: [a], needs: {desk: 1}}
  - {step_id: c, tool: sleep, args: {seconds: 0.02}, depends_on: [a], needs: {desk: 1}}
  - {step_id: d, tool: sleep, args: {seconds: 0.01}, reads: [page]}
  - {step_id: never, tool: noop, when: "{{ false }}", depends_on: [b]}
  - {step_id: broken, tool: flaky, args: {fail_times: 5, seconds: 0.01},
     retry: {max_attempts: 2, backoff_seconds: 0.02}}
  - {step_id: after, tool: noop, depends_on: [broken]}
"""
FAILED = 1


class Ran:
    """A run of the command: its document, and what it wrote as OTLP JSON lines."""

    def __init__(self, folder: Path, scenario: str, store: TraceStore, *options: str, **settings: str) -> None:
        file, document, trace = folder / "scenario.yaml", folder / "run.json", folder / "trace.jsonl"
        file.write_text(scenario, encoding="utf-8")
        self.history = str(folder / "history.db")
        self.done = started(
            "run", str(file), "--json", str(document), "--trace-file", str(trace), "--store", self.history, "--quiet",
            *options, **{**store.settings(), **settings},
        )  # fmt: skip
        assert self.done.returncode in (0, FAILED), self.done.stderr
        self.document: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))
        self.trace_id = str(self.document["results"][0]["trace_id"])
        self.spans = _spans_in_file(trace)


def _spans_in_file(path: Path) -> list[dict[str, Any]]:
    return [
        plain_span(span)
        for line in path.read_text(encoding="utf-8").splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def by_id(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {span["id"]: span for span in spans}
    assert len(found) == len(spans)
    return found


def from_zero(spans: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same with times from the beginning of the run."""
    zero = min(span["start"] for span in spans.values())
    return {
        key: {**span, "start": span["start"] - zero, "end": span["end"] - zero} for key, span in spans.items()
    }  # fmt: skip


def read_back(answer: bytes) -> ForeignRun:
    [trace] = read_traces("-", stdin=BytesIO(answer))
    return foreign_run(trace)


@pytest.mark.parametrize("mode", ["recorded", "live"])
def test_the_store_holds_every_span_of_a_run_with_its_parent_times_attributes_and_links(
    trace_store: TraceStore, tmp_path: Path, mode: str
) -> None:
    ran = Ran(tmp_path, RICH, trace_store, "--trace", mode)
    assert ran.done.returncode == FAILED
    assert "not delivered" not in ran.done.stderr
    held = spans_in_store(trace_store.answer(ran.trace_id))
    assert by_id(held) == by_id(ran.spans)
    # A root, eight attempts or steps that never ran, and waits for the page, the desk and the backoff.
    names = [span["name"].partition(" ")[0] for span in held]
    assert {name: names.count(name) for name in names} == {
        "invoke_workflow": 1, "execute_tool": 6, "step_not_run": 2, "resource_wait": 2, "retry_backoff": 1,
    }  # fmt: skip
    assert trace_store.rows(ran.trace_id) == len(ran.spans) == 12


def test_the_store_keeps_the_edges_of_a_run_as_links_and_as_attributes(trace_store: TraceStore, tmp_path: Path) -> None:
    ran = Ran(tmp_path, RICH, trace_store)
    held = by_id(spans_in_store(trace_store.answer(ran.trace_id)))
    steps = [span for span in held.values() if "makespan.step.id" in span["attributes"]]
    linked = sorted(
        (held[before]["attributes"]["makespan.step.id"], span["attributes"]["makespan.step.id"], words[name])
        for span in steps
        for _, before, words in span["links"]
        for name in ("makespan.link.edge" if "makespan.link.edge" in words else "makespan.link.type",)
    )
    assert linked == [
        ("a", "b", "data"), ("a", "c", "data"), ("a", "d", "order"), ("b", "never", "data"),
        ("broken", "after", "data"), ("broken", "broken", "retry_of"),
    ]  # fmt: skip
    said = {
        (before, span["attributes"]["makespan.step.id"])
        for span in steps
        for name in ("makespan.step.depends_on", "makespan.step.order_after")
        for before in span["attributes"].get(name, ())
    }
    assert said == {(before, after) for before, after, kind in linked if kind != "retry_of"}


@pytest.mark.parametrize("ask", [TraceStore.answer, TraceStore.own_form])
def test_the_answer_of_the_store_gives_back_the_record_and_the_critical_path(
    trace_store: TraceStore, tmp_path: Path, ask: Callable[[TraceStore, str], bytes]
) -> None:
    ran = Ran(tmp_path, RICH, trace_store)
    found = read_back(ask(trace_store, ran.trace_id))
    assert found.from_makespan
    assert found.findings == []
    timeline = timeline_from_document(ran.document["results"][0])
    assert record(found.timeline) == record(timeline)
    # A span holds no message of an error unless content is asked for.
    figures, expected = (
        replace(one, failures=tuple(replace(group, message="") for group in one.failures))
        for one in (summary(found.timeline), summary(timeline))
    )
    assert figures == expected
    assert len(figures.critical_path) >= 2


def test_a_trace_of_many_requests_is_whole_in_the_store(trace_store: TraceStore, tmp_path: Path) -> None:
    # 512 spans go into a request. SQLite is slow: the store is given the time that it needs.
    scenario = 'steps: [{step_id: "s{{ copy }}", copies: 2000, tool: noop}]'
    ran = Ran(tmp_path, scenario, trace_store, MAKESPAN_TELEMETRY__TIMEOUT_SECONDS="60")
    assert ran.done.returncode == 0, ran.done.stderr
    assert "not delivered" not in ran.done.stderr
    assert trace_store.rows(ran.trace_id) == len(ran.spans) == 2001


def test_what_the_store_refused_is_said_and_can_be_sent_later_and_again(
    trace_store: TraceStore, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, RICH, trace_store, MAKESPAN_TELEMETRY__HEADERS="{}")
    assert ran.done.returncode == FAILED  # by its failed step, as without a trace
    assert "12 of 12 spans were not delivered" in ran.done.stderr
    assert "422" in ran.done.stderr
    assert trace_store.rows(ran.trace_id) == 0
    for _ in range(2):
        pushed = _pushed(ran, trace_store, tmp_path)
        # When the run began is in the document to some microseconds; times within the run are exact.
        assert from_zero(pushed) == from_zero(by_id(ran.spans))
        assert trace_store.rows(ran.trace_id) == 12


def _pushed(ran: Ran, store: TraceStore, folder: Path) -> Mapping[str, dict[str, Any]]:
    done = started(
        "dashboards", "push", str(ran.document["run_id"]), "--store", ran.history, "--profile", "shared",
        "--textfile", str(folder / "makespan.prom"), **store.settings(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return by_id(spans_in_store(store.answer(ran.trace_id)))

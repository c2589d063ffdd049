"""A trace of ours is read exactly; one of which something is lost says what."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from executor import Resource, Step, Workflow, run
from executor.record.timeline import Timeline
from executor.tracing.span_contents import recorded_words
from executor.tracing.step_spans import RunIds
from harness.telemetry.spans.span_building import SpanMaker, spans_of
from harness.traces import ForeignRun, foreign_run
from tests.otlp_text import request_text
from tests.unit.traces_by_hand import codes, edges_of, read, request, span


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    steps = (
        Step(step_id="a", tool="noop"),
        Step(step_id="b", tool="noop", depends_on=("a",)),
        Step(step_id="c", tool="noop", depends_on=("a", "b"), writes=("file",)),
        Step(step_id="d", tool="noop", writes=("file",)),
    )
    return run(Workflow(steps=steps), backend="virtual", workers=2).timeline


def spans_json(timeline: Timeline) -> list[dict[str, Any]]:
    words = recorded_words(timeline, workflow="golden", tool_of=lambda _: "noop")
    spans = list(spans_of(words, SpanMaker(RunIds.new(7), 1_700_000_000_000_000_000)))
    found: list[dict[str, Any]] = json.loads(request_text(spans))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return found


def held(one: dict[str, Any], name: str) -> Any:
    return next((pair["value"] for pair in one["attributes"] if pair["key"] == name), None)


def changed(one: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    kept = [pair for pair in one["attributes"] if pair["key"] != name]
    return {**one, "attributes": kept if value is None else [*kept, {"key": name, "value": value}]}


def run_of(spans: list[dict[str, Any]]) -> ForeignRun:
    [trace] = read(spans)
    return foreign_run(trace)


def test_our_trace_is_known_as_ours(timeline: Timeline) -> None:
    found = run_of(spans_json(timeline))
    assert found.from_makespan
    assert not found.findings
    assert found.workflow == "golden"
    assert found.origin == 1_700_000_000_000_000_000
    assert [(edge.before, edge.after, edge.label) for edge in found.edges] == [
        (0, 1, "declared"), (0, 2, "declared"), (1, 2, "declared"), (2, 3, "declared"),
    ]  # fmt: skip
    assert found.timeline.order_parents[3] == [2]
    assert [len(one) for one in found.spans] == [1, 1, 1, 1]


def test_a_span_that_was_lost_is_missed(timeline: Timeline) -> None:
    spans = [one for one in spans_json(timeline) if held(one, "makespan.step.id") != {"stringValue": "b"}]
    found = run_of(spans)
    assert found.from_makespan
    assert list(found.timeline.step_ids) == ["a", "c", "d"]
    assert codes(found) == {"steps_lost": 1, "attempts_lost": 1, "unknown_dependency": 1}
    assert [list(parents) for parents in found.timeline.data_parents] == [[], [0], []]
    assert [one.index for one in found.timeline.attempts] == [0, 1, 2]


def test_a_trace_without_its_root_is_read_as_anybodys(timeline: Timeline) -> None:
    spans = [one for one in spans_json(timeline) if held(one, "makespan.format") is None]
    found = run_of(spans)
    assert not found.from_makespan
    assert "missing_parent" in codes(found)
    assert {(edge.label, edge.source) for edge in found.edges} <= {("declared", "links"), ("declared", "makespan")}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("makespan.format", {"stringValue": "99"}, "format '99'"),
        ("makespan.run.workers", {"stringValue": "many"}, "invalid literal"),
        ("makespan.run.workers", None, "makespan.run.workers"),
        ("makespan.run.resources", {"stringValue": '{"llm": {"capacity": -1}}'}, "validation error"),
        ("makespan.run.resources", {"stringValue": "[" * 100_000}, "recursion|overflow|Expecting"),
    ],
)
def test_a_trace_that_only_says_that_it_is_ours_is_read_as_anybodys(
    timeline: Timeline, name: str, value: Any, said: str
) -> None:
    spans = [changed(one, name, value) if held(one, "makespan.format") else one for one in spans_json(timeline)]
    found = run_of(spans)
    assert not found.from_makespan
    [finding] = [one for one in found.findings if one.code == "unreadable_own_trace"]
    assert re.search(said, str(finding))
    assert len(found.timeline.step_ids) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("makespan.attempt.ready", None),
        ("makespan.attempt.waits", {"arrayValue": {"values": [{"stringValue": "nonsense"}]}}),
        ("makespan.attempt.blocked", {"arrayValue": {"values": [{"intValue": "1"}]}}),
        ("makespan.attempt.outcome", {"stringValue": "odd"}),
        ("makespan.step.needs", {"stringValue": "[]"}),
        ("makespan.step.depends_on", {"arrayValue": {"values": [{"stringValue": "d"}]}}),
        ("makespan.step.order_after", {"arrayValue": {"values": [{"stringValue": "c"}]}}),
        ("makespan.step.nested_in", {"stringValue": "b"}),
        ("makespan.attempt.ended", {"intValue": "-5"}),
        ("makespan.attempt.known", {"intValue": str(1 << 63)}),
        ("makespan.attempt.number", {"arrayValue": {}}),
    ],
)
def test_an_attempt_that_makes_no_sense_is_said(timeline: Timeline, name: str, value: Any) -> None:
    spans = [changed(one, name, value) if held(one, "makespan.step.id") else one for one in spans_json(timeline)]
    assert "unreadable_own_trace" in codes(run_of(spans))


def test_what_a_store_took_for_a_mapping_is_read_as_the_json_text_that_it_was() -> None:
    steps = (Step(step_id="a", tool="noop", needs={"desk": 1}), Step(step_id="b", tool="noop", needs={"desk": 1}))
    timeline = run(Workflow(steps=steps), resources={"desk": Resource(capacity=1)}, backend="virtual").timeline

    def taken(pair: dict[str, Any]) -> dict[str, Any]:
        text = pair["value"].get("stringValue", "")
        return {**pair, "value": _as_kvlist(json.loads(text))} if text.startswith("{") else pair

    spans = [{**one, "attributes": [taken(pair) for pair in one["attributes"]]} for one in spans_json(timeline)]
    assert "kvlistValue" in str(spans)
    found = run_of(spans)
    assert found.from_makespan
    assert found.timeline.needs == [{"desk": 1}, {"desk": 1}]
    assert found.timeline.resources == timeline.resources


def _as_kvlist(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {"intValue": value}
    return {"kvlistValue": {"values": [{"key": key, "value": _as_kvlist(held)} for key, held in value.items()]}}


def test_spans_of_the_callers_around_a_run_do_not_disturb_it(timeline: Timeline) -> None:
    spans = spans_json(timeline)
    trace_id = spans[0]["traceId"]
    around = {**span("handler", 0, 1e6), "traceId": trace_id}
    ours = [{**one, "parentSpanId": around["spanId"]} if held(one, "makespan.format") else one for one in spans]
    found = run_of([around, *ours])
    assert found.from_makespan
    assert len(found.timeline.step_ids) == 4


def test_a_span_that_was_sent_twice_is_one_attempt(timeline: Timeline) -> None:
    spans = spans_json(timeline)
    found = run_of(spans + spans)
    assert len(found.timeline.attempts) == len(timeline.attempts)
    assert found.from_makespan


def test_two_runs_in_one_trace_are_told_apart(timeline: Timeline) -> None:
    begin = 1_700_000_000_000_000_000
    spans: list[dict[str, Any]] = []
    for number in range(2):
        ids = RunIds.new(7 + number)
        words = recorded_words(timeline, workflow="golden", tool_of=lambda _: "noop")
        made = list(spans_of(words, SpanMaker(ids, begin + number * 10_000_000_000)))
        written = json.loads(request_text(made))["resourceSpans"][0]["scopeSpans"][0]["spans"]
        spans += [{**one, "traceId": "ab" * 16, "links": []} for one in written]
    found = run_of(spans)
    assert not found.from_makespan
    assert codes(found) == {"several_roots": 2}
    assert sorted(edges_of(found)) == [
        ("a", "b"), ("a", "c"), ("a#2", "b#2"), ("a#2", "c#2"), ("b", "c"), ("b#2", "c#2"), ("c", "d"), ("c#2", "d#2"),
        ("invoke_workflow golden", "invoke_workflow golden#2"),
    ]  # fmt: skip


def test_waits_that_are_spans_are_no_steps_and_no_skew() -> None:
    steps = [Step(step_id=f"s{n}", tool="noop", needs={"llm": 1}, expected_seconds=1.0) for n in range(3)]
    resources = {"llm": Resource(capacity=1)}
    limited = run(Workflow(steps=tuple(steps)), backend="virtual", workers=3, resources=resources).timeline
    spans = [one for one in spans_json(limited) if held(one, "makespan.format") is None]
    assert sum(one["name"].startswith("resource_wait") for one in spans) == 2
    found = run_of(spans)
    assert sorted(found.timeline.step_ids) == ["s0", "s1", "s2"]
    assert set(codes(found)) == {"missing_parent", "no_root", "waits_left_out"}


def test_steps_that_fail_one_after_the_other_are_no_retries_of_each_other() -> None:
    spans = [
        span("run", 0, 30),
        *[
            span(
                "execute_tool x",
                n * 10,
                n * 10 + 5,
                "run",
                key=str(n),
                error=True,
                values={"makespan.step.id": f"s{n}"},
            )
            for n in range(3)
        ],
    ]
    [trace] = read(request(*spans))
    assert list(foreign_run(trace).timeline.step_ids) == ["s0", "s1", "s2"]

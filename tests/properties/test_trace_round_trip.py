"""Run → spans → OTLP JSON → run: the trace of any run gives back its record, whatever the graph and what befell it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from executor.record.timeline import ClockReading, Timeline
from executor.tracing.attribute_names import RESUMED_TRACE
from executor.tracing.span_collector import FinishedSpan
from executor.tracing.span_contents import recorded_words
from executor.tracing.step_spans import RunIds
from harness.analysis import summary
from harness.telemetry.spans.otlp_file import SpanWriter
from harness.telemetry.spans.otlp_file import request_text as written_text
from harness.telemetry.spans.span_building import SpanMaker, spans_of
from harness.testing.drawing.generator import FEATURES, DrawnRun, random_workflow
from harness.testing.drawing.simulated_run import simulate
from harness.testing.drawing.strategies import workflows
from harness.testing.fuzz.fuzzing import quiet_instruments
from harness.traces import ForeignRun, foreign_run, read_traces
from tests.otlp_text import request_of, request_text
from tests.properties.effort import examples

RUNS = settings(
    max_examples=examples(60),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ORIGIN = 1_764_064_134_123_456_789


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_instruments():
        yield


def spans_of_run(timeline: Timeline) -> list[ReadableSpan]:
    words = recorded_words(timeline, workflow="drawn", tool_of=lambda _: "noop")
    return list(spans_of(words, SpanMaker(RunIds.new(12345), ORIGIN)))


def read_back(content: bytes) -> ForeignRun:
    [trace] = read_traces("-", stdin=BytesIO(content))
    return foreign_run(trace)


def json_lines(spans: list[ReadableSpan], lines: int, shuffled: random.Random) -> bytes:
    """The spans in any order, over some lines."""
    spans = list(spans)
    shuffled.shuffle(spans)
    size = -(-len(spans) // lines)
    batches = [spans[begin : begin + size] for begin in range(0, len(spans), size)]
    return b"".join(request_text(batch).encode() + b"\n" for batch in batches)


def without_messages(timeline: Timeline) -> Timeline:
    """What a trace keeps of it unless content is asked for."""
    for attempt in timeline.attempts:
        if attempt.failure is not None:
            attempt.failure = attempt.failure._replace(message="")
    return timeline


def record(timeline: Timeline) -> dict[str, object]:
    """Everything in a timeline, in a form that compares by value."""
    steps = len(timeline.step_ids)
    return {
        "step_ids": list(timeline.step_ids),
        "data": [list(parents) for parents in timeline.data_parents],
        "order": [list(parents) for parents in timeline.order_parents],
        "statuses": list(timeline.statuses),
        "workers": timeline.workers,
        "nested_in": list(timeline.nested_in or [-1] * steps),
        "needs": [dict(needs) if needs else None for needs in timeline.needs or [None] * steps],
        "resources": dict(timeline.resources),
        "policy": timeline.policy,
        "backend": timeline.backend,
        "startup": timeline.startup_seconds,
        "capacity_changes": {name: [*map(tuple, changes)] for name, changes in timeline.capacity_changes.items()},
        "worker_changes": [*map(tuple, timeline.worker_changes)],
        "clocks": dict(timeline.clocks),
        "attempts": [
            (
                one.index, one.step_id, one.attempt, one.parent, one.ready, one.granted, one.started, one.ended,
                one.known, list(one.waits), [tuple(interval) for interval in one.blocked], one.released_by,
                one.worker, one.cpu_seconds, one.outcome, one.tokens_reserved, one.tokens_used,
                None if one.failure is None else one.failure[2:],
            )
            for one in timeline.attempts
        ],
    }  # fmt: skip


@RUNS
@given(workflows(max_steps=15, features=FEATURES), st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_trace_of_a_run_gives_back_its_record(run: DrawnRun, lines: int, shuffled: random.Random) -> None:
    timeline = simulate(*run)
    again = read_back(json_lines(spans_of_run(timeline), lines, shuffled))
    assert again.from_makespan
    assert not again.findings
    assert record(again.timeline) == record(timeline)


@settings(RUNS, max_examples=examples(30))
@given(workflows(max_steps=15, features=FEATURES), st.randoms(use_true_random=False))
def test_the_trace_of_a_run_gives_back_its_figures(run: DrawnRun, shuffled: random.Random) -> None:
    timeline = simulate(*run)
    again = read_back(json_lines(spans_of_run(timeline), 2, shuffled))
    assert summary(again.timeline) == summary(without_messages(timeline))


@settings(RUNS, max_examples=examples(20))
@given(workflows(max_steps=12, features=FEATURES))
def test_protobuf_gives_back_the_same_record_as_json(run: DrawnRun) -> None:
    timeline = simulate(*run)
    again = read_back(encode_spans(spans_of_run(timeline)).SerializeToString())
    assert record(again.timeline) == record(timeline)


@settings(RUNS, max_examples=examples(30))
@given(workflows(max_steps=15, features=FEATURES))
def test_a_trace_file_says_of_a_run_what_the_spans_of_the_sdk_say(run: DrawnRun) -> None:
    timeline = simulate(*run)
    words = list(recorded_words(timeline, workflow="drawn", tool_of=lambda _: "noop", facts={RESUMED_TRACE: "0f" * 16}))
    ids = RunIds.new(12345)
    by_the_sdk = encode_spans(list(spans_of(words, SpanMaker(ids, ORIGIN, Resource({})))))
    assert request_of(written_text(list(spans_of(words, SpanWriter(ids, ORIGIN))))) == by_the_sdk


def test_a_trace_file_says_of_step_code_what_the_spans_of_the_sdk_say() -> None:
    def of_step_code(surrogate: str, large: int | str) -> list[FinishedSpan]:
        odd = {"text": f'é {surrogate} "', "large": large, "flag": True, "share": 0.1, "many": ("1", "b")}
        odd["endless"] = math.inf
        spans = [FinishedSpan("plain", 1, 2, 0, 5, 3, {})]
        return spans + [
            FinishedSpan(
                f"half {surrogate}",
                1,
                3,
                2,
                5,
                9,
                odd,
                [("event", 7, odd)],
                [(8, 9, odd)],
                kind,
                status,
                said,
                "own",
                version,
            )
            for kind, status, said, version in (
                ("client", "error", f"went wrong {surrogate}", "1.0"),
                ("server", "ok", None, None),
            )
        ]

    ids = RunIds.new(12345)
    # Protobuf knows neither half a surrogate pair nor an integer beyond 64 bits.
    by_the_sdk = encode_spans(list(spans_of([], SpanMaker(ids, ORIGIN, Resource({})), of_step_code("?", str(2**70)))))
    written = written_text(list(spans_of([], SpanWriter(ids, ORIGIN), of_step_code("\ud800", 2**70))))
    assert request_of(written) == by_the_sdk


def test_what_changed_during_the_run_and_clocks_are_part_of_the_record() -> None:
    timeline = simulate(*random_workflow(1))
    timeline.capacity_changes = {"llm": [(0, 2), (5, 3)], "db": [(7, 1)]}
    timeline.worker_changes = [(0, 2), (6, 0), (9, 4)]
    timeline.clocks = {
        "far process-1": ClockReading(-5, 7, None, 1, 0),
        "far process-2": ClockReading(3, 1, 1e-6, 9, 2),
    }
    again = read_back(json_lines(spans_of_run(timeline), 1, random.Random(1)))
    assert record(again.timeline) == record(timeline)

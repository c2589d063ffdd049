"""The parts of tracing by themselves: ids, collected spans, what comes from programs, the sender's book-keeping."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, StatusCode

from executor.child_steps.step_context import Place, RunningStep
from executor.engine.instruments import Instruments
from executor.tracing.child_programs import _read
from executor.tracing.span_collector import (
    CollectingTracer,
    FinishedSpan,
    SteadyClock,
    close_sink,
    open_sink,
    plain,
)
from executor.tracing.span_contents import ROOT_KEY, span_id, trace_id_of
from executor.tracing.step_spans import RunIds, RunTracing, SpanCollector, StepSpan
from harness.telemetry.spans.span_sending import Sender
from harness.telemetry.spans.trace_session import RunName, open_tracing
from harness.telemetry.spans.transports import TransportError, _secrets_of

# ---------------------------------------------------------------------- ids


def test_ids_are_made_from_what_they_are_of_and_differ_for_different_things() -> None:
    keys = [(step, attempt, child) for step in ("a", "b", "a/1") for attempt in (0, 1, 11) for child in (0, 1)]
    ids = {span_id(b"x" * 16, key) for key in keys}
    assert len(ids) == len(keys)
    assert ids == {span_id(b"x" * 16, key) for key in keys}
    assert not ids & {span_id(b"y" * 16, key) for key in keys}
    assert trace_id_of("run", "a") != trace_id_of("ru", "na")


def test_two_runs_in_one_trace_have_different_ids() -> None:
    above = trace.set_span_in_context(
        trace.NonRecordingSpan(SpanContext(5, 6, True, trace.TraceFlags(trace.TraceFlags.SAMPLED))), Context()
    )
    one, other = RunIds.new(None, above), RunIds.new(None, above)
    assert one.root.trace_id == other.root.trace_id == 5
    assert one.span_id(("a", 1, 0)) != other.span_id(("a", 1, 0))
    assert one.above is not None
    assert one.above.span_id == 6


def test_the_trace_of_a_run_depends_on_all_that_names_it() -> None:
    name = RunName("r", "s", "threads", 2, "dataflow", {"n": 1}, 1)
    others = [
        RunName("q", "s", "threads", 2, "dataflow", {"n": 1}, 1),
        RunName("r", "s", "threads", 4, "dataflow", {"n": 1}, 1),
        RunName("r", "s", "threads", 2, "dataflow", {"n": 2}, 1),
        RunName("r", "s", "threads", 2, "dataflow", {"n": 1}, 2),
    ]
    assert len({name.trace_id, *(other.trace_id for other in others)}) == 5


# ---------------------------------------------------------------------- collected spans


@pytest.fixture
def home() -> Iterator[SpanCollector]:
    home = SpanCollector(RunIds.new(77, Context()), SteadyClock())
    open_sink(home)
    yield home
    close_sink(home)


def tracer() -> CollectingTracer:
    return CollectingTracer("scope", "1.0")


def below(home: SpanCollector) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(home.root), Context())


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_stall_between_two_looks_at_the_clocks_moves_no_span(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, now, stalls = 1_700_000_000_000_000_000, 0, [50_000_000]

    def monotonic() -> int:
        nonlocal now
        now += 100
        return now

    def wall() -> int:
        nonlocal now
        stall = stalls.pop() if stalls else 100
        now += stall
        return epoch + now - (stall if place == "after" else 0)

    monkeypatch.setattr(time, "perf_counter_ns", monotonic)
    monkeypatch.setattr(time, "time_ns", wall)
    clock = SteadyClock()
    assert abs(clock.at(0) - epoch) < 1_000


def test_a_collected_span_is_plain_data_with_all_that_was_said(home: SpanCollector) -> None:
    other = SpanContext(8, 9, False)
    span = tracer().start_span("s", below(home), attributes={"a": [1, 2]}, links=[trace.Link(other, {"why": "so"})])
    span.add_event("e", {"b": object})
    span.update_name("t")
    span.set_status(StatusCode.ERROR, "bad")
    span.end()
    span.set_attribute("late", 1)
    span.end()
    (found,) = home.spans
    assert (found.name, found.trace_id, found.parent_id) == ("t", 77, home.root.span_id)
    assert (found.attributes, found.links) == ({"a": (1, 2)}, [(8, 9, {"why": "so"})])
    assert found.events[0][2] == {"b": str(object)}
    assert (found.status, found.description, found.scope) == ("error", "bad", "scope")
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_span_without_a_parent_belongs_to_the_one_run_under_way_and_to_none_of_two(home: SpanCollector) -> None:
    tracer().start_span("s", Context()).end()
    assert home.spans.pop().parent_id == home.root.span_id
    other = SpanCollector(RunIds.new(78, Context()), SteadyClock())
    open_sink(other)
    try:
        tracer().start_span("s", Context()).end()
        assert not home.spans
        assert not other.spans
    finally:
        close_sink(other)


def test_a_span_of_another_trace_is_not_kept_but_its_parent_stays_current(home: SpanCollector) -> None:
    elsewhere = trace.set_span_in_context(trace.NonRecordingSpan(SpanContext(1, 2, False)), Context())
    span = tracer().start_span("s", elsewhere)
    assert span.get_span_context().span_id == 2
    assert not span.is_recording()


def test_decorated_functions_and_coroutines_are_spanned_to_their_end(home: SpanCollector) -> None:
    import asyncio

    @tracer().start_as_current_span("waits", context=below(home))
    async def waits() -> None:
        await asyncio.sleep(0.02)

    asyncio.run(waits())
    (found,) = home.spans
    assert found.end - found.start >= 15_000_000


def test_values_become_what_a_span_can_hold() -> None:
    assert plain([1, "a", None]) == (1, "a", "None")
    assert plain({"a": 1}) == "{'a': 1}"
    assert plain(True) is True


def test_a_step_span_is_that_of_whatever_runs_when_it_is_asked(home: SpanCollector) -> None:
    place = Place()
    span = StepSpan(place, home)
    assert span.get_span_context() == home.root
    place.running = RunningStep("a", 1)
    first = span.get_span_context()
    place.running = RunningStep("a", 2)
    assert first.span_id == home.ids.span_id(("a", 1, 0))
    assert span.get_span_context().span_id == home.ids.span_id(("a", 2, 0))
    span.set_attribute("makespan.attempt.ended", 1)
    span.set_attribute("mine", 2)
    assert home.notes == {RunningStep("a", 2): {"mine": 2}}


def test_recorded_tracing_watches_no_attempt() -> None:
    watched = Instruments([RunTracing()])
    assert not watched.watches("attempt_started")
    assert not watched.watches("attempt_finished")
    assert ROOT_KEY == ("", 0, 0)


def test_without_anywhere_to_send_to_there_is_no_tracing() -> None:
    from harness.telemetry.telemetry_settings import Telemetry

    assert open_tracing(Telemetry()) is None
    assert open_tracing(Telemetry(endpoint="http://127.0.0.1:9"), mode="off") is None


# ---------------------------------------------------------------------- what programs say


def finished(**words: Any) -> FinishedSpan:
    return FinishedSpan("n", 77, 2, 3, 4, 5, {"a": 1})._replace(**words)


@pytest.mark.parametrize(
    "line",
    [
        "", "x", "{}", "[]", "[1]", "null", "[" * 100_000,
        json.dumps(finished(span_id=0)), json.dumps(finished(span_id=-1)), json.dumps(finished(span_id="2")),
        json.dumps(finished(start=2**70)), json.dumps(finished(attributes=3)), json.dumps(finished(kind="odd")),
        json.dumps(finished(status="odd")), json.dumps(finished(events=[1])), json.dumps(finished(trace_id=5)),
    ],
)  # fmt: skip
def test_a_line_that_is_no_span_of_the_trace_is_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / "spans"
    path.write_text(f"{line}\n{json.dumps(finished(name='good'))}\n")
    assert [span.name for span in _read(path, 77)] == ["good"]


def test_a_file_that_a_program_took_away_is_no_fault(tmp_path: Path) -> None:
    assert list(_read(tmp_path / "gone", 77)) == []


# ---------------------------------------------------------------------- sending


class Transport:
    """Takes what `answer` lets through."""

    name = "there"

    def __init__(self, *errors: TransportError) -> None:
        self.errors = list(errors)
        self.batches: list[list[Any]] = []

    def send(self, spans: Sequence[Any], timeout_seconds: float) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(list(spans))
        return 0

    def close(self) -> None:
        """Nothing to close."""


def test_all_that_was_put_is_sent_in_order_and_counted() -> None:
    transport = Transport()
    sender = Sender(transport, 5)
    for start in range(0, 3000, 3):
        sender.put(range(start, start + 3), 3)
    delivery = sender.finish()
    assert (delivery.sent, delivery.lost, delivery.sentence()) == (3000, 0, None)
    assert [span for batch in transport.batches for span in batch] == list(range(3000))


def test_a_batch_is_tried_again_as_long_as_that_may_help() -> None:
    sender = Sender(Transport(TransportError("busy", again=True), TransportError("busy", again=True)), 5)
    sender.put(range(10), 10)
    assert sender.finish().lost == 0


def test_a_refused_batch_is_lost_and_the_others_are_not() -> None:
    transport = Transport(TransportError("bad request"))
    sender = Sender(transport, 5)
    sender.put(range(1000), 1000)
    delivery = sender.finish()
    assert (delivery.sent, delivery.lost) == (1000 - 512, 512)
    assert delivery.sentence() == "512 of 1,000 spans were not delivered to there: bad request"


def test_spans_that_cannot_be_made_are_lost_with_the_reason() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("no such step")

    sender = Sender(Transport(), 5)
    sender.put(broken(), 5)
    delivery = sender.finish()
    assert (delivery.sent, delivery.lost) == (1, 4)
    assert "no such step" in str(delivery.sentence())


def test_a_receiver_that_asks_for_more_time_than_there_is_is_given_up() -> None:
    sender = Sender(Transport(TransportError("later", again=True, retry_after_seconds=3600)), 0.3)
    sender.put(range(10), 10)
    began = time.monotonic()
    assert sender.finish().lost == 10
    assert time.monotonic() - began < 5


def test_a_home_knows_whether_it_is_a_copy_of_a_forked_process(home: SpanCollector) -> None:
    assert home.process_id == os.getpid()


def test_short_words_in_headers_are_no_secrets_but_a_key_is_one_with_and_without_its_scheme() -> None:
    headers = {"x-scope": "1", "x-key": "geheim", "Authorization": "Bearer sk-1"}
    assert _secrets_of(headers) == ["geheim", "Bearer sk-1", "sk-1"]

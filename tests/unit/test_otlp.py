"""OTLP's JSON and protobuf as they are met: ids, times, kinds, values, wrappers, framing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from harness.traces import Span, TraceError
from harness.traces.formats.otlp_values import identifier, kind_of, nanoseconds, plain_value
from tests.unit.traces_by_hand import BEGIN, MILLISECOND, TRACE, attributes, read, request, span, span_id

ROOT, CHILD = span("root", 0, 10), span("child", 2, 7, "root", kind=3, error=True, tool="search", n=3, ok=True, x=0.5)
REQUEST = request(ROOT, CHILD)
PART = REQUEST["resourceSpans"][0]


def only(document: Any) -> dict[str, Span]:
    [trace] = read(document)
    return {one.name: one for one in trace.spans}


def test_a_span_is_read_with_everything_in_it() -> None:
    words = dict(CHILD)
    words["events"] = [{"timeUnixNano": str(BEGIN + 1), "name": "token", "attributes": attributes({"n": 1})}]
    words["links"] = [
        {"traceId": TRACE.upper(), "spanId": span_id("root").upper(), "attributes": attributes({"a": "b"})}
    ]
    child = only(request(ROOT, words))["child"]
    assert (child.trace_id, child.span_id, child.parent_id) == (TRACE, span_id("child"), span_id("root"))
    assert (child.start, child.end) == (BEGIN + 2 * MILLISECOND, BEGIN + 7 * MILLISECOND)
    assert (child.kind, child.status, child.status_message) == ("client", "error", "it broke")
    assert (child.service, child.scope, child.resource) == ("app", "by hand", {"service.name": "app"})
    assert child.attributes == {"tool": "search", "n": 3, "ok": True, "x": 0.5}
    assert child.links == ((TRACE, span_id("root"), {"a": "b"}),)
    assert child.events == (("token", BEGIN + 1, {"n": 1}),)


@pytest.mark.parametrize(
    "document",
    [
        REQUEST,
        {"resource_spans": [PART]},
        {"batches": [PART]},
        {"trace": REQUEST},
        {"trace": {"batches": [PART]}, "metrics": {}},
        {"result": REQUEST},
        {"data": [REQUEST]},
        {"data": REQUEST},
        [REQUEST],
        {"traces": [{"batches": [PART]}]},
        PART,
        [PART],
        {"resourceSpans": [{**PART, "scopeSpans": [], "scope_spans": PART["scopeSpans"]}]},
        {"resourceSpans": [{**PART, "scopeSpans": [], "instrumentationLibrarySpans": PART["scopeSpans"]}]},
        {"resourceSpans": PART},
    ],
)
def test_every_wrapper_is_opened(document: Any) -> None:
    spans = only(document)
    assert {name: one.parent_id for name, one in spans.items()} == {"root": None, "child": span_id("root")}
    assert {one.service for one in spans.values()} == {"app"}


def test_a_bare_list_of_spans_is_a_trace() -> None:
    assert set(only([ROOT, CHILD])) == {"root", "child"}
    assert set(only({"spans": [ROOT, CHILD]})) == {"root", "child"}
    assert set(only(ROOT)) == {"root"}


def test_names_in_snake_case_are_read_as_the_camel_ones() -> None:
    words = {
        "trace_id": TRACE, "span_id": span_id("a"), "parent_span_id": span_id("b"), "name": "a",
        "start_time_unix_nano": BEGIN, "end_time_unix_nano": BEGIN + 5,
        "attributes": [{"key": "k", "value": {"string_value": "v"}}],
        "links": [{"trace_id": TRACE, "span_id": span_id("b")}],
        "events": [{"time_unix_nano": BEGIN + 1, "name": "e"}],
    }  # fmt: skip
    read_span = only({"resource_spans": [{"scope_spans": [{"spans": [words]}]}]})["a"]
    assert (read_span.parent_id, read_span.end) == (span_id("b"), BEGIN + 5)
    assert read_span.attributes == {"k": "v"}
    assert [link.span_id for link in read_span.links] == [span_id("b")]
    assert [event.time for event in read_span.events] == [BEGIN + 1]


def test_spans_in_mlflows_own_form_are_read_as_they_were_sent() -> None:
    words = {
        "trace_id": base64.b64encode(bytes.fromhex(TRACE)).decode(), "parent_span_id": None, "name": "a",
        "span_id": base64.b64encode(bytes.fromhex(span_id("a"))).decode(),
        "start_time_unix_nano": BEGIN, "end_time_unix_nano": BEGIN + 5,
        "attributes": {
            "mlflow.traceRequestId": f'"tr-{TRACE}"', "text": '"1"', "number": "1", "list": '["b"]', "broken": '["b',
        },
        "links": [{"trace_id": f"tr-{TRACE}", "span_id": span_id("b"), "attributes": {"edge": "data"}}],
    }  # fmt: skip
    read_span = only({"info": {}, "data": {"spans": [words]}})["a"]
    assert (read_span.trace_id, read_span.span_id) == (TRACE, span_id("a"))
    assert read_span.attributes == {
        "mlflow.traceRequestId": f"tr-{TRACE}", "text": "1", "number": 1, "list": ["b"], "broken": '["b',
    }  # fmt: skip
    assert read_span.links == ((TRACE, span_id("b"), {"edge": "data"}),)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("00F067AA0BA902B7", "00f067aa0ba902b7"),
        (base64.b64encode(bytes.fromhex("00f067aa0ba902b7")).decode(), "00f067aa0ba902b7"),
        (base64.b64encode(bytes.fromhex(TRACE)).decode(), TRACE),
        ("Free Text 1", "Free Text 1"),
        ("sixteen signs .X", "sixteen signs .X"),
        (17, "17"),
        ("", None),
        (None, None),
        ("0000000000000000", None),
        ("0" * 32, None),
        ("AAAAAAAAAAA=", None),
        ({}, None),
    ],
)
def test_ids_are_hex_base64_or_free_text_and_zeros_mean_none(written: Any, meant: str | None) -> None:
    assert identifier(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (str(BEGIN), BEGIN),
        (BEGIN, BEGIN),
        ("0", None),
        (0, None),
        (-5, None),
        (None, None),
        ("soon", None),
        (1 << 70, None),
        ("1.7e18", 1_700_000_000_000_000_000),
        ([], None),
    ],
)
def test_times_are_text_or_numbers(written: Any, meant: int | None) -> None:
    assert nanoseconds(written) == meant


def test_a_time_above_two_to_the_53_never_passes_through_a_float() -> None:
    assert int(float(BEGIN)) != BEGIN
    words = {**ROOT, "startTimeUnixNano": BEGIN}
    assert only(request(words))["root"].start == BEGIN
    exact = json.dumps(request(words)).replace(str(BEGIN), f"{BEGIN}.0").encode()
    assert only(exact)["root"].start == BEGIN


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, "unspecified"), (0, "unspecified"), (1, "internal"), (2, "server"), (3, "client"), (4, "producer"),
        (5, "consumer"), (9, "unspecified"), ("SPAN_KIND_SERVER", "server"), ("client", "client"), ("3", "client"),
        ("SpanKind.INTERNAL", "internal"), ("odd", "unspecified"), ([], "unspecified"),
    ],
)  # fmt: skip
def test_a_kind_is_absent_a_number_or_a_name(written: Any, meant: str) -> None:
    assert kind_of(written) == meant


def test_values_of_every_type_become_plain_data() -> None:
    assert plain_value({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}) == [1, "a"]
    assert plain_value({"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": False}}]}}) == {"a": False}
    assert plain_value({"doubleValue": "NaN"}) != plain_value({"doubleValue": "NaN"})
    assert plain_value({"bytesValue": "AAE="}) == "AAE="
    assert plain_value({}) is None
    assert plain_value({"newValue": 1}) == {"newValue": 1}
    assert plain_value("as it is") == "as it is"


def test_attributes_that_are_a_plain_mapping_are_read_too() -> None:
    assert only(request({**ROOT, "attributes": {"a": 1, "b": 0.5}}))["root"].attributes == {"a": 1, "b": 0.5}


def test_odd_attributes_cost_no_span() -> None:
    words = {
        **ROOT,
        "attributes": [None, {"key": "a"}, {"value": 1}, {"key": 5, "value": {}}, {"key": "b", "value": 7}],
    }
    assert only(request(words))["root"].attributes == {"a": None, "b": 7}


def test_spans_that_cannot_be_read_are_counted() -> None:
    no_id, no_start = dict(ROOT), dict(ROOT)
    del no_id["spanId"]
    no_start["startTimeUnixNano"] = "0"
    [trace] = read(request(ROOT, no_id, no_start, no_start) | {})
    assert len(trace.spans) == 1
    assert {one.code: one.count for one in trace.findings} == {"no_span_id": 1, "no_start": 2}


def protobuf() -> bytes:
    message = TracesData()
    for part in REQUEST["resourceSpans"]:
        resource = message.resource_spans.add()
        for pair in part["resource"]["attributes"]:
            resource.resource.attributes.add(key=pair["key"]).value.string_value = pair["value"]["stringValue"]
        scope = resource.scope_spans.add()
        scope.scope.name = "by hand"
        for words in part["scopeSpans"][0]["spans"]:
            made = scope.spans.add(
                trace_id=bytes.fromhex(words["traceId"]),
                span_id=bytes.fromhex(words["spanId"]),
                parent_span_id=bytes.fromhex(words.get("parentSpanId", "")),
                name=words["name"],
                kind=words["kind"],
                start_time_unix_nano=int(words["startTimeUnixNano"]),
                end_time_unix_nano=int(words["endTimeUnixNano"]),
            )
            made.status.code = words.get("status", {}).get("code", 0)
            made.status.message = words.get("status", {}).get("message", "")
            for pair in words["attributes"]:
                value = made.attributes.add(key=pair["key"]).value
                [(kind, held)] = pair["value"].items()
                names = {"stringValue": "string_value", "intValue": "int_value", "boolValue": "bool_value"}
                setattr(value, names.get(kind, "double_value"), int(held) if kind == "intValue" else held)
    return bytes(message.SerializeToString())


def facts(spans: dict[str, Span]) -> list[tuple[object, ...]]:
    return [tuple(getattr(one, field) for field in Span.__slots__) for one in spans.values()]


def varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made += bytes([number & 127 | 128])
        number >>= 7
    return made + bytes([number])


@pytest.mark.parametrize("framing", ["bare", "four bytes", "varint"])
@pytest.mark.parametrize("limit", [1 << 20, 10])
def test_protobuf_says_the_same_as_json_however_it_is_framed(framing: str, limit: int) -> None:
    message = protobuf()
    length = len(message)
    before = {"bare": b"", "four bytes": length.to_bytes(4, "big"), "varint": varint(length)}[framing]
    [trace] = read(before + message, buffer_bytes=limit)
    assert facts({one.name: one for one in trace.spans}) == facts(only(REQUEST))
    assert trace.format == "otlp-protobuf"


def test_messages_after_their_lengths_are_all_read() -> None:
    message = protobuf()
    framed = len(message).to_bytes(4, "big") + message
    [trace] = read(framed * 3)
    assert len(trace.spans) == 6


def test_protobuf_that_breaks_off_gives_what_it_held() -> None:
    message = protobuf()
    framed = len(message).to_bytes(4, "big") + message
    [trace] = read(framed + framed[:50])
    assert len(trace.spans) == 2
    assert [one.code for one in trace.findings] == ["truncated_file"]


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02\x03\x04\x05", b"\x0a\xff\xff\xff\xff\xff\xff\x0f", b"\x7fELF\x02\x01\x01\x00"]
)
def test_binary_data_of_another_kind_is_refused(content: bytes) -> None:
    with pytest.raises(TraceError, match="neither JSON nor OTLP protobuf"):
        read(content)

"""Files of traces: every known format, many traces and many files, broken files, and files that are something else."""

from __future__ import annotations

import gzip
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from harness.traces import Span, Trace, TraceError, foreign_run, read_traces
from tests.unit.traces_by_hand import BEGIN, MILLISECOND, TRACE, edges_of, read, request, run_of, span, span_id

ROOT, ONE, TWO = span("root", 0, 10), span("one", 1, 4, "root"), span("two", 5, 9, "root", service="other")
SPANS = (ROOT, ONE, TWO)
OTHER_TRACE = "f" * 32


def jaeger_span(name: str, start: int, end: int, parent: str | None = None, **words: Any) -> dict[str, Any]:
    reference = {"refType": "CHILD_OF", "traceID": TRACE, "spanID": span_id(parent or "")}
    return {
        "traceID": TRACE,
        "spanID": span_id(name),
        "operationName": name,
        "references": [] if parent is None else [reference],
        "startTime": BEGIN // 1000 + start * 1000,
        "duration": (end - start) * 1000,
        "tags": [{"key": "span.kind", "type": "string", "value": "client"}],
        "logs": [{"timestamp": BEGIN // 1000, "fields": [{"key": "event", "type": "string", "value": "hello"}]}],
        "processID": "p1",
        **words,
    }


JAEGER_SPANS = [jaeger_span("root", 0, 10), jaeger_span("one", 1, 4, "root"), jaeger_span("two", 5, 9, "root")]
PROCESSES = {"p1": {"serviceName": "app", "tags": [{"key": "host.name", "type": "string", "value": "h"}]}}
JAEGER = {"data": [{"traceID": TRACE, "spans": JAEGER_SPANS, "processes": PROCESSES}], "total": 0, "errors": None}


def tree(trace: Trace) -> dict[str, str | None]:
    names = {one.span_id: one.name for one in trace.spans}
    return {one.name: names.get(one.parent_id or "") for one in trace.spans}


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in documents)


def facts(span: Span) -> tuple[object, ...]:
    return tuple(getattr(span, field) for field in Span.__slots__)


# ---------------------------------------------------------------------- Jaeger


def test_jaegers_download_is_read() -> None:
    [trace] = read(JAEGER)
    root, one, _ = trace.spans
    assert tree(trace) == {"root": None, "one": "root", "two": "root"}
    assert (one.start, one.end) == (BEGIN // 1000 * 1000 + MILLISECOND, BEGIN // 1000 * 1000 + 4 * MILLISECOND)
    assert (root.service, root.kind, root.resource["host.name"]) == ("app", "client", "h")
    assert [event.name for event in root.events] == ["hello"]
    assert trace.format == "jaeger"


@pytest.mark.parametrize(
    "document",
    [
        {"traceID": TRACE, "spans": JAEGER_SPANS, "processes": PROCESSES},
        {"traceID": TRACE, "spans": JAEGER_SPANS},
        {"data": [{"spans": JAEGER_SPANS}]},
        JAEGER_SPANS,
    ],
)
def test_jaegers_traces_are_read_bare_and_without_processes(document: Any) -> None:
    [trace] = read(document)
    assert tree(trace) == {"root": None, "one": "root", "two": "root"}


def test_jaegers_parent_span_id_stands_in_for_references() -> None:
    child = jaeger_span("one", 1, 4, parentSpanID=span_id("root"))
    del child["references"]
    [trace] = read({"data": [{"spans": [JAEGER_SPANS[0], child]}]})
    assert tree(trace)["one"] == "root"


def test_a_reference_that_holds_the_whole_span_is_enough() -> None:
    held = {"refType": "CHILD_OF", "span": {**JAEGER_SPANS[0], "references": []}}
    [trace] = read({"data": [{"spans": [JAEGER_SPANS[0], jaeger_span("one", 1, 4, references=[held])]}]})
    assert tree(trace)["one"] == "root"


def test_a_span_that_only_follows_another_stands_beside_it_and_needs_it() -> None:
    follows = [{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": span_id("one")}]
    later = jaeger_span("later", 5, 9, references=follows)
    [trace] = read({"data": [{"spans": [JAEGER_SPANS[0], JAEGER_SPANS[1], later], "processes": PROCESSES}]})
    run = foreign_run(trace)
    assert edges_of(run) == {("one", "later"): ("declared", "links")}
    assert [one.name for one in run.envelopes] == ["root"]


def test_spans_that_only_follow_each_other_in_a_chain_all_stand_beside_the_first() -> None:
    def after(name: str) -> list[dict[str, Any]]:
        return [{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": span_id(name)}]

    chain = [
        jaeger_span("second", 5, 7, references=after("one")),
        jaeger_span("third", 7, 9, references=after("second")),
        jaeger_span("fourth", 9, 10, references=after("third")),
    ]
    [trace] = read({"data": [{"spans": [*reversed(chain), JAEGER_SPANS[0], JAEGER_SPANS[1]], "processes": PROCESSES}]})
    run = foreign_run(trace)
    assert [one.name for one in run.envelopes] == ["root"]
    assert list(edges_of(run)) == [("one", "second"), ("second", "third"), ("third", "fourth")]


def test_spans_that_follow_each_other_in_a_circle_are_read() -> None:
    def after(name: str) -> list[dict[str, Any]]:
        return [{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": span_id(name)}]

    circle = (("a", 0, "c"), ("b", 1, "a"), ("c", 2, "b"))
    spans = [jaeger_span(name, start, start + 1, references=after(other)) for name, start, other in circle]
    [trace] = read({"data": [{"spans": spans}]})
    assert len(foreign_run(trace).timeline.step_ids) == 3


def test_a_span_that_follows_one_that_still_runs_is_its_child() -> None:
    follows = [{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": span_id("root")}]
    [trace] = read({"data": [{"spans": [JAEGER_SPANS[0], jaeger_span("later", 5, 9, references=follows)]}]})
    assert [one.name for one in foreign_run(trace).envelopes] == ["root"]


def test_a_clock_that_begins_at_zero_has_times() -> None:
    spans = [jaeger_span("root", 0, 10), jaeger_span("one", 1, 4, "root")]
    for made in spans:
        made["startTime"] -= BEGIN // 1000
    [trace] = read({"data": [{"spans": spans}]})
    assert [(one.start, one.end) for one in trace.spans] == [(0, 10 * MILLISECOND), (MILLISECOND, 4 * MILLISECOND)]
    assert foreign_run(trace).origin == 0
    otlp = {"traceId": TRACE, "spanId": "ab" * 8, "name": "a", "startTimeUnixNano": "0", "endTimeUnixNano": "5000"}
    [trace] = read([otlp])
    assert (trace.spans[0].start, trace.spans[0].end) == (0, 5000)
    [trace] = read([{"traceId": TRACE, "id": "ab" * 8, "name": "a", "timestamp": 0, "duration": 5}])
    assert (trace.spans[0].start, trace.spans[0].end) == (0, 5000)


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_the_sdk_s_own_integers_are_times(unit: int) -> None:
    context = {"trace_id": f"0x{TRACE}", "span_id": "0x" + "ab" * 8}
    begin = BEGIN // 1_000_000_000 * 1_000_000_000
    times = {"start_time": begin // unit, "end_time": begin // unit + 1_000_000_000 // unit}
    [trace] = read({"name": "a", "context": context, "kind": "SpanKind.INTERNAL", "parent_id": None, **times})
    assert (trace.spans[0].start, trace.spans[0].end) == (begin, begin + 1_000_000_000)


def test_jaegers_errors_are_errors() -> None:
    tags = [{"key": "error", "type": "bool", "value": True}, {"key": "otel.status_description", "value": "no"}]
    [trace] = read({"data": [{"spans": [jaeger_span("a", 0, 1, tags=tags)]}]})
    assert (trace.spans[0].status, trace.spans[0].status_message) == ("error", "no")


def test_a_process_that_stands_in_the_span_is_its_own() -> None:
    words = jaeger_span("a", 0, 1, process={"serviceName": "inline"})
    del words["processID"]
    assert read({"data": [{"spans": [words]}]})[0].spans[0].service == "inline"


# ---------------------------------------------------------------------- neighbours


def test_zipkin_is_read() -> None:
    spans = [
        {"traceId": TRACE, "id": span_id("a"), "name": "a", "timestamp": BEGIN // 1000, "duration": 5000,
         "kind": "CLIENT", "localEndpoint": {"serviceName": "app"}, "tags": {"error": "no"}},
        {"traceId": TRACE, "id": span_id("a"), "name": "a", "timestamp": BEGIN // 1000 + 1000, "duration": 3000,
         "kind": "SERVER", "shared": True, "localEndpoint": {"serviceName": "db"}},
    ]  # fmt: skip
    [trace] = read(spans)
    client, server = trace.spans
    assert (client.service, client.status, client.kind) == ("app", "error", "client")
    assert (server.service, server.parent_id) == ("db", client.span_id)


def test_what_the_sdk_prints_is_read_one_value_after_the_other() -> None:
    def printed(name: str, parent: str | None, start: str, end: str) -> str:
        context = {"trace_id": f"0x{TRACE}", "span_id": f"0x{span_id(name)}", "trace_state": "[]"}
        words = {
            "name": name, "context": context, "kind": "SpanKind.INTERNAL",
            "parent_id": None if parent is None else f"0x{span_id(parent)}", "start_time": start, "end_time": end,
            "status": {"status_code": "ERROR", "description": "no"}, "attributes": {"a": [1, 2]},
            "events": [{"name": "e", "timestamp": start, "attributes": {}}],
            "links": [{"context": {**context, "span_id": f"0x{span_id('root')}"}, "attributes": {}}],
            "resource": {"attributes": {"service.name": "app"}, "schema_url": ""},
        }  # fmt: skip
        return json.dumps(words, indent=4)

    begin, end = "2025-11-25T10:00:00.000001Z", "2025-11-25T10:00:01.123456Z"
    text = printed("one", "root", begin, end) + "\n" + printed("root", None, begin, end) + "\n"
    [trace] = read(text.encode())
    assert tree(trace) == {"one": "root", "root": None}
    one = trace.spans[0]
    assert ((one.end or 0) - one.start, one.start % 1_000_000_000) == (1_123_455_000, 1_000)
    assert (one.status, one.attributes, one.service) == ("error", {"a": [1, 2]}, "app")
    assert trace.format == "sdk-console"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (
            {"traces": [{"traceID": "1", "rootServiceName": "a", "rootTraceName": "b", "durationMs": 5}]},
            "search in Tempo",
        ),
        ({"traceEvents": [{"ph": "X", "ts": 1}]}, "Chrome trace"),
        ([{"ph": "X", "ts": 1, "name": "a"}], "Chrome trace"),
        ({"resourceMetrics": []}, "OTLP metrics"),
        ({"resourceLogs": []}, "OTLP logs"),
        ({"schema": "makespan.run/1", "results": []}, "result of makespan"),
        ({"schema": "makespan.analysis/1", "steps": 3}, "what was found about a trace"),
        ({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}, "error answer of Jaeger"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "query in Grafana or Prometheus"),
        ([{"run_type": "llm", "dotted_order": "x"}], "LangSmith"),
        ({"traces": [{"traceID": "1", "spanSets": [{"spans": [{"spanID": "a"}], "matched": 1}]}]}, "search in Tempo"),
        ({"traces": [], "metrics": {}}, "search in Tempo"),
        ({"id": "t", "observations": [{"id": "o", "type": "SPAN"}]}, "trace of Langfuse"),
        ({"Traces": [{"Id": "1", "Segments": [{"Id": "a", "Document": "{}"}]}]}, "AWS X-Ray"),
        ([[{"trace_id": 1, "span_id": 2, "name": "x", "start": 1, "duration": 5, "resource": "r"}]], "Datadog"),
        ({"hits": {"hits": [{"_source": {"span": {"id": "a"}}}]}}, "Elasticsearch"),
        ({"resourceSpans": []}, "list of spans that is empty"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "ab"}]}]}]}, "1 × spans without a start time"),
        ({"data": []}, "empty list"),
        ({"a": 1}, "nothing that looks like spans"),
        ([], "empty list"),
        (5, "a number"),
        ("text", "a text"),
    ],
)
def test_a_document_of_another_kind_is_refused_by_its_name(document: Any, named: str) -> None:
    with pytest.raises(TraceError, match=named) as refusal:
        read(document)
    assert "stdin" in str(refusal.value)
    assert "0 spans" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"<!doctype html><html>", "HTML"),
        (b"not json at all", "no JSON"),
        (b"{'single': 'quotes'}", "no JSON"),
        (b'{"a": ', "no JSON"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"\x28\xb5\x2f\xfdrest", "Zstandard"),
        (b"\x1f\x8bbroken", "damaged|cannot be read"),
        (b"[" * 100_000, "nested too deeply|no JSON"),
        (b'{"a":' * 100_000, "nested too deeply|no JSON"),
    ],
)
def test_what_is_no_json_is_refused_in_a_line(content: bytes, named: str) -> None:
    with pytest.raises(TraceError, match=named):
        read(content)
    with pytest.raises(TraceError):
        read(content, buffer_bytes=3)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "missing.json", "cannot be read"), (tmp_path, "a folder; .*--from-dir")):
        with pytest.raises(TraceError, match=said):
            list(read_traces(path))


def test_control_codes_in_a_name_of_a_file_do_not_reach_the_message(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as refusal:
        list(read_traces(tmp_path / "a\x1b[31m.json"))
    assert "\x1b" not in str(refusal.value)


# ---------------------------------------------------------------------- many


def test_one_trace_may_be_spread_over_many_lines_children_first() -> None:
    [trace] = read(lines(request(TWO), request(ONE), request(ROOT)))
    assert tree(trace) == {"two": "root", "one": "root", "root": None}
    assert trace.source == "stdin:1"


def test_many_traces_in_one_line_are_told_apart() -> None:
    other = {**span("alone", 0, 5), "traceId": OTHER_TRACE}
    traces = read(lines(request(*SPANS, other)))
    assert {one.trace_id: len(one.spans) for one in traces} == {TRACE: 3, OTHER_TRACE: 1}


def test_one_trace_may_be_spread_over_many_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(lines(request(ROOT, ONE)))
    (tmp_path / "b.json").write_bytes(lines(request(TWO)))
    [trace] = read_traces([tmp_path / "a.json", tmp_path / "b.json"])
    assert len(trace.spans) == 3


def test_a_file_that_cannot_be_read_is_told_of_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(lines(request(*SPANS)))
    (tmp_path / "b.json").write_text("oh no")
    errors: list[TraceError] = []
    [trace] = read_traces([tmp_path / "b.json", tmp_path / "a.json"], on_error=errors.append)
    assert len(trace.spans) == 3
    assert len(errors) == 1
    with pytest.raises(TraceError):
        list(read_traces([tmp_path / "a.json", tmp_path / "b.json"]))


def test_metrics_and_logs_between_the_lines_are_no_matter() -> None:
    [trace] = read(lines({"resourceMetrics": []}, request(*SPANS), {"resourceLogs": []}))
    assert len(trace.spans) == 3


def test_lines_that_are_broken_are_counted() -> None:
    content = lines(request(ROOT, ONE)) + b"{oops\n\n" + lines(request(TWO)) + b'{"resourceSpans": [{"resou'
    for limit in (1 << 20, 10):
        [trace] = read(content, buffer_bytes=limit)
        assert len(trace.spans) == 3
        [finding] = trace.findings
        assert (finding.code, finding.count) == ("broken_line", 2)
        assert "2, 5" in finding.message


def test_lines_of_a_log_before_the_traces_are_no_matter() -> None:
    [trace] = read(b"starting up\n" + lines(request(*SPANS)))
    assert len(trace.spans) == 3
    assert [one.code for one in trace.findings] == ["broken_line"]


def test_a_line_of_a_log_that_begins_as_json_is_no_matter_either() -> None:
    for line in (b"2024-01-01 starting up\n", b"[1, 2\n", b'{"a": \n'):
        [trace] = read(line + lines(request(ROOT, ONE), request(TWO)))
        assert len(trace.spans) == 3
        assert [one.code for one in trace.findings] == ["broken_line"]


@pytest.mark.parametrize("limit", [1 << 20, 10])
def test_a_comma_too_many_costs_no_span(limit: int) -> None:
    content = json.dumps(request(*SPANS)).encode().replace(b"]}]}", b",],}]}")
    [trace] = read(content, buffer_bytes=limit)
    assert len(trace.spans) == 3
    assert [one.code for one in trace.findings] == ["truncated_file"]


@pytest.mark.parametrize("limit", [1 << 20, 10])
@pytest.mark.parametrize("document", [request(*SPANS), JAEGER])
def test_a_document_that_breaks_off_gives_what_it_held(document: Any, limit: int) -> None:
    content = json.dumps(document, indent=1).encode()
    last = content.rindex(b"two")
    [trace] = read(content[:last], buffer_bytes=limit)
    assert {one.name for one in trace.spans} == {"root", "one"}
    assert [one.code for one in trace.findings] == ["truncated_file"]


def test_text_that_is_not_utf8_is_read_and_said() -> None:
    content = json.dumps(request(*SPANS)).encode().replace(b'"one"', b'"\xffne"')
    [trace] = read(content)
    assert [one.name for one in trace.spans] == ["root", "\N{REPLACEMENT CHARACTER}ne", "two"]
    assert [one.code for one in trace.findings] == ["not_utf8"]


def test_a_byte_that_is_not_utf8_is_counted_from_the_beginning_of_the_file() -> None:
    content = b"\xef\xbb\xbf" + json.dumps(request(*SPANS)).encode().replace(b'"one"', b'"\xffne"')
    for limit in (1 << 20, 10):
        assert f"byte {content.index(0xFF)} on" in read(content, buffer_bytes=limit)[0].findings[0].message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_with_marks_of_their_encoding_are_read(encoding: str) -> None:
    for limit in (1 << 20, 10):
        assert len(read(json.dumps(request(*SPANS)).encode(encoding), buffer_bytes=limit)[0].spans) == 3


# ---------------------------------------------------------------------- large

LATE = {"batches": [dict(reversed(part.items())) for part in request(*SPANS)["resourceSpans"]]}


@pytest.mark.parametrize(
    "document",
    [
        request(*SPANS), LATE, {"trace": LATE, "metrics": {"a": 1}}, JAEGER, JAEGER_SPANS, [ROOT, ONE, TWO],
        {"data": [{"traceID": TRACE, "processes": PROCESSES, "spans": JAEGER_SPANS}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("indent", [None, 2])
def test_a_large_file_says_the_same_as_a_small_one(document: Any, indent: int | None) -> None:
    content = json.dumps(document, indent=indent).encode()
    [small] = read(content)
    [large] = read(content, buffer_bytes=10)
    assert [facts(one) for one in large.spans] == [facts(one) for one in small.spans]
    assert (large.trace_id, large.format, large.findings) == (small.trace_id, small.format, small.findings)


def test_large_lines_say_the_same_as_small_ones() -> None:
    content = lines(*[request({**one, "traceId": f"{n:032x}"}) for n in range(1, 200) for one in SPANS])
    small, large = read(content), read(content, buffer_bytes=10)
    assert {one.trace_id: [facts(span) for span in one.spans] for one in large} == {
        one.trace_id: [facts(span) for span in one.spans] for one in small
    }


def test_a_large_file_after_a_small_one_adds_to_its_traces(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(lines(request(ROOT)))
    (tmp_path / "b.json").write_bytes(lines(request(ONE)) * 3 + lines(request(TWO)))
    limit = (tmp_path / "a.json").stat().st_size + 10
    [trace] = read_traces([tmp_path / "a.json", tmp_path / "b.json"], buffer_bytes=limit)
    assert [one.name for one in trace.spans] == ["root", "one", "one", "one", "two"]


def test_long_values_of_large_files_are_kept() -> None:
    content = json.dumps(request(span("a", 0, 1, text="x" * 100_000))).encode()
    [trace] = read(content, buffer_bytes=10)
    assert len(trace.spans[0].attributes["text"]) == 100_000


def test_a_compressed_file_is_unpacked() -> None:
    content = gzip.compress(json.dumps(request(*SPANS)).encode())
    for limit in (1 << 20, 10):
        assert len(read(content, buffer_bytes=limit)[0].spans) == 3


def test_a_value_of_ten_megabytes_is_read() -> None:
    run = run_of(span("a", 0, 5, values={"output.value": "word " * 2_000_000}), span("b", 5, 9))
    assert len(run.names) == 2


def test_names_of_traces_are_printable_as_step_ids() -> None:
    run = run_of(span("a\x1b[31mred\nline", 0, 5), span("", 5, 9), span("x" * 5000, 9, 10))
    assert all(step_id.isprintable() and len(step_id) < 300 for step_id in run.timeline.step_ids)
    assert run.timeline.step_ids[1] == "span"


def test_nothing_of_the_sdk_or_protobuf_is_imported_for_json() -> None:
    import subprocess
    import sys

    script = (
        "import sys, io; from harness.traces import read_traces, foreign_run\n"
        f"[foreign_run(one) for one in read_traces('-', stdin=io.BytesIO({json.dumps(request(*SPANS)).encode()!r}))]\n"
        "print(sorted(name for name in sys.modules if name.startswith(('opentelemetry', 'google', 'ijson', 'scipy'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stdin_that_is_given_is_the_one_that_is_read() -> None:
    assert len(list(read_traces(["-"], stdin=BytesIO(lines(request(*SPANS)))))) == 1


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]
)
@pytest.mark.parametrize("before", ["", " \n"])
def test_text_of_any_width_is_read_with_a_mark_or_without(encoding: str, before: str) -> None:
    text = before + json.dumps(request(span("root é", 0, 10), span("one", 1, 4, "root é")), ensure_ascii=False)
    [trace] = read(text.encode(encoding))
    assert [one.name for one in trace.spans] == ["root é", "one"]
    assert trace.findings == []


def test_ten_thousand_traces_of_a_file_are_each_read_once() -> None:
    spans = [
        {"traceId": f"{n + 1:032x}", "spanId": f"{n + 1:016x}", "name": "a", "startTimeUnixNano": str(BEGIN + n),
         "endTimeUnixNano": str(BEGIN + n + 5)}
        for n in range(10_000)
    ]  # fmt: skip
    assert sum(len(trace.spans) for trace in read({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})) == 10_000

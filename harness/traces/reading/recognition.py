"""Recognises what a JSON value is, whatever it is wrapped in: batches of spans of a known format, or what else.

Rules of this module:
- Wrappers are opened one after the other from a list of work, never by recursion.
- What is known but holds no spans (metrics, search results, Chrome's events, …) is named, never read as "0 spans".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, NamedTuple

from harness.traces.formats import jaeger, otlp, otlp_protobuf, otlp_sdk, zipkin
from harness.traces.formats.otlp import Defects, Origin
from harness.traces.reading.json_text import wide_encoding
from harness.traces.trace_model import Span

OTLP: Final = "otlp-json"
TEMPO: Final = "tempo"
JAEGER: Final = "jaeger"
SDK: Final = "sdk-console"
ZIPKIN: Final = "zipkin"
PROTOBUF: Final = "otlp-protobuf"

Converter = Callable[[Any, Any, Defects], Span | None]
CONVERTERS: Final[dict[str, Converter]] = {
    OTLP: otlp.span_of,
    TEMPO: otlp.span_of,
    JAEGER: jaeger.span_of,
    SDK: otlp_sdk.span_of,
    ZIPKIN: zipkin.span_of,
    PROTOBUF: otlp_protobuf.span_of,
}

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_LOOKED_AT_BYTES: Final = 4096
_WRAPPERS: Final = ("trace", "result", "data", "traces")
_RESOURCE_SPANS: Final = ("resourceSpans", "resource_spans", "batches")
_SCOPE_SPANS: Final = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans")


class Batch(NamedTuple):
    """Spans as they stand in the file, and what they share. ``format`` is a key of :data:`CONVERTERS`."""

    format: str
    origin: Any
    spans: list[Any]


class Other(NamedTuple):
    """Something that is no spans. ``name`` says what; ``advice`` what to do instead."""

    name: str
    advice: str


_NOTHING: Final = Other("nothing that looks like spans", "")


def is_protobuf(beginning: bytes) -> bool:
    """Whether a file holds binary data: JSON never has control characters."""
    if wide_encoding(beginning) is not None:
        return False
    return _CONTROL.search(beginning, 0, _LOOKED_AT_BYTES) is not None


def parts_of(document: Any, defects: Defects) -> Iterator[Batch | Other]:
    """The batches of spans in a JSON value, in order."""
    work = [document]
    while work:
        value = work.pop()
        if type(value) is list:
            if not value:
                yield Other("an empty list", "")
            elif _is_span_list(value):
                yield from _span_list(value)
            else:
                work.extend(reversed(value))
        elif type(value) is dict:
            opened = yield from _mapping(value, defects)
            work.extend(reversed(opened))
        else:
            yield Other(f"a {_json_name(value)}", "")


def _mapping(value: dict[str, Any], defects: Defects) -> Generator[Batch | Other, None, list[Any]]:
    """The batches of a mapping; what it returns is still to be opened."""
    for name in _RESOURCE_SPANS:
        if name in value:
            kind = TEMPO if name == "batches" else OTLP
            for origin, spans in otlp.raw_spans(value[name], defects):
                yield Batch(kind, origin, spans)
            return []
    if any(name in value for name in _SCOPE_SPANS):
        for origin, spans in otlp.raw_spans(value, defects):
            yield Batch(OTLP, origin, spans)
        return []
    if type(value.get("spans")) is list and not _is_search_result(value):
        yield from _with_spans(value)
        return []
    other = what_else(value)
    if other is not None:
        yield other
        return []
    wrapped = [value[name] for name in _WRAPPERS if isinstance(value.get(name), (dict, list))]
    if wrapped:
        return wrapped
    kind_of_span = format_of_span(value)
    yield Batch(kind_of_span, origin_for(kind_of_span), [value]) if kind_of_span else _NOTHING
    return []


def _with_spans(value: dict[str, Any]) -> Iterator[Batch | Other]:
    spans = value["spans"]
    if "processes" in value or jaeger.looks_like(spans[0] if spans else None):
        yield Batch(JAEGER, jaeger.processes_of(value), spans)
    elif spans:
        yield from _span_list(spans)
    else:
        yield Other("a trace without spans", "")


def _is_span_list(values: list[Any]) -> bool:
    return type(values[0]) is dict and format_of_span(values[0]) is not None


def _span_list(values: list[Any]) -> Iterator[Batch | Other]:
    """A bare list of spans: each is of the format that it looks like, most often all of one."""
    batch: list[Any] = []
    current = None
    for value in values:
        kind = (format_of_span(value) if type(value) is dict else None) or current or OTLP
        if kind != current and batch and current is not None:
            yield Batch(current, origin_for(current), batch)
            batch = []
        current = kind
        batch.append(value)
    if current is not None:
        yield Batch(current, origin_for(current), batch)


def origin_for(kind: str) -> Any:
    """What spans share that stand in a bare list."""
    return jaeger.processes_of({}) if kind == JAEGER else Origin({})


def format_of_span(value: dict[str, Any]) -> str | None:
    """The format of a mapping that is one span, or None."""
    if jaeger.looks_like(value):
        return JAEGER
    if otlp_sdk.looks_like(value):
        return SDK
    if ("spanId" in value or "span_id" in value) and ("startTimeUnixNano" in value or "start_time_unix_nano" in value):
        return OTLP
    if zipkin.looks_like(value):
        return ZIPKIN
    return None


def _is_search_result(value: dict[str, Any]) -> bool:
    return "matched" in value and "spans" in value


def what_else(value: dict[str, Any]) -> Other | None:
    """The name of a known document that holds no spans, or None."""
    for test, other in _OTHERS:
        if test(value):
            return other
    return None


def _first_of(value: dict[str, Any], name: str) -> dict[str, Any]:
    held = value.get(name)
    first = held[0] if type(held) is list and held else None
    return first if type(first) is dict else {}


_OTHERS: Final[tuple[tuple[Callable[[dict[str, Any]], bool], Other], ...]] = (
    (
        lambda value: "resourceMetrics" in value or "resource_metrics" in value,
        Other("OTLP metrics, not traces", "give the file that the traces were exported to"),
    ),
    (
        lambda value: "resourceLogs" in value or "resource_logs" in value,
        Other("OTLP logs, not traces", "give the file that the traces were exported to"),
    ),
    (
        lambda value: "rootTraceName" in _first_of(value, "traces") or "rootServiceName" in _first_of(value, "traces")
        or "rootTraceName" in value or _is_search_result(value)
        or any(name in one for name in ("spanSet", "spanSets") for one in (value, _first_of(value, "traces")))
        or (value.get("traces") == [] and "metrics" in value),
        Other(
            "results of a search in Tempo, which name traces but do not hold them",
            "ask Tempo for one of them: /api/traces/<traceID>",
        ),
    ),
    (
        lambda value: "traceEvents" in value or ("ph" in value and "ts" in value),
        Other("a Chrome trace (trace events), not OpenTelemetry spans", "export OTLP, Jaeger or Zipkin JSON instead"),
    ),
    (
        lambda value: str(value.get("schema", "")).startswith(("makespan.analysis", "makespan.simulation")),
        Other("what was found about a trace or a run", "name what it was made of"),
    ),
    (
        lambda value: str(value.get("schema", "")).startswith("makespan."),
        Other(
            "a result of makespan, which is no trace",
            "use `makespan report`, or write a trace with `makespan run … --trace-file`",
        ),
    ),
    (
        lambda value: "run_type" in value and "dotted_order" in value,
        Other("runs of LangSmith, not OpenTelemetry spans", "export OTLP instead (LangSmith can send it)"),
    ),
    (
        lambda value: type(value.get("observations")) is list or ("traceId" in value and "startTime" in value
        and "parentObservationId" in value),
        Other("a trace of Langfuse, not OpenTelemetry spans", "send the spans to an OTLP file beside Langfuse"),
    ),
    (
        lambda value: "Segments" in value or "Segments" in _first_of(value, "Traces"),
        Other("a trace of AWS X-Ray, not OpenTelemetry spans", "export OTLP instead (the collector can write it)"),
    ),
    (
        lambda value: "trace_id" in value and "span_id" in value and "duration" in value and "resource" in value,
        Other("spans of Datadog, not OpenTelemetry's", "export OTLP instead"),
    ),
    (
        lambda value: type(value.get("hits")) is dict and "hits" in value["hits"],
        Other("the answer of a search in Elasticsearch, not a trace", "export OTLP instead, or ask Jaeger's API"),
    ),
    (
        lambda value: type(value.get("errors")) is list and bool(value["errors"]) and not value.get("data"),
        Other("an error answer of Jaeger's API", "look the trace up again; its id may be wrong or too old"),
    ),
    (
        lambda value: _first_of(value, "data").get("type") == "trace" or "resultType" in value,
        Other("the answer of a query in Grafana or Prometheus, not a trace", "download the trace itself"),
    ),
)  # fmt: skip


def _json_name(value: Any) -> str:
    if value is None:
        return "null"
    return {str: "text", bool: "truth value"}.get(type(value), "number")

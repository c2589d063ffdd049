"""Traces as OTLP JSON lines: one `ExportTraceServiceRequest` a line, as the specification of the file exporter says.

Rules of this module:
- Ids are hexadecimal, 64-bit integers are strings: the JSON of OTLP, which is not that of protobuf.
- What was written is on disk when a batch is done, so that a run that is killed leaves whole lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from harness.files.json_output import OutputError
from harness.telemetry.spans.transports import TransportError

_IS_REMOTE = 0x100
_REMOTE = 0x200


class TraceFile:
    """A file of traces, made anew.

    Raises:
        OutputError: it cannot be written.

    """

    def __init__(self, path: str) -> None:
        self.name = path
        try:
            self._stream: IO[str] = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  # closed by `close`
        except OSError as error:
            raise OutputError(f"cannot write traces to {path!r}: {error.strerror or error}") from error

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> int:
        """Append a line. Raises TransportError."""
        try:
            self._stream.write(json.dumps(request_json(spans), separators=(",", ":"), ensure_ascii=True) + "\n")
            self._stream.flush()
        except OSError as error:
            raise TransportError(error.strerror or str(error), for_all=True) from error
        return 0

    def close(self) -> None:
        """No more traces follow. What cannot be written now was reported by :meth:`send`."""
        with suppress(OSError):
            self._stream.close()


def request_json(spans: Iterable[ReadableSpan]) -> dict[str, Any]:
    """An `ExportTraceServiceRequest` of these spans, as JSON values."""
    resources: dict[Resource, dict[InstrumentationScope | None, list[dict[str, Any]]]] = {}
    for span in spans:
        scopes = resources.setdefault(span.resource, {})
        scopes.setdefault(span.instrumentation_scope, []).append(span_json(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes_json(resource.attributes)},
                "scopeSpans": [{"scope": _scope_json(scope), "spans": found} for scope, found in scopes.items()],
            }
            for resource, scopes in resources.items()
        ]
    }


def span_json(span: ReadableSpan) -> dict[str, Any]:
    """One span."""
    context = span.context
    assert isinstance(context, SpanContext)
    found: dict[str, Any] = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    if span.parent is not None:
        found["parentSpanId"] = f"{span.parent.span_id:016x}"
    found |= {
        "flags": _flags(context),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": attributes_json(span.attributes or {}),
    }
    if span.events:
        found["events"] = [
            {"timeUnixNano": str(event.timestamp), "name": event.name,
             "attributes": attributes_json(event.attributes or {})}
            for event in span.events
        ]  # fmt: skip
    if span.links:
        found["links"] = [
            {"traceId": f"{link.context.trace_id:032x}", "spanId": f"{link.context.span_id:016x}",
             "flags": _flags(link.context), "attributes": attributes_json(link.attributes or {})}
            for link in span.links
        ]  # fmt: skip
    status = {"code": span.status.status_code.value} if span.status.status_code.value else {}
    found["status"] = status if span.status.description is None else {**status, "message": span.status.description}
    return found


def attributes_json(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP lists them."""
    return [{"key": key, "value": value_json(value)} for key, value in attributes.items()]


def value_json(value: Any) -> dict[str, Any]:
    """One value with its type."""
    if isinstance(value, str):
        return {"stringValue": value.encode(errors="replace").decode()}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if value - value == 0 else str(value)}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [value_json(item) for item in value]}}
    return {"stringValue": str(value)}


def _flags(context: SpanContext) -> int:
    return int(context.trace_flags) | _IS_REMOTE | (_REMOTE if context.is_remote else 0)


def _scope_json(scope: InstrumentationScope | None) -> dict[str, Any]:
    if scope is None:
        return {}
    return {"name": scope.name, **({} if scope.version is None else {"version": scope.version})}

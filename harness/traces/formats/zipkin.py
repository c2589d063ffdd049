"""Reads spans of Zipkin's JSON, version 2.

Rules of this module:
- Times are microseconds in the file and integer nanoseconds here.
- A span that client and server share (``shared``) becomes two: the server's is a child of the client's.

Source of the format: Zipkin's API v2 (``Span`` of its OpenAPI description).
"""

from __future__ import annotations

from typing import Any

from harness.traces.formats.jaeger import microseconds
from harness.traces.formats.otlp import Defects
from harness.traces.formats.otlp_values import attributes_of, identifier, kind_of
from harness.traces.trace_model import Event, Span


def looks_like(value: dict[str, Any]) -> bool:
    """Whether a mapping is a span of Zipkin's."""
    return "traceId" in value and "id" in value and ("timestamp" in value or "localEndpoint" in value)


def span_of(raw: Any, _origin: object, defects: Defects) -> Span | None:
    """A span, or None where it cannot be read (counted)."""
    if type(raw) is not dict:
        defects.note("not_a_span")
        return None
    span_id = identifier(raw.get("id"))
    start = microseconds(raw.get("timestamp"))
    if span_id is None or start is None or start < 0:
        defects.note("no_span_id" if span_id is None else "no_start")
        return None
    parent_id = identifier(raw.get("parentId"))
    if raw.get("shared") is True:
        span_id, parent_id = f"{span_id}/server", span_id
    duration = microseconds(raw.get("duration"))
    attributes = attributes_of(raw.get("tags"))
    endpoint = raw.get("localEndpoint")
    service = endpoint.get("serviceName") if type(endpoint) is dict else None
    annotations = raw.get("annotations")
    failed = "error" in attributes
    return Span(
        identifier(raw.get("traceId")) or "",
        span_id,
        parent_id,
        str(raw.get("name") or ""),
        start,
        None if duration is None else start + duration,
        kind_of(raw.get("kind")),
        "error" if failed else "unset",
        str(attributes.get("error", "")),
        service if isinstance(service, str) else "",
        str(attributes.get("otel.scope.name", "")),
        attributes,
        (),
        tuple(_annotations(annotations, start)),
        {"service.name": service} if isinstance(service, str) else {},
    )


def _annotations(annotations: Any, start: int) -> list[Event]:
    read = []
    for one in annotations if type(annotations) is list else ():
        if type(one) is dict:
            time = microseconds(one.get("timestamp"))
            read.append(Event(str(one.get("value", "")), start if time is None else time))
    return read

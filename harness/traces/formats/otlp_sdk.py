"""Reads what the console exporter of OpenTelemetry's Python SDK prints: one JSON object a span.

Rules of this module:
- Times are ISO 8601 with microseconds in the file and integer nanoseconds here. Some programs print the SDK's own
  integers: nanoseconds, or what can only be a date in seconds, milliseconds or microseconds.
- Ids lose the ``0x`` before them, so that they compare with those of other exports of the same trace.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from harness.traces.formats.otlp import Defects
from harness.traces.formats.otlp_values import attributes_of, identifier, kind_of, status_of
from harness.traces.trace_model import Event, Link, Span

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Nanoseconds of each unit, and what the year 2001 is in it; dates of this century are smaller than nine times that.
_UNITS: Final = ((1_000, 10**15), (1_000_000, 10**12), (1_000_000_000, 10**9))
_DATES_UNTIL: Final = 9
_MICROSECOND: Final = timedelta(microseconds=1)


def looks_like(value: dict[str, Any]) -> bool:
    """Whether a mapping is a span of the console exporter."""
    context = value.get("context")
    return type(context) is dict and "span_id" in context and "start_time" in value


def span_of(raw: Any, _origin: object, defects: Defects) -> Span | None:
    """A span, or None where it cannot be read (counted)."""
    context = raw.get("context") if type(raw) is dict else None
    if type(context) is not dict:
        defects.note("not_a_span")
        return None
    span_id = _hexadecimal(context.get("span_id"))
    start = _time(raw.get("start_time"))
    if span_id is None or start is None:
        defects.note("no_span_id" if span_id is None else "no_start")
        return None
    resource = raw.get("resource")
    shared = attributes_of(resource.get("attributes") if type(resource) is dict else None)
    status, message = status_of(raw.get("status"))
    scope = raw.get("instrumentation_scope") or raw.get("instrumentation_info")
    return Span(
        _hexadecimal(context.get("trace_id")) or "",
        span_id,
        _hexadecimal(raw.get("parent_id")),
        str(raw.get("name", "")),
        start,
        _time(raw.get("end_time")),
        kind_of(raw.get("kind")),
        status,
        message,
        str(shared.get("service.name", "")),
        str(scope.get("name", "")) if type(scope) is dict else "",
        attributes_of(raw.get("attributes")),
        tuple(_links(raw.get("links"))),
        tuple(_events(raw.get("events"), start)),
        shared,
    )


def _hexadecimal(value: Any) -> str | None:
    return identifier(value.removeprefix("0x") if type(value) is str else value)


def _time(value: Any) -> int | None:
    """Nanoseconds since 1970, without a float on the way."""
    if type(value) is int:
        unit = next((unit for unit, least in _UNITS if least <= value < _DATES_UNTIL * least), 1)
        return value * unit if value >= 0 else None
    if type(value) is not str:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    time = (moment - _EPOCH) // _MICROSECOND * 1000
    return time if time > 0 else None


def _links(links: Any) -> list[Link]:
    read = []
    for link in links if type(links) is list else ():
        context = link.get("context") if type(link) is dict else None
        if type(context) is not dict:
            continue
        span_id = _hexadecimal(context.get("span_id"))
        if span_id is not None:
            trace_id = _hexadecimal(context.get("trace_id")) or ""
            read.append(Link(trace_id, span_id, attributes_of(link.get("attributes"))))
    return read


def _events(events: Any, start: int) -> list[Event]:
    read = []
    for event in events if type(events) is list else ():
        if type(event) is dict:
            time = _time(event.get("timestamp"))
            attributes = attributes_of(event.get("attributes"))
            read.append(Event(str(event.get("name", "")), start if time is None else time, attributes))
    return read

"""Reads spans of Jaeger's API JSON: what its "download" button gives, and what its page keeps.

Rules of this module:
- The parent is the first ``CHILD_OF`` of the same trace, else ``parentSpanID``. ``FOLLOWS_FROM``, and further
  references, are links; :mod:`harness.traces.spans.span_tree` finds a parent for a span that only follows another.
- Times are microseconds in the file and integer nanoseconds here.
- A clock may begin at 0: that is a time.
- A reference may hold the whole span that it means (exports of the page): its id is enough.

Source of the format: the JSON model of Jaeger's query service (``model/json``).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from sys import intern
from typing import Any, Final

from harness.traces.formats.otlp import Defects, Origin
from harness.traces.formats.otlp_values import LARGEST_TIME, identifier, kind_of
from harness.traces.trace_model import FOLLOWS_FROM, REFERENCE_TYPE, Event, Link, Span, StatusCode

_TRUE: Final = (True, "true", "True", 1)

Processes = dict[str, Origin]


class UnknownProcess(dict[str, Any]):
    """The resource of a span whose process was not read yet: it may stand behind the spans."""

    __slots__ = ("process_id",)

    def __init__(self, process_id: str) -> None:
        super().__init__()
        self.process_id = process_id


def name_processes(spans: Iterable[Span], processes: Processes) -> None:
    """Give spans the processes that came after them."""
    for span in spans:
        resource = span.resource
        known = processes.get(resource.process_id) if isinstance(resource, UnknownProcess) else None
        if known is not None:
            span.resource, span.service = known.resource, known.service


def looks_like(value: Any) -> bool:
    """Whether a mapping is a span of Jaeger's."""
    return type(value) is dict and "operationName" in value and ("spanID" in value or "startTime" in value)


def processes_of(trace: dict[str, Any]) -> Processes:
    """What the spans of a trace share, by process id."""
    held = trace.get("processes")
    if type(held) is not dict:
        return {}
    return {name: _origin(process) for name, process in held.items()}


def _origin(process: Any) -> Origin:
    if type(process) is not dict:
        return Origin({})
    resource = _tags(process.get("tags"))
    service = process.get("serviceName")
    if isinstance(service, str):
        resource["service.name"] = service
    return Origin(resource)


def span_of(raw: Any, processes: Processes, defects: Defects) -> Span | None:
    """A span, or None where it cannot be read (counted)."""
    if type(raw) is not dict:
        defects.note("not_a_span")
        return None
    span_id = identifier(raw.get("spanID", raw.get("spanId")))
    start = microseconds(raw.get("startTime"))
    if span_id is None or start is None or start < 0:
        defects.note("no_span_id" if span_id is None else "no_start")
        return None
    duration = microseconds(raw.get("duration"))
    trace_id = identifier(raw.get("traceID", raw.get("traceId"))) or ""
    parent_id, links = _references(raw, trace_id)
    attributes = _tags(raw.get("tags"))
    status, message = _status(attributes)
    origin = _origin_of(raw, processes)
    name, logs = raw.get("operationName"), raw.get("logs")
    return Span(
        trace_id,
        span_id,
        parent_id,
        intern(name) if type(name) is str else "",
        start,
        None if duration is None else start + duration,
        kind_of(attributes.get("span.kind")),
        status,
        message,
        origin.service,
        str(attributes.get("otel.scope.name", attributes.get("otel.library.name", ""))),
        attributes,
        links,
        _logs(logs, start) if logs else (),
        origin.resource,
    )


def _origin_of(raw: dict[str, Any], processes: Processes) -> Origin:
    process_id = str(raw.get("processID", ""))
    origin = processes.get(process_id)
    if origin is None:
        origin = processes[process_id] = Origin(UnknownProcess(process_id))
    if "process" in raw and isinstance(origin.resource, UnknownProcess):
        return _origin(raw["process"])
    return origin


def microseconds(value: Any) -> int | None:
    """Nanoseconds from a number of microseconds."""
    if type(value) is int:
        time = value * 1000
    else:
        try:
            time = int(Decimal(value) * 1000)
        except (TypeError, ValueError, InvalidOperation, OverflowError):
            return None
    return time if -LARGEST_TIME < time <= LARGEST_TIME else None


def _references(raw: dict[str, Any], trace_id: str) -> tuple[str | None, tuple[Link, ...]]:
    parent = None
    links = []
    references = raw.get("references")
    for reference in references if type(references) is list else ():
        if type(reference) is not dict:
            continue
        span = reference.get("span")
        meant = {**span, **reference} if type(span) is dict else reference
        span_id = identifier(meant.get("spanID", meant.get("spanId")))
        if span_id is None:
            continue
        other = identifier(meant.get("traceID", meant.get("traceId"))) or trace_id
        if parent is None and other == trace_id and meant.get("refType") != FOLLOWS_FROM:
            parent = span_id
        else:
            links.append(Link(other, span_id, {REFERENCE_TYPE: str(meant.get("refType", ""))}))
    return parent or identifier(raw.get("parentSpanID", raw.get("parentSpanId"))), tuple(links)


def _tags(tags: Any) -> dict[str, Any]:
    if type(tags) is dict:
        return dict(tags)
    attributes: dict[str, Any] = {}
    for tag in tags if type(tags) is list else ():
        try:
            value = tag["value"]
            attributes[intern(tag["key"])] = float(value) if type(value) is Decimal else value
        except (KeyError, TypeError):
            continue
    return attributes


def _status(attributes: dict[str, Any]) -> tuple[StatusCode, str]:
    message = str(attributes.get("otel.status_description", ""))
    code = str(attributes.get("otel.status_code", "")).upper()
    if code == "ERROR" or attributes.get("error") in _TRUE:
        return "error", message
    return ("ok" if code == "OK" else "unset"), message


def _logs(logs: Any, start: int) -> tuple[Event, ...]:
    read = []
    for log in logs if type(logs) is list else ():
        if type(log) is dict:
            fields = _tags(log.get("fields"))
            time = microseconds(log.get("timestamp"))
            read.append(Event(str(fields.get("event", "")), start if time is None else time, fields))
    return tuple(read)

"""Reads spans of OTLP's JSON in all the clothes in which it is met, Tempo's API JSON among them.

Rules of this module:
- Scopes may be called ``scopeSpans``, ``scope_spans`` or ``instrumentationLibrarySpans``; names in snake case are read
  as the camel ones.
- A span that cannot be read is counted in :class:`Defects`, never raised, and never lost silently.
- One pass, no recursion over spans; what spans share (resource, scope) is shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final

from harness.traces.formats.otlp_values import attributes_of, identifier, kind_of, nanoseconds, status_of
from harness.traces.trace_model import Event, Link, Span, TraceFinding

_SCOPES: Final = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans")
_ZERO: Final = (0, "0")
# Nanoseconds since 1970 from which on a time is a date (2001), and no clock that began with the program.
_DATES: Final = 10**18
_NO_STATUS: Final = ("unset", "")
_SNAKE: Final = {
    "trace_id": "traceId",
    "traceID": "traceId",
    "span_id": "spanId",
    "spanID": "spanId",
    "parent_span_id": "parentSpanId",
    "parentSpanID": "parentSpanId",
    "start_time_unix_nano": "startTimeUnixNano",
    "end_time_unix_nano": "endTimeUnixNano",
    "time_unix_nano": "timeUnixNano",
}


@dataclass(slots=True)
class Defects:
    """What could not be read, counted by code."""

    counts: dict[str, int] = field(default_factory=dict)

    def note(self, code: str) -> None:
        """One more of these."""
        self.counts[code] = self.counts.get(code, 0) + 1

    def add(self, others: Defects) -> None:
        """Count those of another file too."""
        for code, count in others.counts.items():
            self.counts[code] = self.counts.get(code, 0) + count

    def findings(self) -> list[TraceFinding]:
        """What the reader of the analysis must know of them."""
        return [TraceFinding(code, *_DEFECTS[code], count) for code, count in self.counts.items()]


_DEFECTS: Final = {
    "not_a_span": ("entries among the spans that are no span", "left out"),
    "no_span_id": ("spans without an id", "left out: nothing can be said of their place"),
    "no_start": ("spans without a start time", "left out: the figures do not count them"),
}


class Origin:
    """What the spans of one scope share."""

    __slots__ = ("resource", "scope", "service")

    def __init__(self, resource: Mapping[str, Any], scope: str = "") -> None:
        self.resource = resource
        self.scope = scope
        service = resource.get("service.name")
        self.service = service if isinstance(service, str) else ""


def raw_spans(resource_spans: Any, defects: Defects) -> Iterator[tuple[Origin, list[Any]]]:
    """The spans of a list of ``ResourceSpans``, scope by scope, as they stand in the file."""
    for part in resource_spans if type(resource_spans) is list else [resource_spans]:
        if type(part) is not dict:
            defects.note("not_a_span")
            continue
        resource = part.get("resource")
        resource_attributes = attributes_of(resource.get("attributes") if type(resource) is dict else None)
        for name in _SCOPES:
            for scope in _listed(part.get(name)):
                if type(scope) is dict:
                    yield Origin(resource_attributes, _scope_name(scope)), _listed(scope.get("spans"))
                else:
                    defects.note("not_a_span")
        if "spans" in part:  # spans that stand in the resource itself
            yield Origin(resource_attributes), _listed(part["spans"])


def name_origin(spans: Iterable[Span], members: Mapping[str, Any]) -> None:
    """Give spans the resource, or the scope, that came after them."""
    resource, scope = members.get("resource"), _scope_name(members)
    if type(resource) is dict:
        origin = Origin(attributes_of(resource.get("attributes")))
        for span in spans:
            span.resource, span.service = origin.resource, origin.service
    if scope:
        for span in spans:
            span.scope = scope


def _listed(value: Any) -> list[Any]:
    return value if type(value) is list else [] if value is None else [value]


def _scope_name(scope: Mapping[str, Any]) -> str:
    described = scope.get("scope") or scope.get("instrumentationLibrary") or scope.get("instrumentation_library")
    name = described.get("name") if isinstance(described, dict) else None
    return name if isinstance(name, str) else ""


def span_of(raw: Any, origin: Origin, defects: Defects) -> Span | None:
    """A span of OTLP's JSON, or None where it cannot be read (counted)."""
    if type(raw) is not dict:
        defects.note("not_a_span")
        return None
    if "spanId" not in raw or "startTimeUnixNano" not in raw:
        raw = {_SNAKE.get(key, key): value for key, value in raw.items()}
    get = raw.get
    span_id = identifier(get("spanId"))
    start, end = nanoseconds(get("startTimeUnixNano")), nanoseconds(get("endTimeUnixNano"))
    if start is None and end is not None and end < _DATES and get("startTimeUnixNano") in _ZERO:
        start = 0  # a clock of its own; without an end, or with a date as the end, 0 means none
    if span_id is None or start is None:
        defects.note("no_span_id" if span_id is None else "no_start")
        return None
    status, message = status_of(get("status")) if "status" in raw else _NO_STATUS
    name = get("name")
    links, events = get("links"), get("events")
    return Span(
        identifier(get("traceId")) or "",
        span_id,
        identifier(get("parentSpanId")),
        intern(name) if type(name) is str else "" if name is None else str(name),
        start,
        end,
        kind_of(get("kind")),
        status,
        message,
        origin.service,
        origin.scope,
        attributes_of(get("attributes")),
        _links(links) if links else (),
        _events(events, start) if events else (),
        origin.resource,
    )


def _links(links: Any) -> tuple[Link, ...]:
    read = []
    for link in _listed(links):
        if type(link) is dict:
            named = link if "spanId" in link else {_SNAKE.get(key, key): value for key, value in link.items()}
            span_id = identifier(named.get("spanId"))
            if span_id is not None:
                attributes = attributes_of(named.get("attributes"))
                read.append(Link(identifier(named.get("traceId")) or "", span_id, attributes))
    return tuple(read)


def _events(events: Any, start: int) -> tuple[Event, ...]:
    read = []
    for event in _listed(events):
        if type(event) is dict:
            time = nanoseconds(event.get("timeUnixNano", event.get("time_unix_nano")))
            name = event.get("name")
            text = intern(name) if type(name) is str else ""
            read.append(Event(text, start if time is None else time, attributes_of(event.get("attributes"))))
    return tuple(read)

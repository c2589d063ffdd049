"""From a run's record to the SDK's spans, one after the other, so that a large run needs no memory for all of them.

Rules of this module:
- Names, attributes and links are those of :mod:`executor.tracing.span_contents`; here they only get ids and times.
- Importing it imports the SDK: only those do who have somewhere to send spans.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from executor.record.timeline import Attempt, Timeline
from executor.tracing.attribute_names import ERROR_TYPE, LINK_RESUMES, LINK_TYPE, RESUMED_TRACE, SCOPE_NAME
from executor.tracing.span_collector import FinishedSpan
from executor.tracing.span_contents import ROOT_KEY, SPANS_FACT, SpanWords, span_id, wait_words
from executor.tracing.step_spans import RunIds
from harness.version import package_version

_KINDS: Final = {kind.name.lower(): kind for kind in SpanKind}
_STATUSES: Final = {code.name.lower(): code for code in StatusCode}
_UNSET: Final = Status(StatusCode.UNSET)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_LARGEST: Final = 2**63
# What a span of a step takes on its way, measured: without ids of steps, and for each edge beside the ids.
_SPAN_BYTES: Final = 580
_WAIT_BYTES: Final = 150
_EDGE_BYTES: Final = 95


def run_resource() -> Resource:
    """Who the spans are from. The usual environment variables (OTEL_SERVICE_NAME, …) go before."""
    words = {"service.name": SCOPE_NAME, "service.version": package_version()}
    if os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        del words["service.name"]
    return Resource.create(words)


class SpanMaker:
    """Makes spans of one run. ``origin``: t = 0 in nanoseconds since 1970."""

    def __init__(self, ids: RunIds, origin: int, resource: Resource | None = None) -> None:
        self._ids = ids
        self._origin = origin
        self._resource = run_resource() if resource is None else resource
        self._scope = InstrumentationScope(SCOPE_NAME, package_version())
        self._scopes: dict[tuple[str, str | None], InstrumentationScope] = {}
        self._contexts: dict[Any, SpanContext] = {}

    def of_words(self, words: SpanWords) -> ReadableSpan:
        """A span of the run's own."""
        ids, origin = self._ids, self._origin
        key, error_type = words.key, words.error_type
        parent = ids.above if words.parent is None else self._context(words.parent)
        attributes = clean(words.attributes)
        status = _UNSET
        if error_type is not None:
            attributes = {**attributes, ERROR_TYPE: error_type}
            status = Status(StatusCode.ERROR, error_type)
        return ReadableSpan(
            name=clean_text(words.name),
            context=self._context(key),
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=_events(words.events),
            links=[
                *(Link(self._context(linked), dict(said)) for linked, said in words.links),
                *_links_to_resumed(words.attributes),
            ],
            status=status,
            start_time=origin + words.start,
            end_time=origin + words.end,
            instrumentation_scope=self._scope,
        )

    def of_step_code(self, one: FinishedSpan) -> ReadableSpan:
        """A span that the code of a step opened."""
        scope = self._scopes.get((one.scope, one.scope_version))
        if scope is None:
            scope = self._scopes[one.scope, one.scope_version] = InstrumentationScope(one.scope, one.scope_version)
        parent = SpanContext(one.trace_id, one.parent_id, False, _SAMPLED) if one.parent_id else None
        return ReadableSpan(
            name=clean_text(one.name),
            context=SpanContext(one.trace_id, one.span_id, False, _SAMPLED),
            parent=parent,
            resource=self._resource,
            attributes=clean(one.attributes),
            events=_events(one.events),
            links=[Link(SpanContext(to, span_id, True, _SAMPLED), clean(said)) for to, span_id, said in one.links],
            kind=_KINDS[one.kind],
            status=Status(_STATUSES[one.status], None if one.description is None else clean_text(one.description)),
            start_time=one.start,
            end_time=max(one.start, one.end),
            instrumentation_scope=scope,
        )

    def _context(self, key: Any) -> SpanContext:
        # Parents and steps that many depend on are asked for again and again, others hardly ever.
        context = self._contexts.get(key)
        if context is None:
            if len(self._contexts) > 10_000:
                self._contexts.clear()
            context = self._contexts[key] = self._ids.context(key)
        return context


def _links_to_resumed(attributes: Mapping[str, Any]) -> list[Link]:
    """From the root of a run to that of the run that it goes on from, whose ids are made as its own are."""
    resumed = attributes.get(RESUMED_TRACE)
    if resumed is None:
        return []
    trace_id = bytes.fromhex(resumed)
    there = SpanContext(int.from_bytes(trace_id, "big"), span_id(trace_id, ROOT_KEY), True, _SAMPLED)
    return [Link(there, {LINK_TYPE: LINK_RESUMES})]


def _events(events: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[Event]:
    return [Event(clean_text(name), clean(said), at) for name, at, said in events]


def clean(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with nothing in them that OTLP cannot hold: half a surrogate pair, an integer beyond 64 bits."""
    return {clean_text(name): _clean_value(value) for name, value in attributes.items()}


def clean_text(text: str) -> str:
    """The same for a text."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else clean_text(value)
    if isinstance(value, tuple | list):
        return [_clean_value(item) for item in value]
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        return str(value)
    return value


class Maker(Protocol):
    """Makes spans of one run, in the form of one transport: :class:`SpanMaker`, or one like it."""

    def of_words(self, words: SpanWords) -> Any:
        """A span of the run's own."""

    def of_step_code(self, one: FinishedSpan) -> Any:
        """A span that the code of a step opened."""


def spans_of(words: Iterable[SpanWords], maker: Maker, step_code: Iterable[FinishedSpan] = ()) -> Iterator[Any]:
    """All spans of a run: those of step code first, as they ended before their steps were reported."""
    for finished in step_code:
        yield maker.of_step_code(finished)
    for one in words:
        yield maker.of_words(one)


def step_code_spans(
    at_home: Iterable[FinishedSpan], facts: Mapping[Attempt, Mapping[str, Any]]
) -> Iterator[FinishedSpan]:
    """What the code of steps opened, here and in worker processes."""
    yield from at_home
    for one in facts.values():
        yield from one.get(SPANS_FACT, ())


def count_spans(timeline: Timeline) -> int:
    """How many spans the run has of its own, those of its steps' code not counted."""
    ran = {attempt.index for attempt in timeline.attempts}
    waits = sum(1 for attempt in timeline.attempts if attempt.waits for _ in wait_words(attempt))
    return 1 + len(timeline.attempts) + waits + sum(1 for index in range(len(timeline.step_ids)) if index not in ran)


def estimated_bytes(timeline: Timeline) -> int:
    """About how large the run's trace is on its way, in bytes."""
    ids = timeline.step_ids
    sizes = [len(step_id.encode(errors="replace")) for step_id in ids]
    total = 0
    for parents in (timeline.data_parents, timeline.order_parents):
        total += sum(_EDGE_BYTES + sizes[parent] for above in parents for parent in above)
    total += sum(_SPAN_BYTES + sizes[attempt.index] for attempt in timeline.attempts)
    return total + sum(_WAIT_BYTES for attempt in timeline.attempts if attempt.waits for _ in wait_words(attempt))


__all__ = ["ROOT_KEY", "SpanMaker", "count_spans", "estimated_bytes", "run_resource", "spans_of", "step_code_spans"]

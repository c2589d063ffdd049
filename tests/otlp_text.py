"""OTLP JSON of the SDK's spans: what the writing from a run's record is compared with, and the traces of others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext

_IS_REMOTE = 0x100
_REMOTE = 0x200
_encode = json.encoder.encode_basestring_ascii


def request_text(spans: Iterable[ReadableSpan]) -> str:
    """An `ExportTraceServiceRequest` of these spans, as JSON on one line."""
    resources: dict[Resource, dict[InstrumentationScope | None, list[str]]] = {}
    for span in spans:
        scopes = resources.setdefault(span.resource, {})
        scopes.setdefault(span.instrumentation_scope, []).append(_span(span))
    groups = []
    for resource, scopes in resources.items():
        parts = [f'{{"scope":{_scope(scope)},"spans":[{",".join(found)}]}}' for scope, found in scopes.items()]
        attributes = _attributes(resource.attributes)
        groups.append(f'{{"resource":{{"attributes":{attributes}}},"scopeSpans":[{",".join(parts)}]}}')
    return f'{{"resourceSpans":[{",".join(groups)}]}}'


def _span(span: ReadableSpan) -> str:
    context = span.context
    assert isinstance(context, SpanContext)
    parent = "" if span.parent is None else f'"parentSpanId":"{span.parent.span_id:016x}",'
    events = f',"events":[{",".join([_event(event) for event in span.events])}]' if span.events else ""
    links = f',"links":[{",".join([_link(link) for link in span.links])}]' if span.links else ""
    status = []
    if span.status.status_code.value:
        status.append(f'"code":{span.status.status_code.value}')
    if span.status.description is not None:
        status.append(f'"message":{_quoted(span.status.description)}')
    return (
        f'{{"traceId":"{context.trace_id:032x}","spanId":"{context.span_id:016x}",{parent}"flags":{_flags(context)},'
        f'"name":{_quoted(span.name)},"kind":{span.kind.value + 1},"startTimeUnixNano":"{span.start_time or 0}",'
        f'"endTimeUnixNano":"{span.end_time or 0}","attributes":{_attributes(span.attributes or {})}{events}{links},'
        f'"status":{{{",".join(status)}}}}}'
    )


def _event(event: Event) -> str:
    attributes = _attributes(event.attributes or {})
    return f'{{"timeUnixNano":"{event.timestamp}","name":{_quoted(event.name)},"attributes":{attributes}}}'


def _link(link: Link) -> str:
    context = link.context
    return (
        f'{{"traceId":"{context.trace_id:032x}","spanId":"{context.span_id:016x}","flags":{_flags(context)},'
        f'"attributes":{_attributes(link.attributes or {})}}}'
    )


def _attributes(attributes: Mapping[str, Any]) -> str:
    """Attributes as OTLP lists them."""
    return f"[{','.join([f'{_key(key)}{_value(value)}}}' for key, value in attributes.items()])}]"


def _key(name: str) -> str:
    return f'{{"key":{_quoted(name)},"value":'


def _value(value: Any) -> str:
    """One value with its type."""
    if isinstance(value, str):
        return f'{{"stringValue":{_quoted(value)}}}'
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{json.dumps(value if value - value == 0 else str(value))}}}'
    if isinstance(value, list | tuple):
        return f'{{"arrayValue":{{"values":[{",".join([_value(item) for item in value])}]}}}}'
    return f'{{"stringValue":{_quoted(str(value))}}}'


def _quoted(text: str) -> str:
    """In JSON, without half surrogate pairs."""
    return _encode(text if text.isascii() else text.encode(errors="replace").decode())


def _flags(context: SpanContext) -> int:
    return int(context.trace_flags) | _IS_REMOTE | (_REMOTE if context.is_remote else 0)


def _scope(scope: InstrumentationScope | None) -> str:
    if scope is None:
        return "{}"
    version = "" if scope.version is None else f',"version":{_quoted(scope.version)}'
    return f'{{"name":{_quoted(scope.name)}{version}}}'

"""The spans that SDKs would emit of a program that was played: clocks that differ, values, and spans that are lost.

Rules of this module:
- Nothing of the truth is in a span but what a real one says: names, times, parents, values where they are captured,
  and what LangGraph writes of its supersteps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.testing.programs.playing import Played, PlayedSpan
from harness.testing.programs.program import Program, Statement
from harness.traces.trace_model import Event, Span, Trace

TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
BEGIN: Final = 1_700_000_000_000_000_000
_MODEL: Final = "chat"


def emitted(program: Program, played: Played) -> Trace:
    """The trace. ``spans`` come in the order of their ends, as exporters send them."""
    statements = program.statements()
    resources = {service: {"service.name": service} for service in dict.fromkeys(span.service for span in played.spans)}
    spans = [
        _span(program, statements, played.spans, number, resources)
        for number, span in enumerate(played.spans)
        if span.statement not in program.lost
    ]
    spans.sort(key=lambda span: span.end or 0)
    return Trace(TRACE_ID, spans, "program", "otlp-json")


def span_id(number: int) -> str:
    """The id of a span by its number."""
    return f"{number + 1:016x}"


def _span(
    program: Program,
    statements: Mapping[int, Statement],
    spans: Sequence[PlayedSpan],
    number: int,
    resources: Mapping[str, Mapping[str, Any]],
) -> Span:
    played = spans[number]
    statement = statements[played.statement]
    shift = BEGIN + program.clocks.get(played.service, 0)
    events = () if played.first_part < 0 else (Event("gen_ai.content.chunk", shift + played.first_part),)
    return Span(
        TRACE_ID,
        span_id(number),
        span_id(played.parent) if played.parent >= 0 else None,
        played.name,
        shift + played.start,
        shift + played.end,
        kind=played.kind,
        status="error" if played.failed else "unset",
        service=played.service,
        scope="program",
        attributes=_attributes(program, statements, statement, played),
        events=events,
        resource=resources[played.service],
    )


def _attributes(
    program: Program, statements: Mapping[int, Statement], statement: Statement, played: PlayedSpan
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if statement.kind in ("work", "retry", "stream") and statement.name.startswith(_MODEL):
        found["gen_ai.operation.name"] = _MODEL
    if played.kind == "client":
        found["server.address"] = statement.service
    if played.level > 0:
        found["metadata"] = json.dumps(
            {
                "langgraph_step": played.level,
                "langgraph_node": statement.name,
                "langgraph_triggers": _triggers(statements, statement),
            }
        )
    # The connection of a call, and the worker of a queue, are given nothing and give nothing.
    is_its_own = played.name == statement.name
    if program.contents != "none" and played.kind == "internal" and is_its_own:
        shown = played.seen if program.contents == "everything" else statement.uses
        found["input.value"] = json.dumps({"task": "plan a journey", **{f"s{key}": value_of(key) for key in shown}})
        if not played.failed:
            found["output.value"] = value_of(statement.key)
    return found


def value_of(key: int) -> str:
    """What a statement gives to those that use it."""
    return f"finding {key:04d} of inquiry{key * 7919 % 100_003:06d}"


def _triggers(statements: Mapping[int, Statement], statement: Statement) -> list[str]:
    sources = [statements[key].name for key in statement.uses]
    if len(sources) > 1:
        return [f"join:{'+'.join(sources)}:{statement.name}"]
    return [f"branch:to:{statement.name}"]


def otlp_document(trace: Trace) -> dict[str, Any]:
    """The trace as OTLP's JSON, for ``makespan analyze``."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for span in trace.spans:
        by_service.setdefault(span.service, []).append(_otlp_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _otlp_attributes({"service.name": service})},
                "scopeSpans": [{"scope": {"name": "program"}, "spans": spans}],
            }
            for service, spans in by_service.items()
        ]
    }


_KINDS: Final = {"internal": 1, "server": 2, "client": 3}


def _otlp_span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id or "",
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "status": {"code": 2} if span.status == "error" else {},
        "attributes": _otlp_attributes(span.attributes),
        "events": [{"name": event.name, "timeUnixNano": str(event.time)} for event in span.events],
    }


def _otlp_attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": str(value)}} for key, value in values.items()]

"""Traces for tests, made of names and times: ``trace({"a": (0, 2), "b": (2, 3)}, links={"b": ["a"]})``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.traces import ForeignRun, Link, Span, Trace, foreign_run

BEGIN = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
TRACE_ID = "ab" * 16


def trace(
    times: Mapping[str, tuple[float, float]],
    *,
    parents: Mapping[str, str] | None = None,
    links: Mapping[str, Sequence[str]] | None = None,
    attributes: Mapping[str, dict[str, Any]] | None = None,
    names: Mapping[str, str] | None = None,
    failed: Sequence[str] = (),
    kinds: Mapping[str, Any] | None = None,
    trace_id: str = TRACE_ID,
    root: str = "pipeline",
) -> Trace:
    """Spans by key, each from and to a second, under a root that holds them all. ``links``: what each depends on.

    A span's name is its key unless ``names`` says another.
    """
    parents, links, attributes, names, kinds = parents or {}, links or {}, attributes or {}, names or {}, kinds or {}
    ids = {key: f"{number + 2:016x}" for number, key in enumerate(times)}
    last = max(end for _, end in times.values())
    spans = [Span(trace_id, f"{1:016x}", None, root, BEGIN, BEGIN + round(last * SECOND))]
    for key, (start, end) in times.items():
        spans.append(
            Span(
                trace_id,
                ids[key],
                ids[parents[key]] if key in parents else f"{1:016x}",
                names.get(key, key),
                BEGIN + round(start * SECOND),
                BEGIN + round(end * SECOND),
                kind=kinds.get(key, "internal"),
                status="error" if key in failed else "ok",
                attributes=dict(attributes.get(key, {})),
                links=tuple(Link(trace_id, ids[one], {}) for one in links.get(key, ())),
            )
        )
    return Trace(trace_id, spans, "made.json", "otlp-json")


def run_of(times: Mapping[str, tuple[float, float]], **more: Any) -> ForeignRun:
    """The run of such a trace."""
    return foreign_run(trace(times, **more))


def langgraph(step: int, node: str, *triggers: str) -> dict[str, Any]:
    """The attributes of a LangGraph node's span."""
    metadata = {"langgraph_step": step, "langgraph_node": node, "langgraph_triggers": list(triggers)}
    return {"metadata": json.dumps(metadata)}


def otlp_text(made: Trace) -> str:
    """The trace as a file that OpenTelemetry's exporters write."""
    spans = [
        {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent_id or "",
            "name": span.name,
            "kind": 3 if span.kind == "client" else 1,
            "startTimeUnixNano": str(span.start),
            "endTimeUnixNano": str(span.end),
            "status": {"code": 2 if span.status == "error" else 1},
            "attributes": [
                {"key": key, "value": {"stringValue": str(value)}} for key, value in span.attributes.items()
            ],
            "links": [{"traceId": link.trace_id, "spanId": link.span_id} for link in span.links],
        }
        for span in made.spans
    ]
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]})

"""Traces written by hand, short enough to be checked in one's head: times in milliseconds, spans known by name."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from zlib import crc32

from executor.record.timeline import Wait
from harness.traces import ForeignRun, Trace, foreign_run, read_traces

TRACE = "0af7651916cd43dd8448eb211c80319c"
BEGIN = 1_700_000_000_123_456_789
MILLISECOND = 1_000_000


def span_id(name: str) -> str:
    """An id in hex, the same for the same name."""
    return f"{crc32(name.encode()) + 1:016x}"


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}


def span(
    name: str,
    start: float,
    end: float | None,
    parent: str | None = None,
    *,
    key: str | None = None,
    service: str = "app",
    kind: int = 1,
    links: tuple[str, ...] = (),
    error: bool = False,
    **values: Any,
) -> dict[str, Any]:
    """A span of OTLP's JSON. ``key``: what others call it, where names recur. ``_`` in names of values is ``.``."""
    made: dict[str, Any] = {
        "traceId": TRACE,
        "spanId": span_id(key or name),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(BEGIN + round(start * MILLISECOND)),
        "attributes": attributes({**values.pop("values", {}), **values}),
        "service": service,
    }
    if end is not None:
        made["endTimeUnixNano"] = str(BEGIN + round(end * MILLISECOND))
    if parent is not None:
        made["parentSpanId"] = span_id(parent)
    if links:
        made["links"] = [{"traceId": TRACE, "spanId": span_id(link)} for link in links]
    if error:
        made["status"] = {"code": 2, "message": "it broke"}
    return made


def request(*spans: dict[str, Any]) -> dict[str, Any]:
    """The spans as an export request, one resource a service."""
    services: dict[str, list[dict[str, Any]]] = {}
    for one in spans:
        words = dict(one)
        services.setdefault(words.pop("service", "app"), []).append(words)
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes({"service.name": service})},
                "scopeSpans": [{"scope": {"name": "by hand"}, "spans": found}],
            }
            for service, found in services.items()
        ]
    }


def read(document: Any, **options: Any) -> list[Trace]:
    """The traces of a JSON value, or of bytes as they are."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(read_traces("-", stdin=BytesIO(content), **options))


def run_of(*spans: dict[str, Any], **options: Any) -> ForeignRun:
    """The run of these spans."""
    [trace] = read(request(*spans))
    return foreign_run(trace, **options)


def edges_of(run: ForeignRun) -> dict[tuple[str, str], tuple[str, str]]:
    """(before, after) → (label, source), by step id."""
    ids = run.timeline.step_ids
    return {(ids[edge.before], ids[edge.after]): (edge.label, edge.source) for edge in run.edges}


def codes(run: ForeignRun) -> dict[str, int]:
    """How often each finding was made, by code."""
    return {finding.code: finding.count for finding in run.findings}


def waits_of(run: ForeignRun, step_id: str) -> list[tuple[str, float, float]]:
    """What a step's first attempt waited for: (reason, from, to) in milliseconds."""
    [attempt] = [one for one in run.timeline.attempts if one.step_id == step_id and one.attempt == 1]
    return [
        (reason, start / MILLISECOND, end / MILLISECOND) for reason, start, end in map(Wait._make, attempt.waits)
    ]  # fmt: skip

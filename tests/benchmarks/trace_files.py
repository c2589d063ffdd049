"""Files of spans as SDKs and collectors write them: realistic ones, and lean ones that hold nothing but the tree.

Realistic: OTLP JSON lines as the collector's file exporter writes them, batches of 512 spans of one service. A server's
span and its client calls carry the attributes of the semantic conventions of HTTP, databases and models; some have
events. Lean: the same spans with ids, names and times alone, which is what a file may hold at the least.

Rules of this module:
- Same seed, same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

BATCH: Final = 512
_BEGIN: Final = 1_700_000_000_123_456_789
_CALLS: Final = 9


def _attribute(key: str, value: str | int) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}


def _attributes(**values: str | int) -> list[dict[str, Any]]:
    return [_attribute(key.replace("__", "."), value) for key, value in values.items()]


_RESOURCE: Final = _attributes(
    service__name="shop", service__version="1.2.3", telemetry__sdk__language="python",
    telemetry__sdk__name="opentelemetry", telemetry__sdk__version="1.29.0", host__name="shop-7d4b9",
)  # fmt: skip
_SERVER: Final = _attributes(
    http__request__method="POST", http__route="/orders", url__path="/orders", url__scheme="https",
    http__response__status_code=200, user_agent__original="python-httpx/0.27.2", client__address="10.0.3.17",
    server__address="shop", server__port=8080,
)  # fmt: skip


def _of_call(number: int, place: int) -> tuple[str, list[dict[str, Any]]]:
    """The name and the attributes of a call."""
    thread = _attributes(thread__id=140_000 + place % 4, thread__name=f"worker-{place % 4}")
    if place % 3 == 0:
        url = f"https://api.example.com/v1/items/{number}?page={place}"
        return "GET", thread + _attributes(
            http__request__method="GET", server__address="api.example.com", server__port=443, url__full=url,
            http__response__status_code=200, network__protocol__version="1.1",
        )  # fmt: skip
    if place % 3 == 1:
        query = "SELECT id, name, price FROM items WHERE order_id = $1 ORDER BY price"
        return "SELECT items", thread + _attributes(
            db__system__name="postgresql", db__namespace="shop", db__query__text=query, server__address="db",
            server__port=5432,
        )  # fmt: skip
    return "chat small", thread + _attributes(
        gen_ai__operation__name="chat", gen_ai__request__model="small", gen_ai__response__model="small-2024",
        gen_ai__usage__input_tokens=400 + number % 97, gen_ai__usage__output_tokens=60 + number % 13,
    )  # fmt: skip


def trace(count: int, seed: int, *, lean: bool) -> list[dict[str, Any]]:
    """The spans of one trace: a root, in it requests one after the other, in each up to nine calls in a row. A span
    stands behind those in it, since it is exported when it ends.
    """
    random = Random(seed)
    trace_id = f"{random.getrandbits(128):032x}"
    ids = [f"{random.getrandbits(64):016x}" for _ in range(count)]
    found: list[dict[str, Any]] = []

    def add(place: int, parent: str | None, name: str, kind: int, start: int, attributes: list[dict[str, Any]]) -> None:
        span = {"traceId": trace_id, "spanId": ids[place], "name": name, "kind": kind}
        if parent is not None:
            span["parentSpanId"] = parent
        span |= {"startTimeUnixNano": str(start), "endTimeUnixNano": str(now)}
        if not lean:
            span |= {"flags": 256, "attributes": attributes, "status": {}}
            if place % 5 == 0:
                sent = {"name": "message", "attributes": _attributes(message__type="SENT", message__id=place)}
                span["events"] = [{"timeUnixNano": str(start + 1_000), **sent}]
        found.append(span)

    now, place = _BEGIN, 1
    while place < count:
        now += random.randrange(1_000, 500_000)
        begun, request = now, place
        for call in range(min(_CALLS, count - place - 1)):
            place += 1
            now += random.randrange(1_000, 300_000)
            start = now
            now += random.randrange(200_000, 5_000_000)
            name, attributes = _of_call(place, call)
            add(place, ids[request], name, 3, start, attributes)
        now += random.randrange(1_000, 300_000)
        add(request, ids[0], "POST /orders", 2, begun, _SERVER)
        place += 1
    add(0, None, "batch", 1, _BEGIN, [])
    return found


def write_traces(path: Path, spans: int, *, lean: bool, traces: int = 1) -> Path:
    """A file of so many spans in so many traces."""
    with path.open("w", encoding="utf-8") as file:
        for batch in _batches(spans // traces, traces, lean=lean):
            resource = {"attributes": _RESOURCE[:1] if lean else _RESOURCE}
            scope = {"scope": {"name": "opentelemetry.instrumentation.shop", "version": "0.50b0"}, "spans": batch}
            document = {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}
            file.write(json.dumps(document, separators=(",", ":")) + "\n")
    return path


def _batches(spans: int, traces: int, *, lean: bool) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for number in range(traces):
        batch += trace(spans, number, lean=lean)
        while len(batch) >= BATCH:
            yield batch[:BATCH]
            batch = batch[BATCH:]
    if batch:
        yield batch

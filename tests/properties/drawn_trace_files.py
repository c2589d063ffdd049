"""Draws files of traces in every format, whole or damaged, and knows which spans were written into them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

MICROSECOND, BEGIN = 1000, 1_700_000_000_000_000_000
FORMATS = ("otlp", "otlp lines", "tempo", "jaeger", "jaeger bare", "zipkin", "console", "bare")
DAMAGES = ("cut", "byte changed", "line of a log", "not UTF-8", "brackets")


@dataclass(frozen=True)
class Written:
    """A span as it was written. Times are nanoseconds, in whole microseconds."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int
    service: str


def draw_spans(random: Random) -> list[Written]:
    """Spans of up to three traces and three services, in any order."""
    traces = [f"{random.getrandbits(127) + 1:032x}" for _ in range(random.randint(1, 3))]
    spans: list[Written] = []
    for number in range(random.randint(1, 12)):
        trace = random.choice(traces)
        parents = [one.span_id for one in spans if one.trace_id == trace]
        start = BEGIN + random.randrange(10**6) * MICROSECOND
        name = random.choice(
            ["chat", "tool \u00e9\u4e2d", 'a "quoted" [name]', "x" * random.randrange(1, 60), "{,}:\\"]
        )
        spans.append(
            Written(
                trace, f"{number + 1:016x}", random.choice([None, *parents]), name, start,
                start + random.randrange(10**6) * MICROSECOND, random.choice(["app", "db", "model"]),
            )
        )  # fmt: skip
    return spans


def written_as(form: str, spans: list[Written], random: Random) -> bytes:
    """The spans in a format; key order, indentation and wrappers are drawn."""
    indent = None if form == "otlp lines" else random.choice([None, None, 1, 2])
    documents = _DOCUMENTS[form](spans, random)
    separators = random.choice([(",", ":"), (", ", ": ")]) if indent is None else None
    texts = [
        json.dumps(_shuffled(one, random), indent=indent, separators=separators, ensure_ascii=random.random() < 0.5)
        for one in documents
    ]
    ending = random.choice(["\n", "\r\n"])
    return (ending.join(texts) + random.choice(["", ending])).encode()


def damaged(how: str, content: bytes, random: Random) -> bytes:
    """The content with one damage."""
    place = random.randrange(len(content))
    if how == "cut":
        return content[:place]
    if how == "byte changed":
        return content[:place] + bytes([random.randrange(32, 127)]) + content[place + 1 :]
    if how == "line of a log":
        starts = [0, *(at + 1 for at, sign in enumerate(content) if sign == 10)]
        at = random.choice(starts)
        line = random.choice([b"starting up\n", b"2024-01-01 INFO [x] {y}\n", b"{}\n", b"[1, 2\n", b"\n"])
        return content[:at] + line + content[at:]
    if how == "not UTF-8":
        return content[:place] + b"\xff" + content[place:]
    return content[:place] + random.choice([b"]", b"}", b"[", b'{"', b'"', b","]) + content[place:]


def packed(content: bytes, random: Random) -> bytes:
    """As it is, with a mark of its encoding, or compressed; whole in any case."""
    return random.choice(_PACKINGS)(content, random)


def _two_members(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return gzip.compress(content[:at]) + b"\0" * random.choice([0, 0, 7]) + gzip.compress(content[at:])


_PACKINGS: list[Callable[[bytes, Random], bytes]] = [
    lambda content, random: content,
    lambda content, random: b"\xef\xbb\xbf" + content,
    lambda content, random: content.decode("utf-8", "replace").encode("utf-16"),
    lambda content, random: gzip.compress(content),
    _two_members,
]


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _otlp_span(one: Written) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": one.trace_id, "spanId": one.span_id, "name": one.name, "kind": 1,
        "startTimeUnixNano": str(one.start), "endTimeUnixNano": str(one.end), "attributes": [_attribute("a", "[{,")],
    }  # fmt: skip
    return made if one.parent_id is None else {**made, "parentSpanId": one.parent_id}


def _by_service(spans: list[Written], scopes: str) -> list[dict[str, Any]]:
    services: dict[str, list[Written]] = {}
    for one in spans:
        services.setdefault(one.service, []).append(one)
    return [
        {
            "resource": {"attributes": [_attribute("service.name", service)]},
            scopes: [
                {"scope": {"name": f"scope of {service}"}, "spans": [_otlp_span(one) for one in part]}
                for part in (found[: len(found) // 2], found[len(found) // 2 :])
            ],
        }
        for service, found in services.items()
    ]


def _otlp(spans: list[Written], random: Random) -> list[Any]:
    whole = {random.choice(["resourceSpans", "resource_spans"]): _by_service(spans, "scopeSpans")}
    return [random.choice([whole, [whole], {"data": [whole]}, {"trace": whole, "metrics": {}}])]


def _otlp_lines(spans: list[Written], random: Random) -> list[Any]:
    parts = [spans]
    while len(parts[-1]) > 1 and random.random() < 0.8:
        at = random.randrange(1, len(parts[-1]))
        parts[-1:] = [parts[-1][:at], parts[-1][at:]]
    return [{"resourceSpans": _by_service(part, "scope_spans")} for part in parts]


def _tempo(spans: list[Written], random: Random) -> list[Any]:
    return [{"batches": _by_service(spans, "instrumentationLibrarySpans")}]


def _jaeger_spans(spans: list[Written]) -> list[dict[str, Any]]:
    return [
        {
            "traceID": one.trace_id, "spanID": one.span_id, "operationName": one.name, "processID": one.service,
            "startTime": one.start // 1000, "duration": (one.end - one.start) // 1000, "tags": [], "logs": [],
            "references": [{"refType": "CHILD_OF", "traceID": one.trace_id, "spanID": one.parent_id}]
            if one.parent_id else [],
        }
        for one in spans
    ]  # fmt: skip


def _jaeger(spans: list[Written], random: Random) -> list[Any]:
    traces = []
    for trace_id in dict.fromkeys(one.trace_id for one in spans):
        held = [one for one in spans if one.trace_id == trace_id]
        processes = {one.service: {"serviceName": one.service, "tags": []} for one in held}
        traces.append({"traceID": trace_id, "spans": _jaeger_spans(held), "processes": processes, "warnings": None})
    return [random.choice([{"data": traces, "total": 0}, traces])]


def _jaeger_bare(spans: list[Written], random: Random) -> list[Any]:
    return [[{**one, "process": {"serviceName": one["processID"], "tags": []}} for one in _jaeger_spans(spans)]]


def _zipkin(spans: list[Written], random: Random) -> list[Any]:
    return [
        [
            {
                "traceId": one.trace_id, "id": one.span_id, "name": one.name, "timestamp": one.start // 1000,
                "duration": (one.end - one.start) // 1000, "localEndpoint": {"serviceName": one.service},
                **({} if one.parent_id is None else {"parentId": one.parent_id}),
            }
            for one in spans
        ]
    ]  # fmt: skip


def _iso(time: int) -> str:
    from datetime import UTC, datetime, timedelta

    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _console(spans: list[Written], random: Random) -> list[Any]:
    return [
        {
            "name": one.name, "context": {"trace_id": f"0x{one.trace_id}", "span_id": f"0x{one.span_id}"},
            "kind": "SpanKind.INTERNAL", "parent_id": one.parent_id and f"0x{one.parent_id}",
            "start_time": _iso(one.start), "end_time": _iso(one.end), "attributes": {}, "events": [], "links": [],
            "resource": {"attributes": {"service.name": one.service}, "schema_url": ""},
        }
        for one in spans
    ]  # fmt: skip


def _bare(spans: list[Written], random: Random) -> list[Any]:
    """OTLP's spans without a resource."""
    found = [_otlp_span(one) for one in spans]
    return [random.choice([found, {"spans": found}, {"data": {"spans": found}}])]


_DOCUMENTS: dict[str, Callable[[list[Written], Random], list[Any]]] = {
    "otlp": _otlp, "otlp lines": _otlp_lines, "tempo": _tempo, "jaeger": _jaeger, "jaeger bare": _jaeger_bare,
    "zipkin": _zipkin, "console": _console, "bare": _bare,
}  # fmt: skip


def _shuffled(value: Any, random: Random) -> Any:
    """The same with the keys of some mappings in another order."""
    if isinstance(value, list):
        return [_shuffled(one, random) for one in value]
    if not isinstance(value, dict):
        return value
    items = [(key, _shuffled(held, random)) for key, held in value.items()]
    if random.random() < 0.3:
        random.shuffle(items)
    return dict(items)

"""Traces as OTLP JSON lines: one `ExportTraceServiceRequest` a line, as the specification of the file exporter says.

Rules of this module:
- Ids are hexadecimal, 64-bit integers are strings: the JSON of OTLP, which is not that of protobuf.
- What was written is on disk when a batch is done, so that a run that is killed leaves whole lines.
- Spans are written from the record itself, part by part: the SDK's spans, or a tree for ``json.dumps``, take twice as
  long. The text is that of the spans which :class:`.SpanMaker` makes; a property test holds both equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from executor.tracing.attribute_names import ERROR_TYPE, LINK_RESUMES, LINK_TYPE, RESUMED_TRACE, SCOPE_NAME
from executor.tracing.span_collector import FinishedSpan
from executor.tracing.span_contents import ROOT_KEY, SpanKey, SpanWords, span_id
from executor.tracing.step_spans import RunIds
from harness.files.json_output import OutputError
from harness.telemetry.spans.span_building import run_resource
from harness.telemetry.spans.transports import TransportError
from harness.version import package_version

_IS_REMOTE_KNOWN: Final = 0x100
_SAMPLED: Final = 1 | _IS_REMOTE_KNOWN
_SAMPLED_REMOTE: Final = _SAMPLED | 0x200
_KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES: Final = {"unset": "", "ok": '"code":1', "error": '"code":2'}
_LARGEST: Final = 2**63
_IDS_KEPT: Final = 10_000
_encode = json.encoder.encode_basestring_ascii


class WrittenSpan(NamedTuple):
    """A span as text, with that of the scope that it belongs to."""

    scope: str
    text: str


class TraceFile:
    """A file of traces, made anew.

    Raises:
        OutputError: it cannot be written.

    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._resource = f'{{"attributes":{_attributes(run_resource().attributes)}}}'
        try:
            self._stream: IO[str] = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  # closed by `close`
        except OSError as error:
            raise OutputError(f"cannot write traces to {path!r}: {error.strerror or error}") from error

    def maker(self, ids: RunIds, origin: int) -> SpanWriter:
        """What makes the spans of a run for this file."""
        return SpanWriter(ids, origin)

    def send(self, spans: Sequence[WrittenSpan], timeout_seconds: float) -> int:
        """Append a line. Raises TransportError."""
        try:
            self._stream.write(request_text(spans, self._resource))
            self._stream.write("\n")
            self._stream.flush()
        except OSError as error:
            raise TransportError(error.strerror or str(error), for_all=True) from error
        return 0

    def close(self) -> None:
        """No more traces follow. What cannot be written now was reported by :meth:`send`."""
        with suppress(OSError):
            self._stream.close()


def request_text(spans: Sequence[WrittenSpan], resource: str = "{}") -> str:
    """An `ExportTraceServiceRequest` of these spans, as JSON on one line."""
    scopes: dict[str, list[str]] = {}
    for scope, text in spans:
        scopes.setdefault(scope, []).append(text)
    parts = [f'{{"scope":{scope},"spans":[{",".join(found)}]}}' for scope, found in scopes.items()]
    return f'{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{",".join(parts)}]}}]}}'


class SpanWriter:
    """Writes spans of one run. ``origin``: t = 0 in nanoseconds since 1970."""

    def __init__(self, ids: RunIds, origin: int) -> None:
        self._ids = ids
        self._origin = origin
        self._scope = _scope(SCOPE_NAME, package_version())
        self._trace_id = f"{ids.root.trace_id:032x}"
        self._flags = int(ids.root.trace_flags) | _IS_REMOTE_KNOWN
        self._above = None if ids.above is None else f"{ids.above.span_id:016x}"
        self._hexadecimal: dict[SpanKey, str] = {}

    def of_words(self, words: SpanWords) -> WrittenSpan:
        """A span of the run's own."""
        key, parent, name, start, end, attributes, linked, error_type, events = words
        above = self._above if parent is None else self._span_id(parent)
        status = ""
        if error_type is not None:
            attributes = {**attributes, ERROR_TYPE: error_type}
            status = f'"code":2,"message":{_quoted(error_type)}'
        flags, trace_id = self._flags, self._trace_id
        links = [_link(trace_id, self._span_id(to), flags, _said(tuple(said.items()))) for to, said in linked]
        if RESUMED_TRACE in attributes:
            links.append(_resumed(attributes[RESUMED_TRACE]))
        return WrittenSpan(self._scope, (
            f'{{"traceId":"{trace_id}","spanId":"{self._span_id(key)}",{_parent(above)}"flags":{flags},'
            f'"name":{_quoted(name)},"kind":1,"startTimeUnixNano":"{self._origin + start}",'
            f'"endTimeUnixNano":"{self._origin + end}","attributes":{_attributes(attributes)}{_events(events)}'
            f'{_links(links)},"status":{{{status}}}}}'
        ))  # fmt: skip

    def of_step_code(self, one: FinishedSpan) -> WrittenSpan:
        """A span that the code of a step opened."""
        status = _STATUSES[one.status]
        if one.status == "error" and one.description is not None:
            status += f',"message":{_quoted(one.description)}'
        links = [
            _link(f"{trace_id:032x}", f"{to:016x}", _SAMPLED_REMOTE, _attributes(said))
            for trace_id, to, said in one.links
        ]
        above = f"{one.parent_id:016x}" if one.parent_id else None
        return WrittenSpan(_scope(one.scope, one.scope_version), (
            f'{{"traceId":"{one.trace_id:032x}","spanId":"{one.span_id:016x}",{_parent(above)}"flags":{_SAMPLED},'
            f'"name":{_quoted(one.name)},"kind":{_KINDS[one.kind]},"startTimeUnixNano":"{one.start}",'
            f'"endTimeUnixNano":"{max(one.start, one.end)}","attributes":{_attributes(one.attributes)}'
            f'{_events(one.events)}{_links(links)},"status":{{{status}}}}}'
        ))  # fmt: skip

    def _span_id(self, key: SpanKey) -> str:
        # Parents and steps that many depend on are asked for again and again, others hardly ever.
        found = self._hexadecimal.get(key)
        if found is None:
            if len(self._hexadecimal) > _IDS_KEPT:
                self._hexadecimal.clear()
            found = self._hexadecimal[key] = f"{self._ids.span_id(key):016x}"
        return found


def _resumed(trace: str) -> str:
    """The link from the root of a run to that of the run that it goes on from, whose ids are made as its own are."""
    trace_id = bytes.fromhex(trace)
    return _link(
        f"{int.from_bytes(trace_id, 'big'):032x}", f"{span_id(trace_id, ROOT_KEY):016x}", _SAMPLED_REMOTE,
        _attributes({LINK_TYPE: LINK_RESUMES}),
    )  # fmt: skip


def _parent(span: str | None) -> str:
    return "" if span is None else f'"parentSpanId":"{span}",'


def _link(trace_id: str, span: str, flags: int, attributes: str) -> str:
    return f'{{"traceId":"{trace_id}","spanId":"{span}","flags":{flags},"attributes":{attributes}}}'


def _links(links: Sequence[str]) -> str:
    return f',"links":[{",".join(links)}]' if links else ""


def _events(events: Sequence[tuple[str, int, Mapping[str, Any]]]) -> str:
    if not events:
        return ""
    found = [
        f'{{"timeUnixNano":"{at}","name":{_quoted(name)},"attributes":{_attributes(said)}}}'
        for name, at, said in events
    ]
    return f',"events":[{",".join(found)}]'


@lru_cache(maxsize=64)
def _said(items: tuple[tuple[str, str], ...]) -> str:
    """The attributes of a link, of which there are few."""
    return _attributes(dict(items))


def _attributes(attributes: Mapping[str, Any]) -> str:
    """Attributes as OTLP lists them."""
    parts = []
    for name, value in attributes.items():
        kind = type(value)
        # Most values are one of these: a call for each would take as long again.
        if kind is str and value.isascii():
            parts.append(f'{_key(name)}{{"stringValue":{_encode(value)}}}}}')
        elif kind is int and -_LARGEST <= value < _LARGEST:
            parts.append(f'{_key(name)}{{"intValue":"{value}"}}}}')
        else:
            parts.append(f"{_key(name)}{_value(value)}}}")
    return f"[{','.join(parts)}]"


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    return f'{{"key":{_quoted(name)},"value":'


def _value(value: Any) -> str:
    """One value with its type. An integer beyond 64 bits is text."""
    if isinstance(value, str):
        return f'{{"stringValue":{_quoted(value)}}}'
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{json.dumps(value if value - value == 0 else str(value))}}}'
    if isinstance(value, list | tuple):
        return f'{{"arrayValue":{{"values":[{",".join([_value(item) for item in value])}]}}}}'
    return f'{{"stringValue":{_quoted(str(value))}}}'


def _quoted(text: str) -> str:
    """In JSON, without half surrogate pairs."""
    return _encode(text if text.isascii() else text.encode(errors="replace").decode())


@lru_cache(maxsize=64)
def _scope(name: str, version: str | None) -> str:
    said = "" if version is None else f',"version":{_quoted(version)}'
    return f'{{"name":{_quoted(name)}{said}}}'

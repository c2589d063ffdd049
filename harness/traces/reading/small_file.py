"""Reads a file that fits in memory: JSON, JSON lines, one JSON value after the other, or protobuf.

Rules of this module:
- A line that is broken is counted and left out; where all are, the file is refused.
- Text that is not UTF-8 is read with the offending bytes replaced, and counted.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from harness.traces.formats import otlp_protobuf
from harness.traces.formats.otlp import Defects
from harness.traces.reading.large_file import salvage
from harness.traces.reading.opening import Opened
from harness.traces.reading.recognition import CONVERTERS, PROTOBUF, Batch, Other, is_protobuf, parts_of
from harness.traces.reading.refusals import broken_lines, no_spans, not_json, truncated
from harness.traces.reading.spill import Spill
from harness.traces.spans.trace_model import Trace, TraceError, TraceFinding

_DECODER: Final = json.JSONDecoder(parse_float=Decimal)
_SPACE: Final = re.compile(r"[ \t\n\r\x1e]*")


def read_small(file: Opened, traces: dict[str, Trace], defects: Defects) -> list[TraceFinding]:
    """Add the spans of a file that was read whole; what was wrong with it as a whole comes back.

    Raises:
        TraceError: there are no spans in it.

    """
    taker = _Taker(file.name, traces, defects)
    if is_protobuf(file.beginning):
        try:
            for origin, spans in otlp_protobuf.raw_spans(io.BytesIO(file.beginning), file.name):
                taker.take(Batch(PROTOBUF, origin, spans), file.name)
        except otlp_protobuf.BrokenOffError:
            taker.findings.append(truncated(file.name, "in the middle of a message"))
    else:
        _read_json(file.name, _decoded(file, taker), taker)
    if not taker.spans:
        raise no_spans(file.name, taker.others, defects)
    return taker.findings


class _Taker:
    """Takes what is found in a file."""

    def __init__(self, name: str, traces: dict[str, Trace], defects: Defects) -> None:
        self.name = name
        self.traces = traces
        self.defects = defects
        self.others: list[Other] = []
        self.findings: list[TraceFinding] = []
        self.spans = 0

    def parts(self, document: Any, source: str) -> None:
        """Take what is in a JSON value."""
        for part in parts_of(document, self.defects):
            if isinstance(part, Other):
                self.others.append(part)
            else:
                self.take(part, source)

    def take(self, batch: Batch, source: str) -> None:
        """Take a batch of spans."""
        kind, origin, raw_spans = batch
        convert, defects, traces = CONVERTERS[kind], self.defects, self.traces
        held: list[Any] = []
        trace_id = None  # of the span before: most belong to the same trace
        for raw in raw_spans:
            span = convert(raw, origin, defects)
            if span is None:
                continue
            if span.trace_id != trace_id:
                trace_id = span.trace_id
                trace = traces.get(trace_id)
                if trace is None:
                    trace = traces[trace_id] = Trace(trace_id, source=source, format=kind)
                held = trace.spans
            held.append(span)
            self.spans += 1

    def merge(self, spill: Spill) -> None:
        """Take what was put away."""
        for trace in spill.traces():
            known = self.traces.setdefault(trace.trace_id, trace)
            if known is not trace:
                known.spans += trace.spans


def _decoded(file: Opened, taker: _Taker) -> str:
    content = file.beginning
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        effect = "read with a replacement sign; names and texts may differ"
        taker.findings.append(TraceFinding("not_utf8", f"{file.name}: not UTF-8 from byte {error.start} on", effect))
        return content.decode("utf-8-sig", "replace")


def _read_json(name: str, text: str, taker: _Taker) -> None:
    end = text.find("\n")
    first = text if end < 0 else text[:end]
    try:
        document = _DECODER.decode(first)
    except (ValueError, RecursionError):
        _read_document(name, text, taker)
        return
    rest = end >= 0 and not text[end:].isspace()
    taker.parts(document, f"{name}:1" if rest else name)
    if rest:
        del document
        _read_lines(name, text, end + 1, 2, taker)


def _read_lines(name: str, text: str, at: int, number: int, taker: _Taker) -> None:
    broken: list[int] = []
    size = len(text)
    while at < size:
        end = text.find("\n", at)
        end = size if end < 0 else end
        line = text[at:end].strip()
        if line:
            try:
                taker.parts(_DECODER.decode(line), f"{name}:{number}")
            except (ValueError, RecursionError):
                broken.append(number)
        at = end + 1
        number += 1
    taker.findings += broken_lines(name, broken)


def _read_document(name: str, text: str, taker: _Taker) -> None:
    """One JSON value over many lines, or one after the other; else lines of which the first is broken; else what a
    file holds that breaks off.
    """
    values = 0
    fault: json.JSONDecodeError | None = None
    try:
        for values, document in enumerate(_values(text), 1):  # noqa: B007 - how far it came
            taker.parts(document, name)
    except RecursionError:
        raise TraceError(f"{name}: JSON that is nested too deeply to be read") from None
    except json.JSONDecodeError as error:
        fault = error
    if fault is None:
        return
    if not values:
        lines = _Taker(name, taker.traces, taker.defects)
        _read_lines(name, text, 0, 1, lines)
        if lines.spans:
            taker.spans, taker.others = lines.spans, lines.others
            taker.findings += lines.findings
            return
        spill = Spill(taker.defects)
        taker.spans = salvage(name, io.BytesIO(text.encode("utf-8", "replace")), spill, taker.defects)
        taker.merge(spill)
    if not taker.spans:
        raise not_json(name, text, fault)
    taker.findings.append(truncated(name, f"line {fault.lineno}, column {fault.colno}: {fault.msg}"))


def _values(text: str) -> Iterator[Any]:
    at = _SPACE.match(text, 0).end()  # type: ignore[union-attr] # always matches
    while at < len(text):
        value, at = _DECODER.raw_decode(text, at)
        yield value
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr] # always matches

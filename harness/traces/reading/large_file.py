"""Reads a file that is too large for memory, or broken: line by line, or walking through it, into a :class:`Spill`.

Rules of this module:
- At most one line, one message or one span is held as it stands in the file.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, BinaryIO, Final

from harness.traces.formats import otlp_protobuf
from harness.traces.formats.otlp import Defects, Origin
from harness.traces.reading.json_scan import Found, Scanner
from harness.traces.reading.opening import Opened
from harness.traces.reading.recognition import (
    CONVERTERS,
    JAEGER,
    OTLP,
    PROTOBUF,
    TEMPO,
    Batch,
    Other,
    format_of_span,
    is_protobuf,
    parts_of,
)  # fmt: skip
from harness.traces.reading.refusals import broken_lines, no_spans, truncated
from harness.traces.reading.spill import Spill
from harness.traces.spans.trace_model import Span, TraceError, TraceFinding

_LONGEST_LINE_BYTES: Final = 64 << 20
_DECODER: Final = json.JSONDecoder(parse_float=Decimal)
_NO_ORIGIN: Final = Origin({})
_MOST_OTHERS: Final = 100


def read_large(file: Opened, spill: Spill, defects: Defects) -> list[TraceFinding]:
    """Put the spans of a file away; what was wrong with it as a whole comes back.

    Raises:
        TraceError: there are no spans in it.

    """
    reader = _Reader(file.name, spill, defects)
    if is_protobuf(file.beginning):
        reader.protobuf(file.stream)
    elif _is_lines(file):
        reader.lines(file.stream)
    else:
        reader.scan(file.stream)
    if not reader.spans:
        raise no_spans(file.name, reader.others, defects)
    return reader.findings


def salvage(name: str, stream: BinaryIO, spill: Spill, defects: Defects) -> int:
    """Put away what a broken document holds until it breaks. Returns how many spans that were."""
    reader = _Reader(name, spill, defects)
    reader.scan(stream)
    return reader.spans


def _is_lines(file: Opened) -> bool:
    """Whether the first line is a JSON value."""
    line = file.first_line(_LONGEST_LINE_BYTES)
    if line is None:
        return False
    try:
        _DECODER.decode(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


class _Reader:
    def __init__(self, name: str, spill: Spill, defects: Defects) -> None:
        self.name = name
        self.spill = spill
        self.defects = defects
        self.others: list[Other] = []
        self.findings: list[TraceFinding] = []
        self.spans = 0

    def protobuf(self, stream: BinaryIO) -> None:
        try:
            for origin, spans in otlp_protobuf.raw_spans(stream, self.name):
                self._take(Batch(PROTOBUF, origin, spans), self.name)
        except otlp_protobuf.BrokenOffError:
            self.findings.append(truncated(self.name, "in the middle of a message"))

    def lines(self, stream: BinaryIO) -> None:
        broken: list[int] = []
        number = 0
        while line := stream.readline(_LONGEST_LINE_BYTES):
            number += 1
            if len(line) == _LONGEST_LINE_BYTES and not line.endswith(b"\n"):
                raise TraceError(f"{self.name}:{number}: a line of more than {_LONGEST_LINE_BYTES >> 20} MiB")
            if line.isspace():
                continue
            try:
                document = _DECODER.decode(line.decode("utf-8-sig", "replace"))
            except (ValueError, RecursionError):
                broken.append(number)
                continue
            for part in parts_of(document, self.defects):
                self._part(part, f"{self.name}:{number}")
        self.findings += broken_lines(self.name, broken)

    def scan(self, stream: BinaryIO) -> None:
        scanner = Scanner(stream)
        for found in scanner.values():
            if found.is_span:
                self._take_late(found)
            else:
                for part in parts_of(found.value, self.defects):
                    self._part(part, self.name)
        if scanner.broken is not None:
            self.findings.append(truncated(self.name, scanner.broken))

    def _part(self, part: Batch | Other, source: str) -> None:
        if isinstance(part, Batch):
            self._take(part, source)
        elif len(self.others) < _MOST_OTHERS:
            self.others.append(part)

    def _take(self, batch: Batch, source: str) -> None:
        convert = CONVERTERS[batch.format]
        where = self.spill.source(source, batch.format)
        for raw in batch.spans:
            span = convert(raw, batch.origin, self.defects)
            if span is not None:
                self.spans += 1
                self.spill.add_as_it_is(span, where)

    def _take_late(self, found: Found) -> None:
        """A span whose resource may come after it."""
        raw, shared = found.value, found.shared
        kind = (format_of_span(raw) if type(raw) is dict else None) or OTLP
        if kind == OTLP and shared.is_tempo:
            kind = TEMPO
        origin: Any = {} if kind == JAEGER else _NO_ORIGIN
        span: Span | None = CONVERTERS[kind](raw, origin, self.defects)
        if span is None:
            return
        self.spans += 1
        where = self.spill.source(self.name, kind)
        if span.resource:  # it says itself whose it is
            self.spill.add_as_it_is(span, where)
        elif kind == JAEGER:
            process = str(raw.get("processID", ""))
            of = lambda: shared.processes().get(process, _NO_ORIGIN)  # noqa: E731 - asked when all is read
            self.spill.add(span, self.spill.origin((id(shared), process), of), where)
        else:
            self.spill.add(span, self.spill.origin((id(shared), ""), shared.origin), where)

"""Reads files of traces of any known format and size, and groups their spans into traces.

Rules of this module:
- The content decides the format, never the file's name.
- A trace may be spread over many lines and many files; several may stand in one. Each is yielded once, whole.
- A file is read in pieces; only spans are kept. A line, or a message, is held whole while it is read.
- A line that is broken is counted and left out; where all are, the file is refused.
- A file that holds no spans is a :class:`TraceError` that names what it is instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from executor.garbage_collection import paused_collector
from harness.traces.formats import otlp_protobuf
from harness.traces.formats.otlp import Defects
from harness.traces.reading.collected_spans import CollectedSpans
from harness.traces.reading.document_parts import DocumentParts
from harness.traces.reading.json_text import BUFFER_BYTES, DECODER, JsonText, JsonTextError
from harness.traces.reading.opening import Opened, opened
from harness.traces.reading.recognition import PROTOBUF, Batch, is_protobuf
from harness.traces.reading.refusals import broken_lines, no_spans, not_json, not_utf8, truncated
from harness.traces.trace_model import Trace, TraceError, TraceFinding

Source = str | Path
ErrorHandler = Callable[[TraceError], None]


def read_traces(
    sources: Source | Iterable[Source],
    *,
    stdin: BinaryIO | None = None,
    on_error: ErrorHandler | None = None,
    buffer_bytes: int = BUFFER_BYTES,
) -> Iterator[Trace]:
    """The traces of files, in order of their first span. ``-`` is ``stdin`` (the process's own if None).

    A file that cannot be read is given to ``on_error`` and left out; without ``on_error`` it is raised. What was
    wrong with a file as a whole is among the findings of every trace in it. A document larger than
    ``buffer_bytes`` is read in parts of that size.

    Raises:
        TraceError: a file cannot be read, or holds no spans.

    """
    names = [sources] if isinstance(sources, (str, Path)) else list(sources)
    traces: dict[str, Trace] = {}
    defects = Defects()
    findings: list[TraceFinding] = []
    for source in names:
        try:
            with opened(source, stdin) as file, paused_collector():
                found = _read(file, buffer_bytes)
                findings += found.findings + file.findings()
        except TraceError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        defects.add(found.defects)
        for trace in found.traces.values():
            known = traces.setdefault(trace.trace_id, trace)
            if known is not trace:
                known.spans += trace.spans
    findings += defects.findings()
    while traces:  # each is given away, so that it need not be held longer than it is used
        trace = traces.pop(next(iter(traces)))
        trace.findings += findings
        yield trace


def _read(file: Opened, buffer_bytes: int) -> CollectedSpans:
    if is_protobuf(file.beginning):
        found = CollectedSpans(file.name)
        _read_protobuf(file, found)
    else:
        found = _read_json(file, JsonText(file.stream, buffer_bytes), buffer_bytes)
    if not found.span_count:
        raise no_spans(file.name, found.others, found.defects)
    return found


def _read_protobuf(file: Opened, found: CollectedSpans) -> None:
    try:
        for origin, spans in otlp_protobuf.raw_spans(file.stream, file.name):
            found.batch(Batch(PROTOBUF, origin, spans))
    except otlp_protobuf.BrokenOffError:
        found.findings.append(truncated(file.name, "in the middle of a message"))


def _read_json(file: Opened, text: JsonText, buffer_bytes: int) -> CollectedSpans:
    """One JSON value, or one after the other, or a value a line if the first line is one; else lines of which the first
    is broken; else the spans of a document until it breaks off.
    """
    name = file.name
    found = CollectedSpans(name)
    documents = DocumentParts(text, found, buffer_bytes)
    count = 0
    try:
        while text.peek():
            line = text.line_number
            documents.hand_on()
            count += 1
            if count == 1 and text.line_number == line and text.ends_line() and text.peek():
                for trace in found.traces.values():
                    trace.source = f"{name}:{line}"
                _read_lines(name, text, found)
    except RecursionError:
        raise TraceError(f"{name}: JSON that is nested too deeply to be read") from None
    except JsonTextError as fault:
        lines = CollectedSpans(name)
        if not (count and found.span_count) and text.rewind():
            _read_lines(name, text, lines)
        if lines.span_count:
            found = lines
        elif found.span_count:
            found.findings.append(truncated(name, str(fault)))
        else:
            raise not_json(name, text.beginning, fault) from None
    if text.not_utf8_from is not None:
        found.findings.insert(0, not_utf8(name, text.not_utf8_from))
    return found


def _read_lines(name: str, text: JsonText, found: CollectedSpans) -> None:
    broken: list[int] = []
    number = text.line_number
    while not text.ended():
        line = text.rest_of_line().strip()
        if line:
            found.source = f"{name}:{number}"
            try:
                document = DECODER.decode(line)
            except (json.JSONDecodeError, RecursionError):
                broken.append(number)
            else:
                found.document(document)
                del document  # before the next is made: so spans lie close to each other in memory
        number += 1
    found.findings += broken_lines(name, broken)

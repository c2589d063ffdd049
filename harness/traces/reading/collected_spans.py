"""Collects the spans of one file by trace, from its documents or their parts."""

from __future__ import annotations

from typing import Any, Final

from harness.traces.formats import jaeger, otlp
from harness.traces.formats.otlp import Defects
from harness.traces.reading.recognition import CONVERTERS, JAEGER, OTLP, TEMPO, Batch, Other, parts_of
from harness.traces.trace_model import Span, Trace, TraceFinding

_MOST_OTHERS: Final = 100
_WITH_RESOURCES: Final = (OTLP, TEMPO)


class CollectedSpans:
    """The traces of a file. ``source`` names the place in it that is read; ``others`` what is no spans."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.traces: dict[str, Trace] = {}
        self.defects = Defects()
        self.findings: list[TraceFinding] = []
        self.others: list[Other] = []
        self.span_count = 0
        # Of the document that is read in parts; what its spans share may come after them.
        self._in_parts = False
        self._of_document: list[Span] = []
        self._format = ""

    def document(self, value: Any) -> None:
        """Take a JSON document."""
        for part in parts_of(value, self.defects):
            if isinstance(part, Batch):
                self.batch(part)
            elif len(self.others) < _MOST_OTHERS:
                self.others.append(part)

    def part(self, value: Any) -> None:
        """Take a part of a JSON document that is read in parts."""
        self._in_parts = True
        self.document(value)
        self._in_parts = False

    def mark(self) -> int:
        """How many spans were taken of the document that is read in parts."""
        return len(self._of_document)

    def late(self, mark: int, members: dict[str, Any]) -> None:
        """Take the members of a mapping that came after spans in it: those since the mark."""
        spans = self._of_document[mark:]
        if self._format == JAEGER:
            jaeger.name_processes(spans, jaeger.processes_of(members))
        elif self._format in _WITH_RESOURCES:
            otlp.name_origin(spans, members)

    def end_of_document(self) -> None:
        """Forget what was kept for members that come late."""
        self._of_document.clear()

    def batch(self, batch: Batch) -> None:
        """Take spans of a known format."""
        kind, origin, raw_spans = batch
        convert, defects, traces = CONVERTERS[kind], self.defects, self.traces
        spans = [span for raw in raw_spans if (span := convert(raw, origin, defects)) is not None]
        held: list[Span] = []
        trace_id = None  # of the span before: most belong to the same trace
        for span in spans:
            if span.trace_id != trace_id:
                trace_id = span.trace_id
                trace = traces.get(trace_id)
                if trace is None:
                    trace = traces[trace_id] = Trace(trace_id, source=self.source, format=kind)
                held = trace.spans
            span.trace_id = trace_id  # one text for all of them
            held.append(span)
        self.span_count += len(spans)
        if self._in_parts:
            self._format = kind
            self._of_document += spans

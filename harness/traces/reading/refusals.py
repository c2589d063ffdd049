"""What to say of a file in which there are no spans.

Rules of this module:
- A refusal names what the file is, and what to give instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.plain_text import some_of
from harness.traces.formats.otlp import Defects
from harness.traces.reading.json_text import JsonTextError
from harness.traces.reading.recognition import Other
from harness.traces.trace_model import TraceError, TraceFinding

KNOWN: Final = (
    "OTLP (JSON, JSON lines or protobuf), Jaeger's or Tempo's API JSON, Zipkin's or MLflow's JSON, or what the "
    "SDK's console exporter prints"
)
_LINES_NAMED: Final = 5
_SIGNS: Final = {
    "<": "it looks like HTML or XML; was a page saved instead of the trace?",
    "%": "it looks like a PDF or a template",
}


def no_spans(name: str, others: Sequence[Other], defects: Defects) -> TraceError:
    """The refusal of a file in which no span was found."""
    named = [other for other in others if other.advice]
    if named:
        return TraceError(f"{name}: holds {named[0].name}; {named[0].advice}")
    faults = [f"{one.count:,} × {one.message}" for one in defects.findings()]
    if faults:
        return TraceError(f"{name}: holds no span that can be read ({'; '.join(faults)}); known are {KNOWN}")
    what = others[0].name if others else "a list of spans that is empty: nothing was exported into it"
    return TraceError(f"{name}: holds {what}; known are {KNOWN}")


def not_json(name: str, beginning: str, fault: JsonTextError) -> TraceError:
    """The refusal of a file that is no JSON, by its first signs."""
    begins = beginning.lstrip()[:1]
    hint = _SIGNS.get(begins, f"known are {KNOWN}")
    if begins == "{" and "SpanContext" in beginning:
        hint = "it looks like what the JavaScript SDK prints, which is no JSON; export OTLP JSON instead"
    return TraceError(f"{name}: is no JSON ({fault}); {hint}")


def truncated(name: str, where: str) -> TraceFinding:
    """The finding of a file that breaks off."""
    effect = "what is before that is read; what follows is missing, so that work and makespan may be too small"
    return TraceFinding("truncated_file", f"{name}: breaks off or goes wrong ({where})", effect)


def broken_lines(name: str, numbers: Sequence[int]) -> list[TraceFinding]:
    """The finding of lines that are no JSON, if there were any."""
    if not numbers:
        return []
    lines = some_of([str(number) for number in numbers], _LINES_NAMED)
    message = f"{name}: lines that are no JSON (cut off, or something else): {lines}"
    return [TraceFinding("broken_line", message, "left out: the spans in them are missing", len(numbers))]


def not_utf8(name: str, place: int) -> TraceFinding:
    """The finding of a file with bytes that are no UTF-8, from that place on."""
    effect = "read with a replacement sign; names and texts may differ"
    return TraceFinding("not_utf8", f"{name}: not UTF-8 from byte {place} on", effect)

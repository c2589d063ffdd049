"""From traces of any origin to runs that can be analysed: readers, edges, and a timeline.

Rules of this package:
- It names what is public; each name is imported when it is first used, so that readers of formats can use the model.
- Bad input is a :class:`TraceError` with a message for a person, or a :class:`TraceFinding` with a stated effect.
- Nothing here recurses over a trace: its depth is the file's choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.traces.reading.trace_files import read_traces
    from harness.traces.runs.trace_run import foreign_run
    from harness.traces.trace_model import Edge, Event, ForeignRun, Link, Span, Trace, TraceError, TraceFinding

_NAMES = {
    "harness.traces.trace_model": (
        "Edge", "Event", "ForeignRun", "Link", "Span", "Trace", "TraceError", "TraceFinding",
    ),
    "harness.traces.reading.trace_files": ("read_traces",),
    "harness.traces.runs.trace_run": ("foreign_run",),
}  # fmt: skip

__all__ = [
    "Edge", "Event", "ForeignRun", "Link", "Span", "Trace", "TraceError", "TraceFinding", "foreign_run", "read_traces",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

"""From traces of any origin to runs that can be analysed: readers, edges, and a timeline.

Rules of this package:
- It names what is public; each name is imported when it is first used, so that readers of formats can use the model.
- Bad input is a :class:`TraceError` with a message for a person, or a :class:`TraceFinding` with a stated effect.
- Nothing here recurses over a trace: its depth is the file's choice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.traces.reading.trace_files import read_traces
    from harness.traces.runs.trace_run import foreign_run
    from harness.traces.trace_model import Edge, Event, ForeignRun, Link, Span, Trace, TraceError, TraceFinding

_HOMES = {
    "harness.traces.trace_model": (
        "Edge", "Event", "ForeignRun", "Link", "Span", "Trace", "TraceError", "TraceFinding",
    ),
    "harness.traces.reading.trace_files": ("read_traces",),
    "harness.traces.runs.trace_run": ("foreign_run",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Edge", "Event", "ForeignRun", "Link", "Span", "Trace", "TraceError", "TraceFinding", "foreign_run", "read_traces",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'harness.traces' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)

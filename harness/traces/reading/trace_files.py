"""Reads files of traces of any known format and groups their spans into traces.

Rules of this module:
- The content decides the format, never the file's name.
- A trace may be spread over many lines and many files; several may stand in one. Each is yielded once, whole.
- Small inputs are read whole, since that is fastest; large ones are walked through and grouped on disk, so that memory
  is bounded by the largest trace, not by the files.
- A file that holds no spans is a :class:`TraceError` that names what it is instead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from harness.traces.formats.otlp import Defects
from harness.traces.reading.large_file import read_large
from harness.traces.reading.opening import opened
from harness.traces.reading.small_file import read_small
from harness.traces.reading.spill import Spill
from harness.traces.spans.trace_model import Trace, TraceError, TraceFinding

Source = str | Path
ErrorHandler = Callable[[TraceError], None]
# What is read whole: as Python's objects it takes about eight times as much memory.
WHOLE_LIMIT_BYTES: Final = 128 << 20


def read_traces(
    sources: Source | Iterable[Source],
    *,
    stdin: BinaryIO | None = None,
    on_error: ErrorHandler | None = None,
    whole_limit_bytes: int = WHOLE_LIMIT_BYTES,
) -> Iterator[Trace]:
    """The traces of files, in order of their first span (in any order where they are large). ``-`` is ``stdin`` (the
    process's own if None).

    A file that cannot be read is given to ``on_error`` and left out; without ``on_error`` it is raised. What was
    wrong with a file as a whole stands among the findings of every trace in it.

    Raises:
        TraceError: a file cannot be read, or holds no spans.

    """
    names = [sources] if isinstance(sources, (str, Path)) else list(sources)
    traces: dict[str, Trace] = {}
    defects = Defects()
    spill: Spill | None = None
    findings: list[TraceFinding] = []
    held_bytes = 0
    for source in names:
        try:
            with opened(source, stdin, max(0, whole_limit_bytes - held_bytes)) as file, paused_collector():
                if file.whole and spill is None:
                    held_bytes += len(file.beginning)
                    findings += read_small(file, traces, defects)
                else:
                    spill = spill or _spilled(traces, defects)
                    findings += read_large(file, spill, defects)
                findings += file.findings()
        except TraceError as error:
            if on_error is None:
                raise
            on_error(error)
    findings += defects.findings()
    for trace in traces.values() if spill is None else spill.traces():
        trace.findings += findings
        yield trace


def _spilled(traces: dict[str, Trace], defects: Defects) -> Spill:
    """What was read so far, put away."""
    spill = Spill(defects)
    for trace in traces.values():
        for span in trace.spans:
            spill.add_as_it_is(span, spill.source(trace.source, trace.format))
    traces.clear()
    return spill


@contextmanager
def paused_collector() -> Iterator[None]:
    """Without the search for cycles while millions of objects are made that have none: it would take half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

"""Programs that a step starts: they continue its trace, and the spans that they open return to the run.

::

    step ── TRACEPARENT, MAKESPAN_SPANS ──▶ program ── its spans, a line of JSON each ──▶ a file ──▶ the step's trace

Rules of this module:
- A program that exports its spans by itself needs TRACEPARENT (and TRACESTATE, BAGGAGE) alone, as every SDK reads them.
- A program without an exporter writes its spans to the file that MAKESPAN_SPANS names: :func:`continue_trace` does so.
- What comes from a program is not trusted: of a line that is no span nothing is taken, and no more than a limit.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.trace import SpanContext

from executor.tracing.span_collector import (
    FinishedSpan,
    Sink,
    SteadyClock,
    context_from,
    install,
    open_sink,
    plain,
    plain_attributes,
    propagated,
)

LOGGER = logging.getLogger("makespan.tracing")
SPANS: Final = "MAKESPAN_SPANS"
_CLOCK: Final = "MAKESPAN_CLOCK"
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_ID: Final = 2**64
_KINDS: Final = frozenset({"internal", "server", "client", "producer", "consumer"})
_STATUSES: Final = frozenset({"unset", "ok", "error"})


class ClockedSink(Sink, Protocol):
    """The sink of a run's trace, with the clock that its times are of."""

    @property
    def clock(self) -> SteadyClock:
        """The clock of :meth:`Sink.now`."""


@contextmanager
def child_trace(sink: ClockedSink | None) -> Iterator[dict[str, str]]:
    """The environment variables for a program that the current step starts. At the end of the block, when the program
    has ended, its spans go to ``sink``; None: they are not kept.
    """
    environment = {name.upper(): value for name, value in propagated().items()}
    if sink is None:
        yield environment
        return
    try:
        descriptor, path = tempfile.mkstemp(prefix="makespan-spans-")
        os.close(descriptor)
    except OSError as error:
        # A full disk costs spans and no step.
        LOGGER.warning("no place for the spans of a program: %s", error)
        yield environment
        return
    clock = sink.clock
    try:
        yield {**environment, SPANS: path, _CLOCK: f"{clock.wall} {clock.monotonic}"}
    finally:
        for finished in _read(Path(path), sink.root.trace_id):
            sink.take(finished)
        with suppress(OSError):
            Path(path).unlink()


def continue_trace(environment: Mapping[str, str] = os.environ) -> bool:
    """In a program that a step started: make its spans part of the step's trace. False: they are not wanted, or the
    program has a provider of its own.
    """
    carrier = {name: environment[name.upper()] for name in ("traceparent", "tracestate", "baggage")
               if name.upper() in environment}  # fmt: skip
    context = context_from(carrier)
    above = trace.get_current_span(context).get_span_context()
    if not above.is_valid:
        return False
    attach(context)
    path = environment.get(SPANS)
    if path is None or not install():
        return False
    wall, _, monotonic = environment.get(_CLOCK, "").partition(" ")
    open_sink(_FileSink(path, above, SteadyClock(int(wall), int(monotonic)) if monotonic else SteadyClock()))
    return True


class _FileSink:
    """Writes each span as it ends, so that a program that is killed leaves those that ended."""

    def __init__(self, path: str, above: SpanContext, clock: SteadyClock) -> None:
        self._path = path
        self.root = above
        self.now = clock.now

    def take(self, span: FinishedSpan) -> None:
        line = json.dumps(span, default=str) + "\n"
        # One write to a file opened for appending: threads and forked processes do not mix their lines.
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)


def _read(path: Path, trace_id: int) -> Iterator[FinishedSpan]:
    try:
        with path.open("rb") as stream:
            lines = stream.read(_MOST_BYTES).splitlines()
    except OSError:
        return
    for line in lines:
        span = _span(line)
        if span is not None and span.trace_id == trace_id:
            yield span


def _span(line: bytes) -> FinishedSpan | None:
    """The span in a line, or None."""
    try:
        values = json.loads(line)
        span = FinishedSpan(*values)
        numbers: tuple[Any, ...] = (span.span_id, span.parent_id, span.start, span.end)
        if not all(isinstance(number, int) and 0 <= number < _MOST_ID for number in numbers) or not span.span_id:
            return None
        if span.kind not in _KINDS or span.status not in _STATUSES:
            return None
        return span._replace(
            name=str(span.name),
            attributes=plain_attributes(span.attributes),
            events=[(str(name), int(at), plain_attributes(said)) for name, at, said in span.events],
            links=[(int(to), int(span_id), plain_attributes(said)) for to, span_id, said in span.links],
            description=None if span.description is None else str(span.description),
            scope=str(plain(span.scope)),
            scope_version=None if span.scope_version is None else str(span.scope_version),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


__all__ = ["SPANS", "child_trace", "continue_trace"]

"""The other end of a run's trace in a worker process: parents for the spans of step code, and their way home.

Rules of this module:
- Spans travel home in the completion of a step, among its facts.
- Where the run itself lives in this process (a pool of threads), they go straight to it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import SpanContext

from executor.child_steps.step_context import Place, Running
from executor.host_id import machine
from executor.tracing.span_collector import (
    FinishedSpan,
    SteadyClock,
    close_sink,
    context_from,
    install,
    open_sink,
    open_sinks,
)
from executor.tracing.span_contents import EVENTS_FACT, SPANS_FACT
from executor.tracing.step_spans import CLOCK, CONTEXT_ALONE, RunIds, SpanCollector, StepSpan

# Runs whose spans a process of a long-lived cluster still keeps a place for.
_MOST_RUNS = 8
# No machine runs for that long, and since 1970 more has passed: what is later is no monotonic clock's.
_STATED_NANOSECONDS = 10**18


class WorkerTracing:
    """A run's trace in this process."""

    def __init__(self, home: SpanCollector | None, base: Context, *, is_ours: bool) -> None:
        self._home = home
        self._base = base
        self._is_ours = is_ours

    def close(self) -> None:
        """Spans that end later are dropped."""
        if self._home is not None and not self._is_ours:
            close_sink(self._home)

    def enter(self, place: Place) -> None:
        """From here on the code of this thread runs below the spans of its steps."""
        if self._home is None:
            attach(self._base)
        else:
            attach(trace.set_span_in_context(StepSpan(place, self._home), self._base))

    def facts(self, running: Running, facts: dict[str, Any] | None) -> dict[str, Any] | None:
        """The facts of a call that has ended, with what its code said and opened.

        Where several threads run steps, the step that ends first takes along what is there: each span knows its parent.
        """
        home = self._home
        if home is None or self._is_ours or not (home.spans or home.notes):
            return facts
        found = {**(facts or {}), **home.notes.pop(running, {})}
        spans: list[FinishedSpan] = []
        with suppress(IndexError):
            while True:
                spans.append(home.spans.popleft())
        if spans:
            found[SPANS_FACT] = spans
        return found or None


def tracing_for(carrier: Mapping[str, str]) -> WorkerTracing:
    """What a worker does for the run of that carrier."""
    key = (os.getpid(), *sorted(carrier.items()))
    with _LOCK:
        if key not in _RUNS:
            while len(_RUNS) >= _MOST_RUNS:
                _RUNS.pop(next(iter(_RUNS))).close()
            _RUNS[key] = _new(carrier)
        return _RUNS[key]


def moved_facts(
    facts: dict[str, Any], carrier: Mapping[str, str], on_driver: Callable[[int], int | None]
) -> dict[str, Any]:
    """The facts of a call on another machine, its spans and events at the instants of the run's wall clock.

    ``on_driver`` turns an instant of that machine's monotonic clock into one of the driver's, in nanoseconds. Instants
    that step code states itself stay as they are.
    """
    if CLOCK not in carrier or not (SPANS_FACT in facts or EVENTS_FACT in facts):
        return facts
    wall, monotonic, _ = carrier[CLOCK].split(" ", 2)
    clock = SteadyClock(int(wall), int(monotonic))

    def moved(instant: int) -> int:
        here = None if instant >= _STATED_NANOSECONDS else on_driver(instant)
        return instant if here is None else clock.at(here)

    def events(listed: Any) -> list[tuple[str, int, Any]]:
        return [(name, moved(at), words) for name, at, words in listed]

    found = dict(facts)
    if SPANS_FACT in facts:
        found[SPANS_FACT] = [
            span._replace(start=moved(span.start), end=moved(span.end), events=events(span.events))
            for span in facts[SPANS_FACT]
        ]
    if EVENTS_FACT in facts:
        found[EVENTS_FACT] = events(facts[EVENTS_FACT])
    return found


# By process, since a forked one has a copy of them, and carrier.
_RUNS: dict[tuple[Any, ...], WorkerTracing] = {}
_LOCK = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_LOCK=threading.Lock()))


def _new(carrier: Mapping[str, str]) -> WorkerTracing:
    base = context_from(carrier)
    if CONTEXT_ALONE in carrier:
        return WorkerTracing(None, base, is_ours=False)
    above = trace.get_current_span(base).get_span_context()
    for sink in open_sinks(above.trace_id):
        if isinstance(sink, SpanCollector) and sink.root.span_id == above.span_id and sink.process_id == os.getpid():
            return WorkerTracing(sink, base, is_ours=True)
    root = SpanContext(above.trace_id, above.span_id, False, above.trace_flags, above.trace_state)
    wall, monotonic, where = carrier[CLOCK].split(" ", 2)
    # On another machine: its monotonic clock as it is, which the run brings onto its own.
    clock = SteadyClock(int(wall), int(monotonic)) if where == machine() else SteadyClock(0, 0)
    home = SpanCollector(RunIds(root), clock)
    if install():
        open_sink(home)
    return WorkerTracing(home, base, is_ours=False)

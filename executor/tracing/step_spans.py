"""A run as part of a trace: which span the code of a step belongs to, and how its spans return to the run.

::

    RunTracing     finds parents for the spans of user code; the run's own spans are made from the record afterwards
    StreamTracing  the same, and reports each attempt as it ends: for spans that leave while the run goes on

Under an active span of the caller, or with a provider of the program's, `run()` adds :mod:`executor.tracing.live_spans`
by itself. The other end of a worker process is :mod:`executor.tracing.worker_spans`.

Rules of this module:
- OpenTelemetry's API alone. It installs no provider under a caller that has one, and keeps the caller's context.
- A worker attaches one span for its whole life, which resolves the running attempt on request: a step that asks
  nothing pays nothing.
- Ids of spans are made from what they are of (:func:`executor.tracing.span_contents.span_id`): worker processes need
  no message.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Span, SpanContext, Status, StatusCode

from executor.child_steps.step_context import Place, Running, trace_programs
from executor.engine.instruments import Instrument, WatchedRun
from executor.host_id import machine
from executor.record.timeline import NANOSECONDS, Attempt, StepStatus
from executor.tracing.span_collector import (
    SAMPLED,
    FinishedSpan,
    SteadyClock,
    close_sink,
    exception_attributes,
    install,
    open_sink,
    plain,
    plain_attributes,
    propagated,
)
from executor.tracing.span_contents import EVENTS_FACT, ROOT_KEY, SpanKey, span_id

# Beside the W3C names: what a worker process of this machine needs for the same clock, and that there are no spans
# of steps to be under, only a context to be kept.
CLOCK = "makespan-clock"
CONTEXT_ALONE = "makespan-context-alone"


class RunIds:
    """The ids of one run's spans. ``above`` is the caller's span, if there was one."""

    def __init__(self, root: SpanContext, above: SpanContext | None = None) -> None:
        self.root = root
        self.above = above
        self._key = root.trace_id.to_bytes(16, "big") + root.span_id.to_bytes(8, "big")

    @classmethod
    def new(cls, trace_id: int | None = None, context: Context | None = None) -> RunIds:
        """A trace of its own, or the caller's if a span is active; then ``trace_id`` does not count."""
        above = trace.get_current_span(context).get_span_context()
        if above.is_valid:
            # Another run may be part of the same trace: its ids must be others.
            flags, state = above.trace_flags, above.trace_state
            root = SpanContext(above.trace_id, random.SystemRandom().getrandbits(64) or 1, False, flags, state)
            return cls(root, above)
        trace_id = (random.SystemRandom().getrandbits(128) or 1) if trace_id is None else trace_id
        root_id = span_id(trace_id.to_bytes(16, "big"), ROOT_KEY)
        return cls(SpanContext(trace_id, root_id, False, SAMPLED))

    def span_id(self, key: SpanKey) -> int:
        """The id of a span."""
        return self.root.span_id if key == ROOT_KEY else span_id(self._key, key)

    def context(self, key: SpanKey) -> SpanContext:
        """The same as propagators and links take it."""
        root = self.root
        return SpanContext(root.trace_id, self.span_id(key), False, root.trace_flags, root.trace_state)


class SpanCollector:
    """What the code of steps reaches through the current span: ids, and a place for what it says and opens."""

    def __init__(self, ids: RunIds, clock: SteadyClock) -> None:
        self.ids = ids
        self.root = ids.root
        self.clock = clock
        self.now = clock.now
        # A forked process has a copy of it, which leads nowhere.
        self.process_id = os.getpid()
        # Threads append to it and take from it at once.
        self.spans: deque[FinishedSpan] = deque()
        # What a step's code said of its own span, by attempt: as facts are kept.
        self.notes: dict[Any, dict[str, Any]] = {}

    def take(self, span: FinishedSpan) -> None:
        """Keep a span of user code."""
        self.spans.append(span)

    def context_of(self, running: Running | None) -> SpanContext:
        """The span of an attempt."""
        if running is None:
            return self.root
        return self.ids.context((running.step_id, running.attempt, 0))

    def note(self, running: Running, name: str, value: Any) -> None:
        """Code of a step says something of its own span."""
        self.notes.setdefault(running, {})[name] = value

    def event(self, running: Running, name: str, at: int, attributes: Mapping[str, Any]) -> None:
        """The same with an instant (nanoseconds of the wall clock)."""
        self.notes.setdefault(running, {}).setdefault(EVENTS_FACT, []).append((name, at, attributes))


class StepSpan(Span):
    """The current span of a worker: that of the attempt which runs when it is asked. Its end is the engine's affair."""

    __slots__ = ("_context", "_place", "_running", "home")

    def __init__(self, place: Place, home: SpanCollector) -> None:
        self._place = place
        self.home = home
        self._running: Running | None = None
        self._context = home.root

    def get_span_context(self) -> SpanContext:
        running: Running | None = self._place.running
        if running is not self._running:
            self._context = self.home.context_of(running)
            self._running = running
        return self._context

    def is_recording(self) -> bool:
        return self._place.running is not None and self.home.root.trace_flags.sampled

    def set_attribute(self, key: str, value: Any) -> None:
        running = self._place.running
        if running is not None and not key.startswith("makespan."):
            self.home.note(running, str(key), plain(value))

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        running = self._place.running
        if running is not None:
            at = self.home.now() if timestamp is None else timestamp
            self.home.event(running, str(name), at, plain_attributes(attributes))

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        self.add_event("exception", {**exception_attributes(exception), **(attributes or {})}, timestamp)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        """A step's links are its dependencies."""

    def update_name(self, name: str) -> None:
        """A step's name is its tool's."""

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """A step's status is its outcome."""

    def end(self, end_time: int | None = None) -> None:
        """It ends when the attempt does."""


class RunTracing(Instrument):
    """Spans that the code of steps opens find their parent and return to the run; see the head of this module."""

    traces = True

    def __init__(
        self, trace_id: int | None = None, *, context: Context | None = None, captures_content: bool = False
    ) -> None:
        self.captures_content = captures_content
        self.base = get_current() if context is None else context
        self.home = SpanCollector(RunIds.new(trace_id, self.base), SteadyClock())
        self.carrier = carrier_of(self.home, self.base)
        self.engine: WatchedRun | None = None
        self.startup_seconds = 0.0

    @property
    def trace_id(self) -> int:
        """The trace that the run is part of."""
        return self.home.root.trace_id

    @property
    def origin(self) -> int:
        """The instant t = 0 on the wall clock, in nanoseconds since 1970; of a simulated run, when it was prepared."""
        engine, clock = self.engine, self.home.clock
        if engine is None or engine.simulates:
            return clock.wall
        return clock.at(engine.origin)

    def run_started(self, engine: WatchedRun) -> None:
        self.engine = engine
        self.startup_seconds = (self.home.clock.now() - self.home.clock.wall) / NANOSECONDS
        if install():
            open_sink(self.home)

    def worker_started(self, place: Place) -> None:
        attach(trace.set_span_in_context(StepSpan(place, self.home), self.base))

    def run_finished(self, engine: WatchedRun) -> None:
        close_sink(self.home)

    def run_left(self, engine: WatchedRun) -> None:
        close_sink(self.home)

    def facts_of(self, attempt: Attempt) -> Mapping[str, Any]:
        """What the tool and the step's code said of an attempt."""
        engine = self.engine
        facts = {} if engine is None else engine.facts.get(attempt)
        notes = self.home.notes.get(attempt)
        return {**(facts or {}), **notes} if notes else facts or {}


class Stream(Protocol):
    """Receives what is over while the run goes on."""

    def attempt_ended(self, attempt: Attempt) -> None:
        """Under the engine's lock, so it must be short."""

    def code_span_ended(self, span: FinishedSpan) -> None:
        """Code of a step in this process has ended a span; from any thread."""

    def run_ended(self, engine: WatchedRun) -> None:
        """Nothing of the run is left running."""


class StreamTracing(RunTracing):
    """The same, and ``stream`` receives each attempt as it ends."""

    def __init__(
        self,
        stream: Stream,
        trace_id: int | None = None,
        *,
        context: Context | None = None,
        captures_content: bool = False,
    ) -> None:
        super().__init__(trace_id, context=context, captures_content=captures_content)
        self._stream = stream
        self.home.take = stream.code_span_ended  # type: ignore[method-assign]  # they leave at once

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        self._stream.attempt_ended(attempt)

    def run_finished(self, engine: WatchedRun) -> None:
        super().run_finished(engine)
        self._stream.run_ended(engine)

    def run_left(self, engine: WatchedRun) -> None:
        super().run_left(engine)
        self._stream.run_ended(engine)


# ---------------------------------------------------------------------- to other processes


def carrier_of(home: SpanCollector, context: Context | None = None) -> dict[str, str]:
    """What a worker process needs: the trace, the caller's baggage, and the clock."""
    carrier = propagated(trace.set_span_in_context(trace.NonRecordingSpan(home.root), context))
    carrier[CLOCK] = f"{home.clock.wall} {home.clock.monotonic} {machine()}"
    return carrier


def bare_carrier(context: Context) -> dict[str, str]:
    """The same where only a context is to be kept."""
    return {**propagated(context), CONTEXT_ALONE: ""}


def _child_trace() -> AbstractContextManager[dict[str, str]]:
    from executor.tracing.child_programs import child_trace  # noqa: PLC0415  # where steps start programs alone

    span = trace.get_current_span()
    return child_trace(span.home if isinstance(span, StepSpan) and span.is_recording() else None)


trace_programs(_child_trace)

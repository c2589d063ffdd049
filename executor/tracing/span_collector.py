"""A tracer that keeps the spans of a step's own code until they are collected. With OpenTelemetry's API alone.

It is used where no other provider is: in worker processes, and in a program of ours that records a run. A span costs a
fifth of what it costs with the SDK, and a worker needs no SDK.

Rules of this module:
- A finished span is plain data that can be pickled; its ids are those that the code saw, and may have sent elsewhere.
- Spans go to the sink of their trace; a span without a parent belongs to the one run that is under way, if it is one.
- Times come from the sink's clock, which no correction of the wall clock moves.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util._decorator import _agnosticcontextmanager

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_BAGGAGE = W3CBaggagePropagator()
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_PLAIN = (str, bool, int, float)
_IDS = random.SystemRandom()
# How often two clocks are read at most, and which reading is quick enough.
_READINGS = 10
_QUICK_NANOSECONDS = 10_000


class FinishedSpan(NamedTuple):
    """A span of user code. Times are nanoseconds of the wall clock; ``parent_id`` 0: none. ``links`` are (trace id,
    span id, attributes), ``events`` (name, time, attributes). ``status``: unset, ok or error.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start: int
    end: int
    attributes: Mapping[str, Any]
    events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()
    links: Sequence[tuple[int, int, Mapping[str, Any]]] = ()
    kind: str = "internal"
    status: str = "unset"
    description: str | None = None
    scope: str = ""
    scope_version: str | None = None


class Sink(Protocol):
    """Where the spans of one trace go."""

    root: SpanContext

    def now(self) -> int:
        """Nanoseconds of the wall clock, never backwards."""

    def take(self, span: FinishedSpan) -> None:
        """Called at a span's end, from any thread."""


# By trace id, the newest last.
_SINKS: dict[int, list[Sink]] = {}


def open_sink(sink: Sink) -> None:
    """From now on the spans of its trace go there."""
    _SINKS.setdefault(sink.root.trace_id, []).append(sink)


def close_sink(sink: Sink) -> None:
    """Spans that end later are dropped."""
    sinks = _SINKS.get(sink.root.trace_id, [])
    if sink in sinks:
        sinks.remove(sink)
    if not sinks:
        _SINKS.pop(sink.root.trace_id, None)


def open_sinks(trace_id: int) -> Sequence[Sink]:
    """Where spans of that trace go; none: nowhere."""
    return _SINKS.get(trace_id, ())


def install() -> bool:
    """Set the collecting provider where there is none; says whether it is set now."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(CollectingProvider())
    return isinstance(trace.get_tracer_provider(), CollectingProvider)


class CollectingProvider(trace.TracerProvider):
    """Gives tracers whose spans go to the sink of their trace."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> trace.Tracer:
        return CollectingTracer(instrumenting_module_name, instrumenting_library_version)


class CollectingTracer(trace.Tracer):
    """Opens spans that are kept."""

    def __init__(self, scope: str, version: str | None) -> None:
        self._scope = scope
        self._version = version

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        above = trace.get_current_span(context).get_span_context()
        if not above.is_valid:
            if len(_SINKS) != 1:
                return trace.INVALID_SPAN
            above = next(iter(_SINKS.values()))[-1].root
        sinks = _SINKS.get(above.trace_id)
        if not sinks or not above.trace_flags.sampled:
            return NonRecordingSpan(above)
        span = CollectedSpan(sinks[-1], name, above, kind, start_time, self._scope, self._version)
        span.raises = (record_exception, set_status_on_exception)
        if attributes:
            span.set_attributes(attributes)
        for link in links or ():
            span.add_link(link.context, link.attributes)
        return span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current


class CollectedSpan(Span):
    """An open span of user code."""

    __slots__ = (
        "_attributes", "_context", "_description", "_end", "_events", "_kind", "_links", "_name", "_parent_id",
        "_scope", "_sink", "_start", "_status", "_version", "raises",
    )  # fmt: skip

    def __init__(
        self,
        sink: Sink,
        name: str,
        above: SpanContext,
        kind: SpanKind,
        start: int | None,
        scope: str,
        version: str | None,
    ) -> None:
        self._sink = sink
        self._name = name
        self._context = SpanContext(above.trace_id, new_span_id(), False, above.trace_flags, above.trace_state)
        self._parent_id = above.span_id
        self._kind = kind
        self._start = sink.now() if start is None else start
        self._end: int | None = None
        self._attributes: dict[str, Any] = {}
        self._events: list[tuple[str, int, Mapping[str, Any]]] = []
        self._links: list[tuple[int, int, Mapping[str, Any]]] = []
        self._status = StatusCode.UNSET
        self._description: str | None = None
        self._scope = scope
        self._version = version
        # Whether `with` records an exception, and whether it makes the status an error.
        self.raises = (True, True)

    def end(self, end_time: int | None = None) -> None:
        if self._end is not None:
            return
        self._end = end = self._sink.now() if end_time is None else end_time
        self._sink.take(
            FinishedSpan(
                self._name, self._context.trace_id, self._context.span_id, self._parent_id, self._start, end,
                self._attributes, self._events, self._links, self._kind.name.lower(), self._status.name.lower(),
                self._description, self._scope, self._version,
            )
        )  # fmt: skip

    def get_span_context(self) -> SpanContext:
        return self._context

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            self.set_attribute(name, value)

    def set_attribute(self, key: str, value: Any) -> None:
        if self._end is None:
            self._attributes[str(key)] = plain(value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        if self._end is None:
            at = self._sink.now() if timestamp is None else timestamp
            self._events.append((str(name), at, plain_attributes(attributes)))

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        if self._end is None and context.is_valid:
            self._links.append((context.trace_id, context.span_id, plain_attributes(attributes)))

    def update_name(self, name: str) -> None:
        if self._end is None:
            self._name = name

    def is_recording(self) -> bool:
        return self._end is None

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if self._end is not None or self._status is StatusCode.OK:
            return
        if isinstance(status, Status):
            self._status, description = status.status_code, status.description
        else:
            self._status = status
        self._description = description if self._status is StatusCode.ERROR else None

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        self.add_event("exception", {**exception_attributes(exception), **(attributes or {})}, timestamp)

    def __exit__(self, kind: Any, error: BaseException | None, frames: Any) -> None:
        if error is not None and self.is_recording():
            records, sets_status = self.raises
            if records:
                self.record_exception(error)
            if sets_status:
                self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
        self.end()


def exception_attributes(exception: BaseException) -> dict[str, str]:
    """What the conventions say of an exception."""
    return {
        "exception.type": type(exception).__qualname__,
        "exception.message": str(exception),
        "exception.stacktrace": "".join(traceback.format_exception(exception)),
    }


def new_span_id() -> int:
    """A random one, never 0, and another in each forked process."""
    return _IDS.getrandbits(64) or 1


def plain(value: Any) -> Any:
    """The value as a span may hold it: strings, numbers, and lists of them; everything else as its text."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple):
        return tuple(item if isinstance(item, _PLAIN) else str(item) for item in value)
    return str(value)


def plain_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """All values plain."""
    return {str(name): plain(value) for name, value in (attributes or {}).items()}


def propagated(context: Context | None = None) -> dict[str, str]:
    """What another program needs to continue the trace of a context (the current one), by the W3C's names."""
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier, context)
    _BAGGAGE.inject(carrier, context)
    return carrier


def context_from(carrier: Mapping[str, str]) -> Context:
    """The context in a carrier."""
    return _BAGGAGE.extract(carrier, _TRACE_CONTEXT.extract(carrier, Context()))


def one_instant() -> tuple[int, int]:
    """The wall clock and the monotonic one at the same instant, in nanoseconds.

    A busy machine may do something else between two looks, and all times would be wrong by that: of some readings it is
    the quickest, and mostly the first is quick enough.
    """
    quickest, wall, monotonic = -1, 0, 0
    for _ in range(_READINGS):
        before = time.perf_counter_ns()
        looked_at = time.time_ns()
        took = time.perf_counter_ns() - before
        if quickest < 0 or took < quickest:
            quickest, wall, monotonic = took, looked_at, before + took // 2
        if quickest <= _QUICK_NANOSECONDS:
            break
    return wall, monotonic


class SteadyClock:
    """The wall clock as it was at one instant, carried on by the machine's monotonic clock."""

    __slots__ = ("monotonic", "wall")

    def __init__(self, wall: int | None = None, monotonic: int | None = None) -> None:
        if wall is None or monotonic is None:
            wall, monotonic = one_instant()
        self.wall, self.monotonic = wall, monotonic

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return self.wall + time.perf_counter_ns() - self.monotonic

    def at(self, monotonic: int) -> int:
        """The same for an instant of the monotonic clock."""
        return self.wall + monotonic - self.monotonic

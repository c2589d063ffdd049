"""A run inside a trace of the caller's: spans opened and ended with the caller's tracer, as things happen.

Rules of this module:
- It installs nothing: the spans go wherever the program's provider sends them, and get the ids that it gives.
- Attributes and links are those of recorded runs. A link to a step that never ran has no span to point to, and is
  in ``makespan.step.depends_on`` alone.
- Spans that the code of steps opened in worker processes are opened here again, with the same times, at their step's
  end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from executor.child_steps.step_context import Place, Running
from executor.engine.instruments import Instrument, WatchedRun
from executor.record.timeline import NANOSECONDS, Attempt, StepStatus
from executor.tracing.attribute_names import ERROR_TYPE, SCOPE_NAME, WORKFLOW_SPAN
from executor.tracing.span_collector import CollectingProvider, FinishedSpan, SteadyClock, open_sinks
from executor.tracing.span_contents import (
    EVENTS_FACT,
    SPANS_FACT,
    RunWords,
    SpanKey,
    SpanWords,
    StepTable,
    end_of_attempt,
    error_type_of,
    wait_words,
)
from executor.tracing.step_spans import RunIds, SpanCollector, StepSpan, bare_carrier, carrier_of

_KINDS: Final = {kind.name.lower(): kind for kind in SpanKind}
_STATUS_CODES: Final = {code.name.lower(): code for code in StatusCode}


def tracing_for_caller() -> Instrument | None:
    """The instrument that makes a run part of the caller's trace; None where the run is not traced."""
    context = get_current()
    above = trace.get_current_span(context).get_span_context()
    provider = trace.get_tracer_provider()
    if isinstance(provider, CollectingProvider):
        # It represents a run of ours: this one belongs to it if one of its steps started it.
        traces = above.is_valid and bool(open_sinks(above.trace_id))
    else:
        traces = not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
    if traces:
        return LiveTracing(provider.get_tracer(SCOPE_NAME), context=context)
    if above.is_valid or baggage.get_all(context):
        return ContextKeeping(context)
    return None


class ContextKeeping(Instrument):
    """Code of steps runs in the caller's context; the run opens no spans, since no exporter would take them."""

    traces = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self.carrier = bare_carrier(context)

    def worker_started(self, place: Place) -> None:
        attach(self._context)


class _LiveSpanCollector(SpanCollector):
    """The spans of steps are real ones: what code says of its own goes straight there."""

    def __init__(self, ids: RunIds, clock: SteadyClock) -> None:
        super().__init__(ids, clock)
        self.open: dict[Any, Span] = {}

    def context_of(self, running: Running | None) -> SpanContext:
        span = self.open.get(running)
        return self.root if span is None else span.get_span_context()

    def note(self, running: Running, name: str, value: Any) -> None:
        if (span := self.open.get(running)) is not None:
            span.set_attribute(name, value)

    def event(self, running: Running, name: str, at: int, attributes: Mapping[str, Any]) -> None:
        if (span := self.open.get(running)) is not None:
            span.add_event(name, attributes, at)


class LiveTracing(Instrument):
    """Opens the root when the workers are about to start, and a span for each attempt when it is granted."""

    traces = True

    def __init__(
        self, tracer: trace.Tracer, *, context: Context | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        self._tracer = tracer
        self._base = get_current() if context is None else context
        self._facts = dict(facts or {})
        clock = SteadyClock()
        self._clock = clock
        self._root = tracer.start_span(WORKFLOW_SPAN, context=self._base, start_time=clock.wall)
        self._recording = self._root.is_recording()
        self._below_root = trace.set_span_in_context(self._root, self._base)
        self._home = _LiveSpanCollector(RunIds(self._root.get_span_context()), clock)
        self.carrier = carrier_of(self._home, self._base)
        self._origin = clock.wall
        self._startup_seconds = 0.0
        self._engine: WatchedRun | None = None
        self._words: RunWords | None = None
        self._contexts: dict[SpanKey, SpanContext] = {}

    # ------------------------------------------------------------------ hooks

    def run_started(self, engine: WatchedRun) -> None:
        self._engine = engine
        self._startup_seconds = (self._clock.now() - self._clock.wall) / NANOSECONDS
        self._words = RunWords(StepTable.of_scheduler(engine.scheduler), engine.scheduler.attempts)

    def worker_started(self, place: Place) -> None:
        attach(trace.set_span_in_context(StepSpan(place, self._home), self._base))

    def attempt_started(self, attempt: Attempt) -> None:
        words, engine = self._words, self._engine
        if not self._recording or attempt in self._home.open or words is None or engine is None:
            return
        self._origin = self._clock.wall if engine.simulates else self._clock.at(engine.origin)
        opening = words.opening(attempt)
        self._home.open[attempt] = span = self._start(opening)
        self._contexts[opening.key] = span.get_span_context()

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        span = self._home.open.pop(attempt, None)
        words, engine = self._words, self._engine
        if span is None or words is None or engine is None:
            return
        facts = engine.facts.get(attempt, {})
        span.set_attributes(words.closing(attempt, facts))
        if facts:
            span.update_name(words.name(attempt, facts))
            for name, at, attributes in facts.get(EVENTS_FACT, ()):
                span.add_event(name, attributes, at)
            if spans := facts.get(SPANS_FACT):
                self._bring_home(spans, trace.set_span_in_context(span, self._base))
        if self._home.spans:
            # Of programs that steps ran: the step that ends first takes along what is there.
            self._bring_home([self._home.spans.popleft() for _ in range(len(self._home.spans))])
        if attempt.waits:
            below = trace.set_span_in_context(span, self._base)
            for wait in wait_words(attempt):
                self._start(wait, below).end(self._origin + wait.end)
        _finish(span, error_type_of(attempt, facts), self._origin + end_of_attempt(attempt))

    def run_finished(self, engine: WatchedRun) -> None:
        self._end(engine)

    def run_left(self, engine: WatchedRun) -> None:
        self._end(engine)

    # ------------------------------------------------------------------ spans

    def _start(self, words: SpanWords, context: Context | None = None) -> Span:
        known = [(self._contexts.get(key), attributes) for key, attributes in words.links]
        links = [Link(linked, attributes) for linked, attributes in known if linked is not None]
        return self._tracer.start_span(
            words.name,
            context=self._below(words.parent) if context is None else context,
            attributes=words.attributes,
            links=links,
            start_time=self._origin + words.start,
        )

    def _below(self, key: SpanKey | None) -> Context:
        above = None if key is None else self._contexts.get(key)
        if above is None:
            return self._below_root
        return trace.set_span_in_context(trace.NonRecordingSpan(above), self._base)

    def _bring_home(self, spans: Sequence[FinishedSpan], below: Context | None = None) -> None:
        """Open and end what was opened in another process: parents first, as they began. ``below`` is where those go
        whose parent is the step; without it that is known by its id, as programs receive it.
        """
        opened: dict[int, Span] = {}
        for one in sorted(spans, key=lambda span: span.start):
            above = opened.get(one.parent_id)
            if above is None and below is not None:
                context = below
            else:
                context = trace.set_span_in_context(above or self._by_id(one.parent_id), self._base)
            links = [Link(SpanContext(to, span_id, True), words) for to, span_id, words in one.links]
            opened[one.span_id] = span = self._tracer.start_span(
                one.name, context=context, kind=_KINDS[one.kind], attributes=one.attributes, links=links,
                start_time=one.start,
            )  # fmt: skip
            for name, at, attributes in one.events:
                span.add_event(name, attributes, at)
            if one.status != "unset":
                span.set_status(Status(_STATUS_CODES[one.status], one.description))
        for one in spans:
            opened[one.span_id].end(one.end)

    def _by_id(self, span_id: int) -> Span:
        root = self._home.root
        return trace.NonRecordingSpan(
            SpanContext(root.trace_id, span_id, False, root.trace_flags, root.trace_state)
        )  # fmt: skip

    def _end(self, engine: WatchedRun) -> None:
        for attempt in list(self._home.open):
            self.attempt_finished(attempt, "running")
        self._bring_home(list(self._home.spans))
        if self._recording and self._words is not None:
            timeline = engine.timeline(self._startup_seconds)
            self._words.finish(timeline)
            for words in self._words.not_run():
                self._start(words).end(self._origin + words.end)
            root = self._words.root(engine.context.workflow_id, self._facts)
            self._root.update_name(root.name)
            self._root.set_attributes(root.attributes)
            _finish(self._root, root.error_type, self._origin + root.end)
        else:
            self._root.end()


def _finish(span: Span, error_type: str | None, end: int) -> None:
    if error_type is not None:
        span.set_attribute(ERROR_TYPE, error_type)
        span.set_status(Status(StatusCode.ERROR, error_type))
    span.end(end)

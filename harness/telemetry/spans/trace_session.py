"""Tracing of what a command runs: from the settings to instruments, and from what these saw to the receivers.

::

    Tracing.open ─▶ begin(…) an instrument for each run ─▶ add(…) after it ─▶ finish() what was delivered

Rules of this module:
- With nowhere to send to there is no instrument, and nothing of the SDK is imported.
- `recorded`: spans are made when all measuring is over. `live`: they leave as steps end.
- The id of a trace is made from what names the run, so that it can be sent again from the stored run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from executor.record.timeline import Attempt, Timeline
from executor.tracing import attribute_names as names
from executor.tracing.span_contents import SPANS_FACT, RunWords, StepTable, recorded_words, trace_id_of, wait_words
from harness.store.secrets import without_secrets
from harness.telemetry.telemetry_settings import Telemetry

if TYPE_CHECKING:
    from executor.engine.instruments import WatchedRun
    from executor.tracing.span_collector import FinishedSpan
    from executor.tracing.step_spans import RunTracing
    from harness.telemetry.spans.span_building import Maker
    from harness.telemetry.spans.span_sending import Delivery, Sender
    from harness.telemetry.spans.transports import Transport

Mode = Literal["recorded", "live", "off"]


@dataclass(frozen=True, slots=True)
class RunName:
    """What names one run: its trace's id is made of it, and the root says it. ``repetition`` counts from 1; of a run
    that is alone it is None. ``resumed_run`` and ``resumed_trace`` are the ids of the run that it goes on from.
    """

    run_id: str
    scenario: str
    executor: str = ""
    workers: int | None = None
    policy: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    repetition: int | None = None
    resumed_run: str | None = None
    resumed_trace: str | None = None

    @property
    def trace_id(self) -> int:
        """The same for the same run."""
        words = json.dumps(self.parameters, sort_keys=True, default=str)
        return trace_id_of(
            self.run_id, self.scenario, self.executor, self.workers, self.policy, words, self.repetition
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """What the root span says of it."""
        parameters = without_secrets(self.parameters)
        return {
            names.RUN_ID: self.run_id,
            names.SCENARIO: self.scenario,
            names.REPETITION: self.repetition,
            names.RESUMED_RUN: self.resumed_run,
            names.RESUMED_TRACE: self.resumed_trace,
            names.PARAMETERS: json.dumps(parameters, sort_keys=True, default=str) if parameters else None,
        }


@dataclass(slots=True)
class TracedRun:
    """A run that is traced, from its start on. ``instrument`` watches it."""

    name: RunName
    instrument: RunTracing
    streamed: bool = False

    @property
    def trace_id(self) -> str:
        """As documents have it: 32 hexadecimal digits."""
        return f"{self.instrument.trace_id:032x}"


class Tracing:
    """Where the traces of one command go. Made by :func:`open_tracing`."""

    def __init__(self, settings: Telemetry, mode: Mode, senders: Sequence[Sender]) -> None:
        self._settings = settings
        self._mode = mode
        self._senders = senders
        self.warnings: list[str] = []
        # Known once :meth:`finish` has come back.
        self.lost_spans = 0

    def begin(self, name: RunName) -> TracedRun:
        """A run is about to begin: give its instrument to it."""
        from executor.tracing.step_spans import RunTracing  # noqa: PLC0415  # OpenTelemetry, only where it is used

        if self._mode == "live":
            streaming = _Streaming(name, self._senders, captures_content=self._settings.capture_content)
            return TracedRun(name, streaming.instrument, streamed=True)
        return TracedRun(name, RunTracing(name.trace_id, captures_content=self._settings.capture_content))

    def add(self, traced: TracedRun, timeline: Timeline | None = None) -> None:
        """A run is over and is to be kept: its spans are made when they are sent. ``timeline`` is its record; without
        one it was left before its end, and what its engine knows is sent.
        """
        from harness.telemetry.spans.span_building import (  # noqa: PLC0415  # the SDK
            count_spans,
            estimated_bytes,
            spans_of,
            step_code_spans,
        )

        tracing = traced.instrument
        engine = tracing.engine
        if engine is None:
            return
        if timeline is None:
            timeline = engine.timeline()
        self._warn_of_size(estimated_bytes(timeline))
        if traced.streamed:
            # The root and what never ran are all that is missing; `_Streaming` has sent them.
            return
        inside = list(step_code_spans(tracing.home.spans, engine.facts))
        count = count_spans(timeline) + len(inside)
        for sender in self._senders:
            words = recorded_words(
                timeline,
                workflow=engine.context.workflow_id,
                tool_of=_tool_of(engine),
                facts_of=tracing.facts_of,
                facts=traced.name.facts(),
            )
            sender.put(spans_of(words, sender.maker(tracing.home.ids, tracing.origin), inside), count)

    def finish(self) -> list[Delivery]:
        """Everything was added: wait for it, as far as that makes sense. ``warnings`` has sentences for people."""
        deliveries = [sender.finish() for sender in self._senders]
        self.lost_spans = sum(delivery.lost for delivery in deliveries)
        for place, delivery in enumerate(deliveries):
            sentence = delivery.sentence()
            if sentence is not None:
                # The endpoint, where there is one, is the first; a file cannot be written again.
                later = place == 0 and self._settings.endpoint is not None
                advice = "; `makespan dashboards push RUN` can send it later" if later else ""
                self.warnings.append(f"telemetry: {sentence}{advice}")
        return deliveries

    def _warn_of_size(self, size_bytes: int) -> None:
        limit = self._settings.max_trace_bytes
        if size_bytes > limit and self._settings.endpoint is not None:
            self.warnings.append(
                f"telemetry: a trace of about {size_bytes / 1e6:.1f} MB is more than max_trace_bytes "
                f"({limit / 1e6:.1f} MB): a trace store may refuse part of it; raise its limit and this one, or keep "
                "traces in files with --trace-file"
            )


class _Streaming:
    """Sends the spans of one run as its steps end, to all receivers."""

    def __init__(self, name: RunName, senders: Sequence[Sender], *, captures_content: bool) -> None:
        from executor.tracing.step_spans import StreamTracing  # noqa: PLC0415  # OpenTelemetry, only where it is used

        self.instrument = StreamTracing(self, name.trace_id, captures_content=captures_content)
        self._streams = [_Stream(name, self.instrument, sender) for sender in senders]
        self._told: set[Attempt] = set()

    def attempt_ended(self, attempt: Attempt) -> None:
        """Under the engine's lock: what costs time is done by the sending threads."""
        self._told.add(attempt)
        count = _own_spans(attempt) + len(self.instrument.facts_of(attempt).get(SPANS_FACT, ()))
        for stream in self._streams:
            stream.sender.put(stream.attempt(attempt), count)

    def run_ended(self, engine: WatchedRun) -> None:
        """What is left: attempts that were cut short, steps that never ran, and the root."""
        from harness.telemetry.spans.span_building import count_spans  # noqa: PLC0415  # the SDK

        timeline = engine.timeline(self.instrument.startup_seconds)
        cut_short = [attempt for attempt in timeline.attempts if attempt not in self._told]
        count = count_spans(timeline) - sum(_own_spans(attempt) for attempt in self._told)
        for stream in self._streams:
            stream.sender.put(stream.rest(timeline, cut_short), count)

    def code_span_ended(self, span: FinishedSpan) -> None:
        """Code of a step has ended a span of its own."""
        for stream in self._streams:
            stream.sender.put(stream.code_span(span), 1)


class _Stream:
    """The spans of one run for one receiver. Its iterators run in the sending thread, one after the other."""

    def __init__(self, name: RunName, tracing: RunTracing, sender: Sender) -> None:
        self.sender = sender
        self._name = name
        self._tracing = tracing
        self._made: tuple[RunWords, Maker] | None = None

    def attempt(self, attempt: Attempt) -> Iterator[Any]:
        """The spans of an attempt that is over."""
        words, maker = self._parts()
        facts = self._tracing.facts_of(attempt)
        for finished in facts.get(SPANS_FACT, ()):
            yield maker.of_step_code(finished)
        yield maker.of_words(words.of(attempt, facts))
        for wait in wait_words(attempt):
            yield maker.of_words(wait)

    def rest(self, timeline: Timeline, cut_short: Sequence[Attempt]) -> Iterator[Any]:
        """The spans that only the end of the run brings."""
        for attempt in cut_short:
            yield from self.attempt(attempt)
        words, maker = self._parts()
        words.finish(timeline)
        for one in words.not_run():
            yield maker.of_words(one)
        engine = self._tracing.engine
        workflow = "" if engine is None else engine.context.workflow_id
        yield maker.of_words(words.root(workflow, self._name.facts()))

    def code_span(self, span: FinishedSpan) -> Iterator[Any]:
        """One that the code of a step opened."""
        yield self._parts()[1].of_step_code(span)

    def _parts(self) -> tuple[RunWords, Maker]:
        if self._made is None:
            engine = self._tracing.engine
            assert engine is not None, "spans before the run's start"
            table = StepTable.of_scheduler(engine.scheduler)
            words = RunWords(table, engine.scheduler.attempts)
            self._made = words, self.sender.maker(self._tracing.home.ids, self._tracing.origin)
        return self._made


def _own_spans(attempt: Attempt) -> int:
    return 1 + sum(1 for _ in wait_words(attempt)) if attempt.waits else 1


def open_tracing(settings: Telemetry, *, mode: Mode | None = None, trace_file: str | None = None) -> Tracing | None:
    """Tracing as the settings say, or None where it is off or there is nowhere to send to.

    Raises:
        OutputError: the file cannot be written.
        MissingExtraError: the protocol needs a package that is not installed.

    """
    mode = settings.mode if mode is None else mode
    if mode == "off" or (trace_file is None and settings.endpoint is None):
        return None
    from harness.telemetry.spans.otlp_file import TraceFile  # noqa: PLC0415  # the SDK, only where it is used
    from harness.telemetry.spans.span_sending import Sender  # noqa: PLC0415  # as above
    from harness.telemetry.spans.transports import transport_for  # noqa: PLC0415  # as above

    targets: list[Transport] = []
    if settings.endpoint is not None:
        targets.append(transport_for(settings))
    if trace_file is not None:
        targets.append(TraceFile(trace_file))
    return Tracing(settings, mode, [Sender(target, settings.timeout_seconds) for target in targets])


def _tool_of(engine: WatchedRun) -> Callable[[int], str | None]:
    steps = engine.scheduler.steps
    return lambda index: steps[index].tool

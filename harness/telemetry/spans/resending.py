"""A trace from the stored run: for one that did not get through, or was made before there was anywhere to send it.

Rules of this module:
- The trace has the id that the document names, and its spans have the ids that they had: sending it twice is no harm.
- A document holds one repetition of each result whole, and that one's trace can be made again. Spans that the code of
  steps opened are not in it, nor are prompts and answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from executor.tracing.span_contents import recorded_words
from harness.result import results_of, timeline_from_document
from harness.telemetry.spans.trace_session import RunName
from harness.telemetry.telemetry_settings import Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from harness.telemetry.spans.span_sending import Delivery


class StoredTrace(NamedTuple):
    """The trace of one result of a document, and how many spans it has."""

    trace_id: str
    spans: Iterator[ReadableSpan]
    span_count: int


def stored_traces(document: Mapping[str, Any]) -> Iterator[StoredTrace]:
    """The traces that can be made of a ``makespan.run/1`` document: one for each result.

    Raises:
        DocumentError: it is no such document.

    """
    for result in results_of(document):
        yield _stored_trace(document, result)


def resend(document: Mapping[str, Any], settings: Telemetry) -> Delivery:
    """Send the traces of a stored run to the configured endpoint, and say how it went.

    Raises:
        DocumentError: it is no such document.
        MissingExtraError: the protocol needs a package that is not installed.

    """
    from harness.telemetry.spans.span_sending import Sender  # noqa: PLC0415  # the SDK, only where it is used
    from harness.telemetry.spans.transports import transport_for  # noqa: PLC0415  # as above

    traces = list(stored_traces(document))
    sender = Sender(transport_for(settings), settings.timeout_seconds)
    for trace in traces:
        sender.put(trace.spans, trace.span_count)
    return sender.finish()


def _stored_trace(document: Mapping[str, Any], result: Mapping[str, Any]) -> StoredTrace:
    from executor.tracing.step_spans import RunIds  # noqa: PLC0415  # OpenTelemetry, only where it is used
    from harness.telemetry.spans.span_building import SpanMaker, count_spans, spans_of  # noqa: PLC0415  # as above

    timeline = timeline_from_document(result)
    sample = _shown_sample(result)
    name = RunName(
        str(document["run_id"]),
        str(result.get("scenario", document["scenario"])),
        str(result["executor"]),
        result["workers"],
        str(result["policy"]),
        result.get("parameters") or {},
        sample.get("repetition"),
    )
    known = result.get("trace_id") or sample.get("trace_id")
    trace_id = name.trace_id if known is None else int(str(known), 16)
    tools = [step.get("tool") for step in result["steps"]]
    facts = _facts(result)
    words = recorded_words(
        timeline,
        workflow=name.scenario,
        tool_of=lambda index: tools[index],
        facts_of=lambda attempt: facts.get((attempt.step_id, attempt.attempt), {}),
        facts=name.facts(),
    )
    origin = _unix_nanoseconds(str(sample.get("started_at") or document["started_at"]))
    spans = spans_of(words, SpanMaker(RunIds.new(trace_id, _no_context()), origin))
    return StoredTrace(f"{trace_id:032x}", spans, count_spans(timeline))


def _shown_sample(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The repetition whose steps the result holds: the one with the lower median makespan."""
    samples = sorted(result.get("samples") or [{}], key=lambda sample: sample.get("makespan_seconds") or 0.0)
    found: Mapping[str, Any] = samples[(len(samples) - 1) // 2]
    return found


def _facts(result: Mapping[str, Any]) -> dict[tuple[str, int], Mapping[str, Any]]:
    return {
        (attempt["step_id"], attempt["attempt"]): attempt["facts"]
        for step in result["steps"] for attempt in step["attempts"] if attempt.get("facts")
    }  # fmt: skip


def _unix_nanoseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    whole = moment.replace(microsecond=0)
    return round(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def _no_context() -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415  # OpenTelemetry, only where it is used

    return Context()


__all__ = ["StoredTrace", "resend", "stored_traces"]

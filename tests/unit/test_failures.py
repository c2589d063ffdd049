"""Why attempts failed: kept for each, counted, shown in documents, spans and metrics, and what to do about it."""

from __future__ import annotations

import pickle
import socket
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest

from executor.backends.virtual import Simulated, VirtualBackend
from executor.model.workflow import Resource, Retry, Step, ToolDeclaration, Workflow
from executor.record.outcomes import Failure, UnreachableError
from executor.record.timeline import NANOSECONDS, Attempt, AttemptFailure
from executor.running import Run, run
from executor.scheduler.backoff import backoff_nanoseconds
from executor.tools.connections import status_error
from executor.tools.tool import ToolError
from executor.tracing.span_contents import recorded_words
from harness.analysis import remedy, summary
from harness.report.terminal.bench_text import bench_lines
from harness.result import timeline_from_document
from harness.result.result_reading import run_schema
from harness.result.result_writing import Repetition, result_document
from harness.telemetry.metrics.labels import OTHER, REASONS_TOLD_APART, FailureLabels
from harness.telemetry.metrics.run_metrics import step_totals
from tests.unit.run_documents import document

TOO_MANY = 'https://llm.example/v1 answered 429: "3 at once"'


@dataclass
class Service:
    """Serves ``limit`` calls at once, each for ``seconds``; refuses others with ``status`` and asks for a second."""

    limit: int = 3
    seconds: float = 1.0
    status: int = 429
    asked: float = 1.0
    starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def __call__(self, attempt: Attempt) -> Simulated:
        now = attempt.granted
        self._ends = [end for end in self._ends if end > now]
        if attempt.attempt == 2:
            self.starts.append(now)
        if len(self._ends) >= self.limit:
            failure = Failure(
                "ToolError", TOO_MANY, retry_after_seconds=self.asked, overloaded=True, http_status_code=self.status
            )
            return Simulated(1_000_000, "failed", failure)
        self._ends.append(now + round(self.seconds * NANOSECONDS))
        return Simulated(round(self.seconds * NANOSECONDS))


def called(service: Service, *, calls: int = 9, attempts: int = 30, jitter: Any = "full", **more: Any) -> Run:
    """Independent calls of the service, all at once."""
    retry = Retry(max_attempts=attempts, backoff_seconds=0.01, jitter=jitter)
    resources = {"llm": Resource(capacity=8)}
    steps = tuple(Step(step_id=f"s{i}", tool="ask", needs={"llm": 1}, retry=retry, **more) for i in range(calls))
    backend = VirtualBackend(16, behaviour=service)
    return run(Workflow(steps=steps), backend=backend, tools={"ask": lambda: None}, resources=resources)


def refused(made: Run) -> list[AttemptFailure]:
    """The causes that the record keeps."""
    return [one.failure for one in made.timeline.attempts if one.failure is not None]


def test_every_attempt_that_failed_keeps_its_cause() -> None:
    made = called(Service())
    failed = [one for one in made.timeline.attempts if one.outcome == "failed"]
    assert failed
    assert {one.failure for one in failed} == {AttemptFailure("ToolError", TOO_MANY, 429, 1.0)}
    assert all(one.failure is None for one in made.timeline.attempts if one.outcome == "succeeded")


def test_the_document_states_the_cause_and_gives_it_back() -> None:
    made = called(Service())
    document = result_document([Repetition(made.timeline)])
    schema = run_schema()
    jsonschema.validate(document, {**schema["$defs"]["result"], "$defs": schema["$defs"]})
    again = timeline_from_document(document)
    assert [one.failure for one in again.attempts] == [one.failure for one in made.timeline.attempts]
    (group,) = document["failures"]
    assert (group["tool"], group["error_type"], group["http_status_code"]) == ("ask", "ToolError", 429)
    assert (group["retry_after_seconds"], group["attempts"]) == (1.0, len(refused(made)))
    assert group["calls"] == len(made.timeline.attempts)


def test_a_span_states_the_status_and_the_wait_and_no_message() -> None:
    made = called(Service())
    words = recorded_words(made.timeline, workflow="w", tool_of=lambda _: "ask")
    failed = [one.attributes for one in words if "http.response.status_code" in one.attributes]
    assert len(failed) == len(refused(made))
    assert all(one["http.response.status_code"] == 429 for one in failed)
    assert all(one["makespan.attempt.retry_after_seconds"] == 1.0 for one in failed)
    assert not any(TOO_MANY in str(one) for one in failed)


def test_metrics_count_failures_by_type_and_status() -> None:
    made = called(Service())
    document = result_document([Repetition(made.timeline)])
    samples = step_totals(document, timeline_from_document(document)).samples(())
    (found,) = [one for one in samples if one.name == "makespan_step_failures_total"]
    assert dict(found.labels) == {"error_type": "ToolError", "http_status_code": "429"}
    assert found.value == len(refused(made))


def test_labels_of_failures_are_bounded() -> None:
    labels = FailureLabels()
    found = {labels.label(f"Error{number}", None) for number in range(1000)}
    assert len(found) == REASONS_TOLD_APART + 1
    assert (OTHER, "") in found
    assert labels.label("Error0", None) == ("Error0", "")


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_refusals_advise_the_capacity_that_was_served(limit: int) -> None:
    made = called(Service(limit))
    count, calls = len(refused(made)), len(made.timeline.attempts)
    words = remedy(summary(made.timeline), made.timeline)
    assert words == (
        f"{count} of {calls} calls of ask answered 429 and asked for 1 s: give `llm` capacity {limit}, or a rate."
    )


def test_advice_after_a_failed_run_is_about_the_failure() -> None:
    made = called(Service(limit=0, status=401), attempts=1)
    words = remedy(summary(made.timeline), made.timeline)
    assert words.startswith("9 of 9 steps failed: 9 of 9 calls of ask answered 401")
    assert words.endswith("check the key, and what it is allowed to do.")


def test_the_step_that_is_named_is_the_one_that_said_so() -> None:
    def tool(what: str) -> None:
        raise ValueError(what)

    steps = tuple(Step(step_id=name, tool="t", args={"what": f"of {name}"}) for name in ("a", "b"))
    made = run(Workflow(steps=steps), tools={"t": tool}, backend="serial")
    assert remedy(summary(made.timeline), made.timeline).endswith("correct step 'b' (of b).")


def test_a_function_that_raises_is_named_with_what_it_says() -> None:
    def tool() -> None:
        raise ValueError("no such city")

    made = run(
        Workflow(steps=(Step(step_id="a", tool="t"), Step(step_id="b", tool="t", depends_on=("a",)))), tools={"t": tool}
    )
    words = remedy(summary(made.timeline), made.timeline)
    assert words == (
        "1 of 2 steps failed, 1 was skipped: 1 of 1 call of t failed with ValueError: correct step 'a' (no such city)."
    )


def test_a_service_that_does_not_run_is_to_be_started_and_the_step_is_not_at_fault() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        shop = ToolDeclaration.model_validate({"kind": "http", "base_url": address})
        step = Step(step_id="a", tool="shop", args={"url": "/x"}, retry=Retry(max_attempts=1))
        made = run(Workflow(steps=(step,)), tools={"shop": shop})
    words = remedy(summary(made.timeline), made.timeline)
    assert words == (
        "1 of 1 step failed: 1 of 1 call of shop found nobody who answers: start the service, or correct its address."
    )


def test_advice_on_a_wrong_address_names_no_model_alone() -> None:
    made = called(Service(limit=0, status=404), attempts=1)
    words = remedy(summary(made.timeline), made.timeline)
    assert words.endswith("check the address; where a model is asked, its name as well.")


def test_an_error_of_a_tool_stays_of_its_kind_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreachableError("tool 'shop': cannot connect")))
    assert (type(error), str(error), error.retryable) == (UnreachableError, "tool 'shop': cannot connect", True)


def told_of(made: Run) -> str:
    """What a benchmark says below the row of a cell."""
    words = remedy(summary(made.timeline), made.timeline)
    result = result_document([Repetition(made.timeline)], scenario="jokes")
    lost = {"lost_seconds": {"running": 99.0, "slowdown": 1.0}, "largest_lost_cause": "slowdown", "remedy": words}
    lines = [line.text.strip() for line in bench_lines(document({**result, **lost}))]
    return next(line for line in lines if words in line)


def test_a_benchmark_says_what_failed_and_no_cause_that_is_hardly_one() -> None:
    failed = told_of(called(Service(limit=0, status=401), attempts=1))
    assert failed.startswith("9 of 9 steps failed: ")
    assert told_of(called(Service(limit=99))).startswith("lost little: ")


def test_retries_after_a_common_wait_are_spread_behind_it() -> None:
    service = Service(limit=0)
    called(service, calls=8, attempts=2)
    since = [start - min(service.starts) for start in service.starts]
    assert len(since) == 8
    assert max(since) > 0.25 * NANOSECONDS
    assert min(service.starts) >= 1.001 * NANOSECONDS
    again = Service(limit=0)
    called(again, calls=8, attempts=2)
    assert again.starts == service.starts


def test_without_jitter_the_wait_is_what_was_asked_for() -> None:
    retry = Retry(backoff_seconds=0.5, jitter="none")
    assert backoff_nanoseconds(retry, 0, "a", 1, 4.0) == 4 * NANOSECONDS
    drawn = Retry(backoff_seconds=0.5)
    assert 4 * NANOSECONDS <= backoff_nanoseconds(drawn, 0, "a", 1, 4.0) < 6 * NANOSECONDS


def test_a_refusal_over_http_keeps_status_and_wait_and_masks_what_was_sent() -> None:
    sent = {"authorization": "Bearer sk-secret-key-0123456789"}
    body = b'{"error": {"message": "key sk-secret-key-0123456789 may do 3 at once"}}'
    error = status_error("llm", "https://llm.example/v1", 429, {"retry-after": "2"}, body, sent)
    cause = Failure.of(pickle.loads(pickle.dumps(error))).cause
    assert (cause.error_type, cause.http_status_code, cause.retry_after_seconds) == ("ToolError", 429, 2.0)
    assert "sk-secret" not in cause.message


class RefusedError(Exception):
    """As clients of HTTP raise them."""

    def __init__(self, **facts: Any) -> None:
        super().__init__("refused")
        self.__dict__.update(facts)


class FaultyError(Exception):
    @property
    def response(self) -> object:
        raise RuntimeError("no response")


def test_the_status_of_other_clients_is_read_where_they_tell_it() -> None:
    response = type("Response", (), {"status_code": 503})()
    assert Failure.of(RefusedError(status_code=429)).http_status_code == 429
    assert Failure.of(RefusedError(response=response)).http_status_code == 503
    assert Failure.of(ToolError("x", http_status_code=500)).http_status_code == 500
    for other in (
        RefusedError(status_code="429"),
        RefusedError(status_code=7),
        RefusedError(response=None),
        FaultyError(),
    ):
        assert Failure.of(other).http_status_code is None

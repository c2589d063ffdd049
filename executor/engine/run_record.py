"""What the engine writes down: ends as they are told, failures, cancellations, and news that comes too late.

Rules of this module:
- Used under the engine's lock. It starts nothing and wakes nobody: see :mod:`executor.engine.engine`.
- The end that is recorded first is the one that counts; what comes later is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executor.child_steps.child_request import Outcome
from executor.engine.driver import Driver
from executor.engine.instruments import Instrument, Instruments
from executor.record.outcomes import Completion, Failure, StepError
from executor.record.timeline import Attempt, AttemptOutcome
from executor.scheduler import Scheduler
from executor.tools.tool import RunContext, ToolContext


class EngineRecord:
    """The part of :class:`executor.engine.engine.Engine` that keeps the record."""

    scheduler: Scheduler

    def __init__(self, driver: Driver, context: RunContext, instruments: Sequence[Instrument]) -> None:
        self.context = context
        self.outputs: dict[str, Any] = {}
        self.errors: dict[str, StepError] = {}
        self.warnings: list[str] = []
        self.dropped_completions = 0
        # What tools told beside their attempts (span attributes), of the few that did.
        self.facts: dict[Attempt, dict[str, Any]] = {}
        self.instruments = Instruments(instruments)
        self._driver = driver
        self._contexts: dict[Attempt, ToolContext] = {}
        self._stops: list[Attempt] = []
        self._watches_start = self.instruments.watches("attempt_started")
        self._watches_finish = self.instruments.watches("attempt_finished")

    def outcome_of(self, step_id: str) -> Outcome:
        """How a call ended that is final."""
        status = self.scheduler.status(self.scheduler.index[step_id])
        if status == "succeeded":
            return Outcome(step_id, self.outputs[step_id])
        error = self.errors.get(step_id)
        if error is None:
            return Outcome(step_id, None, Failure("Cancelled", "it was cancelled"))
        return Outcome(step_id, None, Failure(error.error_type, error.message, error.traceback))

    def _record(self, completion: Completion, now: int) -> None:
        attempt, started, ended, worker, cpu_seconds, outcome, value, tokens_used = completion
        context = self._contexts.pop(attempt, None)
        if context is not None and context.facts:
            self.facts.setdefault(attempt, {}).update(context.facts)
        scheduler = self.scheduler
        if attempt.outcome is not None:
            self._record_late(attempt, now)
            return
        granted = attempt.granted
        attempt.started = started = max(started, granted)
        attempt.ended = max(started, min(ended, now))
        attempt.worker = worker
        attempt.cpu_seconds = cpu_seconds
        if outcome == "succeeded":
            self.outputs[attempt.step_id] = value
            status = scheduler.finish(attempt, outcome, now, tokens_used=tokens_used)
        else:
            failure: Failure = value
            self._note_failure(attempt, outcome, failure)
            status = scheduler.finish(
                attempt,
                outcome,
                now,
                retryable=failure.retryable,
                retry_after_seconds=failure.retry_after_seconds,
                tokens_used=tokens_used,
                overloaded=failure.overloaded,
            )
        if status == "succeeded" and attempt.attempt > 1:
            self.errors.pop(attempt.step_id, None)
        if self._watches_finish:
            self.instruments.call("attempt_finished", attempt, status)

    def _record_late(self, attempt: Attempt, now: int) -> None:
        """The call of an attempt that nobody waits for has ended, or a completion came twice."""
        if self.scheduler.is_abandoned(attempt):
            self.scheduler.returned(attempt, now)
        else:
            self.dropped_completions += 1

    def _note_failure(self, attempt: Attempt, outcome: AttemptOutcome, failure: Failure) -> None:
        facts = self.facts.setdefault(attempt, {})
        facts["error.type"] = failure.error_type
        if self.context.capture_content:
            facts["error.message"] = failure.message
        self.errors[attempt.step_id] = StepError(
            attempt.step_id, attempt.attempt, outcome, failure.error_type, failure.message, failure.traceback
        )

    def _note_cancelled(self, now: int) -> None:
        for attempt in self.scheduler.take_cancelled():
            attempt.started = attempt.granted if attempt.started is None else attempt.started
            # Not before its start, though a clock were set back.
            attempt.ended = max(attempt.started, now)
            if not self.scheduler.is_mapped(attempt.index):
                self._stops.append(attempt)
            # Its end may have come in the same batch as what cancelled it.
            if self._driver.stops_at_once and self.scheduler.is_abandoned(attempt):
                self.scheduler.returned(attempt, now)
            if self._watches_finish:
                self.instruments.call("attempt_finished", attempt, "cancelled")

    def mapped_began(self, attempt: Attempt) -> None:
        """The items of a mapped step came in. Called by :attr:`items`."""
        if self._watches_start:
            self.instruments.call("attempt_started", attempt)

    def mapped_ended(self, attempt: Attempt) -> None:
        """They are final, and so is it. Called by :attr:`items`."""
        if self._watches_finish:
            self.instruments.call("attempt_finished", attempt, attempt.outcome)

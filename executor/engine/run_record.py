"""What the engine writes down: outputs, failures, cancellations, and completions that come too late.

Rules of this module:
- Used under the engine's lock. It starts nothing and wakes no thread: see :mod:`executor.engine.engine`.
- The end that is recorded first is the one that counts; what comes later is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from executor.child_steps.child_request import Outcome
from executor.engine.instruments import Instruments
from executor.record.outcomes import Completion, Failure, StepError
from executor.record.remote_outputs import RemoteOutputs
from executor.record.timeline import Attempt, AttemptOutcome
from executor.scheduler import Scheduler
from executor.tools.tool import RunContext, ToolContext


class VisibleOutputs(Mapping[str, Any]):
    """The outputs as templates see them: those of steps that ended well, and null for those whose ``when`` is false.

    A ``ChainMap`` of both would take several times as long for each reference.
    """

    def __init__(self, outputs: Mapping[str, Any], null_outputs: Mapping[str, None]) -> None:
        self._outputs = outputs
        self._null_outputs = null_outputs

    def __getitem__(self, step_id: str) -> Any:
        outputs = self._outputs
        return outputs[step_id] if step_id in outputs else self._null_outputs[step_id]

    def get(self, step_id: str, default: Any = None) -> Any:
        """The output, or ``default``."""
        outputs = self._outputs
        return outputs[step_id] if step_id in outputs else self._null_outputs.get(step_id, default)

    def __contains__(self, step_id: object) -> bool:
        return step_id in self._outputs or step_id in self._null_outputs

    def __iter__(self) -> Iterator[str]:
        yield from self._outputs
        yield from (step_id for step_id in self._null_outputs if step_id not in self._outputs)

    def __len__(self) -> int:
        return len(self._outputs.keys() | self._null_outputs.keys())


class RunRecord:
    """The record of one run.

    ``outputs`` and ``errors`` are by step id; ``null_outputs`` are the steps whose ``when`` is false, for templates.
    ``facts`` are the span attributes that tools wrote. ``contexts`` are those of the calls that run, ``to_stop`` the
    attempts whose call has yet to be asked to stop.
    """

    # The engine sets it before anything is recorded: the scheduler itself asks what reads this record.
    scheduler: Scheduler

    def __init__(
        self, context: RunContext, instruments: Instruments, *, stops_at_once: bool, outputs_may_stay: bool = False
    ) -> None:
        """``stops_at_once``, ``outputs_may_stay``: see :class:`executor.engine.driver.Driver`."""
        self.outputs: dict[str, Any] = RemoteOutputs() if outputs_may_stay else {}
        self.null_outputs: dict[str, None] = {}
        self.errors: dict[str, StepError] = {}
        self.warnings: list[str] = []
        self.dropped_completions = 0
        self.facts: dict[Attempt, dict[str, Any]] = {}
        self.contexts: dict[Attempt, ToolContext] = {}
        self.to_stop: list[Attempt] = []
        # Called with each end, after the scheduler.
        self.note_end: Callable[[Attempt], None] | None = None
        self.watches_start = instruments.watches("attempt_started")
        self.watches_finish = instruments.watches("attempt_finished")
        self._context = context
        self._instruments = instruments
        self._stops_at_once = stops_at_once

    def outcome_of(self, step_id: str) -> Outcome:
        """How a child step ended that is final."""
        status = self.scheduler.status(self.scheduler.index[step_id])
        if status == "succeeded":
            return Outcome(step_id, self.outputs[step_id])
        if status == "skipped" and step_id in self.null_outputs:
            return Outcome(step_id, None)
        error = self.errors.get(step_id)
        if error is None:
            return Outcome(step_id, None, Failure("Cancelled", "it was cancelled"))
        return Outcome(step_id, None, Failure(error.error_type, error.message, error.traceback))

    def complete(self, completion: Completion, now: int) -> None:
        """Record the end of an attempt and let the scheduler decide what becomes of its step."""
        attempt, started, ended, worker, cpu_seconds, outcome, value, tokens_used = completion
        context = self.contexts.pop(attempt, None)
        if context is not None and context.facts:
            self.facts.setdefault(attempt, {}).update(context.facts)
        scheduler = self.scheduler
        if attempt.outcome is not None:
            self._complete_late(attempt, now)
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
        if self.note_end is not None:
            self.note_end(attempt)
        if self.watches_finish:
            self._instruments.call("attempt_finished", attempt, status)

    def time_out(self, attempt: Attempt, now: int) -> None:
        """The timeout of an attempt is over: its call is abandoned, unless it stops at once."""
        attempt.ended = now
        timeout = self.scheduler.steps[attempt.index].timeout
        message = f"no end after its timeout of {timeout:g} s"
        self._note_failure(attempt, "timed_out", Failure("Timeout", message))
        status = self.scheduler.finish(attempt, "timed_out", now, abandoned=not self._stops_at_once)
        self.to_stop.append(attempt)
        if self.note_end is not None:
            self.note_end(attempt)
        if self.watches_finish:
            self._instruments.call("attempt_finished", attempt, status)

    def note_cancelled(self, now: int) -> None:
        """Record the attempts that the scheduler has cancelled since the last time."""
        for attempt in self.scheduler.take_cancelled():
            attempt.started = attempt.granted if attempt.started is None else attempt.started
            # Not before its start, though a clock were set back.
            attempt.ended = max(attempt.started, now)
            if not self.scheduler.is_mapped(attempt.index):
                self.to_stop.append(attempt)
            # Its end may have come in the same batch as what cancelled it.
            if self._stops_at_once and self.scheduler.is_abandoned(attempt):
                self.scheduler.returned(attempt, now)
            if self.note_end is not None:
                self.note_end(attempt)
            if self.watches_finish:
                self._instruments.call("attempt_finished", attempt, "cancelled")

    def note_failed_rule(self, step_id: str, what: str, error: Exception) -> None:
        """Record why a step failed before its first attempt. ``what``: what about its ``when`` or ``for_each``."""
        failure = Failure.of(error)
        self.errors[step_id] = StepError(step_id, 0, "failed", failure.error_type, f"{what}: {failure.message}")

    def mapped_began(self, attempt: Attempt) -> None:
        """The items of a mapped step came in."""
        if self.watches_start:
            self._instruments.call("attempt_started", attempt)

    def mapped_ended(self, attempt: Attempt) -> None:
        """The items of a mapped step are final, and so is the step."""
        if self.note_end is not None:
            self.note_end(attempt)
        if self.watches_finish:
            self._instruments.call("attempt_finished", attempt, attempt.outcome)

    def give_up(self, now: int) -> None:
        """Give up the abandoned calls, since nothing else can move the run on, and say so."""
        names = sorted({attempt.step_id for attempt in self.scheduler.abandoned})
        self.warnings.append(
            f"the run ended because nothing else could move: the call of {', '.join(map(repr, names))} goes on "
            "past its timeout and keeps its limits and locks"
        )
        self.scheduler.give_up(now)

    def _complete_late(self, attempt: Attempt, now: int) -> None:
        """The call of an abandoned attempt has ended, or a completion came twice."""
        if self.scheduler.is_abandoned(attempt):
            self.scheduler.returned(attempt, now)
        else:
            self.dropped_completions += 1

    def _note_failure(self, attempt: Attempt, outcome: AttemptOutcome, failure: Failure) -> None:
        attempt.failure = failure.cause
        facts = self.facts.setdefault(attempt, {})
        facts["error.type"] = failure.error_type
        if self._context.capture_content:
            facts["error.message"] = failure.message
        self.errors[attempt.step_id] = StepError(
            attempt.step_id, attempt.attempt, outcome, failure.error_type, failure.message, failure.traceback
        )

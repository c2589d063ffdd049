"""Facts about what goes wrong: errors, retries, conditions, timeouts, cancellations, workers that die."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import executor
from executor import Attempt, Instrument, Retry, Run, Step, Workflow
from executor.engine.instruments import WatchedRun
from executor.record.timeline import NANOSECONDS, StepStatus
from harness.testing.backends.backend_case import BackendFacts, needs, step, unless
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import HEARTBEAT_SECONDS, STEPS, note, notes

# Long enough to be noticed where a call is waited for that should have been stopped.
LONG_SECONDS = 20.0
SHORT_SECONDS = 0.3


class ErrorFacts(BackendFacts):
    """Steps that fail."""

    @needs("tools")
    def test_an_error_carries_the_traceback_of_its_worker(self) -> None:
        run = self.run(step("a", "deeply", depth=3))
        error = run.errors["a"]
        assert (error.error_type, error.message, error.outcome) == ("ValueError", "from the bottom", "failed")
        assert error.traceback.count("in deeply") >= 3
        assert "in fail" in error.traceback

    def test_a_failure_skips_what_depends_on_it_and_nothing_else(self) -> None:
        run = self.run(
            step("a", "flaky", fail_times=1),
            step("b", "noop", depends_on=("a",)),
            step("c", "noop", depends_on=("b",)),
            step("d", "noop"),
            step("e", "noop", depends_on=("d",)),
        )
        assert run.statuses == {"a": "failed", "b": "skipped", "c": "skipped", "d": "succeeded", "e": "succeeded"}

    def test_on_failure_stop_ends_the_run_and_keeps_what_was_done(self) -> None:
        run = self.run(
            step("a", "noop"),
            step("b", "flaky", fail_times=1, depends_on=("a",), on_failure="stop"),
            step("c", "noop", depends_on=("a",), priority=-1),
            step("d", "noop", depends_on=("c",)),
            workers=1,
        )
        assert run.statuses == {"a": "succeeded", "b": "failed", "c": "cancelled", "d": "cancelled"}
        assert "a" in run.outputs

    @needs("tools")
    def test_errors_that_cannot_be_sent_are_told_all_the_same(self) -> None:
        run = self.run(step("a", "local_error"), step("b", "mute"), step("c"))
        assert run.statuses == {"a": "failed", "b": "failed", "c": "succeeded"}
        assert (run.errors["a"].error_type, run.errors["a"].message) == ("LocalError", "local trouble")
        assert run.errors["b"].error_type == "MuteError"

    @needs("tools")
    def test_a_step_that_wants_to_end_the_program_fails_and_no_more(self) -> None:
        run = self.run(step("a", "leave"), step("b", "interrupt"), step("c", "stop_iteration"), step("d"))
        assert run.statuses == {"a": "failed", "b": "failed", "c": "failed", "d": "succeeded"}
        assert run.errors["a"].error_type == "SystemExit"
        assert run.errors["b"].error_type == "KeyboardInterrupt"

    @needs("tools")
    def test_a_template_that_fails_is_its_steps_failure(self) -> None:
        run = self.run(step("a", value=1), step("b", value="{{ steps.a.output.nothing }}"), step("c"))
        assert run.statuses == {"a": "succeeded", "b": "failed", "c": "succeeded"}
        assert "nothing" in run.errors["b"].message

    @needs("tools")
    @unless("unpicklable")
    def test_an_output_that_cannot_travel_is_named(self) -> None:
        run = self.run(step("a", "lock"), step("b"))
        assert run.statuses == {"a": "failed", "b": "succeeded"}
        assert "'a'" in run.errors["a"].message
        assert "lock" in run.errors["a"].message
        assert "pickle" in run.errors["a"].message

    @needs("tools", "unpicklable")
    def test_an_output_that_cannot_be_pickled_comes_back(self) -> None:
        assert self.run(step("a", "lock")).ok


class RetryFacts(BackendFacts):
    """Steps that are tried again, and conditions."""

    def test_a_flaky_step_is_tried_again_and_every_attempt_is_recorded(self) -> None:
        run = self.run(step("a", "flaky", fail_times=2, retry=Retry(max_attempts=3, backoff_seconds=0.001)))
        assert [attempt.outcome for attempt in run.timeline.attempts] == ["failed", "failed", "succeeded"]
        assert [attempt.attempt for attempt in run.timeline.attempts] == [1, 2, 3]
        assert run.ok
        assert run.errors == {}

    def test_a_step_whose_attempts_are_used_up_has_failed(self) -> None:
        run = self.run(step("a", "flaky", fail_times=9, retry=Retry(max_attempts=3, backoff_seconds=0)))
        assert run.statuses == {"a": "failed"}
        assert run.errors["a"].attempt == 3

    def test_a_backoff_is_waited_for(self) -> None:
        retry = Retry(max_attempts=3, backoff_seconds=0.05, multiplier=2, jitter="none")
        run = self.run(step("a", "flaky", fail_times=2, retry=retry))
        first, second, third = run.timeline.attempts
        assert second.granted - (first.known or 0) >= 50_000_000
        assert third.granted - (second.known or 0) >= 100_000_000

    def test_many_short_backoffs_all_end(self) -> None:
        retry = Retry(max_attempts=400, backoff_seconds=0.001, multiplier=1)
        run = self.run(*(step(f"s{i}", "flaky", fail_times=400, retry=retry) for i in range(3)), workers=3)
        assert [error.attempt for error in run.errors.values()] == [400, 400, 400]

    def test_others_run_during_a_backoff(self) -> None:
        # It is longer than any machine takes for the others. The last of them stops the run.
        retry = Retry(max_attempts=2, backoff_seconds=3600, jitter="none")
        others = [step(f"s{i}", "noop", priority=-1) for i in range(5)]
        last = step("last", "flaky", fail_times=1, on_failure="stop", depends_on=tuple(one.step_id for one in others))
        run = self.run(step("a", "flaky", fail_times=1, retry=retry), *others, last, workers=1)
        assert [attempt.step_id for attempt in run.timeline.attempts] == ["a", *(f"s{i}" for i in range(5)), "last"]
        assert run.statuses["a"] == "failed"

    @needs("tools")
    def test_an_error_that_no_attempt_can_help_is_final(self) -> None:
        run = self.run(step("a", "refuse", message="never", retry=Retry(max_attempts=5, backoff_seconds=0)))
        assert len(run.timeline.attempts) == 1
        assert run.errors["a"].message == "never"

    @needs("tools")
    def test_a_wait_that_the_step_asks_for_is_kept(self, tmp_path: Path) -> None:
        retry = Retry(max_attempts=2, backoff_seconds=0)
        run = self.run(step("a", "later", folder=str(tmp_path), seconds=0.2, retry=retry))
        first, second = run.timeline.attempts
        assert second.granted - (first.known or 0) >= 200_000_000
        assert run.outputs == {"a": "at last"}

    @needs("tools")
    def test_conditions_decide_at_run_time(self) -> None:
        run = self.run(
            step("a", "double", value=3),
            step("big", when="steps.a.output > 100"),
            step("small", when="steps.a.output < 100"),
            step("after", depends_on=("big",)),
        )
        assert run.statuses == {"a": "succeeded", "big": "skipped", "small": "succeeded", "after": "succeeded"}


class NotesTheEnd(Instrument):
    """Adds a line to the notes when a step has ended."""

    def __init__(self, step_id: str, folder: Path) -> None:
        self._step_id = step_id
        self._folder = folder

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        """Note it."""
        if attempt.step_id == self._step_id:
            note(str(self._folder), "over")


class TimeoutFacts(BackendFacts):
    """Steps that take too long."""

    @needs("interrupts")
    def test_a_timeout_fails_its_step_and_the_others_go_on(self) -> None:
        run = self.run(
            step("slow", "sleep", seconds=LONG_SECONDS, timeout=SHORT_SECONDS),
            step("fine", "noop"),
            step("after", "noop", depends_on=("slow",)),
        )
        assert run.statuses == {"slow": "failed", "fine": "succeeded", "after": "skipped"}
        assert run.errors["slow"].outcome == "timed_out"
        assert run.timeline.makespan_seconds < LONG_SECONDS

    @needs("interrupts", "replaces")
    def test_a_slot_is_free_again_after_a_timeout(self) -> None:
        assert self.replaces("sleep", LONG_SECONDS) < LONG_SECONDS

    def replaces(self, tool: str, seconds: float) -> float:
        """When a step ended for which there was no worker until the timeouts of those before it."""
        slow = [step(f"slow{i}", tool, seconds=seconds, timeout=SHORT_SECONDS) for i in range(self.worker_count())]
        run = self.run(*slow, step("last", "noop", priority=-1))
        assert run.statuses["last"] == "succeeded"
        return next(attempt.ended or 0 for attempt in run.timeline.attempts if attempt.step_id == "last") / NANOSECONDS

    @needs("interrupts", "replaces")
    def test_a_step_past_its_timeout_is_tried_again(self) -> None:
        retry = Retry(max_attempts=2, backoff_seconds=0)
        run = self.run(step("a", "sleep", seconds=LONG_SECONDS, timeout=SHORT_SECONDS, retry=retry))
        assert [attempt.outcome for attempt in run.timeline.attempts] == ["timed_out", "timed_out"]

    def test_a_timeout_that_is_kept_changes_nothing(self) -> None:
        run = self.run(step("a", "sleep", seconds=0.001, timeout=60.0), step("b", "noop", depends_on=("a",)))
        assert run.ok

    @needs("tools", "interrupts", "stops_functions")
    def test_a_function_past_its_timeout_is_stopped(self, tmp_path: Path) -> None:
        assert self.stops("beat", tmp_path)

    @needs("tools", "interrupts", "stops_coroutines")
    def test_a_coroutine_past_its_timeout_is_stopped(self, tmp_path: Path) -> None:
        assert self.stops("beat_async", tmp_path)

    def stops(self, tool: str, folder: Path) -> bool:
        """Whether a call ends when its timeout is over: it gives no sign of life any more, while the run goes on."""
        self.run(
            # One that is not stopped is seen after "then", however late a busy machine comes to that.
            step("a", tool, folder=str(folder), seconds=LONG_SECONDS, timeout=SHORT_SECONDS),
            step("over", "await_note", folder=str(folder), text="over", priority=-1),
            # The call was asked to stop; a moment later it must have.
            step("pause", "sleep", seconds=3 * SHORT_SECONDS, depends_on=("over",)),
            step("then", "note", folder=str(folder), text="then", depends_on=("pause",)),
            step("longer", "sleep", seconds=10 * HEARTBEAT_SECONDS, depends_on=("then",)),
            workers=2,
            instruments=[NotesTheEnd("a", folder)],
        )
        found = notes(folder)
        # With one worker the step after it ran after it, so that only the beats after "then" count; and where there are
        # fewer workers than it says, that step may have waited until the call was through.
        return "beat" in found and "through" not in found and "beat" not in found[found.index("then") :]


class Canceller(Instrument):
    """Cancels the run, from another thread, when a step starts."""

    def __init__(self, step_id: str) -> None:
        self._step_id = step_id
        self._engine: WatchedRun | None = None
        self.thread: Any = None

    def run_started(self, engine: WatchedRun) -> None:
        """Keep the engine."""
        self._engine = engine

    def attempt_started(self, attempt: Attempt) -> None:
        """Cancel, soon: hooks must not call the engine."""
        import threading  # noqa: PLC0415  # for this instrument alone

        if attempt.step_id == self._step_id and self._engine is not None:
            self.thread = threading.Timer(SHORT_SECONDS, self._engine.cancel)
            self.thread.start()


class CancellationFacts(BackendFacts):
    """Runs that are cancelled."""

    @needs("tools", "interrupts")
    def test_a_cancelled_run_starts_nothing_more_and_ends_soon(self) -> None:
        canceller = Canceller("slow")
        run = self.run(
            step("quick", "noop"),
            step("slow", "sleep", seconds=LONG_SECONDS, depends_on=("quick",)),
            step("after", "noop", depends_on=("slow",)),
            instruments=[canceller],
        )
        canceller.thread.join()
        assert run.statuses == {"quick": "succeeded", "slow": "cancelled", "after": "cancelled"}
        assert run.timeline.makespan_seconds < LONG_SECONDS

    @needs("tools", "interrupts")
    def test_cancelling_arun_cancels_the_run(self, tmp_path: Path) -> None:
        steps = (
            step("a", "note", folder=str(tmp_path), text="a"),
            step("b", "sleep", seconds=LONG_SECONDS, depends_on=("a",)),
            step("c", "note", folder=str(tmp_path), text="c", depends_on=("b",)),
        )

        async def main() -> None:
            task = asyncio.ensure_future(self.arun(*steps))
            while not notes(tmp_path):  # noqa: ASYNC110  # written by another process
                await asyncio.sleep(0.01)
            await asyncio.sleep(SHORT_SECONDS)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

        began = time.monotonic()
        asyncio.run(main())
        assert time.monotonic() - began < LONG_SECONDS
        assert notes(tmp_path) == ["a"]

    async def arun(self, *steps: Step, **options: Any) -> Run:
        """Run these steps in this event loop, watched."""
        watched = watch(self.make(), patience_seconds=self.patience_seconds)
        return await executor.arun(Workflow(steps=steps), backend=watched, tools=STEPS, **options)


class DeathFacts(BackendFacts):
    """Workers that die."""

    @needs("tools", "survives_death")
    def test_a_step_whose_worker_dies_is_run_again(self, tmp_path: Path) -> None:
        run = self.run(step("a", "die", folder=str(tmp_path), times=1, text="a"), *(step(f"s{i}") for i in range(8)))
        assert run.ok, run.errors
        assert notes(tmp_path) == ["a", "a"]
        died = [attempt.outcome for attempt in run.timeline.attempts if attempt.step_id == "a"]
        assert died == ["worker_died", "succeeded"]

    @needs("tools", "survives_death")
    def test_a_step_that_is_not_idempotent_is_not_run_again(self, tmp_path: Path) -> None:
        run = self.run(
            step("a", "die", folder=str(tmp_path), times=1, text="a", idempotent=False), step("b", depends_on=("a",))
        )
        assert run.statuses == {"a": "failed", "b": "skipped"}
        assert run.errors["a"].outcome == "worker_died"
        assert notes(tmp_path) == ["a"]

    @needs("tools", "survives_death")
    def test_a_step_that_always_kills_its_worker_fails_alone(self, tmp_path: Path) -> None:
        run = self.run(step("a", "die", folder=str(tmp_path), times=99, text="a"), step("b"), workers=1)
        assert run.statuses == {"a": "failed", "b": "succeeded"}
        assert len(notes(tmp_path)) == 3

    @needs("tools", "survives_death")
    def test_steps_run_after_every_worker_has_died(self, tmp_path: Path) -> None:
        names = [f"d{i}" for i in range(self.worker_count())]
        steps = [step(name, "die", folder=str(tmp_path), times=1, text=name) for name in names]
        run = self.run(*steps, step("last", depends_on=tuple(names)))
        assert run.statuses["last"] == "succeeded", run.errors

"""The monitor: completions in, starts out, the record kept.

::

    backend ── completions ──▶ advance() ── starts ──▶ backend
                                  │ one lock: record, finish, start, tell the instruments
                                  ▼
                              Scheduler (pure)

Rules of this module:
- Whoever brings a completion calls :meth:`Engine.advance` and runs what it returns; there is no loop thread.
- It knows no backend by name: only :class:`Driver`, what an engine asks of one.
- Late and repeated completions are dropped and counted; they never change the record.
- Times are nanoseconds since t = 0 (:meth:`Engine.begin`), by the backend's clock.
"""

from __future__ import annotations

import time
from collections import ChainMap, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from threading import Lock
from typing import Any, ClassVar

from executor.calls import Calls, Resume
from executor.dependencies import Graph
from executor.driver import Answer, Driver, Request
from executor.instruments import Instrument, Instruments
from executor.mapping import MappedItems
from executor.nested_calls import Outcome
from executor.outcomes import Completion, Failure, StepError
from executor.rendering import Renderer
from executor.scheduler import Policy, Scheduler
from executor.timeline import NANOSECONDS, Attempt, AttemptOutcome
from executor.toolbox import Toolbox
from executor.tools.base import RunContext, Tool, ToolContext
from executor.workflow import Resource, Step

# How long a call that was told to stop may take, where nothing else of the run can move.
STALL_GRACE_NANOSECONDS = 2 * NANOSECONDS


class Engine:
    """One run of a graph. See the head of this module."""

    # What decides; the testing kit puts one here that is watched.
    scheduler_class: ClassVar[type[Scheduler]] = Scheduler

    def __init__(
        self,
        graph: Graph,
        tools: Mapping[str, Tool],
        driver: Driver,
        *,
        slots: int,
        policy: Policy = "dataflow",
        resources: Mapping[str, Resource] | None = None,
        context: RunContext | None = None,
        instruments: Sequence[Instrument] = (),
        toolbox: Toolbox | None = None,
    ) -> None:
        self.graph = graph
        self.context = context or RunContext()
        self.outputs: dict[str, Any] = {}
        self.errors: dict[str, StepError] = {}
        self.warnings: list[str] = []
        self.dropped_completions = 0
        # What tools told beside their attempts (span attributes), of the few that did.
        self.facts: dict[Attempt, dict[str, Any]] = {}
        self.instruments = Instruments(instruments)
        self.origin = 0
        self.crash: BaseException | None = None
        self._driver = driver
        self._clock = driver.clock
        self._lock = Lock()
        # Of those due at one instant the first to start comes first.
        self._deadlines: list[tuple[int, int, Attempt]] = []
        self._deadline_numbers = count()
        self._contexts: dict[Attempt, ToolContext] = {}
        self._stops: list[Attempt] = []
        self._told_wake: int | None = None
        self._give_up_at: int | None = None
        self._cancel_requested = False
        # Requests of those who run no step, for the one who waits.
        self._asked: deque[Request] = deque()
        # A step whose `when` is false satisfies its dependants: templates see null.
        self._null_outputs: dict[str, None] = {}
        self.items = MappedItems(self, driver.assume_items)
        visible = ChainMap[str, Any](self.outputs, self._null_outputs)
        # What running steps may call.
        self.toolbox = toolbox or Toolbox(tools, resources, tools)
        self.renderer = Renderer(self.toolbox.tools, self.context, visible, self.items.variables)
        self.scheduler = self.scheduler_class(
            slots,
            policy=policy,
            resources=resources,
            seed=self.context.seed,
            condition=self._condition,
            items=self.items,
        )
        self.calls = Calls(self.scheduler)
        self.scheduler.add(graph, 0)
        self._watches_start = self.instruments.watches("attempt_started")
        self._watches_finish = self.instruments.watches("attempt_finished")
        # Nobody watches single attempts, nothing has a deadline: `succeed` may take the short way.
        self._plain = not (self._watches_start or self._watches_finish)

    # ------------------------------------------------------------------ what a backend calls

    def now(self) -> int:
        """Nanoseconds since t = 0."""
        return self._clock() - self.origin

    @property
    def backend_name(self) -> str:
        """Where the steps run."""
        return str(getattr(self._driver, "name", ""))

    @property
    def simulates(self) -> bool:
        """Whether its clock is not the machine's."""
        return self._clock is not time.perf_counter_ns

    @property
    def done(self) -> bool:
        """Every step is final, or the engine itself broke (see ``crash``)."""
        return self.scheduler.done or self.crash is not None

    def begin(self) -> list[Attempt]:
        """The first starts, at t = 0."""
        self.instruments.call("run_started", self)
        self.origin = self._clock()
        return self._advance((), at_zero=True)

    def advance(self, completions: Iterable[Completion] = (), requests: Iterable[Request] = ()) -> list[Attempt]:
        """Record completions, carry out requests, then say what starts now. From any thread.

        The caller sees to it that each attempt returned is run once (:meth:`prepare` gives its call).
        """
        return self._advance(completions, requests)

    def _advance(
        self, completions: Iterable[Completion], requests: Iterable[Request] = (), *, at_zero: bool = False
    ) -> list[Attempt]:
        with self._lock:
            try:
                now = 0 if at_zero else self._clock() - self.origin
                for completion in completions:
                    self._record(completion, now)
                if self._deadlines:
                    self._expire(now)
                for request in requests:
                    request(now)
                while self._asked:
                    self._asked.popleft()(now)
                if self._cancel_requested:
                    self._cancel_requested = False
                    self.scheduler.cancel(now)
                if self.scheduler.cancelled_attempts:
                    self._note_cancelled(now)
                if self.calls:
                    self.calls.unblock_finished(now)
                starts = self.scheduler.start(now)
                self._watch_for_stall(starts, now)
                self._after(starts, now)
                resumes = self._take_resumes(starts) if self.calls else None
            except BaseException as error:
                self._break(error)
                raise
        if self._stops:
            self._stop_calls()
        if resumes:
            for resume, goes_on in resumes:
                resume(goes_on)
            starts = [attempt for attempt in starts if not attempt.blocked]
        return starts

    def succeed(
        self, attempt: Attempt, started: int, ended: int, worker: str, cpu_seconds: float | None, output: Any
    ) -> list[Attempt]:
        """:meth:`advance` for one attempt that ended well, in the fewest steps: what every plain run is made of."""
        lock = self._lock
        # Nobody held the lock: the end is known as it happens, and one look at the clock is saved.
        now = ended
        if not lock.acquire(False):
            lock.acquire()
            now = self._clock() - self.origin
        try:
            scheduler = self.scheduler
            if self._plain and scheduler.plain and attempt.outcome is None and not self._cancel_requested:
                attempt.started = started
                attempt.ended = ended
                attempt.worker = worker
                attempt.cpu_seconds = cpu_seconds
                self.outputs[attempt.step_id] = output
                starts = scheduler.succeed(attempt, now)
                if starts is not None:
                    if not scheduler.remaining:
                        self._driver.notify()
                    return starts
        except BaseException as error:
            self._break(error)
            raise
        finally:
            lock.release()
        return self.advance(((attempt, started, ended, worker, cpu_seconds, "succeeded", output, None),))

    def prepare(
        self, attempt: Attempt, *, simulated: bool = False
    ) -> tuple[Tool, ToolContext, str | None, Mapping[str, Any]]:
        """The call of an attempt: tool, context, rendered prompt and arguments. The context is kept until the call's
        end, so that it can be told to stop, unless it is only ``simulated``.

        Raises:
            Exception: a template cannot be rendered; that is a failed attempt.
        """
        step = self.scheduler.steps[attempt.index]
        context = ToolContext(self.context, attempt.step_id, attempt.attempt, step.expected_seconds, step.timeout)
        if not simulated:
            self._contexts[attempt] = context
        tool, prompt, args = self.renderer.work(step, attempt.index)
        return tool, context, prompt, args

    def started(self, attempt: Attempt, at: int, worker: str) -> None:
        """An attempt of a step with a timeout has really started: its time runs from now on."""
        timeout = self.scheduler.steps[attempt.index].timeout
        if timeout is None:
            return
        with self._lock:
            if attempt.outcome is not None:
                return
            attempt.started = max(at, attempt.granted)
            attempt.worker = worker
            deadline = attempt.started + round(timeout * NANOSECONDS)
            self._plain = False
            heappush(self._deadlines, (deadline, next(self._deadline_numbers), attempt))
            sooner = self._told_wake is None or deadline < self._told_wake
            if sooner:
                self._told_wake = deadline
        if sooner:
            self._driver.notify()

    def call_request(
        self,
        attempt: Attempt,
        steps: Sequence[Step],
        resume: Resume | None,
        answer: Answer,
        *,
        at_once: int | None = None,
        again: Resume | None = None,
    ) -> Request:
        """What :meth:`advance` does for a running step that makes calls: see :meth:`executor.calls.Calls.request`."""
        return self.calls.request(attempt, steps, resume, answer, at_once, again)

    def outcome_of(self, step_id: str) -> Outcome:
        """How a call ended that is final."""
        status = self.scheduler.status(self.scheduler.index[step_id])
        if status == "succeeded":
            return Outcome(step_id, self.outputs[step_id])
        error = self.errors.get(step_id)
        if error is None:
            return Outcome(step_id, None, Failure("Cancelled", "it was cancelled"))
        return Outcome(step_id, None, Failure(error.error_type, error.message, error.traceback))

    def wake_at(self) -> int | None:
        """When :meth:`advance` is due although nothing completes: a backoff, a rate or a timeout; else None."""
        with self._lock:
            self._told_wake = self._next_wake()
            return self._told_wake

    def cancel(self) -> None:
        """Cancel the run: what runs is stopped if that is possible, the rest never starts. From any thread."""
        self._cancel_requested = True
        self.advance()

    def ask(self, request: Request) -> None:
        """Have a request carried out soon by the one who waits for the run, who also runs what it brings about. From
        any thread, and for those who run no step themselves.
        """
        self._asked.append(request)
        self._driver.notify()

    def cancel_later(self) -> None:
        """:meth:`cancel` for those whose thread must not carry it out."""
        self._cancel_requested = True
        self._driver.notify()

    def request_cancel(self) -> None:
        """The same from a signal handler: a flag alone; the one who waits must call :meth:`advance` next."""
        self._cancel_requested = True

    # ------------------------------------------------------------------ under the lock

    def _break(self, error: BaseException) -> None:
        """A fault of ours: the waiting caller must hear of it, whichever thread it came up in."""
        self.crash = error
        self._driver.notify()

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

    def _expire(self, now: int) -> None:
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, _, attempt = heappop(deadlines)
            if attempt.outcome is not None:
                continue
            attempt.ended = now
            timeout = self.scheduler.steps[attempt.index].timeout
            message = f"no end after its timeout of {timeout:g} s"
            self._note_failure(attempt, "timed_out", Failure("Timeout", message))
            status = self.scheduler.finish(attempt, "timed_out", now, abandoned=not self._driver.stops_at_once)
            self._stops.append(attempt)
            if self._watches_finish:
                self.instruments.call("attempt_finished", attempt, status)

    def _watch_for_stall(self, starts: Sequence[Attempt], now: int) -> None:
        """Where only abandoned calls could move the run on, wait a little (they were told to stop), then end it."""
        if starts or not self.scheduler.stalled:
            self._give_up_at = None
        elif self._give_up_at is None:
            self._give_up_at = now + STALL_GRACE_NANOSECONDS
        elif now >= self._give_up_at:
            self._give_up_at = None
            self._give_up(now)

    def _give_up(self, now: int) -> None:
        names = sorted({attempt.step_id for attempt in self.scheduler.abandoned})
        self.warnings.append(
            f"the run ended because nothing else could move: the call of {', '.join(map(repr, names))} goes on "
            "past its timeout and keeps its limits and locks"
        )
        self.scheduler.give_up(now)

    def _after(self, starts: list[Attempt], now: int) -> None:
        scheduler = self.scheduler
        if scheduler.cancelled_attempts:
            self._note_cancelled(now)
        if self._watches_start:
            for attempt in starts:
                self.instruments.call("attempt_started", attempt)
        if not scheduler.remaining:
            self._driver.notify()
            return
        wake = scheduler.wake_at() if self._give_up_at is None else self._give_up_at
        if wake is not None and (self._told_wake is None or wake < self._told_wake):
            self._told_wake = wake
            self._driver.notify()

    def _take_resumes(self, starts: Sequence[Attempt]) -> list[tuple[Resume, bool]]:
        found = [(resume, False) for resume in self.calls.abandoned()]
        for attempt in starts:
            if attempt.blocked:
                found += [(resume, True) for resume in self.calls.resumed(attempt)]
        return found

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

    def _next_wake(self) -> int | None:
        while self._deadlines and self._deadlines[0][2].outcome is not None:
            heappop(self._deadlines)
        wake = self.scheduler.wake_at() if self._give_up_at is None else self._give_up_at
        if self._deadlines and (wake is None or self._deadlines[0][0] < wake):
            return self._deadlines[0][0]
        return wake

    def _condition(self, index: int) -> bool:
        """Evaluate the `when` of a step; what it raises is that step's failure."""
        step = self.scheduler.steps[index]
        try:
            holds = self.renderer.condition(step)
        except Exception as error:
            failure = Failure.of(error)
            self.errors[step.step_id] = StepError(
                step.step_id, 0, "failed", failure.error_type, f"its `when` cannot be evaluated: {failure.message}"
            )
            raise
        if not holds:
            self._null_outputs[step.step_id] = None
        return holds

    # ------------------------------------------------------------------ outside the lock

    def _stop_calls(self) -> None:
        while self._stops:
            attempt = self._stops.pop()
            context = self._contexts.get(attempt)
            if context is not None:
                context.cancel()
            self._driver.cancel(attempt)


__all__ = ["Answer", "Completion", "Driver", "Engine", "Failure", "Request", "StepError"]

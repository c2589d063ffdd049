"""The monitor: completions in, starts out, the record kept.

::

    backend ── completions ──▶ advance() ── starts ──▶ backend
                                  │ one lock: record, finish, start, call the instruments
                                  ▼
                              Scheduler (pure)

Rules of this module:
- The thread that brings a completion calls :meth:`Engine.advance` and runs what it returns; there is no loop thread.
- It knows no backend by name: only :class:`Driver`, what an engine asks of one.
- Late and repeated completions are dropped and counted; they never change the record.
- It alone has the lock, and it alone wakes the waiting thread. :class:`.RunRecord` writes down, :class:`.Deadlines`
  says what is due; both are used under that lock.
- Times are nanoseconds since t = 0 (:meth:`Engine.begin`), by the backend's clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from executor.child_steps.child_request import Outcome
from executor.dependencies import Graph
from executor.engine.brief_lock import BriefLock
from executor.engine.child_step_links import ChildSteps, Resume
from executor.engine.deadlines import NEVER, Deadlines
from executor.engine.driver import Answer, Driver, Request
from executor.engine.instruments import Instrument, Instruments
from executor.engine.keeping import EarlierResults, Keeper
from executor.engine.mapped_items import MappedItems
from executor.engine.rendering import Renderer
from executor.engine.reuse import Reuse
from executor.engine.run_record import RunRecord, VisibleOutputs
from executor.engine.simulated_outputs import SimulatedOutputs
from executor.model.device_needs import HeldDevices
from executor.model.workflow import Resource, Step
from executor.record.outcomes import Completion, Failure, StepError
from executor.record.remote_outputs import RemoteOutputs
from executor.record.timeline import Attempt, ClockReading, Timeline
from executor.scheduler import Policy, Scheduler
from executor.templates.render_budget import UnknownValueError
from executor.tools.tool import RunContext, Tool, ToolContext
from executor.tools.toolbox import Toolbox


class Engine:
    """One run of a graph. See the head of this module."""

    # The testing kit has watched ones here.
    scheduler_class: ClassVar[type[Scheduler]] = Scheduler
    items_class: ClassVar[type[MappedItems]] = MappedItems

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
        earlier: EarlierResults | None = None,
    ) -> None:
        self.graph = graph
        self.context = context or RunContext()
        self.origin = 0
        self.crash: BaseException | None = None
        # Of workers with another clock than the driver's, what is known of it: written by the backend.
        self.clocks: Mapping[str, ClockReading] = {}
        self.instruments = Instruments(instruments)
        self.record = RunRecord(
            self.context, self.instruments, stops_at_once=driver.stops_at_once, outputs_may_stay=driver.outputs_may_stay
        )
        self._driver = driver
        self._clock = driver.clock
        self._lock = BriefLock()
        # No instrument watches single attempts, and nobody asked for an end of the run: the short ways may be taken.
        self._plain = not (self.record.watches_start or self.record.watches_finish)
        self._note_end: Callable[[Attempt], None] | None = None
        # Whether the run was asked to be cancelled, and that was not carried out yet.
        self.cancel_requested = False
        # Requests of those who run no step, for the one who waits.
        self._asked: deque[Request] = deque()
        # What running steps may call.
        self.toolbox = toolbox or Toolbox(tools, resources, tools)
        outputs: Mapping[str, Any] = VisibleOutputs(self.record.outputs, self.record.null_outputs)
        visible = SimulatedOutputs(outputs) if self.simulates else outputs
        self.renderer = Renderer(self.toolbox.tools, self.context, visible)
        if isinstance(self.record.outputs, RemoteOutputs):
            self.renderer.remote = self.record.outputs
        self.items = self.items_class(self.record, self.renderer, driver.assume_items)
        self.scheduler = self.record.scheduler = self.scheduler_class(
            slots,
            policy=policy,
            resources=resources,
            seed=self.context.seed,
            condition=self._condition,
            items=self.items,
            reuse=None if earlier is None else Reuse(earlier, self.record, self.renderer),
        )
        if self.scheduler.limits.pools:
            self.renderer.devices_of = self.devices_of
        self.deadlines = Deadlines(self.scheduler)
        self.child_steps = ChildSteps(self.scheduler)
        self.scheduler.add(graph, 0)

    def keep_with(self, keeper: Keeper) -> None:
        """Add a listener that keeps what happens; before :meth:`begin`, and before workers are started."""
        self._note_end = self.record.note_end = keeper.attempt_ended
        self.renderer.keeper = keeper

    def note_ends(self, note: Callable[[Attempt], None]) -> None:
        """Have somebody hear of each end, after a keeper; under the lock: only note it. Before :meth:`begin`."""
        before = self._note_end

        def both(attempt: Attempt) -> None:
            if before is not None:
                before(attempt)
            note(attempt)

        self._note_end = self.record.note_end = note if before is None else both

    # ------------------------------------------------------------------ what is known of the run

    @property
    def outputs(self) -> dict[str, Any]:
        """By step id: of those that have succeeded."""
        return self.record.outputs

    @property
    def errors(self) -> dict[str, StepError]:
        """By step id: of the last attempt that failed, unless a later one succeeded."""
        return self.record.errors

    @property
    def warnings(self) -> list[str]:
        """What the person who reads the result should know."""
        return self.record.warnings

    @property
    def facts(self) -> dict[Attempt, dict[str, Any]]:
        """Span attributes that tools wrote beside their attempts."""
        return self.record.facts

    @property
    def dropped_completions(self) -> int:
        """How many completions came twice, or too late to count."""
        return self.record.dropped_completions

    def outcome_of(self, step_id: str) -> Outcome:
        """How a child step ended that is final."""
        return self.record.outcome_of(step_id)

    def timeline(self, startup_seconds: float = 0.0) -> Timeline:
        """The record so far."""
        timeline = self.scheduler.timeline(backend=self.backend_name, startup_seconds=startup_seconds)
        timeline.clocks = self.clocks
        return timeline

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
                record = self.record
                for completion in completions:
                    record.complete(completion, now)
                if now >= self.deadlines.next_timeout:
                    self._expire(now)
                for request in requests:
                    request(now)
                while self._asked:
                    self._asked.popleft()(now)
                if self.cancel_requested and not self.scheduler.has_handed_out:
                    self.carry_out_cancel(now)
                if self.scheduler.cancelled_attempts:
                    record.note_cancelled(now)
                if self.child_steps:
                    self.child_steps.unblock_finished(now)
                starts = self._start(now)
                self._after(starts, now)
                resumes = self._take_resumes(starts) if self.child_steps else None
            except BaseException as error:
                self._break(error)
                raise
        if record.to_stop:
            self._stop_calls()
        if resumes:
            for resume, goes_on in resumes:
                resume(goes_on)
            starts = [attempt for attempt in starts if not attempt.blocked]
        return starts

    def succeed(
        self,
        attempt: Attempt,
        started: int,
        ended: int,
        worker: str,
        cpu_seconds: float | None,
        output: Any,
        late: bool = False,
    ) -> list[Attempt]:
        """:meth:`advance` for one attempt that ended well, in the fewest steps: what every plain run is made of. Its
        context has no facts and no tokens to be recorded.

        ``late``: some time has passed since it ended.
        """
        lock = self._lock
        starts: list[Attempt] | None = None
        resumes: Sequence[Resume] = ()
        # The lock was free: the end is known as it happens, and one look at the clock is saved.
        now = ended
        if late or not lock.try_acquire():
            lock.acquire()
            now = self._clock() - self.origin
        try:
            scheduler = self.scheduler
            if self._plain and scheduler.short and attempt.outcome is None and now < self.deadlines.next_timeout:
                attempt.started = started
                attempt.ended = ended
                attempt.worker = worker
                attempt.cpu_seconds = cpu_seconds
                record = self.record
                record.outputs[attempt.step_id] = output
                if record.contexts:
                    record.contexts.pop(attempt, None)
                if attempt.parent is None:
                    starts = scheduler.succeed(attempt, now)
                else:
                    starts, resumes = self._succeed_child_step(attempt, attempt.parent, now)
                if starts is not None:
                    if self._note_end is not None:
                        self._note_end(attempt)
                    if not scheduler.remaining:
                        self._driver.notify()
        except BaseException as error:
            self._break(error)
            raise
        finally:
            lock.release()
        if starts is None:
            return self.advance(((attempt, started, ended, worker, cpu_seconds, "succeeded", output, None),))
        for resume in resumes:
            resume(True)
        return starts

    def succeed_together(self, completions: Sequence[Completion]) -> list[Attempt] | None:
        """:meth:`advance` for attempts that all ended well, and at this instant: what a plain simulation is made of.
        None: not a plain case, that has to be done the long way.
        """
        with self._lock:
            try:
                scheduler = self.scheduler
                now = self._clock() - self.origin
                if not (self._plain and scheduler.short) or self._asked:
                    return None
                if now >= self.deadlines.next_timeout:
                    return None
                outputs = self.record.outputs
                attempts = []
                for attempt, started, ended, worker, cpu_seconds, outcome, output, tokens_used in completions:
                    if outcome != "succeeded" or tokens_used is not None or attempt.outcome is not None:
                        return None
                    attempt.started = started
                    attempt.ended = ended
                    attempt.worker = worker
                    attempt.cpu_seconds = cpu_seconds
                    # A condition that this decides reads it. In the long way it is written again.
                    outputs[attempt.step_id] = output
                    attempts.append(attempt)
                starts = scheduler.succeed_together(attempts, now)
                if starts is None:
                    return None
                if self._note_end is not None:
                    for attempt in attempts:
                        self._note_end(attempt)
                if not scheduler.remaining:
                    self._driver.notify()
            except BaseException as error:
                self._break(error)
                raise
        return starts

    def start_child_alone(self, attempt: Attempt, step: Step, resume: Resume) -> Attempt | None:
        """What :meth:`child_step_request` and :meth:`advance` do for a single child step that the running ``attempt``
        waits for, in the fewest steps. It starts, and nothing else; ``resume`` follows. None: that has to be done the
        long way, nothing has happened.
        """
        with self._lock:
            try:
                if not self._plain or self.deadlines.next_timeout != NEVER or self._asked:
                    return None
                now = self._clock() - self.origin
                child = self.scheduler.call(attempt, step, now)
                if child is not None:
                    self.child_steps.wait_for_one(attempt, child, resume)
            except BaseException as error:
                self._break(error)
                raise
        return child

    def started(self, attempt: Attempt, at: int, worker: str) -> None:
        """An attempt of a step with a timeout has really started, not only got its slot: its time runs from now on."""
        timeout = self.scheduler.steps[attempt.index].timeout
        if timeout is None:
            return
        with self._lock:
            if attempt.outcome is not None:
                return
            attempt.started = max(at, attempt.granted)
            attempt.worker = worker
            sooner = self.deadlines.add(attempt, timeout)
        if sooner:
            self._driver.notify()

    def wake_at(self) -> int | None:
        """When :meth:`advance` is due although nothing completes: a backoff, a rate or a timeout; else None."""
        with self._lock:
            return self.deadlines.wake_at()

    def prepare(self, attempt: Attempt) -> tuple[Tool, ToolContext, str | None, Mapping[str, Any]]:
        """The call of an attempt: tool, context, rendered prompt and arguments. The context is kept until the call's
        end, so that it can be asked to stop.

        Raises:
            Exception: a template cannot be rendered; that is a failed attempt.
        """
        context = self._context_of(attempt)
        self.record.contexts[attempt] = context
        tool, prompt, args = self.renderer.work(self.scheduler.steps[attempt.index], attempt.index)
        return tool, context, prompt, args

    def prepare_simulated(self, attempt: Attempt) -> tuple[Tool, ToolContext, str | None, Mapping[str, Any], bool]:
        """The same where no tool runs, and whether prompt and arguments are known: see
        :meth:`.Renderer.simulated_work`.

        Raises:
            Exception: a template cannot be rendered, whatever the outputs; that is a failed attempt.
        """
        step = self.scheduler.steps[attempt.index]
        tool, prompt, args, known = self.renderer.simulated_work(step, attempt.index)
        return tool, self._context_of(attempt), prompt, args, known

    def _context_of(self, attempt: Attempt) -> ToolContext:
        step = self.scheduler.steps[attempt.index]
        expected, timeout, devices = step.expected_seconds, step.timeout, attempt.devices
        return ToolContext(self.context, attempt.step_id, attempt.attempt, expected, timeout, devices)

    def devices_of(self, index: int) -> HeldDevices | None:
        """By kind, the ids of the devices that a step has now; None where it has none."""
        attempt = self.scheduler.live_attempt(index)
        return None if attempt is None else attempt.devices

    def child_step_request(
        self,
        attempt: Attempt,
        steps: Sequence[Step],
        resume: Resume | None,
        answer: Answer,
        *,
        at_once: int | None = None,
        again: Resume | None = None,
    ) -> Request:
        """What :meth:`advance` does for a running step that asks for child steps: see :meth:`.ChildSteps.request`."""
        return self.child_steps.request(attempt, steps, resume, answer, at_once, again)

    def cancel(self) -> None:
        """Cancel the run: what runs is stopped if that is possible, the rest never starts. From any thread."""
        self.request_cancel()
        self.advance()
        if self.cancel_requested:
            self._driver.notify()

    def carry_out_cancel(self, now: int) -> None:
        """What :meth:`advance` does for a driver that has handed steps out ahead: it finds out first which of them have
        begun. Any other cancellation is carried out as soon as it is asked for.
        """
        self.cancel_requested = False
        self.scheduler.cancel(now)

    def ask(self, request: Request) -> None:
        """Have a request carried out soon by the one who waits for the run, who also runs what it brings about. From
        any thread, and for those who run no step themselves.
        """
        self._asked.append(request)
        self._driver.notify()

    def cancel_later(self) -> None:
        """:meth:`cancel` for those whose thread must not carry it out."""
        self.request_cancel()
        self._driver.notify()

    def request_cancel(self) -> None:
        """The same from a signal handler: flags alone; the one who waits must call :meth:`advance` next."""
        self._plain = False
        self.cancel_requested = True

    # ------------------------------------------------------------------ under the lock

    def _succeed_child_step(
        self, attempt: Attempt, parent: str, now: int
    ) -> tuple[list[Attempt] | None, Sequence[Resume]]:
        """The short way for a child step: what starts, and what resumes its parent. None: not a plain case."""
        scheduler = self.scheduler
        above = scheduler.live_attempt(scheduler.index[parent])
        after = self.child_steps.after_success(attempt, above)
        if after == "unchanged":
            return scheduler.succeed(attempt, now), ()
        if after == "comes_back" and above is not None and scheduler.come_back(attempt, above, now):
            return [], self.child_steps.came_back(above)
        return None, ()

    def _expire(self, now: int) -> None:
        for attempt in self.deadlines.expired(now):
            self.record.time_out(attempt, now)

    def _break(self, error: BaseException) -> None:
        """A fault of ours: the waiting caller must hear of it, whichever thread it came up in."""
        self.crash = error
        self._driver.notify()

    def _after(self, starts: list[Attempt], now: int) -> None:
        scheduler = self.scheduler
        if self.deadlines.is_stalled(starts, now):
            self.record.give_up(now)
        if scheduler.cancelled_attempts:
            self.record.note_cancelled(now)
        if self.record.watches_start:
            for attempt in starts:
                self.instruments.call("attempt_started", attempt)
        if not scheduler.remaining or self.deadlines.is_sooner():
            self._driver.notify()

    def _start(self, now: int) -> list[Attempt]:
        scheduler = self.scheduler
        starts = scheduler.start(now)
        # Calls ended without having run: those that wait for them go on at the same instant.
        while scheduler.ended_unrun:
            scheduler.ended_unrun = False
            if self.child_steps:
                self.child_steps.unblock_finished(now)
                starts += scheduler.start(now)
        return starts

    def _take_resumes(self, starts: Sequence[Attempt]) -> list[tuple[Resume, bool]]:
        found = [(resume, False) for resume in self.child_steps.abandoned()]
        for attempt in starts:
            if attempt.blocked:
                found += [(resume, True) for resume in self.child_steps.resumed(attempt)]
        return found

    def _condition(self, index: int) -> bool:
        """Evaluate the `when` of a step; what it raises is that step's failure."""
        step = self.scheduler.steps[index]
        try:
            holds = self.renderer.condition(step)
        except UnknownValueError:
            # Only on the virtual clock: what is longer is more likely to be asked for.
            self.record.warnings.append(
                f"the condition of step {step.step_id!r} is only known in a run: taken to hold (expected_outputs)"
            )
            holds = True
        except Exception as error:
            self.record.note_failed_rule(step.step_id, "its `when` cannot be evaluated", error)
            raise
        if not holds:
            self.record.null_outputs[step.step_id] = None
        return holds

    # ------------------------------------------------------------------ outside the lock

    def _stop_calls(self) -> None:
        record = self.record
        while record.to_stop:
            attempt = record.to_stop.pop()
            context = record.contexts.get(attempt)
            if context is not None:
                context.cancel()
            self._driver.cancel(attempt)


__all__ = ["Answer", "Completion", "Driver", "Engine", "Failure", "Request", "StepError"]

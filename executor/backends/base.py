"""Where a step runs: what every backend is to the engine, and what they share.

Rules of this module:
- A backend knows no graph: it runs the attempts that the engine hands it and brings back their ends.
- The clock belongs to the backend (nanoseconds, never backwards).
- :meth:`Backend.drive` returns when the engine is done; the caller waits in it for the end, for what falls due, and for
  an interrupt.
- Nothing is left running after :meth:`Backend.close`, except threads whose call cannot be stopped: these are named.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar, Self

from executor.backends.attempt_timing import SHORT_NANOSECONDS, CpuClock, TimedAttempt
from executor.backends.auto_reset_event import AutoResetEvent
from executor.child_steps.child_request import Caller
from executor.child_steps.step_context import Place, enter_place
from executor.engine.engine import Engine, Failure
from executor.interrupts import LONGEST_WAIT_SECONDS
from executor.model.workflow import Step
from executor.record.outcomes import outcome_of
from executor.record.timeline import NANOSECONDS, Attempt
from executor.tools.tool import ToolContext, run_call

if TYPE_CHECKING:
    import asyncio

DEFAULT_WORKERS = 8


class BackendError(Exception):
    """A backend cannot do what was asked: the message says what and why."""


def patience_seconds(engine: Engine) -> float:
    """How long the thread that waits for the run may wait before it looks again."""
    wake_at = engine.wake_at()
    if wake_at is None:
        return LONGEST_WAIT_SECONDS
    return min(LONGEST_WAIT_SECONDS, max(0.0, (wake_at - engine.now()) / NANOSECONDS))


class Backend:
    """The base of all backends. ``workers`` None means :meth:`default_workers`; ``options`` belong to the subclass."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    # What `--backend-option` may set: keyword arguments of the class that take text, with their meanings.
    options: ClassVar[Mapping[str, str]] = {}
    # A virtual clock: durations are stated, no tool runs.
    simulates: ClassVar[bool] = False
    # A call that was asked to stop has stopped by then (see `executor.engine.engine.Driver`).
    stops_at_once: bool = False
    # Each call has an environment for itself, which names its devices.
    own_environments: ClassVar[bool] = False
    outputs_may_stay: bool = False
    # As a context manager it keeps its workers from run to run; else each run starts its own.
    keeps_workers: ClassVar[bool] = False

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise BackendError(f"{self.name} needs at least 1 worker, not {workers}")
        self.capacity = self.default_workers() if workers is None else workers
        self.warnings: list[str] = []
        # By step: the call that needs no context (filled by subclasses that run calls in this process).
        self.calls: list[Callable[[], Any] | None] = []
        self._wake = AutoResetEvent()
        # Whether it is shared among runs: inside of a `with` block.
        self._kept = False
        self.clock: Callable[[], int] = time.perf_counter_ns
        self._local = threading.local()

    @classmethod
    def default_workers(cls) -> int:
        """How many workers there are by default."""
        return DEFAULT_WORKERS

    def __enter__(self) -> Self:
        """Share it among runs, one after the other: ``with find_backend("processes")(4) as backend: run(…,
        backend=backend)``. Its workers may be kept until the block ends (:attr:`keeps_workers`).
        """
        self._kept = True
        return self

    def __exit__(self, *_: object) -> None:
        """The workers that were kept end."""
        self._kept = False
        self.close()

    def open(self, engine: Engine) -> None:
        """Bring the workers up; the time that it takes is `startup_seconds` and no part of the makespan."""

    def drive(self, engine: Engine) -> None:
        """Run the engine to its end."""
        raise NotImplementedError

    async def drive_async(self, engine: Engine) -> None:
        """The same in the caller's event loop; by default :meth:`drive` in a helper thread. When it is cancelled, so is
        the run, and the thread is waited for.
        """
        import asyncio  # noqa: PLC0415  # who runs no coroutine does not pay for its import

        driving = asyncio.ensure_future(asyncio.to_thread(self.drive, engine))
        try:
            await asyncio.shield(driving)
        except asyncio.CancelledError:
            engine.cancel()
            # The caller asked for the end and gets it; any other error has no reader left.
            with suppress(Exception):
                await driving
            raise

    def cancel(self, attempt: Attempt) -> None:
        """Stop the call of an attempt if that is possible (its context is cancelled already)."""

    def assume_items(self, step: Step) -> int:
        """How many items a mapped step is taken to have where only a run could know. Not asked where tools run."""
        raise NotImplementedError(f"{self.name} runs tools: it knows the list of step {step.step_id!r}")

    def notify(self) -> None:
        """Wake the one who waits in :meth:`wait`. Safe in a signal handler and from any thread."""
        self._wake.set()

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        self.close_runner()

    # ------------------------------------------------------------------ for subclasses

    def wait(self, engine: Engine, dispatch: Callable[[list[Attempt]], None]) -> None:
        """Wait until the engine is done; call :meth:`Engine.advance` when something falls due."""
        while not engine.done:
            self._wake.wait(patience_seconds(engine))
            if not engine.done:
                dispatch(engine.advance())
        if engine.crash is not None:
            raise engine.crash

    def enter(self, engine: Engine, caller: Caller | None = None) -> Place:
        """Called by a worker of this process, in its own thread or task, before its first step. ``caller`` makes the
        calls of its steps.
        """
        place = Place(engine, caller)
        enter_place(place)
        engine.instruments.call("worker_started", place)
        return place

    def runner(
        self,
        engine: Engine,
        worker: str,
        caller: Caller | None = None,
        cpu_clock: CpuClock | None = None,
        calls: Sequence[Callable[[], Any] | None] | None = None,
    ) -> Callable[[Attempt], list[Attempt]]:
        """What a worker of this process does with an attempt: run it in its own thread, advance the engine with its
        end, and return what starts. A closure, since looking things up costs a short step a tenth of its time.
        ``calls``: by step, those that need no context; by default :attr:`calls`.
        """
        clock, succeed = self.clock, engine.succeed
        calls = self.calls if calls is None else calls
        count = len(calls)
        steps, late_call = engine.scheduler.steps, engine.renderer.late_call
        cpu_clock = cpu_clock or CpuClock()
        place = self.enter(engine, caller)

        def run(attempt: Attempt) -> list[Attempt]:
            index = attempt.index
            call = calls[index] if index < count else late_call(steps[index], asynchronous=False)
            origin = engine.origin
            started = clock() - origin
            if attempt.outcome is not None:
                # It was cancelled while it lay in the backlog: its call has ended before it began.
                return engine.advance(((attempt, started, started, worker, None, "cancelled", None, None),))
            place.running = attempt
            if call is None:
                return self._run_with_context(engine, attempt, worker, cpu_clock)
            if steps[index].timeout is not None:
                engine.started(attempt, started, worker)
            if started - cpu_clock.wall > SHORT_NANOSECONDS:
                cpu_clock.read(started)
            try:
                output = call()
            except BaseException as error:  # noqa: BLE001  # whatever a step raises is its failure alone
                ended = clock() - origin
                cpu = cpu_clock.stop(started, ended)
                failure = Failure.of(error)
                return engine.advance(((attempt, started, ended, worker, cpu, outcome_of(error), failure, None),))
            ended = clock() - origin
            cpu = None if ended - started < SHORT_NANOSECONDS else cpu_clock.stop(started, ended)
            return succeed(attempt, started, ended, worker, cpu, output)

        return run

    def _run_with_context(self, engine: Engine, attempt: Attempt, worker: str, cpu_clock: CpuClock) -> list[Attempt]:
        context: ToolContext | None = None
        with TimedAttempt(engine.now, cpu_clock) as run:
            tool, context, prompt, args = engine.prepare(attempt)
            if context.timeout_seconds is not None:
                engine.started(attempt, run.started, worker)
            run.value = run_call(tool, context, prompt, args, self.run_async)
        if run.outcome == "succeeded" and context is not None and nothing_noted(context):
            return engine.succeed(attempt, run.started, run.ended, worker, run.cpu_seconds, run.value)
        tokens_used = None if context is None else context.tokens_used
        return engine.advance(
            ((attempt, run.started, run.ended, worker, run.cpu_seconds, run.outcome, run.value, tokens_used),)
        )

    def run_async(self, awaitable: Any) -> Any:
        """Run a coroutine to its end in this thread; the event loop is kept for the next one."""
        runner: asyncio.Runner | None = getattr(self._local, "runner", None)
        if runner is None:
            import asyncio  # noqa: PLC0415  # who runs no coroutine does not pay for its import

            runner = self._local.runner = asyncio.Runner()
        # By itself a runner keeps the context of its first coroutine: calls would know another place than their own.
        return runner.run(awaitable, context=copy_context())

    def close_runner(self) -> None:
        """Close this thread's event loop, if :meth:`run_async` made one."""
        runner: asyncio.Runner | None = getattr(self._local, "runner", None)
        if runner is not None:
            del self._local.runner
            runner.close()


def nothing_noted(context: ToolContext) -> bool:
    """Whether a call left nothing beside its output: then :meth:`.Engine.succeed` may take its end."""
    return context.facts is None and context.tokens_used is None


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

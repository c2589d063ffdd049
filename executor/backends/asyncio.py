"""`asyncio`: worker coroutines in one event loop; coroutine tools run natively, plain functions in threads.

Rules of this module:
- Coroutines run in the loop's thread: a worker coroutine runs its call, advances the engine, keeps the best start and
  hands the others over. Where that is a plain function, it lends the worker to a thread, which does the same for one
  plain function after the other, and comes back with a step that is none, or without one. Where calls are short, the
  loop sleeps meanwhile.
- There is always one worker that can run for each slot. A worker whose call ignores its cancellation is lost: another
  takes its place, and it ends when the call returns. One whose step waits for its calls is made up for, too; too
  many end when they have nothing to do.
- The coroutine of a step that waits for a single call runs the call itself, if that is a coroutine function: a call
  costs no turn of the loop. A call with a timeout, or that needs a thread, runs elsewhere: it may have to be given up
  while it still runs, and the step must not wait for that. Its task is the step's: who cancels the one cancels the
  other first.
- Calls that never wait hold up the others only for a short time: now and then the loop runs between two of them.
"""

from __future__ import annotations

import asyncio
import select
import socket
from _thread import get_ident
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from executor.backends.attempt_timing import CpuClock, TimedAttempt
from executor.backends.base import Backend, BackendError, nothing_noted, patience_seconds
from executor.backends.child_steps import EngineCaller
from executor.backends.daemon_threads import DaemonThreads
from executor.child_steps.child_request import ChildRequest, Outcomes
from executor.child_steps.step_context import Place
from executor.engine.engine import Engine, Failure
from executor.record.outcomes import outcome_of
from executor.record.timeline import Attempt
from executor.shortages import shortage
from executor.tools.tool import ToolContext, ToolError

# So many workers more than slots may wait for the next step that has to wait for its calls.
SPARE_WORKERS = 2


class LoopWorker:
    """A worker coroutine: what it runs and where it parks."""

    __slots__ = ("attempt", "lost", "name", "parked", "task", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempt: Attempt | None = None
        self.parked: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.lost = False
        # Who of its step waits for calls.
        self.waiting: set[object] = set()


class AsyncioBackend(Backend):
    """Steps as coroutines of one event loop; right for very many steps that wait."""

    name = "asyncio"
    summary = "coroutines of one event loop; plain functions run in threads"

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self._idle: list[LoopWorker] = []
        self._backlog: deque[Attempt] = deque()
        self._thread_calls: Sequence[Callable[[], Any] | None] = ()
        self._workers: list[LoopWorker] = []
        self._engine: Engine | None = None
        self._started_workers = 0
        self._loop_thread = 0
        self._threads = DaemonThreads("makespan-asyncio")
        # The run is over: its workers end.
        self.ending = False
        self._waking = False
        # A thread has asked the loop to wake a worker.
        self._wake_asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def open(self, engine: Engine) -> None:
        self.calls = engine.renderer.direct_calls(engine.graph.steps, asynchronous=True)
        self._thread_calls = ()
        if any(tool.call_async is None for tool in engine.renderer.tools.values()):
            self._thread_calls = engine.renderer.direct_calls(engine.graph.steps, asynchronous=False)

    def drive(self, engine: Engine) -> None:
        try:
            # What an event loop opens. One that cannot leaves a traceback and a coroutine without an awaiter.
            with select.epoll():
                for end in socket.socketpair():
                    end.close()
        except OSError as error:
            raise BackendError(f"asyncio: the event loop cannot be made: {shortage(error) or error}") from error
        asyncio.run(self._drive_and_close(engine))

    async def _drive_and_close(self, engine: Engine) -> None:
        """In a loop of our own, connections that belong to it have to be closed in it."""
        try:
            await self.drive_async(engine)
        finally:
            for tool in engine.renderer.tools.values():
                await tool.close_async()

    async def drive_async(self, engine: Engine) -> None:
        # Another run may have been before, which left its workers.
        self.ending = self._waking = self._wake_asked = False
        self._idle, self._workers = [], []
        self._backlog = deque()
        self._started_workers = 0
        self._threads = DaemonThreads("makespan-asyncio")
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._loop_thread = get_ident()
        self._make_up()
        try:
            self._hand_out(engine.begin())
            await self._wait_async(engine, self._changed)
        finally:
            await self._end_workers()
        if engine.crash is not None:
            raise engine.crash

    def notify(self) -> None:
        loop, changed = self._loop, self._changed
        if loop is not None and changed is not None and not loop.is_closed():
            loop.call_soon_threadsafe(changed.set)

    def cancel(self, attempt: Attempt) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel_here, attempt)

    def close(self) -> None:
        over = self._engine is None or self._engine.done
        self._threads.close(calls_go_on=not over or any(worker.lost for worker in self._workers))
        super().close()

    # ------------------------------------------------------------------ in the loop

    async def _wait_async(self, engine: Engine, changed: asyncio.Event) -> None:
        while not engine.done:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds(engine)):
                    await changed.wait()
            changed.clear()
            if not engine.done:
                self._hand_out(engine.advance())

    async def _end_workers(self) -> None:
        self.ending = True
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        # A call that ignores its cancellation must not hold up the end of the run.
        _, stuck = await asyncio.wait(tasks, timeout=1.0)
        names = [worker.attempt.step_id for worker in self._workers if worker.task in stuck and worker.attempt]
        if names:
            self.warnings.append(f"the call of {', '.join(map(repr, names))} ignores its cancellation and goes on")

    def _cancel_here(self, attempt: Attempt) -> None:
        worker = next((worker for worker in self._workers if worker.attempt is attempt), None)
        if worker is None or worker.lost or worker.task is None:
            return
        worker.lost = True
        worker.task.cancel()
        self._make_up()

    def is_here(self) -> bool:
        """Whether this is the loop's thread."""
        return get_ident() == self._loop_thread

    def dispatch(self, starts: list[Attempt]) -> None:
        """Run what the calls of a step bring about. From any thread."""
        if self.is_here():
            self._dispatch_here(starts)
        elif self._loop is not None:
            # Of a loop that is closed the run is over.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._dispatch_here, starts)

    def _dispatch_here(self, starts: list[Attempt]) -> None:
        self._hand_out(starts)
        self._make_up()

    def _make_up(self) -> None:
        """See to it that there is a worker that can run for each slot."""
        engine = self._engine
        if engine is None or engine.done or self.ending:
            return
        for _ in range(engine.scheduler.slots - self._able()):
            self._started_workers += 1
            worker = LoopWorker(f"coroutine-{self._started_workers}")
            self._workers.append(worker)
            worker.task = asyncio.ensure_future(self._work(worker, engine))

    def _able(self) -> int:
        return sum(not (worker.lost or worker.waiting) for worker in self._workers)

    async def _work(self, worker: LoopWorker, engine: Engine) -> None:
        clock, calls, name, backlog = self.clock, self.calls, worker.name, self._backlog
        steps, late_call, succeed = engine.scheduler.steps, engine.renderer.late_call, engine.succeed
        place = self.enter(engine, LoopCaller(self, engine, worker))
        # As it is before any step has set anything.
        context, lent = copy_context(), None
        while (attempt := await self._next(worker, engine.scheduler.slots)) is not None:
            origin = engine.origin
            while attempt is not None:
                worker.attempt = place.running = attempt
                index = attempt.index
                call = calls[index] if index < len(calls) else late_call(steps[index], asynchronous=True)
                if attempt.outcome is not None:
                    # It was cancelled while it lay in the backlog: its call has ended before it began.
                    now = clock() - origin
                    starts = engine.advance(((attempt, now, now, name, None, "cancelled", None, None),))
                elif call is None and self._needs_thread(attempt):
                    lent = lent or self._lent(worker, engine, context)
                    starts = await self._in_thread(lent, attempt)
                elif call is None:
                    starts = await self._run_with_context_async(engine, attempt, name)
                else:
                    started = clock() - origin
                    if steps[index].timeout is not None:
                        engine.started(attempt, started, name)
                    try:
                        output = await call()
                    except BaseException as error:  # noqa: BLE001  # a step's failure; its cancellation too
                        ended = clock() - origin
                        failure = Failure.of(error)
                        starts = engine.advance(
                            ((attempt, started, ended, name, None, outcome_of(error), failure, None),)
                        )
                    else:
                        starts = succeed(attempt, started, clock() - origin, name, None, output)
                if worker.lost or self.ending:
                    worker.attempt = None
                    self._hand_out(starts)
                    return
                if len(starts) == 1 and not backlog:
                    # As `_keep_one` does, without a call.
                    attempt = starts[0]
                    continue
                worker.attempt = None
                attempt = _keep_one(backlog, starts, self._wake_one)

    async def _run_with_context_async(self, engine: Engine, attempt: Attempt, worker: str) -> list[Attempt]:
        context: ToolContext | None = None
        with TimedAttempt(engine.now) as run:
            tool, context, prompt, args = engine.prepare(attempt)
            if context.timeout_seconds is not None:
                engine.started(attempt, run.started, worker)
            if tool.call_async is None:
                raise ToolError(f"tool {tool.name!r} implements neither call nor call_async", retryable=False)
            run.value = await tool.call_async(context, prompt, args)
        if run.outcome == "succeeded" and context is not None and nothing_noted(context):
            return engine.succeed(attempt, run.started, run.ended, worker, run.cpu_seconds, run.value)
        tokens_used = None if context is None else context.tokens_used
        return engine.advance(
            ((attempt, run.started, run.ended, worker, run.cpu_seconds, run.outcome, run.value, tokens_used),)
        )

    # ------------------------------------------------------------------ plain functions

    def _needs_thread(self, attempt: Attempt) -> bool:
        assert self._engine is not None
        tool = self._engine.renderer.tools.get(self._engine.scheduler.steps[attempt.index].tool or "")
        return tool is not None and tool.call_async is None and tool.call is not None

    async def _in_thread(self, lent: Callable[[Attempt], list[Attempt]], attempt: Attempt) -> list[Attempt]:
        """Run a plain function, and those that follow, in a thread. At most one attempt, which this worker is to run
        next.
        """
        future = self._threads.submit(asyncio.get_running_loop(), partial(lent, attempt))
        with suppress(asyncio.CancelledError):
            await asyncio.shield(future)
        if not future.done():
            # The call goes on in its thread and keeps its limits until it returns, unless the run is over.
            future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            if self.ending:
                return []
            await asyncio.wait([future])
        following: list[Attempt] = future.result()
        return following

    def _lent(self, worker: LoopWorker, engine: Engine, context: Context) -> Callable[[Attempt], list[Attempt]]:
        """What a thread does to which the worker is lent; each step in a copy of ``context``."""
        cpu_clock = CpuClock()
        caller = LoopCaller(self, engine, worker, context.copy())
        backlog = self._backlog
        run = context.run(self.runner, engine, worker.name, caller, cpu_clock, self._thread_calls)

        def run_in_turn(first: Attempt) -> list[Attempt]:
            attempt: Attempt | None = first
            # Another thread may have read it.
            cpu_clock.forget()
            while attempt is not None and self._needs_thread(attempt):
                worker.attempt = attempt
                # What one step sets there is not seen by the next.
                starts = context.copy().run(run, attempt)
                worker.attempt = None
                if self.ending or self._engine is not engine:
                    # It was given up, and the run is over; the next one may be on its way.
                    return []
                if worker.lost:
                    self.dispatch(starts)
                    return []
                attempt = _keep_one(backlog, starts, self._ask_to_wake)
            return [] if attempt is None else [attempt]

        return run_in_turn

    def _ask_to_wake(self) -> None:
        """From a thread that has put something into the backlog."""
        if not self._wake_asked and self._loop is not None:
            self._wake_asked = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake_as_asked)

    def _wake_as_asked(self) -> None:
        self._wake_asked = False
        self._wake_one()

    # ------------------------------------------------------------------ parked workers

    async def _next(self, worker: LoopWorker, slots: int) -> Attempt | None:
        while (attempt := _oldest(self._backlog)) is None:
            assert self._loop is not None
            if len(self._workers) > slots and self._able() > slots + SPARE_WORKERS:
                self._workers.remove(worker)
                return None
            worker.parked = self._loop.create_future()
            self._idle.append(worker)
            await worker.parked
            self._waking = False
        self._wake_one()
        return attempt

    def _hand_out(self, starts: list[Attempt]) -> None:
        self._backlog.extend(starts)
        self._wake_one()

    def _wake_one(self) -> None:
        """Wake one parked worker if there is work; it wakes the next. Where calls never wait, one wakes in vain."""
        if self._waking or not self._backlog:
            return
        while self._idle:
            parked = self._idle.pop().parked
            if parked is not None and not parked.done():
                parked.set_result(None)
                self._waking = True
                return


def _keep_one(backlog: deque[Attempt], starts: list[Attempt], wake: Callable[[], None]) -> Attempt | None:
    """What a worker whose step has brought about these starts runs next; the others go into the backlog."""
    if len(starts) == 1:
        if not backlog:
            return starts[0]
        # Those in the backlog were granted before; the worker that was woken for them is on its way.
        backlog.append(starts[0])
    elif starts:
        backlog.extend(starts)
        wake()
    return _oldest(backlog)


def _oldest(backlog: deque[Attempt]) -> Attempt | None:
    """A thread may take what is there before who asks does."""
    try:
        return backlog.popleft()
    except IndexError:
        return None


# ---------------------------------------------------------------------- child steps

# A step that makes one call after the other lets others have their turn this often.
TURN_NANOSECONDS = 1_000_000


class LoopCaller(EngineCaller):
    """Makes the calls of what one worker runs: in the loop's thread, or in that of a plain function."""

    def __init__(
        self, backend: AsyncioBackend, engine: Engine, worker: LoopWorker, context: Context | None = None
    ) -> None:
        super().__init__(engine)
        self._backend = backend
        self._worker = worker
        # As it is before any step has set anything.
        self._context = copy_context() if context is None else context
        self._below: tuple[Context, Place] | None = None
        # When others had their turn for certain, between two calls of this one.
        self._turned_at = 0

    def dispatch(self, starts: list[Attempt]) -> None:
        self._backend.dispatch(starts)

    def blocked(self, who: object) -> None:
        self._worker.waiting.add(who)

    def resumed(self, who: object) -> None:
        self._worker.waiting.discard(who)

    def call(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None = None) -> Outcomes:
        if self._backend.is_here():
            raise RuntimeError(
                "a coroutine that waits like this holds up every other step: write `await call_tool_async(…)`, "
                "`await call_tools_parallel_async(…)`"
            )
        return super().call(running, requests, at_once)

    async def call_async(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None = None) -> Outcomes:
        if len(requests) == 1 and asyncio.current_task() is self._worker.task:
            now = self._engine.now()
            if now - self._turned_at > TURN_NANOSECONDS:
                self._turned_at = now
                await asyncio.sleep(0)
            alone = _ChildAlone(self, running)
            own = self.start_alone(running, requests[0], alone.done, self._can_run)
            if own is not None:
                return await alone.run(own)
        return await super().call_async(running, requests, at_once)

    def _can_run(self, step: Any) -> bool:
        return self._engine.renderer.late_call(step, asynchronous=True) is not None

    def below(self) -> tuple[Context, Place]:
        """Where the calls of this caller's steps run: a context and its place."""
        if self._below is None:
            context = self._context.copy()
            caller = LoopCaller(self._backend, self._engine, self._worker, self._context)
            self._below = context, context.run(self._backend.enter, self._engine, caller)
        return self._below


class _ChildAlone:
    """A call that the coroutine of its step runs, and what the step hears of it."""

    def __init__(self, caller: LoopCaller, parent: Attempt) -> None:
        # Two halves of one thing.
        self._caller = caller
        self._backend, self._engine, self._worker = caller._backend, caller._engine, caller._worker  # noqa: SLF001
        self._parent = parent
        self._found: list[Outcomes] = []
        self._arrived: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._own: Attempt | None = None
        self._withdrawn = False

    def done(self, outcomes: Outcomes) -> None:
        """The step goes on, or is over. From any thread."""
        self._found.append(outcomes)
        arrived = self._arrived
        if arrived is not None:
            # No coroutine waits in a closed loop.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_set_arrived, arrived)

    async def run(self, own: Attempt) -> Outcomes:
        """Run the call, and wait until its step may go on."""
        worker, backend = self._worker, self._backend
        self._own = worker.attempt = own
        starts = await self._run(own)
        worker.attempt = self._parent
        if starts:
            backend.dispatch(starts)
        if not self._found:
            await self._wait()
        outcomes = self._found[0]
        if self._withdrawn or (outcomes is None and worker.lost):
            raise asyncio.CancelledError
        return outcomes

    async def _run(self, own: Attempt) -> list[Attempt]:
        engine, name = self._engine, self._worker.name
        context, place = self._caller.below()
        place.running = own
        call = engine.renderer.late_call(engine.scheduler.steps[own.index], asynchronous=True)
        assert call is not None
        started = engine.now()
        try:
            output = await _Within(context, call)
        except BaseException as error:  # noqa: BLE001  # the call's failure; its cancellation too
            ended = engine.now()
            if isinstance(error, asyncio.CancelledError):
                self._give_up()
            return engine.advance(((own, started, ended, name, None, "failed", Failure.of(error), None),))
        return engine.succeed(own, started, engine.now(), name, None, output)

    def _give_up(self) -> None:
        """A wait of the step was cancelled. If its task is, and its worker not lost, it waits for the call no more.

        A time limit inside the call cancels the task as well, but deals with that before it comes here; a call that
        only raises the error has failed.
        """
        own, task = self._own, asyncio.current_task()
        if self._worker.lost or own is None or self._withdrawn:
            return
        if task is None or not task.cancelling():
            return
        self._withdrawn = True
        # The outcomes are on their way already: it is not stopped a second time.
        self._worker.attempt = self._parent
        self._caller.withdraw(self._parent, [own.step_id])

    async def _wait(self) -> None:
        """The call goes on elsewhere (another attempt of it), or the step has to wait for a slot."""
        self._arrived = arrived = self._loop.create_future()
        if self._found:
            return
        self._worker.waiting.add(self)
        self._backend.dispatch([])
        try:
            await asyncio.shield(arrived)
        except asyncio.CancelledError:
            self._give_up()
            await asyncio.wait([arrived])
            raise
        finally:
            self._worker.waiting.discard(self)


class _Within:
    """Awaits what ``call`` gives in another context than the task's."""

    def __init__(self, context: Context, call: Callable[[], Awaitable[Any]]) -> None:
        self._context = context
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        run = self._context.run
        inner: Any = run(self._call).__await__()
        send, throw = inner.send, inner.throw
        try:
            waiting = run(send, None)
            while True:
                try:
                    given = yield waiting
                except BaseException as error:  # noqa: BLE001  # whatever the loop has to tell it
                    waiting = run(throw, error)
                else:
                    waiting = run(send, given)
        except StopIteration as end:
            return end.value


def _set_arrived(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)

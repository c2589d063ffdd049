"""`asyncio`: worker coroutines in one event loop; coroutine tools run natively, plain functions in threads.

Rules of this module:
- Everything happens in the loop's thread: a worker coroutine runs its call, advances the engine, keeps the best start
  and hands the others over. Only plain functions leave the loop, and only for their call.
- There is always one worker that can run for each slot. A worker whose call ignores its cancellation is lost: another
  takes its place, and it goes home when the call returns. One whose step waits for its calls is made up for, too; too
  many go home when they have nothing to do.
"""

from __future__ import annotations

import asyncio
import time
from _thread import get_ident
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from executor.backends.asyncio_calls import LoopCaller
from executor.backends.base import Backend, patience_seconds
from executor.backends.daemon_threads import DaemonThreads
from executor.engine.engine import Completion, Engine, Failure
from executor.record.outcomes import outcome_of
from executor.record.timeline import NANOSECONDS, Attempt, AttemptOutcome
from executor.tools.tool import Tool, ToolContext, ToolError

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
        self._workers: list[LoopWorker] = []
        self._engine: Engine | None = None
        self._started_workers = 0
        self._loop_thread = 0
        self._threads = DaemonThreads("makespan-asyncio")
        # The run is over, and its workers are told so.
        self.ending = False
        self._waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None

    def drive(self, engine: Engine) -> None:
        asyncio.run(self._drive_and_close(engine))

    async def _drive_and_close(self, engine: Engine) -> None:
        """In a loop of our own, connections that belong to it have to be closed in it."""
        try:
            await self.drive_async(engine)
        finally:
            for tool in engine.renderer.tools.values():
                await tool.close_async()

    async def drive_async(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.calls = engine.renderer.direct_calls(engine.graph.steps, asynchronous=True)
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
        self._threads.close()
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
        steps, late_call = engine.scheduler.steps, engine.renderer.late_call
        place = self.enter(engine, LoopCaller(self, engine, worker))
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
                elif call is None:
                    starts = engine.advance((await self._run_with_context_async(engine, attempt, name),))
                else:
                    started = clock() - origin
                    try:
                        output = await call()
                    except BaseException as error:  # noqa: BLE001  # a step's failure; its cancellation too
                        ended = clock() - origin
                        failure = Failure.of(error)
                        starts = engine.advance(((attempt, started, ended, name, None, "failed", failure, None),))
                    else:
                        starts = engine.succeed(attempt, started, clock() - origin, name, None, output)
                worker.attempt = None
                if worker.lost or self.ending:
                    self._hand_out(starts)
                    return
                if len(starts) == 1:
                    if not backlog:
                        attempt = starts[0]
                        continue
                    backlog.append(starts[0])
                elif starts:
                    self._hand_out(starts)
                attempt = backlog.popleft() if backlog else None

    async def _run_with_context_async(self, engine: Engine, attempt: Attempt, worker: str) -> Completion:
        started = engine.now()
        tokens_used: int | None = None
        cpu_seconds: float | None = None
        outcome: AttemptOutcome = "succeeded"
        value: Any
        try:
            tool, context, prompt, args = engine.prepare(attempt)
            if context.timeout_seconds is not None:
                engine.started(attempt, started, worker)
            try:
                if tool.call_async is not None:
                    value = await tool.call_async(context, prompt, args)
                else:
                    value, cpu_seconds = await self._in_thread(tool, context, prompt, args)
            finally:
                tokens_used = context.tokens_used
        except BaseException as error:  # noqa: BLE001  # a step's failure; its cancellation too
            outcome, value = outcome_of(error), Failure.of(error)
        return attempt, started, engine.now(), worker, cpu_seconds, outcome, value, tokens_used

    async def _in_thread(
        self, tool: Tool, context: ToolContext, prompt: str | None, args: Mapping[str, Any]
    ) -> tuple[Any, float]:
        call = tool.call
        if call is None:
            raise ToolError(f"tool {tool.name!r} implements neither call nor call_async", retryable=False)

        def measured() -> tuple[Any, float]:
            before = time.thread_time_ns()
            value = call(context, prompt, args)
            return value, (time.thread_time_ns() - before) / NANOSECONDS

        future = self._threads.submit(asyncio.get_running_loop(), measured)
        try:
            result: tuple[Any, float] = await asyncio.shield(future)
        except asyncio.CancelledError:
            # The call goes on in its thread and keeps its limits until it returns, unless the run is over. How it ends
            # matters to nobody.
            future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            if not self.ending:
                await asyncio.wait([future])
            raise
        return result

    async def _next(self, worker: LoopWorker, slots: int) -> Attempt | None:
        while not self._backlog:
            assert self._loop is not None
            if len(self._workers) > slots and self._able() > slots + SPARE_WORKERS:
                self._workers.remove(worker)
                return None
            worker.parked = self._loop.create_future()
            self._idle.append(worker)
            await worker.parked
            self._waking = False
        attempt = self._backlog.popleft()
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

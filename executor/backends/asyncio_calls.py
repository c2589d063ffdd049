"""Calls of steps that run in an event loop: whose coroutine does what while they wait.

Rules of this module:
- The coroutine of a step that waits for a single call runs the call itself, if that is a coroutine function: a call
  costs no turn of the loop. A call with a timeout, or that needs a thread, runs elsewhere: it may have to be given up
  while it still runs, and the step must not wait for that.
- Such a call runs in a context of its own, so that what it sets is not seen by the step that waits below it. Its task
  is the step's: who cancels the one cancels the other first.
- Calls that never wait hold up nobody for long: between two of them others get their turn now and then.
- Where a coroutine waits idly, its worker is marked as waiting, and the backend makes up for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from executor.backends.child_steps import EngineCaller
from executor.child_steps.child_request import Call, Outcomes
from executor.child_steps.step_context import Place
from executor.engine.engine import Engine, Failure
from executor.record.timeline import Attempt

if TYPE_CHECKING:
    from executor.backends.asyncio import AsyncioBackend, LoopWorker


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

    def call(self, running: Any, calls: Sequence[Call], at_once: int | None = None) -> Outcomes:
        if self._backend.is_here():
            raise RuntimeError(
                "a coroutine that waits like this holds up every other step: write `await call_tool_async(…)`, "
                "`await call_tools_parallel_async(…)`"
            )
        return super().call(running, calls, at_once)

    async def call_async(self, running: Any, calls: Sequence[Call], at_once: int | None = None) -> Outcomes:
        if len(calls) == 1 and asyncio.current_task() is self._worker.task:
            now = self._engine.now()
            if now - self._turned_at > TURN_NANOSECONDS:
                self._turned_at = now
                await asyncio.sleep(0)
            alone = _CallAlone(self, running)
            own = self.call_alone(running, calls[0], alone.done, self._can_run)
            if own is not None:
                return await alone.run(own)
        return await super().call_async(running, calls, at_once)

    def _can_run(self, step: Any) -> bool:
        return self._engine.renderer.late_call(step, asynchronous=True) is not None

    def below(self) -> tuple[Context, Place]:
        """Where the calls of this caller's steps run: a context and its place."""
        if self._below is None:
            context = self._context.copy()
            caller = LoopCaller(self._backend, self._engine, self._worker, self._context)
            self._below = context, context.run(self._backend.enter, self._engine, caller)
        return self._below


class _CallAlone:
    """A call that the coroutine of its step runs, and what the step hears of it."""

    def __init__(self, caller: LoopCaller, parent: Attempt) -> None:
        # Two halves of one thing.
        self._caller = caller
        self._backend, self._engine, self._worker = caller._backend, caller._engine, caller._worker  # noqa: SLF001
        self._parent = parent
        self._found: list[Outcomes] = []
        self._told: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._own: Attempt | None = None
        self._withdrawn = False

    def done(self, outcomes: Outcomes) -> None:
        """The step goes on, or is over. From any thread."""
        self._found.append(outcomes)
        told = self._told
        if told is not None:
            # A loop that is closed has nobody who waits.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_tell, told)

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
        # It is being told already, and is not to be stopped a second time.
        self._worker.attempt = self._parent
        self._caller.withdraw(self._parent, [own.step_id])

    async def _wait(self) -> None:
        """The call goes on elsewhere (another attempt of it), or the step has to wait for a slot."""
        self._told = told = self._loop.create_future()
        if self._found:
            return
        self._worker.waiting.add(self)
        self._backend.dispatch([])
        try:
            await asyncio.shield(told)
        except asyncio.CancelledError:
            self._give_up()
            await asyncio.wait([told])
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


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)

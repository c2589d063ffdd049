"""Calls of steps that run in threads: whose thread does what while they wait.

Rules of this module:
- The thread of a step that waits runs the step's own calls, one after the other: a call costs no change of threads, and
  nothing else can hold up the step's going on. A call with a timeout runs elsewhere: it may have to be given up while
  it still runs, and the step must not wait for that.
- Such a call runs in a context of its own, so that what it sets is not seen by the step that waits below it.
- Where a thread waits idly, its worker is marked as waiting, and the backend makes up for it.
"""

from __future__ import annotations

import asyncio
from _thread import allocate_lock, get_ident
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from executor.backends.base import CpuClock
from executor.backends.child_steps import Batch, EngineCaller
from executor.child_steps.child_request import Call, Outcomes
from executor.engine.engine import Engine
from executor.record.timeline import NANOSECONDS, Attempt

if TYPE_CHECKING:
    from executor.backends.threads import ThreadsBackend, Worker


class ThreadCaller(EngineCaller):
    """Makes the calls of what one thread runs. ``cpu_clock`` is that of the thread's steps."""

    def __init__(
        self,
        backend: ThreadsBackend,
        engine: Engine,
        worker: Worker,
        cpu_clock: CpuClock,
        context: Context | None = None,
    ) -> None:
        super().__init__(engine)
        self._backend = backend
        self._worker = worker
        self._cpu_clock = cpu_clock
        # As it is before any step has set anything.
        self._context = copy_context() if context is None else context
        self._run_call: Callable[[Attempt], list[Attempt]] | None = None

    def dispatch(self, starts: list[Attempt]) -> None:
        self._backend.hand_out(starts)
        self._backend.make_up()

    def blocked(self, who: object) -> None:
        self._worker.waiting.add(who)

    def resumed(self, who: object) -> None:
        self._worker.waiting.discard(who)

    def call(self, running: Any, calls: Sequence[Call], at_once: int | None = None) -> Outcomes:
        worker = self._worker
        if worker.thread is None or worker.thread.ident != get_ident() or _runs_a_loop():
            # A thread of the step's own, or one with a coroutine on it: it can do nothing but wait.
            return super().call(running, calls, at_once)
        found: list[Outcomes] = []
        told = allocate_lock()
        told.acquire()

        def done(outcomes: Outcomes) -> None:
            found.append(outcomes)
            told.release()

        own = self.call_alone(running, calls[0], done) if len(calls) == 1 else None
        if own is None:
            self._run_own(running, Batch(self, running, calls, at_once, done, notes=False).submit(), found)
        else:
            self._run_own(running, [own], found)
        if not found:
            worker.waiting.add(told)
            self._backend.make_up()
        told.acquire()
        worker.waiting.discard(told)
        return found[0]

    def _run_own(self, parent: Attempt, starts: list[Attempt], found: list[Outcomes]) -> None:
        """Run calls of ``parent`` in this thread, as long as there are some and it has to wait for them."""
        worker, clock = self._worker, self._engine.now
        while True:
            own = None if found or worker.lost else self._take_own(parent, starts)
            if starts:
                self._backend.hand_out(starts)
            if own is None:
                return
            began = clock()
            worker.attempt = own
            starts = self._runner()(own)
            worker.attempt = parent
            # What the call computed is not the step's; of short calls nobody knows it.
            measured = own.cpu_seconds
            self._cpu_clock.cpu += clock() - began if measured is None else round(measured * NANOSECONDS)

    def _take_own(self, parent: Attempt, starts: list[Attempt]) -> Attempt | None:
        steps = self._engine.scheduler.steps
        for place, attempt in enumerate(starts):
            if attempt.parent == parent.step_id and steps[attempt.index].timeout is None:
                return starts.pop(place)
        return None

    def _runner(self) -> Callable[[Attempt], list[Attempt]]:
        if self._run_call is None:
            context = self._context.copy()
            clock = CpuClock()
            caller = ThreadCaller(self._backend, self._engine, self._worker, clock, self._context)
            run = context.run(self._backend.runner, self._engine, self._worker.name, caller, clock)

            def run_call(attempt: Attempt) -> list[Attempt]:
                return context.run(run, attempt)

            self._run_call = run_call
        return self._run_call


def _runs_a_loop() -> bool:
    return asyncio._get_running_loop() is not None  # noqa: SLF001  # without the cost of an exception

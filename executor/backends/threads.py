"""`threads`: worker threads that share the engine's lock and need no loop thread.

::

    worker: run a step ─▶ advance() ─▶ keep the best start, hand the others to parked workers ─▶ run it …

Rules of this module:
- There is always one worker that can run for each slot of the scheduler. A worker whose call is past its timeout is
  lost: a new one takes its place, and it ends when the call returns.
- A thread that has none of its step's calls to run waits, and another takes its place; those too many end when they are
  idle.
- Starts that a worker does not keep go into the backlog, and a parked worker is woken for each. The first free worker
  takes the oldest: where steps are shorter than it takes a thread to wake, the worker that handed them out does.
- The thread of a step that waits runs the step's own calls, one after the other: a call costs no change of threads, and
  nothing else can hold up the step's going on. A call with a timeout runs elsewhere: it may have to be given up while
  it still runs, and the step must not wait for that. Each runs in a context of its own, so that what it sets is not
  seen by the step that waits below it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import Any

from executor.backends.attempt_timing import CpuClock
from executor.backends.base import Backend, BackendError
from executor.backends.child_steps import Batch, EngineCaller
from executor.child_steps.child_request import ChildRequest, Outcomes
from executor.engine.engine import Engine
from executor.record.timeline import NANOSECONDS, Attempt
from executor.shortages import shortage

# So many workers more than slots may wait for the next step that has to wait for its calls.
SPARE_WORKERS = 2
# How long close() waits for a worker that has nothing to do any more.
JOIN_SECONDS = 5.0
# How long, for all of them together, it waits for those whose call was given up.
LOST_JOIN_SECONDS = 0.5


class Worker:
    """A thread, the lock that it parks on, and what it is to run next."""

    __slots__ = ("attempt", "lost", "name", "parked", "stop", "thread", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.parked = threading.Lock()
        self.parked.acquire()
        self.attempt: Attempt | None = None
        self.stop = False
        self.lost = False
        # Who of its step waits for calls, and the thread with it: it cannot run anything else.
        self.waiting: set[object] = set()
        self.thread: threading.Thread | None = None


class ThreadsBackend(Backend):
    """Steps in threads of this process: right for steps that wait (network, programs, sleep)."""

    name = "threads"
    summary = "threads of this process; for steps that wait: network calls, programs"

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self._pool_lock = threading.Lock()
        self._idle: list[Worker] = []
        self._backlog: deque[Attempt] = deque()
        self._workers: list[Worker] = []
        self._engine: Engine | None = None
        self._started_workers = 0
        self._slots = self.capacity
        self._closing = False

    def open(self, engine: Engine) -> None:
        self.calls = engine.renderer.direct_calls(engine.graph.steps, asynchronous=False)
        # Another run may have been before, which left its workers.
        self._closing = False
        self._idle, self._workers = [], []
        self._backlog = deque()
        self._started_workers = 0
        self._engine = engine
        self._slots = engine.scheduler.slots
        try:
            self.make_up(at_least=self._slots)
        except RuntimeError as error:
            raise BackendError(f"threads: a worker cannot be started: {shortage(error) or error}") from error

    def drive(self, engine: Engine) -> None:
        self.hand_out(engine.begin())
        self.wait(engine, self.hand_out)

    def cancel(self, attempt: Attempt) -> None:
        """A thread cannot be stopped: its worker is lost, and another takes its place."""
        with self._pool_lock:
            worker = next((worker for worker in self._workers if worker.attempt is attempt), None)
            if worker is None or worker.lost:
                return
            worker.lost = True
        self.make_up()

    def close(self) -> None:
        with self._pool_lock:
            self._closing = True
            for worker in self._workers:
                worker.stop = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.parked.release()
        for worker in self._workers:
            if worker.thread is not None and not worker.lost:
                worker.thread.join(JOIN_SECONDS)
        # A cancelled program is being killed at this moment: its call is about to return.
        patience = time.monotonic() + LOST_JOIN_SECONDS
        for worker in self._workers:
            if worker.thread is not None and worker.lost:
                worker.thread.join(max(0.0, patience - time.monotonic()))
        stuck = [w.attempt.step_id for w in self._workers if w.attempt is not None and w.thread and w.thread.is_alive()]
        if stuck:
            self.warnings.append(
                f"the call of {', '.join(map(repr, stuck))} cannot be stopped on threads and goes on until it returns"
            )
        self._workers = []
        super().close()

    # ------------------------------------------------------------------ workers

    def make_up(self, at_least: int = 1) -> None:
        """See to it that there is a worker that can run for each slot.

        Raises:
            RuntimeError: no thread can be started, and there are fewer workers than ``at_least``.
        """
        engine = self._engine
        if engine is None or engine.done:
            return
        with self._pool_lock:
            # Under the lock: who closes finds no thread that has yet to start.
            while not self._closing and self._able() < self._slots:
                try:
                    self._start(self._new_worker(), engine)
                except RuntimeError:
                    if self._able() < at_least:
                        raise
                    return

    def _able(self) -> int:
        return sum(not (worker.lost or worker.waiting) for worker in self._workers)

    def _new_worker(self) -> Worker:
        self._started_workers += 1
        worker = Worker(f"thread-{self._started_workers}")
        self._workers.append(worker)
        return worker

    def _start(self, worker: Worker, engine: Engine) -> None:
        worker.thread = threading.Thread(
            target=self._work, args=(worker, engine), name=f"makespan-{worker.name}", daemon=True
        )
        try:
            worker.thread.start()
        except BaseException:
            # Ctrl-C may come here, and a thread that has not started cannot be waited for.
            worker.thread = None
            self._workers.remove(worker)
            raise

    def _work(self, worker: Worker, engine: Engine) -> None:
        cpu_clock = CpuClock()
        run = self.runner(engine, worker.name, ThreadCaller(self, engine, worker, cpu_clock), cpu_clock)
        backlog = self._backlog
        try:
            while (attempt := self._next(worker)) is not None:
                while attempt is not None:
                    worker.attempt = attempt
                    starts = run(attempt)
                    if len(starts) == 1 and not backlog and not worker.lost:
                        attempt = starts[0]
                        continue
                    worker.attempt = None
                    if worker.lost:
                        self.hand_out(starts)
                        return
                    if len(starts) == 1:
                        # Those in the backlog were granted before; the worker that was woken for them is on its way.
                        backlog.append(starts[0])
                    elif starts:
                        self.hand_out(starts, wake=len(starts) - 1)
                    attempt = self._from_backlog()
        finally:
            self.close_runner()

    def _from_backlog(self) -> Attempt | None:
        try:
            return self._backlog.popleft()
        except IndexError:
            return None

    def _next(self, worker: Worker) -> Attempt | None:
        """The next attempt for a worker that has nothing to do, or None when it is to go home."""
        while True:
            with self._pool_lock:
                if worker.lost or worker.stop:
                    return None
                if self._backlog:
                    return self._backlog.popleft()
                if len(self._workers) > self._slots and self._able() > self._slots + SPARE_WORKERS:
                    self._workers.remove(worker)
                    return None
                self._idle.append(worker)
            worker.parked.acquire()

    def hand_out(self, starts: list[Attempt], wake: int | None = None) -> None:
        """Put starts into the backlog and wake parked workers, one for each unless ``wake`` says fewer."""
        if not starts:
            return
        with self._pool_lock:
            self._backlog.extend(starts)
            for _ in range(min(len(starts) if wake is None else wake, len(self._idle))):
                self._idle.pop().parked.release()


# ---------------------------------------------------------------------- child steps


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

    def call(self, running: Any, requests: Sequence[ChildRequest], at_once: int | None = None) -> Outcomes:
        worker = self._worker
        if worker.thread is None or worker.thread.ident != get_ident() or _runs_a_loop():
            # A thread of the step's own, or one with a coroutine on it: it can do nothing but wait.
            return super().call(running, requests, at_once)
        found: list[Outcomes] = []
        arrived = allocate_lock()
        arrived.acquire()

        def done(outcomes: Outcomes) -> None:
            found.append(outcomes)
            arrived.release()

        own = self.start_alone(running, requests[0], done) if len(requests) == 1 else None
        if own is None:
            self._run_own(running, Batch(self, running, requests, at_once, done, notes=False).submit(), found)
        else:
            self._run_own(running, [own], found)
        if not found:
            worker.waiting.add(arrived)
            self._backend.make_up()
        arrived.acquire()
        worker.waiting.discard(arrived)
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
            # What the call computed is not the step's; of short calls it is not known.
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

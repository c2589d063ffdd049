"""`threads`: worker threads that share the engine's lock and need no loop thread.

::

    worker: run a step ─▶ advance() ─▶ keep the best start, hand the others to parked workers ─▶ run it …

Rules of this module:
- There is always one worker that can run for each slot of the scheduler. A worker whose call is past its timeout is
  lost: a new one takes its place, and it goes home when the call returns.
- A step that waits for its calls leaves its thread free: that runs the step's own calls, one after the other. Where
  there is none to run it waits, and another thread takes its place; those too many go home when they are idle.
- Starts that a worker does not keep go into the backlog, and a parked worker is woken for each. Whoever is free first
  takes the oldest: where steps are shorter than it takes a thread to wake, the worker that handed them out does.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from executor.backends.base import Backend, CpuClock
from executor.backends.thread_calls import ThreadCaller
from executor.engine.engine import Engine
from executor.record.timeline import Attempt

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
        self._engine = engine
        self._slots = engine.scheduler.slots
        self.make_up()

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

    def make_up(self) -> None:
        """See to it that there is a worker that can run for each slot."""
        engine = self._engine
        if engine is None or engine.done:
            return
        with self._pool_lock:
            # Under the lock: who closes finds no thread that has yet to start.
            while not self._closing and self._able() < self._slots:
                self._start(self._new_worker(), engine)

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
                    worker.attempt = None
                    if worker.lost:
                        self.hand_out(starts)
                        return
                    if len(starts) == 1:
                        if not backlog:
                            attempt = starts[0]
                            continue
                        # Those in the backlog were granted before; whoever was woken for them is on its way.
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

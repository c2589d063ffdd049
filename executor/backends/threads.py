"""`threads`: worker threads that share the engine's lock and need no loop thread.

::

    worker: run a step ─▶ advance() ─▶ keep the best start, hand the others to parked workers ─▶ run it …

Rules of this module:
- There is always one worker that can run for each slot of the scheduler. A worker whose call is past its timeout is
  lost: a new one takes its place, and it goes home when the call returns.
- Starts that a worker does not keep go into the backlog, and a parked worker is woken for each. Whoever is free first
  takes the oldest: where steps are shorter than it takes a thread to wake, the worker that handed them out does.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from executor.backends.base import Backend
from executor.engine import Engine
from executor.timeline import Attempt

# How long close() waits for a worker that has nothing to do any more.
JOIN_SECONDS = 5.0
# How long, for all of them together, it waits for those whose call was given up.
LOST_JOIN_SECONDS = 0.5


class _Worker:
    """A thread, the lock that it parks on, and what it is to run next."""

    __slots__ = ("attempt", "lost", "name", "parked", "stop", "thread")

    def __init__(self, name: str) -> None:
        self.name = name
        self.parked = threading.Lock()
        self.parked.acquire()
        self.attempt: Attempt | None = None
        self.stop = False
        self.lost = False
        self.thread: threading.Thread | None = None


class ThreadsBackend(Backend):
    """Steps in threads of this process: right for steps that wait (network, programs, sleep)."""

    name = "threads"
    summary = "threads of this process; for steps that wait: network calls, programs"

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self._pool_lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._backlog: deque[Attempt] = deque()
        self._workers: list[_Worker] = []
        self._engine: Engine | None = None
        self._started_workers = 0

    def open(self, engine: Engine) -> None:
        self.calls = engine.renderer.direct_calls(engine.graph.steps, asynchronous=False)
        for _ in range(engine.scheduler.slots):
            self._spawn(engine)

    def drive(self, engine: Engine) -> None:
        self._hand_out(engine.begin())
        self.wait(engine, self._hand_out)

    def cancel(self, attempt: Attempt) -> None:
        """A thread cannot be stopped: its worker is lost, and another takes its place."""
        with self._pool_lock:
            worker = next((worker for worker in self._workers if worker.attempt is attempt), None)
            if worker is None or worker.lost:
                return
            worker.lost = True
        if self._engine is not None and not self._engine.done:
            self._spawn(self._engine)

    def close(self) -> None:
        with self._pool_lock:
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

    def _spawn(self, engine: Engine) -> None:
        self._engine = engine
        with self._pool_lock:
            self._started_workers += 1
            worker = _Worker(f"thread-{self._started_workers}")
            self._workers.append(worker)
        worker.thread = threading.Thread(
            target=self._work, args=(worker, engine), name=f"makespan-{worker.name}", daemon=True
        )
        worker.thread.start()

    def _work(self, worker: _Worker, engine: Engine) -> None:
        run = self.runner(engine, worker.name)
        backlog = self._backlog
        try:
            while (attempt := self._next(worker)) is not None:
                while attempt is not None:
                    worker.attempt = attempt
                    starts = run(attempt)
                    worker.attempt = None
                    if worker.lost:
                        self._hand_out(starts)
                        return
                    if len(starts) == 1:
                        if not backlog:
                            attempt = starts[0]
                            continue
                        # Those in the backlog were granted before; whoever was woken for them is on its way.
                        backlog.append(starts[0])
                    elif starts:
                        self._hand_out(starts, wake=len(starts) - 1)
                    attempt = self._from_backlog()
        finally:
            self.close_runner()

    def _from_backlog(self) -> Attempt | None:
        try:
            return self._backlog.popleft()
        except IndexError:
            return None

    def _next(self, worker: _Worker) -> Attempt | None:
        """The next attempt for a worker that has nothing to do, or None when it is to go home."""
        while True:
            with self._pool_lock:
                if worker.lost or worker.stop:
                    return None
                if self._backlog:
                    return self._backlog.popleft()
                self._idle.append(worker)
            worker.parked.acquire()

    def _hand_out(self, starts: list[Attempt], wake: int | None = None) -> None:
        """Put starts into the backlog and wake parked workers, one for each unless ``wake`` says fewer."""
        if not starts:
            return
        with self._pool_lock:
            self._backlog.extend(starts)
            for _ in range(min(len(starts) if wake is None else wake, len(self._idle))):
                self._idle.pop().parked.release()

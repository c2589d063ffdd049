"""`processes`: worker processes, one pair of channels each; the caller of :meth:`ProcessesBackend.drive` reads them.

::

    drive():  wait for any worker ─▶ read frames ─▶ advance() once for the whole batch ─▶ send the starts ─▶ wait …

Rules of this module:
- One thread does everything. Others (and signal handlers) leave a note and wake it.
- There is always one worker that can run for each slot.
- Nothing is left running when :meth:`ProcessesBackend.close` returns.
"""

from __future__ import annotations

import pickle
import sys
import threading

from executor.backends.base import Backend, BackendError, usable_cores
from executor.backends.pickling import PROTOCOL, NotPicklableError, dumps
from executor.backends.processes.dispatch import Dispatcher
from executor.backends.processes.worker_pool import WorkerPool
from executor.engine.engine import Engine
from executor.record.timeline import NANOSECONDS, Attempt

# How long close() waits for another thread to leave drive().
LEAVE_SECONDS = 5.0


class ProcessesBackend(Backend):
    """Steps in processes of their own: right for steps that compute in Python, and for timeouts that must hold."""

    name = "processes"
    keeps_workers = True
    own_environments = True
    summary = "worker processes; for steps that compute in Python, and for timeouts that kill"

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self._pool: WorkerPool | None = None
        self._dispatcher: Dispatcher | None = None
        self._closing = False
        self._driving = threading.Lock()

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the workers that are there."""
        return [] if self._pool is None else self._pool.pids

    @classmethod
    def default_workers(cls) -> int:
        """The cores that this process may use."""
        return usable_cores()

    def open(self, engine: Engine) -> None:
        """Start the workers and wait until each has its tools.

        Raises:
            BackendError: a worker cannot start, or what it needs cannot be sent to it.
        """
        if sys.platform != "linux" or not sys.executable:
            raise BackendError("processes needs Linux and a Python interpreter to start; choose another executor")
        setup = _pickled_setup(engine)
        self._dispatcher = dispatcher = Dispatcher(engine)
        slots, spare = engine.scheduler.slots, _spare_workers(engine)
        if self._pool is None or self._pool.exhausted is not None or not self._kept:
            if self._pool is not None:
                self._pool.close()
            self._pool = WorkerPool(dispatcher, setup, slots, spare, self.warnings)
        else:
            self._pool.renew(dispatcher, setup, slots, spare)
        self._closing = False
        dispatcher.pool = dispatcher.nested.pool = self._pool
        self._pool.open()

    def drive(self, engine: Engine) -> None:
        """Run the engine to its end. Only after :meth:`open`."""
        pool, dispatcher = self._pool, self._dispatcher
        assert pool is not None
        assert dispatcher is not None
        with self._driving:
            dispatcher.dispatch(engine.begin())
            wake_at = engine.wake_at()
            while not (engine.done or self._closing):
                notified = False
                seconds = dispatcher.patience()
                if not dispatcher.has_news():
                    if wake_at is not None:
                        due = max(0.0, (wake_at - engine.now()) / NANOSECONDS)
                        seconds = due if seconds is None else min(due, seconds)
                    notified = pool.wait(seconds)
                dispatcher.advance(notified=notified)
                if notified or (wake_at is not None and wake_at <= engine.now()):
                    wake_at = engine.wake_at()
        if pool.exhausted is not None:
            self.warnings.append(f"no more workers could be started, and the run went on without: {pool.exhausted}")
        if engine.crash is not None:
            raise engine.crash

    def cancel(self, attempt: Attempt) -> None:
        """Its worker's process group is ended, by the thread in :meth:`drive`."""
        if self._dispatcher is not None:
            self._dispatcher.to_stop.append(attempt)
        self.notify()

    def notify(self) -> None:
        """Wake :meth:`drive`."""
        if self._pool is not None:
            self._pool.notify()

    def close(self) -> None:
        """End all workers, those with a step by force, and wait until they are gone. Inside of a `with` block those
        that have nothing to do are kept for the next run.
        """
        self._closing = True
        self.notify()
        left = self._driving.acquire(timeout=LEAVE_SECONDS)
        try:
            if self._pool is not None and self._kept:
                self._pool.rest()
            elif self._pool is not None:
                self._pool.close()
        finally:
            if left:
                self._driving.release()
        super().close()


def _spare_workers(engine: Engine) -> int:
    """A node is likely to make calls, and a process is slow to start: one is there for the first that waits."""
    return int(any(tool.kind == "node" for tool in engine.renderer.tools.values()))


def _pickled_setup(engine: Engine) -> bytes:
    """What every worker needs before its first step: the run's context (under "") and the tools by name.

    Raises:
        BackendError: part of it cannot be pickled.
    """
    try:
        setup = {"": dumps(engine.context, "the context of the run")}
        for name, tool in engine.renderer.tools.items():
            setup[name] = dumps(tool, f"tool {name!r}")
    except NotPicklableError as error:
        raise BackendError(f"processes: {error}") from error
    return pickle.dumps(setup, PROTOCOL)

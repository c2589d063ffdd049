"""`dask`: steps on a Dask cluster: one of its own on this machine, or one that runs already (``address``).

Rules of this module:
- Dask is imported when this backend is asked for and not before.
- The cluster of its own listens on loopback alone, has one process a worker, and is gone after the run, with
  everything that still ran on it. Scripts need no ``__main__`` guard: workers are programs of their own.
- Inside of a `with` block the cluster is kept for the next run, unless a call still runs on it.
- A foreign cluster is left as it is. It runs a step again when the step's worker dies, before this run hears of it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar

from executor.backends.base import BackendError, usable_cores
from executor.backends.submit import Answer, Submits
from executor.backends.window import WindowBackend
from executor.engine.engine import Engine

try:
    import dask
    from distributed import Client, KilledWorker, Scheduler, SpecCluster

    from executor.backends.dask.calls import DaskCalls
    from executor.backends.dask.cluster_worker import WorkerProgram
except ImportError as error:
    raise ImportError(f"{error}. Install it with: pip install 'makespan[dask]'", name=error.name) from error

CONNECT_SECONDS = 10
START_SECONDS = 60
LOOPBACK = "127.0.0.1"
OPTIONS = {"host": LOOPBACK, "port": 0, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
# A worker that dies takes down what runs on it, and the one call that waits there; the engine decides what runs again.
SETTINGS = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 5.0}
# Arguments may be large, and Dask would warn of each; it reads this where a call is submitted. Settings are the whole
# process's: one thread at a time changes them and puts them back, so that other users of Dask keep their warning.
SUBMIT_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
SUBMITTING = threading.Lock()


class DaskBackend(WindowBackend):
    """Steps on a Dask cluster. ``address`` (``tcp://host:port``) is that of a running scheduler."""

    name = "dask"
    summary = "a Dask cluster: processes of this machine, or address=tcp://… of a running one"
    options: ClassVar[Mapping[str, str]] = {"address": "tcp://HOST:PORT of a running scheduler"}
    keeps_workers = True
    # A Dask future can always be cancelled, and the call goes on.
    knows_what_runs = False

    def __init__(self, workers: int | None = None, *, address: str | None = None) -> None:
        self._address = address
        self._client: Any = None
        self._cluster: Any = None
        # The executor of a cluster that was kept, between two runs.
        self._resting: Any = None
        self._worker_pids: list[int] = []
        self._threads_of_it = 0
        super().__init__(self._threads_there() if workers is None and address is not None else workers)

    @classmethod
    def default_workers(cls) -> int:
        """The cores that this process may use."""
        return usable_cores()

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the workers that are kept; of a foreign cluster, and where none are kept, none."""
        return self._worker_pids if self._kept else []

    def open(self, engine: Engine) -> None:
        """Bring the cluster up.

        Raises:
            BackendError: there is no scheduler at the address, or the workers do not start.
        """
        super().open(engine)
        if self._address is not None and any(step.idempotent is False for step in engine.scheduler.steps):
            self.warnings.append(
                "steps with `idempotent: false` may run twice: a foreign Dask cluster repeats what its dead workers ran"
            )

    def close(self) -> None:
        """End the cluster; inside of a `with` block it is kept for the next run, unless a call still runs on it."""
        still_runs = any(not future.done() for future in self._futures.values())
        executor = self._executor
        if executor is not None and self._kept and not still_runs:
            self._resting, self._executor = executor, None
        super().close()
        if self._resting is not None and (still_runs or not self._kept):
            executor, self._resting = self._resting, None
            self.close_executor(executor, [])

    def make_executor(self) -> Submits:
        if self._resting is not None:
            executor, self._resting = self._resting, None
            try:
                # One that a step has ended is started again by its nanny, and may not be there yet.
                self._client.wait_for_workers(self.capacity if self._address is None else 1, timeout=START_SECONDS)
            except Exception:  # noqa: BLE001  # whatever is wrong with it, a new one is not
                self.close_executor(executor, [])
            else:
                self._find_workers()
                kept: Submits = executor
                return kept
        with dask.config.set(SETTINGS):
            if self._address is None:
                # A connection that is closed in mid-message is reported with a traceback, even after
                # the cluster has ended its silence.
                logging.getLogger("distributed.batched").setLevel(logging.CRITICAL)
                self._cluster = SpecCluster(  # type: ignore[no-untyped-call]  # Dask has few types
                    scheduler={"cls": Scheduler, "options": OPTIONS},
                    workers={number: {"cls": WorkerProgram, "options": {}} for number in range(self.capacity)},
                    name="makespan",
                    silence_logs=logging.CRITICAL,
                )
            try:
                self._client = self._connect()
                self._client.wait_for_workers(self.capacity if self._address is None else 1, timeout=START_SECONDS)
            except BaseException as error:
                self._close_connection()
                if isinstance(error, TimeoutError):
                    raise BackendError(f"dask: no worker has started within {START_SECONDS} s") from error
                raise
        self._find_workers()
        self._threads_of_it = sum(self._client.nthreads().values())
        return DaskCalls(self._client)

    def _find_workers(self) -> None:
        """Where the cluster is kept, whose CPU time counts for a run: it does not end with it."""
        if self._kept and self._address is None:
            self._worker_pids = list(self._client.run(os.getpid).values())

    def close_executor(self, executor: Any, unfinished: list[str]) -> None:
        """Close the connection, and the cluster if it is of our own."""
        with suppress(Exception):
            executor.shutdown()
        self._close_connection()

    def _close_connection(self) -> None:
        self._worker_pids = []
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        self._client = self._cluster = None

    def recall(self, futures: Sequence[Any]) -> None:
        assert isinstance(self._executor, DaskCalls)
        self._executor.recall(futures)

    def lets_calls_wait(self) -> bool:
        """Whether Dask runs no more at once than there are workers."""
        return self._address is None or self.capacity >= self._threads_of_it

    def is_worker_death(self, error: BaseException) -> bool:
        return isinstance(error, KilledWorker) or super().is_worker_death(error)

    def _submit_to_executor(self, call: Callable[[], Any]) -> Future[Answer]:
        with SUBMITTING, dask.config.set(SUBMIT_SETTINGS):
            return super()._submit_to_executor(call)

    def _connect(self) -> Any:
        try:
            there = self._cluster or self._address
            return Client(there, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
        except (OSError, ValueError) as error:
            raise BackendError(f"dask: no scheduler answers at {self._address}: {error}") from error

    def _threads_there(self) -> int:
        with self._connect() as client:
            threads: dict[str, int] = client.nthreads()
        return max(1, sum(threads.values()))

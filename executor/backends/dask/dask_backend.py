"""`dask`: steps on a Dask cluster: one of its own on this machine, or one that runs already (``address``).

Rules of this module:
- Dask is imported when this backend is asked for and not before.
- The cluster of its own listens on loopback alone, has one process a worker, and is gone after the run, with
  everything that still ran on it. Scripts need no ``__main__`` guard: workers are programs of their own.
- Inside of a `with` block the cluster is kept for the next run, unless a call still runs on it.
- A foreign cluster is left as it is. Its workers are looked at before the first step, and as they come; Dask's own
  retries are off for the steps of this run; where its scheduler is gone, what is left of the run fails.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar

from executor.backends.base import BackendError, usable_cores
from executor.backends.clocks.worker_clock import RoundTrip
from executor.backends.cluster_backend import MISSING_WORKER_SECONDS, WAITING_OPTION, ClusterLostError
from executor.backends.cluster_resources import Amounts
from executor.backends.cluster_size import resize
from executor.backends.staying_outputs import OPTION, STAYS_BYTES, StayingOutputsBackend
from executor.backends.submit import Answer, Submits
from executor.backends.worker_check import must_fit
from executor.backends.worker_output import OutputRelay, WorkerOutput
from executor.engine.engine import Engine
from executor.host_id import machine
from executor.record.outcomes import Completion
from executor.record.timeline import Attempt

try:
    import dask
    from distributed import Client, KilledWorker, Scheduler

    from executor.backends.dask.calls import DaskCalls
    from executor.backends.dask.cluster_watch import ClusterWatch, Looked
    from executor.backends.dask.cluster_worker import OwnCluster, WorkerProgram
    from executor.backends.dask.scheduler_check import must_be_a_scheduler
    from executor.backends.dask.shipped_files import ShippedFiles
except ImportError as error:
    raise ImportError(f"{error}. Install it with: pip install 'makespan[dask]'", name=error.name) from error

ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx|ucxx)://)?([A-Za-z0-9._-]+|\[[0-9a-fA-F:.%]+\]):[0-9]{1,5}/?")
CONNECT_SECONDS = 10
START_SECONDS = 60
LOOPBACK = "127.0.0.1"
OPTIONS = {"host": LOOPBACK, "port": 0, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
# A worker that dies takes down what runs on it, and the one call that waits there; the engine decides what runs again.
SETTINGS = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 5.0}

# So much before its slot was free by the record a call may have begun whose worker died.
GUESS_NANOSECONDS = 100_000_000


class ConnectionLostError(Exception):
    """Dask has forgotten what ran, since the connection to its scheduler broke."""


class DaskBackend(StayingOutputsBackend):
    """Steps on a Dask cluster. ``address`` (``tcp://host:port``) is that of a running scheduler."""

    name = "dask"
    summary = "a Dask cluster: processes of this machine, or address=tcp://… of a running one"
    options: ClassVar[Mapping[str, str]] = {
        "address": "tcp://HOST:PORT of a running scheduler",
        "files": "modules and packages that the workers lack: FILE.py, FILE.zip or FOLDER, with commas between",
        **OPTION,
        **WAITING_OPTION,
    }
    keeps_workers = True
    cluster = "the Dask cluster"
    import_remedy = "install it there, or send it along with --backend-option files=PATH"
    # A Dask future can always be cancelled, and the call goes on.
    knows_what_runs = False

    def __init__(
        self,
        workers: int | None = None,
        *,
        address: str | None = None,
        files: str | None = None,
        output_stays_bytes: str | int = STAYS_BYTES,
        missing_worker_seconds: str | float = MISSING_WORKER_SECONDS,
    ) -> None:
        if address is not None and not ADDRESS.fullmatch(address):
            raise BackendError(f"dask: address {address!r} is none: write tcp://HOST:PORT, as in tcp://10.0.0.7:8786")
        self._address = address
        self._files = None if files is None else ShippedFiles(files)
        # A foreign cluster's workers may come to be more: not more of them are used than were asked for.
        self._most = workers
        self._watch: ClusterWatch | None = None
        self._client: Any = None
        self._cluster: Any = None
        # Of a cluster of our own: what its workers write, by their names.
        self._relay: OutputRelay | None = None
        self._outputs: list[WorkerOutput] = []
        # The executor of a cluster that was kept, between two runs.
        self._resting: Any = None
        self._worker_pids: list[int] = []
        self._threads_of_it = 0
        there = self._threads_there() if workers is None and address is not None else workers
        super().__init__(there, output_stays_bytes, missing_worker_seconds)

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
        if self._address is not None:
            try:
                self._look_and_listen(engine)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the cluster; inside of a `with` block it is kept for the next run, unless a call still runs on it."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        self.bring_home()
        still_runs = any(not future.done() for future in self._futures.values())
        executor = self._executor
        if executor is not None and self._kept and not still_runs and self._lost is None:
            self._resting, self._executor = executor, None
            if self._relay is not None:
                self._relay.flush()
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
            try:
                if self._address is None:
                    self._cluster = self._own_cluster()
                self._client = self._connect()
                self._client.wait_for_workers(self.capacity if self._address is None else 1, timeout=START_SECONDS)
            except BaseException as error:
                self._close_connection()
                if isinstance(error, TimeoutError):
                    which = "not all workers have" if self._address is None else "no worker has"
                    raise BackendError(f"dask: {which} started within {START_SECONDS} s") from error
                raise
        self._find_workers()
        self._threads_of_it = sum(self._client.nthreads().values())
        return DaskCalls(self._client, self._stays_bytes, in_turn=self._address is None)

    def _own_cluster(self) -> Any:
        # A connection that is closed in mid-message is reported with a traceback, even after the cluster has ended its
        # silence.
        logging.getLogger("distributed.batched").setLevel(logging.CRITICAL)
        self._relay = OutputRelay(self.warnings)
        self._outputs = [self._relay.output() for _ in range(self.capacity)]
        return OwnCluster(  # type: ignore[no-untyped-call]  # Dask has few types
            scheduler={"cls": Scheduler, "options": OPTIONS},
            workers={
                number: {"cls": WorkerProgram, "options": {"output": output, "ended": self._program_ended}}
                for number, output in enumerate(self._outputs)
            },
            name="makespan",
            silence_logs=logging.CRITICAL,
        )

    def _program_ended(self, status: int) -> None:
        """What starts a worker of our own cluster again is gone: a run would wait for ever."""
        engine = self._engine
        if engine is not None and not engine.done and self._cluster is not None:
            self.cluster_lost(engine, f"dask: the program of one of its own workers has ended (status {status})")

    def _find_workers(self) -> None:
        """Where the cluster is kept, whose CPU time counts for a run: it does not end with it."""
        if self._kept and self._address is None:
            self._worker_pids = list(self._client.run(os.getpid).values())

    def close_executor(self, executor: Any, unfinished: list[str]) -> None:
        """Close the connection, and the cluster if it is of our own."""
        with suppress(Exception):
            executor.shutdown()
        self._close_connection()

    # ------------------------------------------------------------------ a foreign cluster

    def _look_and_listen(self, engine: Engine) -> None:
        """Look at its workers before the first step, and listen from now on.

        Raises:
            BackendError: its workers cannot run the steps, none has what one of them needs, or its scheduler does not
                do what is needed.
        """
        watch = ClusterWatch(
            self._client, changed=self._workers_changed, looked=self._looked, lost=self._scheduler_lost
        )
        try:
            must_fit(watch.look(), "dask", self.warnings)
            self.workers_state(engine, watch.resources())
            if self._files is not None:
                self._files.send(self._client)
            watch.begin()
        except BackendError:
            raise
        except Exception as error:
            raise BackendError(
                f"dask: the scheduler at {self._address} refuses what a run needs of it: {type(error).__name__}: "
                f"{error}"
            ) from error
        self._watch = watch

    def _ask(self, request: Callable[[int], None]) -> None:
        """Have the thread that drives the run do it."""
        if self._engine is not None:
            self._engine.ask(request)

    def _looked(self, facts: Looked, trip: RoundTrip) -> None:
        if facts["machine"] != machine():
            self._ask(lambda _: self.placed.clocks.learn(facts["machine"], trip))

    def _workers_changed(self, threads: int, resources: Mapping[str, Amounts]) -> None:
        self._threads_of_it = threads
        workers = threads if self._most is None else min(threads, self._most)

        def change(now: int) -> None:
            assert self._engine is not None
            self._resize(workers, now)
            self.workers_changed_to(self._engine, resources)

        self._ask(change)

    def _resize(self, workers: int, now: int) -> None:
        assert self._engine is not None
        self.capacity = workers
        resize(self._engine, workers, now)

    def _scheduler_lost(self) -> None:
        self._give_up(self._gone())

    def _give_up(self, message: str) -> None:
        assert self._engine is not None
        self.cluster_lost(self._engine, message)

    def must_be_there(self) -> None:
        """See :meth:`.ClusterBackend.must_be_there`."""
        if self._lost is None and self._watch is not None and self._client.status in ("closing", "closed"):
            self._lost = self._gone()
        super().must_be_there()

    def _gone(self) -> str:
        return f"dask: the scheduler at {self._address} is gone, and was not there again in {CONNECT_SECONDS} s"

    def _completion(self, engine: Engine, attempt: Attempt, end: Future[Answer] | Exception) -> Completion:
        if self._watch is not None and not isinstance(end, Exception) and end.cancelled():
            try:
                self.must_be_there()
            except ClusterLostError as error:
                end = error
            else:
                self._watch.connection_broke()
                end = ConnectionLostError(f"the connection to the scheduler at {self._address} broke")
        return super()._completion(engine, attempt, end)

    # ------------------------------------------------------------------ connections

    def _close_connection(self) -> None:
        self._worker_pids = []
        if self._relay is not None:
            # No step runs any more: what follows are words of programs that are ended.
            self._relay.flush()
            for output in self._outputs:
                output.hide()
        cluster, self._cluster = self._cluster, None
        if self._client is not None:
            self._client.close()
        if cluster is not None:
            cluster.close()
        if self._relay is not None:
            self._relay.close()
        self._client = self._relay = None

    def recall(self, futures: Sequence[Any]) -> None:
        """See :meth:`.WindowBackend.recall`."""
        assert isinstance(self._executor, DaskCalls)
        self._executor.recall(futures)

    def lets_calls_wait(self) -> bool:
        """Whether Dask runs no more at once than there are workers."""
        return self._address is None or self.capacity >= self._threads_of_it

    def is_worker_death(self, error: BaseException) -> bool:
        return isinstance(error, (KilledWorker, ConnectionLostError)) or super().is_worker_death(error)

    def describe_death(self, error: BaseException, since: int) -> str:
        """See :meth:`.SubmitBackend.describe_death`."""
        if not isinstance(error, KilledWorker):
            return str(error)
        # Dask's own words count failures that it was told of.
        words = f"it was {error.last_worker.address}"
        if self._relay is None:
            return words
        wrote = self._outputs[int(str(error.last_worker.name))].tail(since - GUESS_NANOSECONDS)
        return f"{words}; it wrote last: {wrote}" if wrote else words

    def _submit_all(self, engine: Engine, starts: list[Attempt]) -> None:
        super()._submit_all(engine, starts)
        assert isinstance(self._executor, DaskCalls)
        self._executor.send()

    def _connect(self) -> Any:
        if self._address is not None:
            must_be_a_scheduler(self._address, CONNECT_SECONDS)
        try:
            there = self._cluster or self._address
            return Client(there, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
        except (OSError, ValueError) as error:
            raise BackendError(f"dask: no scheduler answers at {self._address}: {error}") from error

    def _threads_there(self) -> int:
        with self._connect() as client:
            threads: dict[str, int] = client.nthreads()
        return max(1, sum(threads.values()))

"""`ray`: steps on Ray: one of its own on this machine, or one that runs already (``address``).

Rules of this module:
- Ray is imported when a run begins and not before.
- Ray never runs a step again by itself: the engine does.
- What is past its timeout or cancelled is ended with its worker, and another worker takes the place.
- Nothing is polled: Ray calls back when a step ends.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

from executor.backends.base import BackendError, usable_cores
from executor.backends.clocks.worker_clock import RoundTrip
from executor.backends.cluster_backend import MISSING_WORKER_SECONDS, WAITING_OPTION
from executor.backends.cluster_resources import Amounts
from executor.backends.cluster_size import resize
from executor.backends.file_lists import listed_files
from executor.backends.ray.connection import Connection, connect, cores_there, disconnect
from executor.backends.ray.head_watch import HeadWatch
from executor.backends.ray.node_watch import NodeWatch, cores_of, nodes_alive, stated_by
from executor.backends.ray.worker_logs import death_in_words, last_written
from executor.backends.ray.workers import RayWorkers
from executor.backends.staying_outputs import OPTION, STAYS_BYTES, StayingOutputsBackend
from executor.backends.submit import Submits
from executor.backends.worker_check import must_fit
from executor.engine.engine import Engine
from executor.host_id import machine
from executor.record.timeline import Attempt

if importlib.util.find_spec("ray") is None:
    raise ImportError("No module named 'ray'. Install it with: pip install 'makespan[ray]'", name="ray")

ADDRESS = re.compile(r"auto|[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}")
SUFFIXES = (".py", ".whl")
WARM_SECONDS = 60
# A call that dies with its worker raises one of these.
DEATHS = (
    "ActorDiedError", "RayActorError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError",
    "LocalRayletDiedError", "OwnerDiedError",
)  # fmt: skip


class RayBackend(StayingOutputsBackend):
    """Steps on Ray. ``address`` (``host:port``, or ``auto``) is that of a running one, which this machine is a part of.

    Runs that go on at once in one process share its Ray. As a context manager it keeps Ray until the block ends.
    """

    name = "ray"
    summary = "Ray: processes of this machine, or address=HOST:PORT of a running one; timeouts kill"
    options: ClassVar[Mapping[str, str]] = {
        "address": "HOST:PORT of a running Ray, or auto; this machine is part of it",
        "files": "modules and packages that the workers lack: FILE.py or FOLDER, with commas between",
        **OPTION,
        **WAITING_OPTION,
    }
    keeps_workers = True
    cluster = "Ray"
    resource_holder = "node"
    import_remedy = "install it there, or send it along with --backend-option files=PATH"

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
            raise BackendError(f"ray: address {address!r} is none: write HOST:PORT, as in 10.0.0.7:6379, or auto")
        self._address = address
        self._files = () if files is None else tuple(map(str, listed_files(files, "ray", SUFFIXES)))
        # The nodes may come to have more cores: not more of them are used than were asked for.
        self._most = workers
        self._watch: NodeWatch | HeadWatch | None = None
        self._connection: Connection | None = None
        self._held: Connection | None = None
        there = None if address is None else cores_there(address)
        super().__init__(there if workers is None else workers, output_stays_bytes, missing_worker_seconds)

    @classmethod
    def default_workers(cls) -> int:
        """The cores that this process may use."""
        return usable_cores()

    def __enter__(self) -> Self:
        self._held = connect(self._address, self._files)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._held is not None:
            disconnect(self._held)
            self._held = None

    def open(self, engine: Engine) -> None:
        """Bring Ray up, and its workers.

        Raises:
            BackendError: Ray does not start, does not answer at the address, its workers cannot import makespan, or no
                node has what one of the steps needs.
        """
        super().open(engine)
        if self._address is None:
            self._watch = HeadWatch(
                lambda program: self.cluster_lost(engine, f"ray: the {program} of its own Ray is gone")
            )
            self._watch.begin()
            return
        try:
            self.workers_state(engine, stated_by(nodes_alive()))
        except BackendError:
            self.close()
            raise
        gone = f"ray: the control store of the Ray at {self._address} is gone, and was not there again in time"
        self._watch = NodeWatch(
            lambda nodes: self._nodes_changed(engine, nodes), lambda: self.cluster_lost(engine, gone)
        )
        if not self._watch.begin():
            self.warnings.append("this version of Ray does not report nodes that come and go")

    def _nodes_changed(self, engine: Engine, nodes: Mapping[str, Amounts]) -> None:
        cores = cores_of(nodes)
        workers = cores if self._most is None else min(cores, self._most)

        def change(now: int) -> None:
            self.capacity = workers
            resize(engine, workers, now)
            if isinstance(self._executor, RayWorkers):
                self._executor.resize(workers)
            self.workers_changed_to(engine, stated_by(nodes))

        engine.ask(change)

    def make_executor(self) -> Submits:
        self._connection = connection = connect(self._address, self._files)
        while (kept := self._resting_in(connection)) is not None:
            try:
                # One whose step was ended was replaced, and may not be there yet.
                kept.wait_until_ready(WARM_SECONDS)
            except Exception:  # noqa: BLE001  # whatever is wrong with them, new ones are not
                kept.shutdown()
            else:
                kept.given_up = self.given_up
                return kept
        workers: RayWorkers | None = None
        try:
            workers = RayWorkers(self.capacity, self._stays_bytes, self.given_up)
            self._warm(workers)
        except BaseException:
            if workers is not None:
                workers.shutdown()
            self._let_go()
            raise
        return workers

    def _resting_in(self, connection: Connection) -> RayWorkers | None:
        """Workers of a run that has ended, as this one needs them; they rest no more."""
        for place, kept in enumerate(connection.resting):
            if (kept.size, kept.stays_bytes) == (self.capacity, self._stays_bytes):
                del connection.resting[place]
                return cast("RayWorkers", kept)
        return None

    def close_executor(self, executor: Any, unfinished: list[str]) -> None:
        """Let go of Ray; the last run in this process ends it, if it is of our own. Until then its workers stay."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        if self._lost is not None:
            # Ray would wait for its control store before it ended an actor.
            pass
        elif self._connection is not None and self._connection.is_shared and not executor.runs_something:
            executor.let_go()
            self._connection.resting.append(executor)
        else:
            executor.shutdown()
        self._let_go()

    def _give_up_missing(self, engine: Engine) -> None:
        super()._give_up_missing(engine)
        if isinstance(self._executor, RayWorkers):
            self._executor.give_up_makings()

    def cancel(self, attempt: Attempt) -> None:
        """Its worker is ended; the end of the call is reported when it comes."""
        future = self._futures.get(attempt)
        if future is not None and isinstance(self._executor, RayWorkers):
            self._executor.stop(future)

    def recall(self, futures: Sequence[Any]) -> None:
        """See :meth:`.WindowBackend.recall`."""
        assert isinstance(self._executor, RayWorkers)
        self._executor.recall(futures)

    def lets_calls_wait(self) -> bool:
        """Not beside a step with needs: it runs on an actor of its own, so one without work would begin what waits."""
        return not self.has_asked

    def _is_urgent(self, engine: Engine) -> bool:
        return self.has_asked or super()._is_urgent(engine)

    def close(self) -> None:
        """End what still runs, and fetch what stayed unless Ray is kept."""
        executor = self._executor
        if isinstance(executor, RayWorkers) and self._lost is None:
            for future in self._futures.values():
                executor.stop(future)
        self._futures.clear()
        self.bring_home()
        super().close()

    def is_worker_death(self, error: BaseException) -> bool:
        # Its kinds too: an actor that cannot be reached, for one.
        return any(kind.__name__ in DEATHS for kind in type(error).__mro__) or super().is_worker_death(error)

    def describe_death(self, error: BaseException, since: int) -> str:
        """See :meth:`.SubmitBackend.describe_death`."""
        said = super().describe_death(error, since)
        words, wrote = death_in_words(said), last_written(said, since)
        return f"{words}; it wrote last: {wrote}" if wrote else words

    def _look_at(self, workers: RayWorkers) -> None:
        sent = self.clock()
        found = workers.look(WARM_SECONDS)
        returned = self.clock()
        must_fit({f"process-{facts['process_id']}": facts for facts in found}, "ray", self.warnings)
        for facts in found:
            if facts["machine"] != machine():
                trip = RoundTrip(sent, facts["received"], facts["answered"], returned)
                self.placed.clocks.learn(facts["machine"], trip)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            disconnect(connection)

    def _warm(self, workers: RayWorkers) -> None:
        """Have the workers up, with makespan imported: their start is no part of the makespan."""
        import ray  # noqa: PLC0415  # as above

        try:
            foreign = None if self._address is None else lambda: cores_of(nodes_alive())
            workers.wait_until_ready(WARM_SECONDS, foreign)
            if self._address is not None:
                self._look_at(workers)
        except ray.exceptions.GetTimeoutError as error:
            raise BackendError(f"ray: its workers did not start within {WARM_SECONDS} s") from error
        except ray.exceptions.RayError as error:
            said = str(error).strip().rpartition("\n")[2]
            raise BackendError(
                f"ray: a worker cannot run steps: {said}. Install the same makespan on every machine of Ray"
            ) from error

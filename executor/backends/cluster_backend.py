"""What backends on clusters have in common: which workers can run a step, and when it has really begun there.

Rules of this module:
- What workers state that they have is asked for with a step that needs it; the cluster gives it to one step at a time.
- The engine grants no more than the workers have in all: what is granted would keep its slot and wait at the cluster.
- A step that no worker can ever run is said before the first step. Where the last worker that could run it leaves in
  mid-run, another is waited for, ``missing_worker_seconds`` from then, by all steps with these needs. Then they fail,
  and so does each later one at once, until such a worker is there. Without any worker all fail then.
- Where the cluster is gone, what is left of the run fails with an error that says so.
- The timeout of a step runs from its beginning on a worker, which the worker reports.
- Where the cluster has the devices of a kind, it names them to the steps, and the engine does not.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from executor.backends.base import BackendError
from executor.backends.cluster_resources import Amounts, ClusterResources, NoWorkerError
from executor.backends.cluster_size import resize
from executor.backends.submit import RemoteCall
from executor.backends.window import WindowBackend
from executor.engine.engine import Engine
from executor.record.timeline import Attempt

# Long enough for a machine to start.
MISSING_WORKER_SECONDS = 300.0
WAITING_OPTION: Mapping[str, str] = {
    "missing_worker_seconds": "how long steps wait when the last worker that can run them has left (300)"
}
# What was asked of a worker; nothing: any worker.
Asked: TypeAlias = tuple[tuple[str, float], ...]


class ClusterLostError(BackendError):
    """The cluster that steps ran on is gone: another attempt cannot help."""

    retryable = False


@dataclass(frozen=True, slots=True)
class SentCall:
    """A call, and what the executor has to know of it. ``asked``: of the resources of a worker. ``begun`` is called
    when it has begun there, from any thread. ``may_run_again``: it may begin twice, as where the worker dies that keeps
    its output.
    """

    call: Callable[[], Any]
    asked: Amounts = field(default_factory=dict)
    begun: Callable[[], None] | None = None
    may_run_again: bool = True

    @staticmethod
    def of(call: Callable[[], Any]) -> SentCall:
        """What was submitted, also where nothing was to be said of it."""
        return call if isinstance(call, SentCall) else SentCall(call)

    def __call__(self) -> Any:
        return self.call()


class ClusterBackend(WindowBackend):
    """A :class:`.WindowBackend` whose executor places calls (:class:`SentCall`) on workers that differ."""

    # What states resources, in words.
    resource_holder: ClassVar[str] = "worker"
    reports_beginnings = True

    def __init__(
        self, workers: int | None = None, missing_worker_seconds: str | float = MISSING_WORKER_SECONDS
    ) -> None:
        super().__init__(workers)
        self.missing_worker_seconds = self._seconds(missing_worker_seconds)
        self.resources = ClusterResources()
        # By attempt, of those that asked for something: what.
        self._asked: dict[Attempt, Amounts] = {}
        # What no worker has, and until when it is waited for (seconds of the monotonic clock).
        self._missing: dict[Asked, float] = {}
        # Of which of them a warning was given.
        self._said: set[Asked] = set()
        self._waiting_for_workers: threading.Timer | None = None
        # Why nothing can run any more.
        self._lost: str | None = None

    def _seconds(self, value: str | float) -> float:
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not 0 <= found < threading.TIMEOUT_MAX:
            raise BackendError(f"{self.name}: missing_worker_seconds {value!r} is no number of seconds: write 300")
        return found

    def open(self, engine: Engine) -> None:
        self._lost = None
        self._missing.clear()
        self._said.clear()
        super().open(engine)

    def close(self) -> None:
        self._wait_no_more()
        self._asked.clear()
        super().close()

    def workers_state(self, engine: Engine, workers: Mapping[str, Amounts]) -> None:
        """What the workers have by their names, before the first step.

        Raises:
            NoWorkerError: no worker can run one of the steps.
        """
        self.resources = ClusterResources(workers, self.resource_holder)
        self.resources.must_fit_all(engine.scheduler.steps)
        for limit, total in self._stated_limits(engine):
            if total < limit.capacity:
                self.warnings.append(
                    f"the limit of {limit.name!r} is {limit.capacity}, and the {self.resource_holder}s state {total} "
                    "in all: no more is granted at once"
                )
                limit.resize(total)

    def workers_changed_to(self, engine: Engine, workers: Mapping[str, Amounts]) -> None:
        """They have this now, and the engine has its slots. For a request (:meth:`.Engine.ask`)."""
        self.resources.follow(workers)
        for limit, total in self._stated_limits(engine):
            # Where there is less, what was granted waits at the cluster: here a need above a limit would never start.
            limit.resize(max(limit.capacity, min(total, limit.resource.capacity)))
        asked = {_key(self.resources.asked(step.needs)) for step in engine.scheduler.steps if step.needs}
        until = time.monotonic() + self.missing_worker_seconds
        missing = [one for one in asked if not self.resources.fits(dict(one))]
        if not engine.scheduler.slots:
            missing.append(())
        self._missing = {one: self._missing.get(one, until) for one in missing}
        for attempt, one in self._under_way():
            self._say_waiting(attempt.step_id, one)
        self._wait_for_workers(engine)

    def _stated_limits(self, engine: Engine) -> Iterator[tuple[Any, int]]:
        """The limits of the run that workers have stated, with how much these have in all."""
        for limit in engine.scheduler.limits.by_name.values():
            total = self.resources.total(limit.name)
            if total is not None and limit.adaptive is None and limit.capacity is not None:
                yield limit, int(total)

    def cluster_lost(self, engine: Engine, message: str) -> None:
        """Nothing can run any more. From any thread."""

        def give_up(now: int) -> None:
            self._lost = message
            if engine.scheduler.slots == 0:
                self.capacity = 1
                resize(engine, 1, now)
            self.forget_waiting()
            for attempt in list(self._futures):
                self._ended(attempt, ClusterLostError(message))

        engine.ask(give_up)

    def must_be_there(self) -> None:
        """Raises ClusterLostError where the cluster is known to be gone."""
        if self._lost is not None:
            raise ClusterLostError(self._lost)

    def _submit_to_executor(self, call: Callable[[], Any]) -> Future[Any]:
        self.must_be_there()
        return super()._submit_to_executor(call)

    def _wait_for_workers(self, engine: Engine) -> None:
        """Until the first of what is missing is waited for no more."""
        self._wait_no_more()
        now = time.monotonic()
        coming = [until for until in self._missing.values() if until > now]
        if coming:
            self._waiting_for_workers = threading.Timer(
                min(coming) - now, lambda: engine.ask(lambda _: self._give_up_missing(engine))
            )
            self._waiting_for_workers.daemon = True
            self._waiting_for_workers.start()

    def _wait_no_more(self) -> None:
        if self._waiting_for_workers is not None:
            self._waiting_for_workers.cancel()
            self._waiting_for_workers = None

    def given_up(self, what: str, asked: Amounts) -> NoWorkerError | None:
        """Why ``what`` does not wait any more for a worker that has what it asks for. From any thread."""
        try:
            self.resources.must_fit(what, asked)
        except NoWorkerError as error:
            until = self._missing.get(_key(asked))
            if until is None:
                return error
            if until <= time.monotonic():
                return NoWorkerError(f"{error}; none came in {self.missing_worker_seconds:g} s")
        return None

    @property
    def has_asked(self) -> bool:
        """Whether a call is under way that asked for something of its worker."""
        return any(attempt in self._futures for attempt in self._asked)

    def _give_up_missing(self, engine: Engine) -> None:
        """A time is over: what waited for such a worker fails."""
        for attempt, asked in self._under_way():
            error = self.given_up(f"step {attempt.step_id!r}", asked)
            if error is not None:
                executor: Any = self._executor
                executor.give_up(self._futures[attempt], error)
        if self._missing.get((), math.inf) <= time.monotonic():
            self.cluster_lost(engine, self.no_workers())
        self._wait_for_workers(engine)

    def _under_way(self) -> list[tuple[Attempt, Amounts]]:
        self._asked = {attempt: asked for attempt, asked in self._asked.items() if attempt in self._futures}
        return list(self._asked.items())

    def _say_waiting(self, step_id: str, asked: Amounts) -> None:
        """That a step waits, once for its needs."""
        try:
            self.resources.must_fit(f"step {step_id!r}", asked)
        except NoWorkerError as error:
            if _key(asked) not in self._said:
                self._said.add(_key(asked))
                self.warnings.append(f"{error}; such steps waited for it, at most {self.missing_worker_seconds:g} s")

    def no_workers(self) -> str:
        """That all workers have left, in words."""
        seconds = self.missing_worker_seconds
        return f"{self.name}: the last {self.resource_holder} of the cluster left, and none came in {seconds:g} s"

    def _call_of(self, attempt: Attempt, call: RemoteCall, engine: Engine) -> Callable[[], Any]:
        step = engine.scheduler.steps[attempt.index]
        asked = self.resources.asked(step.needs)
        if asked:
            if (error := self.given_up(f"step {step.step_id!r}", asked)) is not None:
                raise error
            self._say_waiting(step.step_id, asked)
            self._asked[attempt] = asked
            call.leave_devices_to(self.resources.states)
        begun = None if step.timeout is None else lambda: engine.started(attempt, engine.now(), self.name)
        may_run_again = step.idempotent is not False
        made = super()._call_of(attempt, call, engine)
        return SentCall(made, asked, begun, may_run_again) if asked or begun or not may_run_again else made


def _key(asked: Amounts) -> Asked:
    return tuple(sorted(asked.items()))

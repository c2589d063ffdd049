"""What backends on clusters have in common: which workers can run a step, and when it has really begun there.

Rules of this module:
- What workers state that they have is asked for with a step that needs it; the cluster gives it to one step at a time.
- The engine grants no more than the workers have in all: what is granted would keep its slot and wait at the cluster.
- A step that no worker can ever run is said before the first step. Where the workers that could run it leave in
  mid-run, others are waited for, and then it fails.
- The timeout of a step runs from its beginning on a worker, which the worker reports.
- Where the cluster has the devices of a kind, it names them to the steps, and the engine does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from executor.backends.cluster_resources import Amounts, ClusterResources, NoWorkerError
from executor.backends.submit import RemoteCall
from executor.backends.window import WindowBackend
from executor.engine.engine import Engine
from executor.record.timeline import Attempt

# How long a run waits for workers of a foreign cluster when the last one that could run a step has left: long enough
# for a machine to start.
WITHOUT_WORKERS_SECONDS = 300


@dataclass(frozen=True, slots=True)
class SentCall:
    """A call, and what the executor has to know of it. ``asked``: of the resources of a worker. ``begun`` is called
    when it has begun there, from any thread. ``may_stay``: its output may stay at the worker.
    """

    call: Callable[[], Any]
    asked: Amounts = field(default_factory=dict)
    begun: Callable[[], None] | None = None
    may_stay: bool = True

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

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self.resources = ClusterResources()
        # By attempt, of those that asked for something: what.
        self._asked: dict[Attempt, Amounts] = {}
        self._waiting_for_workers: threading.Timer | None = None

    def close(self) -> None:
        self._wait_no_more()
        self._asked.clear()
        super().close()

    def workers_state(self, engine: Engine, workers: Sequence[Amounts]) -> None:
        """What the workers have, before the first step. Raises NoWorkerError: no worker can run one of the steps."""
        self.resources = ClusterResources(workers, self.resource_holder)
        self.resources.must_fit_all(engine.scheduler.steps)
        for limit, total in self._stated_limits(engine):
            if total < limit.capacity:
                self.warnings.append(
                    f"the limit of {limit.name!r} is {limit.capacity}, and the {self.resource_holder}s state {total} "
                    "in all: no more is granted at once"
                )
                limit.resize(total)

    def workers_changed_to(self, engine: Engine, workers: Sequence[Amounts]) -> None:
        """They have this now. For a request (:meth:`.Engine.ask`)."""
        self.resources.follow(workers)
        for limit, total in self._stated_limits(engine):
            # Where there is less, what was granted waits at the cluster: here a need above a limit would never start.
            limit.resize(max(limit.capacity, min(total, limit.resource.capacity)))
        self._wait_no_more()
        if self._stranded():
            self._waiting_for_workers = threading.Timer(
                WITHOUT_WORKERS_SECONDS, lambda: engine.ask(lambda _: self._give_up_stranded())
            )
            self._waiting_for_workers.daemon = True
            self._waiting_for_workers.start()

    def _stated_limits(self, engine: Engine) -> Iterator[tuple[Any, int]]:
        """The limits of the run that workers have stated, with how much these have in all."""
        for limit in engine.scheduler.limits.by_name.values():
            total = self.resources.total(limit.name)
            if total is not None and limit.adaptive is None and limit.capacity is not None:
                yield limit, int(total)

    def _wait_no_more(self) -> None:
        if self._waiting_for_workers is not None:
            self._waiting_for_workers.cancel()
            self._waiting_for_workers = None

    @property
    def has_asked(self) -> bool:
        """Whether a call is under way that asked for something of its worker."""
        return any(attempt in self._futures for attempt in self._asked)

    def _stranded(self) -> list[Attempt]:
        """What was submitted and no worker can run."""
        self._asked = {attempt: asked for attempt, asked in self._asked.items() if attempt in self._futures}
        return [attempt for attempt, asked in self._asked.items() if not self.resources.fits(asked)]

    def _give_up_stranded(self) -> None:
        for attempt in self._stranded():
            try:
                self.resources.must_fit(attempt.step_id, self._asked[attempt])
            except NoWorkerError as error:
                executor: Any = self._executor
                executor.give_up(self._futures[attempt], error)

    def _call_of(self, attempt: Attempt, call: RemoteCall, engine: Engine) -> Callable[[], Any]:
        step = engine.scheduler.steps[attempt.index]
        asked = self.resources.asked(step.needs)
        if asked:
            self.resources.must_fit(step.step_id, asked)
            self._asked[attempt] = asked
            call.leave_devices_to(self.resources.states)
        begun = None if step.timeout is None else lambda: engine.started(attempt, engine.now(), self.name)
        may_stay = step.idempotent is not False
        made = super()._call_of(attempt, call, engine)
        return SentCall(made, asked, begun, may_stay) if asked or begun or not may_stay else made

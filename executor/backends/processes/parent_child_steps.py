"""The parent's side of calls that steps in worker processes make.

Rules of this module:
- Everything happens in the thread that drives the run. What the engine says elsewhere is left as a note, and the driver
  is woken.
- A worker whose step waits for its calls is no worker that can run: another process takes its place, as soon as there
  is something for it to do (a process is slow to start). Those too many are ended when they have nothing to do.
"""

from __future__ import annotations

import pickle
from _thread import get_ident
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from executor.backends.child_steps import EngineCaller
from executor.backends.pickling import PROTOCOL, dumps
from executor.backends.processes.frames import TOOLS, packets
from executor.backends.processes.worker_child_steps import packed
from executor.backends.processes.worker_handle import STOPPING, WorkerProcess
from executor.child_steps.child_request import ChildRequest, Done, Outcome, Outcomes, Withdraw
from executor.engine.engine import Engine
from executor.record.outcomes import Failure
from executor.record.timeline import Attempt

if TYPE_CHECKING:
    from executor.backends.processes.worker_pool import WorkerPool


class DeferredTools:
    """Tools that no step of the file names: a worker gets each with the first call that needs it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._first = frozenset(engine.renderer.tools)
        self._packed: dict[str, bytes] = {}

    def pack(self, name: str) -> None:
        """Make a tool ready to be sent.

        Raises:
            NotPicklableError: it cannot be.
        """
        if name not in self._first and name not in self._packed:
            self._packed[name] = dumps(self._engine.renderer.tools[name], f"tool {name!r}")

    def lacks(self, worker: WorkerProcess, index: int) -> bool:
        """Whether a worker has yet to get the tool of this step."""
        name = self._engine.scheduler.steps[index].tool or ""
        return name not in self._first and name not in worker.tools

    def packets_for(self, worker: WorkerProcess, index: int) -> list[bytes | memoryview]:
        """What has to be sent before this step is: the tool, or nothing."""
        if not self.lacks(worker, index):
            return []
        name = self._engine.scheduler.steps[index].tool or ""
        worker.tools.add(name)
        return packets(TOOLS, 0, 0, pickle.dumps({name: self._packed[name]}, PROTOCOL))


class WorkerChildSteps:
    """The calls of all workers. ``pool`` is set before the first step."""

    pool: WorkerPool

    def __init__(self, engine: Engine, dispatch: Callable[[list[Attempt]], None]) -> None:
        self.engine = engine
        self.any = False
        self.tools = DeferredTools(engine)
        self._dispatch = dispatch
        self._thread = 0
        # What workers asked for: worker, number, body; a body of None takes the calls back.
        self._asked: deque[tuple[WorkerProcess, int, bytes | bytearray | None]] = deque()
        # Left by other threads, too: outcomes on their way to a worker, and what starts.
        self._outcomes_due: deque[tuple[WorkerProcess, int, Outcomes]] = deque()
        self._starts: deque[Attempt] = deque()
        self._withdraws: dict[tuple[WorkerProcess, int], Withdraw] = {}

    def __bool__(self) -> bool:
        """Whether :meth:`carry_out` is due."""
        return bool(self._asked or self._outcomes_due or self._starts)

    def asked(self, worker: WorkerProcess, number: int, body: bytes | bytearray | None) -> None:
        """A worker's step makes calls, or takes them back."""
        self.any = True
        self._asked.append((worker, number, body))

    def carry_out(self) -> None:
        """Make the calls, send the outcomes. When all ends that came before are known to the engine."""
        self._thread = get_ident()
        while self._asked:
            worker, number, body = self._asked.popleft()
            if body is None:
                withdraw = self._withdraws.get((worker, number))
                if withdraw is not None:
                    withdraw()
            else:
                self._begin(worker, number, body)
        if self._starts:
            starts = list(self._starts)
            self._starts.clear()
            self._dispatch(starts)
        while self._outcomes_due:
            worker, number, outcomes = self._outcomes_due.popleft()
            self._withdraws.pop((worker, number), None)
            if worker.state < STOPPING:
                self.pool.send_outcomes(worker, number, packed(outcomes))

    def _begin(self, worker: WorkerProcess, number: int, body: bytes | bytearray) -> None:
        attempt = worker.given[0] if worker.given else None
        try:
            step_id, attempt_number, asked, at_once = pickle.loads(body)  # noqa: S301  # from a worker of ours
            calls = [ChildRequest(*call) for call in asked]
        except Exception as error:  # noqa: BLE001  # a value's own code may raise anything
            failure = Failure("NotPicklable", f"the calls cannot be read here: {type(error).__name__}: {error}", "")
            self._outcomes_due.append((worker, number, [Outcome(None, None, failure)]))
            return
        if (
            not isinstance(attempt, Attempt)
            or (attempt.step_id, attempt.attempt) != (step_id, attempt_number)
            or attempt.outcome is not None
        ):
            # The step is over, or was cancelled before it was granted.
            self._outcomes_due.append((worker, number, None))
            return

        def done(outcomes: Outcomes) -> None:
            self._outcomes_due.append((worker, number, outcomes))
            self._wake()

        caller = _WorkerCaller(self, worker)
        self._withdraws[worker, number] = caller.begin(attempt, calls, at_once, done)

    def dispatch(self, starts: list[Attempt]) -> None:
        """Have these run. From any thread."""
        if get_ident() == self._thread:
            self._dispatch(starts)
        elif starts:
            self._starts.extend(starts)
            self._wake()

    def _wake(self) -> None:
        if get_ident() != self._thread:
            self.pool.notify()


class _WorkerCaller(EngineCaller):
    """Calls of the step that one worker runs."""

    def __init__(self, calls: WorkerChildSteps, worker: WorkerProcess) -> None:
        super().__init__(calls.engine)
        self._calls = calls
        self._worker = worker

    def dispatch(self, starts: list[Attempt]) -> None:
        self._calls.dispatch(starts)

    def blocked(self, who: object) -> None:
        self._worker.waiting.add(who)

    def resumed(self, who: object) -> None:
        self._worker.waiting.discard(who)

    def begin(self, running: Attempt, calls: Sequence[ChildRequest], at_once: int | None, done: Done) -> Withdraw:
        def arrived(outcomes: Outcomes) -> None:
            self.resumed(arrived)
            done(outcomes)

        own = self.start_alone(running, calls[0], arrived) if len(calls) == 1 else None
        if own is None:
            return super().begin(running, calls, at_once, done)
        self.blocked(arrived)
        self.dispatch([own])
        ids = [own.step_id]
        return lambda: self.withdraw(running, ids)

"""Between the engine and the worker processes: which worker gets which step, and what becomes of what it was given.

Rules of this module:
- A step past its timeout, or cancelled, is ended with its whole process group, and a new worker takes the place; its
  limits and locks are free when the group is dead.
- A worker that dies takes down the one step that ran on it. What waited there is given to others.
- Short steps are handed out ahead of free workers (see :mod:`executor.backends.processes.prefetch`).
- Requests are made ready first and sent together: a worker that woke up finds more, and need not sleep between.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator
from typing import Any, TypeAlias

from executor.backends.base import usable_cores
from executor.backends.pickling import unreadable_result
from executor.backends.processes.frames import FAILED, HAS_FACTS, IS_NONE, NOTHING, Frame
from executor.backends.processes.parent_child_steps import WorkerChildSteps
from executor.backends.processes.polling import POLLED_STEP_NANOSECONDS
from executor.backends.processes.prefetch import PATIENCE_NANOSECONDS, HandedOut, Outgoing, index_of
from executor.backends.processes.step_requests import request_of
from executor.backends.processes.worker_handle import BUSY, WorkerProcess
from executor.engine.deadlines import NEVER
from executor.engine.driver import Request
from executor.engine.engine import Engine
from executor.record.outcomes import Completion, Failure
from executor.record.timeline import NANOSECONDS, Attempt, AttemptOutcome

# A call that came to its end: worker, what it ran, started, ended, CPU seconds, outcome, value, tokens, facts.
End: TypeAlias = tuple[
    WorkerProcess, "Attempt | int", int, int, float | None, AttemptOutcome, Any, int | None, dict[str, Any] | None
]


class Dispatcher(HandedOut):
    """One run. ``pool`` is set before the first step; what a worker was given is in its ``given``: attempts, and
    the indices of steps that were handed out ahead and are not granted yet.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        # Attempts whose call is to be stopped: other threads append.
        self.to_stop: deque[Attempt] = deque()
        self._ends: list[End] = []
        # The ends of calls that never began.
        self._reports: list[Completion] = []
        # The one that was sent the last step.
        self._awake: WorkerProcess | None = None
        self._cores = usable_cores()
        self.nested = WorkerChildSteps(engine, self.dispatch)

    # ------------------------------------------------------------------ what workers say

    def ended(self, worker: WorkerProcess, frame: Frame) -> None:
        """A result came. See :class:`executor.backends.processes.worker_pool.Listener`."""
        kind, flags, started, ended, cpu, tokens, body = frame
        item = worker.given.popleft()
        worker.ended_at = ended
        outcome: AttemptOutcome = "succeeded"
        value: Any = None
        facts: dict[str, Any] | None = None
        if not flags & IS_NONE:
            try:
                value = pickle.loads(body)  # noqa: S301  # from a worker of ours
                if flags & HAS_FACTS:
                    value, facts = value
                if kind == FAILED:
                    outcome, value = value
            except Exception as error:  # noqa: BLE001  # a value's own code may raise anything
                step_id = self._engine.scheduler.step_ids[index_of(item)]
                outcome, value = "failed", unreadable_result(step_id, error)
        origin = self._engine.origin
        cpu_seconds = None if cpu == NOTHING else cpu / NANOSECONDS
        tokens_used = None if tokens == NOTHING else tokens
        self._ends.append(
            (worker, item, started - origin, ended - origin, cpu_seconds, outcome, value, tokens_used, facts)
        )

    def calls(self, worker: WorkerProcess, number: int, body: bytes | bytearray | None) -> None:
        """Its step makes calls. See :class:`executor.backends.processes.worker_pool.Listener`."""
        # What waits behind it would wait for those calls too, and elsewhere it would start before them.
        self._reclaim_all()
        self.nested.asked(worker, number, body)

    def died(self, worker: WorkerProcess, how: str) -> None:
        """A process is gone. See :class:`executor.backends.processes.worker_pool.Listener`."""
        self._reclaim(worker)
        now = self._engine.now()
        message = f"its worker process ({worker.name}, process id {worker.pid}) {how}"
        if worker.given and (wrote := worker.output.tail(self._engine.origin + worker.free_at)):
            message += f"; it wrote last: {wrote}"
        failure = Failure("WorkerDied", message)
        began = worker.began_at()
        started = 0 if began is None else began - self._engine.origin
        for item in worker.given:
            self._ends.append((worker, item, started, now, None, "worker_died", failure, None, None))
        worker.given.clear()
        self._replace()

    def _replace(self) -> None:
        if not self._engine.done:
            self.pool.fill()

    # ------------------------------------------------------------------ the engine's side

    def has_news(self) -> bool:
        """Whether :meth:`advance` is due without a word from any worker."""
        if self._ends or self._reports or self._take_back or (self._backlog and self.pool.idle):
            return True
        return bool(self.nested) or self._engine.cancel_requested

    def patience(self) -> float | None:
        """Seconds to wait for workers at most: until a timeout may be over. If a worker is idle, what waits behind a
        step that takes longer than those before it did is taken back, now or when the time is over.
        """
        if not self.pool.idle and self._look_at == NEVER:
            return None
        now = self._engine.now()
        soonest = None if self._look_at == NEVER else self._look_at
        for worker in self.pool.workers:
            if len(worker.given) > 1 and self.pool.idle:
                late_at = worker.free_at + PATIENCE_NANOSECONDS
                if late_at <= now:
                    self._reclaim(worker)
                elif soonest is None or late_at < soonest:
                    soonest = late_at
        return None if soonest is None else max(0, soonest - now) / NANOSECONDS

    def advance(self, *, notified: bool = False) -> None:
        """Report to the engine what happened, and send what starts. ``notified``: others may have left something."""
        cancels = self._engine.cancel_requested
        if self._look_at != NEVER:
            self._note_begun()
        if self._ahead:
            self._hear_all_begun()
        if self.to_stop or (self._ahead and (notified or self.nested or self._ends_calls() or self._is_due())):
            self._settle()
        self._stop_calls()
        starts = self._end_of_one() if len(self._ends) == 1 and not notified else None
        if starts is None:
            requests: list[Request] = [self._give_back] if self._take_back else []
            if cancels:
                requests.append(self._engine.carry_out_cancel)
            starts = self._engine.advance(self._completions(), requests)
        self.dispatch(starts)
        if self.nested:
            self.nested.carry_out()

    def _ends_calls(self) -> bool:
        """Whether a step that waited for its calls has ended: they end with it."""
        return any(end[0].waiting for end in self._ends)

    def _end_of_one(self) -> list[Attempt] | None:
        """The short way for steps, or calls, one after the other. None: the engine has to hear of more."""
        if self._ahead or self._take_back or self._reports or self._sent_again:
            return None
        ((worker, item, started, ended, cpu_seconds, outcome, value, tokens_used, facts),) = self._ends
        if outcome != "succeeded" or tokens_used is not None or facts:
            return None
        if not isinstance(item, Attempt) or item.outcome is not None:
            return None
        self._ends = []
        self._short.note(item.index, ended - started)
        began = max(started, worker.free_at, item.granted)
        ended = worker.free_at = max(ended, began)
        return self._engine.succeed(item, began, ended, worker.name, cpu_seconds, value, late=True)

    def _stop_calls(self) -> None:
        """End the workers whose step was cancelled or is past its timeout."""
        while self.to_stop:
            attempt = self.to_stop.popleft()
            worker = next((worker for worker in self.pool.workers if attempt in worker.given), None)
            if worker is None:
                # It has ended meanwhile, or waits for a worker: then `dispatch` comes upon it.
                continue
            self._reclaim(worker)
            if attempt in worker.given:
                self.pool.end(worker)
                self._replace()

    def _completions(self) -> Iterator[Completion]:
        """What ended, for the engine, which takes it under its lock: steps handed out ahead are granted on the way."""
        for attempt, at in self._sent_again:
            self._engine.scheduler.regrant(attempt, at)
        self._sent_again.clear()
        reports, self._reports = self._reports, []
        yield from reports
        ends, self._ends = self._ends, []
        # When the slots became free that are not used yet.
        freed: list[int] = []
        if self._ahead:
            # Those that wait for calls last: what they end has begun by then.
            ends.sort(key=lambda end: bool(end[0].waiting))
        for worker, item, started, ended, cpu_seconds, outcome, value, tokens_used, facts in ends:
            if worker.waiting and self._ahead:
                self._grant_begun(freed)
            granted = item if isinstance(item, Attempt) else self._grant_next(worker, item, freed)
            if granted is None:
                # It was cancelled where it waited, and ran all the same.
                self._ahead -= 1
                continue
            if outcome == "succeeded":
                self._short.note(granted.index, ended - started)
            # When a step began whose worker died is not known: not before the one before it ended.
            began = max(started, worker.free_at)
            # The record will say so too: an attempt never ends before it was granted.
            worker.free_at = free_at = max(ended, granted.granted)
            freed.append(free_at)
            if facts:
                self._engine.facts[granted] = facts
            yield granted, began, max(began, ended), worker.name, cpu_seconds, outcome, value, tokens_used
        if self._ahead:
            self._grant_handed_out(freed)

    # ------------------------------------------------------------------ handing out

    def dispatch(self, starts: list[Attempt]) -> None:
        """Send what starts to workers that can run it now; the rest waits for the next that is ready."""
        backlog, idle = self._backlog, self.pool.idle
        backlog.extend(starts)
        outgoing: Outgoing = []
        # Where a process has yet to start, a busy one gets to a short step first.
        while backlog and (idle or self._busy_worker_for(backlog[0]) is not None):
            attempt = backlog.popleft()
            if attempt.outcome is not None:
                # Cancelled before it was sent: it never ran, and what it holds is free.
                self._report(attempt, "cancelled", None)
                continue
            polls = self.pool.polls = self._may_poll(attempt.index)
            request = request_of(self._engine, self.nested.tools, attempt.index, attempt.attempt, polls=polls)
            if isinstance(request, Failure):
                self._report(attempt, "failed", request)
                continue
            worker = self._busy_worker_for(attempt) if len(request) == 1 else None
            if worker is None and not idle:
                backlog.appendleft(attempt)
                break
            if worker is None:
                worker = idle.pop()
                worker.state = BUSY
                worker.large = len(request) > 1
                worker.free_at = self._granted_at(attempt)
            if self.nested.any and (late := self.nested.tools.packets_for(worker, attempt.index)):
                # Several packets: none of them may be taken back.
                request = [*late, *request]
                worker.large = True
            worker.given.append(attempt)
            self._look_for_timeout(attempt, attempt.granted)
            outgoing.append((worker, request))
            self._awake = worker
        for worker, request in outgoing:
            self.pool.send(worker, request)
        if backlog and self.pool.is_at_a_loss():
            self._fail_backlog()
        if backlog and self.nested.any and not self._engine.done:
            # Workers whose steps wait for their calls are made up for when there is something to run.
            self.pool.fill()
        if not backlog and self._engine.scheduler.running >= self._engine.scheduler.slots:
            self._hand_out_ahead()

    def _fail_backlog(self) -> None:
        """There is no worker and will be none: what cannot run fails, and what has ended is kept."""
        failure = Failure("NoWorker", f"no worker process is left to run it. {self.pool.exhausted}", retryable=False)
        while self._backlog:
            self._report(self._backlog.popleft(), "failed", failure)

    def _may_poll(self, index: int) -> bool:
        """Whether there is a core for each busy worker, one more and the driver, and the step is over in a moment."""
        pool, short = self.pool, self._short
        if len(pool.workers) - len(pool.idle) + 2 > self._cores:
            return False
        return short.fits(index) and short.mean_nanoseconds(index) <= POLLED_STEP_NANOSECONDS

    def _granted_at(self, attempt: Attempt) -> int:
        if attempt not in self._moved:
            return attempt.granted
        self._moved.discard(attempt)
        now = self._engine.now()
        self._sent_again.append((attempt, now))
        return now

    def _busy_worker_for(self, attempt: Attempt) -> WorkerProcess | None:
        """The worker that gets to a step sooner than an idle one would, if there is one."""
        worker, short = self._awake, self._short
        if worker is None or worker.state != BUSY or worker.large or worker.waiting or attempt in self._moved:
            return None
        if self.nested.any and self.nested.tools.lacks(worker, attempt.index):
            return None
        if not (short.fits(attempt.index) and short.joins(attempt.index, len(worker.given))):
            return None
        if not short.fits(index_of(worker.given[0])):
            return None
        return worker if self._engine.now() - worker.free_at < PATIENCE_NANOSECONDS else None

    def _report(self, attempt: Attempt, outcome: AttemptOutcome, failure: Failure | None) -> None:
        now = self._engine.now()
        workers = self.pool.idle or self.pool.workers
        name = workers[-1].name if workers else "processes"
        self._reports.append((attempt, now, now, name, None, outcome, failure, None))

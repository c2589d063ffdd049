"""Steps that wait at busy worker processes, ahead of their grants: handed out, granted as workers go on to them, taken
back.

Rules of this module:
- The record shows no more running than workers: what waits at a worker is granted when a slot is free, in its turn.
  Before that, workers are heard until none has news: what one went on to meanwhile took the slot of the step before it.
- What may be cancelled is taken back first. What has begun by then is granted before it is cancelled, so that the
  record shows whatever ran.
- Per tool, and only once its recent steps were all shorter than 200 µs; one longer step, and the tool starts again.
- Never a step with a lock or ``idempotent: false``, nor one with limits that may be full; none at all in a graph with
  ``on_failure: stop``, where a step that waits at a worker might run after the one that stops everything.
- The time of a step with a timeout runs from its beginning at its worker, however long it waited there.
- A worker holds at most about a millisecond of work.
- A worker that is awake beats one that has to be woken: a granted step that is over sooner than that takes waits behind
  another, although a worker is idle. If it has not begun within ``PATIENCE_NANOSECONDS``, the idle worker gets it.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from executor.backends.processes.parent_child_steps import WorkerChildSteps
from executor.backends.processes.step_requests import request_of
from executor.backends.processes.worker_handle import BUSY, WorkerProcess
from executor.backends.processes.worker_pool import WorkerPool
from executor.backends.short_steps import ShortSteps
from executor.engine.deadlines import NEVER
from executor.engine.engine import Engine
from executor.record.outcomes import Failure
from executor.record.timeline import NANOSECONDS, Attempt

Outgoing: TypeAlias = list[tuple[WorkerProcess, list[bytes | memoryview]]]


# A worker whose step runs this long gives back what waits behind it. On a busy machine a worker may not even get a
# core for a part of that: less, and steps are sent round for nothing.
PATIENCE_NANOSECONDS = 1_000_000


class HandedOut:
    """The part of :class:`executor.backends.processes.dispatch.Dispatcher` that lets steps wait at workers."""

    pool: WorkerPool
    nested: WorkerChildSteps

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._backlog: deque[Attempt] = deque()
        # Taken back from workers: steps that wait again; granted ones that go to another worker, and when they went.
        self._take_back: list[int] = []
        self._moved: set[Attempt] = set()
        self._sent_again: list[tuple[Attempt, int]] = []
        self._short = ShortSteps(engine.scheduler.steps, limits_and_timeouts=True)
        # What was handed out ahead: how many of them are not granted yet, and the order (with some that are).
        self._ahead = 0
        self._handed: deque[tuple[int, WorkerProcess]] = deque()
        # When those of them were handed out that have limits.
        self._limited_since: dict[int, int] = {}
        # Until when all is known that ended.
        self._heard_at = 0
        # No step with a timeout can be past it before, as far as is known here.
        self._look_at = NEVER
        # Whether any of the first so many steps has a timeout.
        self._has_timeouts = False
        self._looked_through = 0
        self._watches_start = engine.instruments.watches("attempt_started")

    def _is_due(self) -> bool:
        """Whether the run is to be cancelled, or the time of a step that waits for its calls is over, or nearly: its
        calls end with it.
        """
        if self._engine.cancel_requested:
            return True
        for worker in self.pool.workers:
            item = worker.given[0] if worker.waiting and worker.given else None
            if isinstance(item, Attempt):
                timeout = self._engine.scheduler.steps[item.index].timeout
                soon = self._engine.now() + PATIENCE_NANOSECONDS
                began = item.granted if item.started is None else item.started
                if timeout is not None and began + timeout * NANOSECONDS <= soon:
                    return True
        return False

    def _look_for_timeout(self, attempt: Attempt, began: int) -> None:
        """The step was granted and has not begun before ``began``: look then whether its time may be over."""
        timeout = self._engine.scheduler.steps[attempt.index].timeout
        if timeout is not None:
            self._look_at = min(self._look_at, began + round(timeout * NANOSECONDS))

    def _note_begun(self) -> None:
        """The time of a step may be over: the engine hears which steps with timeouts have begun, and when."""
        now = self._engine.now()
        if now < self._look_at:
            return
        self._look_at = NEVER
        for worker in self.pool.workers:
            for place, item in enumerate(worker.given):
                if not isinstance(item, Attempt) or item.started is not None:
                    continue
                began = None if place else worker.began_at()
                if began is None:
                    self._look_for_timeout(item, now)
                else:
                    self._engine.started(item, began - self._engine.origin, worker.name)

    def _holders(self) -> int:
        """How many attempts hold their limits at once at most: a step past its timeout, and a call that ends with its
        step, keep theirs until their worker is dead, and what takes their slots has limits, too. What was handed out
        may be granted before it is known that what was granted before it has ended.
        """
        scheduler = self._engine.scheduler
        count = len(scheduler.steps)
        if count > self._looked_through:
            late = scheduler.steps[self._looked_through :]
            self._has_timeouts = self._has_timeouts or any(step.timeout is not None for step in late)
            self._looked_through = count
        may_abandon = self._has_timeouts or self.nested.any or scheduler.held > 0
        return scheduler.slots * (1 + may_abandon) + self._ahead

    def _hear_all_begun(self) -> None:
        """Hear of all that ended until now, so that of what waits behind another step nothing has begun: a worker may
        have gone on while others were heard.
        """
        self._heard_at = self._engine.now()
        while self.pool.hear_news():
            self._heard_at = self._engine.now()

    def _settle(self) -> None:
        """What was handed out may be cancelled now. What has not begun must not begin any more, and comes back; what
        has is heard of first, so that the record shows it: a worker reports each end before it goes on.
        """
        self._reclaim_all()
        for worker in self.pool.workers:
            while len(worker.given) > 1 and self.pool.hear(worker):
                pass

    def _reclaim_all(self) -> None:
        for worker in self.pool.workers:
            if len(worker.given) > 1 or (worker.given and isinstance(worker.given[0], int)):
                self._reclaim(worker)

    def _reclaim(self, worker: WorkerProcess) -> None:
        """Take back what the worker has not begun: steps handed out ahead go back to the scheduler, granted ones to
        the next idle worker.
        """
        for index in worker.take_back(len(worker.given)):
            item = next((item for item in worker.given if index_of(item) == index), None)
            if item is None:
                continue
            worker.given.remove(item)
            if isinstance(item, Attempt):
                self._moved.add(item)
                self._backlog.appendleft(item)
            else:
                self._ahead -= 1
                self._take_back.append(item)
        if not worker.given and worker.state == BUSY:
            self.pool.make_idle(worker)

    def _give_back(self, _now: int) -> None:
        for index in self._take_back:
            self._engine.scheduler.take_back(index)
        self._take_back.clear()

    def _grant_handed_out(self, freed: list[int]) -> None:
        """Free slots belong to what was handed out: first to what workers went on to already, then in its order."""
        self._grant_begun(freed)
        scheduler = self._engine.scheduler
        handed = self._handed
        freed.sort()
        while handed and scheduler.running < scheduler.slots:
            index, worker = handed.popleft()
            if index not in worker.given:
                continue
            attempt = self._grant(index, freed.pop(0) if freed else self._heard_at)
            if attempt is not None:
                worker.given[worker.given.index(index)] = attempt

    def _grant_begun(self, freed: list[int]) -> None:
        for worker in self.pool.workers:
            first = worker.given[0] if worker.given else None
            if isinstance(first, int) and (attempt := self._grant_next(worker, first, freed)) is not None:
                worker.given[0] = attempt

    def _grant_next(self, worker: WorkerProcess, index: int, freed: list[int]) -> Attempt | None:
        """A worker went on to a step that was handed out: it took the slot of the one before."""
        if worker.free_at in freed:
            freed.remove(worker.free_at)
        return self._grant(index, worker.free_at)

    def _grant(self, index: int, at: int) -> Attempt | None:
        """Grant a step that was handed out. None: it was cancelled meanwhile."""
        # The worker may have been free before the step was handed out, but its limits are not held since then.
        at = max(at, self._limited_since.pop(index, at))
        attempt = self._engine.scheduler.start_handed_out(index, at)
        if attempt is not None:
            self._ahead -= 1
            self._look_for_timeout(attempt, attempt.granted)
            if self._watches_start:
                self._engine.instruments.call("attempt_started", attempt)
        return attempt

    # ------------------------------------------------------------------ ahead of free workers

    def _hand_out_ahead(self) -> None:
        """Every slot is taken, and nothing waits to be sent: let some of the next steps wait where they will run."""
        short = self._short
        now = self._engine.now()
        free_places: list[tuple[int, WorkerProcess]] = []
        for worker in self.pool.workers:
            if worker.state != BUSY or worker.large or worker.waiting:
                continue
            index = index_of(worker.given[0])
            waiting = len(worker.given) - 1
            if now - worker.free_at > PATIENCE_NANOSECONDS:
                if waiting:
                    self._reclaim(worker)
            elif short.fits(index) and 2 * waiting <= (depth := short.depth(index)):
                free_places.append((depth - waiting, worker))
        if not free_places or self.nested or not self._engine.scheduler.may_hand_out or self._is_due():
            # Calls that are about to be made come first; and those of a step whose time is nearly over end with it.
            return
        handed: list[int] = []
        scheduler = self._engine.scheduler

        def hand_out(now: int) -> None:
            most = sum(count for count, _ in free_places)
            handed.extend(scheduler.hand_out(most, short.fits, self._holders()))
            self._limited_since.update((index, now) for index in handed if scheduler.steps[index].needs)

        self._backlog.extend(self._engine.advance((), (hand_out,)))
        self._share_out(handed, free_places)

    def _share_out(self, handed: list[int], free_places: list[tuple[int, WorkerProcess]]) -> None:
        """Give each worker its part, the next steps evenly to all."""
        outgoing: Outgoing = []
        place = turn = 0
        while place < len(handed):
            for count, worker in free_places:
                if turn >= count or place >= len(handed):
                    continue
                index = handed[place]
                place += 1
                if self.nested.any and self.nested.tools.lacks(worker, index):
                    self._take_back.append(index)
                    continue
                request = request_of(self._engine, self.nested.tools, index, 1)
                if isinstance(request, Failure) or len(request) > 1:
                    # Too large to wait there, or it fails: it goes the usual way.
                    self._short.exclude(index)
                    self._take_back.append(index)
                    continue
                self._ahead += 1
                worker.given.append(index)
                self._handed.append((index, worker))
                outgoing.append((worker, request))
            turn += 1
        for worker, request in outgoing:
            self.pool.send(worker, request)


def index_of(item: Attempt | int) -> int:
    """The index of the step."""
    return item if isinstance(item, int) else item.index

"""The window: calls submitted ahead of free workers, so that a worker goes on to the next at once.

::

    granted, one a slot  +  about as many that wait where they will run   (refilled when half of these have begun)

Rules of this module:
- The record shows no more running than workers: what waits is granted when a slot is free, in its turn. Which worker
  had it is known when its answer comes: then its grant is put to when that worker was free, whatever order answers
  have.
- Never a step with a timeout, a limit, a lock, ``idempotent: false`` or several attempts; none in a graph with
  ``on_failure: stop`` (:meth:`.ShortSteps.may_wait`).
- Only steps of a tool whose recent ones were all shorter than ``LONGEST_NANOSECONDS`` (before there are any, that are
  expected to be): to a longer one the way is nothing, and it would keep waiting what is behind it.
- What waits is called back where a step of a higher priority is ready, and where the run is to be cancelled. What has
  begun by then is heard of first.
- A call that is lost while it waits has not been tried: it waits here again, and next time it does not go ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from executor.backends.batches import BatchCall, BatchingBackend
from executor.backends.submit import End, Times
from executor.backends.worker_lanes import WorkerLanes
from executor.engine.engine import Engine
from executor.garbage_collection import rare_collections
from executor.host_id import machine
from executor.record.outcomes import Completion
from executor.record.timeline import NANOSECONDS, Attempt

LONGEST_NANOSECONDS = 1_000_000_000
# How long it may take on a busy machine until the next calls are there.
_WAY_NANOSECONDS = 150_000_000
# So many calls wait for a worker at most.
DEEPEST = 8
_FIRST_DEPTH = 2
_RECENT = 8
_UNKNOWN = 1 << 62


class RecallError(Exception):
    """The call was called back before it began."""


class Waiting:
    """A call that was submitted before its first step had a slot: the steps in it, and the attempt once it has one."""

    __slots__ = ("attempt", "future", "indices", "returned", "sent")

    def __init__(self, indices: list[int]) -> None:
        self.indices = indices
        self.future: Future[Any] | None = None
        self.attempt: Attempt | None = None
        # When it was sent and when its answer came, by the driver's clock.
        self.sent = self.returned = 0


class WindowBackend(BatchingBackend):
    """A :class:`BatchingBackend` whose executor lets calls wait at its workers, in the order in which they came."""

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        # In the order of their submission: those without a slot yet.
        self._waiting: dict[Waiting, None] = {}
        # What has a slot, since when that is free, and may wait for its worker all the same.
        self._unsure: dict[Attempt, int] = {}
        self._lanes = WorkerLanes()
        self._ends_ahead: deque[Waiting] = deque()
        self._arrived: list[Waiting] = []
        self._again: list[Attempt] = []
        self._durations: dict[str, deque[int]] = {}
        self._recalled = False

    def lets_calls_wait(self) -> bool:
        """Whether the executor runs no more calls at once than there are workers."""
        return True

    def recall(self, futures: Sequence[Any]) -> None:
        """Have calls that have not begun end with :class:`RecallError`; the others go on."""

    def open(self, engine: Engine) -> None:
        self._forget()
        super().open(engine)

    def drive(self, engine: Engine) -> None:
        # A look at all objects may take a tenth of a second, in which no worker is sent or heard.
        with rare_collections():
            super().drive(engine)

    def close(self) -> None:
        for waiting in self._waiting:
            if waiting.future is not None:
                waiting.future.cancel()
        self._forget()
        super().close()

    def forget_waiting(self) -> None:
        """What waits at workers is lost: it waits here again."""
        for waiting in self._waiting:
            self._to_take_back.extend(waiting.indices)
        self._waiting.clear()
        self._wake.set()

    def _forget(self) -> None:
        self._waiting.clear()
        self._unsure.clear()
        self._lanes = WorkerLanes()
        self._ends_ahead.clear()
        self._arrived.clear()
        self._again.clear()
        self._durations.clear()
        self._recalled = False

    # ------------------------------------------------------------------ ends

    def _wait_for_ends(self, seconds: float) -> list[End]:
        self._wake.wait(seconds)
        # These first: then the end of what its worker ran before is among the others.
        while self._ends_ahead:
            self._arrived.append(self._ends_ahead.popleft())
        return super()._wait_for_ends(0)

    def _completions(self, engine: Engine, ends: list[End]) -> Iterable[Completion]:
        came: list[tuple[int, Attempt | Waiting, Future[Any] | Exception]] = [
            (self._began(end, engine), attempt, end) for attempt, end in ends
        ]
        came += [
            (self._began(waiting.future, engine), waiting.attempt or waiting, waiting.future)
            for waiting in self._arrived
            if waiting.future is not None
        ]
        for waiting in self._arrived:
            if waiting.attempt is not None:
                self.placed.note_return(waiting.attempt, waiting.returned)
        self._arrived.clear()
        came.sort(key=_first)
        # When the slots became free that are not used yet.
        freed: list[int] = []
        if not came:
            yield from super()._completions(engine, [])
        for started, item, end in came:
            if isinstance(item, Attempt) and _was_recalled(end):
                # It got its slot meanwhile: it is submitted as any other.
                self._unsure.pop(item, None)
                self._futures.pop(item, None)
                self._take_back(engine, self._batches.pop(item, ()))
                self._again.append(item)
                continue
            had_slot = isinstance(item, Attempt) and item.outcome is None
            lane = _lane(end)
            free = None if lane is None else self._lanes.free_since(lane, started)
            if isinstance(item, Waiting):
                completions: Iterable[Completion] = self._of_waiting(engine, item, started if free is None else free)
            else:
                self._put_right(engine, item, started, free, freed)
                completions = super()._completions(engine, [(item, end)])
            last = 0
            for completion in completions:
                yield completion
                last = self._note_end(engine, completion, lane) or last
            if had_slot and last:
                freed.append(last)
            elif last:
                self._pass_on(engine, free, last, freed)
        self._grant_waiting(engine, freed)

    def _of_waiting(self, engine: Engine, waiting: Waiting, free: int) -> Iterator[Completion]:
        """The end of a call that has no slot in the record yet: it had that which was ``free``."""
        if waiting not in self._waiting or waiting.future is None:
            return
        del self._waiting[waiting]
        end, (first, *rest) = waiting.future, waiting.indices
        if _failed(end):
            if not _was_recalled(end):
                self._short.exclude(first)
            self._take_back(engine, waiting.indices)
            return
        attempt = self._grant(engine, first, free)
        if attempt is None:
            # It was cancelled where it waited, and ran all the same.
            self._take_back(engine, rest)
            return
        self.placed.note_sending(attempt, waiting.sent)
        self.placed.note_return(attempt, waiting.returned)
        yield from self._of_batch(engine, attempt, end, rest)

    # What each worker ran is known when it has ended. Until then the record holds a guess: who waits longest gets the
    # slot that became free first.

    def _put_right(self, engine: Engine, attempt: Attempt, started: int, free: int | None, freed: list[int]) -> None:
        """A call has ended that was granted before its worker was known."""
        slot = self._unsure.pop(attempt, None)
        if attempt.outcome is not None or started >= _UNKNOWN:
            return
        if slot is None:
            # Granted when a slot was free, and sent then: its worker may have had another call to run first.
            slot = attempt.granted
            right = slot if free is None else max(slot, free)
        else:
            right = min(slot, started) if free is None else free
        if right != slot:
            self._pass_on(engine, right, slot, freed)
            engine.scheduler.move_grant(attempt, right)

    def _pass_on(self, engine: Engine, free: int | None, instead: int, freed: list[int]) -> None:
        """The slot that was ``free`` then was not his who has it in the record: he has had another ``instead``."""
        for other, slot in self._unsure.items():
            if slot == free and other.outcome is None:
                self._unsure[other] = instead
                engine.scheduler.move_grant(other, instead)
                return
        if free in freed:
            freed[freed.index(free)] = instead

    def _note_end(self, engine: Engine, completion: Completion, lane: Hashable | None) -> int:
        """Returns when the attempt ended; 0: that is not known."""
        attempt, _, ended, *_ = completion
        if lane is not None and attempt.started is not None and attempt.ended == ended:
            behind = self._lanes.add(lane, attempt)
            if behind is not None and behind.granted < ended:
                engine.scheduler.move_grant(behind, ended)
        return attempt.ended or 0

    def _began(self, end: Future[Any] | Exception, engine: Engine) -> int:
        """When the first step of a call began, on our clock; for what failed, late."""
        times = _first_times(end)
        return _UNKNOWN if times is None else self._instant(times.machine, times.started, engine)

    def _instant(self, where: str, instant: int, engine: Engine) -> int:
        """An instant of a worker's clock on ours, from the run's t = 0."""
        if where == machine():
            return instant - engine.origin
        placed = self.placed.clocks.instant(where, instant)
        return engine.now() if placed is None else placed - engine.origin

    def _grant_waiting(self, engine: Engine, freed: list[int]) -> None:
        """Free slots belong to what waits at workers, in its order."""
        scheduler = engine.scheduler
        freed.sort()
        while self._waiting and scheduler.running < scheduler.slots:
            waiting = next(iter(self._waiting))
            del self._waiting[waiting]
            first, *rest = waiting.indices
            slot = freed.pop(0) if freed else engine.now()
            attempt = self._grant(engine, first, slot)
            if attempt is None or waiting.future is None:
                self._take_back(engine, rest)
                continue
            waiting.attempt = attempt
            self.placed.note_sending(attempt, waiting.sent)
            self._futures[attempt] = waiting.future
            self._batches[attempt] = rest
            self._unsure[attempt] = slot

    def _note(self, engine: Engine, completion: Completion) -> None:
        super()._note(engine, completion)
        tool = engine.scheduler.steps[completion[0].index].tool or ""
        self._durations.setdefault(tool, deque(maxlen=_RECENT)).append(completion[2] - completion[1])

    # ------------------------------------------------------------------ starts

    def _submit_all(self, engine: Engine, starts: list[Attempt]) -> None:
        again, self._again = self._again, []
        super()._submit_all(engine, [*again, *starts])
        if self._waiting and (engine.cancel_requested or self._is_urgent(engine)):
            if not self._recalled:
                self._recalled = True
                self.recall([waiting.future for waiting in self._waiting])
            return
        self._recalled = False
        if self.lets_calls_wait():
            super()._submit_all(engine, self._fill(engine))

    def _is_urgent(self, engine: Engine) -> bool:
        """Whether a step is ready that has a higher priority than one that waits at a worker."""
        scheduler = engine.scheduler
        head = scheduler.first_in_order()
        if head is None:
            return False
        steps = scheduler.steps
        return steps[head].priority > min(steps[waiting.indices[0]].priority for waiting in self._waiting)

    def _fill(self, engine: Engine) -> list[Attempt]:
        """Submit some of the next steps. Returns what else starts."""
        scheduler = engine.scheduler
        if engine.cancel_requested or scheduler.running < scheduler.slots or not scheduler.may_hand_out:
            return []
        head = scheduler.first_in_order()
        if head is None or not self._may_wait(engine, head):
            return []
        most = scheduler.slots * self._depth(engine, head)
        room = most - len(self._waiting)
        if 2 * room < most:
            return []
        calls: list[list[int]] = []

        def fits(index: int) -> bool:
            if calls and self._joins(engine, calls[-1], index):
                calls[-1].append(index)
                return True
            if len(calls) == room or not self._may_wait(engine, index):
                return False
            calls.append([index])
            return True

        def hand_out(_now: int) -> None:
            scheduler.hand_out(len(scheduler.steps), fits)

        starts = engine.advance((), (hand_out,))
        for indices in calls:
            self._submit_ahead(engine, indices)
        return starts

    def _depth(self, engine: Engine, index: int) -> int:
        """How many calls may wait for each worker: one, and of short ones as many as it does while we hear of them; few
        as long as nothing was heard, for the first ones begin when all are sent.
        """
        recent = self._recent(engine, index)
        most = DEEPEST if self._durations else _FIRST_DEPTH
        return max(1, min(most, _WAY_NANOSECONDS * len(recent) // max(1, sum(recent))))

    def _may_wait(self, engine: Engine, index: int) -> bool:
        recent = self._recent(engine, index)
        return bool(recent) and max(recent) < LONGEST_NANOSECONDS and self._short.may_wait(index)

    def _recent(self, engine: Engine, index: int) -> Sequence[int]:
        """What the last steps of its tool took; before there are any, what the step is expected to take."""
        step = engine.scheduler.steps[index]
        stated = () if step.expected_seconds is None else (round(step.expected_seconds * NANOSECONDS),)
        return self._durations.get(step.tool or "") or stated

    def _joins(self, engine: Engine, indices: list[int], index: int) -> bool:
        """Whether a short step travels in the same call."""
        short = self._short
        return short.fits(index) and short.fits(indices[0]) and len(indices) < self._size(engine, indices[0])

    def _submit_ahead(self, engine: Engine, indices: list[int]) -> None:
        kept, calls = self._all_pickled(engine, indices)
        waiting = Waiting(kept)
        if not calls:
            self._wake.set()
            return
        waiting.sent = self.clock()
        try:
            waiting.future = self._submit_to_executor(BatchCall(calls))
        except Exception:  # noqa: BLE001  # the executor is broken: what is granted will hear of it
            for index in waiting.indices:
                self._short.exclude(index)
            self._to_take_back.extend(waiting.indices)
            self._wake.set()
            return
        self._waiting[waiting] = None
        waiting.future.add_done_callback(lambda _future: self._ended_ahead(waiting))

    def _ended_ahead(self, waiting: Waiting) -> None:
        waiting.returned = self.clock()
        self._ends_ahead.append(waiting)
        self._wake.set()

    def _given_ahead(self) -> Iterator[Sequence[int]]:
        yield from super()._given_ahead()
        for waiting in self._waiting:
            yield waiting.indices


def _first_times(end: Future[Any] | Exception) -> Times | None:
    """Of the first step of a call; None: there is no answer."""
    if isinstance(end, Exception) or _failed(end):
        return None
    answer = end.result()
    times: Times = (answer[0] if isinstance(answer, list) else answer)[0]
    return times


def _lane(end: Future[Any] | Exception) -> Hashable | None:
    """Which thread of which worker ran a call."""
    times = _first_times(end)
    return None if times is None else (times.machine, times.host, times.worker, times.thread)


def _was_recalled(end: Future[Any] | Exception) -> bool:
    return not isinstance(end, Exception) and not end.cancelled() and isinstance(end.exception(), RecallError)


def _failed(end: Future[Any]) -> bool:
    return end.cancelled() or end.exception() is not None


def _first(came: tuple[int, Any, Any]) -> int:
    return came[0]

"""Lost time: the makespan split by cause. The parts sum to it exactly.

Rules of this module:
- A walk goes back from the last end to t = 0. It only ever moves back in time, and what it passes is given to exactly
  one cause; so the parts sum to the makespan whatever the timeline looks like.
- Over a run: ``running``. From the start back to ``ready``: each instant to its wait's reason, the rest to
  ``overhead``. From a retry's ``ready`` to the previous attempt's end, and from a first attempt's to the end of the
  step that released it: ``overhead``. Released by no step after t = 0: ``arrival``.
- A blocked interval is walked through the last-ended attempt of that call's children. A child released by its parent
  leads to the interval's beginning. What lies after the last child's ``known``, or without any: ``blocked``.
- An attempt is entered at its end at most once; so the walk ends even where times and releases contradict each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from executor.record.timeline import Attempt
from harness.analysis.attempt_index import BLOCKED, AttemptIndex, Pause, ended_of, known_of, started_of

RUNNING = "running"
OVERHEAD = "overhead"
ARRIVAL = "arrival"
# All causes but those of one limit, lock or rate. Of running, what a serial run would not have taken is `slowdown`.
LOST_CAUSES = (
    RUNNING,
    "slowdown",
    "worker",
    "backoff",
    "barrier",
    OVERHEAD,
    ARRIVAL,
    "resuming",
    "blocked",
    "transfer",
)


class LostTime(NamedTuple):
    """Nanoseconds by cause, largest first; and what of ``running`` each attempt on the walk represents."""

    by_cause: dict[str, int]
    running_by_attempt: dict[Attempt, int]


def lost_time(index: AttemptIndex, *, foreign: bool = False) -> LostTime:
    """The causes: ``running``, ``worker``, ``resource.X``, ``lock.X``, ``rate.X``, ``backoff``, ``barrier``,
    ``overhead``, ``arrival``, ``resuming``, ``blocked``, ``transfer``; those without any are absent.

    ``foreign``: the trace was made elsewhere and may lack ``released_by``; then the data dependency that ended last
    replaces it, else the parent. O(attempts · log attempts) at most.
    """
    return lost_time_and_pieces(index, foreign=foreign)[0]


class Piece(NamedTuple):
    """A stretch of the makespan and its cause, in nanoseconds; ``attempt`` is whose run or wait it is."""

    cause: str
    start: int
    end: int
    attempt: Attempt | None


def lost_time_and_pieces(index: AttemptIndex, *, foreign: bool = False) -> tuple[LostTime, list[Piece]]:
    """The same as :func:`lost_time`, and stretch by stretch, from the last one back to t = 0."""
    walk = _Walk(index, foreign)
    walk.go()
    lost: dict[str, int] = {}
    ran: dict[Attempt, int] = {}
    for cause, start, end, attempt in walk.pieces:
        lost[cause] = lost.get(cause, 0) + end - start
        if cause == RUNNING and attempt is not None:
            ran[attempt] = ran.get(attempt, 0) + end - start
    return LostTime(dict(sorted(lost.items(), key=lambda item: -item[1])), ran), walk.pieces


class _Walk:
    def __init__(self, index: AttemptIndex, foreign: bool) -> None:
        timeline = self.timeline = index.timeline
        self.index = index
        self.foreign = foreign
        self.step_index = {step_id: step for step, step_id in enumerate(timeline.step_ids)}
        self.cursor = index.makespan
        self.pieces: list[Piece] = []
        self.entered: set[Attempt] = set()
        # Where the walk is: an attempt, and how many of its pauses lie still ahead (earlier in time).
        self.attempt: Attempt | None = None
        self.pauses_ahead = 0

    def go(self) -> None:
        """Walk from the last end to t = 0."""
        if self.index.ended:
            last = min(self.index.ended, key=lambda attempt: (-ended_of(attempt), attempt.index, -attempt.attempt))
            self._enter(last)
        while self.attempt is not None:
            child = self._back_to_start(self.attempt)
            if child is not None:
                self._enter(child)
                continue
            self._back_to_ready(self.attempt)
            self._leave(self.attempt)
        self._spend(OVERHEAD, 0)

    def _spend(self, cause: str, until: int) -> None:
        before = self.cursor
        if until < before and before > 0:
            self.cursor = max(until, 0)
            self.pieces.append(Piece(cause, self.cursor, before, self.attempt))

    def _enter(self, attempt: Attempt) -> None:
        """Go to the end of an attempt; nowhere if the walk was there before."""
        if attempt in self.entered:
            self.attempt = None
            return
        self.entered.add(attempt)
        self.attempt = attempt
        self.pauses_ahead = len(self.index.pauses(attempt))

    def _back_to_start(self, attempt: Attempt) -> Attempt | None:
        """Over the run and its pauses. Returns the child through which a blocked interval goes on, if one does."""
        pauses = self.index.pauses(attempt)
        while self.pauses_ahead:
            self.pauses_ahead -= 1
            pause = pauses[self.pauses_ahead]
            if pause.end < self.cursor:
                self._spend(RUNNING, pause.end)
            child = pause.last_child
            if child is not None and pause.reason == BLOCKED and child not in self.entered:
                if pause.start < self.cursor:
                    self._spend(BLOCKED, max(known_of(child), pause.start))
                    self._spend(OVERHEAD, max(ended_of(child), pause.start))
                return child
            self._spend(pause.reason, pause.start)
        self._spend(RUNNING, started_of(attempt))
        return None

    def _back_to_ready(self, attempt: Attempt) -> None:
        waits = attempt.waits
        if waits:
            started = started_of(attempt)
            for reason, start, end in reversed(waits):
                if start < started:
                    self._spend(OVERHEAD, max(end, attempt.ready))
                    self._spend(reason, max(start, attempt.ready))
        if attempt.ready < self.cursor:
            self._spend(OVERHEAD, attempt.ready)

    def _leave(self, attempt: Attempt) -> None:
        """From an attempt's ``ready`` to what made it ready."""
        before = self._attempt_before(attempt)
        if before is not None:
            self._spend(OVERHEAD, ended_of(before))
            self._enter(before)
            return
        step = attempt.index
        releaser = self._releaser(attempt)
        if releaser is None:
            self._spend(ARRIVAL, 0)
            self.attempt = None
        elif releaser == self.index.nested_in[step]:
            self._return_to_call(step, releaser)
        else:
            last = self.index.last_of(releaser)
            self._spend(OVERHEAD, ended_of(last))
            self._enter(last)

    def _attempt_before(self, attempt: Attempt) -> Attempt | None:
        tries = self.index.tries[attempt.index]
        if len(tries) == 1:
            return None
        earlier = bisect_left(tries, attempt.attempt, key=attrgetter("attempt"))
        return tries[earlier - 1] if earlier else None

    def _releaser(self, attempt: Attempt) -> int | None:
        """The step that released a first attempt, or None. A step that never ran released none."""
        step, parent = attempt.index, self.index.nested_in[attempt.index]
        if attempt.released_by is not None:
            releaser = self.step_index.get(attempt.released_by, -1)
            if releaser >= 0 and self.index.tries[releaser]:
                return releaser
        elif self.foreign:
            ran = [other for other in self.timeline.data_parents[step] if self.index.tries[other]]
            if ran:
                return max(ran, key=lambda other: (ended_of(self.index.last_of(other)), -other))
        return parent if parent >= 0 and self.index.tries[parent] else None

    def _return_to_call(self, child: int, parent: int) -> None:
        """To the beginning of the blocked interval that the child came from."""
        call: Pause | None = self.index.call_of.get(child)
        if call is not None:
            self._spend(OVERHEAD, call.start)
            self.attempt, self.pauses_ahead = call.attempt, call.place
            self.entered.add(call.attempt)
            return
        tries: Sequence[Attempt] = self.index.tries[parent]
        around = [attempt for attempt in tries if started_of(attempt) <= self.cursor]
        self._enter(around[-1] if around else tries[0])

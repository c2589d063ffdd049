"""Steps that lack nothing but a slot, limits or rates: who is next, and why the others still wait.

Rules of this module:
- A start key is one integer: nested calls (deepest first), then priority, upward rank, file order. The smallest key
  starts first; the index of the step is in its lowest bits.
- Steps with the same needs are in one line, since what stops the first stops them all. A line keeps the history of
  its reason, from which each step cuts its own waits.
- A step that was overtaken :data:`OVERTAKES_UNTIL_RESERVED` times, by steps queued later, is overdue. Overdue steps
  reserve what they need, the oldest first, at most :data:`RESERVED_AT_ONCE` at once: a start looks at each of them.
  Steps queued at one instant form an epoch. The oldest epoch has been overtaken most often, so one counter is enough.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count

from executor.model.workflow import Step
from executor.scheduler.resources import Demand
from executor.scheduler.wait_reasons import extend_history

OVERTAKES_UNTIL_RESERVED = 1000
RESERVED_AT_ONCE = 16

INDEX_BITS = 32
RANK_BITS = 64
PRIORITY_BITS = 32
INDEX_MASK = (1 << INDEX_BITS) - 1
LARGEST_RANK = (1 << RANK_BITS) - 1

# What `queued` says of a step. HANDED_OUT: it waits for its slot at a worker (see `prefetch`).
OUT, QUEUED, RESERVED, HANDED_OUT = 0, 1, 2, 3


def start_key(index: int, step: Step, rank: int, depth: int = 0) -> int:
    """The integer that orders starts. ``rank`` in nanoseconds; ``depth`` 0 for top-level steps."""
    rank = min(rank, LARGEST_RANK)
    key = ((LARGEST_RANK - rank) << INDEX_BITS) | index
    if step.priority:
        key -= step.priority << (INDEX_BITS + RANK_BITS)
    if depth:
        key -= depth << (INDEX_BITS + RANK_BITS + PRIORITY_BITS)
    return key


class Epoch:
    """The steps queued at one instant: how many still wait, and how many were granted while an older epoch waited."""

    __slots__ = ("granted", "members", "time", "waiting")

    def __init__(self) -> None:
        self.time = 0
        self.waiting = 0
        self.granted = 0
        self.members: deque[int] = deque()


class Line:
    """Waiting steps with one demand, and the history of why the line waits: ``(from, reason)``."""

    __slots__ = ("demand", "heap", "history")

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.heap: list[int] = []
        self.history: list[tuple[int, str]] = []

    def note(self, reason: str, now: int) -> None:
        """From ``now`` on the line waits for ``reason``."""
        extend_history(self.history, reason, now)

    def waited_for_worker_since(self, time: int) -> None:
        """A step of the line was handed out for a while, in which the line may have ended: it waited for a worker."""
        history = self.history
        if not history or history[0][0] > time:
            history[: bool(history) and history[0][1] == "worker"] = [(time, "worker")]


class ReadyQueue:
    """All queued steps. ``queued[i]``: OUT, QUEUED or RESERVED. ``open_heap``: the keys of steps without needs."""

    def __init__(self) -> None:
        self.queued = bytearray()
        self.open_heap: list[int] = []
        self.lines: dict[Demand, Line] = {}
        # Steps that reserved, each with the number of its reservation, and those of them that have needs.
        self.reserved: dict[int, int] = {}
        self.reserved_with_needs: dict[int, Demand] = {}
        self._reserved_open: deque[tuple[int, int]] = deque()
        self._numbers = count()
        self.overdue = False
        self.epoch_of: list[Epoch | None] = []
        self.epochs: deque[Epoch] = deque([Epoch()])
        # Those that are over, for later instants: where each end releases a step, each instant is an epoch.
        self._spare_epochs: list[Epoch] = []
        self._overtakes = 0

    def grow(self, count: int) -> None:
        """Extend by ``count`` steps."""
        self.queued.extend(bytes(count))
        self.epoch_of.extend([None] * count)

    def grow_by_one(self) -> None:
        """Extend by one step."""
        self.queued.append(OUT)
        self.epoch_of.append(None)

    def push(self, index: int, key: int, demand: Demand | None, now: int) -> None:
        """Queue a step."""
        self.queued[index] = QUEUED
        self.enter_epoch(index, now)
        heappush(self.open_heap if demand is None else self.line(demand).heap, key)

    def line(self, demand: Demand) -> Line:
        """The line of the steps with that demand."""
        line = self.lines.get(demand)
        if line is None:
            line = self.lines[demand] = Line(demand)
        return line

    def enter_epoch(self, index: int, now: int) -> None:
        """From now on the step can be overtaken."""
        epoch = self.epoch_at(now)
        epoch.waiting += 1
        epoch.members.append(index)
        self.epoch_of[index] = epoch

    def epoch_at(self, now: int) -> Epoch:
        """The epoch of the instant. The last one is used again if no step waits in it any more."""
        epoch = self.epochs[-1]
        if epoch.time == now:
            return epoch
        if epoch.waiting:
            epoch = self._spare_epochs.pop() if self._spare_epochs else Epoch()
            self.epochs.append(epoch)
        epoch.time = now
        epoch.members.clear()
        return epoch

    def granted(self, index: int) -> None:
        """A step got its slot and all its needs: it leaves its epoch, and overtakes the older ones."""
        epoch = self.epoch_of[index]
        if epoch is None:
            return
        self.epoch_of[index] = None
        epoch.waiting -= 1
        if epoch is self.epochs[0]:
            if not epoch.waiting:
                self.end_epochs()
            return
        epoch.granted += 1
        self._overtakes += 1
        if self._overtakes >= OVERTAKES_UNTIL_RESERVED:
            self.overdue = True

    def may_be_overdue(self) -> bool:
        """Whether with the next grant a step may have been overtaken too often."""
        return self._overtakes + 1 >= OVERTAKES_UNTIL_RESERVED

    def pass_through(self, index: int, now: int) -> None:
        """:meth:`enter_epoch` and :meth:`granted` for a step that is granted at the instant at which it came."""
        if self.epochs[0].waiting:
            self.enter_epoch(index, now)
            self.granted(index)

    def remove(self, index: int) -> None:
        """A step will not start: its entries in the heaps are skipped when they come up."""
        if self.queued[index] == RESERVED:
            self.end_reservation(index)
        self.queued[index] = OUT
        self.leave_epoch(index)

    def leave_epoch(self, index: int) -> None:
        """A step can no longer be overtaken, without having overtaken any step."""
        epoch = self.epoch_of[index]
        if epoch is None:
            return
        self.epoch_of[index] = None
        epoch.waiting -= 1
        self.end_epochs()

    def end_epochs(self) -> None:
        """The oldest epochs in which no step waits any more are over."""
        epochs = self.epochs
        while len(epochs) > 1 and not epochs[0].waiting:
            ended = epochs.popleft()
            ended.granted = 0
            self._spare_epochs.append(ended)
            self._overtakes -= epochs[0].granted
        self.overdue = self._overtakes >= OVERTAKES_UNTIL_RESERVED

    def may_reserve(self) -> bool:
        """Whether a step is overdue and fewer than :data:`RESERVED_AT_ONCE` have reserved."""
        return self.overdue and len(self.reserved) < RESERVED_AT_ONCE

    def next_overdue(self) -> int | None:
        """The oldest of the steps overtaken too often, or None. It leaves its epoch: it is overtaken no more."""
        while self.overdue:
            oldest = self.epochs[0]
            index = oldest.members.popleft()
            # A step that ended and was queued again within the instant is there twice.
            if self.epoch_of[index] is oldest:
                self.leave_epoch(index)
                return index
        return None

    def reserve(self, index: int, demand: Demand | None) -> None:
        """From now on the step goes before all that did not reserve, and what it needs counts as in use for them."""
        number = next(self._numbers)
        self.queued[index] = RESERVED
        self.reserved[index] = number
        if demand is None:
            self._reserved_open.append((number, index))
        else:
            self.reserved_with_needs[index] = demand

    def end_reservation(self, index: int) -> None:
        """The step starts, or never will. Its entry among those without needs is skipped when it comes up."""
        del self.reserved[index]
        self.reserved_with_needs.pop(index, None)

    def next_reserved_open(self, before: int | None = None) -> int | None:
        """The step without needs that reserved first, if it did before reservation number ``before``; else None."""
        waiting = self._reserved_open
        while waiting and (before is None or waiting[0][0] < before):
            number, index = waiting[0]
            if self.reserved.get(index) == number:
                return index
            waiting.popleft()
        return None

    def head(self, heap: list[int]) -> int | None:
        """The smallest key of a heap that still counts, or None."""
        queued = self.queued
        while heap:
            key = heap[0]
            if queued[key & INDEX_MASK] == QUEUED:
                return key
            heappop(heap)
        return None

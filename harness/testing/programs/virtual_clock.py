"""A clock that jumps, and tasks on it: generators that yield how long they wait, or for what.

Rules of this module:
- No real time, no thread, no randomness: tasks of one instant go on in the order in which they were woken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from heapq import heappop, heappush
from typing import TypeAlias


class Event:
    """Something that happens once."""

    __slots__ = ("happened", "waiting")

    def __init__(self) -> None:
        self.happened = False
        self.waiting: list[Task] = []


Task: TypeAlias = "Generator[int | Event, None, None]"


class DeadlockError(RuntimeError):
    """Tasks are left that nothing will wake."""


class VirtualClock:
    """``now`` in nanoseconds since the beginning."""

    def __init__(self) -> None:
        self.now = 0
        self._due: list[tuple[int, int, Task]] = []
        self._woken = 0
        self._open = 0

    def start(self, task: Task) -> Event:
        """Let a task begin at this instant; what it returns happens when the task has ended."""
        ended = Event()
        self._open += 1
        self._wake(self._watched(task, ended), 0)
        return ended

    def happen(self, event: Event) -> None:
        """Let an event happen, and those go on that wait for it."""
        if not event.happened:
            event.happened = True
            for task in event.waiting:
                self._wake(task, 0)
            event.waiting.clear()

    def run(self) -> int:
        """Go on until no task is left; the instant at which the last one ended.

        Raises:
            DeadlockError: tasks wait for what will not happen.

        """
        while self._due:
            self.now, _, task = heappop(self._due)
            self._step(task)
        if self._open:
            raise DeadlockError(f"{self._open} tasks wait for what will not happen")
        return self.now

    def _watched(self, task: Task, ended: Event) -> Task:
        yield from task
        self._open -= 1
        self.happen(ended)

    def _step(self, task: Task) -> None:
        for wanted in task:
            if isinstance(wanted, int):
                self._wake(task, wanted)
                return
            if not wanted.happened:
                wanted.waiting.append(task)
                return

    def _wake(self, task: Task, after: int) -> None:
        self._woken += 1
        heappush(self._due, (self.now + after, self._woken, task))


class Places:
    """A semaphore: first come, first served."""

    def __init__(self, clock: VirtualClock, count: int) -> None:
        self._clock = clock
        self._free = count
        self._queue: deque[Event] = deque()

    def take(self) -> Iterator[Event]:
        """Wait for a place."""
        if self._free:
            self._free -= 1
            return
        place = Event()
        self._queue.append(place)
        yield place

    def give_back(self) -> None:
        """Give a place back, to the one that waits longest."""
        if self._queue:
            self._clock.happen(self._queue.popleft())
        else:
            self._free += 1

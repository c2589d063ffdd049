"""What has to happen before a timeout has happened, however slow the machine is: a clock that a test moves, and steps
that wait for the ends of others.
"""

from __future__ import annotations

import threading
import time

from executor import Attempt, Backend, Instrument

PATIENCE_SECONDS = 60.0


class MovableClock:
    """The clock of ``backend`` from now on: the machine's, ahead by as much as the test says."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ahead = 0
        backend.clock = self

    def __call__(self) -> int:
        """Nanoseconds."""
        return time.perf_counter_ns() + self._ahead

    def move(self, seconds: float) -> None:
        """So much time passes at once. From any thread of this process."""
        self._ahead += round(seconds * 1e9)
        self._backend.notify()


class Ends(Instrument):
    """Counts the attempts that ended; ``all_ended`` is set once there are ``count`` of them."""

    def __init__(self, count: int = 1) -> None:
        self._missing = count
        self.all_ended = threading.Event()

    def attempt_finished(self, attempt: Attempt, status: object) -> None:
        self._missing -= 1
        if self._missing == 0:
            self.all_ended.set()
            self.reached()

    def reached(self) -> None:
        """Called when there are so many, in the thread of the engine."""

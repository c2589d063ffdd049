"""Asking again and again for a moment, instead of sleeping: what comes within that moment wakes nobody.

Standard library alone.

A process that sleeps needs 30 to 50 µs on a virtual machine until it goes on, and in a chain of steps both sides sleep
for each of them.

Rules of this module:
- The caller sees to it that a core is free for each process that polls, and that what it waits for takes no longer
  than the moment.
- Each time that nothing came in the moment, twice as many waits sleep at once; each time that something came, half as
  many after the next failure.
"""

from __future__ import annotations

import time
from typing import Protocol

# Longer than the other side takes to wake up and to do a step that does nothing.
MOMENT_NANOSECONDS = 120_000
# Of steps for whose end, or for whose next call, a process polls.
POLLED_STEP_NANOSECONDS = 20_000
_MOST_SLEEPS = 256


class Pollable(Protocol):
    """``select.poll()`` or ``select.epoll()``."""

    def poll(self, timeout: float = ..., /) -> list[tuple[int, int]]:
        """What is there, within the timeout."""


class Polling:
    """Whether it pays to poll."""

    def __init__(self) -> None:
        self._sleeps = 0
        self._next_sleeps = 1

    def wait(self, channels: Pollable) -> list[tuple[int, int]]:
        """What came within the moment; nothing: sleep now."""
        if self._sleeps:
            self._sleeps -= 1
            return []
        poll, clock = channels.poll, time.perf_counter_ns
        until = clock() + MOMENT_NANOSECONDS
        while True:
            found = poll(0)
            if found:
                self._next_sleeps = max(1, self._next_sleeps // 2)
                return found
            if clock() > until:
                break
        self._sleeps = self._next_sleeps
        self._next_sleeps = min(2 * self._next_sleeps, _MOST_SLEEPS)
        return []

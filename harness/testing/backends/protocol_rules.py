"""The protocol between a backend and the engine: its rules, and a log of what passed until one was broken.

Rules of this module:
- Events are kept as they come and told only when somebody asks: a watched run is nearly as fast as any.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any

from executor.record.timeline import Attempt

RULES = {
    "begin": "drive() calls engine.begin() once, before anything else",
    "handed_out": "only what the engine handed out is run, and each attempt once",
    "completed_once": "each attempt is completed once, by advance() or succeed()",
    "completed": "each attempt that the engine hands out is completed",
    "completion": "a completion is (attempt, started, ended, worker, cpu_seconds, outcome, value, tokens_used)",
    "times": "times are whole nanoseconds from the run's t = 0 by the backend's clock: granted ≤ started ≤ ended ≤ now",
    "clock": "the clock counts nanoseconds and never runs backwards",
    "woken": "when wake_at() has passed, somebody calls engine.advance()",
    "drive": "drive() returns when the engine is done, and raises nothing of its own",
}
EVENTS_SHOWN = 30


class ProtocolError(AssertionError):
    """A backend broke the protocol. ``rule`` is a key of :data:`RULES`."""

    def __init__(self, rule: str, story: str, events: Sequence[str]) -> None:
        self.rule = rule
        told = "\n".join(f"  {event}" for event in events) or "  nothing"
        super().__init__(f"the backend broke a rule of the protocol: {RULES[rule]}\n  {story}\nwhat led there:\n{told}")


class Log:
    """What passed between a backend and its engine, and the breaches found in it. For any thread."""

    def __init__(self) -> None:
        self.breaches: list[ProtocolError] = []
        self.last = time.monotonic()
        self._began = self.last
        self._lock = threading.Lock()
        self._events: deque[tuple[float, str, str, Sequence[Any], Sequence[Any]]] = deque(maxlen=EVENTS_SHOWN)
        self._count = 0

    def note(self, what: str, said: Sequence[Any] = (), answer: Sequence[Any] = ()) -> None:
        """Keep an event: attempts are named when somebody asks, and not before."""
        with self._lock:
            now = time.monotonic()
            if said or answer:
                # Looking in without anything done moves nothing on, and nor does anything after a breach.
                self.last = self.last if self.breaches else now
            self._count += 1
            self._events.append((now, threading.current_thread().name, what, said, answer))

    def breach(self, rule: str, story: str) -> ProtocolError:
        """Keep a breach with the events up to now."""
        error = ProtocolError(rule, story, self.events())
        with self._lock:
            self.breaches.append(error)
        return error

    def events(self) -> list[str]:
        """The last events, one line each."""
        with self._lock:
            events, count = list(self._events), self._count
        lines = [f"… {count - len(events)} events before"] if count > len(events) else []
        for at, thread, what, said, answer in events:
            text = f"{(at - self._began) * 1000:9.2f} ms  {thread}: {what}({', '.join(map(said_of, said))})"
            lines.append(text + (f" → {', '.join(map(said_of, answer))}" if answer else ""))
        return lines


def stacks(*watchers: str) -> str:
    """What all other threads are doing, without the lines of the files that only watch."""
    our_files = (threading.__file__, *watchers)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  # the documented way to other threads' stacks
        if ident != threading.get_ident():
            lines = [
                f"    {place.name} in {place.filename}:{place.lineno}: {place.line}"
                for place in traceback.extract_stack(frame)
                if place.filename not in our_files
            ]
            if lines:
                found.append("\n".join([f"  {names.get(ident, ident)}:", *lines[-5:]]))
    return "\n".join(found)


def said_of(what: Any) -> str:
    """How an event names it."""
    return f"{what.step_id}#{what.attempt}" if isinstance(what, Attempt) else str(what)

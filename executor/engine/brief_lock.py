"""A lock that is held for microseconds, by threads of one interpreter.

A thread that sleeps on a usual lock owns it from the moment at which it is released, long before it has the
interpreter's lock (GIL) again. Whoever asks meanwhile sleeps, too, and gets it in the same way: from the first thread
that was interrupted with the lock on, each step costs several changes of threads (a lock convoy).

Rules of this module:
- A thread that finds the lock taken pauses and asks again: it owns the lock only while it can run.
- After :data:`PAUSES_SECONDS` it sleeps on the lock: who holds it for long is waited for without work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Lock

# Never zero: a thread would take the interpreter's lock back before the one that holds this lock is awake.
PAUSES_SECONDS = (50e-6, 100e-6, 200e-6, 400e-6, 800e-6)


class BriefLock:
    """See the head of this module. ``pause`` is called with seconds."""

    __slots__ = ("_lock", "_pause", "release", "try_acquire")

    def __init__(self, pause: Callable[[float], object] = time.sleep) -> None:
        self._lock = Lock()
        self._pause = pause
        # Without a call in Python: a short step is known by its microseconds.
        self.try_acquire: Callable[[], bool] = partial(self._lock.acquire, False)
        self.release = self._lock.release

    def acquire(self) -> None:
        """Acquire it, however long that takes."""
        if self.try_acquire():
            return
        for seconds in PAUSES_SECONDS:
            self._pause(seconds)
            if self.try_acquire():
                return
        self._lock.acquire()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

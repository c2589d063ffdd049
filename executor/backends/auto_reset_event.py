"""An event for one waiting thread that resets itself: :meth:`AutoResetEvent.wait` takes it, with a deadline that holds.

Every timed wait of a backend's driving thread goes through here.

Rules of this module:
- The wait is that of a lock. ``queue.SimpleQueue.get(timeout=…)`` is not used: CPython's own (3.11, 3.12) works out
  the time left after it has taken its free lock, and waits for ever where the deadline has passed by then.
- Nothing blocks in :meth:`AutoResetEvent.set`: a signal handler may call it, whatever it has interrupted.
- An event that is set twice before it is taken is taken once. What it announces is kept elsewhere, and written before.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock


class AutoResetEvent:
    """Not set at first. Any thread sets it, one thread waits for it."""

    __slots__ = ("_unset",)

    def __init__(self) -> None:
        # Held as long as the event is not set.
        self._unset = allocate_lock()
        self._unset.acquire()

    def set(self) -> None:
        """Wake the one who waits, or who waits next."""
        try:
            self._unset.release()
        except RuntimeError:
            # It is set already, or the one who waited is about to return.
            return

    def wait(self, seconds: float) -> bool:
        """Wait until the event is set, and reset it; for at most ``seconds``, without waiting where they are below 0.
        Returns whether it was set.
        """
        return self._unset.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))

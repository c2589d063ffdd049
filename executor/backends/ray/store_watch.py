"""The control store (GCS) of Ray of our own, until it ends: a process of this one, which nobody starts again.

Rules of this module:
- Nothing is polled: a thread waits for the end of the process, or of the watch.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any


class StoreWatch:
    """``lost()``: it has ended. Called in the watch's own thread."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._thread: threading.Thread | None = None
        self._watched = self._wake = -1

    def begin(self) -> bool:
        """Watch from now on; False: it is no process of this one, as where the program has joined Ray itself."""
        worker: Any = sys.modules["ray._private.worker"]
        node = worker._global_node  # noqa: SLF001  # Ray says in no other way which process it is
        processes = [] if node is None else node.all_processes.get("gcs_server", [])
        if not processes:
            return False
        try:
            self._watched = os.pidfd_open(processes[0].process.pid)
        except ProcessLookupError:
            self._lost()
            return True
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._wait, name="makespan-ray-store", daemon=True)
        self._thread.start()
        return True

    def end(self) -> None:
        """Nothing is reported any more."""
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._watched)
            os.close(self._wake)
            self._thread = None

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._watched, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        if self._wake not in [fd for fd, _ in poll.poll()]:
            self._lost()

"""The programs of Ray of our own, until one of them ends: processes of this one, which nobody starts again.

Rules of this module:
- Without its control store (GCS) nothing new begins, and without its node manager (raylet) Ray waits for ever.
- Nothing is polled: a thread waits for the end of the processes, or of the watch.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any

# By Ray's names: in words.
PROGRAMS = {"gcs_server": "control store", "raylet": "node manager"}


class HeadWatch:
    """``lost(program)``: it has ended, in words. Called once, in the watch's own thread."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._thread: threading.Thread | None = None
        # By descriptor that shows their end: what they are.
        self._watched: dict[int, str] = {}
        self._wake = -1

    def begin(self) -> None:
        """Watch from now on what this process has started: nothing, where the program has joined Ray itself."""
        worker: Any = sys.modules["ray._private.worker"]
        node = worker._global_node  # noqa: SLF001  # Ray says in no other way which processes these are
        processes = {} if node is None else node.all_processes
        for name, words in PROGRAMS.items():
            for started in processes.get(name, ()):
                try:
                    self._watched[os.pidfd_open(started.process.pid)] = words
                except ProcessLookupError:
                    self._lost(words)
        if self._watched:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC)
            self._thread = threading.Thread(target=self._wait, name="makespan-ray-head", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Nothing is reported any more."""
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            for fd in (*self._watched, self._wake):
                os.close(fd)
            self._thread = None

    def _wait(self) -> None:
        poll = select.poll()
        for fd in (*self._watched, self._wake):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll()]
        if self._wake not in ready:
            self._lost(self._watched[ready[0]])

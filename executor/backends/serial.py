"""`serial`: one step after the other. The baseline of every comparison.

It is `threads` with one worker: so timeouts and Ctrl-C take effect at once, which they could not if the steps ran in
the thread that waits for them.
"""

from __future__ import annotations

from executor.backends.base import BackendError
from executor.backends.threads import ThreadsBackend


class SerialBackend(ThreadsBackend):
    """One step at a time, in the order of starts."""

    name = "serial"
    summary = "one step after the other, in one worker thread; the baseline"

    def __init__(self, workers: int | None = None) -> None:
        if workers not in (None, 1):
            raise BackendError(f"serial has one worker, not {workers}: leave --workers out or choose another executor")
        super().__init__(1)

    @classmethod
    def default_workers(cls) -> int:
        """One."""
        return 1

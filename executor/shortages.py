"""What the machine has run out of, in words that say what to do: processes, threads, descriptors, memory."""

from __future__ import annotations

import errno
from typing import Final

_PROCESSES: Final = "there may be no more processes or threads; see `ulimit -u`, or use fewer workers"
_WORDS: Final = {
    errno.EAGAIN: _PROCESSES,
    errno.EMFILE: "too many files are open; see `ulimit -n`, or use fewer workers",
    errno.ENFILE: "too many files are open on this machine; end what needs them, or use fewer workers",
    errno.ENOMEM: "there is no more memory; use fewer workers",
}


def shortage(error: BaseException) -> str | None:
    """What was missing where ``error`` was raised; None if nothing of the kind."""
    if isinstance(error, OSError):
        return _WORDS.get(error.errno or 0)
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _PROCESSES
    return None


def start_fault(error: OSError | ValueError) -> str:
    """Why something could not be started."""
    return shortage(error) or getattr(error, "strerror", None) or str(error)

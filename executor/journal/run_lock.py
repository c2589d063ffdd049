"""Who writes a journal: one process at a time, as long as it lives.

Rules of this module:
- The lock is the kernel's (POSIX record locks): it ends with its process, however that ends, and no child inherits it.
- Such a lock says nothing within one process, so the paths that this process holds are noted here.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from executor.journal.journal_errors import JournalError

_HELD: set[str] = set()
_GUARD = threading.Lock()


class RunLock:
    """The lock of one journal, taken when this is made.

    Raises:
        JournalError: another run has it; the message names it.
    """

    def __init__(self, journal: Path, run_id: str) -> None:
        self._path = journal.with_name(f"{journal.name}.lock")
        self._name = str(self._path.resolve())
        with _GUARD:
            if self._name in _HELD:
                raise _taken(journal, self._holder())
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                # Closed before the file is read again: closing any of a file's descriptors ends a lock of this process,
                # and this process has none on it.
                os.close(self._file)
                if isinstance(error, BlockingIOError | PermissionError):
                    raise _taken(journal, self._holder()) from None
                raise
            _HELD.add(self._name)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"run {run_id[:12]}, process {os.getpid()}".encode(), 0)

    def release(self) -> None:
        """Let it go. May be called twice."""
        with _GUARD:
            if self._name in _HELD:
                _HELD.discard(self._name)
                os.close(self._file)

    def _holder(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def _taken(journal: Path, holder: str) -> JournalError:
    who = holder or "another run"
    return JournalError(
        f"{who} is writing the journal {str(journal)!r}: it goes on, or is resumed already",
        "wait for its end, or stop it",
    )

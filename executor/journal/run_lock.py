"""The lock of a journal, or of another file of one run: one process at a time writes it, as long as it lives.

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
    """The lock of one journal, taken when this is made. ``what`` it is of, in words.

    Raises:
        JournalError: another run has it; the message names it.
        OSError: its file cannot be made.
    """

    def __init__(self, journal: Path, run_id: str, what: str = "") -> None:
        what = what or f"the journal {str(journal)!r}"
        self._path = journal.with_name(f"{journal.name}.lock")
        self._name = str(self._path.resolve())
        with _GUARD:
            if self._name in _HELD:
                raise _taken(what, self._holder())
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                # Closed before the file is read again: closing any of a file's descriptors ends a lock of this process,
                # and this process has none on it.
                os.close(self._file)
                if isinstance(error, BlockingIOError | PermissionError):
                    raise _taken(what, self._holder()) from None
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


def is_held(journal: Path) -> bool:
    """Whether a run of another process writes that journal at this moment. Not for processes that write one."""
    try:
        file = os.open(journal.with_name(f"{journal.name}.lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _taken(what: str, holder: str) -> JournalError:
    who = holder or "another run"
    return JournalError(
        f"{who} is writing {what}: it goes on, or is resumed already",
        "wait for its end, or stop it",
    )

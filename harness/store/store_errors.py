"""What can go wrong with the store, said so that a person knows what to do.

Rules of this module:
- Every failure of SQLite or the file system leaves the store as a :class:`StoreError`.
- The message says which file, what is wrong, and what to do. Results in memory are untouched by it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 30.0


class StoreError(Exception):
    """The store cannot do what was asked of it. Nothing that was stored before is lost, and nothing in memory."""


@contextmanager
def as_store_error(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a :class:`StoreError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the store {str(path)!r} {_explained(error)}") from error


def _explained(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error)
    known = next((words for sign, words in _PLAIN.items() if sign in text.lower()), None)
    return known if known is not None else f"cannot be used: {text}; use another one with --store"


_PLAIN: Final = {
    "disk is full": "cannot be written: the disk is full; free some space, or use another place with --store",
    "no space left": "cannot be written: the disk is full; free some space, or use another place with --store",
    "readonly": "cannot be written: it is read-only; change its permissions, or use another place with --store",
    "read-only": "cannot be written: it is read-only; change its permissions, or use another place with --store",
    "permission denied": "may not be used: permission denied; change its permissions, or use another with --store",
    "locked": (
        f"is busy: another program has been writing to it for {BUSY_SECONDS:.0f} s; wait for it, or use another store "
        "with --store"
    ),
    "not a database": "is no SQLite database; move that file away, or use another store with --store",
    "malformed": (
        "is damaged; move that file away (`sqlite3 FILE .recover` may save what is in it), or use another with --store"
    ),
    "disk i/o error": (
        "cannot be read or written: the file system reports an error (a full quota, a size limit, a failing disk); use "
        "another place with --store"
    ),
    "unable to open": (
        "cannot be opened: its folder does not exist, is no folder, or may not be written; use another with --store"
    ),
}

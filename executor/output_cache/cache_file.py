"""The file of a cache: SQLite, one row a call, with large outputs in a folder beside it.

Rules of this module:
- ``user_version`` is the version of the tables, ``application_id`` marks the file as ours. What a newer makespan wrote,
  or another program, is refused and left as it is.
- An output has a checksum, and its file is named by its hash: one that was altered is refused, and never used.
- Readers never wait (write-ahead log). A power failure may cost the last outputs; they are made again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from executor.journal.journal_errors import JournalError
from executor.journal.output_files import OutputFiles
from executor.sqlite_tables import connect, transaction, version_and_owner

APPLICATION_ID: Final = 0x6D6B6361  # "mkca"
# One entry a version, never changed once it was released: a change is a new entry at the end.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE outputs (
            call TEXT PRIMARY KEY,
            run_id TEXT NOT NULL,
            step_id TEXT NOT NULL,
            stored_at REAL NOT NULL,
            words TEXT NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX outputs_by_age ON outputs (stored_at)",
    ),
)


class CacheError(Exception):
    """The cache, or one output in it, cannot be used."""


class CachedOutput(NamedTuple):
    """An output, the run that made it, and when it was stored (seconds since 1970)."""

    output: Any
    run_id: str
    stored_at: float


class NewOutput(NamedTuple):
    """A row to be stored. ``words`` say the output: see :meth:`.OutputFiles.kept`."""

    call: str
    run_id: str
    step_id: str
    stored_at: float
    words: dict[str, Any]


class CacheFile:
    """An open cache. One thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.outputs = OutputFiles(path)
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> CacheFile:
        """A cache, made where there is none.

        Raises:
            CacheError: it cannot be used.
        """
        with _speaking(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Outputs are private to the user. SQLite's side files copy the mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            return cls(path, connect(path, MIGRATIONS, APPLICATION_ID, lambda connection: _check(connection, path)))

    def close(self) -> None:
        """Close it; it cannot be used any more."""
        self._connection.close()

    def find(self, call: str, least_stored_at: float | None = None) -> CachedOutput | None:
        """The output of a call, None where there is none; with ``least_stored_at``, one that is older comes without
        its output being read (None).

        Raises:
            CacheError: it is damaged, or the cache cannot be read.
        """
        with _speaking(self.path):
            row = self._connection.execute(
                "SELECT run_id, stored_at, words, checksum FROM outputs WHERE call = ?", (call,)
            ).fetchone()
        if row is None:
            return None
        run_id, stored_at, text, checksum = row
        if least_stored_at is not None and stored_at < least_stored_at:
            return CachedOutput(None, run_id, stored_at)
        if zlib.crc32(text.encode()) != checksum:
            raise CacheError("what is stored for it was altered")
        try:
            return CachedOutput(self.outputs.read(_parsed(text)), run_id, stored_at)
        except (JournalError, ValueError, RecursionError) as error:
            raise CacheError(str(error)) from None

    def put(self, rows: Sequence[NewOutput]) -> None:
        """Store outputs, all or none; each takes the place of an older one.

        Raises:
            CacheError: they cannot be stored.
        """
        packed = []
        for row in rows:
            text = json.dumps(row.words, separators=(",", ":"))
            packed.append((row.call, row.run_id, row.step_id, row.stored_at, text, zlib.crc32(text.encode())))
        with _speaking(self.path), transaction(self._connection) as connection:
            connection.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?)", packed)

    def drop_before(self, stored_at: float) -> int:
        """Drop what was stored before that time, and the files that nothing names any more. Answers how many outputs.

        Raises:
            CacheError: they cannot be dropped.
        """
        with _speaking(self.path), transaction(self._connection) as connection:
            dropped = connection.execute("DELETE FROM outputs WHERE stored_at < ?", (stored_at,)).rowcount
            left = connection.execute("SELECT words FROM outputs WHERE words LIKE '%\"file\"%'").fetchall()
            self.outputs.keep_only({_file_named(words) for (words,) in left}, unchanged_since=stored_at)
        return dropped


def _parsed(text: str) -> dict[str, Any]:
    words = json.loads(text)
    if not isinstance(words, dict):
        raise ValueError("what is stored for it is no output")  # noqa: TRY004 - it is damage, and no fault of code
    return words


def _file_named(text: str) -> str | None:
    """The file that a row names. A row that cannot be read names none."""
    try:
        return _parsed(text).get("file")
    except (ValueError, RecursionError):
        return None


def _check(connection: sqlite3.Connection, path: Path) -> int:
    version, is_ours = version_and_owner(connection, APPLICATION_ID)
    if not is_ours:
        raise CacheError(f"{str(path)!r} is another program's database, and no cache")
    if version > len(MIGRATIONS):
        raise CacheError(f"the cache {str(path)!r} was written by a newer makespan")
    return version


@contextmanager
def _speaking(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a :class:`CacheError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise CacheError(f"the cache {str(path)!r} cannot be used: {error}") from error
    except OSError as error:
        raise CacheError(f"the cache {str(path)!r} cannot be used: {error.strerror or error}") from error


__all__ = ["CacheError", "CacheFile", "CachedOutput", "NewOutput"]

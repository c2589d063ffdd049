"""The file of a journal: SQLite, with what is written in numbered batches of packed JSON.

A journal holds the sessions of one run: the run itself, and each that resumed it.

Rules of this module:
- ``user_version`` is the version of the tables, ``application_id`` marks the file as ours. What a newer makespan wrote,
  or another program, is refused and left as it is.
- What was appended is on the disk: ``synchronous = FULL`` with a write-ahead log.
- Batches are numbered without gaps and have a checksum: a file that was cut off is read up to a commit, or refused.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from executor.journal.journal_errors import JournalError
from executor.sqlite_tables import connect, transaction, version_and_owner

APPLICATION_ID: Final = 0x6D6B736A  # "mksj"
# One entry a version, never changed once it was released: a change is a new entry at the end.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE sessions (number INTEGER PRIMARY KEY, head TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT",
        """
        CREATE TABLE batches (
            number INTEGER PRIMARY KEY,
            session INTEGER NOT NULL REFERENCES sessions,
            body BLOB NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT
        """,
    ),
)
_HEADER_BYTES: Final = 100
_LARGEST_PAGE: Final = 65536
# Fast, and a quarter of the size.
_COMPRESSION: Final = 1


class Session(NamedTuple):
    """One run in a journal: what it said of itself, and its batches in order."""

    head: Mapping[str, Any]
    batches: Sequence[Mapping[str, Any]]


class JournalFile:
    """An open journal. One thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._session = 0
        self._batches = 0
        self._waits_for_disk = False

    @classmethod
    def create(cls, path: Path) -> JournalFile:
        """A new journal.

        Raises:
            JournalError: there is a file, or it cannot be made.
        """
        with _speaking(path):
            if path.exists() and path.stat().st_size:
                raise JournalError(
                    f"there is a file {str(path)!r} already", "name another, or go on with it by resume="
                )
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Journals hold what models were asked and answered. SQLite's side files copy the mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            return cls._connected(path)

    @classmethod
    def open(cls, path: Path) -> JournalFile:
        """A journal that is there.

        Raises:
            JournalError: there is none, or it cannot be used.
        """
        with _speaking(path):
            if not path.is_file():
                raise JournalError(f"there is no journal {str(path)!r}")
            if not path.stat().st_size and not path.with_name(f"{path.name}-wal").exists():
                raise JournalError(f"the journal {str(path)!r} is empty: its run was ended before it began")
            if _is_cut_off(path):
                raise damaged_journal(path)
            return cls._connected(path)

    @classmethod
    def _connected(cls, path: Path) -> JournalFile:
        # It does not wait for the disk until something has happened that is worth it: see `append`.
        return cls(path, connect(path, MIGRATIONS, APPLICATION_ID, lambda connection: _check(connection, path)))

    def close(self) -> None:
        """Close it; it cannot be used any more."""
        self._connection.close()

    # ------------------------------------------------------------------ writing

    def begin_session(self, head: Mapping[str, Any]) -> None:
        """A run begins, or goes on. Batches belong to it from here on.

        Raises:
            JournalError: it cannot be written.
        """
        text = json.dumps(head, separators=(",", ":"))
        checksum = zlib.crc32(text.encode())
        with _speaking(self.path), transaction(self._connection) as connection:
            (self._session,) = connection.execute("SELECT COUNT(*) + 1 FROM sessions").fetchone()
            (self._batches,) = connection.execute("SELECT COUNT(*) FROM batches").fetchone()
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (self._session, text, checksum))

    def append(self, bodies: Sequence[str]) -> None:
        """Write batches of JSON text, all or none; on the disk when this returns.

        Raises:
            JournalError: they cannot be written.
        """
        packed = [zlib.compress(body.encode("ascii"), _COMPRESSION) for body in bodies]
        rows = [
            (number, self._session, body, zlib.crc32(body)) for number, body in enumerate(packed, self._batches + 1)
        ]
        with _speaking(self.path):
            if not self._waits_for_disk:
                self._connection.execute("PRAGMA synchronous = FULL")
                self._waits_for_disk = True
        with _speaking(self.path), transaction(self._connection) as connection:
            connection.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", rows)
        self._batches += len(rows)

    # ------------------------------------------------------------------ reading

    def heads(self) -> list[Mapping[str, Any]]:
        """What the sessions say of themselves, in order; at least one.

        Raises:
            JournalError: it is damaged, or no run began.
        """
        with _speaking(self.path):
            rows = self._connection.execute("SELECT number, head, checksum FROM sessions ORDER BY number").fetchall()
        if not rows:
            raise JournalError(f"the journal {str(self.path)!r} is empty: its run was ended before it began")
        for place, (number, text, checksum) in enumerate(rows, 1):
            self._check(number == place and zlib.crc32(text.encode()) == checksum)
        return [self._parsed(text) for _, text, _ in rows]

    def sessions(self) -> list[Session]:
        """All that was committed.

        Raises:
            JournalError: it is damaged, or no run began.
        """
        heads = self.heads()
        with _speaking(self.path):
            rows = self._connection.execute(
                "SELECT number, session, body, checksum FROM batches ORDER BY number"
            ).fetchall()  # fmt: skip
        by_session: dict[int, list[Mapping[str, Any]]] = {number: [] for number in range(1, len(heads) + 1)}
        for place, (number, session, body, checksum) in enumerate(rows, 1):
            self._check(number == place and session in by_session and zlib.crc32(body) == checksum)
            by_session[session].append(self._parsed(zlib.decompress(body)))
        return [Session(head, by_session[number]) for number, head in enumerate(heads, 1)]

    def _check(self, holds: bool) -> None:
        if not holds:
            raise damaged_journal(self.path)

    def _parsed(self, text: str | bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise damaged_journal(self.path) from None
        if not isinstance(found, dict):
            raise damaged_journal(self.path)
        return found


def _is_cut_off(path: Path) -> bool:
    """Whether the file has fewer pages than it says, and no log that could hold them. SQLite reads what is missing of a
    page as zeros, which may be a table without rows.

    Source: "Database File Format", sqlite.org/fileformat2.html, 1.3 (page size at 16, size in pages at 28).
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return False
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES or not head.startswith(b"SQLite format 3\0"):
        return False
    page_bytes = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    return path.stat().st_size < pages * (_LARGEST_PAGE if page_bytes == 1 else page_bytes)


def _check(connection: sqlite3.Connection, path: Path) -> int:
    version, is_ours = version_and_owner(connection, APPLICATION_ID)
    if not is_ours:
        raise JournalError(f"{str(path)!r} is another program's database, and no journal")
    if version > len(MIGRATIONS):
        raise JournalError(
            f"the journal {str(path)!r} was written by a newer makespan (version {version} of its tables; this one "
            f"knows up to {len(MIGRATIONS)})",
            "update makespan",
        )
    return version


@contextmanager
def _speaking(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a :class:`JournalError`."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "malformed" in text or "not a database" in text or "no such table" in text:
            raise damaged_journal(path) from error
        raise JournalError(f"the journal {str(path)!r} cannot be used: {text}") from error
    except OSError as error:
        raise JournalError(f"the journal {str(path)!r} cannot be used: {error.strerror or error}") from error


def damaged_journal(path: Path) -> JournalError:
    """What is said of a journal that was cut off, or altered."""
    return JournalError(
        f"the journal {str(path)!r} is damaged: it was cut off, or something else wrote to it",
        "run without --resume; nothing of it can be used",
    )

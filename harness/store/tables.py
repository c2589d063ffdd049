"""The store's tables, how older ones are brought up to date, and how its file is opened.

Rules of this module:
- The version is in ``user_version``; ``application_id`` marks the file as ours. A file from a newer makespan, or
  from another program, is refused and left as it is.
- A migration is one immediate transaction: two processes that open an old store at once do it once.
- Write-ahead log: readers and the one writer do not wait for each other, and what was committed outlives the process.
  With ``synchronous = NORMAL`` a power failure may cost the last commits, never the rest.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from executor import sqlite_tables
from harness.store.store_errors import BUSY_SECONDS, StoreError

APPLICATION_ID: Final = 0x6D6B7370  # "mksp"

# One entry a version, never changed once it was released: a change is a new entry at the end.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE runs (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id TEXT NOT NULL UNIQUE,
            scenario TEXT NOT NULL,
            started_at TEXT NOT NULL,
            revision TEXT,
            machine TEXT,
            machine_class TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('unfinished', 'interrupted', 'finished')),
            verdict TEXT CHECK (verdict IN ('accepted', 'rejected')),
            cells INTEGER,
            repetitions INTEGER,
            head TEXT NOT NULL,
            document BLOB
        ) STRICT
        """,
        """
        CREATE TABLE samples (
            sequence INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
            cell TEXT NOT NULL,
            repetition INTEGER NOT NULL,
            sample TEXT NOT NULL,
            result BLOB,
            PRIMARY KEY (sequence, cell, repetition)
        ) STRICT
        """,
        "CREATE INDEX runs_by_revision ON runs (revision)",
        "CREATE INDEX runs_by_scenario ON runs (scenario, machine_class, verdict)",
    ),
    (
        # How a benchmark was started, and what has to be the same to go on with it (JSON).
        "ALTER TABLE runs ADD COLUMN started_as TEXT",
        # Steps whose output came from the cache.
        "ALTER TABLE runs ADD COLUMN cached_steps INTEGER NOT NULL DEFAULT 0",
        # What happened in a repetition (packed JSON), for a benchmark that goes on.
        "ALTER TABLE samples ADD COLUMN record BLOB",
    ),
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the store, made or brought up to date where it has to be. Transactions are the caller's.

    Raises:
        StoreError: it is another program's, or a newer makespan's.
        OSError, sqlite3.Error: it cannot be opened.

    """
    if read_only:
        connection = _opened_to_read(path)
        if 0 < check(connection, path) < len(MIGRATIONS) and os.access(path, os.W_OK):
            # What an older makespan left is read like any other.
            connection.close()
            connect(path).close()
            connection = _opened_to_read(path)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Runs hold what models were asked and answered, which is private. SQLite's side files copy the mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = _connection(str(path), uri=False)
    try:
        version = check(connection, path)
        if read_only:
            _check_readable(version, path)
            return connection
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if version < len(MIGRATIONS):
            migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path, known: int = len(MIGRATIONS)) -> int:
    """The version of the tables, 0 for a new file.

    Raises:
        StoreError: the file is another program's, or a newer makespan's.

    """
    version, is_ours = sqlite_tables.version_and_owner(connection, APPLICATION_ID)
    if not is_ours:
        raise StoreError(f"the store {str(path)!r} is another program's database; use another one with --store")
    if version > known:
        raise StoreError(
            f"the store {str(path)!r} was written by a newer makespan (version {version} of its tables; this one knows "
            f"up to {known}); update makespan, or use another store with --store"
        )
    return version


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:  # fmt: skip
    """Bring the tables up to date, all or nothing.

    Raises:
        StoreError: another process made them newer in the meantime.

    """
    sqlite_tables.migrate(connection, migrations, APPLICATION_ID, lambda: check(connection, path, len(migrations)))


def _check_readable(version: int, path: Path) -> None:
    if version < len(MIGRATIONS):
        raise StoreError(
            f"the store {str(path)!r} is empty, or from an older makespan and may not be written; open it once where "
            "it may be written"
        )


def _connection(name: str, *, uri: bool) -> sqlite3.Connection:
    # The store has a lock of its own: whichever thread brings a result may write it.
    return sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def _opened_to_read(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"there is no store at {str(path)!r}: nothing was kept there yet")
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = _connection(address, uri=True)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        # In a folder that may not be written, the log's index cannot be made; without a log it is not needed.
        connection = _connection(f"{address}&immutable=1", uri=True)
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for a lock here as it does elsewhere, so two that open a new store at once have to."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return

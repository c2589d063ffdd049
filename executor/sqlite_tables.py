"""Tables in SQLite files of ours: transactions that are whole or did not happen, and tables of older files made new.

Rules of this module:
- ``user_version`` is the version of the tables, ``application_id`` marks the file as ours.
- A migration is one immediate transaction: two processes that open an old file at once do it once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

# A writer waits so long for another one; a reader never waits.
BUSY_SECONDS = 10.0


def connect(
    path: Path, migrations: Sequence[Sequence[str]], application_id: int, check: Callable[[Connection], int]
) -> Connection:
    """Open a file of ours with a write-ahead log and the newest tables. ``check`` answers the version that the file
    has, and raises what is wrong with it. A power failure may cost the last transactions, and damages nothing.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        version = check(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version < len(migrations):
            migrate(connection, migrations, application_id, lambda: check(connection))
    except BaseException:
        connection.close()
        raise
    return connection


def version_and_owner(connection: Connection, application_id: int) -> tuple[int, bool]:
    """The version of the tables, and whether the file is ours: it bears the mark, or is empty."""
    # One statement: another process may make the tables between two.
    version, owner, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id),"
        " (SELECT COUNT(*) FROM sqlite_schema)"
    ).fetchone()
    return int(version), owner == application_id or not (tables or version or owner)


@contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """Hold the one right to write from the beginning; all of it is committed at the end, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself when the disk is full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrate(
    connection: Connection, migrations: Sequence[Sequence[str]], application_id: int, check: Callable[[], int]
) -> None:
    """Bring the tables up to date, all or nothing. ``migrations``: the statements of each version; ``check`` answers
    the version that the file has, and raises what is wrong with it.
    """
    with transaction(connection):
        # Another process may have done it, or made them newer, since it was asked.
        for statements in migrations[check() :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")

"""Tables in SQLite files of ours: transactions that are whole or did not happen, and tables of older files made new.

Rules of this module:
- ``user_version`` is the version of the tables, ``application_id`` marks the file as ours.
- A migration is one immediate transaction: two processes that open an old file at once do it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from sqlite3 import Connection


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

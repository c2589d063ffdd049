"""The databases of a person as rows that can be damaged one by one, and as bytes again: histories, journals, caches."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from executor.journal import journal_file
from executor.output_cache import cache_file
from executor.sqlite_tables import connect
from harness.store import tables
from tests.integration.calling import called
from tests.integration.damaged_files import json_bytes
from tests.integration.kinds_of_files import FILE, RICH, Kind, made

_PACKED = ("document", "result", "record")
_JSON_TEXTS = ("head", "started_as", "sample")
CACHED = """
scenario: cached
steps:
  - {step_id: a, tool: "tests.integration.kinds_of_databases:number", args: {of: 3}, cache: inputs}
  - {step_id: b, tool: "tests.integration.kinds_of_databases:broken", depends_on: [a]}
  - {step_id: c, tool: sleep, args: {seconds: 0.001}, depends_on: [a]}
"""
STOPPED = """
scenario: stopped
steps:
  - {step_id: a, tool: "tests.integration.kinds_of_databases:interrupt_at_last", args: {file: left}}
  - {step_id: b, tool: noop, depends_on: [a]}
benchmark: {executors: [serial, threads], workers: [2], repetitions: 2, warmup: 0}
"""


def number(of: int) -> dict[str, int]:
    """An output that is kept in the cache."""
    return {"number": of}


def broken() -> None:
    """Fails, so that there is something to resume."""
    raise ValueError("planted")


def interrupt_at_last(file: str) -> None:
    """Count a file down, and interrupt this process as Ctrl-C does at 0."""
    path = Path(file)
    if path.exists():
        left = int(path.read_text(encoding="utf-8")) - 1
        path.write_text(str(left), encoding="utf-8")
        if left == 0:
            signal.raise_signal(signal.SIGINT)


def _database(make: Callable[[Path], sqlite3.Connection], fill: Callable[[sqlite3.Connection], None]) -> bytes:
    """The bytes of a database with all in its one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.sqlite"
        with closing(make(path)) as connection:
            fill(connection)
            connection.execute("PRAGMA journal_mode = DELETE")
        return path.read_bytes()


def _text(value: Any) -> Any:
    return json_bytes(value).decode() if isinstance(value, dict | list) else value


def _packed(value: Any) -> Any:
    return zlib.compress(json_bytes(value)) if isinstance(value, dict | list) else value


def _unpacked(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))


def store_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a history; JSON in them as values."""
    found: dict[str, list[dict[str, Any]]] = {}
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        for table in ("runs", "samples"):
            found[table] = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    for row in (*found["runs"], *found["samples"]):
        for name in row.keys() & {*_PACKED, *_JSON_TEXTS}:
            if row[name] is not None:
                row[name] = _unpacked(row[name]) if name in _PACKED else json.loads(row[name])
    return found


def store_bytes(value: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """A history with these rows."""

    def fill(connection: sqlite3.Connection) -> None:
        for table in ("runs", "samples"):
            for row in value[table]:
                words = {name: _packed(one) if name in _PACKED else _text(one) for name, one in row.items()}
                names, marks = ", ".join(words), ", ".join("?" * len(words))
                connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(words.values()))

    return _database(tables.connect, fill)


def journal_bytes(value: Mapping[str, Sequence[Any]]) -> bytes:
    """A journal with these sessions and batches; all checksums are right."""

    def fill(connection: sqlite3.Connection) -> None:
        for place, head in enumerate(value["heads"], 1):
            text = json_bytes(head).decode()
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (place, text, zlib.crc32(text.encode())))
        for place, batch in enumerate(value["batches"], 1):
            body = zlib.compress(json_bytes(batch))
            connection.execute("INSERT INTO batches VALUES (?, 1, ?, ?)", (place, body, zlib.crc32(body)))

    return _database(_new(journal_file.MIGRATIONS, journal_file.APPLICATION_ID), fill)


def cache_bytes(value: Sequence[Mapping[str, Any]]) -> bytes:
    """A cache with these rows; all checksums are right."""

    def fill(connection: sqlite3.Connection) -> None:
        for row in value:
            words = _text(row["words"])
            checksum = zlib.crc32(words.encode()) if isinstance(words, str) else 0
            columns = (row["call"], row["run_id"], row["step_id"], row["stored_at"], words, checksum)
            connection.execute("INSERT INTO outputs VALUES (?, ?, ?, ?, ?, ?)", columns)

    return _database(_new(cache_file.MIGRATIONS, cache_file.APPLICATION_ID), fill)


def _new(migrations: Sequence[Sequence[str]], application_id: int) -> Callable[[Path], sqlite3.Connection]:
    return lambda path: connect(path, migrations, application_id, lambda _: 0)


def kinds_of_databases(folder: Path) -> dict[str, Kind]:
    """Histories of a finished and of an interrupted benchmark, a journal, a cache. ``folder`` is the current one."""
    for name, text in (("rich", RICH), ("cached", CACHED), ("stopped", STOPPED)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    made("bench", "rich.yaml", "--store", "finished.sqlite", "--quiet")
    (folder / "left").write_text("3", encoding="utf-8")
    done = called("bench", "stopped.yaml", "--store", "interrupted.sqlite", "--quiet")
    assert done.exit_code == 130, done.output
    (folder / "left").unlink()
    done = called("run", "cached.yaml", "--store", "failed.sqlite", "--quiet")
    assert done.exit_code == 1, done.output
    readers = [
        ["history", "--store", FILE, "--json", "out.json"],
        ["history", "--store", FILE, "--executor", "threads"],
        ["report", "@last", "--store", FILE, "-o", "out.html"],
        ["simulate", "@last", "--store", FILE, "--json", "out.json"],
        ["compare", "@last", "@last", "--store", FILE, "--json", "out.json"],
        ["dashboards", "push", "--all", "--store", FILE, "--profile", "shared", "--textfile", "out.prom"],
        ["bench", "--resume", "@last", "--store", FILE, "--quiet"],
        ["run", "rich.yaml", "--store", FILE, "--quiet", "-p", "best"],
    ]
    of_journal = [
        ["run", "--resume", "@last", "--store", "kept.sqlite", "--quiet"],
        ["history", "--store", "kept.sqlite", "--json", "out.json"],
        ["history", "--store", "kept.sqlite", "--prune", "2020-01-01"],
    ]
    of_cache = [
        ["run", "cached.yaml", "--store", "damaged.sqlite", "--quiet"],
        ["history", "--store", "damaged.sqlite", "--prune", "2020-01-01"],
    ]
    finished, interrupted = store_rows(folder / "finished.sqlite"), store_rows(folder / "interrupted.sqlite")
    assert any(row["record"] is not None for row in interrupted["samples"])
    journal, cache = _journal_and_cache(folder)
    for name in ("finished", "interrupted", "failed"):
        shutil.rmtree(folder / f"{name}.journals")
    return {
        "history": Kind(".sqlite", readers, finished, store_bytes, names_field=False),
        "history of an interrupted benchmark": Kind(".sqlite", readers, interrupted, store_bytes, names_field=False),
        "journal": Kind(".sqlite", of_journal, journal, journal_bytes, folder="kept.journals", names_field=False),
        "cache": Kind(".cache", of_cache, cache, cache_bytes, names_field=False),
    }


def _journal_and_cache(folder: Path) -> tuple[dict[str, list[Any]], list[dict[str, Any]]]:
    (path,) = (folder / "failed.journals").glob("*.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        journal = {
            "heads": [json.loads(text) for (text,) in connection.execute("SELECT head FROM sessions")],
            "batches": [_unpacked(body) for (body,) in connection.execute("SELECT body FROM batches")],
        }
    with closing(sqlite3.connect(folder / "failed.cache")) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT call, run_id, step_id, stored_at, words FROM outputs")]
    return journal, [{**row, "words": json.loads(row["words"])} for row in rows]

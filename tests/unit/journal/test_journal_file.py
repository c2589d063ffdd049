"""The file of a journal: whatever is left of it is read up to a commit, or refused; and what is not ours is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from executor.journal.journal_errors import JournalError
from executor.journal.journal_file import MIGRATIONS, JournalFile, Session

HEAD = {"run_id": "a" * 32, "workflow_id": "w"}


def written(path: Path) -> Iterator[tuple[Path, list[list[Session]]]]:
    """A journal that a process that was killed has left, and what it held after each commit."""
    file = JournalFile.create(path)
    states: list[list[Session]] = [[]]
    file.begin_session(HEAD)
    states.append(file.sessions())
    for number in range(4):
        file.append(
            [f'{{"ends": [["step-{number}-{part}", 1, "{"x" * 300 * number}"]]}}' for part in range(number + 1)]
        )
        states.append(file.sessions())
    yield path, states
    file.close()


def closed(path: Path) -> tuple[Path, list[list[Session]]]:
    """The same of a run that came to its end."""
    ((journal, states),) = written(path)
    return journal, states


def cut_offs(journal: Path, states: list[list[Session]], folder: Path, name: str, sizes: Iterable[int]) -> set[int]:
    """Cut one file at these sizes, the other left whole. Each must be refused, or be what some commit left; which
    commits is answered (-1: refused).
    """
    seen: set[int] = set()
    copy = folder / "copy.sqlite"
    whole = (journal.with_name(journal.name + name)).read_bytes()
    other = "" if name else "-wal"
    for size in sizes:
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
        beside = journal.with_name(journal.name + other)
        if beside.exists():
            shutil.copyfile(beside, copy.with_name(copy.name + other))
        copy.with_name(copy.name + name).write_bytes(whole[:size])
        try:
            file = JournalFile.open(copy)
        except JournalError:
            seen.add(-1)
            continue
        try:
            sessions = file.sessions()
        except JournalError:
            seen.add(-1)
        else:
            assert sessions in states, f"cut at byte {size}: {sessions}"
            seen.add(states.index(sessions))
        finally:
            file.close()
    return seen


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: tens of thousands of small files are written and synced."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def around_the_pages(length: int) -> list[int]:
    """Every place where a write can end, and those beside it."""
    header, frame = 32, 24 + 4096
    edges = [header + frame * number + part for number in range(length // frame + 2) for part in (0, 24)]
    return sorted({size for edge in edges for size in range(edge - 2, edge + 3) if 0 <= size <= length})


def test_a_log_that_was_cut_off_is_read_up_to_a_commit(tmp_path: Path) -> None:
    for journal, states in written(tmp_path / "j.sqlite"):
        length = journal.with_name("j.sqlite-wal").stat().st_size
        seen = cut_offs(journal, states, tmp_path, "-wal", around_the_pages(length))
    assert seen == set(range(-1, len(states))) - {0}


def test_a_closed_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    journal, states = closed(tmp_path / "j.sqlite")
    length = journal.stat().st_size
    assert cut_offs(journal, states, tmp_path, "", [*range(0, length, 97), length - 1]) == {-1}
    assert cut_offs(journal, states, tmp_path, "", [length]) == {len(states) - 1}


@pytest.mark.slow
def test_a_log_cut_at_every_byte_is_read_up_to_a_commit_or_refused(memory: Path) -> None:
    for journal, states in written(memory / "j.sqlite"):
        length = journal.with_name("j.sqlite-wal").stat().st_size
        seen = cut_offs(journal, states, memory, "-wal", range(length + 1))
    assert seen == set(range(-1, len(states))) - {0}


@pytest.mark.slow
def test_a_closed_file_cut_at_every_byte_is_refused(memory: Path) -> None:
    journal, states = closed(memory / "j.sqlite")
    assert cut_offs(journal, states, memory, "", range(journal.stat().st_size)) == {-1}


def test_a_byte_that_was_changed_in_a_batch_is_noticed(tmp_path: Path) -> None:
    path, _ = closed(tmp_path / "j.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE batches SET body = CAST(body || x'00' AS BLOB) WHERE number = 2")
    connection.commit()
    connection.close()
    with closing(JournalFile.open(path)) as file, pytest.raises(JournalError, match="is damaged"):
        file.sessions()


def test_a_batch_that_is_gone_is_noticed(tmp_path: Path) -> None:
    path, _ = closed(tmp_path / "j.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM batches WHERE number = 2")
    connection.commit()
    connection.close()
    with closing(JournalFile.open(path)) as file, pytest.raises(JournalError, match="is damaged"):
        file.sessions()


def test_a_newer_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    JournalFile.create(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="written by a newer makespan"):
        JournalFile.open(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    with pytest.raises(JournalError, match="another program's database"):
        JournalFile.open(path)
    (tmp_path / "text").write_text("no database at all, but long enough to look at" * 30, encoding="utf-8")
    with pytest.raises(JournalError, match="is damaged"):
        JournalFile.open(tmp_path / "text")


def test_no_file_and_an_empty_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        JournalFile.open(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(JournalError, match="is empty"):
        JournalFile.open(tmp_path / "empty")


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(JournalError, match="there is a file"):
        JournalFile.create(path)
    assert path.read_text(encoding="utf-8") == "mine"

"""What is kept beside a store is dropped by age; what a run could be resumed from only where that is asked for."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from executor.journal.run_lock import RunLock
from harness.store.journals import Journals, cache_path
from harness.store.run_store import Store
from tests.integration.calling import called, folder

__all__ = ["folder"]

LARGE = """
scenario: {name}
tools:
  large: {{kind: command, argv: [sh, -c, "head -c 100000 /dev/zero | tr '\\\\0' x"]}}
  fails: {{kind: command, argv: ["false"]}}
steps:
  - {{step_id: a, tool: large, args: {{arguments: ["{name}"]}}, cache: inputs}}
  - {{step_id: b, tool: {last}}}
"""
DAYS = 86_400


@pytest.fixture
def store(folder: Path) -> Path:
    """With a finished run, a failed one and an interrupted benchmark, all ten days old."""
    for name, last in (("fine", "large"), ("failing", "fails")):
        (folder / f"{name}.yaml").write_text(LARGE.format(name=name, last=last), encoding="utf-8")
        called("run", f"{name}.yaml", "--store", "runs.sqlite", "-q")
    path = folder / "runs.sqlite"
    with Store.open(path) as opened:
        head = {name: value for name, value in opened.load("@last").items() if name != "results"}
        head |= {"run_id": "bench", "scenario": "bench", "started_at": "2026-01-01T00:00:00.000+00:00"}
        opened.begin_run(head, {"request": {}})
        opened.finish_run("bench", {**head, "results": []}, status="interrupted")
    age(folder, 10)
    return path


def age(folder: Path, days: int) -> None:
    then = time.time() - days * DAYS
    for path in (folder / "runs.journals").rglob("*"):
        os.utime(path, (then, then))
    with sqlite3.connect(folder / "runs.cache") as connection:
        connection.execute("UPDATE outputs SET stored_at = ?", (then,))
    connection.close()
    for path in (folder / "runs.cache.outputs").iterdir():
        os.utime(path, (then, then))


def pruned(*arguments: str) -> Any:
    return called("history", "--store", "runs.sqlite", "--prune", *arguments)


def test_what_is_young_stays(store: Path) -> None:
    done = pruned("30d")
    assert done.exit_code == 0
    assert "Dropped 0 journals (0.0 MB), 0 cached outputs." in done.stdout
    assert len(Journals(store).paths()) == 2


def test_journals_of_finished_runs_go_with_their_outputs_and_what_can_be_resumed_is_named(store: Path) -> None:
    (failing,) = [one for one in Journals(store).latest() if one.workflow_id == "failing"]
    done = pruned("7d")
    assert done.exit_code == 0
    assert "Dropped 1 journal (0.1 MB), 2 cached outputs." in done.stdout
    assert f"Kept what can be resumed: {failing.run_id[:12]}, bench. --prune-unfinished drops that, too." in done.stdout
    left = sorted(path.name.partition(".")[0] for path in Journals(store).folder.iterdir())
    assert set(left) == {failing.path.stem}
    assert list(cache_path(store).with_name("runs.cache.outputs").iterdir()) == []
    # The results are still there.
    assert called("report", "@last~1", "--store", "runs.sqlite", "-o", "report.html").exit_code == 0
    resumed = called("run", "--resume", failing.run_id, "--store", "runs.sqlite", "-q")
    assert resumed.exit_code == 1
    done = pruned("7d", "--prune-unfinished")
    assert "Dropped 0 journals" in done.stdout, "it was written by the resumed run just now"


def test_what_can_be_resumed_goes_where_that_is_asked_for(store: Path) -> None:
    done = pruned("7d", "--prune-unfinished")
    assert "Dropped 2 journals" in done.stdout
    assert "what 1 benchmark could go on from." in done.stdout
    assert Journals(store).paths() == []
    assert "no benchmark is meant" in called("bench", "--resume", "@last", "--store", "runs.sqlite").stderr


def test_what_a_run_writes_at_this_moment_is_left_alone(store: Path) -> None:
    (fine,) = [one for one in Journals(store).latest() if one.workflow_id == "fine"]
    lock = RunLock(fine.path, "another")
    try:
        assert "Dropped 0 journals" in pruned("7d").stdout
    finally:
        lock.release()
    assert fine.path.exists()


def test_a_damaged_journal_is_told_and_goes_where_that_is_asked_for(store: Path) -> None:
    (fine,) = [one for one in Journals(store).latest() if one.workflow_id == "fine"]
    fine.path.write_bytes(fine.path.read_bytes()[:5000])
    for path in fine.path.parent.glob(f"{fine.path.name}-*"):
        path.unlink()
    age(store.parent, 10)
    done = pruned("7d")
    assert done.exit_code == 1
    assert "is damaged" in done.stdout
    assert fine.path.exists()
    assert pruned("7d", "--prune-unfinished").exit_code == 0
    assert not fine.path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--prune", "soon"), "--prune 'soon' is no time"), (("--prune-unfinished",), "goes with --prune TIME")],
)
def test_what_makes_no_sense_is_told(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = called("history", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_nothing_is_dropped_where_nothing_is(folder: Path) -> None:
    assert "Dropped 0 journals (0.0 MB), 0 cached outputs." in called("history", "--prune", "1d").stdout
    assert not (folder / "data").exists()

"""The store when things go wrong: full disks, damage, other versions, several processes at once, and SIGKILL."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import zlib
from pathlib import Path

import pytest

from harness.result.cell_key import cell_of
from harness.store.recording import Recording
from harness.store.run_store import Store
from harness.store.store_errors import StoreError
from harness.store.tables import MIGRATIONS, connect, migrate
from tests.unit.run_documents import document, result

ROOT = Path(__file__).resolve().parents[2]


def head(run_id):
    whole = document(run_id=run_id)
    del whole["results"]
    return whole


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "runs.sqlite"


@pytest.fixture
def store(path):
    with Store.open(path) as opened:
        yield opened


def test_a_store_from_a_newer_makespan_is_refused_and_left_as_it_is(path):
    Store.open(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    raw.close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="written by a newer makespan"):
            Store.open(path, read_only=read_only)
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    raw.close()


def test_an_older_store_is_brought_up_to_date_and_keeps_its_runs(path):
    with Store.open(path) as opened:
        opened.save(document(result([1.0])))
    newer = (*MIGRATIONS, ("ALTER TABLE runs ADD COLUMN note TEXT",))
    raw = connect(path)
    migrate(raw, path, newer)
    migrate(raw, path, newer)
    assert raw.execute("SELECT run_id, note FROM runs").fetchall() == [("run-1", None)]
    assert raw.execute("PRAGMA user_version").fetchone() == (len(newer),)
    raw.close()


def test_a_store_that_an_older_makespan_left_is_read_by_commands_that_only_look(path):
    path.parent.mkdir()
    raw = sqlite3.connect(path)
    migrate(raw, path, MIGRATIONS[:1])
    whole = document(result([1.0]))
    packed = zlib.compress(json.dumps(whole).encode())
    row = ("run-1", "jokes", whole["started_at"], "c", "finished", 1, 1, "{}", packed)
    raw.execute(
        "INSERT INTO runs (run_id, scenario, started_at, machine_class, status, cells, repetitions, head, document)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    raw.commit()
    raw.close()
    with Store.open(path, read_only=True) as opened:
        assert [(run.run_id, run.cached_steps) for run in opened.history()] == [("run-1", 0)]
        assert opened.load("@last") == whole


def test_a_migration_that_fails_changes_nothing(path):
    Store.open(path).close()
    raw = connect(path)
    broken = (*MIGRATIONS, ("ALTER TABLE runs ADD COLUMN note TEXT", "no SQL at all"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(raw, path, broken)
    assert raw.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert "note" not in [row[1] for row in raw.execute("PRAGMA table_info(runs)")]
    raw.close()


def test_another_programs_database_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE songs (title TEXT)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path):
    path.parent.mkdir()
    path.write_text("not a database, and long enough to be taken for the head of one " * 20)
    with pytest.raises(StoreError, match="no SQLite database"):
        Store.open(path)


def test_a_damaged_store_is_told(path):
    with Store.open(path) as opened:
        opened.save(document(*(result([1.0], workers=number) for number in range(1, 30))))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|error"), Store.open(path) as opened:
        opened.load("run-1")


def test_a_damaged_document_is_told(store, path):
    store.save(document(result([1.0])))
    raw = sqlite3.connect(path)
    raw.execute("UPDATE runs SET document = x'00'")
    raw.commit()
    raw.close()
    with pytest.raises(StoreError, match=r"run-1 .*is damaged"):
        store.load("run-1")


@pytest.mark.parametrize("place", ["/proc/no-such-folder/runs.sqlite", "/dev/null/runs.sqlite"])
def test_a_place_that_cannot_be_written_is_told(place):
    with pytest.raises(StoreError, match="--store"):
        Store.open(place)


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="--store"):
        Store.open(tmp_path)


def test_a_store_opened_to_read_takes_nothing(path):
    with Store.open(path) as opened:
        opened.save(document(result([1.0])))
    with Store.open(path, read_only=True) as opened:
        assert opened.load("@last")["run_id"] == "run-1"
        with pytest.raises(StoreError, match="read-only"):
            opened.accept("@last")
        with pytest.raises(StoreError, match="read-only"):
            opened.begin_run(head("abc"))


def test_a_store_that_is_not_there_cannot_be_read(path):
    with pytest.raises(StoreError, match="there is no store"):
        Store.open(path, read_only=True)
    assert not path.exists()


def fill_the_disk(store):
    """SQLite's own limit answers as a full disk does. Returns a function that frees space again."""
    raw = store._connection
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: raw.execute(f"PRAGMA max_page_count = {1 << 30}")


def test_a_full_disk_is_told_and_loses_nothing_that_was_stored(store):
    store.save(document(result([1.0])))
    fill_the_disk(store)
    large = document(*(result([float(number + 1)], parameters={"n": os.urandom(2000).hex()}) for number in range(20)))
    large["run_id"] = "large"
    with pytest.raises(StoreError, match="the disk is full"):
        store.save(large)
    assert [row.run_id for row in store.history()] == ["run-1"]
    assert store.load("run-1")["run_id"] == "run-1"


def test_a_recording_keeps_what_a_full_disk_refused_and_writes_it_when_there_is_room(store):
    warnings = []
    recording = Recording(store, head("abc"), warn=warnings.append)
    make_room = fill_the_disk(store)
    for number in range(1, 21):
        single = result([float(number)], parameters={"n": os.urandom(2000).hex()})
        recording.add_sample(cell_of(single, "jokes"), 1, single["samples"][0], single)
    assert recording.failure is not None
    assert len(warnings) == 1
    assert "the disk is full" in warnings[0]
    assert "kept in memory" in warnings[0]
    make_room()
    single = result([30.0])
    recording.add_sample(cell_of(single, "jokes"), 1, single["samples"][0], single)
    assert recording.failure is None
    assert store.history()[0].repetitions == 21


def test_a_recording_that_cannot_be_finished_says_so_and_leaves_the_document_to_the_caller(store):
    recording = Recording(store, head("abc"), warn=lambda _: None)
    make_room = fill_the_disk(store)
    large = document(*(result([1.0], parameters={"n": os.urandom(2000).hex()}) for _ in range(20)), run_id="abc")
    failure = recording.finish(large)
    assert failure is not None
    assert "the disk is full" in str(failure)
    make_room()
    assert recording.finish(large) is None
    assert store.load("abc") == large


def test_a_file_system_that_refuses_is_told(path):
    """A quota, in a process of its own: no file may grow beyond 64 KiB."""
    script = """
        import os, resource, sys
        from harness.store.run_store import Store
        from harness.store.store_errors import StoreError
        from tests.unit.run_documents import document, result
        store = Store.open(sys.argv[1])
        store.save(document(result([1.0])))
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        cells = [result([1.0], parameters={"n": os.urandom(9000).hex()}) for _ in range(20)]
        try:
            store.save(document(*cells, run_id="large"))
        except StoreError as error:
            print(error)
        print([row.run_id for row in store.history()])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    message, rows = run.stdout.splitlines()
    assert "cannot be read or written" in message or "the disk is full" in message
    assert rows == "['run-1']"
    with Store.open(path) as opened:
        assert opened.load("run-1")["run_id"] == "run-1"


# Several at once, and killed


def test_two_threads_share_one_store(store):
    store.begin_run(head("abc"))
    single = result([1.0])
    cell, sample = cell_of(single, "jokes"), single["samples"][0]

    def write(first):
        for number in range(first, first + 50):
            store.add_sample("abc", cell, number, sample, single)

    threads = [threading.Thread(target=write, args=(first,)) for first in (1, 51)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.history()[0].repetitions == 100


def test_processes_that_open_a_new_store_and_write_at_once_lose_nothing(path):
    script = """
        import os, sys
        from harness.store.run_store import Store
        from tests.unit.run_documents import document, result
        whole = document(result([1.0]))
        sys.stdin.readline()
        children = []
        for child in range(4):
            if (pid := os.fork()) == 0:
                try:
                    with Store.open(sys.argv[1]) as store:
                        for number in range(25):
                            store.save({**whole, "run_id": f"{child}-{number}"})
                            assert store.load(f"{child}-{number}")["run_id"] == f"{child}-{number}"
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    os._exit(1)
                os._exit(0)
            children.append(pid)
        sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        cwd=ROOT, input="\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with Store.open(path) as opened:
        assert len(opened.history()) == 100


def test_a_store_whose_writer_was_killed_50_times_is_whole_each_time(path):
    """Each writer says through a pipe what it has stored, and is killed at a random moment."""
    script = """
        import os, random, signal, sys, time
        from harness.result.cell_key import cell_of
        from harness.store.run_store import Store
        from tests.unit.run_documents import document, result
        path, source = sys.argv[1], random.Random(1)
        single = result([1.0], parameters={"text": os.urandom(3000).hex()})
        cell, head = cell_of(single, "jokes"), document()
        stored, most = {}, 0
        for kill in range(50):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                with Store.open(path) as store:
                    run_id = store.begin_run({**head, "run_id": f"run-{kill:02}"})
                    number = 0
                    while True:
                        number += 1
                        store.add_sample(run_id, cell, number, single["samples"][0], single)
                        os.write(writing, b".")
            os.close(writing)
            os.read(reading, 1)
            time.sleep(source.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            count = 1
            while got := os.read(reading, 65536):
                count += len(got)
            os.close(reading)
            stored[f"run-{kill:02}"] = count
            with Store.open(path) as store:
                assert store._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                found = {row.run_id: row.repetitions for row in store.history()}
                assert found.keys() == stored.keys()
                # What it could not report any more may be there too, but no more than one.
                assert all(count <= found[run_id] <= count + 1 for run_id, count in stored.items()), (stored, found)
                stored = found
                assert len(store.load("@last")["results"][0]["samples"]) == found[f"run-{kill:02}"]
        print(sum(stored.values()))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 50


def test_a_busy_store_is_waited_for(store, path):
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    store.save(document(result([1.0])))
    timer.join()
    other.close()
    assert store.load("@last")["run_id"] == "run-1"

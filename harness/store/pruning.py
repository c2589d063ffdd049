"""Drops what is kept beside a store and is old: journals with their outputs, cached outputs, repetitions of benchmarks.

Rules of this module:
- A run that could still be resumed is kept, and named, unless it is asked for to drop such runs, too.
- What a run writes at this moment is left alone.
- Results are never dropped: the history keeps its runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from executor.journal.earlier_run import EarlierRun
from executor.journal.journal_errors import JournalError
from executor.journal.kept_run import read_journal
from executor.journal.rows import End
from executor.journal.run_lock import RunLock
from executor.output_cache.cache_file import CacheError, CacheFile
from harness.store.journals import BENCH_SUFFIX, Journals, cache_path, written_at
from harness.store.run_store import Store
from harness.store.store_errors import StoreError

_BESIDE: Final = ("", "-wal", "-shm", ".lock")


@dataclass(slots=True)
class Pruned:
    """What was dropped; ``resumable`` are the ids of runs and benchmarks that were kept for that. ``dropped_bytes`` are
    those of journals and their outputs. ``faults``: what could not be dropped, and why.
    """

    journals: int = 0
    dropped_bytes: int = 0
    cached_outputs: int = 0
    benchmarks: int = 0
    resumable: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def prune(store: Path, before: float, *, unfinished: bool = False) -> Pruned:
    """Drop what was written before that time (seconds since 1970). ``unfinished``: also what could be resumed."""
    found = Pruned()
    for path in Journals(store).paths():
        if written_at(path) < before:
            _prune_journal(path, found, unfinished=unfinished)
    _prune_locks(store, before)
    cache = cache_path(store)
    if cache.exists():
        try:
            file = CacheFile.open(cache)
            try:
                found.cached_outputs = file.drop_before(before)
            finally:
                file.close()
        except CacheError as error:
            found.faults.append(str(error))
    if store.exists():
        try:
            with Store.open(store) as opened:
                benchmarks = opened.resumable_before(before)
                if unfinished:
                    opened.drop_repetitions(benchmarks)
                    found.benchmarks = len(benchmarks)
                else:
                    found.resumable += benchmarks
        except StoreError as error:
            found.faults.append(str(error))
    return found


def is_resumable(run: EarlierRun) -> bool:
    """Whether something of the run is left to be done."""
    if run.closed != "finished":
        return True
    return any(not isinstance(row, End) or row.outcome != "succeeded" for row in run.last.values())


def _prune_journal(path: Path, found: Pruned, *, unfinished: bool) -> None:
    try:
        lock = RunLock(path, "prune")
    except (JournalError, OSError):
        # A run writes it.
        return
    try:
        if not unfinished:
            try:
                run = read_journal(path)
            except JournalError as error:
                found.faults.append(f"{error}; --prune-unfinished drops it")
                return
            if is_resumable(run):
                found.resumable.append(run.run_id)
                return
        outputs = path.with_name(f"{path.name}.outputs")
        files = [path.with_name(f"{path.name}{suffix}") for suffix in _BESIDE]
        size = sum(file.stat().st_size for file in (*files, *_files_in(outputs)) if file.exists())
        shutil.rmtree(outputs, ignore_errors=True)
        for file in files:
            file.unlink(missing_ok=True)
        found.journals += 1
        found.dropped_bytes += size
    except OSError as error:
        found.faults.append(f"the journal {str(path)!r} cannot be dropped: {error.strerror or error}")
    finally:
        lock.release()


def _files_in(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from folder.iterdir()


def _prune_locks(store: Path, before: float) -> None:
    """Of benchmarks: a lock that no process holds says nothing."""
    for path in _files_in(Journals(store).folder):
        if path.name.endswith(f"{BENCH_SUFFIX}.lock") and path.stat().st_mtime < before:
            try:
                lock = RunLock(path.with_name(path.name.removesuffix(".lock")), "prune")
            except (JournalError, OSError):
                continue
            path.unlink(missing_ok=True)
            lock.release()

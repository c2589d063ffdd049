"""The journals beside a store: one file a run, from which it can be resumed. And where the cache stands.

Rules of this module:
- ``runs.sqlite`` has its journals in the folder ``runs.journals``, each named by the id of the run that began it.
- The latest run is the one whose journal was written last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from executor.journal.journal_errors import JournalError
from executor.journal.journal_file import JournalFile
from executor.journal.run_lock import is_held
from executor.model.findings import printable
from harness.plain_text import some_of
from harness.store.store_errors import StoreError

_LAST: Final = re.compile(r"@last(?:~(\d{1,9}))?")
_TRACE_ID: Final = re.compile("[0-9a-f]{32}")
_SUFFIX: Final = ".sqlite"
# Of a file in the same folder that a benchmark locks while it goes on, behind the id of its run.
BENCH_SUFFIX: Final = ".bench"
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class FoundJournal:
    """A journal, and what its latest session says of its run."""

    path: Path
    head: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Of the latest session."""
        return str(self.head.get("run_id", ""))

    @property
    def workflow_id(self) -> str:
        """Of which workflow it is."""
        return str(self.head.get("workflow_id", ""))

    @property
    def goes_on(self) -> bool:
        """Whether a run of another process writes it at this moment."""
        return is_held(self.path)

    @property
    def trace_id(self) -> str | None:
        """Of its trace, hexadecimal; None without one."""
        trace_id = self.head.get("trace_id")
        return trace_id if isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id) else None

    @property
    def about(self) -> Mapping[str, Any]:
        """How the run was started; empty where nobody said."""
        about = self.head.get("started_as")
        return about if isinstance(about, dict) else {}


def cache_path(store_path: Path) -> Path:
    """Where the outputs of steps with ``cache: inputs`` are: ``runs.sqlite`` has ``runs.cache`` beside it."""
    return store_path.with_suffix(".cache")


class Journals:
    """The journals of one store."""

    def __init__(self, store_path: Path) -> None:
        self.folder = store_path.with_suffix(".journals")

    def path_of(self, run_id: str) -> Path:
        """Where the journal of a new run stands."""
        return self.folder / f"{run_id}{_SUFFIX}"

    def bench_path(self, run_id: str) -> Path:
        """What a benchmark locks while it goes on."""
        return self.folder / f"{run_id}{BENCH_SUFFIX}"

    def latest(self, most: int | None = None) -> Iterator[FoundJournal]:
        """The journals that can be read, the latest first, of so many at most."""
        for path in self.paths()[:most]:
            with suppress(JournalError):
                yield FoundJournal(path, _heads(path)[-1])

    def find(self, reference: str) -> FoundJournal:
        """The journal of the run that is meant: ``@last``, ``@last~1``, an id or its beginning.

        Raises:
            StoreError: none or several are meant.
            JournalError: it cannot be read.
        """
        paths = self.paths()
        if not paths:
            raise StoreError(f"there is no run to resume: {str(self.folder)!r} holds no journal")
        match = _LAST.fullmatch(reference)
        if match is not None:
            back = int(match.group(1) or 0)
            if back >= len(paths):
                raise StoreError(f"there is no {reference}: {str(self.folder)!r} holds {len(paths)} journals")
            return FoundJournal(paths[back], _heads(paths[back])[-1])
        if not reference or reference.startswith("@"):
            raise StoreError(f"{printable(reference)!r} means nothing; write @last, @last~1 or the id of a run")
        named = list(self._named(reference, paths))
        if len(named) > 1:
            raise StoreError(
                f"{printable(reference)!r} is the beginning of {some_of([one.run_id for one in named], _NAMED)}"
            )
        if not named:
            known = some_of([path.stem[:12] for path in paths], _NAMED)
            raise StoreError(f"no run {printable(reference)!r} was kept in {str(self.folder)!r}; there are {known}")
        return named[0]

    def _named(self, reference: str, paths: list[Path]) -> Iterator[FoundJournal]:
        for path in paths:
            try:
                heads = _heads(path)
            except JournalError:
                if path.stem.startswith(reference):
                    raise
                continue
            if any(str(head.get("run_id", "")).startswith(reference) for head in heads):
                yield FoundJournal(path, heads[-1])

    def paths(self) -> list[Path]:
        """The journals, the latest first."""
        try:
            found = [path for path in self.folder.iterdir() if path.suffix == _SUFFIX]
        except OSError:
            return []
        return sorted(found, key=written_at, reverse=True)


def written_at(path: Path) -> float:
    """When a journal was written last: seconds since 1970."""
    log = path.with_name(f"{path.name}-wal")
    return max((one.stat().st_mtime for one in (path, log) if one.exists()), default=0.0)


def _heads(path: Path) -> list[Mapping[str, Any]]:
    file = JournalFile.open(path)
    try:
        return file.heads()
    finally:
        file.close()

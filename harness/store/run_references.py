"""What a reference to a run means: ``@last``, ``@last~1``, an id, a git revision, a file, a folder.

Rules of this module:
- A reference is looked up in this order: ``@…``; a text that looks like a path (it has a separator, or ends in .json);
  the store's ids, then its revisions, by their beginning; any other path; a name that git knows (``main``, ``HEAD~2``).
- Several runs of one revision: the newest. Several ids or revisions with one beginning: an error that lists them.
- A folder holds documents that ``--json`` wrote, a CI system's artifacts for instance; other files in it do not matter.
  Where one document is asked for, it is the one that started last.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import harness.result as run_documents
from executor.model.findings import printable
from harness.files.finite_json import read_finite_json
from harness.plain_text import some_of
from harness.store.store_errors import StoreError
from harness.store.stored_run import RunHistory, StoredRun

Document = dict[str, Any]

_LAST: Final = re.compile(r"@last(?:~(\d{1,9}))?")
_LEAST_REVISION: Final = 4
_GIT_SECONDS: Final = 10.0


def load_reference(reference: str, store: RunHistory | None = None) -> Document:
    """The one document that is meant. Without a store, only files and folders can be.

    Raises:
        StoreError: none or several are meant, or it cannot be read.

    """
    path = _path(reference, store)
    if path is not None:
        return read_folder(path)[-1] if path.is_dir() else read_file(path)
    if store is None:
        raise StoreError(
            f"{printable(reference)!r} is no file or folder, and there is no history of runs to look it up in"
        )
    return store.document(stored_run(reference, store).run_id)


def load_all(reference: str, store: RunHistory | None = None) -> list[Document]:
    """As :func:`load_reference`, but of a folder all documents, oldest first.

    Raises:
        StoreError: none or several are meant, or one cannot be read.

    """
    path = _path(reference, store)
    return read_folder(path) if path is not None and path.is_dir() else [load_reference(reference, store)]


def stored_run(reference: str, store: RunHistory) -> StoredRun:
    """The stored run that is meant: anything but a path.

    Raises:
        StoreError: none or several are meant.

    """
    if reference.startswith("@"):
        return _nth_last(reference, store)
    found = _by_beginning(reference, store)
    if found is None:
        commit = _commit_of(reference)
        found = _by_beginning(commit, store) if commit is not None else None
    if found is None:
        raise StoreError(
            f"no run is meant by {printable(reference)!r}: it is no file, and the store {str(store.path)!r} has no run "
            "of that id or revision; `makespan history` lists them"
        )
    return found


def read_file(path: Path) -> Document:
    """A document that ``--json`` wrote.

    Raises:
        StoreError: it cannot be read, or is none.

    """
    try:
        document = read_finite_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(f"{str(path)!r} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise StoreError(f"{str(path)!r} is no {run_documents.SCHEMA} document: it is not an object")
    from harness.result.document_check import check_document  # noqa: PLC0415 - to list runs needs no pydantic

    try:
        check_document(document)
    except run_documents.DocumentError as error:
        raise StoreError(f"{str(path)!r}: {error}") from error
    return document


def read_folder(path: Path) -> list[Document]:
    """All documents in a folder, oldest first.

    Raises:
        StoreError: there is none, or one cannot be read.

    """
    try:
        files = sorted(file for file in path.rglob("*.json") if file.is_file())
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    documents = [read_file(file) for file in files if _names_our_schema(file)]
    if not documents:
        raise StoreError(f"there is no {run_documents.SCHEMA} document (*.json) in the folder {str(path)!r}")
    return sorted(documents, key=lambda document: str(document["started_at"]))


def _path(reference: str, store: RunHistory | None) -> Path | None:
    if reference.startswith("@") or not reference:
        return None
    path = Path(reference)
    if os.sep in reference or reference.endswith(".json"):
        return path
    if store is not None and _by_beginning(reference, store) is not None:
        return None
    try:
        return path if path.exists() else None
    except (OSError, ValueError):
        return None


def _names_our_schema(path: Path) -> bool:
    """Whether the file begins like one of ours: a folder of artifacts may hold large files of others."""
    try:
        with path.open("rb") as stream:
            return b"makespan.run/" in stream.read(4096)
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _nth_last(reference: str, store: RunHistory) -> StoredRun:
    match = _LAST.fullmatch(reference)
    if match is None:
        raise StoreError(f"{printable(reference)!r} means nothing; write @last, or @last~1 for the one before")
    back = int(match.group(1) or 0)
    runs = store.history(limit=back + 1)
    if len(runs) <= back:
        raise StoreError(f"there is no {reference}: the store {str(store.path)!r} has {_runs(len(runs))}")
    return runs[back]


def _by_beginning(text: str, store: RunHistory) -> StoredRun | None:
    by_id = store.matching("id", text) if text else []
    exact = [run for run in by_id if run.run_id == text]
    if exact:
        return exact[0]
    if len(by_id) > 1:
        raise StoreError(f"{printable(text)!r} is the beginning of {some_of([run.run_id for run in by_id], 5)}")
    if by_id:
        return by_id[0]
    by_revision = store.matching("revision", text.lower()) if len(text) >= _LEAST_REVISION else []
    revisions = sorted({run.revision for run in by_revision if run.revision is not None})
    if len(revisions) > 1:
        raise StoreError(f"{printable(text)!r} is the beginning of several revisions: {some_of(revisions, 5)}")
    with_results = [run for run in by_revision if run.repetitions]
    return next(iter(with_results or by_revision), None)


def _commit_of(name: str) -> str | None:
    """What git calls that name in the current folder, None without git or such a name."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    try:
        asked = subprocess.run(  # noqa: S603 - no shell; options in the name are ended before it
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() or None


def _runs(count: int) -> str:
    return "no runs" if count == 0 else "one run" if count == 1 else f"{count} runs"

"""Outputs in the journal: small ones are in its rows, large ones in files that are named by their hash.

Rules of this module:
- An output is kept only if it comes back the same: JSON values. Of another it is said why it was not kept.
- A file is whole before a row names it, and is checked against its name when it is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from executor.journal.journal_errors import JournalError

# Larger ones, as JSON text, go to files.
LARGE_BYTES: Final = 64 * 1024
_SIMPLE: Final = (int, float, bool, type(None))
_DIGEST_BYTES: Final = 32
_DIGEST: Final = re.compile(f"[0-9a-f]{{{2 * _DIGEST_BYTES}}}")


class OutputFiles:
    """The files beside one journal."""

    def __init__(self, journal: Path) -> None:
        self._folder = journal.with_name(f"{journal.name}.outputs")

    def kept(self, output: Any) -> dict[str, Any]:
        """What is in the row of a step for its output; nothing for None.

        Raises:
            OSError: its file cannot be written.
        """
        if output is None:
            return {}
        if type(output) is str and len(output) < LARGE_BYTES // 4:
            return {"output": output}
        try:
            text = json.dumps(output, allow_nan=False)
            same = type(output) in _SIMPLE or json.loads(text) == output
        except Exception as error:  # noqa: BLE001  # an output is anything; its own methods may raise
            return {"lost": f"JSON cannot hold it ({type(error).__name__}: {str(error)[:200]})"}
        if not same:
            return {"lost": f"JSON does not give it back as it is (a {type(output).__name__})"}
        if len(text) <= LARGE_BYTES:
            return {"output": output}
        return {"file": self._write(text.encode("ascii"))}

    def read(self, words: dict[str, Any]) -> Any:
        """The output that a row has or names.

        Raises:
            JournalError: its file is missing or altered.
        """
        name = words.get("file")
        return words.get("output") if name is None else json.loads(self._bytes(name))

    def check(self, words: dict[str, Any]) -> None:
        """See that the file of a row is there and unaltered.

        Raises:
            JournalError: it is not.
        """
        if "file" in words:
            self._bytes(words["file"])

    def keep_only(self, names: Collection[str | None], *, unchanged_since: float) -> None:
        """Remove the files of other names that are older than that time (seconds since 1970): newer ones may belong to
        a row that is about to be written.

        Raises:
            OSError: one cannot be removed.
        """
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.name not in names and path.stat().st_mtime < unchanged_since:
                path.unlink(missing_ok=True)

    def _bytes(self, name: str) -> bytes:
        path = self._folder / name if _DIGEST.fullmatch(str(name)) else None
        if path is None:
            raise JournalError("its output file has no name that an output file can have")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise JournalError(f"its output file {str(path)!r} cannot be read: {error.strerror or error}") from None
        if _digest(data) != name:
            raise JournalError(f"its output file {str(path)!r} was altered")
        return data

    def _write(self, data: bytes) -> str:
        name = _digest(data)
        path = self._folder / name
        if path.exists() and path.read_bytes() == data:
            # It belongs to a new row, too: it is as young as that one.
            os.utime(path)
            return name
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = path.with_name(f"{name}.{os.getpid()}")
        with unfinished.open("wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
        return name


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()

"""Opens files of traces: from stdin or a path, compressed or not.

Rules of this module:
- Nothing is held but the piece that is read, however large a file is or unpacks to.
- What cannot be read is a :class:`TraceError` for a person.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from executor.model.findings import printable
from harness.files.finite_json import plain_fault
from harness.traces.reading.gzip_stream import MAGIC, Unpacked
from harness.traces.trace_model import TraceError, TraceFinding

STDIN: Final = "-"
_PIECE_BYTES: Final = 64 << 10
# What is looked at to see what a file is.
_BEGINNING_BYTES: Final = 1 << 20
_BLANK: Final = b"\x00\t\n\r \xef\xbb\xbf"
_REFUSED: Final = {
    b"PK\x03\x04": "is a ZIP archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard; unpack it first (`unzstd`)",
    b"BZh": "is compressed with bzip2; unpack it first (`bunzip2`)",
    b"\xfd7zXZ": "is compressed with xz; unpack it first (`unxz`)",
    b"SQLite format 3": "is an SQLite database, not an export of traces",
    b"PAR1": "is a Parquet file; export the traces as OTLP JSON instead",
}


class _Stream(io.RawIOBase):
    """The bytes of an iterable as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # any writable buffer
        """Fill the buffer as far as one piece goes; 0 at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count


class Opened:
    """An open file, unpacked. ``beginning`` holds its first bytes; ``stream`` starts at the first byte."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        pieces: Iterator[bytes] = iter(partial(file.read, _PIECE_BYTES), b"")
        first = next(pieces, b"")
        for sign, what in _REFUSED.items():
            if first.startswith(sign):
                raise TraceError(f"{name}: {what}")
        pieces = chain([first], pieces)
        self._unpacked = Unpacked(pieces) if first.startswith(MAGIC) else None
        held = io.BufferedReader(_Stream(pieces if self._unpacked is None else self._unpacked))
        self.beginning = held.read(_BEGINNING_BYTES)
        rest = iter(partial(held.read, _PIECE_BYTES), b"")
        self.stream: BinaryIO = io.BufferedReader(_Stream(chain([self.beginning], rest)))

    def findings(self) -> list[TraceFinding]:
        """Damage in its compression, as far as it was read."""
        found = None if self._unpacked is None else self._unpacked.finding(self.name)
        return [] if found is None else [found]


@contextlib.contextmanager
def opened(source: str | Path, stdin: BinaryIO | None) -> Iterator[Opened]:
    """A file for reading; faults while it is read come out as :class:`TraceError`. If it breaks off or is damaged where
    it is compressed, what comes before that is read, and :meth:`Opened.findings` says so.

    Raises:
        TraceError: it cannot be read, is empty, or is packed in a way that is not unpacked here.

    """
    name = "stdin" if str(source) == STDIN else printable(str(source))
    with _bytes_of(source, stdin, name) as file:
        found = Opened(name, file)
        try:
            _refuse_empty(found)
            yield found
        except TraceError as error:
            damages = found.findings()
            if not damages:
                raise
            reason = str(error).removeprefix(f"{name}: ")
            raise TraceError(f"{damages[0].message}, and no whole span is among them: {reason}") from None


def _refuse_empty(file: Opened) -> None:
    if not file.beginning.strip(_BLANK):
        raise TraceError(f"{file.name}: is empty")


@contextlib.contextmanager
def _bytes_of(source: str | Path, stdin: BinaryIO | None, name: str) -> Iterator[BinaryIO]:
    try:
        if str(source) == STDIN:
            yield stdin if stdin is not None else sys.stdin.buffer
        else:
            with Path(source).open("rb") as file:
                yield file
    except IsADirectoryError:
        raise TraceError(f"{name}: is a folder; `makespan analyze --from-dir` reads all in it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, TraceError):
            raise
        reason = getattr(error, "strerror", None) or plain_fault(error)
        raise TraceError(f"{name}: cannot be read: {reason}") from None

"""Opens files of traces: compressed or not, from stdin or a path, small or too large to be read whole.

Rules of this module:
- Nothing is unpacked to memory beyond what was asked for, so a small file that unpacks to a huge one is no danger.
- What cannot be read is a :class:`TraceError` for a person.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from executor.model.findings import printable
from harness.traces.reading.gzip_salvage import MAGIC, Unpacked
from harness.traces.spans.trace_model import TraceError, TraceFinding

STDIN: Final = "-"
# What is looked at to see what a file is.
_LEAST_BYTES: Final = 1 << 20
_REFUSED: Final = {
    b"PK\x03\x04": "is a ZIP archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard; unpack it first (`unzstd`)",
    b"BZh": "is compressed with bzip2; unpack it first (`bunzip2`)",
    b"\xfd7zXZ": "is compressed with xz; unpack it first (`unxz`)",
    b"SQLite format 3": "is an SQLite database, not an export of traces",
    b"PAR1": "is a Parquet file; export the traces as OTLP JSON instead",
}


class _Joined(io.RawIOBase):
    """Bytes that were read already, and the rest of where they came from."""

    def __init__(self, taken: bytes, rest: BinaryIO) -> None:
        self._taken = memoryview(taken)
        self._rest = rest

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # any writable buffer
        """Fill the buffer as far as one read goes."""
        if self._taken:
            count = min(len(buffer), len(self._taken))
            buffer[:count] = self._taken[:count]
            self._taken = self._taken[count:]
            return count
        found = self._rest.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class Opened:
    """An open file. ``beginning`` is all of it if ``whole``, else its first bytes; ``stream`` always starts at the
    first byte, and may be taken once.
    """

    def __init__(self, name: str, file: io.BufferedReader, limit_bytes: int) -> None:
        self.name = name
        self._unpacked = Unpacked(file) if file.peek(2).startswith(MAGIC) else None
        self._file = file if self._unpacked is None else io.BufferedReader(self._unpacked, 1 << 20)
        self.beginning = self._file.read(max(limit_bytes + 1, _LEAST_BYTES))
        self.whole = len(self.beginning) <= limit_bytes

    def first_line(self, longest_bytes: int) -> bytes | None:
        """The first line with its end, or None if it is longer."""
        end = self.beginning.find(b"\n", 0, longest_bytes)
        if end < 0 and len(self.beginning) < longest_bytes:
            self.beginning += self._file.read(longest_bytes - len(self.beginning))
            end = self.beginning.find(b"\n", 0, longest_bytes)
        return None if end < 0 else self.beginning[: end + 1]

    def findings(self) -> list[TraceFinding]:
        """What was found wrong with how it is compressed, as far as it was read."""
        found = None if self._unpacked is None else self._unpacked.finding(self.name)
        return [] if found is None else [found]

    @property
    def stream(self) -> BinaryIO:
        """The file from its first byte."""
        return io.BufferedReader(_Joined(self.beginning, self._file), 1 << 20)


@contextlib.contextmanager
def opened(source: str | Path, stdin: BinaryIO | None, limit_bytes: int) -> Iterator[Opened]:
    """A file for reading; faults while it is read come out as :class:`TraceError`. If it breaks off or is damaged where
    it is compressed, what stands before that is read, and :meth:`Opened.findings` says so.

    Raises:
        TraceError: it cannot be read, is empty, or is packed in a way that is not unpacked here.

    """
    name = "stdin" if str(source) == STDIN else printable(str(source))
    with _open_stream(source, stdin, name) as joined:
        found = Opened(name, joined, limit_bytes)
        try:
            _refuse_empty(found)
            yield found
        except TraceError as error:
            damages = found.findings()
            if not damages:
                raise
            reason = str(error).removeprefix(f"{name}: ")
            raise TraceError(f"{damages[0].message}, and no whole span is among them: {reason}") from None


@contextlib.contextmanager
def _open_stream(source: str | Path, stdin: BinaryIO | None, name: str) -> Iterator[io.BufferedReader]:
    """The bytes of a file, from its first one."""
    try:
        with contextlib.ExitStack() as stack:
            file: BinaryIO
            if str(source) == STDIN:
                file = stdin if stdin is not None else sys.stdin.buffer
            else:
                file = stack.enter_context(Path(source).open("rb"))
            magic = file.read(16)
            _refuse_packed(name, magic)
            yield io.BufferedReader(_Joined(magic, file), 1 << 20)
    except IsADirectoryError:
        raise TraceError(f"{name}: is a folder; `makespan analyze --from-dir` reads all in it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, TraceError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"{name}: cannot be read: {reason}") from None


def _refuse_packed(name: str, magic: bytes) -> None:
    for sign, what in _REFUSED.items():
        if magic.startswith(sign):
            raise TraceError(f"{name}: {what}")


def _refuse_empty(found: Opened) -> None:
    if not found.beginning.strip(b"\x00\t\n\r \xef\xbb\xbf"):
        raise TraceError(f"{found.name}: is empty")

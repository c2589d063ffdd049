"""Standard streams that never stop the work: not for a character, and not because no reader takes what is written.

Rules of this module:
- A stream that is closed when the program starts is opened on the null device: else the next file that is opened, the
  history perhaps, would get its number, and what is printed would go there.
- What a stream does not take is dropped from the first fault on. The reason is kept and said at the end. A
  reader that went away (``| head``) has read what it wanted: that is no fault.
- A pipe that is full for the moment, and was made not to block by another program, is waited for.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, Final, TextIO

_CLOSED: Final = "it is closed"


class SteadyFile(io.RawIOBase):
    """A descriptor to write to. ``fault``: why it drops what is written, until that was reported."""

    def __init__(self, descriptor: int, fault: str | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.has_dropped = False
        self._descriptor = descriptor
        self._dropping = fault is not None

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Write, or drop."""
        size = memoryview(data).nbytes
        while not self._dropping:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except BrokenPipeError:
                self._dropping = True
            except OSError as error:
                self.fault = error.strerror or str(error)
                self._dropping = True
        self.has_dropped = True
        return size


def steady_streams() -> None:
    """Make the standard streams of this process steady. A character that a stream cannot show (a Latin-1 terminal, a C
    locale) is shown as its escape.
    """
    # In this order: the lowest number that is free is given to the next file.
    closed = [number for number in range(3) if _open_if_closed(number)]
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open as long as the program
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None or _is_plain(stream, number):
            steady = _steady(stream, SteadyFile(number, _CLOSED if number in closed else None))
            setattr(sys, name, steady)
            setattr(sys, f"__{name}__", steady)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def untold_fault(stream: TextIO) -> str | None:
    """Why the stream has dropped what was written to it. None: it has not, or that was asked before."""
    stream.flush()
    file = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(file, SteadyFile) or not file.has_dropped:
        return None
    fault, file.fault = file.fault, None
    return fault


def _open_if_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        # What programs inherit must be there for them, too.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        return True
    return False


def _is_plain(stream: Any, number: int) -> bool:
    """Whether it is the stream that Python made, and not what some program or test has put there."""
    return type(stream) is io.TextIOWrapper and stream.fileno() == number


def _steady(stream: io.TextIOWrapper | None, file: SteadyFile) -> io.TextIOWrapper:
    encoding, at_once = ("utf-8", False) if stream is None else (stream.encoding, stream.write_through)
    if stream is not None:
        stream.flush()
        stream.detach()
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding, "backslashreplace", line_buffering=file.isatty(), write_through=at_once
    )

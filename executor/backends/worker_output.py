"""What worker processes of our own write to stdout and stderr: it is shown as it comes, and its end is kept for the
failure of a step whose worker dies.

::

    worker ── two pipes ──▶ OutputRelay (a thread) ──▶ stdout and stderr of this process
                                 └─▶ the end of it, by worker

Rules of this module:
- Where stdout and stderr of this process go to one place, a worker has one pipe for both, and what it wrote keeps its
  order. Where this process has no stdout that its children would have, nothing is shown: the number may be a file's.
- A line is shown whole, if its rest comes within ``HELD_SECONDS``: those of other workers come before and after it.
- Where nobody takes what is shown, a worker that writes waits. The run goes on.
- What a process wrote is in its pipes when it is dead. Who asks for the end of it reads them first, and waits for
  nobody.
- Of each worker at most ``KEPT_BYTES`` are kept.
- All that was written is shown when :meth:`OutputRelay.flush` returns, unless nobody takes it: then it is when this
  program ends.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

KEPT_BYTES = 16_384
FLUSH_SECONDS = 5.0
HELD_SECONDS = 0.1
_READ_BYTES = 65_536
# As much as both pipes of a worker can hold: one that goes on writing is not read for ever.
_MOST_READS = 32
# A line that is longer is shown in parts.
_LONGEST_HELD_BYTES = 16_777_216
_NAMES = {1: "stdout", 2: "stderr"}
# _IOLBF of <stdio.h>.
_LINE_BUFFERED = 1


class WorkerOutput:
    """Of one worker. ``write_ends`` are its stdout and stderr; :meth:`started` closes them here. Until ``is_shown``
    what it writes is held back.
    """

    def __init__(self, notify: Callable[[], None], *, is_shown: bool) -> None:
        self.is_shown = is_shown
        self._notify = notify
        self._lock = threading.Lock()
        # When it was read, and what; how much that is.
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._unshown: deque[tuple[int, bytes]] = deque()
        # By stream: the line that has begun, and when it did, by `time.monotonic`.
        self._begun: dict[int, bytearray] = {}
        self._begun_at = 0.0
        # By descriptor: of which stream of this process it is.
        self.streams: dict[int, int] = {}
        self.write_ends: list[int] = []
        # Those of the descriptors that nobody can write to any more.
        self.ended: set[int] = set()
        try:
            for stream in (1,) if _are_one_place() else (1, 2):
                read_end, write_end = os.pipe()
                self.streams[read_end] = stream
                self.write_ends.append(write_end)
                os.set_blocking(read_end, False)
            if len(self.streams) == 1:
                self.write_ends.append(os.dup(write_end))
        except BaseException:
            self.started()
            for fd in self.streams:
                os.close(fd)
            raise

    def started(self) -> None:
        """Its process has them, or never will."""
        while self.write_ends:
            os.close(self.write_ends.pop())

    def show(self) -> None:
        """What it has written and will write is shown."""
        self.is_shown = True
        self._notify()

    def hide(self) -> None:
        """What it will write is not shown."""
        self.is_shown = False

    def tail(self, since: int = 0) -> str:
        """The end of what it wrote, for people, without secrets; only what came ``since`` then (nanoseconds of
        ``time.perf_counter_ns``). What had been written just before may be part of it.
        """
        self.read(_MOST_READS)
        self._notify()
        with self._lock:
            written = b"".join(data for read_at, data in self._kept if read_at >= since)
        return readable_end(written)

    def read(self, most: int = 1) -> None:
        """Take in what has come, ``most`` reads a stream."""
        with self._lock:
            for fd, stream in self.streams.items():
                for _ in range(most):
                    try:
                        data = os.read(fd, _READ_BYTES)
                    except BlockingIOError:
                        break
                    if not data:
                        self.ended.add(fd)
                        break
                    self._take(stream, data)

    def _take(self, stream: int, data: bytes) -> None:
        end = data[-KEPT_BYTES:]
        self._kept.append((time.perf_counter_ns(), end))
        self._kept_bytes += len(end)
        while self._kept_bytes - len(self._kept[0][1]) >= KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft()[1])
        line_end = data.rfind(b"\n") + 1
        if line_end:
            self._unshown.append((stream, bytes(self._begun.pop(stream, b"")) + data[:line_end]))
        if line_end < len(data):
            if not self._begun:
                self._begun_at = time.monotonic()
            self._begun.setdefault(stream, bytearray()).extend(memoryview(data)[line_end:])
            if len(self._begun[stream]) > _LONGEST_HELD_BYTES:
                self._end_lines()
        if not self.is_shown and len(self._unshown) > len(self._kept):
            del self._unshown[0]

    def _end_lines(self) -> None:
        self._unshown.extend((stream, bytes(begun)) for stream, begun in self._begun.items())
        self._begun.clear()

    def has_begun(self) -> bool:
        """Whether there is a line that has only begun."""
        return bool(self._begun)

    def next_unshown(self, *, all_of_it: bool) -> tuple[int, bytes] | None:
        """What is to be shown next, and on which stream. ``all_of_it``: also lines that have only begun."""
        with self._lock:
            late = not self._unshown and time.monotonic() - self._begun_at >= HELD_SECONDS
            if all_of_it or self.ended or late:
                self._end_lines()
            return self._unshown.popleft() if self.is_shown and self._unshown else None

    def take_ended(self) -> list[int]:
        """The descriptors that have come to their end, which the caller closes."""
        with self._lock:
            ended = list(self.ended)
            self.ended.clear()
            for fd in ended:
                del self.streams[fd]
        return ended


class OutputRelay:
    """The outputs of the workers of a pool or a cluster. Its thread begins with the first, and closes them.
    ``warnings``: where it says what could not be shown.
    """

    def __init__(self, warnings: list[str]) -> None:
        self._warnings = warnings
        self._outputs: dict[int, WorkerOutput] = {}
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._asked: deque[threading.Event] = deque()
        # Those of which a line has only begun.
        self._begun: set[WorkerOutput] = set()
        self._closing = False
        self._thread: threading.Thread | None = None

    def output(self, *, is_shown: bool = True) -> WorkerOutput:
        """For a worker that is about to start.

        Raises:
            OSError: there are no more descriptors, or threads.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="makespan-output", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, str(error)) from error
            self._thread = thread
        output = WorkerOutput(self.notify, is_shown=is_shown)
        for fd in output.streams:
            self._outputs[fd] = output
            self._epoll.register(fd, select.EPOLLIN)
        return output

    def notify(self) -> None:
        """Have the thread look at everything."""
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def flush(self) -> None:
        """Wait until all that was written is shown."""
        if self._thread is not None:
            shown = threading.Event()
            self._asked.append(shown)
            self.notify()
            shown.wait(FLUSH_SECONDS)

    def close(self) -> None:
        """The workers are gone: show what they wrote, and let go of them, unless nobody takes it."""
        self._closing = True
        if self._thread is not None:
            self.notify()
            self._thread.join(FLUSH_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            self._let_go()
        else:
            # Its reader may take the rest later: that of `| less` waits for a key.
            atexit.register(self._thread.join)

    def _run(self) -> None:
        while True:
            fds = [fd for fd, _ in self._epoll.poll(HELD_SECONDS if self._begun else None)]
            closing = self._closing
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            if asked or closing or self._wake_fd in fds:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake_fd)
                fds = list(self._outputs)
            all_of_it = closing or bool(asked)
            for output in {self._outputs[fd] for fd in fds} | self._begun:
                output.read(_MOST_READS if all_of_it else 1)
                while (unshown := output.next_unshown(all_of_it=all_of_it)) is not None:
                    self._show(*unshown)
                (self._begun.add if output.has_begun() else self._begun.discard)(output)
                for fd in output.take_ended():
                    self._epoll.unregister(fd)
                    # Before it is closed: another worker may be given the same number at once.
                    del self._outputs[fd]
                    os.close(fd)
            for shown in asked:
                shown.set()
            if closing:
                return

    def _show(self, stream: int, data: bytes) -> None:
        """Write it all. A reader that went away misses it: no step of ours would have been told."""
        rest = memoryview(data)
        while rest:
            try:
                if not os.get_inheritable(stream):
                    return
                rest = rest[os.write(stream, rest) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(stream, select.POLLOUT)
                poll.poll()
            except OSError as error:
                lost = f"what steps wrote to {_NAMES[stream]} is lost: {error.strerror}"
                if error.errno not in (errno.EPIPE, errno.EBADF) and lost not in self._warnings:
                    self._warnings.append(lost)
                return

    def _let_go(self) -> None:
        for fd, output in self._outputs.items():
            output.started()
            os.close(fd)
        self._outputs.clear()
        self._epoll.close()
        fd, self._wake_fd = self._wake_fd, -1
        os.close(fd)


def _are_one_place() -> bool:
    """Whether stdout and stderr of this process are one terminal, pipe or file."""
    try:
        return os.path.sameopenfile(1, 2)
    except OSError:
        return False


def readable_end(written: bytes) -> str:
    """The end of what a worker wrote, for people, without the values of this process's secret variables."""
    from executor.secret_names import secret_variables  # noqa: PLC0415  # workers import this module, too
    from executor.tools.command import readable_tail  # noqa: PLC0415  # as above

    return readable_tail(written, secret_variables())


def write_line_by_line() -> None:
    """When a worker process begins: have its stdout hold back no line, Python's and that of libraries in C, for what
    they hold is lost when it is killed.
    """
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    if os.environ.get("PYTHONUNBUFFERED"):
        return
    with suppress(ImportError, OSError, AttributeError, ValueError):
        import ctypes  # noqa: PLC0415  # a build without it has Python's alone

        library = ctypes.CDLL(None)
        library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, _LINE_BUFFERED, 0)

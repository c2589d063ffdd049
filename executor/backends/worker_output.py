"""What worker processes of our own write to stdout and stderr: it is shown as it comes, and its end is kept for the
failure of a step whose worker dies.

::

    worker ── two pipes ──▶ OutputRelay (a thread) ──▶ stdout and stderr of this process
                                 └─▶ the end of it, by worker

Rules of this module:
- Where nobody takes what is shown, a worker that writes waits. The run goes on.
- What a process wrote is in its pipes when it is dead. Who asks for the end of it reads them first, and waits for
  nobody.
- Of each worker at most ``KEPT_BYTES`` are kept.
- All that was written is shown when :meth:`OutputRelay.flush` returns, unless nobody takes it.
"""

from __future__ import annotations

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
_READ_BYTES = 65_536
# As much as both pipes of a worker can hold: one that goes on writing is not read for ever.
_MOST_READS = 32


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
        # By descriptor: of which stream of this process it is.
        self.streams: dict[int, int] = {}
        self.write_ends: list[int] = []
        # Those of the descriptors that nobody can write to any more.
        self.ended: set[int] = set()
        try:
            for stream in (1, 2):
                read_end, write_end = os.pipe()
                self.streams[read_end] = stream
                self.write_ends.append(write_end)
                os.set_blocking(read_end, False)
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
        self._unshown.append((stream, data))
        if not self.is_shown and len(self._unshown) > len(self._kept):
            del self._unshown[0]

    def next_unshown(self) -> tuple[int, bytes] | None:
        """What is to be shown next, and on which stream."""
        with self._lock:
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
    """The outputs of the workers of a pool or a cluster. Its thread begins with the first, and closes them."""

    def __init__(self) -> None:
        self._outputs: dict[int, WorkerOutput] = {}
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._asked: deque[threading.Event] = deque()
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

    def _run(self) -> None:
        while True:
            fds = [fd for fd, _ in self._epoll.poll()]
            closing = self._closing
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            if self._wake_fd in fds:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake_fd)
                fds = list(self._outputs)
            for output in {self._outputs[fd] for fd in fds}:
                output.read(_MOST_READS if asked or closing else 1)
                while (unshown := output.next_unshown()) is not None:
                    _show(*unshown)
                for fd in output.take_ended():
                    self._epoll.unregister(fd)
                    # Before it is closed: another worker may be given the same number at once.
                    del self._outputs[fd]
                    os.close(fd)
            for shown in asked:
                shown.set()
            if closing:
                return

    def _let_go(self) -> None:
        for fd, output in self._outputs.items():
            output.started()
            os.close(fd)
        self._outputs.clear()
        self._epoll.close()
        fd, self._wake_fd = self._wake_fd, -1
        os.close(fd)


def _show(stream: int, data: bytes) -> None:
    """Write it all. A reader that went away misses it: no step of ours would have been told."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(stream, rest) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(stream, select.POLLOUT)
            poll.poll()
        except OSError:
            return


def readable_end(written: bytes) -> str:
    """The end of what a worker wrote, for people, without the values of this process's secret variables."""
    from executor.secret_names import secret_variables  # noqa: PLC0415  # workers import this module, too
    from executor.tools.command import readable_tail  # noqa: PLC0415  # as above

    return readable_tail(written, secret_variables())


def write_line_by_line() -> None:
    """When a worker process begins: have its stdout hold back no line, for what it holds is lost when it is killed."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)

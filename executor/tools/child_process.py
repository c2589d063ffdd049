"""A child process in its own group, from its start until nothing of it is left.

Rules of this module:
- Never a shell. The child leads a new session, so that it and its descendants can be signalled as one group.
- A group is stopped with SIGTERM, and after a short grace with SIGKILL. It is also killed when its leader ends in
  peace: what a command starts in the background does not outlive it. What has made a session of its own is found by the
  mark in its environment, where the child was stopped; it outlives one that ended in peace.
- When this process dies, its guard kills what is left.
- The leader is reaped last: until then its id cannot be given to a stranger, so a signal never hits one.
- Pipes are read without blocking. One state machine is driven by a selector or by an event loop.
- Linux only: the end of the leader is awaited through a pidfd.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import resource
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal, Protocol

from executor.tools import process_guard
from executor.tools.guard_program import MARK_VARIABLE, kill_marked

GRACE_SECONDS = 0.5
# How long to wait for pipes that an escaped descendant holds open, and for a killed leader that does not die.
_DRAIN_SECONDS = 0.5
_UNKILLABLE_SECONDS = 5.0
_STDERR_TAIL_BYTES = 16_384
_CHUNK_BYTES = 65_536

End = Literal["exited", "timed_out", "cancelled", "too_much_output"]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. ``status`` is its exit status, or minus the signal's number. ``stderr`` is the last 16 KiB."""

    end: End
    status: int
    stdout: bytes
    stderr: bytes


class Channel(Protocol):
    """A way to talk to the child beside its standard streams. ``their_fd`` is the child's end; ``fd``, ours, does not
    block. Its maker closes it.
    """

    @property
    def fd(self) -> int:
        """Our end."""

    @property
    def their_fd(self) -> int:
        """The child's end, open until it has started."""

    def receive(self) -> bool:
        """Take in what has come. False: nothing more will."""

    def flush(self) -> bool | None:
        """Send what there is. Whether something is left that the channel does not take yet; None: it is closed."""


class ChildProcess:
    """Starts ``argv`` at once. :meth:`run` or :meth:`run_async`, called once, leads it to its end.

    Raises:
        OSError: the program cannot be started.

    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None = None,
        stdin: bytes = b"",
        output_limit_bytes: int,
        timeout_seconds: float | None = None,
        channel: Channel | None = None,
    ) -> None:
        self._limit_bytes = output_limit_bytes
        self._channel = channel
        self._channel_open = channel is not None
        self._to_write = memoryview(stdin)
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._end: End = "exited"
        self._phase: Literal["running", "stopping", "killed"] = "running"
        self._exited = False
        self._reaped = False
        self._stop_asked = False
        self._lock = threading.Lock()
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._mark = process_guard.next_mark()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - an argv list from the scenario's author, and no shell
                list(argv),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**env, MARK_VARIABLE: self._mark},
                cwd=cwd,
                start_new_session=True,
                bufsize=0,
                pass_fds=() if channel is None else (channel.their_fd,),
            )
        except BaseException:
            os.close(self._wake)
            raise
        process_guard.began(self._popen.pid)
        _living.add(self)
        self._pipes: dict[int, IO[bytes]] = {}
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(self._popen.pid)
        except BaseException:
            self._bury()
            raise
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._pipes[pipe.fileno()] = pipe
        self._unwatch: Callable[[int], object] = lambda fd: None  # noqa: ARG005 - replaced by the driver
        self._watch_channel: Callable[[int, bool], object] = lambda fd, writing: None  # noqa: ARG005 - as above
        self._channel_writes = False

    def stop(self) -> None:
        """Ask for the end, from any thread; harmless when it is over."""
        with self._lock:
            if self._reaped:
                return
            self._stop_asked = True
            # At once, and not when the waiting thread gets its turn: the process may be about to leave.
            self._send(signal.SIGTERM)
            os.eventfd_write(self._wake, 1)

    def limit(self, which: int, at_most: int) -> None:
        """Limit one of its resources (``resource.RLIMIT_…``); what it starts from now on inherits that."""
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self._popen.pid, which, (at_most, at_most))

    def wake(self) -> None:
        """Have its driver look at the channel, from any thread; harmless when it is over."""
        with self._lock:
            if not self._reaped:
                os.eventfd_write(self._wake, 1)

    def run(self) -> Finished:
        """Wait for the end, blocking this thread."""
        try:
            with selectors.DefaultSelector() as selector:
                self._unwatch = selector.unregister
                self._watch_channel = lambda fd, writing: selector.modify(
                    fd, selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
                )
                for fd in self._watched():
                    selector.register(fd, selectors.EVENT_WRITE if self._is_stdin(fd) else selectors.EVENT_READ)
                while not self._done():
                    for key, _ in selector.select(self._patience()):
                        self._ready(key.fd)
                    self._tick()
            return self._finished()
        finally:
            self._bury()

    async def run_async(self) -> Finished:
        """Wait for the end without blocking the event loop. Cancelling it kills the group first."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        watched = self._watched()

        def ready(fd: int) -> None:
            self._ready(fd)
            changed.set()

        def unwatch(fd: int) -> None:
            loop.remove_reader(fd)
            loop.remove_writer(fd)

        def watch_channel(fd: int, writing: bool) -> None:
            if writing:
                loop.add_writer(fd, changed.set)
            else:
                loop.remove_writer(fd)

        self._unwatch = unwatch
        self._watch_channel = watch_channel
        cancelled: asyncio.CancelledError | None = None
        try:
            for fd in watched:
                (loop.add_writer if self._is_stdin(fd) else loop.add_reader)(fd, ready, fd)
            while not self._done():
                try:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._patience()):
                            await changed.wait()
                except asyncio.CancelledError as error:
                    if cancelled is not None:
                        raise
                    cancelled = error
                    self._begin_stop("cancelled")
                changed.clear()
                self._tick()
            if cancelled is not None:
                raise cancelled
            return self._finished()
        finally:
            for fd in watched:
                if fd in (self._pidfd, self._wake) or fd in self._pipes or self._is_channel(fd):
                    unwatch(fd)
            self._bury()

    # What follows is the state machine. It never blocks.

    def _watched(self) -> list[int]:
        channel = [self._channel.fd] if self._channel is not None and self._channel_open else []
        return [self._pidfd, self._wake, *self._pipes, *channel]

    def _is_channel(self, fd: int) -> bool:
        return self._channel_open and self._channel is not None and fd == self._channel.fd

    def _is_stdin(self, fd: int) -> bool:
        return self._popen.stdin is not None and self._pipes.get(fd) is self._popen.stdin

    def _done(self) -> bool:
        if self._phase != "killed":
            return False
        if self._exited and not self._pipes:
            return True
        return self._patience() == 0

    def _patience(self) -> float | None:
        """Seconds until something is due, or None."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _ready(self, fd: int) -> None:
        if fd == self._pidfd:
            self._unwatch(fd)
            self._exited = True
            if self._phase == "killed":
                self._deadline = time.monotonic() + _DRAIN_SECONDS
        elif fd == self._wake:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(fd)
        elif self._is_channel(fd):
            self._talk(fd, heard=True)
        elif self._is_stdin(fd):
            self._write(fd)
        elif fd in self._pipes:
            self._read(fd)

    def _write(self, fd: int) -> None:
        try:
            self._to_write = self._to_write[os.write(fd, self._to_write[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the child does not want the rest: its right
            self._to_write = memoryview(b"")
        if not self._to_write:
            self._close(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close(fd)
        elif self._pipes[fd] is self._popen.stderr:
            self._stderr += data
            del self._stderr[:-_STDERR_TAIL_BYTES]
        elif len(self._stdout) + len(data) > self._limit_bytes:
            self._begin_stop("too_much_output")
        else:
            self._stdout += data

    def _talk(self, fd: int, *, heard: bool) -> None:
        """Take in what the child says over the channel, and send what there is to say."""
        channel = self._channel
        assert channel is not None
        if (heard and not channel.receive()) or (writing := channel.flush()) is None:
            self._channel_open = False
            self._unwatch(fd)
        elif writing != self._channel_writes:
            self._channel_writes = writing
            self._watch_channel(fd, writing)

    def _close(self, fd: int) -> None:
        self._unwatch(fd)
        self._pipes.pop(fd).close()

    def _tick(self) -> None:
        """What is due now: a limit that ran out, the next phase of dying."""
        over = self._patience() == 0
        if self._channel is not None and self._channel_open:
            self._talk(self._channel.fd, heard=False)
        if self._phase == "running":
            if self._exited:
                # It may have died of the signal before this thread learnt that a stop was asked for.
                self._end = "cancelled" if self._stop_asked else "exited"
                self._kill()
            elif self._stop_asked:
                self._begin_stop("cancelled")
            elif over:
                self._begin_stop("timed_out")
        elif self._phase == "stopping" and (over or (self._exited and not self._pipes)):
            self._kill()

    def _begin_stop(self, end: End) -> None:
        if self._phase != "running":
            return
        self._phase = "stopping"
        self._end = end
        self._deadline = time.monotonic() + GRACE_SECONDS
        if not self._stop_asked:
            self._signal(signal.SIGTERM)

    def _kill(self) -> None:
        self._phase = "killed"
        self._deadline = time.monotonic() + (_DRAIN_SECONDS if self._exited else _UNKILLABLE_SECONDS)
        self._signal(signal.SIGKILL)
        if self._end != "exited":
            kill_marked(self._mark)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if not self._reaped:
                self._send(number)

    def _send(self, number: signal.Signals) -> None:
        # Gone, or (a set-user-id program) not ours to signal: neither can be helped.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def _finished(self) -> Finished:
        status = self._popen.poll() if self._exited else None
        return Finished(
            self._end, -signal.SIGKILL if status is None else status, bytes(self._stdout), bytes(self._stderr)
        )

    def _bury(self) -> None:
        """Whatever happened: kill the group, reap the leader, close everything."""
        self._signal(signal.SIGKILL)
        if self._phase != "killed":
            # Its driver was ended, too.
            kill_marked(self._mark)
        for pipe in self._pipes.values():
            pipe.close()
        self._pipes.clear()
        process_guard.ended(self._popen.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_DRAIN_SECONDS)
        with self._lock:
            self._reaped = True
            os.close(self._wake)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        _living.discard(self)

    def kill_at_exit(self) -> None:
        """The interpreter is leaving while a thread still waits for this child."""
        self._signal(signal.SIGKILL)
        kill_marked(self._mark)


_living: set[ChildProcess] = set()


@atexit.register
def _kill_the_living() -> None:
    for child in list(_living):
        child.kill_at_exit()

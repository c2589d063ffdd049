"""A worker process as its parent sees it: start it, send it requests, read its results, bring it to its end.

Rules of this module:
- Nothing here blocks: the parent waits for all workers at once, and must hear of every one.
- A worker leads its own session and process group. A group is asked to end (SIGTERM) and after a short grace killed;
  when the leader has ended, for whatever reason, the rest of its group is killed before the leader is reaped: until
  then its id cannot be given to a stranger.
- The parent keeps the worker's end of the request channel too, and reads from it to take back what was not begun.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from mmap import PAGESIZE
from pathlib import Path
from typing import TypeAlias

from executor.backends.processes.frames import (
    GOODBYE,
    PACKET_BYTES,
    REQUEST,
    REQUEST_BYTES,
    Frame,
    FrameReader,
    packets,
    shared_page,
)
from executor.backends.worker_output import WorkerOutput
from executor.record.timeline import Attempt

GRACE_NANOSECONDS = 200_000_000
_PROGRAM = Path(__file__).with_name("worker_main.py")

# What a worker was given: an attempt, or the index of a step that was handed out ahead of its grant.
Item: TypeAlias = "Attempt | int"

STARTING, IDLE, BUSY, STOPPING, GONE = range(5)


class WorkerProcess:
    """One worker. ``given`` is what was sent and has not come back, in order: the first runs, the others wait there."""

    __slots__ = (
        "_outbox", "_outcomes", "_outcomes_outbox", "_page", "_process", "_reader", "_their_outcomes", "_theirs",
        "_to_worker", "ended_at", "fault", "free_at", "given", "kill_at", "large", "name", "outcomes_fd", "output",
        "pid", "pidfd", "ready", "requests_fd", "results_fd", "state", "tools", "waiting",
    )  # fmt: skip

    def __init__(self, name: str, output: WorkerOutput) -> None:
        """Start the process. What it writes goes to ``output``, whose ends it takes.

        Raises:
            OSError: it cannot be started.
        """
        self.name = name
        self.state = STARTING
        self.ready = False
        # What it did wrong, so that it was ended.
        self.fault: str | None = None
        self.given: deque[Item] = deque()
        # When the last result ended, in the run's nanoseconds; when a group that was asked to end is killed.
        self.free_at = 0
        self.kill_at = 0
        # When the last result that was heard ended, by the clock: also in a run before.
        self.ended_at = 0
        # The first of `given` came in several packets, so none of them may be taken back.
        self.large = False
        # Who of the step that it runs waits for calls.
        self.waiting: set[object] = set()
        # The names of the tools that it got after its setup.
        self.tools: set[str] = set()
        self._outbox: deque[bytes | memoryview] = deque()
        self._outcomes_outbox: deque[bytes | memoryview] = deque()
        self.output = output
        self._to_worker, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._outcomes, self._their_outcomes = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.results_fd, write_end = os.pipe()
        self.pidfd = -1
        page = -1
        self._page = memoryview(b"")
        try:
            page = os.memfd_create("makespan-worker")
            os.truncate(page, PAGESIZE)
            self._page = shared_page(page)
            self._process = self._start(write_end, page)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(write_end)
            if page >= 0:
                os.close(page)
            output.started()
            self._their_outcomes.close()
        self.pid = self._process.pid
        self._to_worker.setblocking(False)
        self._outcomes.setblocking(False)
        self.requests_fd = self._to_worker.fileno()
        self.outcomes_fd = self._outcomes.fileno()
        os.set_blocking(self.results_fd, False)
        self._reader = FrameReader(self.results_fd)
        self.pidfd = os.pidfd_open(self.pid)
        self._say_hello()

    def begin_again(self) -> None:
        """Another run begins: the worker is about to get its tools."""
        self.state = STARTING
        self.ready = False
        self.free_at = 0
        self.tools.clear()
        self.waiting.clear()

    def _start(self, write_end: int, page: int) -> subprocess.Popen[bytes]:
        channels = [self._theirs.fileno(), write_end, self._their_outcomes.fileno(), page]
        stdout, stderr = self.output.write_ends
        # -P: the directory that the program lies in, and the current one, are no place to import from.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001  # as multiprocessing does: -O, -W, -X … hold for workers too
        return subprocess.Popen(  # noqa: S603  # our own program in our own interpreter
            [sys.executable, *flags, "-P", str(_PROGRAM), *map(str, channels)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=channels,
            start_new_session=True,
        )

    def _say_hello(self) -> None:
        path = sys.path[:]
        setting = {"parent": os.getpid(), "path": path, "argv": getattr(sys, "argv", [])}
        self.send([json.dumps(setting).encode()])

    # ------------------------------------------------------------------ talking

    def send(self, request: list[bytes | memoryview]) -> bool:
        """Send packets as far as the channel takes them. False: :meth:`send_rest` is due when it takes more."""
        self._outbox.extend(request)
        return self.send_rest()

    def send_packet(self, packet: bytes | memoryview) -> bool:
        """:meth:`send` for the usual case: one packet."""
        if not self._outbox:
            try:
                os.write(self.requests_fd, packet)
            except BlockingIOError:
                pass
            except OSError:
                return True
            else:
                return True
        return self.send([packet])

    def send_outcomes(self, packets_of_them: list[bytes | memoryview]) -> bool:
        """The same on the channel of outcomes."""
        self._outcomes_outbox.extend(packets_of_them)
        return self._send_out(self.outcomes_fd, self._outcomes_outbox)

    def send_rest(self, fd: int | None = None) -> bool:
        """Go on with what the channel did not take yet. Returns whether all is sent."""
        if fd == self.outcomes_fd:
            return self._send_out(fd, self._outcomes_outbox)
        return self._send_out(self.requests_fd, self._outbox)

    @staticmethod
    def _send_out(fd: int, outbox: deque[bytes | memoryview]) -> bool:
        try:
            while outbox:
                os.write(fd, outbox[0])
                outbox.popleft()
        except BlockingIOError:
            return False
        except OSError:
            # The worker is gone or going: its end is noticed by its pidfd.
            outbox.clear()
        return True

    def read(self) -> list[Frame] | None:
        """Frames that have come, or None at the end of the channel.

        Raises:
            BlockingIOError: nothing has come.
            StrayBytesError: what has come is no frame.
        """
        return self._reader.read()

    def take_back(self, most: int) -> list[int]:
        """The indices of up to ``most`` steps that the worker has not begun, oldest first; it will not see them."""
        taken: list[int] = []
        if self.large or self._outbox:
            return taken
        while len(taken) < most:
            try:
                packet = self._theirs.recv(PACKET_BYTES, socket.MSG_DONTWAIT)
            except (BlockingIOError, OSError):
                break
            if len(packet) < REQUEST_BYTES:
                break
            taken.append(REQUEST.unpack_from(packet)[2])
        return taken

    def began_at(self) -> int | None:
        """When the first of ``given``, a step with a timeout, began, by the clock; None: it has not. (If it has ended
        and that was not heard yet, the one after it may have begun.)
        """
        began: int = self._page[0]
        return began if began > self.ended_at else None

    # ------------------------------------------------------------------ ending

    def say_goodbye(self) -> None:
        """No more work: the worker cleans up and ends."""
        self.send(packets(GOODBYE, 0, 0, b""))

    def terminate(self, now: int) -> None:
        """Ask the whole group to end; it is to be killed at ``kill_at``."""
        if self.state < STOPPING:
            self.state = STOPPING
            self.kill_at = now + GRACE_NANOSECONDS
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the whole group."""
        self._signal(signal.SIGKILL)

    def bury(self) -> str:
        """Reap a worker that has ended, and kill what is left of its group. Says how it ended."""
        self.kill()
        status = self._process.wait()
        self.state = GONE
        return self.fault or _how(status)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Close all channels; what was not taken back is lost."""
        self._to_worker.close()
        self._theirs.close()
        self._outcomes.close()
        self._their_outcomes.close()
        os.close(self.results_fd)
        self._page.release()
        if self.pidfd >= 0:
            os.close(self.pidfd)


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (the system does that when memory runs out)" if status == -signal.SIGKILL else ""
    return f"was killed by {name}{hint}"

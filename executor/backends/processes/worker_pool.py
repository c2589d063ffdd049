"""The worker processes of a run, together: start them, wait for all at once, replace and bury those that end.

Rules of this module:
- One thread calls it. Others, and signal handlers, call :meth:`WorkerPool.notify` and nothing else.
- What workers say goes to a :class:`Listener`. The pool knows no engine and no step.
- A worker that does not get ready is tried again, a few times in a row and not for ever: then no more are started, and
  those that are left go on.
- A worker that says what is no result is ended: what it says after that is not heard.
- After :meth:`WorkerPool.close` no worker is left, and nothing of its process group.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import Protocol

from executor.backends.base import BackendError
from executor.backends.processes.frames import (
    CALLING,
    OUTCOMES,
    READY,
    REFUSED,
    SETUP,
    SUCCEEDED,
    WITHDRAWING,
    Frame,
    StrayBytesError,
    packets,
)
from executor.backends.processes.polling import Polling
from executor.backends.processes.worker_handle import BUSY, IDLE, STARTING, STOPPING, WorkerProcess
from executor.backends.worker_output import OutputRelay
from executor.interrupts import LONGEST_WAIT_SECONDS
from executor.record.timeline import NANOSECONDS
from executor.shortages import shortage

# So many idle workers at least are kept for the next steps that wait for their calls.
SPARE_WORKERS = 2
# How often in a row a worker may die before it is ready.
START_FAILURES = 3
# How long an idle worker may take to clean up at the end before it is asked to end, like a busy one.
GOODBYE_NANOSECONDS = 2_000_000_000
# Descriptors from here on are too high for select(), FD_SETSIZE.
_SELECTABLE = 1024
# A wait that is longer ends so much sooner: the rest is waited for exactly.
_WHOLE_SECONDS = 0.05
_STRAY_BYTES = (
    "was ended: on its channel came bytes that are no result. "
    "Its step wrote into a file descriptor that it had not opened"
)


class Listener(Protocol):
    """Who hears what workers say."""

    def ended(self, worker: WorkerProcess, frame: Frame) -> None:
        """The first of what the worker was given has ended."""

    def calls(self, worker: WorkerProcess, number: int, body: bytes | bytearray | None) -> None:
        """The step that the worker runs makes calls and may wait for them; without a body it waits no more."""

    def died(self, worker: WorkerProcess, how: str) -> None:
        """Its process is gone; ``given`` holds what went with it or was not begun."""


class WorkerPool:
    """``setup`` is what every worker gets before its first step. ``idle`` are the workers that have nothing to do.
    ``spare`` workers more than slots are there from the start, for those whose steps will wait for their calls.
    ``warnings``: see :class:`.OutputRelay`.
    """

    def __init__(self, listener: Listener, setup: bytes, slots: int, spare: int, warnings: list[str]) -> None:
        self.workers: list[WorkerProcess] = []
        self.idle: list[WorkerProcess] = []
        self.slots = slots
        self._spare = spare
        self._listener = listener
        self._setup = packets(SETUP, 0, 0, setup)
        self._dying: list[WorkerProcess] = []
        self._by_fd: dict[int, WorkerProcess] = {}
        # Why no more workers can be started.
        self.exhausted: str | None = None
        self._started = 0
        self._start_failures = 0
        self._closing = False
        self._relay = OutputRelay(warnings)
        # Whether the next wait polls for a moment.
        self.polls = False
        self._polling = Polling()
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)

    # ------------------------------------------------------------------ the life of the pool

    def open(self) -> None:
        """Start the workers and wait until all are ready.

        Raises:
            BackendError: one cannot start.
        """
        for _ in range(self.slots + self._spare - self._able()):
            self._start()
        # Not by their state: one that has closed its channel is being ended, and counts as a failed start once it has.
        while self.exhausted is None and not all(worker.ready for worker in self.workers):
            self.wait(None)
        if self.exhausted is not None:
            raise BackendError(self.exhausted)

    def rest(self) -> None:
        """A run is over: end the workers that still have a step, and wait until they are gone. The others are kept."""
        self._closing = True
        for worker in [worker for worker in self.workers if worker.state != IDLE]:
            self.end(worker)
        while self._dying:
            self.wait(self._kill_due())
        self._relay.flush()
        self._closing = False

    def renew(self, listener: Listener, setup: bytes, slots: int, spare: int = 0) -> None:
        """Serve another run with the workers that are there. :meth:`open` waits until they have its tools."""
        self.slots, self._spare, self._listener = slots, spare, listener
        self._setup = packets(SETUP, 0, 0, setup)
        self._start_failures = 0
        self.idle.clear()
        for worker in self.workers:
            worker.begin_again()
            self.send(worker, self._setup)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are there."""
        return [worker.pid for worker in self.workers]

    def fill(self) -> None:
        """Start as many workers as it takes to have one that can run for each slot."""
        for _ in range(self.slots - self._able()):
            self._start()

    def is_at_a_loss(self) -> bool:
        """Whether no worker can run anything any more."""
        return self.exhausted is not None and not self._able()

    def _able(self) -> int:
        return sum(worker.state < STOPPING and not worker.waiting for worker in self.workers)

    def close(self) -> None:
        """End all workers, those with a step by force, and wait until they are gone. May be called twice."""
        if self._wake_fd < 0:
            return
        self._closing = True
        now = time.perf_counter_ns()
        for worker in self.workers:
            if worker.state == IDLE:
                worker.say_goodbye()
                worker.kill_at = now + GOODBYE_NANOSECONDS
            else:
                worker.terminate(now)
        self._dying = self.workers[:]
        while self._dying:
            self.wait(self._kill_due())
        self._relay.close()
        self._epoll.close()
        fd, self._wake_fd = self._wake_fd, -1
        os.close(fd)

    def notify(self) -> None:
        """Wake the one who waits. From any thread, and from signal handlers."""
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    def _start(self) -> None:
        if self.exhausted is not None:
            return
        self._started += 1
        try:
            worker = WorkerProcess(f"process-{self._started}", self._relay.output(is_shown=False))
        except OSError as error:
            self.exhausted = f"processes: a worker process cannot be started: {shortage(error) or error}"
            return
        self.workers.append(worker)
        for fd in (worker.pidfd, worker.results_fd):
            self._by_fd[fd] = worker
            self._epoll.register(fd, select.EPOLLIN)
        self.send(worker, self._setup)

    # ------------------------------------------------------------------ talking

    def send(self, worker: WorkerProcess, request: list[bytes | memoryview]) -> None:
        """Send packets; what the channel does not take now goes out while this thread waits."""
        sent = worker.send_packet(request[0]) if len(request) == 1 else worker.send(request)
        if not sent and worker.requests_fd not in self._by_fd:
            self._by_fd[worker.requests_fd] = worker
            self._epoll.register(worker.requests_fd, select.EPOLLOUT)

    def send_outcomes(self, worker: WorkerProcess, number: int, body: bytes) -> None:
        """Send the outcomes of calls, in the same way."""
        if not worker.send_outcomes(packets(OUTCOMES, number, 0, body)) and worker.outcomes_fd not in self._by_fd:
            self._by_fd[worker.outcomes_fd] = worker
            self._epoll.register(worker.outcomes_fd, select.EPOLLOUT)

    def wait(self, seconds: float | None) -> bool:
        """Wait until a worker says something, and hear them all. Returns whether :meth:`notify` was called."""
        notified = False
        gone: list[WorkerProcess] = []
        due = self._kill_due() if self._dying else None
        if due is not None:
            seconds = due if seconds is None else min(due, seconds)
        found = self._polling.wait(self._epoll) if self.polls else []
        self.polls = False
        for fd, _ in found or self._sleep(LONGEST_WAIT_SECONDS if seconds is None else seconds):
            worker = self._by_fd.get(fd)
            if worker is None:
                notified = True
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake_fd)
            elif fd == worker.results_fd:
                self.hear(worker)
            elif fd == worker.pidfd:
                gone.append(worker)
            elif worker.send_rest(fd):
                self._forget(fd)
        for worker in gone:
            self._bury(worker)
        return notified

    def _sleep(self, seconds: float) -> list[tuple[int, int]]:
        """Until something comes, for at most as long; less if that is long."""
        if seconds > 2 * _WHOLE_SECONDS:
            return self._epoll.poll(min(seconds, LONGEST_WAIT_SECONDS) - _WHOLE_SECONDS)
        if self._epoll.fileno() < _SELECTABLE:
            # The poll itself counts in milliseconds.
            select.select([self._epoll], [], [], seconds)
            seconds = 0
        return self._epoll.poll(seconds)

    def hear_news(self) -> bool:
        """Take in what workers have said by now. Returns whether any has said anything."""
        heard = False
        for fd, _ in self._epoll.poll(0):
            worker = self._by_fd.get(fd)
            if worker is not None and fd == worker.results_fd:
                heard |= self.hear(worker)
        return heard

    def hear(self, worker: WorkerProcess) -> bool:
        """Take in what one read brings. Returns whether there may be more."""
        try:
            frames = self._frames(worker)
        except BlockingIOError:
            return False
        if frames is None:
            return False
        if self._closing:
            return True
        for frame in frames:
            kind = frame[0]
            if kind >= SUCCEEDED and worker.given:
                worker.large = False
                self._listener.ended(worker, frame)
                if not worker.given and worker.state == BUSY:
                    self.make_idle(worker)
            elif kind in (CALLING, WITHDRAWING):
                self._listener.calls(worker, frame[2], frame[6] if kind == CALLING else None)
            elif kind == REFUSED:
                self.exhausted = f"processes: {bytes(frame[6]).decode(errors='replace')}"
            elif kind == READY and worker.state == STARTING:
                self._start_failures = 0
                worker.ready = True
                worker.output.show()
                self.make_idle(worker)
        return True

    def _frames(self, worker: WorkerProcess) -> list[Frame] | None:
        """What one read brings. None: the worker can be heard no more, and is about to end, or is made to.

        Raises:
            BlockingIOError: nothing has come.
        """
        if worker.fault is not None:
            return None
        try:
            frames = worker.read()
        except StrayBytesError:
            worker.fault = _STRAY_BYTES
            frames = None
        if frames is None:
            self._forget(worker.results_fd)
            self.end(worker)
        return frames

    def make_idle(self, worker: WorkerProcess) -> None:
        """The worker has nothing to do."""
        worker.state = IDLE
        if len(self.workers) > self.slots and self._able() > self.slots + max(SPARE_WORKERS, self.slots):
            worker.say_goodbye()
            worker.state = STOPPING
            worker.kill_at = time.perf_counter_ns() + GOODBYE_NANOSECONDS
            self._dying.append(worker)
            return
        self.idle.append(worker)

    def _forget(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # ------------------------------------------------------------------ ending

    def end(self, worker: WorkerProcess) -> None:
        """Ask a worker's process group to end, and kill it if it does not within the grace."""
        if worker.state >= STOPPING or worker in self._dying:
            return
        if worker in self.idle:
            self.idle.remove(worker)
        worker.terminate(time.perf_counter_ns())
        self._dying.append(worker)

    def _kill_due(self) -> float | None:
        """Kill the groups whose grace is over. Returns the seconds until the next one is due."""
        soonest: int | None = None
        now = time.perf_counter_ns()
        for worker in self._dying:
            if worker.kill_at <= now:
                if worker.state < STOPPING:
                    worker.terminate(now)
                else:
                    worker.kill()
                    worker.kill_at = now + GOODBYE_NANOSECONDS
            soonest = worker.kill_at if soonest is None else min(soonest, worker.kill_at)
        return None if soonest is None else max(0, soonest - now) / NANOSECONDS

    def _bury(self, worker: WorkerProcess) -> None:
        """A worker's process has ended: what it still said counts."""
        while self.hear(worker):
            pass
        for fd in (worker.results_fd, worker.pidfd, worker.requests_fd, worker.outcomes_fd):
            self._forget(fd)
        for found in (self._dying, self.idle):
            if worker in found:
                found.remove(worker)
        self.workers.remove(worker)
        how = worker.bury()
        try:
            if not self._closing:
                if not worker.ready:
                    self._count_start_failure(how, worker.output.tail())
                self._listener.died(worker, how)
        finally:
            worker.close()

    def _count_start_failure(self, how: str, wrote: str) -> None:
        self._start_failures += 1
        if self._start_failures >= START_FAILURES and self.exhausted is None:
            said = f"; it wrote:\n{wrote}" if wrote else ""
            self.exhausted = f"processes: a worker process {how} before it was ready{said}"

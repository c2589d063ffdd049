"""Threads for plain functions under an event loop, which do not hold up the end of the program.

The standard library's pool waits at exit for every call, however long; a call that ignores its timeout would keep the
program alive. These threads are daemons.

Rules of this module:
- There are as many threads as calls at once, so that a call never waits for another.
- One parked thread is woken at a time, and wakes the next if there is more to do: where calls are shorter than it takes
  a thread to wake, the one that is awake runs them all.
- Ends go to the loop together: it is woken once for all that ended before it looks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from _thread import LockType, allocate_lock
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeAlias

from executor.shortages import shortage

_Task: TypeAlias = "tuple[asyncio.Future[Any], Callable[[], Any]]"
_End: TypeAlias = "tuple[asyncio.Future[Any], Any, BaseException | None]"


# How long close() waits for threads that have nothing to do any more, and where some have a call that goes on.
JOIN_SECONDS = 1.0
JOIN_BESIDE_CALLS_SECONDS = 0.1


class DaemonThreads:
    """As many threads as there are calls at once; idle ones are used again. The calls are all of one event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._tasks: deque[_Task] = deque()
        # What idle threads park on.
        self._parked: list[LockType] = []
        self._waking = False
        self._calls = 0
        self._threads = 0
        self._closing = False
        self._all: list[threading.Thread] = []
        self._ends: deque[_End] = deque()
        self._told = False

    def submit(self, loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call ``function`` in a thread, in the caller's context; the future belongs to ``loop``.

        Raises:
            RuntimeError: a thread is needed and cannot be started.
        """
        future: asyncio.Future[Any] = loop.create_future()
        context = copy_context()
        with self._lock:
            needs_thread = self._calls >= self._threads
            if not needs_thread:
                self._take_in((future, lambda: context.run(function)))
        if needs_thread:
            self._start(loop)
            with self._lock:
                self._take_in((future, lambda: context.run(function)))
        return future

    def _take_in(self, task: _Task) -> None:
        self._calls += 1
        self._tasks.append(task)
        self._wake_one()

    def _wake_one(self) -> None:
        """Under the lock. A thread that is on its way looks for what there is."""
        if self._parked and not self._waking:
            self._waking = True
            self._parked.pop().release()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        name = f"{self._name}-{self._threads + 1}"
        thread = threading.Thread(target=self._work, args=(loop,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise RuntimeError(f"no thread can be started for the call: {shortage(error) or error}") from error
        # Not before: Ctrl-C may come here, and a thread that has not started cannot be waited for.
        with self._lock:
            self._threads += 1
        self._all.append(thread)

    def close(self, *, calls_go_on: bool = False) -> None:
        """End the threads and wait for them. ``calls_go_on``: some are in a call that nobody waits for any more, and
        end when it returns. Without such calls a run may end in a call that is about to return.
        """
        with self._lock:
            self._closing = True
            for parked in self._parked:
                parked.release()
            self._parked.clear()
        until = time.monotonic() + (JOIN_BESIDE_CALLS_SECONDS if calls_go_on else JOIN_SECONDS)
        for thread in self._all:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        parked = allocate_lock()
        parked.acquire()
        while (task := self._next(parked)) is not None:
            future, function = task
            value: Any = None
            failure: BaseException | None = None
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001  # whatever a step raises is handed to its coroutine
                failure = error
            with self._lock:
                self._calls -= 1
                self._ends.append((future, value, failure))
                tell, self._told = not self._told, True
            if tell:
                try:
                    loop.call_soon_threadsafe(self._resolve_all)
                except RuntimeError:
                    # The loop is closed: the run is over and no longer waits for this call.
                    return
            del task, future, function, value, failure

    def _next(self, parked: LockType) -> _Task | None:
        """The next call, or None when there are no more."""
        woken = False
        while True:
            with self._lock:
                if woken:
                    self._waking = False
                if self._tasks:
                    task = self._tasks.popleft()
                    if self._tasks:
                        self._wake_one()
                    return task
                if self._closing:
                    return None
                self._parked.append(parked)
            parked.acquire()
            woken = True

    def _resolve_all(self) -> None:
        """In the loop: hand over what has ended."""
        with self._lock:
            ends, self._ends = self._ends, deque()
            self._told = False
        for future, value, failure in ends:
            _resolve(future, value, failure)


def _resolve(future: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(value)
    elif isinstance(failure, StopIteration):
        # A future refuses it; the step failed all the same.
        future.set_exception(RuntimeError(f"the call raised StopIteration: {failure}"))
    else:
        future.set_exception(failure)

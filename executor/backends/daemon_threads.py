"""Threads for plain functions under an event loop, which do not hold up the end of the program.

The standard library's pool waits at exit for every call, however long; a call that ignores its timeout would keep the
program alive. These threads are daemons.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue  # noqa: TID251  # no wait here has a deadline
from typing import Any, TypeAlias

from executor.shortages import shortage

_Task: TypeAlias = "tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]"


# How long close() waits for each thread that has nothing to do any more.
JOIN_SECONDS = 1.0


class DaemonThreads:
    """As many threads as there are calls at once; idle ones are used again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._all: list[threading.Thread] = []

    def submit(self, loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call ``function`` in a thread, in the caller's context; the future belongs to ``loop``.

        Raises:
            RuntimeError: a thread is needed and cannot be started.
        """
        with self._lock:
            is_idle = self._idle > 0
            self._idle -= is_idle
        if not is_idle:
            self._start()
        future: asyncio.Future[Any] = loop.create_future()
        context = copy_context()
        self._tasks.put((loop, future, lambda: context.run(function)))
        return future

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise RuntimeError(f"no thread can be started for the call: {shortage(error) or error}") from error
        # Not before: Ctrl-C may come here, and a thread that has not started cannot be waited for.
        with self._lock:
            self._threads += 1
        self._all.append(thread)

    def close(self) -> None:
        """Send the idle threads home and wait for them; those that are busy go when their call returns."""
        with self._lock:
            for _ in range(self._threads):
                self._tasks.put(None)
            busy = self._threads - self._idle
        if not busy:
            for thread in self._all:
                thread.join(JOIN_SECONDS)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            loop, future, function = task
            value: Any = None
            failure: BaseException | None = None
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001  # whatever a step raises is handed to its coroutine
                failure = error
            with self._lock:
                self._idle += 1
            try:
                loop.call_soon_threadsafe(_resolve, future, value, failure)
            except RuntimeError:
                # The loop is closed: the run is over and no longer waits for this call.
                return
            del task, future, function, value, failure


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

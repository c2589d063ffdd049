"""One thread of a worker that runs its calls in turn, while its other threads take the next ones in and give answers
back: so a call begins as soon as the one before has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue  # noqa: TID251  # it is asked without a timeout
from typing import Any, TypeVar

Value = TypeVar("Value")


class CallThread:
    """It is there from the first call on, and ends with its process."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # By place: those that came before others that are to run first.
        self._early: dict[int, tuple[Future[Any], Callable[[], Any]]] = {}
        self._next_place = 0

    def run(self, call: Callable[[], Value], place: int | None = None) -> Value:
        """Run it after those that came before, and return its value or raise its error. From any other thread. With a
        ``place`` (0, 1, 2 and so on, each once) it waits for those of lower places, whichever thread is here first.
        """
        answer: Future[Value] = Future()
        # Dask keeps there which worker this is.
        in_context = partial(copy_context().run, call)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="steps", daemon=True)
                self._thread.start()
            if place is None:
                self._calls.put((answer, in_context))
            else:
                self._early[place] = (answer, in_context)
                while (first := self._early.pop(self._next_place, None)) is not None:
                    self._calls.put(first)
                    self._next_place += 1
        return answer.result()

    def _serve(self) -> None:
        while True:
            answer, call = self._calls.get()
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is the end of this call
                answer.set_exception(error)
            else:
                answer.set_result(value)

"""What a run that does not end is doing: a time limit for simulated runs, and the stacks of all threads.

Rules of this module:
- A hang is a finding, and the search for findings goes on after it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

_Handler: TypeAlias = "Callable[[int, FrameType | None], None]"

PATIENCE = 10
AGAIN_SECONDS = 0.2


class HangError(Exception):
    """Something did not come to its end in time; the message shows where it was."""


def all_stacks() -> str:
    """The stack of every thread of this process, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to see other threads
        stack = "".join(traceback.format_stack(frame))
        parts.append(f"thread {names.get(ident, ident)}:\n{stack}")
    return "\n".join(parts)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`HangError` from whatever runs in this block after so many seconds of the processor's time, or
    :data:`PATIENCE` times as many of the clock's: a busy machine is no hang.

    It needs the main thread and timers of POSIX; elsewhere there is no limit. Outer timers go on afterwards.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(_number: int, frame: FrameType | None) -> None:
        stack = "".join(traceback.format_stack(frame, limit=12))
        raise HangError(f"no end after {seconds:g} s; it was here:\n{stack}")

    with (
        _timer(signal.ITIMER_PROF, signal.SIGPROF, seconds, time.process_time, interrupt),
        _timer(signal.ITIMER_REAL, signal.SIGALRM, PATIENCE * seconds, time.monotonic, interrupt),
    ):
        yield


@contextmanager
def _timer(timer: int, number: int, seconds: float, clock: Callable[[], float], interrupt: _Handler) -> Iterator[None]:
    """Interrupt this block after so many seconds of the timer's clock. An outer timer goes on with what it has left."""
    began = clock()
    handler = signal.signal(number, interrupt)
    # Again and again: the first may come while a hook of the garbage collector runs, which swallows it.
    left, interval = signal.setitimer(timer, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, handler)
        if left:
            signal.setitimer(timer, max(0.001, left - (clock() - began)), interval)

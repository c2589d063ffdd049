"""Which signals interrupt a run, and which are the same once more.

Rules of this module:
- Who stops a program (timeout, make) signals it by its number and by its group, and on a busy machine the other signal
  is late: within :data:`SAME_INTERRUPT_SECONDS` another one is the same interrupt.
- The first interrupt of a run cancels it, a later one leaves at once (:class:`KeyboardInterrupt`).
- The main thread waits for nothing longer than :data:`LONGEST_WAIT_SECONDS` at a time (:func:`wait_for`).
- A command handles its signals from its first step to its end (:func:`interrupts_handled`). A run in another program
  handles Ctrl-C alone, for as long as it lasts, and only where the program leaves it to Python.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SAME_INTERRUPT_SECONDS: Final = 1.0
# A run in another program waits so long for the other signal, which would interrupt what that program does next.
OTHER_SIGNAL_SECONDS: Final = 0.25
# CPython carries out a signal's handler between two instructions: of one that comes just before the main thread begins
# to wait, and of one that another thread takes, it would hear when the wait is over.
LONGEST_WAIT_SECONDS: Final = 1.0


class Interrupts:
    """A handler of signals: it raises :class:`KeyboardInterrupt`, or calls what :meth:`calling` was given, once."""

    def __init__(self) -> None:
        self._last_at = -math.inf
        self._action: Callable[[], None] | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_at < SAME_INTERRUPT_SECONDS:
            return
        self._last_at = now
        action, self._action = self._action, None
        if action is None:
            raise KeyboardInterrupt
        action()

    def note(self) -> None:
        """An interrupt came in another way: what follows it within :data:`SAME_INTERRUPT_SECONDS` is the same."""
        self._last_at = time.monotonic()

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        """In this block the first interrupt calls ``action``, in a signal handler, and later ones raise."""
        self._action = action
        try:
            yield
        finally:
            self._action = None

    def wait_for_the_other(self) -> None:
        """Be there when the signal comes once more."""
        time.sleep(max(0.0, self._last_at + OTHER_SIGNAL_SECONDS - time.monotonic()))


def wait_for(event: threading.Event) -> None:
    """Wait until the event is set, in the main thread, so that an interrupt is heard."""
    while not event.wait(LONGEST_WAIT_SECONDS):
        pass


_active: Interrupts | None = None


@contextmanager
def interrupts_handled(numbers: Iterable[int]) -> Iterator[Interrupts]:
    """Handle these signals in this block, and so in all runs in it.

    What is ignored (SIGHUP under ``nohup``, SIGINT in the background of a script) stays ignored. Outside of the main
    thread, and for SIGINT where a program has a handler of its own, nothing is changed. Within another such block this
    one changes nothing.
    """
    global _active  # noqa: PLW0603  # signal handlers are the process's, too
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield _active or Interrupts()
        return
    interrupts = Interrupts()
    before = {number: signal.getsignal(number) for number in numbers if _is_free(number)}
    try:
        _active = interrupts
        for number in before:
            signal.signal(number, interrupts)
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _active = None


@contextmanager
def first_interrupt_calls(action: Callable[[], None]) -> Iterator[None]:
    """In this block the first interrupt calls ``action``, in a signal handler: where a command handles them, of all
    signals that it handles, else of Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _active is not None:
        with _active.calling(action):
            yield
        return
    with interrupts_handled([signal.SIGINT]) as interrupts, interrupts.calling(action):
        try:
            yield
        finally:
            interrupts.wait_for_the_other()


def _is_free(number: int) -> bool:
    handler = signal.getsignal(number)
    if number == signal.SIGINT:
        return handler is signal.default_int_handler
    return handler not in (signal.SIG_IGN, None)

"""Runs a program in this terminal as if nothing were between: its streams, its signals and its exit status.

Rules of this module:
- The program stays in this process group: what the terminal sends reaches it by itself, and is not sent again.
- What a supervisor sends to this process alone is handed on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from executor.interrupts import LONGEST_WAIT_SECONDS

_HANDED_ON: Final = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT")
# What a terminal sends to the whole group.
_OF_THE_TERMINAL: Final = ("SIGINT", "SIGQUIT")
_SIGNALLED: Final = 128
_MILLISECONDS: Final = 1000


class CommandError(Exception):
    """A program cannot be started; the message says why."""


def run_child(
    command: Sequence[str], environment: Mapping[str, str], *, on_signal: Callable[[], None] = lambda: None
) -> int:
    """Run it to its end, and call ``on_signal`` at each signal to this process, which is the program's.

    Returns its exit status, 128 + n where signal n ended it, as a shell does.

    Raises:
        CommandError: it cannot be started.

    """
    try:
        child = subprocess.Popen(list(command), env=dict(environment))  # noqa: S603  # that is what was asked for
    except (OSError, ValueError) as error:
        raise CommandError(f"{command[0]!r} cannot be started: {getattr(error, 'strerror', None) or error}") from None
    with _handed_on(child, on_signal):
        status = _status_of(child)
    return status if status >= 0 else _SIGNALLED - status


def _status_of(child: subprocess.Popen[bytes]) -> int:
    """Its exit status, when it has ended; signals are heard meanwhile."""
    ended = select.poll()
    try:
        watched = os.pidfd_open(child.pid)
    except OSError:  # a kernel before 5.3, or no descriptor is left
        return child.wait()
    try:
        ended.register(watched, select.POLLIN)
        while not ended.poll(LONGEST_WAIT_SECONDS * _MILLISECONDS):
            pass
    finally:
        os.close(watched)
    return child.wait()


@contextmanager
def _handed_on(child: subprocess.Popen[bytes], on_signal: Callable[[], None]) -> Iterator[None]:
    def hand_on(number: int, _frame: FrameType | None) -> None:
        on_signal()
        if signal.Signals(number).name in _OF_THE_TERMINAL and _is_in_front():
            return
        with suppress(ProcessLookupError):
            child.send_signal(number)

    before = {}
    for name in _HANDED_ON:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            with suppress(ValueError):  # not the main thread: the embedding program handles signals
                before[number] = signal.signal(number, hand_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_front() -> bool:
    """Whether this process group is the one that its terminal talks to."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

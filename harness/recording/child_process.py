"""Runs a program in this terminal as if nothing were between: its streams, its signals and its exit status.

Rules of this module:
- The program stays in this process group: what the terminal sends reaches it by itself, and is not sent again.
- What a supervisor sends to this process alone is handed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

_HANDED_ON: Final = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT")
# What a terminal sends to the whole group.
_OF_THE_TERMINAL: Final = ("SIGINT", "SIGQUIT")
_SIGNALLED: Final = 128


class CommandError(Exception):
    """A program cannot be started; the message says why."""


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it to its end. Returns its exit status, 128 + n where signal n ended it, as a shell does.

    Raises:
        CommandError: it cannot be started.

    """
    try:
        child = subprocess.Popen(list(command), env=dict(environment))  # noqa: S603  # that is what was asked for
    except (OSError, ValueError) as error:
        raise CommandError(f"{command[0]!r} cannot be started: {getattr(error, 'strerror', None) or error}") from None
    with _handed_on(child):
        status = child.wait()
    return status if status >= 0 else _SIGNALLED - status


@contextmanager
def _handed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    def hand_on(number: int, _frame: FrameType | None) -> None:
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

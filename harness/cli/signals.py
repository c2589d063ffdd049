"""SIGTERM and SIGHUP end a command as Ctrl-C does: in order, with what was finished shown and kept."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

# What a supervisor sends, and a terminal that is closed, where a person presses Ctrl-C.
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Handle both in this block, so that nothing is left running after them either. What is ignored (SIGHUP under
    ``nohup``) stays ignored.
    """

    def interrupt(_number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    before = {number: signal.getsignal(number) for number in ENDING}
    handled = [number for number in ENDING if before[number] not in (signal.SIG_IGN, None)]
    try:
        for number in handled:
            signal.signal(number, interrupt)
    except ValueError:  # not the main thread: the embedding program handles signals
        yield
        return
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])

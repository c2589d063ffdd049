"""SIGTERM and SIGHUP end a command as Ctrl-C does: in order, with what was finished shown and kept. What leaves no time
for that leaves no program behind.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Final

from executor.tools.process_guard import code_guarded
from harness.scenario.scenario_model import Loaded

# What a supervisor sends, and a terminal that is closed, where a person presses Ctrl-C.
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def programs_ended(loaded: Iterable[Loaded]) -> AbstractContextManager[None]:
    """See to it that what Python steps start by themselves ends with this process, too, in this block."""
    python = any(
        step.tool is not None and step.tool in one.tools and one.tools[step.tool].kind == "python"
        for one in loaded for step in one.graph.steps
    )  # fmt: skip
    return code_guarded() if python else contextlib.nullcontext()


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

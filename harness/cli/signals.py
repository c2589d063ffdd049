"""SIGTERM and SIGHUP end a command as Ctrl-C does: in order, with what was finished shown and kept. What leaves no time
for that leaves no program behind.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Final

from executor.run_result import SAME_INTERRUPT_SECONDS
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
    ``nohup``) stays ignored. A second one within :data:`SAME_INTERRUPT_SECONDS` is the same.
    """
    passed_on_at = -math.inf

    def interrupt(_number: int, frame: FrameType | None) -> None:
        nonlocal passed_on_at
        now = time.monotonic()
        if now - passed_on_at < SAME_INTERRUPT_SECONDS:
            return
        passed_on_at = now
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    with _handled(ENDING, interrupt):
        yield


@contextlib.contextmanager
def interrupted_once(*, interrupted: bool) -> Iterator[None]:
    """Show and keep in this block what was done. Where that was interrupted, the same signal may come once more (see
    :data:`SAME_INTERRUPT_SECONDS`) and changes nothing; a later one leaves at once.
    """
    began = time.monotonic()

    def again(_number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - began >= SAME_INTERRUPT_SECONDS:
            raise KeyboardInterrupt

    with _handled((signal.SIGINT, *ENDING), again) if interrupted else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in numbers}
    handled = [number for number in before if before[number] not in (signal.SIG_IGN, None)]
    try:
        for number in handled:
            signal.signal(number, handler)
    except ValueError:  # not the main thread: the embedding program handles signals
        yield
        return
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])

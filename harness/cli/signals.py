"""SIGTERM and SIGHUP end a command as Ctrl-C does: in order, with what was finished shown and kept. What leaves no time
for that leaves no program behind.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final

from executor.interrupts import Interrupts, interrupts_handled
from executor.tools.process_guard import code_guarded
from harness.scenario.scenario_model import Loaded

# What a person's Ctrl-C sends, a supervisor, and a terminal that is closed.
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def programs_ended(loaded: Iterable[Loaded]) -> AbstractContextManager[None]:
    """See to it that what Python steps start by themselves ends with this process, too, in this block."""
    python = any(
        step.tool is not None and step.tool in one.tools and one.tools[step.tool].kind == "python"
        for one in loaded for step in one.graph.steps
    )  # fmt: skip
    return code_guarded() if python else contextlib.nullcontext()


def terminated_as_interrupted() -> AbstractContextManager[Interrupts]:
    """Handle them in this block, until what was done is shown and kept."""
    return interrupts_handled(ENDING)

"""What the engine asks of the keeper of a run on disk, and of what knows the results of an earlier run.

Rules of this module:
- Interfaces alone: the engine writes and reads nothing. :mod:`executor.journal` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from executor.model.workflow import Step
from executor.record.timeline import Attempt
from executor.tools.tool import Tool


class Keeper(Protocol):
    """Keeps what happens in a run."""

    def attempt_ended(self, attempt: Attempt) -> None:
        """An attempt came to its end. Under the engine's lock: only note it."""

    def rendered(self, step: Step, index: int, tool: Tool, prompt: str | None, args: Mapping[str, Any]) -> None:
        """The call of a step is made ready, and begins when this returns; prompt and arguments are what it gets. In the
        worker's thread; not asked for calls without templates, unless the step must not be done twice.
        """


class Asked(NamedTuple):
    """A step that would start, with its call as it would be made. ``parent``: the id of the step that calls it, or of
    the mapped step whose item it is. ``builds_upon``: the steps that it, or who calls it, builds upon in another way
    than by reading their outputs; ``ran_before``: those of them that ran in this run.
    """

    step: Step
    step_id: str
    parent: str | None
    tool: Tool
    prompt: str | None
    args: Mapping[str, Any]
    builds_upon: tuple[str, ...] = ()
    ran_before: tuple[str, ...] = ()


class Found(NamedTuple):
    """What an earlier run says of a step: its output, or that it is to be left out. ``cached``: its output is that of
    any run that made the same call.
    """

    answer: Literal["reused", "cached", "left_out"]
    output: Any = None


class EarlierResults(Protocol):
    """Knows what earlier runs left."""

    def may_know(self, step: Step, step_id: str, parent: str | None) -> bool:
        """Whether :meth:`find` could find anything for the step: a look that renders nothing."""

    def find(self, asked: Asked) -> Found | None:
        """What there is for the step. Each result of a call is given once. Under the engine's lock."""

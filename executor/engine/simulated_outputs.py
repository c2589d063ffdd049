"""The outputs of steps that only a run knows, on the virtual clock: shown as a labelled text, unknown to templates.

Rules of this module:
- A template never reads a made-up output: it gets a value that may be handed on, and that cannot be looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from executor.templates.render_budget import STUB


class MadeUp(str):
    """What is shown in the place of a value that only a run knows."""

    __slots__ = ()


class SimulatedOutputs(Mapping[str, Any]):
    """The outputs as templates see them: what was made up is unknown, also within the list of a mapped step."""

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self._outputs = outputs

    def __getitem__(self, step_id: str) -> Any:
        value = self._outputs[step_id]
        if isinstance(value, MadeUp):
            return STUB
        if isinstance(value, list) and any(isinstance(one, MadeUp) for one in value):
            return [STUB if isinstance(one, MadeUp) else one for one in value]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

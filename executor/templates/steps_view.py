"""What a template sees as ``steps``: ids, and behind each its output, nothing else.

The sandbox asks a view by ``read_for_template`` instead of looking at its attributes: a step may have any id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.model.findings import did_you_mean
from executor.templates.render_budget import TemplateError

_ABSENT = object()


class StepView:
    """What a template sees of one step: its output."""

    __slots__ = ("_identifier", "_output")

    def __init__(self, identifier: str, output: Any) -> None:
        self._identifier = identifier
        self._output = output

    def read_for_template(self, key: Any) -> Any:
        """``steps.joke.output``."""
        if key == "output":
            return self._output
        fix = did_you_mean(str(key), ["output"], "write .output")
        raise TemplateError(f"step {self._identifier!r} has no {key!r}, only its output; {fix}")

    def to_text(self) -> str:
        """A step is no text."""
        raise TemplateError(f"step {self._identifier!r} itself has no text; write .output behind it")

    __str__ = to_text


class StepsView:
    """What a template sees as ``steps``: the outputs of the steps that it depends on, by id."""

    __slots__ = ("_outputs",)

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self._outputs = outputs

    def read_for_template(self, key: Any) -> StepView:
        """``steps.joke`` or ``steps['joke']``."""
        output = self._outputs.get(key, _ABSENT) if isinstance(key, str) else _ABSENT
        if output is _ABSENT:
            fix = did_you_mean(str(key), self._outputs, "check its id")
            raise TemplateError(f"there is no output of a step {key!r} here; {fix}")
        return StepView(key, output)

    def to_text(self) -> str:
        """All steps together are no text."""
        raise TemplateError("`steps` itself has no text; write steps.<id>.output")

    __str__ = to_text

"""The step that a call of running code becomes. The engine makes it; the code that calls never sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.model.workflow import Step


class ChildStep(Step):
    """The step that a request becomes: its prompt and its arguments are values and no templates."""

    def with_request(self, prompt: str | None, args: Mapping[str, Any]) -> ChildStep:
        """The same step for another request. Nothing is checked or copied: ``model_copy`` costs as much as all the
        rest of a short call.
        """
        if prompt is None and not args:
            return self
        step = object.__new__(ChildStep)
        put = object.__setattr__
        put(step, "__dict__", {**self.__dict__, "prompt": prompt, "args": args})
        put(step, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        put(step, "__pydantic_extra__", None)
        put(step, "__pydantic_private__", None)
        return step

"""Workflows from ordinary calls: functions marked with :func:`step` describe work instead of doing it.

>>> from executor import run, step
>>> @step
... def article():
...     return "a text"
>>> @step
... def words(text, times=1):
...     return len(text.split()) * times
>>> result = words(article(), times=3)
>>> run(result).output(result)
6

Rules of this module:
- A call gives a :class:`StepResult`, a promise of the output; nothing runs before the promise is given to ``run``. What
  a step depends on is seen from its arguments: promises among them, also inside of lists and mappings.
- Each call is a step of its own, as each call of a function is a call; ``pure=True`` makes equal calls one step.
- Inside of a running step a marked function is an ordinary function.
- Arguments are JSON values and promises, so that the workflow is one like any other: same model, same rules.
- A promise is no value: code that asks it for one (``if``, ``for``, an f-string) gets an error that says what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from executor.model.workflow import Step, Workflow
from executor.step_decorator import Call, StepFunction, StepResult, step

_OPENING_BRACE = re.compile(r"\{(?=[{%#])")
_LITERAL_BRACE = "{{ '{' }}"


def workflow_of(*results: Any, workflow_id: str = "workflow") -> Workflow:
    """The workflow of the steps that ``results`` (promises, also inside of lists and mappings) come from, each after
    those that it depends on.

    Raises:
        TypeError: there is no promise among them.

    """
    return _Build(results).workflow(workflow_id)


def tools_of(*results: Any) -> dict[str, Callable[..., Any]]:
    """The tools of :func:`workflow_of`: the functions by the names under which its steps call them."""
    return dict(_Build(results).tools)


class NoOutputError(RuntimeError):
    """A promise that was not kept: its step failed, or never ran."""


def kept(value: Any, promised: Any, outputs: Mapping[str, Any], fates: Mapping[str, Any]) -> Any:
    """``value`` with what became of each promise in it. ``promised``: what was run; ``fates``: why outputs are missing.

    Raises:
        NoOutputError: an output is missing.
        LookupError: a promise is no part of what was run.

    """
    ids = _Build((promised,)).ids
    return _kept(value, ids, outputs, fates)


def _kept(value: Any, ids: Mapping[Call, str], outputs: Mapping[str, Any], fates: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _kept(item, ids, outputs, fates) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(item, ids, outputs, fates) for item in value]
    if not isinstance(value, StepResult):
        return value
    step_id = ids.get(value.call)
    if step_id is None:
        raise LookupError(f"{value!r} is no part of this run: give it to run(…), or to a step that is")
    if step_id not in outputs:
        raise NoOutputError(f"step {step_id!r} has no output: {fates.get(step_id, 'it never ran')}")
    output = outputs[step_id]
    for key in value.path:
        output = output[key]
    return output


class _Build:
    """Names the calls below some promises, and makes steps of them."""

    def __init__(self, results: tuple[Any, ...]) -> None:
        self.results = results
        self.ids: dict[Call, str] = {}
        self.tools: dict[str, Callable[..., Any]] = {}
        self._calls: list[Call] = []
        self._tool_of: dict[StepFunction[..., Any], str] = {}
        self._used: set[str] = set()
        self._numbers: dict[tuple[str, bool], int] = {}
        self._pure: dict[tuple[StepFunction[..., Any], str], str] = {}
        # A call is made after those that its arguments come from: in this order each finds its dependencies named.
        for call in sorted(_calls_below(results), key=lambda call: call.number):
            self._name(call)

    def workflow(self, workflow_id: str) -> Workflow:
        if not self._calls:
            raise TypeError("there is no result of a step here: call a function that is marked with @step")
        return Workflow(workflow_id=workflow_id, steps=tuple(self._step(call) for call in self._calls))

    def _name(self, call: Call) -> None:
        function = call.function
        if function.pure:
            key = (function, json.dumps(_templated(call.arguments, self.ids), sort_keys=True))
            known = self._pure.get(key)
            if known is not None:
                self.ids[call] = known
                return
            self._pure[key] = self.ids[call] = self._free(function.name, self._used)
        else:
            self.ids[call] = self._free(function.name, self._used)
        self._calls.append(call)
        if function not in self._tool_of:
            name = self._free(function.name, self.tools)
            self._tool_of[function] = name
            self.tools[name] = function.tool

    def _free(self, name: str, used: Any) -> str:
        found = name
        kind = (name, used is self._used)
        number = self._numbers.get(kind, 1)
        while found in used:
            number += 1
            found = f"{name}-{number}"
        self._numbers[kind] = number
        if isinstance(used, set):
            used.add(found)
        return found

    def _step(self, call: Call) -> Step:
        parents = {self.ids[parent]: None for parent in _calls_in(call.arguments)}
        words: dict[str, Any] = {
            "step_id": self.ids[call],
            "tool": self._tool_of[call.function],
            "depends_on": tuple(parents),
            **call.function.options,
        }
        if call.arguments:
            words["args"] = _templated(call.arguments, self.ids)
        return Step.model_validate(words)


def _calls_below(results: Any) -> list[Call]:
    found: dict[Call, None] = {}
    stack = list(_calls_in(results))
    while stack:
        call = stack.pop()
        if call not in found:
            found[call] = None
            stack += _calls_in(call.arguments)
    return list(found)


def _calls_in(value: Any) -> list[Call]:
    """The calls of the promises inside of a value."""
    found: list[Call] = []
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, StepResult):
            found.append(current.call)
        elif isinstance(current, Mapping):
            stack += reversed(list(current.values()))
        elif isinstance(current, list | tuple):
            stack += reversed(current)
    return found


def _templated(value: Any, ids: Mapping[Call, str]) -> Any:
    """A value as arguments in a file have it: promises are references, and braces of texts are escaped."""
    if isinstance(value, StepResult):
        return _reference(value, ids)
    if isinstance(value, dict):
        return {key: _templated(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [_templated(item, ids) for item in value]
    return _OPENING_BRACE.sub(_LITERAL_BRACE, value) if isinstance(value, str) else value


def _reference(result: StepResult, ids: Mapping[Call, str]) -> str:
    step_id = ids[result.call]
    parts = "".join(f"[{_quoted(part)}]" for part in result.path)
    return "{{ steps[" + _quoted(step_id) + "].output" + parts + " }}"


def _quoted(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    return "'" + part.replace("\\", "\\\\").replace("'", "\\'") + "'"


__all__ = ["NoOutputError", "StepFunction", "StepResult", "kept", "step", "tools_of", "workflow_of"]

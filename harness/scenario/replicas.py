"""One step of a scenario file that represents many: ``copies``.

``copies: 3`` or ``copies: "{{ inputs.n }}"`` turns the step ``translation`` into ``translation-1`` … ``translation-3``.
Where the input is a list there is a copy for each item. This happens when the file is loaded, before anything is
checked: model and executor know nothing of it.

Rules of this module:
- ``{{ copy }}`` is the copy's number, from 1; ``{{ copy_item }}`` its item. Both are replaced as text, wherever they
  stand in the step; the number also inside of another template: ``{{ inputs.languages[{{ copy }} - 1] }}``.
- An item is never pasted into a template: it becomes a reference to the input, so that its text stays text.
- ``depends_on: [translation]`` in any step means all copies; ``depends_on: ["translation-{{ copy }}"]`` the twin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.model.findings import Finding, did_you_mean

COPIES_LIMIT: Final = 100_000

_COPY = re.compile(r"\{\{-?\s*copy\s*-?\}\}")
_ITEM = re.compile(r"\{\{-?\s*copy_item((?:\.\w+)*)\s*-?\}\}")
_INPUT = re.compile(r"\{\{-?\s*inputs\.(\w+)\s*-?\}\}")
_TEMPLATES: Final = frozenset({"prompt", "args"})
_EXPRESSIONS: Final = frozenset({"when", "for_each"})


@dataclass(slots=True)
class Expansion:
    """The steps with all copies written out. ``origins[i]`` is the place in the file that ``steps[i]`` came from."""

    steps: list[Any]
    origins: list[int]
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Copy:
    number: int
    # The input that is a list, and the item's text where it has one.
    input_name: str | None
    item: Any

    def in_template(self, match: re.Match[str]) -> str:
        return "{{ " + self.in_expression(match) + " }}"

    def in_expression(self, match: re.Match[str]) -> str:
        return f"inputs.{self.input_name}[{self.number - 1}]{match.group(1)}"

    def in_text(self, match: re.Match[str]) -> str:
        value = self.item
        for name in match.group(1).split(".")[1:]:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else str(value)


class _Uncounted(_Copy):
    """In place of the copies that could not be counted: its item is null."""

    def in_expression(self, match: re.Match[str]) -> str:
        return "none"


def has_copies(steps: object) -> bool:
    """Whether any step asks for copies."""
    return isinstance(steps, list) and any(isinstance(step, dict) and "copies" in step for step in steps)


def expand_copies(steps: list[Any], inputs: Mapping[str, Any]) -> Expansion:
    """Write the copies out. Faults are among the findings; a step with one is there once, without copies."""
    expansion = Expansion([], [])
    names: dict[str, list[str]] = {}
    for index, step in enumerate(steps):
        if not isinstance(step, dict) or "copies" not in step:
            expansion.steps.append(step)
            expansion.origins.append(index)
            continue
        bare = {name: value for name, value in step.items() if name != "copies"}
        copies = _copies_of(step, index, inputs, expansion.findings)
        if copies is None or not isinstance(step.get("step_id"), str):
            # Its other faults are still of interest, that `copy` means nothing here is not.
            expansion.steps.append(bare if step["copies"] is None else _written(bare, _Uncounted(1, None, None)))
            expansion.origins.append(index)
            continue
        names[step["step_id"]] = [f"{step['step_id']}-{copy.number}" for copy in copies]
        written = [{**_written(bare, copy), "step_id": f"{step['step_id']}-{copy.number}"} for copy in copies]
        expansion.steps.extend(written)
        expansion.origins.extend([index] * len(written))
    if names:
        expansion.steps = [_with_all_copies(step, names) for step in expansion.steps]
    return expansion


def _copies_of(
    step: Mapping[str, Any], index: int, inputs: Mapping[str, Any], findings: list[Finding]
) -> list[_Copy] | None:
    def fault(message: str, fix: str) -> None:
        name = step.get("step_id")
        owner = name if isinstance(name, str) else f"steps[{index}]"
        findings.append(Finding("error", "bad-copies", message, fix, step=owner, path=("steps", index, "copies")))

    value, input_name = step["copies"], None
    if value is None:
        return None
    if isinstance(value, str):
        match = _INPUT.fullmatch(value.strip())
        if match is None:
            fault("copies must be a whole number or one input", 'write it as "{{ inputs.n }}"')
            return None
        input_name = match.group(1)
        if input_name not in inputs:
            fault(f"copies names the input {input_name!r}, which does not exist", did_you_mean(input_name, inputs, ""))
            return None
        value = inputs[input_name]
    items = value if isinstance(value, list) and input_name is not None else None
    count = len(items) if items is not None else value
    if type(count) is not int:
        fault("copies must be a whole number, or an input that is a whole number or a list", "write copies: 3")
        return None
    if not 1 <= count <= COPIES_LIMIT:
        fault(f"there are {count} copies; 1 to {COPIES_LIMIT:,} are possible", "ask for at least one")
        return None
    if items is None:
        if _mentions_item(step):
            fault("copy_item is used, but copies is a number", "let copies name an input that is a list")
            return None
        return [_Copy(number, None, None) for number in range(1, count + 1)]
    return [_Copy(number, input_name, item) for number, item in enumerate(items, start=1)]


def _mentions_item(value: Any) -> bool:
    """Depth is limited by the reader."""
    if isinstance(value, str):
        return _ITEM.search(value) is not None
    if isinstance(value, Mapping):
        return any(_mentions_item(item) for item in value.values())
    return isinstance(value, list) and any(_mentions_item(item) for item in value)


def _written(step: Mapping[str, Any], copy: _Copy) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for name, value in step.items():
        if name in _TEMPLATES or (name == "for_each" and isinstance(value, list)):
            replace_item = copy.in_template
        else:
            replace_item = copy.in_expression if name in _EXPRESSIONS else copy.in_text
        written[name] = _replaced(value, copy, replace_item, whole_numbers=name == "args")
    return written


def _replaced(value: Any, copy: _Copy, replace_item: Any, *, whole_numbers: bool) -> Any:
    if isinstance(value, str):
        if whole_numbers and _COPY.fullmatch(value):
            return copy.number
        return _ITEM.sub(replace_item, _COPY.sub(str(copy.number), value)) if "copy" in value else value
    if isinstance(value, Mapping):
        return {name: _replaced(item, copy, replace_item, whole_numbers=whole_numbers) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, copy, replace_item, whole_numbers=whole_numbers) for item in value]
    return value


def _with_all_copies(step: Any, names: Mapping[str, list[str]]) -> Any:
    if not isinstance(step, dict) or not isinstance(step.get("depends_on"), list):
        return step
    depends_on = step["depends_on"]
    if not any(isinstance(name, str) and name in names for name in depends_on):
        return step
    everyone: list[Any] = []
    for name in depends_on:
        everyone.extend(names[name] if isinstance(name, str) and name in names else [name])
    return {**step, "depends_on": everyone}

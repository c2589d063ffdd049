"""From pydantic's errors to findings: what is wrong, where, and what to write instead.

Serves every model of the house (workflow, scenario, configuration).

Rules of this module:
- Every error becomes a finding; errors of one place that differ only in the type they wished for become one.
- A path leads to the place in the parsed file. What pydantic adds to it (tags of unions, alias names) is taken out.
- Values stay in no message: they may be secrets.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError

from executor.model.findings import Finding, Path, nearest
from executor.model.json_values import JSON_FAULTS, describe

# Where an error says only which type was wished for: (plain words, what to write).
_WISHES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "none_required": "null",
}
_ADVICE = {
    "a whole number": "write digits without quotes or a decimal point",
    "a number": "write a number without quotes",
    "true or false": "write true or false without quotes",
    "text": "put it in quotes",
    "a mapping": "write it as `name: value` pairs",
    "a list": "write it as a list: [ … ]",
}
# What other systems call fields of ours.
_ELSEWHERE = {
    "id": "step_id", "name": "step_id", "if": "when", "condition": "when", "with": "args", "params": "args",
    "parameters": "args", "arguments": "args", "uses": "tool", "type": "tool", "after": "depends_on",
    "dependencies": "depends_on", "requires": "depends_on", "foreach": "for_each", "loop": "for_each",
    "with_items": "for_each", "retries": "retry", "timeout_seconds": "timeout", "limits": "resources",
}  # fmt: skip
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
# What needs no more than its kind to be said: (code, message, fix). The only pattern of the house is that of names.
_SAYINGS = {
    "invalid_key": ("wrong-type", "has a field name that is not text", "put the name in quotes"),
    "finite_number": ("not-finite", "is not a finite number", "write a finite number"),
    "string_too_short": ("empty", "is empty", "write at least one character"),
    "too_short": ("empty", "is empty", "name at least one"),
    "string_pattern_mismatch": ("control-character", "contains a control character", "use printable characters only"),
    "string_unicode": ("not-unicode", "is no valid Unicode text (half a surrogate pair)", "correct the encoding"),
}


def usable_id(value: object) -> bool:
    """Whether a value can name a step: non-empty text without control characters."""
    return isinstance(value, str) and value != "" and _UNUSABLE.search(value) is None


def translate(error: ValidationError, model: type[BaseModel], prefix: Path = (), data: object = None) -> list[Finding]:
    """All errors of one validation as findings, in file order.

    ``model`` is the class that was validated, ``data`` what it was given, ``prefix`` the path to ``data`` in its file.
    A finding inside a list called ``steps`` names its step: by its id where that is usable, else ``steps[1]``.
    """
    findings: list[Finding] = []
    # Where something of a wrong type is: its finding's position, and all types that were wished for.
    wishes: dict[Path, tuple[int, list[str]]] = {}
    for item in error.errors(include_url=False, include_input=False):
        location, here = _locate(item["loc"], item["type"], data)
        path = prefix + location
        step = _step_of(path, prefix, data)
        if item["type"] in _WISHES:
            if path not in wishes:
                wishes[path] = len(findings), []
                findings.append(Finding("error", "wrong-type", "", "", step, path))
            position, wished = wishes[path]
            wished.append(_WISHES[item["type"]])
            message, fix = _wished(wished, here)
            if path[-1:] == ("needs",) and isinstance(here, list):
                fix = "write `resource: units`; steps that have to end first are in `depends_on`"
            findings[position] = Finding("error", "wrong-type", message, fix, step, path)
        elif item["type"] == JSON_FAULTS:
            for deeper, wrong in item.get("ctx", {}).get("faults", ()):
                findings.append(Finding("error", "not-json", wrong, "write plain JSON values", step, path + deeper))
        elif path not in wishes:
            code, message, fix = _say(item, model, here)
            findings.append(Finding("error", code, message, fix, step, path))
    return findings


def _locate(location: Sequence[str | int], kind: str, data: object) -> tuple[Path, object]:
    """``(path in the data, the value there)``. Parts that name a member of a union are no place and left out."""
    path: list[str | int] = []
    here: Any = data
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if _holds(here, part):
            path.append(part)
            here = here[part]
        elif last and part == "[key]" and path:
            here = path[-1]
        elif last and (
            # What is of a wrong type is there: a part that leads to nothing is a member of a union, then.
            kind in {"missing", "invalid_key", "extra_forbidden"} or (kind not in _WISHES and isinstance(here, Mapping))
        ):
            path.append(part)
            here = None
    return tuple(path), here


def _holds(here: object, part: str | int) -> bool:
    if isinstance(here, Mapping):
        return part in here
    return isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)


def _step_of(path: Path, prefix: Path, data: object) -> str | None:
    """The step that a path leads into: its usable id, else its place in the list."""
    for position in range(len(prefix), len(path) - 1):
        if path[position] == "steps" and isinstance(path[position + 1], int):
            step = _follow(data, path[len(prefix) : position + 2])
            identifier = step.get("step_id") if isinstance(step, Mapping) else None
            return (
                identifier if isinstance(identifier, str) and usable_id(identifier) else f"steps[{path[position + 1]}]"
            )
    return None


def _follow(data: object, path: Path) -> Any:
    here: Any = data
    for part in path:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return None
    return here


def _wished(wishes: Sequence[str], here: object) -> tuple[str, str]:
    wanted = list(dict.fromkeys(wish for wish in wishes if wish != "null")) or ["null"]
    message = f"is {describe(here)}, where {' or '.join(wanted)} belongs"
    if wanted == ["a list"] and isinstance(here, str):
        return message, "write a list with one item: put brackets around it"
    if isinstance(here, bool | int | float) and "text" in wanted:
        return message, "put it in quotes"
    return message, _ADVICE[wanted[0]] if wanted[0] in _ADVICE and here is not None else f"write {wanted[0]}"


def _say(item: Mapping[str, Any], model: type[BaseModel], here: object) -> tuple[str, str, str]:
    """``(code, message, fix)`` of an error that is not about a type alone."""
    kind, context = item["type"], item.get("ctx", {})
    name = str(item["loc"][-1]) if item["loc"] else ""
    if kind in _SAYINGS:
        return _SAYINGS[kind]
    if kind == "missing":
        return "missing-field", f"`{name}` is missing", f"add `{name}`"
    if kind == "extra_forbidden":
        return _unknown_field(name, model, tuple(part for part in item["loc"][:-1] if isinstance(part, str)))
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return "out-of-range", f"must be {words} {context[key]}", f"write a number that is {words} {context[key]}"
    if kind in {"literal_error", "enum"}:
        return _unknown_value(re.findall(r"'([^']*)'", str(context.get("expected", ""))), here)
    if kind == "value_error":
        return "invalid", str(context.get("error", item["msg"])), ""
    return kind.replace("_", "-"), str(item["msg"]), ""


def _unknown_value(choices: Sequence[str], here: object) -> tuple[str, str, str]:
    near = nearest(here, choices) if isinstance(here, str) else None
    fix = f"did you mean `{near}`?" if near else f"write {choices[0]}" if choices else ""
    return "unknown-value", f"must be one of: {', '.join(choices)}", fix


@functools.lru_cache(maxsize=1024)
def _unknown_field(name: str, model: type[BaseModel], place: tuple[str, ...]) -> tuple[str, str, str]:
    names: dict[str, str] = {}
    for owner in _models_at(model, place):
        for field, aliases in _fields_of(owner):
            names.update(dict.fromkeys((field, *aliases), field))
    if name in names:
        others = [other for other, field in names.items() if field == names[name] and other != name]
        twins = " and ".join(f"`{twin}`" for twin in (*others, name))
        return "given-twice", f"{twins} say the same thing", f"keep `{names[name]}` alone"
    meant = _ELSEWHERE.get(name.lower())
    near = meant if meant in names else nearest(name, names)
    known = ", ".join(dict.fromkeys(names.values()))
    return (
        "unknown-field",
        f"`{name}` is no field here",
        f"did you mean `{near}`?" if near else f"known fields: {known}",
    )


def _fields_of(model: type[BaseModel]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """``(name, other accepted names)`` of each field."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        yield name, tuple(choice for choice in choices if isinstance(choice, str) and choice != name)


def _models_at(model: type[BaseModel], place: Sequence[str]) -> list[type[BaseModel]]:
    """The models that are allowed at a place, found by following the annotations."""
    candidates: list[type[BaseModel]] = [model]
    for part in place:
        deeper: list[type[BaseModel]] = []
        for candidate in candidates:
            field = next((name for name, aliases in _fields_of(candidate) if part == name or part in aliases), None)
            if field is not None:
                deeper.extend(_models_in(candidate.model_fields[field].annotation))
        # A position, a key or a union's tag leads no deeper into the annotations.
        candidates = deeper or candidates
    return candidates


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    stack = [annotation]
    while stack:
        current = stack.pop()
        if isinstance(current, type) and issubclass(current, BaseModel):
            found.append(current)
        else:
            stack.extend(get_args(current))
    return found

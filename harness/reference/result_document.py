"""The fields of the machine-readable result, from its JSON Schema: a part for the whole, and for each definition."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from harness.reference.markdown import Parts, Schema, plain, table, type_words
from harness.result import run_schema

_LINKS: Final = {
    "result": "[cells](#cells)",
    "step": "[steps](#steps)",
    "attempt": "[attempts](#attempts)",
    "sample": "[repetitions](#repetitions)",
    "resource": "[limits](#limits)",
    "estimate": "[estimate](#estimates)",
    "lost_seconds": "[lost time](#lost-time)",
}


def _part(definition: Schema) -> str:
    text = plain(definition["description"])
    return f"{text}\n\n{table(('field', 'holds', 'is'), _rows(definition))}" if "properties" in definition else text


def _rows(definition: Schema) -> Iterator[tuple[str, str, str]]:
    """The fields in their order; those of an inner object follow it as ``outer.inner`` or ``outer[].inner``."""
    pending = [(name, field, definition) for name, field in definition["properties"].items()]
    while pending:
        name, field, owner = pending.pop(0)
        absent = "" if name.rpartition(".")[2] in owner.get("required", ()) else " (may be absent)"
        yield f"`{name}`", _type(field), _description(field) + absent
        inner, mark = (field["items"], "[]") if "items" in field else (field, "")
        properties = inner.get("properties", {})
        pending[:0] = [(f"{name}{mark}.{below}", found, inner) for below, found in properties.items()]


def _description(field: Schema) -> str:
    """The field's own; else the first sentence of what it is defined to be."""
    if "description" in field:
        return str(field["description"])
    definition = _SCHEMA["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
    return str(definition.get("description", "")).partition(":")[0] + "."


def _type(field: Schema) -> str:
    if "properties" in field.get("items", {}):
        return "list of mappings"
    return type_words(field, _LINKS)


_SCHEMA: Final = run_schema()
PARTS: Final[Parts] = {
    "document": partial(_part, _SCHEMA),
    **{name: partial(_part, definition) for name, definition in _SCHEMA["$defs"].items()},
}

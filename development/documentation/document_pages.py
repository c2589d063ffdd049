"""The fields of the machine-readable documents, from their JSON Schemas: a part for the whole, and for each definition.

Rules of this module:
- A field without a description is an error; where it is defined elsewhere, the first sentence of the definition is one.
- Fields of an inner mapping follow it as ``outer.inner``, of a list as ``outer[].inner``, of a mapping of names to
  mappings as ``outer.*.inner``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from development.documentation.markdown import Parts, Schema, plain, table, type_words
from harness.result import run_schema
from harness.simulation.simulation_document import simulation_schema
from harness.traces.diagnosis.analysis_document import analysis_schema
from harness.workloads import granularity_schema

_OF_A_RUN: Final = {
    "result": "[cells](#cells)",
    "step": "[steps](#steps)",
    "attempt": "[attempts](#attempts)",
    "sample": "[repetitions](#repetitions)",
    "resource": "[limits](#limits)",
    "estimate": "[estimate](#estimates)",
    "lost_seconds": "[lost time](#lost-time)",
}
_OF_AN_ANALYSIS: Final = {
    "trace": "[trace](#what-is-said-of-a-trace)",
    "together": "[sets](#sets-of-spans)",
    "interval": "[interval](#intervals)",
}
_OF_A_SIMULATION: Final = {"cell": "[cells](#cells)", "distribution": "[distribution](#distributions)",
                               "best": "[best order](#best-orders)", "optimum": "[optimum](#optima)"}  # fmt: skip


def schema_parts(schema: Schema, links: Mapping[str, str]) -> Parts:
    """``document`` for the whole, and a part named as each definition. ``links``: the words for definitions that have a
    section of their own.

    Raises:
        KeyError: a field has no description; when the part is made.

    """
    definitions = schema.get("$defs", {})
    return {
        "document": partial(_part, schema, schema, links),
        **{name: partial(_part, definition, schema, links) for name, definition in definitions.items()},
    }


def _part(definition: Schema, schema: Schema, links: Mapping[str, str]) -> str:
    text = plain(definition["description"])
    if "properties" not in definition:
        return text
    return f"{text}\n\n{table(('field', 'holds', 'is'), _rows(definition, schema, links))}"


def _rows(definition: Schema, schema: Schema, links: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The fields in their order, each followed by what is in it."""
    pending = [(name, field, definition) for name, field in definition["properties"].items()]
    while pending:
        name, field, owner = pending.pop(0)
        absent = "" if name.rpartition(".")[2] in owner.get("required", ()) else " (may be absent)"
        yield f"`{name}`", _type(field, links), _description(name, field, schema) + absent
        inner, mark = _inside(field)
        pending[:0] = [(f"{name}{mark}.{below}", found, inner) for below, found in inner.get("properties", {}).items()]


def _inside(field: Schema) -> tuple[Schema, str]:
    """What holds the fields below this one, and the mark for how it is held."""
    mark = ""
    while "properties" not in field:
        if "items" in field:
            field, mark = field["items"], f"{mark}[]"
        elif isinstance(field.get("additionalProperties"), Mapping):
            field, mark = field["additionalProperties"], f"{mark}.*"
        else:
            break
    return field, mark


def _description(name: str, field: Schema, schema: Schema) -> str:
    """The field's own; else the first sentence of what it is defined to be."""
    if "description" in field:
        return str(field["description"])
    definition = schema.get("$defs", {}).get(field.get("$ref", "").rpartition("/")[2], {})
    if "description" not in definition:
        raise KeyError(f"{name!r} of {schema['$id']} has no description; the schemas are in harness/schemas")
    return str(definition["description"]).rstrip(".").partition(":")[0] + "."


def _type(field: Schema, links: Mapping[str, str]) -> str:
    if "properties" in field.get("items", {}):
        return "list of mappings"
    return type_words(field, links)


RUN: Final = schema_parts(run_schema(), _OF_A_RUN)
ANALYSIS: Final = schema_parts(analysis_schema(), _OF_AN_ANALYSIS)
SIMULATION: Final = schema_parts(simulation_schema(), _OF_A_SIMULATION)
GRANULARITY: Final = schema_parts(granularity_schema(), {})

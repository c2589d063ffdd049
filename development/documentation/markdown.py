"""Markdown as the pages need it: places to fill in, tables, and types in words. Pure.

Rules of this module:
- Cells are one line; what would end a cell is escaped.
- A type is said in the words of a file's author: text, whole number, list of …, mapping of name to ….
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

Schema: TypeAlias = Mapping[str, Any]
Parts: TypeAlias = Mapping[str, Callable[[], str]]

_PLACE: Final = re.compile(r"<!-- made: (?P<name>\S+) -->\n.*?<!-- end -->", re.DOTALL)
_PLAIN: Final = {"string": "text", "boolean": "true or false", "null": "null"}


def filled(text: str, parts: Parts) -> str:
    """The page with every place filled in.

    Raises:
        ValueError: a place has no part, or a part has not exactly one place.

    """
    places = [match["name"] for match in _PLACE.finditer(text)]
    if sorted(places) != sorted(parts):
        wrong = sorted({*places} ^ {*parts}) or sorted(name for name in {*places} if places.count(name) > 1)
        raise ValueError(
            f"a page has to have one `<!-- made: NAME -->` … `<!-- end -->` for each of its parts; look at {wrong}"
        )

    def made(match: re.Match[str]) -> str:
        return f"<!-- made: {match['name']} -->\n{parts[match['name']]().strip()}\n<!-- end -->"

    return _PLACE.sub(made, text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join([_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(plain(cell).split()).replace("|", "\\|") for cell in cells) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: outside of code, ``<`` would begin a mark of HTML."""
    pieces = text.split("`")
    return "`".join(piece if number % 2 else piece.replace("<", "&lt;") for number, piece in enumerate(pieces))


def model_table(
    model: type[BaseModel],
    meanings: Mapping[str, str],
    links: Mapping[str, str] | None = None,
    *,
    hidden: frozenset[str] = frozenset(),
    defaults: Mapping[str, str] | None = None,
) -> str:
    """Name, type, default and meaning of each field that is not hidden. ``defaults``: the words for those that
    the reader of a file fills in.

    Raises:
        KeyError: a field has no meaning, or a meaning no field.

    """
    schema = model.model_json_schema(by_alias=True)
    fields = {name: field for name, field in schema["properties"].items() if name not in hidden}
    if fields.keys() != meanings.keys():
        raise KeyError(
            f"{sorted(fields.keys() ^ meanings.keys())}: a field of {model.__name__} has no meaning, or a meaning no "
            "field; the tables of meanings are in development/documentation"
        )
    required = schema.get("required", ())
    said = {name: _default_words(field, name in required) for name, field in fields.items()} | dict(defaults or {})
    rows = ((f"`{name}`", type_words(field, links or {}), said[name], meanings[name]) for name, field in fields.items())
    return table(("field", "is", "default", "means"), rows)


def _default_words(field: Schema, required: bool) -> str:
    """A field's default; an empty one is no news."""
    if required:
        return "required"
    default = field.get("default")
    return "" if default is None or default in ("", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def type_words(schema: Schema, links: Mapping[str, str]) -> str:
    """The type of a field as people say it. ``links``: the words for a definition that has a section of its own."""
    if "$ref" in schema:
        return links.get(schema["$ref"].rpartition("/")[2], "any value")
    choices = _choices(schema)
    if choices:
        return " or ".join(dict.fromkeys(type_words(choice, links) for choice in choices))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join("null" if value is None else f"`{value}`" for value in values)
    if schema.get("type") == "array":
        return _list_words(schema.get("items", {}), links)
    if schema.get("type") == "object":
        return _mapping_words(schema, links)
    if schema.get("type") in ("integer", "number"):
        kind = "whole number" if schema["type"] == "integer" else "number"
        return " ".join([kind, *_limits(schema)])
    return _PLAIN.get(str(schema.get("type")), "any value")


def _choices(schema: Schema) -> list[Schema]:
    """The types that a field may have; null, where it only represents an absent field, is none."""
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    choices = schema.get("anyOf", schema.get("oneOf", []))
    return [choice for choice in choices if choice.get("type") != "null" or "default" not in schema]


def _list_words(item: Schema, links: Mapping[str, str]) -> str:
    words = type_words(item, links)
    if " or " in words:
        return f"list, each {words}"
    return "list of mappings" if words == "mapping" else f"list of {words}"


def _mapping_words(schema: Schema, links: Mapping[str, str]) -> str:
    inside = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    value = next((one for one in inside if isinstance(one, Mapping)), None)
    words = "any value" if value is None else type_words(value, links)
    return "mapping" if words == "any value" else f"mapping of name to {words}"


def _limits(schema: Schema) -> Iterable[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"from {low:,} to {high:,}"
    elif low is not None:
        yield f"≥ {low:,}"
    if "exclusiveMinimum" in schema:
        yield f"> {schema['exclusiveMinimum']:,}"

"""Sees whether data is what a shipped JSON Schema says, fast enough for documents of a million steps.

Rules of this module:
- It knows the words of JSON Schema that the shipped schemas use, and refuses others when a checker is made.
- What the schema does not name may be there: a newer version may have written it.
- Numbers are finite and at most 10**15 in size. A whole number of seconds, bytes or steps is far below that; a seed,
  which has no lower limit, may be any.
- Values stay in no message: they may be secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, ValidationError, core_schema

from executor.model.findings import Path, printable
from executor.model.json_values import describe

LARGEST_NUMBER: Final = 10**15

Schema = Mapping[str, Any]
Converter = Callable[[Schema], CoreSchema]

# They say what a field is for.
_UNREAD: Final = frozenset({"$schema", "$id", "$defs", "title", "description", "type"})
_WISHES: Final = {
    "float_type": "a number", "int_type": "a whole number", "int_from_float": "a whole number",
    "is_instance_of": "text", "string_type": "text", "bool_type": "true or false", "none_required": "null",
    "list_type": "a list", "tuple_type": "a list", "dict_type": "a mapping",
    "invalid_key": "a mapping whose names are text", "finite_number": "a finite number",
}  # fmt: skip
_SAYINGS: Final = {
    "missing": "is missing",
    "literal_error": "has to be {expected}",
    "union_error": "has to be {wished}",
    "greater_than": "has to be greater than {gt:g}",
    "greater_than_equal": "has to be at least {ge:g}",
    "less_than_equal": "has to be at most {le:g}",
    "string_too_short": "is empty",
    "string_pattern_mismatch": "is not written as it has to be",
    "date_time": "is no time; it has to be like 2026-03-01T12:00:00+00:00",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
}


class SchemaFault(ValueError):  # noqa: N818 - it is a fault of the data
    """Data is not what its schema says. The message begins with the place, such as ``results[0].workers``."""


class SchemaChecker:
    """``schema`` is a part of ``root``. ``unread``: names of definitions of which anything is let pass."""

    def __init__(self, schema: Schema, root: Schema, *, unread: frozenset[str] = frozenset()) -> None:
        self._root = root
        self._unread = unread
        self._converters: dict[str, tuple[frozenset[str], Converter]] = {
            "null": (frozenset(), lambda _: core_schema.none_schema()),
            "boolean": (frozenset(), lambda _: core_schema.bool_schema(strict=True)),
            "string": (frozenset({"minLength", "pattern", "format"}), _text),
            "number": (_LIMITS, _number),
            "integer": (_LIMITS, _whole_number),
            "array": (frozenset({"items", "prefixItems", "minItems", "maxItems"}), self._list),
            "object": (frozenset({"properties", "required", "additionalProperties", "propertyNames"}), self._object),
        }
        self._validator = SchemaValidator(self._converted(schema))

    def check(self, value: Any, place: Path = ()) -> None:
        """See that it is what the schema says. ``place``: where it is.

        Raises:
            SchemaFault: it is not; the first fault is named.

        """
        try:
            self._validator.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            # A name that is not as it should be is told of at the object; pydantic adds a mark to its place.
            where = tuple(part for part in first["loc"] if part != "[key]")
            raise SchemaFault(f"{place_text((*place, *where))} {_said(cast('Mapping[str, Any]', first))}") from None

    def _converted(self, schema: Schema) -> CoreSchema:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return core_schema.any_schema() if name in self._unread else self._converted(self._root["$defs"][name])
        if "const" in schema:
            return core_schema.literal_schema([schema["const"]])
        if "enum" in schema:
            return core_schema.literal_schema(schema["enum"])
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return self._one_of([self._of_kind(kind, schema) for kind in kinds])
        if "anyOf" in schema:
            return self._one_of([self._converted(one) for one in schema["anyOf"]])
        if kinds is None and schema.keys() <= _UNREAD:
            return core_schema.any_schema()
        kind = str(kinds)
        words = self._converters[kind][0] if kind in self._converters else frozenset()
        unknown = schema.keys() - _UNREAD - words
        if unknown:
            raise NotImplementedError(f"words of JSON Schema that this checker does not know: {sorted(unknown)}")
        return self._of_kind(kind, schema)

    def _of_kind(self, kind: str, schema: Schema) -> CoreSchema:
        return self._converters[kind][1](schema)

    def _one_of(self, choices: list[CoreSchema]) -> CoreSchema:
        others = [one for one in choices if one["type"] != "none"]
        found = others[0]
        if len(others) > 1:
            wished = " or ".join(_NAMES.get(one["type"], "a value of a known kind") for one in others)
            found = core_schema.union_schema(
                [*others], custom_error_type="union_error", custom_error_context={"wished": wished},
                custom_error_message="has to be {wished}",
            )  # fmt: skip
        return core_schema.nullable_schema(found) if len(others) < len(choices) else found

    def _list(self, schema: Schema) -> CoreSchema:
        if "prefixItems" in schema:
            return core_schema.tuple_schema([self._converted(one) for one in schema["prefixItems"]])
        return core_schema.list_schema(
            self._converted(schema.get("items", {})), min_length=schema.get("minItems"),
            max_length=schema.get("maxItems"), strict=True, fail_fast=True,
        )  # fmt: skip

    def _object(self, schema: Schema) -> CoreSchema:
        required = set(schema.get("required", ()))
        if "properties" in schema:
            fields = {
                name: core_schema.typed_dict_field(self._converted(one), required=name in required)
                for name, one in schema["properties"].items()
            }
            return core_schema.typed_dict_schema(fields, extra_behavior="ignore", strict=True)
        others = schema.get("additionalProperties")
        names = core_schema.str_schema(pattern=schema.get("propertyNames", {}).get("pattern"), strict=True)
        return core_schema.dict_schema(
            names if "propertyNames" in schema else core_schema.any_schema(),
            self._converted(others) if isinstance(others, dict) else core_schema.any_schema(),
            strict=True,
        )


def place_text(place: Path) -> str:
    """A place for a person: ``results[0].steps[3].stated``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}" if text else printable(part)
    return text or "the whole"


def _said(error: Mapping[str, Any]) -> str:
    wish = _WISHES.get(error["type"])
    if wish is None:
        return _SAYINGS.get(error["type"], "is not what it has to be").format(**error.get("ctx", {}))
    return f"has to be {wish}, and is {describe(error['input'])}"


_LIMITS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum"})
_NAMES: Final = {
    "float": "a number", "int": "a whole number", "is-instance": "text", "str": "text", "list": "a list",
    "dict": "a mapping", "typed-dict": "a mapping",
}  # fmt: skip


def _text(schema: Schema) -> CoreSchema:
    # Text of programs may hold half a surrogate pair, which pydantic's own text may not.
    if schema.get("format") == "date-time":
        return core_schema.no_info_after_validator_function(_as_time, core_schema.is_instance_schema(str))
    if "minLength" in schema or "pattern" in schema:
        return core_schema.str_schema(min_length=schema.get("minLength"), pattern=schema.get("pattern"), strict=True)
    return core_schema.is_instance_schema(str)


def _as_time(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("date_time", "no time") from None
    return text


def _number(schema: Schema) -> CoreSchema:
    return core_schema.float_schema(
        ge=schema.get("minimum", -LARGEST_NUMBER), gt=schema.get("exclusiveMinimum"),
        le=schema.get("maximum", LARGEST_NUMBER), allow_inf_nan=False, strict=True,
    )  # fmt: skip


def _whole_number(schema: Schema) -> CoreSchema:
    if not schema.keys() & _LIMITS:
        return core_schema.int_schema(strict=True)
    return core_schema.int_schema(
        ge=schema.get("minimum"), gt=schema.get("exclusiveMinimum"), le=schema.get("maximum", LARGEST_NUMBER),
        strict=True,
    )  # fmt: skip

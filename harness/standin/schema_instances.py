"""An instance that is valid for a JSON Schema, for ``response_format: json_schema``. Deterministic.

Rules of this module:
- The same seed and schema give the same instance.
- Text says that it comes from a stand-in, as far as the schema leaves room for it.
- What cannot be met is refused by name (:class:`UnsupportedSchemaError`), never answered with something invalid.
- Depth is limited, and a schema that refers to itself is cut short where it may be.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from typing import Any

LABEL = "[stand-in]"
# From here on only what is required is made, so that schemas that refer to themselves come to an end.
_SHORT_DEPTH = 5
_SHORT_SIZE = 1_000
_DEPTH_LIMIT = 48
_SIZE_LIMIT = 20_000
_COUNT_LIMIT = 1_000
_USUAL_ITEMS = 2
_UNSUPPORTED = ("pattern", "not", "if", "contains", "patternProperties", "propertyNames", "dependentSchemas")
_FORMATS = {
    "date-time": "2024-01-01T12:00:00Z",
    "date": "2024-01-01",
    "time": "12:00:00Z",
    "duration": "PT1M",
    "email": "stand-in@example.com",
    "hostname": "stand-in.example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/stand-in",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class UnsupportedSchemaError(ValueError):
    """The stand-in cannot make an instance of this schema."""


def make_instance(schema: Any, *, seed: str, topic: str) -> Any:
    """An instance of ``schema``; its texts mention ``topic``.

    Raises:
        UnsupportedSchemaError: the schema uses what is not supported, contradicts itself, or never ends.

    """
    source = random.Random(seed)  # noqa: S311 - repeatable, not secret
    try:
        return _Maker(schema, source, topic).make(schema, "answer", 0)
    except RecursionError:
        raise UnsupportedSchemaError("it refers to itself without end") from None


class _Maker:
    def __init__(self, root: Any, source: random.Random, topic: str) -> None:
        self._root = root
        self._source = source
        self._topic = topic
        self._size = 0
        self._makers = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
            "null": self._null,
        }

    def make(self, schema: Any, name: str, depth: int) -> Any:
        self._size += 1
        if depth > _DEPTH_LIMIT or self._size > _SIZE_LIMIT:
            raise UnsupportedSchemaError("it is too large, too deep, or refers to itself without end")
        if schema is True:
            schema = {}
        if not isinstance(schema, dict):
            raise UnsupportedSchemaError(f"at {name!r} there is nothing that could be valid")
        schema = self._flat(schema, name, depth)
        for keyword in _UNSUPPORTED:
            if keyword in schema:
                raise UnsupportedSchemaError(f"the keyword {keyword!r} (at {name!r}) is not supported")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            if not isinstance(schema["enum"], list) or not schema["enum"]:
                raise UnsupportedSchemaError(f"the enum at {name!r} has no value")
            return self._source.choice(schema["enum"])
        maker = self._makers.get(self._type(schema, depth))
        if maker is None:
            raise UnsupportedSchemaError(f"the type {schema.get('type')!r} (at {name!r}) is unknown")
        return maker(schema, name, depth)

    def _short(self, depth: int) -> bool:
        return depth >= _SHORT_DEPTH or self._size > _SHORT_SIZE

    def _flat(self, schema: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        """References followed, ``allOf`` merged, one branch of ``anyOf`` and ``oneOf`` taken."""
        for _ in range(_DEPTH_LIMIT):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = _merged(self._resolved(schema["$ref"]), rest)
            elif "allOf" in schema:
                parts = schema["allOf"]
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                for part in parts if isinstance(parts, list) else ():
                    rest = _merged(rest, self._flat(part, name, depth) if isinstance(part, dict) else {})
                schema = rest
            elif "anyOf" in schema or "oneOf" in schema:
                key = "anyOf" if "anyOf" in schema else "oneOf"
                rest = {other: value for other, value in schema.items() if other != key}
                schema = _merged(rest, self._branch(schema[key], name, depth))
            else:
                return schema
        raise UnsupportedSchemaError(f"at {name!r} references lead in a circle")

    def _branch(self, branches: Any, name: str, depth: int) -> dict[str, Any]:
        usable = [branch for branch in branches if isinstance(branch, dict)] if isinstance(branches, list) else []
        if not usable:
            raise UnsupportedSchemaError(f"at {name!r} there is no branch to take")
        nulls = [branch for branch in usable if branch.get("type") == "null"]
        if self._short(depth):
            plain = [
                branch for branch in usable if "$ref" not in branch and branch.get("type") not in ("object", "array")
            ]
            return (nulls or plain or usable)[0]
        return next((branch for branch in usable if branch not in nulls), usable[0])

    def _resolved(self, reference: Any) -> dict[str, Any]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnsupportedSchemaError(f"the reference {str(reference)[:100]!r} leads out of the schema")
        found = self._root
        for part in reference[1:].strip("/").split("/"):
            if part:
                key = part.replace("~1", "/").replace("~0", "~")
                found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise UnsupportedSchemaError(f"the reference {reference[:100]!r} leads nowhere")
        return found

    def _type(self, schema: Mapping[str, Any], depth: int) -> str:
        stated = schema.get("type")
        if isinstance(stated, list):
            others = [kind for kind in stated if kind != "null"]
            stated = "null" if "null" in stated and (self._short(depth) or not others) else (others or [None])[0]
        if stated is None:
            hints = {"properties": "object", "required": "object", "items": "array", "prefixItems": "array"}
            hints |= {"minimum": "number", "maximum": "number", "multipleOf": "number"}
            return next((kind for keyword, kind in hints.items() if keyword in schema), "string")
        return str(stated)

    def _object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise UnsupportedSchemaError(f"properties or required at {name!r} have the wrong shape")
        most = _count(schema, "maxProperties", _COUNT_LIMIT)
        keys = [key for key in properties if key in required or not self._short(depth)]
        if len(keys) > most:
            keys = [key for key in keys if key in required]
        keys += [key for key in required if key not in properties]
        extra = schema.get("additionalProperties", True)
        number = 0
        while len(keys) < _count(schema, "minProperties", 0):
            number += 1
            keys += [key] if (key := f"extra_{number}") not in keys else []
        if len(keys) > most:
            raise UnsupportedSchemaError(f"the object at {name!r} requires more than it allows")
        return {str(key): self.make(properties.get(key, extra), str(key), depth + 1) for key in keys}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first = schema.get("prefixItems", [])
        first = first if isinstance(first, list) else []
        least = _count(schema, "minItems", 0)
        most = _count(schema, "maxItems", _COUNT_LIMIT)
        rest = schema.get("items", True)
        usual = 0 if self._short(depth) else max(len(first), 0 if rest is False else _USUAL_ITEMS)
        count = max(least, min(most, usual))
        if count > most:
            raise UnsupportedSchemaError(f"the array at {name!r} requires more than it allows")
        schemas = [*first[:count], *([rest] * (count - len(first)))]
        if not schema.get("uniqueItems"):
            return [self.make(part, f"{name} {place + 1}", depth + 1) for place, part in enumerate(schemas)]
        return self._distinct(schemas, least, name, depth)

    def _distinct(self, schemas: list[Any], least: int, name: str, depth: int) -> list[Any]:
        values: dict[str, Any] = {}
        for place, part in enumerate(schemas):
            for attempt in range(50):
                value = self.make(part, f"{name} {place + 1 + attempt}", depth + 1)
                key = json.dumps(value, sort_keys=True)
                if key not in values:
                    values[key] = value
                    break
        if len(values) < least:
            raise UnsupportedSchemaError(f"the array at {name!r} wants more distinct items than were found")
        return list(values.values())

    def _string(self, schema: Mapping[str, Any], name: str, depth: int) -> str:
        if "format" in schema:
            text = _FORMATS.get(str(schema["format"]))
            if text is not None:
                return text
        least = _count(schema, "minLength", 0)
        most = _count(schema, "maxLength", 10 * _COUNT_LIMIT, limit=10 * _COUNT_LIMIT)
        if least > most:
            raise UnsupportedSchemaError(f"the text at {name!r} must be longer than it may be")
        text = f"{LABEL} {name.replace('_', ' ')}: {self._topic}"
        text = text if len(text) <= most else f"{LABEL} {self._topic}"
        return text[:most].ljust(least, ".")

    def _integer(self, schema: Mapping[str, Any], name: str, depth: int) -> int:
        return int(self._multiple(schema, name, whole=True))

    def _number(self, schema: Mapping[str, Any], name: str, depth: int) -> float:
        return self._multiple(schema, name, whole=False)

    def _multiple(self, schema: Mapping[str, Any], name: str, *, whole: bool) -> float:
        """A multiple of the step (1 if there is none) within the bounds; for numbers, else the middle of them."""
        step = _figure(schema, "multipleOf") or (1 if whole else None)
        if whole and step is not None and step != int(step):
            raise UnsupportedSchemaError(f"multipleOf at {name!r} is no integer")
        low, high = _figure(schema, "minimum"), _figure(schema, "maximum")
        above, below = _figure(schema, "exclusiveMinimum"), _figure(schema, "exclusiveMaximum")
        lows = [value for value in (low, above) if value is not None]
        highs = [value for value in (high, below) if value is not None]
        least = max(lows) if lows else (min(1.0, min(highs) - 10) if highs else 1.0)
        most = min(highs) if highs else least + 99
        if step is None:
            middle = least + (most - least) * self._source.uniform(0.25, 0.75)
            rounded = round(middle, 2)
            candidates = [rounded, middle, least, most]
        else:
            first, last = math.ceil(least / step), math.floor(most / step)
            drawn = self._source.randint(first, last) if first <= last else first
            candidates = [drawn * step, (first + 1) * step, (last - 1) * step, first * step, last * step]
        for value in candidates:
            inside = (low is None or value >= low) and (high is None or value <= high)
            if inside and (above is None or value > above) and (below is None or value < below):
                return value
        raise UnsupportedSchemaError(f"no number fits the bounds at {name!r}")

    def _boolean(self, schema: Mapping[str, Any], name: str, depth: int) -> bool:
        return self._source.random() < 0.5

    def _null(self, schema: Mapping[str, Any], name: str, depth: int) -> None:
        return None


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A schema that is valid where both are, for the keywords that are supported."""
    result = dict(one)
    for key, value in other.items():
        if key not in result or result[key] == value:
            result[key] = value
        elif key == "properties" and isinstance(value, dict) and isinstance(result[key], dict):
            both = {name: {"allOf": [result[key][name], value[name]]} for name in value if name in result[key]}
            result[key] = {**result[key], **value, **both}
        elif key == "required" and isinstance(value, list) and isinstance(result[key], list):
            result[key] = [*result[key], *(name for name in value if name not in result[key])]
        elif key == "enum" and isinstance(value, list) and isinstance(result[key], list):
            result[key] = [item for item in result[key] if item in value]
        elif key.startswith(("min", "exclusiveMin")) and _numbers(result[key], value):
            result[key] = max(result[key], value)
        elif key.startswith(("max", "exclusiveMax")) and _numbers(result[key], value):
            result[key] = min(result[key], value)
        elif key not in ("title", "description", "default", "examples", "$defs", "definitions", "additionalProperties"):
            raise UnsupportedSchemaError(f"two different {key!r} for one place cannot be combined")
    return result


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _figure(schema: Mapping[str, Any], keyword: str) -> float | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if not _numbers(value) or not math.isfinite(value) or (keyword == "multipleOf" and value <= 0):
        raise UnsupportedSchemaError(f"{keyword} is not a usable number")
    number: float = value
    return number


def _count(schema: Mapping[str, Any], keyword: str, default: int, limit: int = _COUNT_LIMIT) -> int:
    value = _figure(schema, keyword)
    if value is None:
        return default
    if value < 0 or (value > limit and keyword.startswith("min")):
        raise UnsupportedSchemaError(f"{keyword} must be between 0 and {limit}")
    return int(min(value, limit))

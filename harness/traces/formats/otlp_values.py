"""Values of OTLP's JSON: ids, times, attributes, kinds. Shared by all readers of spans.

Rules of this module:
- A time is an integer of nanoseconds and never passes through a float.
- An id in hex is lower case; one in base64 becomes hex; any other text is kept. Empty or all zeros means none.
- Attribute values become plain data: text, int, float, bool, lists, mappings. What has no known type is kept as it is.

Source of the encodings: OpenTelemetry protocol 1.x, JSON mapping (ids in hex, 64-bit integers as text), and protobuf's
own JSON mapping, which some stores use (ids in base64).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from sys import intern
from typing import Any, Final

from harness.traces.trace_model import SpanKind, StatusCode

_KINDS: Final[tuple[SpanKind, ...]] = ("unspecified", "internal", "server", "client", "producer", "consumer")
_HEX_LENGTHS: Final = (16, 32)
_BASE64_BYTES: Final = {12: 8, 24: 16}
# MLflow's own form of a span: trace ids of links begin so, and each attribute is JSON text.
_MLFLOW_TRACE: Final = "tr-"
_MLFLOW_LENGTH: Final = len(_MLFLOW_TRACE) + 32
_MLFLOW_MARK: Final = "mlflow.traceRequestId"
# The largest time that is kept: the year 2262. Larger ones are no time in nanoseconds since 1970.
LARGEST_TIME: Final = 2**63 - 1


def identifier(value: Any) -> str | None:
    """A trace or span id as the readers compare it; None for none."""
    if type(value) is not str:
        if value is None or isinstance(value, (bool, float, dict, list)):
            return None
        value = str(value)
    length = len(value)
    if length in _HEX_LENGTHS:
        try:
            return value.lower() if int(value, 16) else None
        except ValueError:
            return value  # type: ignore[no-any-return] # text of the same length that is no hex
    if length in _BASE64_BYTES and value[-1] == "=":
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return value  # type: ignore[no-any-return]
        if len(raw) == _BASE64_BYTES[length]:
            return raw.hex() if any(raw) else None
    if length == _MLFLOW_LENGTH and value.startswith(_MLFLOW_TRACE):
        return identifier(value.removeprefix(_MLFLOW_TRACE))
    return value if value.strip("0 ") else None


def nanoseconds(value: Any) -> int | None:
    """A time in nanoseconds since 1970, from text or a number; None for none, nonsense or zero."""
    try:
        time = int(value)
    except (TypeError, ValueError, OverflowError):
        try:
            time = int(Decimal(value))
        except (TypeError, ValueError, InvalidOperation, OverflowError):
            return None
    return time if 0 < time <= LARGEST_TIME else None


def plain_value(value: Any) -> Any:
    """An OTLP ``AnyValue`` as plain data."""
    if type(value) is not dict:
        return float(value) if isinstance(value, Decimal) else value
    for name, held in value.items():
        read = _READ_VALUE.get(name)
        if read is not None:
            return read(held)
    return value or None


def _whole(held: Any) -> Any:
    try:
        return int(held)
    except (TypeError, ValueError, OverflowError):
        return held


def _fraction(held: Any) -> Any:
    try:
        return float(held)
    except (TypeError, ValueError, OverflowError):
        return held


def _listed(held: Any) -> list[Any]:
    values = held.get("values") if type(held) is dict else None
    return [plain_value(item) for item in values] if type(values) is list else []


def _mapped(held: Any) -> dict[str, Any]:
    return attributes_of(held.get("values")) if type(held) is dict else {}


def _as_it_is(held: Any) -> Any:
    return held


def _from_json(value: Any) -> Any:
    try:
        return json.loads(value) if type(value) is str else plain_value(value)
    except (ValueError, RecursionError):
        return value


def attributes_of(pairs: Any) -> dict[str, Any]:
    """A list of OTLP's key-value pairs, or a plain mapping, as a mapping. What is neither is left out."""
    attributes: dict[str, Any] = {}
    if type(pairs) is dict:
        if _MLFLOW_MARK in pairs:
            return {key: _from_json(value) for key, value in pairs.items()}
        for key, value in pairs.items():
            attributes[key] = float(value) if isinstance(value, Decimal) else value
        return attributes
    if type(pairs) is not list:
        return attributes
    for pair in pairs:
        try:
            key, value = pair["key"], pair["value"]
            # The short way of the two kinds of value that most attributes have.
            if type(value) is dict and len(value) == 1:
                if "stringValue" in value:
                    attributes[intern(key)] = value["stringValue"]
                    continue
                if "intValue" in value:
                    attributes[intern(key)] = int(value["intValue"])
                    continue
            attributes[intern(key)] = plain_value(value)
        except (KeyError, TypeError, ValueError):
            if type(pair) is dict and type(pair.get("key")) is str:
                attributes[pair["key"]] = plain_value(pair.get("value"))
    return attributes


_READ_VALUE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "stringValue": _as_it_is, "string_value": _as_it_is,
    "intValue": _whole, "int_value": _whole,
    "boolValue": _as_it_is, "bool_value": _as_it_is,
    "doubleValue": _fraction, "double_value": _fraction,
    "arrayValue": _listed, "array_value": _listed,
    "kvlistValue": _mapped, "kvlist_value": _mapped,
    "bytesValue": _as_it_is, "bytes_value": _as_it_is,
}  # fmt: skip


def kind_of(value: Any) -> SpanKind:
    """A span's kind from OTLP's number, its name, or a word such as ``client``."""
    if type(value) is int:
        return _KINDS[value] if 0 <= value < len(_KINDS) else "unspecified"
    if type(value) is str:
        word = value.rpartition(".")[2].upper().removeprefix("SPAN_KIND_")
        for kind in _KINDS:
            if word == kind.upper():
                return kind
        if word.isdigit():
            return kind_of(int(word[:3]))
    return "unspecified"


def status_of(value: Any) -> tuple[StatusCode, str]:
    """A span's status from OTLP's ``status`` object."""
    if not isinstance(value, Mapping):
        return "unset", ""
    code = value.get("code", value.get("status_code", value.get("statusCode")))
    message = value.get("message") or value.get("description") or ""
    text = message if isinstance(message, str) else str(message)
    if code in (2, "STATUS_CODE_ERROR", "ERROR", "2"):
        return "error", text
    if code in (1, "STATUS_CODE_OK", "OK", "1"):
        return "ok", text
    return "unset", text

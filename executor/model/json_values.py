"""What a value in a file may hold: JSON, and nothing that JSON cannot say.

Rules of this module:
- No recursion: a value may be nested as deep as its author likes, and is refused, not crashed on.
- All faults are found, not only the first one; each with the way that leads to it.
- Values stay in no message: they may be secrets.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from executor.model.findings import Path

# Encoders, picklers and templates recurse; all of them manage this depth.
DEPTH_LIMIT = 200
# An alias bomb is small in memory and endless to walk.
VALUES_LIMIT = 5_000_000
FAULTS_LIMIT = 100

JSON_FAULTS = "json_faults"


def describe(value: Any) -> str:
    """The kind of a value in plain words, never the value itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return f"a Python {type(value).__name__}"


def _fault(value: Any) -> str | None:
    """What is wrong with one value that holds no others, or None."""
    if value is None or isinstance(value, bool | int):
        return None
    if isinstance(value, str):
        return None if value.isascii() or _encodable(value) else "is no valid Unicode text (half a surrogate pair)"
    if isinstance(value, float):
        return None if math.isfinite(value) else "is not a finite number"
    return f"is {describe(value)}, which JSON cannot hold"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_faults(value: Any) -> list[tuple[Path, str]]:
    """Every place in ``value`` that JSON cannot hold, as ``(path, what is wrong)``; at most :data:`FAULTS_LIMIT`."""
    faults: list[tuple[Path, str]] = []
    # (value, depth, link to the way back): a path is only spelled out where something is wrong.
    stack: list[tuple[Any, int, tuple[Any, Any] | None]] = [(value, 0, None)]
    visited = 0
    while stack and len(faults) < FAULTS_LIMIT:
        current, depth, way = stack.pop()
        visited += 1
        if visited > VALUES_LIMIT:
            faults.append(((), f"holds more than {VALUES_LIMIT:,} values"))
            break
        if not isinstance(current, dict | list):
            if (wrong := _fault(current)) is not None:
                faults.append((_spell(way), wrong))
        elif depth >= DEPTH_LIMIT:
            faults.append(((), f"is nested more than {DEPTH_LIMIT} levels deep"))
            break
        elif isinstance(current, list):
            stack.extend((item, depth + 1, (way, place)) for place, item in enumerate(current))
        else:
            for key, item in current.items():
                if isinstance(key, str) and _fault(key) is None:
                    stack.append((item, depth + 1, (way, key)))
                else:
                    faults.append((_spell(way), f"has a key that is {describe(key)}, where valid text belongs"))
    faults.reverse()
    return faults


def _spell(way: tuple[Any, Any] | None) -> Path:
    parts: list[str | int] = []
    while way is not None:
        way, part = way
        parts.append(part)
    return tuple(reversed(parts))


def _checked(value: Any) -> Any:
    faults = json_faults(value)
    if faults:
        raise PydanticCustomError(JSON_FAULTS, "holds what JSON cannot hold", {"faults": faults})
    return value


JsonAny = Annotated[Any, AfterValidator(_checked)]
JsonMapping = Annotated[dict[str, Any], AfterValidator(_checked)]
JsonList = Annotated[list[Any], AfterValidator(_checked)]

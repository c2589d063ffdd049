"""Values as typed on the command line, taken apart: ``NAME=VALUE``, lists, shares, times. What a value means is the
scenario's affair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from executor.model.findings import did_you_mean
from harness.cli.guard import UsageFault

Name = TypeVar("Name", bound=str)

_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h)?")
_UNITS: Final = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_OPENING: Final = "[{("
_CLOSING: Final = "]})"


def one_of(option: str, typed: str, known: Sequence[Name]) -> Name:
    """The one of the known names that was typed.

    Raises:
        UsageFault: it is none of them.

    """
    for name in known:
        if name == typed:
            return name
    *others, last = known
    named = ", ".join(others)
    raise UsageFault(f"{option} {typed!r}: {did_you_mean(typed, known, f'use {named} or {last}')}")


def read_settings(typed: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Name to value; of a name that is set twice the last value counts. ``option``: as which they were typed.

    Raises:
        UsageFault: there is no ``=``, or nothing before it.

    """
    settings: dict[str, str] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageFault(f"{option} {text!r}: write NAME=VALUE")
        settings[name.strip()] = value
    return settings


def read_names(typed: Iterable[str]) -> tuple[str, ...]:
    """``a,b`` and repeated options: every name once."""
    return tuple(dict.fromkeys(name for text in typed for name in (part.strip() for part in text.split(",")) if name))


def read_workers(typed: Iterable[str]) -> tuple[int, ...]:
    """The same for numbers of workers.

    Raises:
        UsageFault: one is no whole number above 0.

    """
    found = []
    for name in read_names(typed):
        if not name.isdecimal() or not 1 <= int(name) <= 100_000:
            raise UsageFault(f"--workers {name!r} is no number of workers: write whole numbers above 0, as in 2,4,8")
        found.append(int(name))
    return tuple(dict.fromkeys(found))


def read_width(typed: str | None) -> float | None:
    """``5%`` or ``0.05`` as a share.

    Raises:
        UsageFault: it is neither.

    """
    if typed is None:
        return None
    text = typed.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UsageFault(f"--until-width {typed!r} is no share between 0 and 100 %: write it like 5% or 0.05")
    return share


def read_time(typed: str | None, option: str = "--max-time") -> float | None:
    """``60s``, ``1.5min``, ``2h`` or a number of seconds, in seconds.

    Raises:
        UsageFault: it is none of these, or no time at all.

    """
    if typed is None:
        return None
    found = _TIME.fullmatch(typed.strip())
    seconds = 0.0 if found is None else float(found.group(1)) * _UNITS[found.group(2) or "s"]
    if seconds <= 0:
        raise UsageFault(f"{option} {typed!r} is no time: write it like 60s, 10min or 2h")
    return seconds


def read_parameters(typed: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """``NAME=V1,V2``: values are text until the scenario says what belongs there. Commas inside of brackets or double
    quotes belong to a value.

    Raises:
        UsageFault: there is no ``=``, no value, or one name twice.

    """
    found: dict[str, tuple[Any, ...]] = {}
    for text in typed:
        name, equals, values = text.partition("=")
        name = name.strip()
        listed = tuple(dict.fromkeys(_separated(values)))
        if not equals or not name or not all(listed) or not listed:
            raise UsageFault(f"--parameter {text!r}: write NAME=VALUE,VALUE, as in n=1,2,4")
        if name in found:
            raise UsageFault(f"--parameter {name} is given twice: write all its values into one, as in {name}=1,2,4")
        found[name] = listed
    return found


def _separated(text: str) -> list[str]:
    parts, depth, quoted, start = [], 0, False, 0
    place = 0
    while place < len(text):
        sign = text[place]
        if quoted and sign == "\\":
            place += 1
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            depth += (sign in _OPENING) - (sign in _CLOSING)
            if sign == "," and depth <= 0:
                parts.append(text[start:place].strip())
                start = place + 1
        place += 1
    parts.append(text[start:].strip())
    return parts

"""Fills in what Grafana fills in: ``$scenario``, ``${executor:regex}``, ``$__range`` and their like. Pure.

Rules of this module:
- As Grafana does for Prometheus: several values become a regular expression of alternatives, each escaped.
- An unknown word stays as it is; the parser finds it then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_WORD: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_SPECIAL: Final = re.compile(r"[\\^$*+?.()|{}\[\]]")

Values = Mapping[str, str | Sequence[str]]


def filled(text: str, values: Values) -> str:
    """The text with the values of its variables."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        found = values.get(name)
        if found is None:
            return match.group(0)
        return found if isinstance(found, str) else alternatives(found)

    return _WORD.sub(value, text)


def alternatives(values: Sequence[str]) -> str:
    """A regular expression that matches any of them, as it is within quotes of PromQL."""
    escaped = [_SPECIAL.sub(r"\\\\\g<0>", value).replace('"', r"\"") for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def time_words(start: float, end: float, step: float, scrape_seconds: float) -> dict[str, str]:
    """The words for a time range. All in seconds."""
    seconds = max(1, round(end - start))
    return {
        "__interval": duration(step),
        "__interval_ms": str(round(step * 1000)),
        "__rate_interval": duration(max(step + scrape_seconds, 4 * scrape_seconds)),
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__range_ms": str(max(1, round((end - start) * 1000))),
    }


def duration(seconds: float) -> str:
    """As PromQL writes it."""
    return f"{max(1, round(seconds * 1000))}ms"


def seconds_of(text: str, default: float) -> float:
    """The seconds of a span such as ``10ms``, ``15s`` or ``30d``; the default where it is none."""
    match = re.fullmatch(r"(\d+)(ms|[smhdwy])", text)
    if match is None:
        return default
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
    return int(match.group(1)) * units[match.group(2)]

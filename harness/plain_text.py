"""Text from elsewhere as one line for people, and nouns with their numbers. Pure."""

from __future__ import annotations

import re
from typing import Final

from executor.model.findings import printable

# How much of a text is looked at to make a line of it: outputs may be large.
LOOKED_AT: Final = 4
_CONTROL_SEQUENCE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")


def one_line(text: str, limit: int) -> str:
    """The text as one harmless line of at most ``limit`` characters; terminal sequences leave no trace."""
    beginning = text[: LOOKED_AT * limit + 1]
    clean = printable(" ".join(_CONTROL_SEQUENCE.sub("", beginning).split()))
    if len(clean) <= limit and len(beginning) == len(text):
        return clean
    return clean[: max(1, limit - 1)].rstrip() + "…"


def counted(number: int, noun: str) -> str:
    """``1 step``, ``3 steps``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

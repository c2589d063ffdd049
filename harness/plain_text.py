"""Values as text for people: one line, nouns with their numbers, durations, rows of a table. Pure.

Rules of this module:
- Columns are those of a terminal, on which letters of East Asia and pictures take two.
- A duration has three significant digits, without zeros at its end, in the unit that fits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from executor.model.findings import printable

# How much of a text is looked at to make a line of it: outputs may be large.
LOOKED_AT: Final = 4
_DIGITS: Final = 3
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


def some_of(names: Sequence[str], most: int) -> str:
    """``a, b and 3 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def duration_text(seconds: float) -> str:
    """``1.71 s``, ``340 ms``, ``-12.5 µs``."""
    return _duration(seconds, _DIGITS)


def duration_texts(*seconds: float) -> list[str]:
    """The same for durations that are read side by side: with up to five digits where three would read the same."""
    for digits in (_DIGITS, 4, 5):
        texts = [_duration(one, digits) for one in seconds]
        if len(set(texts)) == len(set(seconds)):
            return texts
    return [duration_text(one) for one in seconds]


def interval_text(low: float, high: float) -> str:
    """``1.7 s to 1.72 s``."""
    return " to ".join(duration_texts(low, high))


def gain_text(seconds: float, whole: float, *, nothing_ratio: float = 0.0) -> str:
    """``300 ms (25%)``; of a loss ``300 ms longer (25%)``; of less than that share of the whole, ``nothing``."""
    if seconds == 0 or (whole > 0 and abs(seconds) < nothing_ratio * whole):
        return "nothing"
    share = f" ({abs(seconds) / whole:.0%})" if whole > 0 else ""
    return f"{duration_text(abs(seconds))}{'' if seconds > 0 else ' longer'}{share}"


def remaining_text(seconds: float) -> str:
    """How long something still takes, in whole seconds: ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _duration(seconds: float, digits: int) -> str:
    rounding = 0.5 * 10**-digits
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size * (1 - rounding):
            number = seconds / size
            before = len(str(int(abs(number) * (1 + rounding))))
            text = f"{number:.{max(0, digits - before)}f}"
            return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0 s"


def columns_of(text: str) -> int:
    """How many columns of a terminal a line takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415  # most texts do without

    return cell_len(text)


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """The text in so many columns, or in as many as it takes."""
    space = " " * (columns - columns_of(text))
    return f"{space}{text}" if right else f"{text}{space}"


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """The rows of a table as lines, their columns two spaces apart. ``right``: columns of numbers."""
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            padded(cell, width, right=column in right)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

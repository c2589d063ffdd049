"""Lists that a text marks as such: ``1. … 2. …``, ``a) …``, ``- …``, ``Step 1: …``, in one line or over many. Pure.

Rules of this module:
- Numbers and letters are marks if they begin with the first one, go up one by one, and are at least two; dashes and
  bullets are marks at the beginning of a line.
- The first mark stands where a sentence could begin, so that ``chapter 1. Then chapter 2.`` has none.
- What quotation marks enclose has no marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.planner.word_lists import Token

# Each kind of mark; ``n`` is what has to go up one by one.
_BULLET: Final = re.compile(r"(?:^|(?<=\n))[ \t]*(?:(?:[-*•‣–—·][ \t]+)?\[[ xX]?\]|[-*•‣–—·])[ \t]+", re.MULTILINE)
_COUNTED: Final = (
    re.compile(r"(?<!\S)(?:step|task|part|point)\s+(?P<n>\d{1,3})\s*[:.)–-](?=\s)", re.IGNORECASE),
    re.compile(r"(?<!\S)#?(?P<n>\d{1,3})[.):](?=\s)"),
    re.compile(r"(?<!\S)\((?P<n>\d{1,3})\)(?=\s)"),
    re.compile(r"(?<!\S)\(?(?P<n>[a-z])\)(?=\s)"),
    re.compile(r"^[ \t]*(?P<n>\d{1,3})[ \t]*[-–][ \t]+", re.MULTILINE),
)
# Behind these signs, or at a line's beginning, a sentence could begin.
_BEFORE_FIRST: Final = "\n.:;!?,"


@dataclass(frozen=True, slots=True)
class Points:
    """The words before the first mark, and those of each point.

    ``announces``: the words before end in a colon or with their line, and not with a full stop. ``ordered``: the marks
    say "step".
    """

    lead: tuple[Token, ...]
    announces: bool
    points: tuple[tuple[Token, ...], ...]
    ordered: bool


def points_of(text: str, tokens: Sequence[Token]) -> Points | None:
    """The list in a text, or None if it marks none."""
    quoted = [(token.start, token.end) for token in tokens if token.kind in ("quoted", "address")]
    for pattern in (*_COUNTED, _BULLET):
        marks = [one for one in pattern.finditer(text) if not any(a <= one.start() < b for a, b in quoted)]
        if pattern is not _BULLET:
            marks = _going_up(text, marks)
        if len(marks) > 1 or (marks and pattern is _BULLET):
            return _points(tokens, marks, ordered=pattern is _COUNTED[0])
    return None


def _going_up(text: str, marks: Sequence[re.Match[str]]) -> list[re.Match[str]]:
    """The marks from the first one on that count one by one."""
    found: list[re.Match[str]] = []
    for mark in marks:
        sign = mark["n"]
        number = int(sign) if sign.isdecimal() else ord(sign) - ord("a") + 1
        if number != len(found) + 1:
            continue
        before = text[: mark.start()].rstrip(" \t")
        if not found and mark.group()[-1] in ".:" and before and before[-1] not in _BEFORE_FIRST:
            continue
        found.append(mark)
    return found


def _points(tokens: Sequence[Token], marks: Sequence[re.Match[str]], *, ordered: bool) -> Points | None:
    borders = [0, *(mark.start() for mark in marks), tokens[-1].end + 1]
    lead = [token for token in tokens if token.start < borders[1]]
    begins = [mark.end() for mark in marks]
    parts = [
        _trimmed([token for token in tokens if begin <= token.start < end])
        for begin, end in zip(begins, borders[2:], strict=True)
    ]
    points = tuple(part for part in parts if part)
    announces = not any(token.kind == "stop" and token.text.strip() for token in lead[-1:])
    return Points(_trimmed(lead), announces, points, ordered) if points else None


def _trimmed(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Without stops, commas and colons at either end."""
    begin, end = 0, len(tokens)
    while end > begin and (tokens[end - 1].kind in ("stop", "comma") or tokens[end - 1].text == ":"):
        end -= 1
    while begin < end and tokens[begin].kind in ("stop", "comma"):
        begin += 1
    return tuple(tokens[begin:end])

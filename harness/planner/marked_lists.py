"""From a task to its clauses: sentences as they are, and what the points of a marked list ask for. Pure.

A text marks lists as such: ``1. … 2. …``, ``a) …``, ``- …``, ``Step 1: …``, in one line or over many.

Rules of this module:
- Numbers and letters are marks if they begin with the first one, go up one by one, and are at least two; dashes and
  bullets are marks at the beginning of a line. What quotation marks enclose has no marks.
- The first mark is where a sentence could begin, so that ``chapter 1. Then chapter 2.`` has none.
- A point that begins with a verb is a clause; so is every other point of its list. They are in no order but the one
  that their words ask for ("it", "then"), unless their marks say "step".
- Where no point has a verb, the words before the list have it: ``Write jokes about: - cats - dogs`` is ``jokes about
  cats, dogs``; ``Translate to French: - good morning - good night`` is one piece of work for each point.
- What is made with a list in it (``an article with these sections: …``) is one thing, and the list says how.
- Words before the list that ask for nothing ("do the following") are passed over; others apply to every point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.planner.sentences import Clause, Link, begins_clause, clauses_in, sentence_clauses, skipped
from harness.planner.tokens import Token, said, tokens_of
from harness.planner.vocabulary import AMBIGUOUS, ITEMWISE, LEAD_WORDS, PREPOSITIONS, REMARKS, VERBS

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
class _Points:
    """The words before the first mark, and those of each point.

    ``announces``: the words before end in a colon or with their line, and not with a full stop. ``ordered``: the marks
    say "step".
    """

    lead: tuple[Token, ...]
    announces: bool
    points: tuple[tuple[Token, ...], ...]
    ordered: bool


def _points_in(text: str, tokens: Sequence[Token]) -> _Points | None:
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


def _points(tokens: Sequence[Token], marks: Sequence[re.Match[str]], *, ordered: bool) -> _Points | None:
    borders = [0, *(mark.start() for mark in marks), tokens[-1].end + 1]
    lead = [token for token in tokens if token.start < borders[1]]
    begins = [mark.end() for mark in marks]
    parts = [
        _trimmed([token for token in tokens if begin <= token.start < end])
        for begin, end in zip(begins, borders[2:], strict=True)
    ]
    points = tuple(part for part in parts if part)
    announces = not any(token.kind == "stop" and token.text.strip() for token in lead[-1:])
    return _Points(_trimmed(lead), announces, points, ordered) if points else None


def _trimmed(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Without stops, commas and colons at either end."""
    begin, end = 0, len(tokens)
    while end > begin and (tokens[end - 1].kind in ("stop", "comma") or tokens[end - 1].text == ":"):
        end -= 1
    while begin < end and tokens[begin].kind in ("stop", "comma"):
        begin += 1
    return tuple(tokens[begin:end])


def clauses_of(text: str) -> list[Clause]:
    """The clauses of a task, in order."""
    tokens = tokens_of(text)
    found = _points_in(text, tokens)
    return sentence_clauses(text, tokens) if found is None else _clauses_of_points(text, tokens, found)


def _clauses_of_points(text: str, tokens: Sequence[Token], found: _Points) -> list[Clause]:
    place, _ = skipped(found.lead, 0, "first")
    lead = found.lead[place:]
    if not lead or all(token.low in LEAD_WORDS for token in lead):
        return _each_its_own(text, found)
    before = clauses_in(text, lead)
    if not before or not found.announces:
        return [*before, *_each_its_own(text, found)]
    if any(_asks(point) for point in found.points):
        if before[-1].kind in ("translate", "convert", "summarize", "edit"):  # a list to be worked on, whatever it says
            return sentence_clauses(text, tokens)
        of_all = Clause("", None, tuple(lead), "stop", said(text, lead))
        return [clause for one in _each_its_own(text, found) for clause in (one, of_all)]
    return _given_to(text, before, lead, found)


def _each_its_own(text: str, found: _Points) -> list[Clause]:
    link: Link = "then" if found.ordered else "point"
    clauses: list[Clause] = []
    for point in found.points:
        clauses += clauses_in(text, point, link if clauses else "point")
    return clauses


def _asks(point: Sequence[Token]) -> bool:
    place, _ = skipped(point, 0, "first")
    if begins_clause(point, place, "and"):
        return point[place].low not in REMARKS
    # "Review report.md" asks for a review; "Outline" and "Review of books" are names.
    known = place + 1 < len(point) and point[place].low in VERBS and point[place].low in AMBIGUOUS
    return known and point[place + 1].low not in PREPOSITIONS


def _given_to(text: str, before: list[Clause], lead: Sequence[Token], found: _Points) -> list[Clause]:
    """The points handed to the verb that precedes them."""
    last, points = before[-1], found.points
    if not last.tokens or all(token.low in LEAD_WORDS for token in last.tokens):
        if last.kind == "write":
            return clauses_in(text, [*_up_to_verb(lead, last), *_in_a_row(points)])
    elif lead[-1].low in PREPOSITIONS or (last.kind == "write" and _announces_topics(last.tokens)):
        return clauses_in(text, [*_without_announcement(lead), *_in_a_row(points)])
    if any(point[0].low in REMARKS for point in points):
        return [*before, *(Clause("", None, point, "and", said(text, point)) for point in points)]
    if last.kind in ("translate", "convert", "summarize", "edit") or last.verb in ITEMWISE:
        return [*before[:-1], *(replace(last, material=said(text, point), link="point") for point in points)]
    material = "; ".join(said(text, point) for point in points)
    return [*before[:-1], replace(last, material=material)]


def _in_a_row(points: Sequence[Sequence[Token]]) -> list[Token]:
    """The points with a comma between them."""
    row: list[Token] = []
    for point in points:
        if row:
            row.append(Token(",", "comma", row[-1].end, row[-1].end))
        row += point
    return row


def _up_to_verb(lead: Sequence[Token], last: Clause) -> list[Token]:
    return list(lead[: len(lead) - len(last.tokens)])


def _announces_topics(tokens: Sequence[Token]) -> bool:
    """``jokes about the following animals``: the points are what follows "about"."""
    at = next((place for place, token in enumerate(tokens) if token.low in ("these", "following")), None)
    return at is not None and any(token.low in PREPOSITIONS and token.low != "with" for token in tokens[:at])


def _without_announcement(lead: Sequence[Token]) -> list[Token]:
    at = next((place for place, token in enumerate(lead) if token.low in ("these", "following")), None)
    if at is None or lead[-1].low in PREPOSITIONS:
        return list(lead)
    return list(lead[: at - (lead[at - 1].low == "the")])

"""From a task to its clauses: sentences as they are, and what the points of a marked list ask for. Pure.

Rules of this module:
- A point that begins with a verb is a clause; so is every other point of its list. They are in no order but the one
  that their words ask for ("it", "then"), unless their marks say "step".
- Where no point has a verb, the words before the list have it: ``Write jokes about: - cats - dogs`` is ``jokes about
  cats, dogs``; ``Translate to French: - good morning - good night`` is one piece of work for each point.
- What is made with a list in it (``an article with these sections: …``) is one thing, and the list says how.
- Words before the list that ask for nothing ("do the following") are passed over; others are told to every point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.planner.marks import Points, points_of
from harness.planner.sentences import Clause, Link, begins_clause, clauses_in, sentence_clauses, skipped
from harness.planner.vocabulary import AMBIGUOUS, ITEMWISE, LEAD_WORDS, PREPOSITIONS, REMARKS, VERBS
from harness.planner.word_lists import Token, said, tokens_of


def clauses_of(text: str) -> list[Clause]:
    """The clauses of a task, in order."""
    tokens = tokens_of(text)
    found = points_of(text, tokens)
    return sentence_clauses(text, tokens) if found is None else _clauses_of_points(text, tokens, found)


def _clauses_of_points(text: str, tokens: Sequence[Token], found: Points) -> list[Clause]:
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
        told = Clause("", None, tuple(lead), "stop", said(text, lead))
        return [clause for one in _each_its_own(text, found) for clause in (one, told)]
    return _given_to(text, before, lead, found)


def _each_its_own(text: str, found: Points) -> list[Clause]:
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


def _given_to(text: str, before: list[Clause], lead: Sequence[Token], found: Points) -> list[Clause]:
    """The points handed to the verb that stands before them."""
    last, points = before[-1], found.points
    begins = {point[0].low for point in points}
    if not last.tokens or all(token.low in LEAD_WORDS for token in last.tokens):
        if last.kind == "write":
            return clauses_in(text, [*_up_to_verb(lead, last), *_in_a_row(points)])
    elif lead[-1].low in PREPOSITIONS or (last.kind == "write" and _announces_topics(last.tokens)):
        return clauses_in(text, [*_without_announcement(lead), *_in_a_row(points)])
    elif last.kind == "write" and len(begins) == 1 and begins <= PREPOSITIONS:
        return clauses_in(text, [*lead, points[0][0], *_in_a_row([point[1:] or point for point in points])])
    elif last.kind == "write" and begins == {"one"}:
        colon = Token(":", "other", lead[-1].end, lead[-1].end)
        return clauses_in(text, [*lead, colon, *_in_a_row(points)])
    if any(point[0].low in REMARKS for point in points):
        return [*before, *(Clause("", None, point, "stop", said(text, point)) for point in points)]
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
    """``jokes about the following animals``: the points are what stands behind "about"."""
    at = next((place for place, token in enumerate(tokens) if token.low in ("these", "following")), None)
    return at is not None and any(token.low in PREPOSITIONS and token.low != "with" for token in tokens[:at])


def _without_announcement(lead: Sequence[Token]) -> list[Token]:
    at = next((place for place, token in enumerate(lead) if token.low in ("these", "following")), None)
    if at is None or lead[-1].low in PREPOSITIONS:
        return list(lead)
    return list(lead[: at - (lead[at - 1].low == "the")])

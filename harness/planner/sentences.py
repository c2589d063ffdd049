"""A sentence taken apart into clauses that each begin with a verb. Pure.

Rules of this module:
- A comma or an "and" begins a clause only before a verb; else it goes on with a list.
- No text is wrong here: what is not understood stays words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from harness.planner.tokens import JOINING, Token, number_of, said
from harness.planner.vocabulary import (
    AMBIGUOUS,
    DETERMINERS,
    LANGUAGES,
    OBJECT_OPENERS,
    REMARKS,
    VAGUE_COUNTS,
    VERBS,
    VerbKind,
)

_SEQUENCE: Final = frozenset(["then", "afterwards", "subsequently", "finally", "lastly", "next", "thereafter"])
_OPENING: Final = (
    ("can", "you"), ("could", "you"), ("would", "you"), ("will", "you"), ("i", "want", "you", "to"),
    ("i'd", "like", "you", "to"), ("i", "would", "like", "you", "to"), ("i", "need", "you", "to"), ("help", "me", "to"),
    ("help", "me"), ("i", "want"), ("i", "need"), ("we", "need"), ("i'd", "like"), ("let's",), ("please",), ("kindly",),
    ("now",), ("also",), ("just",), ("first",), ("secondly",), ("second",), ("firstly",), ("third",), ("to",),
)  # fmt: skip

# "point": a point of a list that is marked as one.
Link = Literal["first", "and", "then", "stop", "point"]


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece that asks for something. ``link``: how it follows the one before; ``tokens``: without the verb.

    ``verb`` is empty where there is none; ``kind`` None represents a remark on the clause before. ``material``: the
    text to work on, where it follows a colon. ``is_implied``: the words have no verb, and "write" is taken for it.
    """

    verb: str
    kind: VerbKind | None
    tokens: tuple[Token, ...]
    link: Link
    text: str
    material: str = ""
    is_implied: bool = False


def sentence_clauses(text: str, tokens: Sequence[Token]) -> list[Clause]:
    """The clauses, in order. What follows "translate to French:" is material, and no clause."""
    colon = next((place for place, token in enumerate(tokens) if token.text == ":"), None)
    if colon is not None and colon + 1 < len(tokens):
        before = clauses_in(text, tokens[:colon])
        if before and before[-1].kind not in (None, "write"):
            material = " ".join(text[tokens[colon].end :].split())
            place = len(before) - 1
            while place and not before[place - 1].tokens and before[place - 1].verb:  # "proofread and translate: …"
                place -= 1
            return [*before[:place], replace(before[place], material=material), *before[place + 1 :]]
    return clauses_in(text, tokens)


def clauses_in(text: str, tokens: Sequence[Token], link: Link = "first") -> list[Clause]:
    """The clauses of words in which a colon means nothing. ``link``: how the first of them follows what was before."""
    clauses: list[Clause] = []
    begin, link = skipped(tokens, 0, link)
    place = begin
    while place < len(tokens):
        after, found = _connector(tokens, place)
        if after > place and (after >= len(tokens) or begins_clause(tokens, after, found)):
            clauses += _clause(text, tokens[begin:place], link)
            begin, link = skipped(tokens, after, found)
            place = begin
        else:
            place += 1
    return clauses + _clause(text, tokens[begin:], link)


def _connector(tokens: Sequence[Token], place: int) -> tuple[int, Link]:
    """The place behind what lies between two clauses, and what it is."""
    link: Link = "and"
    begin = place
    while place < len(tokens):
        token = tokens[place]
        if token.kind == "stop":
            link = "stop" if link == "and" else link
        elif token.low == "then" or (token.low in _SEQUENCE and place > begin):
            link = "then"
        elif [one.low for one in tokens[place : place + 2]] in (["after", "that"], ["after", "this"]):
            link = "then"
            place += 1
        elif token.kind != "comma" and token.low not in JOINING:
            break
        place += 1
    return place, link


def skipped(tokens: Sequence[Token], place: int, link: Link) -> tuple[int, Link]:
    """Past what opens a request without saying what is wanted."""
    changed = True
    while changed:
        changed = False
        after, found = _connector(tokens, place)
        if after > place:
            place, changed = after, True
            link = found if found == "then" and link != "first" else link
        for words in _OPENING:
            if tuple(token.low for token in tokens[place : place + len(words)]) == words:
                place, changed = place + len(words), True
        if place < len(tokens) and tokens[place].low in _SEQUENCE:
            place, changed = place + 1, True
            link = "then" if link != "first" else link
        elif place + 1 < len(tokens) and tokens[place].low.endswith("ly") and tokens[place + 1].low in VERBS:
            place, changed = place + 1, True
    return place, link


def begins_clause(tokens: Sequence[Token], place: int, link: Link) -> bool:
    """Whether what is at ``place``, behind a connector, is asked for in its own right."""
    if link in ("then", "stop"):
        return True
    place, _ = skipped(tokens, place, "and")
    if place >= len(tokens):
        return False
    low = tokens[place].low
    if low == "come" or low in REMARKS:
        return True
    if low not in VERBS:
        return False
    is_language = low in LANGUAGES and any(token.low in LANGUAGES for token in tokens[:place])  # "German and Polish"
    if low not in AMBIGUOUS and not is_language:
        return True
    following = tokens[place + 1] if place + 1 < len(tokens) else None
    return following is not None and (following.low in OBJECT_OPENERS or following.kind == "quoted")


def _clause(text: str, tokens: Sequence[Token], link: Link) -> list[Clause]:
    tokens = list(tokens)
    while tokens and tokens[-1].kind in ("stop", "comma", "other") and tokens[-1].text not in ("}", "]"):
        tokens.pop()
    if not tokens:
        return []
    words = said(text, tokens)
    first = tokens[0].low
    if [token.low for token in tokens[:3]] == ["come", "up", "with"]:
        return [Clause("write", "write", tuple(tokens[3:]), link, words)]
    if link not in ("first", "then") and (first in REMARKS or (first == "make" and _makes_a_remark(tokens))):
        return [Clause("", None, tuple(tokens), link, words)]
    if first in VERBS:
        rest = tokens[1:]
        if VERBS[first] == "write" and rest and rest[0].low in ("me", "us"):
            rest = rest[1:]
        return [Clause(first, VERBS[first], tuple(rest), link, words)]
    is_thing = first in DETERMINERS or first in VAGUE_COUNTS or number_of(first) is not None or first.isdecimal()
    if is_thing and link != "stop":
        return [Clause("write", "write", tuple(tokens), link, words, is_implied=True)]
    return [Clause("", None if link == "stop" else "other", tuple(tokens), link, words)]


def _makes_a_remark(tokens: Sequence[Token]) -> bool:
    """``make it funny``, ``make sure that …``: how something is to be."""
    return len(tokens) > 1 and tokens[1].low in ("it", "them", "this", "these", "each", "sure", "all")

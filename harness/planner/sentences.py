"""A task text taken apart: words, lists, and clauses that each begin with a verb. Pure.

Rules of this module:
- Every token knows its place in the text, so that what is said later is said in the task's own words.
- A comma or an "and" begins a clause only before a verb; else it goes on with a list.
- No text is wrong here: what is not understood stays words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from harness.planner.vocabulary import (
    AMBIGUOUS,
    DETERMINERS,
    NUMBERS,
    OBJECT_OPENERS,
    REMARKS,
    VAGUE_COUNTS,
    VERBS,
    VerbKind,
)

_TOKEN: Final = re.compile(
    r"""(?P<quoted>"[^"\n]*"|“[^”\n]*”|‘[^’\n]*’|«[^»\n]*»|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w))
    |(?P<address>https?://[^\s,;]+)
    |(?P<word>[\w$€£%@#~/]+(?:[.'’+&#/:-]+[\w%]+)*[+#]*)
    |(?P<stop>[.;!?\n]+)
    |(?P<comma>,|\(|\)|\bsowie\b)
    |(?P<other>\S)""",
    re.VERBOSE,
)
_SEQUENCE: Final = frozenset(["then", "afterwards", "subsequently", "finally", "lastly", "next", "thereafter"])
_JOINING: Final = frozenset({"and", "plus", "&"})
_OPENING: Final = (
    ("can", "you"), ("could", "you"), ("would", "you"), ("will", "you"), ("i", "want", "you", "to"),
    ("i'd", "like", "you", "to"), ("i", "would", "like", "you", "to"), ("i", "need", "you", "to"), ("help", "me", "to"),
    ("help", "me"), ("i", "want"), ("i", "need"), ("we", "need"), ("i'd", "like"), ("let's",), ("please",), ("kindly",),
    ("now",), ("also",), ("just",), ("first",), ("secondly",), ("second",), ("firstly",), ("third",), ("to",),
)  # fmt: skip

Link = Literal["first", "and", "then", "stop"]


class Token(NamedTuple):
    """A word or sign. ``kind``: quoted, address, word, stop, comma or other."""

    text: str
    kind: str
    start: int
    end: int

    @property
    def low(self) -> str:
        """As the tables spell it."""
        return self.text.lower().replace("’", "'")


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece that asks for something. ``link``: how it follows the one before; ``tokens``: without the verb.

    ``verb`` is empty where there is none; ``kind`` None stands for a remark on the clause before. ``material``: the
    text to work on, where it stands behind a colon.
    """

    verb: str
    kind: VerbKind | None
    tokens: tuple[Token, ...]
    link: Link
    text: str
    material: str = ""


def tokens_of(text: str) -> list[Token]:
    """The words and signs of a text."""
    return [Token(match.group(), match.lastgroup or "other", *match.span()) for match in _TOKEN.finditer(text)]


def clauses_of(text: str) -> list[Clause]:
    """The clauses of a task, in order. What follows "translate to French:" is material, and no clause."""
    tokens = tokens_of(text)
    colon = next((place for place, token in enumerate(tokens) if token.text == ":"), None)
    if colon is not None and colon + 1 < len(tokens):
        before = _clauses_in(text, tokens[:colon])
        if before and before[-1].kind not in (None, "write"):
            material = " ".join(text[tokens[colon].end :].split())
            return [*before[:-1], replace(before[-1], material=material)]
    return _clauses_in(text, tokens)


def _clauses_in(text: str, tokens: Sequence[Token]) -> list[Clause]:
    clauses: list[Clause] = []
    begin, link = _skip(tokens, 0, "first")
    place = begin
    while place < len(tokens):
        after, found = _connector(tokens, place)
        if after > place and (after >= len(tokens) or _begins_clause(tokens, after, found)):
            clauses += _clause(text, tokens[begin:place], link)
            begin, link = _skip(tokens, after, found)
            place = begin
        else:
            place += 1
    return clauses + _clause(text, tokens[begin:], link)


def said(text: str, tokens: Sequence[Token]) -> str:
    """What the tokens say, in the task's own words and in one line."""
    if not tokens:
        return ""
    return " ".join(text[tokens[0].start : tokens[-1].end].split())


def unquoted(token: Token) -> str:
    """The text of a token, without its quotation marks."""
    return token.text[1:-1].strip() if token.kind == "quoted" else token.text


def separator(tokens: Sequence[Token], place: int) -> int:
    """The place behind the comma, "and" or "as well as" that stands at ``place``; ``place`` itself if none does."""
    begin = place
    while place < len(tokens):
        low = tokens[place].low
        if tokens[place].kind == "comma" or low in _JOINING:
            place += 1
        elif [token.low for token in tokens[place : place + 3]] == ["as", "well", "as"]:
            place += 3
        elif low == "or" and place > begin:
            place += 1
        else:
            break
    return place


def listed(tokens: Sequence[Token]) -> list[list[Token]]:
    """The items of a list, with or without a comma before the "and"."""
    items: list[list[Token]] = [[]]
    place = 0
    while place < len(tokens):
        after = separator(tokens, place)
        if after > place:
            items.append([])
            place = after
        else:
            items[-1].append(tokens[place])
            place += 1
    return [item for item in items if item]


def _connector(tokens: Sequence[Token], place: int) -> tuple[int, Link]:
    """The place behind what stands between two clauses, and what it is."""
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
        elif token.kind != "comma" and token.low not in _JOINING:
            break
        place += 1
    return place, link


def _skip(tokens: Sequence[Token], place: int, link: Link) -> tuple[int, Link]:
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


def _begins_clause(tokens: Sequence[Token], place: int, link: Link) -> bool:
    if link in ("then", "stop"):
        return True
    place, _ = _skip(tokens, place, "and")
    if place >= len(tokens):
        return False
    low = tokens[place].low
    if low == "come" or low in REMARKS:
        return True
    if low not in VERBS:
        return False
    if low not in AMBIGUOUS:
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
    is_thing = first in DETERMINERS or first in NUMBERS or first in VAGUE_COUNTS or first.isdecimal()
    if is_thing and link != "stop":
        return [Clause("write", "write", tuple(tokens), link, words)]
    return [Clause("", None if link == "stop" else "other", tuple(tokens), link, words)]


def _makes_a_remark(tokens: Sequence[Token]) -> bool:
    """``make it funny``, ``make sure that …``: how something is to be."""
    return len(tokens) > 1 and tokens[1].low in ("it", "them", "this", "these", "each", "sure", "all")

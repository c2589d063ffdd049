"""Where a clause names the languages to translate to. Pure.

Rules of this module:
- The last "to" before a known language leads to them, else the last "to" that words follow which could be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.planner.counting import counted_at
from harness.planner.noun_phrases import knows_language, languages_in
from harness.planner.vocabulary import singular
from harness.planner.word_lists import Token

_TOWARDS: Final = ("to", "into", "in")
_ENDING: Final = ("for", "using", "with", "by", "from", "as")


def language_place(tokens: Sequence[Token]) -> int | None:
    """Where the "to" stands that leads to the languages."""
    places = [at for at, token in enumerate(tokens[:-1]) if token.low in _TOWARDS]
    known = [
        at
        for at in places
        if knows_language(tokens[at + 1 : at + 4]) or languages_counted(tokens[at + 1 :]) is not None
    ]
    if known:
        return known[-1]
    last = [at for at in places if tokens[at].low != "in" and languages_in(tokens[at + 1 :])]
    return last[-1] if last else None


def languages_counted(tokens: Sequence[Token]) -> int | None:
    """The number in ``three other languages``, or None."""
    count, place = counted_at(tokens, 0)
    rest = [token for token in tokens[place : place + 2] if token.low not in ("different", "other")]
    return count if rest and singular(rest[0].low) == "language" else None


def languages_listed(tokens: Sequence[Token]) -> tuple[list[str], list[Token]]:
    """The languages that stand here, and the words behind them."""
    end = next((at for at, token in enumerate(tokens) if at and token.low in _ENDING), len(tokens))
    return languages_in(tokens[:end]), list(tokens[end:])

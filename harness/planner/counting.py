"""Numbers in a sentence: how many things are meant (``3 jokes``), and which ones (``chapters 1 to 3``). Pure.

Rules of this module:
- A number before a noun counts; one behind it is a part of the name, and names one of several.
- ``chapter 1, chapter 2 and chapter 3``, ``chapters 1, 2 and 3`` and ``chapters 1 to 3`` are the same three names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from harness.planner.tokens import NUMBER_WORDS, Token, listed, number_of, range_of, said, separator
from harness.planner.vocabulary import DETERMINERS, DIFFERENT, PREPOSITIONS, VAGUE_COUNTS, singular

_VERSION: Final = re.compile(r"v?\d+(?:\.\d+)*")
_MOST_WORDS: Final = 4
_NEVER_NUMBERED: Final = PREPOSITIONS | DIFFERENT | DETERMINERS


class Numbered(NamedTuple):
    """Several things that a noun and their numbers name. ``end``: the place behind the last of them."""

    noun: str
    names: tuple[str, ...]
    end: int


def counted_at(tokens: Sequence[Token], place: int) -> tuple[int | None, int]:
    """The count that begins at ``place`` ("3", "five", "a couple of", "several"), and the place behind it."""
    begin = place
    if place + 1 < len(tokens) and tokens[place].low in ("a", "the") and tokens[place + 1].low in VAGUE_COUNTS:
        place += 1
    if place >= len(tokens):
        return None, begin
    low = tokens[place].low
    count = number_of(low)
    if count is None:
        count = VAGUE_COUNTS.get(low)
    elif place + 1 < len(tokens) and tokens[place + 1].low in ("dozen", "couple"):
        count, place = count * VAGUE_COUNTS[tokens[place + 1].low], place + 1
    if count is None:
        return None, begin
    place += 1
    if place < len(tokens) and tokens[place].low == "of":
        place += 1
    return count, place


def range_in(tokens: Sequence[Token]) -> str:
    """The words of a range that counts, if one is at the beginning: ``2 to 3``; else nothing."""
    place = 1 if tokens and tokens[0].low in DETERMINERS else 0
    word = tokens[place].low if place < len(tokens) else ""
    return tokens[place].text if range_of(word) is not None else ""


def numbered_at(tokens: Sequence[Token]) -> Numbered | None:
    """The things that a noun and several numbers name at the beginning, with nothing but a preposition behind them."""
    owner = tokens[0].text if tokens and tokens[0].low in DETERMINERS else ""
    phrase = _phrase_at(tokens, 1 if owner else 0)
    place = len(phrase) + (1 if owner else 0)
    numbers, place = _numbers_at(tokens, place, phrase)
    while numbers:
        after = separator(tokens, place)
        found, end = _numbers_at(tokens, _behind(tokens, after, phrase), phrase)
        if after == place or not found:
            break
        numbers, place = [*numbers, *found], end
    if len(set(numbers)) < 2 or (place < len(tokens) and tokens[place].low not in PREPOSITIONS):
        return None
    noun = phrase[-1]
    one = noun.text[: len(singular(noun.low))] if noun.low.startswith(singular(noun.low)) else singular(noun.low)
    words = [*([] if owner.lower() in ("", "the", "a", "an") else [owner]), *(token.text for token in phrase[:-1]), one]
    shown = " ".join(words)
    return Numbered(singular(noun.low), tuple(f"{shown} {number}" for number in dict.fromkeys(numbers)), place)


def numbered_names(text: str, tokens: Sequence[Token]) -> list[str]:
    """What each of several numbered things is called, with what is said of all: ``chapter 2 of the novel``. So are
    several texts in quotation marks.
    """
    items = listed(tokens)
    if len(items) > 1 and all(len(item) == 1 and item[0].kind == "quoted" for item in items):
        return [item[0].text for item in items]
    found = numbered_at(tokens)
    if found is None:
        return []
    tail = f" {said(text, tokens[found.end :])}" if tokens[found.end :] else ""
    return [f"{name}{tail}" for name in found.names]


def _phrase_at(tokens: Sequence[Token], begin: int) -> list[Token]:
    """The words before the first number, if they may be called by one: ``pull requests``."""
    phrase: list[Token] = []
    for token in tokens[begin : begin + _MOST_WORDS + 1]:
        if phrase and _numbers_of(token):
            return phrase if phrase[-1].text.isalpha() else []
        if token.kind != "word" or token.low in _NEVER_NUMBERED or number_of(token.low) is not None:
            break
        phrase.append(token)
    return []


def _behind(tokens: Sequence[Token], place: int, phrase: Sequence[Token]) -> int:
    """The place behind the phrase, or behind its noun alone, where it is said again."""
    for words in (phrase, phrase[-1:]):
        again = tokens[place : place + len(words)]
        if words and [singular(token.low) for token in again] == [singular(token.low) for token in words]:
            return place + len(words)
    return place


def _numbers_at(tokens: Sequence[Token], place: int, phrase: Sequence[Token]) -> tuple[list[str], int]:
    """The numbers at ``place``, and the place behind them: ``2``, ``2 to 4``."""
    found = _numbers_of(tokens[place]) if phrase and place < len(tokens) else []
    return found, place + bool(found)


def _numbers_of(token: Token) -> list[str]:
    """The numbers that a word names one by one: ``2``, ``2.1``, ``two``, ``2 to 4``."""
    if _VERSION.fullmatch(token.low) or token.low in NUMBER_WORDS:
        return [token.text]
    found = range_of(token.low)
    is_or = " or " in token.low
    return [] if found is None or is_or else [str(number) for number in range(found[0], found[1] + 1)]

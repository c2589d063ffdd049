"""What the rules say where a sentence may mean two things: which of them they took, and how to ask for the other. Pure.

Rules of this module:
- Only what changes the steps is said, and each of it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from executor.model.findings import Finding
from harness.planner.noun_phrases import NounPhrase
from harness.planner.tokens import JOINING, Token, is_pair, range_of

CODE: Final = "assumed-reading"
_SHOWN: Final = 60


def of_range(words: str, count: int | None) -> list[Finding]:
    """``2 to 3`` where a number is wanted."""
    if not words:
        return []
    lowest, highest = range_of(words.lower()) or (0, 0)
    why = ", the highest number in it" if lowest < highest else ""
    return [_hint(f'"{words}" is taken for {count}{why}', "for another number, write that one")]


def of_thing(thing: NounPhrase) -> list[Finding]:
    """What is assumed of one thing that is to be made."""
    if thing.range and not thing.is_spread:
        return of_range(thing.range, thing.count)
    if not thing.plural or thing.count not in (None, len(thing.topics)):
        return []
    if thing.is_spread and len(thing.topics) == 2 and not thing.each and _joined_by_and(thing.about):
        first, second = thing.topics
        said = f"{thing.preposition} {first} and {second}"
        return [
            _hint(
                f'"{said}" is taken for one {thing.name} {thing.preposition} each of the two',
                f'for one about both, write: "one {thing.name} {said}"',
            )
        ]
    return of_pairs(thing.about) if thing.preposition != "between" else []


def of_pairs(tokens: Sequence[Token]) -> list[Finding]:
    """Pairs that are taken for one thing where a list would make several."""
    pairs = [token.text for token in tokens if is_pair(token.low)]
    return [
        _hint(
            f'"{pair}" is taken for one thing', f'for two, write: "{pair.replace(" and ", ", ").replace(" & ", ", ")}"'
        )
        for pair in pairs
    ]


def of_items(verb: str, names: Sequence[str], tokens: Sequence[Token]) -> list[Finding]:
    """Two things that a verb is done to, one after the other or both at once."""
    if len(names) != 2 or not _joined_by_and(tokens):
        return []
    message = f'"{verb}" is taken for one step for each of the two: {_short(names)}'
    return [_hint(message, "for one step about both, put them into quotation marks")]


def of_numbered(names: Sequence[str]) -> list[Finding]:
    """``chapter 1, chapter 2 and chapter 3``: one step each."""
    message = f"each of these is a step of its own, which knows nothing of the others: {_short(names)}"
    return [_hint(message, 'where one needs the one before it, write "then" between them')]


def of_points(count: int) -> list[Finding]:
    """Points of a list that name nothing that was made before."""
    if not count:
        return []
    message = f"the list is taken for things to do in any order: {count} of its points wait for none before them"
    return [_hint(message, 'where one needs the one before it, write "it", "then", or "Step 1:", "Step 2:"')]


def _joined_by_and(tokens: Sequence[Token]) -> bool:
    joints = [token for token in tokens if token.low in JOINING or token.kind == "comma"]
    return len(joints) == 1 and joints[0].kind != "comma"


def _short(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _hint(message: str, fix: str) -> Finding:
    return Finding("hint", CODE, message, fix)

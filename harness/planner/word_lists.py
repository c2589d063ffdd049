"""A task text taken apart into words, and the lists that words stand in. Pure.

Rules of this module:
- Every token knows its place in the text, so that what is said later is said in the task's own words.
- Words that are one for :mod:`.phrases` are one token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from harness.planner.phrases import PAIR_PATTERN, RANGE_PATTERN

_TOKEN: Final = re.compile(
    rf"""(?P<quoted>"[^"\n]*"|“[^”\n]*”|‘[^’\n]*’|«[^»\n]*»|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w))
    |(?P<address>https?://[^\s,;]+)
    |(?P<pair>{PAIR_PATTERN})
    |(?P<range>{RANGE_PATTERN})
    |(?P<word>[\w$€£%@#~/]+(?:[.'’+&#/:-]+[\w%]+)*[+#]*)
    |(?P<stop>[.;!?\n]+)
    |(?P<comma>,|\(|\)|\bsowie\b)
    |(?P<other>\S)""",
    re.VERBOSE | re.IGNORECASE,
)
JOINING: Final = frozenset({"and", "plus", "&"})


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


def tokens_of(text: str) -> list[Token]:
    """The words and signs of a text."""
    return [_token(match) for match in _TOKEN.finditer(text)]


def _token(match: re.Match[str]) -> Token:
    kind = match.lastgroup or "other"
    if kind in ("pair", "range"):  # several words, read as one
        return Token(" ".join(match.group().split()), "word", *match.span())
    return Token(match.group(), kind, *match.span())


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
        if tokens[place].kind == "comma" or low in JOINING:
            place += 1
        elif [token.low for token in tokens[place : place + 3]] == ["as", "well", "as"]:
            place += 3
        elif low == "or" and place > begin:
            place += 1
        else:
            break
    return place


def listed(tokens: Sequence[Token]) -> list[list[Token]]:
    """The items of a list, with or without a comma before the "and". ``the difference between a and b`` is one item."""
    items: list[list[Token]] = [[]]
    place = 0
    while place < len(tokens):
        after = separator(tokens, place)
        if after == place:
            items[-1].append(tokens[place])
            place += 1
        elif after == place + 1 and tokens[place].low in JOINING and _opens_between(items[-1]):
            items[-1] += tokens[place:after]
            place = after
        else:
            items.append([])
            place = after
    items = [item for item in items if item]
    if len(items) == 2 and items[0][0].low == "both" and len(items[0]) > 1:
        items[0] = items[0][1:]
    return items


def _opens_between(item: Sequence[Token]) -> bool:
    """Whether a "between" still waits for its "and"."""
    between = max((place for place, token in enumerate(item) if token.low == "between"), default=-1)
    return 0 <= between < len(item) - 1 and not any(token.low in JOINING for token in item[between:])

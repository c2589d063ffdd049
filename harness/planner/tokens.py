"""A task text taken apart into words, and the lists that words stand in. Pure.

``fish and chips`` and ``2 to 3`` become one word each before lists are looked for, so that no "and" or "to" inside of
them is read as one of the sentence's own.

Rules of this module:
- Every token knows its place in the text, so that what is said later is said in the task's own words.
- A pair is in the table if it hardly ever means two things. A comma parts it: ``fish, and chips`` are two.
- Of a range the highest number counts. It has to rise, and to stay below a thousand: ``9 to 5`` and ``2023-2024`` count
  nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from harness.planner.vocabulary import NUMBERS

# The words before and behind the "and" of each pair.
_PAIRS_TEXT: Final = """
    fish+chips, salt+pepper, macaroni+cheese, mac+cheese, peanut butter+jelly, peanut butter+jam, bread+butter,
    ham+eggs, bacon+eggs, oil+vinegar, gin+tonic, rice+beans, beans+toast, bangers+mash, surf+turf, milk+cookies,
    sweet+sour, strawberries+cream, food+drink,
    supply+demand, research+development, trial+error, cause+effect, causes+effects, pros+cons, terms+conditions,
    advantages+disadvantages, strengths+weaknesses, dos+don'ts, do's+don'ts, questions+answers, question+answer,
    profit+loss, mergers+acquisitions, income+expenses, health+safety, wear+tear, give+take, ups+downs, nuts+bolts,
    odds+ends, bits+pieces, checks+balances, costs+benefits, risks+rewards, rights+duties, name+address,
    names+addresses, date+time, time+place, input+output, inputs+outputs, command+control, search+rescue,
    copy+paste, cut+paste, drag+drop, plug+play, point+click, divide+conquer, hide+seek, meet+greet, lost+found,
    tips+tricks, hints+tips, hit+run, room+board, bed+breakfast, track+field, arts+crafts, sales+marketing,
    rock+roll, rhythm+blues, drum+bass, country+western, black+white, good+evil, right+wrong, law+order, life+death,
    love+hate, war+peace, heaven+hell, crime+punishment, pride+prejudice, sense+sensibility, body+soul, heart+soul,
    flesh+blood, pen+paper, knife+fork, needle+thread, lock+key, bow+arrow, cat+mouse, chicken+egg, cloak+dagger,
    back+forth, peace+quiet, thunder+lightning, smoke+mirrors, ladies+gentlemen, husband+wife,
    adam+eve, romeo+juliet, hansel+gretel, tom+jerry, beauty+the beast, bonnie+clyde, simon+garfunkel, lewis+clark,
    dungeons+dragons, johnson+johnson, procter+gamble, marks+spencer, barnes+noble, ben+jerry's, dolce+gabbana,
    trinidad+tobago, bosnia+herzegovina, antigua+barbuda, saint kitts+nevis"""
PAIRS: Final = frozenset(
    (first, second)
    for pair in " ".join(_PAIRS_TEXT.split()).split(", ")
    for first, _, second in [pair.strip().partition("+")]
)
# Behind these words the second one is a verb: "write a question and answer it".
_OBJECTS: Final = ("it", "them", "this", "these", "those", "that")

NUMBER_WORDS: Final = {"one": 1, **NUMBERS}
# What comes before or behind a number and leaves it open.
_BOUNDS: Final = ("at least", "at most", "up to", "no more than", "not more than", "no fewer than", "no less than",
                  "around", "roughly", "approximately")  # fmt: skip
_OPEN_ENDS: Final = ("or more", "or so", "or fewer", "or less")
_COUNT_LIMIT: Final = 999


def _any_of(phrases: Iterable[str]) -> str:
    longest_first = sorted(phrases, key=len, reverse=True)
    return "|".join(r"\s+".join(map(_word, phrase.split())) for phrase in longest_first)


def _word(word: str) -> str:
    """As it is, with either apostrophe."""
    return re.escape(word).replace("'", "['’]")


_PAIR: Final = "|".join(
    rf"{_any_of([first])}\s+(?:and|&)\s+{_any_of([second])}" for first, second in sorted(PAIRS, reverse=True)
)
_NUMBER: Final = rf"(?:\d{{1,9}}|{_any_of(NUMBER_WORDS)})"
_RANGE: Final = rf"""(?:between\s+{_NUMBER}\s+and\s+{_NUMBER}
    |{_NUMBER}(?:\s+(?:to|or|through)\s+|[ \t]*[-–—][ \t]*){_NUMBER}
    |(?:{_any_of(_BOUNDS)})\s+{_NUMBER}
    |{_NUMBER}\s+(?:{_any_of(_OPEN_ENDS)})
    |\d{{1,9}}\+)"""
# Parts of the pattern that takes a text apart; to be compiled verbose and blind to case.
PAIR_PATTERN: Final = rf"(?<!\w)(?:{_PAIR})(?![\w'’]|\s+(?:{_any_of(_OBJECTS)})\b)"
RANGE_PATTERN: Final = rf"(?<![\w$€£./:\#-]){_RANGE}(?![\w%/]|[-–—.:,]\d)"
_IS_RANGE: Final = re.compile(_RANGE, re.VERBOSE | re.IGNORECASE)
_NUMBER_IN_RANGE: Final = re.compile(rf"\b{_NUMBER}\b", re.IGNORECASE)
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


def is_pair(word: str) -> bool:
    """Whether a word is one of the pairs."""
    first, joiner, second = word.lower().replace("’", "'").replace(" & ", " and ").partition(" and ")
    return bool(joiner) and (first, second) in PAIRS


def range_of(word: str) -> tuple[int, int] | None:
    """The lowest and the highest number that a range names (``up to 5`` names one); None where it counts nothing."""
    if _IS_RANGE.fullmatch(word) is None:
        return None
    numbers = [NUMBER_WORDS.get(found.lower()) or int(found) for found in _NUMBER_IN_RANGE.findall(word)]
    rises = len(numbers) == 1 or numbers[0] < numbers[-1]
    return (numbers[0], numbers[-1]) if rises and numbers[0] > 0 and numbers[-1] <= _COUNT_LIMIT else None


def number_of(word: str) -> int | None:
    """The number that a word is (of a range the highest one), or None; also for ``one``, which is mostly a pronoun."""
    if word.isascii() and word.isdecimal() and len(word) <= 9:
        return int(word) or None
    found = range_of(word) if word not in NUMBERS else None
    return found[1] if found is not None else NUMBERS.get(word)


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
    """The place behind the comma, "and" or "as well as" that is at ``place``; ``place`` itself if none does."""
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

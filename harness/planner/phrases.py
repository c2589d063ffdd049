"""Several words that are one: pairs that people say in one breath, and numbers that leave some room. Tables, patterns.

``fish and chips`` and ``2 to 3`` become one word each before lists are looked for, so that no "and" or "to" inside of
them is read as one of the sentence's own.

Rules of this module:
- A pair stands here if hardly anybody means two things by it. A comma parts it: ``fish, and chips`` are two.
- Of a range the highest number counts. It has to rise, and to stay below a thousand: ``9 to 5`` and ``2023-2024`` count
  nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

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
# What stands before or behind a number and leaves it open.
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

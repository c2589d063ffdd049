"""What a clause asks for: noun phrases with their number, their topics, and the lists they stand in. Pure.

``3 different jokes about cats, dogs, and birds`` is one thing, three times, with three topics; ``an article, a summary
and posts`` are three things.

Rules of this module:
- Behind "about" and its like a list goes on with topics, until an item names something that can be made (a summary).
- A number that says how long something is (``3 sentences``, ``a 500 word essay``) counts nothing.
- The last "to" before a known language leads to the languages, else the last "to" that words follow which could be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from harness.planner.counting import counted_at, numbered_at, numbered_names, range_in
from harness.planner.tokens import Token, is_pair, listed, number_of, range_of, said, separator
from harness.planner.vocabulary import (
    DETERMINERS,
    DIFFERENT,
    DISTRIBUTORS,
    LANGUAGES,
    NEVER_FIRST,
    NEVER_IN_A_NAME,
    NUMBERS,
    PLATFORMS,
    PREPOSITIONS,
    PRODUCTS,
    UNITS,
    VAGUE_COUNTS,
    is_plural,
    singular,
)

_PLATFORM_WORDS: Final = frozenset(name.lower() for name in PLATFORMS)
_TOWARDS: Final = ("to", "into", "in")
_ENDING: Final = ("for", "using", "with", "by", "from", "as")


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Something to make. ``noun`` is its head in the singular, ``name`` what one of it is called (``technical
    article``), ``count`` the stated number. ``topics`` are what each is about, ``about`` the words of that part, and
    ``tail`` what holds for all. ``each``: so many for every topic. ``range``: the words that leave the count open.
    ``is_name``: it is called so, and takes no article (``chapter 1``).
    """

    noun: str
    name: str
    determiner: str = ""
    count: int | None = None
    plural: bool = False
    preposition: str = ""
    topics: tuple[str, ...] = ()
    about: tuple[Token, ...] = ()
    languages: tuple[str, ...] = ()
    tail: str = ""
    each: bool = False
    range: str = ""
    is_name: bool = False

    @property
    def names_others(self) -> bool:
        """Whether its own words refer to what was made before: ``a report comparing them``."""
        return not {"it", "them"}.isdisjoint(self.name.lower().split())

    @property
    def is_sure(self) -> bool:
        """Whether its name reads like one: ``set it to music`` and ``neither a joke`` do not."""
        words = self.name.lower().split()
        words = words[: words.index("comparing")] if "comparing" in words else words
        first, *others = words or [""]
        return not ("at" in others or first in NEVER_FIRST or not NEVER_IN_A_NAME.isdisjoint(words))

    @property
    def thing_among_topics(self) -> str | None:
        """A topic that begins as a thing does, where the first one does not: ``the pros of tea, a verdict``."""
        firsts = [topic.split()[0].lower() for topic in self.topics] if self.is_spread else []
        own = [at for at, first in enumerate(firsts) if first in DETERMINERS and firsts[0] not in DETERMINERS]
        return self.topics[own[0]] if own else None

    @property
    def is_spread(self) -> bool:
        """Whether every topic gets a thing of its own."""
        if len(self.topics) < 2 or self.preposition == "between":
            return False
        lowest, highest = range_of(self.range.lower()) or (self.count or 0, self.count or 0)
        return self.each or (self.plural and self.count is None) or lowest <= len(self.topics) <= highest


@dataclass(slots=True)
class _Item:
    """The tokens of one noun phrase, and where its topic begins."""

    head: list[Token] = field(default_factory=list)
    rest: list[Token] = field(default_factory=list)
    # ``Twitter and LinkedIn posts``: one of each.
    is_one: bool = False


def noun_phrases_of(text: str, tokens: Sequence[Token]) -> list[NounPhrase]:
    """The things that a list of noun phrases names; none for no words."""
    numbered = numbered_at(tokens)
    if numbered is not None:
        rest = list(tokens[numbered.end :])
        things = [NounPhrase(numbered.noun, name, is_name=True) for name in numbered.names]
        return [_with_topic(text, thing, rest) if rest else thing for thing in things]
    items = _completed(_items(tokens))
    things = [thing for item in items if (thing := _thing(text, item)) is not None]
    return _with_shared_topic(things)


def languages_in(tokens: Sequence[Token]) -> list[str]:
    """The languages of a list that names nothing else (an unknown word counts if it is alone); else nothing."""
    found = []
    for item in listed(tokens):
        words = [
            token for token in item if token.low not in ("the", "language", "languages", "both", "also", "into", "to")
        ]
        if not words or len(words) > 2 or any(word.kind != "word" for word in words):
            return []
        found.append(" ".join(word.text[:1].upper() + word.text[1:] for word in words))
    return found


def names_of_items(text: str, items: Sequence[Sequence[Token]]) -> list[str]:
    """What each item of a list is called: ``the history of Rome, Athens`` names the history of both."""
    place = _preposition_at(items[0])
    own_words = any(_preposition_at(item) or item[0].low in (*DETERMINERS, *PREPOSITIONS) for item in items[1:])
    if place == 0 or own_words:
        return [said(text, item) for item in items]
    shared = said(text, items[0][: place + 1])
    return [said(text, items[0]), *(f"{shared} {said(text, item)}" for item in items[1:])]


def shares_words(first: Sequence[Token], item: Sequence[Token]) -> bool:
    """Whether an item may go on with words of the first one: ``recursion to a child, a student``, ``… and to him``."""
    if item[0].low in PREPOSITIONS:
        return True
    return item[0].low in DETERMINERS and _preposition_at(first) > 0 and not _preposition_at(item)


def knows_language(tokens: Sequence[Token]) -> bool:
    """Whether a language is among the words."""
    return any(token.low in LANGUAGES for token in tokens)


def _items(tokens: Sequence[Token]) -> list[_Item]:
    items = [_Item()]
    place = 0
    while place < len(tokens):
        item = items[-1]
        after = separator(tokens, place)
        if after > place:
            if not item.rest or _names_a_product(tokens, after):
                items.append(_Item())
            else:
                item.rest += tokens[place:after]
            place = after
        elif item.rest or (
            item.head and tokens[place].low in PREPOSITIONS and not _is_count_of(item.head, tokens[place])
        ):
            item.rest.append(tokens[place])
            place += 1
        else:
            item.head.append(tokens[place])
            place += 1
    return [item for item in items if item.head or item.rest]


def _is_count_of(head: Sequence[Token], token: Token) -> bool:
    """``a couple of``: that "of" begins no topic."""
    return token.low == "of" and (head[-1].low in VAGUE_COUNTS or head[-1].low in NUMBERS)


def _names_a_product(tokens: Sequence[Token], place: int) -> bool:
    """Whether the item that begins here has a known head: ``…, a short summary``."""
    end = place
    while end < len(tokens) and separator(tokens, end) == end and tokens[end].low not in PREPOSITIONS:
        end += 1
    return end > place and singular(tokens[end - 1].low) in PRODUCTS


def _completed(items: list[_Item]) -> list[_Item]:
    """``Twitter and LinkedIn posts`` share their head; ``a funny, short joke`` is one thing."""
    done: list[_Item] = []
    for item in reversed(items):
        following = done[-1] if done else None
        if following is None or item.rest or not item.head or not following.head or _is_known(item.head):
            done.append(item)
            continue
        first, head = item.head[0].low, following.head[-1]
        if following.head[0].low in DETERMINERS or not _is_known(following.head):
            done.append(item)
        elif first not in ("a", "an") and is_plural(head.low) and _is_name(item.head[-1]):
            following.is_one = True
            done.append(_Item([*item.head, head], is_one=True))
        elif counted_at(item.head, 0)[0] is None and not is_plural(item.head[-1].low):
            following.head = [*item.head, *following.head]
        else:
            done.append(item)
    return done[::-1]


def _is_known(head: Sequence[Token]) -> bool:
    return singular(head[-1].low) in PRODUCTS


def _is_name(token: Token) -> bool:
    return token.text[:1].isupper() or token.low in LANGUAGES or token.low in _PLATFORM_WORDS


def _thing(text: str, item: _Item) -> NounPhrase | None:
    head = list(item.head)
    count, place = counted_at(head, 0)
    determiner = ""
    if count is not None:
        head = head[place:]
        if head and (singular(head[-1].low) in UNITS or singular(head[0].low) in UNITS):
            head, count = list(item.head), None
    elif head and head[0].low in DETERMINERS:
        determiner = head.pop(0).low
        # "the 3 jokes", "my two favourite poems"; not "a 500 word essay", "my 3 page report"
        count, place = counted_at(head, 0)
        if count is not None and (determiner in ("a", "an") or singular(head[min(place, len(head) - 1)].low) in UNITS):
            count, place = None, 0
        head = head[place:]
    each = any(token.low in DISTRIBUTORS for token in (*head, *item.rest))
    head = [token for token in head if token.low not in DIFFERENT and token.low not in DISTRIBUTORS]
    if not head:
        return None
    is_numbered = len(head) > 1 and number_of(head[-1].low) is not None
    thing = NounPhrase(
        noun=singular(head[-2].low if is_numbered else _noun_before_participle(head).low),
        name=_name(text, head),
        determiner=determiner if count is None else "",
        count=count,
        plural=is_plural(head[-1].low) and not item.is_one,
        each=each,
        range=range_in(item.head) if count is not None else "",
        is_name=is_numbered or is_pair(head[-1].low),
    )
    rest = [token for token in item.rest if token.low not in DISTRIBUTORS]
    return _with_topic(text, thing, rest) if rest else thing


def _noun_before_participle(head: Sequence[Token]) -> Token:
    """``a report comparing them`` is a report."""
    last = head[-1]
    if len(head) > 2 and last.low in ("it", "them") and head[-2].low.endswith("ing"):
        return head[-3]
    return last


def _name(text: str, head: Sequence[Token]) -> str:
    """What one of the things is called."""
    last = head[-1]
    noun = singular(last.low) if is_plural(last.low) and last.text.islower() else last.text
    return f"{said(text, head[:-1])} {noun}".strip()


def _with_topic(text: str, thing: NounPhrase, rest: list[Token]) -> NounPhrase:
    languages, place = _languages_at_the_end(rest)
    rest = rest[:place]
    if not rest:
        return replace(thing, languages=tuple(languages))
    preposition, about = rest[0].text.lower(), rest[1:]
    if preposition == "based" and about and about[0].low in ("on", "upon"):
        preposition, about = "based on", about[1:]
    if about and about[0].low == "of":  # "for each of": the distributor is gone already
        about = about[1:]
    colon = next((at for at, token in enumerate(about) if token.text == ":"), None)
    if colon is not None and about[colon + 1 :]:  # "about these animals: cats, dogs"
        about = about[colon + 1 :]
    items = [item[1:] if item[0].low == preposition and len(item) > 1 else item for item in listed(about)]
    tail: list[Token] = []
    if len(items) > 1 and not any(_preposition_in(item) for item in items[:-1]):
        cut = _preposition_in(items[-1])
        items[-1], tail = (items[-1][:cut], items[-1][cut:]) if cut else (items[-1], [])
    return replace(
        thing,
        preposition=preposition,
        topics=tuple(numbered_names(text, about) or (said(text, item) for item in items)),
        about=tuple(about),
        languages=tuple(languages),
        tail=said(text, tail),
    )


def _languages_at_the_end(rest: Sequence[Token]) -> tuple[list[str], int]:
    """The languages in ``… in French and in German``, and where that part begins."""
    for place, token in enumerate(rest):
        following = [one for one in rest[place + 1 :] if one.low != "in"]
        if token.low == "in" and following and all(knows_language(item) for item in listed(following)):
            languages = languages_in(following)
            if languages:
                return languages, place
    return [], len(rest)


def _preposition_at(item: Sequence[Token]) -> int:
    """The place of the first preposition inside of an item, "of" included; 0 if there is none."""
    return next((at for at, token in enumerate(item) if at and token.low in PREPOSITIONS), 0)


def _preposition_in(item: Sequence[Token]) -> int:
    """The place of the first preposition inside of an item; 0 if there is none."""
    return next((at for at, token in enumerate(item) if at and token.low in PREPOSITIONS and token.low != "of"), 0)


def _with_shared_topic(things: list[NounPhrase]) -> list[NounPhrase]:
    """``a poem and a song about rain`` are both about rain."""
    if len(things) < 2 or not things[-1].topics or any(thing.topics for thing in things[:-1]):
        return things
    last = things[-1]
    if last.about[0].low in ("it", "them"):  # "a poem and a title for it"
        return things
    if last.preposition not in ("about", "on", "regarding", "concerning", "for", "covering"):
        return things
    shared = [
        replace(thing, preposition=last.preposition, topics=last.topics, about=last.about, tail=last.tail)
        for thing in things[:-1]
    ]
    return [*shared, last]


def language_place(tokens: Sequence[Token]) -> int | None:
    """Where the "to" is that leads to the languages."""
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
    """The languages here, and the words behind them."""
    end = next((at for at, token in enumerate(tokens) if at and token.low in _ENDING), len(tokens))
    return languages_in(tokens[:end]), list(tokens[end:])

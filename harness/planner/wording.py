"""The words for one thing that is to be made: of its step's description, and of its prompt. Pure.

Rules of this module:
- Descriptions are those that a person would give (``Write joke about cats``); a prompt is a whole request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.planner.draft import STEPS_LIMIT, TooManyStepsError
from harness.planner.noun_phrases import NounPhrase
from harness.planner.pronouns import Product, Reference
from harness.planner.sentences import Clause
from harness.planner.tokens import JOINING, Token, said, tokens_of, unquoted
from harness.planner.vocabulary import (
    ANYTHING,
    DERIVED,
    DETERMINERS,
    DISTRIBUTORS,
    PLATFORMS,
    PRODUCTS,
    PRONOUNS_PLURAL,
    PRONOUNS_SINGULAR,
    singular,
)

_PRONOUNS: Final = PRONOUNS_SINGULAR | PRONOUNS_PLURAL
_DEFINITE: Final = DISTRIBUTORS | _PRONOUNS | (DETERMINERS - {"a", "an", "some", "one"}) | {"of"}
_TEXTS: Final = PRODUCTS | ANYTHING | {"sentence", "paragraph", "page", "line", "verse", "stanza", "note"}
# Behind one of these the name of a text is over: "the article, the review", "the paragraph so that it is short".
_GOES_ON: Final = JOINING | frozenset([",", ";", "so", "to", "into", "in", "for", "until", "with", "without", "by"])
_AN = re.compile(r"[aeiou8]|(?:11|18)(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to make: the words of its description and of its prompt."""

    description: str
    words: str
    label: str


def works_of(task: str, verb: str, thing: NounPhrase, source_noun: str) -> list[Work]:
    """Every one of the things that are to be made."""
    verb = verb.capitalize()
    is_bare = thing.is_name or (thing.plural and thing.count is None)
    article = thing.determiner or ("" if is_bare else _article(thing.name))
    tail = f" {thing.tail}" if thing.tail else ""
    names = _platform_names(thing)
    if names:
        return [
            Work(f"{verb} {_article(name)} {name}", _ask(verb, name, thing, source_noun, tail), name) for name in names
        ]
    topics = list(thing.topics) if thing.is_spread else [_whole_topic(thing, task)]
    count = 1 if thing.is_spread and not thing.each else thing.count or 1
    if count * len(topics) * max(1, len(thing.languages)) > STEPS_LIMIT:
        raise TooManyStepsError
    works = []
    for topic in topics:
        for language in thing.languages or ("",):
            about = f" {thing.preposition} {topic}" if topic and not source_noun else ""
            inside = f" in {language}" if language else ""
            several = count > 1 or len(topics) > 1 or len(thing.languages) > 1
            for number in range(1, count + 1):
                numbered = f" {number}" if count > 1 else ""
                name = thing.name if several or not thing.plural else _plural_name(thing)
                shown = f"{name}{numbered}{about}{inside}{tail}"
                description = f"{verb} {shown}" if several else f"{verb} {article} {shown}".replace("  ", " ")
                one = _ask(verb, name, thing, source_noun, f"{about}{inside}{tail}")
                if count > 1:
                    one += f". This is number {number} of {count}: make it unlike the others"
                works.append(Work(description, one, f"{name}{numbered}{about}{inside}"))
    return works


def without_shared_topic(thing: NounPhrase, earlier: list[Product]) -> NounPhrase:
    """A thing made from another one of the list has that one for its topic, not the topic that they share."""
    if thing.about and thing.about[0].low in ("it", "them"):
        return thing
    if thing.noun in DERIVED and thing.about and any(product.noun not in DERIVED for product in earlier):
        on_its_own = thing.preposition not in ("about", "on", "regarding", "concerning", "for", "covering")
        return thing if on_its_own else replace(thing, preposition="", topics=(), about=())
    return thing


def words_of(thing: NounPhrase) -> list[Token]:
    return [*tokens_of(thing.name), *thing.about]


def _platform_names(thing: NounPhrase) -> list[str]:
    """``social media posts`` mean one on each of the usual platforms."""
    low = thing.name.lower()
    if not thing.plural or thing.noun != "post" or "social" not in low or thing.is_spread:
        return []
    count = 2 if thing.count is None else thing.count
    names = [f"{platform} post" for platform in PLATFORMS[:count]]
    return names + [f"{thing.name} {number}" for number in range(len(names) + 1, count + 1)]


def _plural_name(thing: NounPhrase) -> str:
    head, _, noun = thing.name.rpartition(" ")
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{head} {plural}".strip()


def _whole_topic(thing: NounPhrase, task: str) -> str:
    return said(task, thing.about[: len(thing.about)]) if thing.about else ""


def _article(name: str) -> str:
    return "an" if _AN.match(name) else "a"


def _ask(verb: str, name: str, thing: NounPhrase, source_noun: str, rest: str) -> str:
    """The words of a prompt for one thing."""
    plural = thing.plural and thing.count is None and not thing.is_spread and not _platform_names(thing)
    what = name if plural or thing.is_name else f"{_article(name)} {name}"
    if thing.determiner not in ("", "a", "an"):
        what = f"{thing.determiner} {name}" if thing.determiner not in ("its", "their", "one") else what
    if not source_noun:
        return f"{verb} {what}{rest}"
    if thing.noun == "summary":
        return f"{verb} {what} of this {source_noun}{rest}"
    return f"{verb} {what}{rest} on this {source_noun}"


def asked_of(clause: Clause, task: str, reference: Reference) -> str:
    """What a clause asks of the outputs below it."""
    if not reference.each or reference.end == reference.begin:
        return capital(clause.text)
    before, after = clause.tokens[: reference.begin], clause.tokens[reference.end :]
    words = [clause.verb, said(task, before), f"this {reference.noun}".strip(), said(task, after)]
    return capital(" ".join(word for word in words if word))


def whole_of(clause: Clause) -> str:
    """All that a clause says, with the text that it works on."""
    return capital(f"{clause.text}: {clause.material}" if clause.material else clause.text)


def literal_in(task: str, tokens: Sequence[Token]) -> str:
    """The text itself that a clause works on, if it holds some: ``'good morning'``, ``the attached letter``."""
    if not tokens or tokens[0].low in ("to", "into", "in", "for", "with", "as", "from", "by", "on", "at"):
        return ""
    quoted = [token for token in tokens if token.kind == "quoted"]
    return unquoted(quoted[0]) if len(quoted) == 1 else said(task, tokens)


def lacks_text(tokens: Sequence[Token]) -> bool:
    """Whether words mean a text and are none: ``the article``, ``my essay``, ``them``, nothing at all."""
    if not tokens or any(token.kind in ("quoted", "address") for token in tokens):
        return not tokens
    if tokens[0].low in _PRONOUNS and len(tokens) == 1:
        return True
    begin = definite_words(tokens)
    nouns = [at for at in range(begin, len(tokens)) if singular(tokens[at].low) in _TEXTS][:1] if begin else []
    return any(at + 1 == len(tokens) or tokens[at + 1].low in _GOES_ON for at in nouns)


def definite_words(tokens: Sequence[Token]) -> int:
    """How many words at the beginning say that what follows is known: ``the``, ``each of the``."""
    return next((at for at, token in enumerate(tokens) if token.low not in _DEFINITE), len(tokens))


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]

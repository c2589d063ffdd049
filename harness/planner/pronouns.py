"""What words such as "it", "them" and "the summary" mean: which steps of the plan so far. Pure.

Rules of this module:
- "it" is the one thing made last; of a text in several languages or formats, the text itself.
- "them" is all that the clause before made; if that is one thing, all that was made and that nothing was made from;
  if that is one thing too, it and what it was made from.
- "the jokes" are the latest jokes; "the comparison" is what the latest "compare" made.
- Where nothing is found the answer is None: the caller decides whether that is worth a remark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.planner.tokens import Token, number_of
from harness.planner.vocabulary import (
    ANYTHING,
    DETERMINERS,
    DISTRIBUTORS,
    PREPOSITIONS,
    PRONOUNS_PLURAL,
    PRONOUNS_SINGULAR,
    is_plural,
    singular,
)

# How nouns end that are made from verbs, and how many letters of the verb they keep.
_DEED_ENDINGS: Final = ("ion", "ison", "ysis", "ing", "al")
_STEM: Final = 5


@dataclass(frozen=True, slots=True)
class Product:
    """What some steps made. ``spread_from``: they are one thing in several languages or formats, made from these.

    ``name``: what it is called, where it has a number for a name (``chapter 2``). ``plural``: one step made several.
    """

    noun: str
    steps: tuple[int, ...]
    spread_from: tuple[int, ...] = ()
    name: str = ""
    plural: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """Steps that a word means. ``words`` is how many words; ``noun`` what the steps made, if it was named."""

    steps: tuple[int, ...]
    begin: int
    end: int
    each: bool = False
    noun: str = ""


class Scope:
    """The products of each clause so far."""

    def __init__(self) -> None:
        self.clauses: list[list[Product]] = []
        self._verbs: list[str] = []
        self._used: set[int] = set()
        self._sources: set[int] = set()
        # What "each" was said of, and no step made.
        self.unknown: list[str] = []

    def add(self, products: list[Product], used: Iterable[int], verb: str = "") -> None:
        """What a clause made, the steps that it was made from, and how."""
        self.clauses.append(products)
        self._verbs.append(verb)
        self._sources = set(used)
        self._used |= self._sources

    def __bool__(self) -> bool:
        return bool(self.clauses)

    def last_steps(self) -> tuple[int, ...]:
        """All steps of the clause before."""
        return tuple(step for product in self.clauses[-1] for step in product.steps) if self.clauses else ()

    def several(self) -> tuple[int, ...]:
        """What "them" means: see the head of this module."""
        last = self.last_steps()
        if len(last) != 1 or self.clauses[-1][0].plural:
            return last
        made = [step for products in self.clauses for product in products for step in product.steps]
        unused = tuple(step for step in made if step not in self._used)
        return unused if len(unused) > 1 else (*sorted(self._sources), *last)

    def is_plural(self, steps: tuple[int, ...]) -> bool:
        """Whether what these steps made is several things in one text."""
        return any(
            product.plural and set(steps) <= set(product.steps) for products in self.clauses for product in products
        )

    def one(self) -> tuple[int, ...]:
        """What "it" means: see the head of this module."""
        if not self.clauses:
            return ()
        product = self.clauses[-1][0]
        return product.spread_from or product.steps

    def named(self, noun: str) -> Product | None:
        """The latest product of that noun."""
        for products, verb in zip(reversed(self.clauses), reversed(self._verbs), strict=True):
            for product in reversed(products):
                if product.noun == noun or _is_deed(noun, verb):
                    return product
        return None

    def _made(self, noun: str, *, all_of_them: bool) -> tuple[int, ...]:
        """The steps of the latest product of that noun; or of all those that its clause made."""
        latest = self.named(noun)
        if latest is None or not all_of_them:
            return latest.steps if latest is not None else ()
        products = next(products for products in reversed(self.clauses) if latest in products)
        return tuple(step for product in products if product.noun == latest.noun for step in product.steps)

    def find(self, tokens: Sequence[Token]) -> Reference | None:
        """The first reference among the words."""
        if not self.clauses:
            return None
        for place in range(len(tokens)):
            found = self._at(tokens, place)
            if found is not None:
                return found
        if any(token.low in ("its", "their") for token in tokens):  # "count its syllables"
            return Reference(self.one(), 0, 0)
        return None

    def _at(self, tokens: Sequence[Token], place: int) -> Reference | None:
        low = tokens[place].low
        if tokens[place].kind == "quoted":
            return None
        if low in DISTRIBUTORS:
            return self._each(tokens, place)
        named = self._numbered_at(tokens, place) or self._named_at(tokens, place)
        if named is not None:
            return named
        if low in PRONOUNS_SINGULAR and _stands_alone(tokens, place):
            return Reference(self.one(), place, place + 1)
        if low in PRONOUNS_PLURAL and _stands_alone(tokens, place):
            end = place + 1
            while end < len(tokens) and tokens[end].low in ("of", "them", "these", "those"):
                end += 1
            return Reference(self.several(), place, end)
        return None

    def _each(self, tokens: Sequence[Token], place: int) -> Reference:
        end = place + 1
        while end < len(tokens) and tokens[end].low in ("of", "the", "them", "these", "those", "one"):
            end += 1
        noun = singular(tokens[end].low) if end < len(tokens) else ""
        product = self.named(noun)
        if product is not None:
            return Reference(product.steps, place, end + 1, each=True, noun=noun)
        is_unknown = noun and end == place + 1 and noun not in ANYTHING
        if is_unknown or len(self.last_steps()) == 1:
            words = tokens[place : end + 1 if is_unknown else end]
            self.unknown.append(" ".join(token.text for token in words))
        return Reference(self.last_steps(), place, end, each=True)

    def _numbered_at(self, tokens: Sequence[Token], place: int) -> Reference | None:
        """``chapter 2`` that was made under that name; ``joke 2`` of three jokes."""
        number = number_of(tokens[place + 1].low) if place + 1 < len(tokens) else None
        noun = tokens[place].low
        if number is None:
            return None
        for product in (product for products in reversed(self.clauses) for product in products):
            counted = not product.name and product.noun == noun and 1 < len(product.steps) >= number
            if product.name == f"{noun} {number}":
                return Reference(product.steps, place, place + 2, noun=product.name)
            if counted:
                return Reference((product.steps[number - 1],), place, place + 2, noun=f"{noun} {number}")
        return None

    def _named_at(self, tokens: Sequence[Token], place: int) -> Reference | None:
        """``the summary``, ``both jokes``, ``all the results``, ``the short poem``."""
        end = place
        while end < len(tokens) and (tokens[end].low in DETERMINERS or tokens[end].low in ("both", "all", "of")):
            end += 1
        if end == place:
            return None
        for at in range(end, min(end + 3, len(tokens))):
            token = tokens[at]
            if token.kind != "word" or token.low in PREPOSITIONS:
                return None
            noun = singular(token.low)
            steps = self._made(noun, all_of_them=is_plural(token.low))
            if steps:
                return Reference(steps, place, at + 1, noun=noun)
            if noun == "original":
                return Reference(self.clauses[0][0].steps, place, at + 1)
            if noun == "one" and at > end:  # "the best one"
                return Reference(self.last_steps(), place, at + 1)
            if noun in ANYTHING:
                return Reference(self.several() if is_plural(token.low) else self.one(), place, at + 1)
        return None


def _is_deed(noun: str, verb: str) -> bool:
    """``comparison`` of ``compare``, ``ranking`` of ``rank``; ``review`` of ``review``."""
    stem = verb.removesuffix("e")
    alike = noun.startswith(stem) if len(stem) < _STEM else noun[:_STEM] == verb[:_STEM]
    return bool(verb) and alike and noun.endswith((verb, *_DEED_ENDINGS))


def _stands_alone(tokens: Sequence[Token], place: int) -> bool:
    """A pronoun, not the determiner of a noun that follows."""
    if tokens[place].low in ("it", "them", "everything") or place + 1 >= len(tokens):
        return True
    following = tokens[place + 1]
    return following.kind != "word" or following.low in PREPOSITIONS

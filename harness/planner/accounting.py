"""Whether the rules understood a sentence: every word of it is in a step, or is named as not understood. Pure.

Rules of this module:
- A word that says something (no article, no connective, no opening) has to stand in what a step is asked.
- What the rules have no grammar for (conditions, negations, an order said backwards, loops, lists to send something to)
  is named although its words stand in a step: they would be asked of a model as text, and change no step.
- It never changes a plan. Who wants such a sentence planned asks a model, or says it in the words that the rules know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from executor.model.findings import Finding
from harness.planner.draft import Draft, DraftStep
from harness.planner.vocabulary import LANGUAGES, VERBS, singular

CODE: Final = "not-understood"
_SHOWN: Final = 5
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
# Quotations, addresses and files, and what introduces a marked list.
_NO_WORDS: Final = re.compile(r"“[^”]*”|\"[^\"]*\"|«[^»]*»|\S*\w[./@]\w\S*|\bfollowing [\w ]*:")
# Words that say how things hang together, or that something is wanted: the steps themselves say so.
_SMALL: Final = frozenset({
    "a", "about", "above", "additionally", "after", "afterwards", "again", "all", "also", "an", "and", "any",
    "are", "as", "at", "be", "below", "best", "between", "both", "bunch", "but", "by", "can", "come", "could",
    "couple", "different", "do", "dozen", "each", "end", "every", "few", "final", "finally", "find", "first",
    "firstly", "following", "for", "from", "get", "give", "good", "had", "half", "has", "have", "help", "her",
    "here", "him", "his", "i", "i'd", "i'll", "i'm", "in", "into", "is", "it", "item", "items", "its", "just",
    "kindly", "language", "languages", "last", "lastly", "let", "let's", "like", "list", "make", "many", "me",
    "media", "more", "most", "much", "my", "need", "next", "now", "number", "of", "ok", "okay", "on", "once",
    "one", "ones", "or", "other", "our", "out", "over", "own", "pair", "pick", "please", "produce", "provide",
    "put", "second", "secondly", "set", "several", "should", "so", "social", "some", "something", "step", "steps",
    "subject", "subjects", "subsequently", "such", "suggest", "take", "text", "texts", "than", "thanks", "that",
    "the", "their", "them", "then", "there", "thereafter", "these", "they", "thing", "things", "third", "thirdly",
    "this", "those", "to", "too", "topic", "topics", "translation", "translations", "up", "us", "using", "usual",
    "various", "very", "want", "was", "we", "will", "with", "would", "you", "your",
})  # fmt: skip
_NUMBERS: Final = frozenset({
    "eight", "eleven", "five", "four", "hundred", "least", "most", "nine", "one", "seven", "six", "ten",
    "thousand", "three", "twelve", "twenty", "two",
})  # fmt: skip

# What the rules have no grammar for, as it is found in a sentence, and what is said of it.
_BEYOND: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (r"\b(?:but )?(?:don['’]?t|do not|never|not to|no need to)\s+(?:\w+ly\s+)?\w+(?: \w+)?", "a negation"),
        (r"\b(?:except|instead of|rather than|other than|apart from)\b(?: \w+){1,3}", "an exception"),
        (
            r"\b(?:only )?(?:if|unless|provided that|in case|depending on|otherwise|or else)\b(?: \w+){0,4}",
            "a condition",
        ),
        (r"\bwhen(?:ever)? (?:it|they|the|that|you|there|this|done|ready|finished)\b(?: \w+){0,3}", "a condition"),
        (
            r"\b(?:before|once|while|after(?! that| this)) (?:that|this|you|it|they|\w+ing)\b(?: \w+){0,3}",
            "an order that is said the other way round",
        ),
        (r"\b(?:beforehand|but first|prior to|in the meantime|meanwhile)\b(?: \w+){0,3}", "an order"),
        (r"\b(?:until|as long as|repeat\w*|over and over|keep (?:\w+ing|doing))\b(?: \w+){0,4}", "a repetition"),
        (r"\b(?:as soon as|as often as|as many|as much as|once (?!upon)\w+ \w+)\b(?: \w+){0,3}", "a condition"),
        (r"\b(?:per \w+|twice|thrice|\w+ times|alternat\w+|again)\b(?: \w+){0,3}", "a repetition"),
        (
            r"\b(?:skipping|excluding|ignoring|leaving out|only (?:the|those|send|use|take))\b(?: \w+){0,3}",
            "an exception",
        ),
        (r"\b(?:whatever|whoever|wherever|the same)\b(?: \w+){0,3}", "a reference"),
        (r"\blast(?=\s*(?:$|[,.;]))", "an order"),
        (r"\bto each of (?:my|our|your|the|these|those)\b(?: \w+){0,2}", "what is to be done for each"),
        (r"\bfor (?:each|every|all)\b(?: of)?(?: \w+){1,3}", "what is to be done for each"),
        (r"\b(?:respectively|vice versa|the other way round|the same (?:for|with|to))\b", "a reference to the order"),
        (r"\b(?:former|latter|previous one|other one|whichever|the one (?:that|which|with))\b", "a reference"),
    )
)
_TO_SEVERAL: Final = re.compile(
    r"(?:^|\band |\bthen |[,.;:] ?)(?:post|send|e?mail|upload|publish|submit|share|forward|deploy|deliver) "
    r"(?:it|them|this|that|these|the [\w ]+?|a [\w ]+?|an [\w ]+?) (?:to|on|in|at|with|via)\b "
    r"(?P<list>[\w ]+(?:, [\w ]+)* (?:and|&) [\w ]+)",
    re.IGNORECASE,
)
_BACKWARDS: Final = re.compile(
    r"\b(?:both|these|those|them|they|either|neither|each one|all of (?:it|them)|the (?:two|three|four|results?|"
    r"versions?|drafts?|winners?|rest|output))\b(?: \w+)?",
    re.IGNORECASE,
)
_WHOLES: Final = re.compile(r"\b(?:outline|table of contents|structure|agenda|skeleton)\b", re.IGNORECASE)
_PARTS: Final = re.compile(r"\b(?:sections?|chapters?|parts?|points?|paragraphs?)\b", re.IGNORECASE)


def not_understood(task: str, draft: Draft) -> list[Finding]:
    """A warning for each part of the task that no step accounts for."""
    plain = task
    if any(step.prompt is not None and _is_material(task, step) for step in draft.steps):
        # Behind the colon is the text to work on, whatever it says.
        plain = task.partition(":")[0]
    plain = _NO_WORDS.sub(" ", plain)
    found = [*_beyond(plain), *_without_sources(draft), *_unordered_parts(draft)]
    lost = _lost_words(plain, draft)
    if lost:
        shown = ", ".join(repr(word) for word in lost[:_SHOWN])
        found.append((shown, "no step says this"))
    fix = "say it as steps of their own, use --planner llm, or write a scenario file"
    return [
        Finding("warning", CODE, f"not understood: {words} ({why}): the plan takes no account of it", fix)
        for words, why in dict(found).items()
    ]


def _is_material(task: str, step: DraftStep) -> bool:
    _, colon, behind = task.partition(":")
    return bool(colon) and bool(behind.strip()) and " ".join(behind.split())[:40] in (step.prompt or "")


def _beyond(plain: str) -> Iterator[tuple[str, str]]:
    for pattern, what in _BEYOND:
        for match in pattern.finditer(plain):
            yield repr(" ".join(match.group().split())), what
    for match in _TO_SEVERAL.finditer(plain):
        yield repr(" ".join(match.group("list").split())), "whether that is one step or several"


def _without_sources(draft: Draft) -> Iterator[tuple[str, str]]:
    """Steps that speak of what was made before, and get nothing of it."""
    for step in draft.steps:
        match = None if step.depends_on or step.prompt is None else _BACKWARDS.search(step.description)
        if match is not None and ":" not in (step.prompt or ""):
            yield repr(match.group()), f"what {step.description!r} speaks of"


def _unordered_parts(draft: Draft) -> Iterator[tuple[str, str]]:
    """Parts of what is only being laid out: they have to wait for it."""
    wholes = {place for place, step in enumerate(draft.steps) if _WHOLES.search(step.description)}
    for place, step in enumerate(draft.steps):
        match = _PARTS.search(step.description)
        if match is not None and place not in wholes and wholes and not wholes & _before(draft.steps, place):
            yield repr(match.group()), f"that {step.description!r} waits for the outline"


def _before(steps: Sequence[DraftStep], place: int) -> set[int]:
    found: set[int] = set()
    open_ones = list(steps[place].depends_on)
    while open_ones:
        one = open_ones.pop()
        if one not in found:
            found.add(one)
            open_ones += steps[one].depends_on
    return found


def _lost_words(plain: str, draft: Draft) -> list[str]:
    said = {
        _root(word)
        for step in draft.steps
        for text in (step.description, step.prompt or "", " ".join(map(str, (step.args or {}).values())), step.label)
        for word in _WORD.findall(text.lower())
    }
    lost = [
        word for word in _WORD.findall(plain)
        if not _goes_without_saying(word.lower()) and _root(word.lower()) not in said
    ]  # fmt: skip
    return list(dict.fromkeys(lost))


def _goes_without_saying(word: str) -> bool:
    small = word in _SMALL or word in _NUMBERS or word.isdigit() or word.endswith("ly")
    return small or len(word) < 2 or word in VERBS or word in LANGUAGES  # a single letter is no word


def _root(word: str) -> str:
    return singular(word.replace("’", "'").removesuffix("'s"))

"""Whether the rules understood a sentence: every word of it is in a step, or is named as not understood. Pure.

Rules of this module:
- A word that says something (no article, no connective, no opening) has to stand in what a step is asked.
- What the rules have no grammar for (conditions, negations, an order said backwards, loops, lists to send something to)
  is named although its words stand in a step: they would be asked of a model as text, and change no step. The words
  that say such things are a closed class; each of them counts, wherever it is.
- Where a rule takes words for something and is not sure, it says so itself (:attr:`.Draft.unsure`).
- It never changes a plan. Who wants such a sentence planned asks a model, or says it in the words that the rules know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from executor.model.findings import Finding
from harness.plain_text import some_of
from harness.planner.draft import Draft, DraftStep
from harness.planner.vocabulary import DETERMINERS, LANGUAGES, NUMBERS, REMARKS, VERBS, singular

CODE: Final = "not-understood"
_SHOWN: Final = 5
_LONGEST: Final = 50
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
# Quotations, addresses and files, and what introduces a marked list.
_NO_WORDS: Final = re.compile(r"“[^”]*”|\"[^\"]*\"|«[^»]*»|\S*\w[./@]\w\S*|\bfollowing [\w ]*:")
# Words that say how things hang together, or that something is wanted: the steps themselves say so.
_SMALL: Final = frozenset({
    "a", "about", "above", "additionally", "after", "afterwards", "again", "all", "also", "an", "and", "any",
    "are", "as", "at", "based", "be", "below", "best", "between", "both", "bunch", "but", "by", "can", "come", "could",
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

# Words that say how things hang together, and that the rules have no grammar for: where one is found, what it says is
# not in the plan. The list is closed: a language makes new nouns and verbs, and hardly any new words of this kind.
_BEYOND_WORDS: Final = {
    "a negation": "not|never|neither|nor|none|cannot|no need",
    "an exception": (
        "except|excluding|skipping|ignoring|omitting|only|instead|rather|besides|leaving out|apart from|other than"
    ),
    "a condition": (
        "if|unless|otherwise|whenever|depending|assuming|provided|in case|or else|as long as|as soon as|even though"
    ),
    "an order": (
        "before|while|meanwhile|beforehand|prior|but first|in the meantime|in advance|last of all|at the end|"
        "at the same time"
    ),
    "a repetition": "until|till|repeat|again|twice|thrice|over and over|daily|weekly|monthly|hourly",
    "a reference": (
        "former|latter|respectively|whichever|whatever|whoever|vice versa|the same|each other|the other way round|"
        "the other|the others|the rest|previous"
    ),
}
_TIMES: Final = "time|second|minute|hour|day|night|morning|evening|week|month|year"
_BEGINNINGS: Final = "|".join(sorted({*VERBS, *REMARKS, *DETERMINERS, "to", "two", "in", "on", "for", "with"}))
_COUNTS: Final = "|".join(["one", r"\d+", *sorted(NUMBERS)])
_BEYOND_PHRASES: Final = (
    (r"\b(?:but )?\w+n['’]t\b(?: \w+){0,2}", "a negation"),
    (rf"\bbut (?:{_BEGINNINGS})\b(?: \w+){{0,2}}", "an exception"),
    (r"(?:^|[,;.:] ?|\band )(?:should|had|were) (?:the|it|he|she|they|you|we)\b(?: \w+){0,3}", "a condition"),
    (r"(?<=\w )(?:first|afterwards|later|earlier|already)(?=\s*(?:$|[,.;]|and\b|but\b))", "an order"),
    (r"(?:^|[,;.:] ?|\band )when\b(?: \w+){0,4}", "a condition"),
    (r"\bwhen(?:ever)? (?:it|they|that|you|this|done|ready|finished)\b(?: \w+){0,3}", "a condition"),
    (r"\b(?:as|so) (?:many|much|often)\b(?: \w+){0,3}", "a condition"),
    (r"\bonce (?!upon)\w+(?: \w+){0,3}", "a condition"),
    (r"\bafter (?!that\b|this\b)(?:you|it|they|we|the|\w+ing)\b(?: \w+){0,3}", "an order"),
    (r"\blast(?=\s*(?:$|[,.;]))", "an order"),
    (rf"\b(?:every|each) (?:{_TIMES})s?\b|\b\w+ times\b(?: \w+){{0,3}}", "a repetition"),
    (r"\bkeep \w+ing\b(?: \w+){0,3}", "a repetition"),
    (
        r"\b(?:for (?:each|every|all)|to (?:each|every)|per(?! cent))\b(?: of)?(?: \w+){1,3}",
        "what is to be done for each",
    ),
    (r"\bthe (?:first|second|third|fourth|fifth|last|better|shorter|longer) (?:one|ones|of)\b", "a reference"),
    (
        r"\b(?:have|get) (?:it|them|this|that|these|those|(?:the|a|an|my|our) \w+) (?!to\b)\w+(?:ed|read|n)\b",
        "whether that is a step of its own",
    ),
    (r"\bthe one (?:that|which|with)\b|[,:] one (?:\w+ ){1,6}?and one \w+", "a reference"),
    (
        r"\ban? \w+ and (?:an? )?\w+ (?:version|variant|one|form|kind|type|draft|copy|copies)s?\b",
        "whether that is one thing or two",
    ),
    (rf"(?:,|:|\band) (?:{_COUNTS}) (?:about|for|on|to|in|with)\b(?: \w+){{1,2}}", "a reference"),
)
_BEYOND: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        *((rf"(?<![\w'’-])(?:{words})(?![\w'’-])(?: \w+){{0,4}}", what) for what, words in _BEYOND_WORDS.items()),
        *_BEYOND_PHRASES,
    )
)
_TO_SEVERAL: Final = re.compile(
    r"(?:^|\band |\bthen |[,.;:] ?)(?:post|send|e?mail|upload|publish|submit|share|forward|deploy|deliver) "
    r"(?:it|them|this|that|these|the [\w ]+?|a [\w ]+?|an [\w ]+?) (?:to|on|in|at|with|via)\b "
    r"(?P<list>[\w ]+(?:, [\w ]+)*,? (?:and|&) [\w ]+)",
    re.IGNORECASE,
)
_BACKWARDS: Final = re.compile(
    r"\b(?:both|these|those|them|they|either|neither|each one|all of (?:it|them)|the (?:two|three|four|results?|"
    r"versions?|drafts?|texts?|winners?|losers?|answers?|best|worst|\w+est|rest|output))\b(?: \w+)?",
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
    found += _unsure(draft, " ".join(words for words, _ in found).lower())
    lost = _lost_words(plain, draft)
    if lost:
        shown = some_of([repr(word) for word in lost], _SHOWN)
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
    named: list[tuple[int, int]] = []
    for pattern, what in _BEYOND:
        for match in pattern.finditer(plain):
            # What begins inside of words that are named already says it once more.
            if not any(begin <= match.start() < end or begin < match.end() <= end for begin, end in named):
                named.append(match.span())
                yield repr(" ".join(match.group().split())), what
    for match in _TO_SEVERAL.finditer(plain):
        yield repr(" ".join(match.group("list").split())), "whether that is one step or several"


def _unsure(draft: Draft, named: str) -> Iterator[tuple[str, str]]:
    """What the rules themselves were not sure of, unless its words are among those that are ``named`` already."""
    for words, why in draft.unsure:
        if not any(word in named for word in _WORD.findall(words.lower())[:3]):
            yield repr(words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"), why


def _without_sources(draft: Draft) -> Iterator[tuple[str, str]]:
    """Steps that speak of what was made before, and get nothing of it."""
    for step in draft.steps:
        has_text = step.prompt is None or "{{ steps." in step.prompt
        match = None if has_text else _BACKWARDS.search(step.description)
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

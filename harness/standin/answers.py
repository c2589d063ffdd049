"""What the stand-in says: labelled, plausible in shape, and about what it was asked. Deterministic and pure.

Rules of this module:
- The answer depends on seed, model and messages alone, and begins with ``[stand-in]`` or ``[stand-in <language>]``.
- It claims nothing: its sentences say that they fill a place.
- Labels of earlier answers inside a prompt are not repeated.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

LABEL = "[stand-in]"
CHARACTERS_PER_TOKEN = 4
_LANGUAGES = {
    "arabic": "العربية", "chinese": "中文", "czech": "čeština", "danish": "dansk", "dutch": "Nederlands",
    "english": "English", "finnish": "suomi", "french": "français", "german": "Deutsch", "greek": "Ελληνικά",
    "hebrew": "עברית", "hindi": "हिन्दी", "hungarian": "magyar", "italian": "italiano", "japanese": "日本語",
    "korean": "한국어", "norwegian": "norsk", "polish": "polski", "portuguese": "português", "romanian": "română",
    "russian": "русский", "spanish": "español", "swedish": "svenska", "turkish": "Türkçe", "ukrainian": "українська",
    "vietnamese": "Tiếng Việt",
}  # fmt: skip
_NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_COMMON = re.compile(
    r"the|and|for|with|from|that|this|into|about|write|create|make|generate|please|give|some|very|your|their|have|what|"
    r"which|will|would|should|could|answer|alone|text|short|long"
)
_TRANSLATE = re.compile(r"\btranslat\w*\b.{0,80}?\b(?:in)?to\s+([^\W\d_]+)", re.IGNORECASE | re.DOTALL)
_TOPIC = re.compile(r"\b(?:about|on|regarding)\s+([^.,;:!?\n\[\]]{2,60})", re.IGNORECASE)
_LABELS = re.compile(r"\[stand-in[^\]\n]{0,40}\]\s*")
_LISTED = re.compile(
    r"\b(\d{1,2}|" + "|".join(_NUMBERS) + r")\s+(?:\w+\s+){0,2}?(headlines?|titles?|ideas?|jokes?|points?)"
)
_SOURCE_CHARACTERS = 4_000
_JOKES = (
    "Why did {topic} cross the road? To reach the other placeholder.",
    "{Topic} walk into a bar. The bartender says: this joke is a stand-in. They stay anyway.",
    "What do {topic} and a stand-in have in common? Both fill the place until the real thing arrives.",
    "I asked for a joke about {topic}. I got this sentence, which is exactly as long as one.",
)
_HEADLINES = (
    "{Topic}: what a stand-in would print on its front page",
    "Five things that a placeholder says about {topic}",
    "{Topic} in one line that no model wrote",
    "Why this headline mentions {topic} and nothing else",
    "{Topic}, explained by nobody in particular",
    "The morning edition's space for {topic}",
)
_SENTENCES = (
    "This paragraph stands where a model would have written about {topic}.",
    "It is as long as such a paragraph usually is, so that whatever reads it next has something to read.",
    "A reader who came for {topic} learns here how the pipeline behaves, and nothing about {topic} itself.",
    "The words repeat from run to run, because they are drawn from the seed and the prompt.",
    "With a configured endpoint, the same step would return a real text about {topic}.",
    "Until then, the sentences keep their order, their length and their modest promise.",
    "Nothing stated here is a fact about {topic}.",
)


def topic_of(prompt: str) -> str:
    """What a prompt is about, in a few of its own words."""
    text = _LABELS.sub("", prompt[:_SOURCE_CHARACTERS])
    found = _TOPIC.search(text)
    if found is not None:
        return " ".join(found.group(1).split()[:6])
    words = [word for word in re.findall(r"[^\W\d_]{4,}", text) if not _COMMON.fullmatch(word.lower())]
    return " ".join(words[:4]).lower() or "this"


def answer(seed: int, model: str, system: str, prompt: str) -> str:
    """The stand-in's answer to the last user message."""
    source = random.Random(f"{seed}\x00{model}\x00{system}\x00{prompt}")  # noqa: S311 - repeatable, not secret
    head = prompt[:_SOURCE_CHARACTERS].partition(":")[0][:300]
    system = system[:_SOURCE_CHARACTERS]
    language = _TRANSLATE.search(f"{head} {system}")
    if language is not None:
        name = language.group(1)
        return f"[stand-in {_LANGUAGES.get(name.lower(), name)}] {_source_text(prompt)}"
    asked = f"{head} {system}".lower()
    task = _Task(source, topic_of(prompt), prompt)
    listed = _LISTED.search(asked)
    if listed is not None:
        lines = _JOKES if listed.group(2).startswith("joke") else _HEADLINES
        return f"{LABEL} " + task.numbered(lines, _NUMBERS.get(listed.group(1)) or int(listed.group(1)))
    for words, write in _WRITERS:
        if any(word in asked for word in words):
            return f"{LABEL} {write(task)}"
    return f"{LABEL} {task.one_of(_SENTENCES[:1] + _SENTENCES[2:5])}"


def tokens_in(text: str) -> int:
    """Tokens, counted as four characters each."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def cut(text: str, max_tokens: int | None) -> tuple[str, bool]:
    """The text within ``max_tokens``, and whether something was cut off."""
    if max_tokens is None or tokens_in(text) <= max_tokens:
        return text, False
    return text[: max_tokens * CHARACTERS_PER_TOKEN], True


def pieces_of(text: str, at_most: int) -> list[str]:
    """The text in pieces of whole words for a stream, at least one and at most ``at_most``."""
    words = re.findall(r"\s*\S+\s*", text) or [text]
    size = -(-len(words) // at_most)
    return ["".join(words[begin : begin + size]) for begin in range(0, len(words), size)]


def _source_text(prompt: str) -> str:
    """What a prompt asks to work on: the text after its first colon, else all of it."""
    _, colon, rest = prompt.partition(":")
    text = rest if colon and rest.strip() else prompt
    return _LABELS.sub("", text).strip()[:_SOURCE_CHARACTERS]


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be written about, and where chance comes from."""

    source: random.Random
    topic: str
    prompt: str

    def filled(self, sentence: str) -> str:
        return sentence.format(topic=self.topic, Topic=self.topic[:1].upper() + self.topic[1:])

    def one_of(self, sentences: Sequence[str]) -> str:
        return self.filled(self.source.choice(sentences))

    def numbered(self, lines: Sequence[str], count: int) -> str:
        order = self.source.sample(lines, len(lines))
        return "\n".join(f"{place + 1}. {self.filled(order[place % len(order)])}" for place in range(max(1, count)))

    def paragraph(self) -> str:
        return " ".join(self.filled(sentence) for sentence in self.source.sample(_SENTENCES, 5))


def _joke(task: _Task) -> str:
    return task.one_of(_JOKES)


def _headline(task: _Task) -> str:
    return task.one_of(_HEADLINES)


def _summary(task: _Task) -> str:
    sentences = re.split(r"(?<=[.!?])\s+", _source_text(task.prompt))
    return "In short: " + " ".join(sentences[:2])[:600]


def _tweet(task: _Task) -> str:
    tag = "".join(word.capitalize() for word in re.findall(r"\w+", task.topic)[:3])
    return f"{task.one_of(_HEADLINES)} #{tag} #StandIn"[:260]


def _post(task: _Task) -> str:
    return "\n\n".join([task.one_of(_HEADLINES), task.paragraph(), "What do you think?"])


def _article(task: _Task) -> str:
    return "\n\n".join([task.one_of(_HEADLINES), *(task.paragraph() for _ in range(4))])


_WRITERS = (
    (("summar", "condense", "shorten"), _summary),
    (("tweet", "twitter"), _tweet),
    (("linkedin", " post"), _post),
    (("joke", "funny"), _joke),
    (("headline", "title"), _headline),
    (("article", "essay", "story", "report", "blog"), _article),
)

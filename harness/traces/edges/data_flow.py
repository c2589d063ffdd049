"""Data seen to flow: a text that one span put out recurs in what a later span was given.

Rules of this module:
- Only where contents were captured. A text counts if it is long enough to mean something, if the span did not get it
  itself, and if the run was not given it from outside.
- What a span was given is asked of those that call no other: the model or tool that a node calls gets what is used.
  Where every span is handed everything, it is no evidence (:mod:`harness.traces.edges.whole_state`).
- Linear in the text: a text is looked for by its longest word, and compared only where that word occurs.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from harness.traces.edges.whole_state import Use, chosen_uses
from harness.traces.spans.span_steps import Steps
from harness.traces.trace_model import Span

_SHORTEST_TEXT: Final = 8
_SHORTEST_WORD: Final = 5
_WORD: Final = re.compile(rf"\w{{{_SHORTEST_WORD},}}")
# What is looked at of one value, of one span, and of one word's texts.
_LONGEST_TEXT: Final = 65_536
_MOST_TEXTS: Final = 256
_MOST_OF_A_WORD: Final = 64
_LONGEST_OUTSIDE: Final = 262_144
_MOST_SOURCES: Final = 32
_MOST_NAMES: Final = 10_000

_OUTPUTS: Final = (
    "output.value", "gen_ai.output.messages", "gen_ai.tool.call.result", "traceloop.entity.output", "gen_ai.completion",
)  # fmt: skip
_INPUTS: Final = (
    "input.value", "gen_ai.input.messages", "gen_ai.tool.call.arguments", "gen_ai.system_instructions",
    "traceloop.entity.input", "gen_ai.prompt", "db.query.text", "db.statement",
)  # fmt: skip
_OUTPUT_PREFIXES: Final = ("llm.output_messages.", "gen_ai.completion.")
_INPUT_PREFIXES: Final = ("llm.input_messages.", "gen_ai.prompt.", "embedding.embeddings.")


# By longest word, in order of time: (when it was put out, the text, the span that did).
Texts = dict[str, list[tuple[int, str, int]]]


def data_flow(steps: Steps) -> list[tuple[int, int]]:
    """(step, later step that was given something it put out), was what that one uses."""
    tree = steps.tree
    texts: Texts = {}
    producers = [index for index in tree.order if _has(tree.spans[index], _IS_OUTPUT)]
    if not producers:
        return []
    from_outside = [text for index in (*steps.envelopes, *tree.roots[:1]) for text in _given(tree.spans[index])]
    outside = _Haystack(" ".join(from_outside)[:_LONGEST_OUTSIDE])
    known: set[str] = set()
    # Of spans that put out the same, the innermost of the first to end: the others pass it on.
    producers.sort(key=lambda index: (tree.end[index], -tree.start[index]))
    for index in producers:
        if steps.step_of[index] < 0 or index in steps.envelopes:
            continue
        own = _Haystack("\n".join(_given(tree.spans[index])))
        for text in _texts(tree.spans[index], _IS_OUTPUT):
            word = max(_WORD.findall(text), key=len)
            if text not in known and not own.holds(text, word) and not outside.holds(text, word):
                known.add(text)
                texts.setdefault(word, []).append((tree.end[index], text, index))
    if not texts:
        return []
    uses = list(_uses(steps, texts, from_outside[:_MOST_OF_A_WORD]))
    sources = {steps.step_of[source] for listed in texts.values() for _, _, source in listed}
    return [(source, use.step) for use in chosen_uses(steps, uses, sources, _given) for source in use.sources]


class _Haystack:
    """A text in which many others are looked for: in full only where it has their longest word."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: set[str] | None = None

    def holds(self, text: str, word: str) -> bool:
        """Whether the other text is in it."""
        if not self._text:
            return False
        if self._words is None:
            self._words = set(_WORD.findall(self._text))
        return word in self._words and text in self._text


def _uses(steps: Steps, texts: Texts, from_outside: Sequence[str]) -> Iterator[Use]:
    tree = steps.tree
    for index in tree.order:
        step = steps.step_of[index]
        if step < 0 or _asks_others(steps, index):
            continue
        texts_given = _given(tree.spans[index])
        if not texts_given:
            continue
        given = "\n".join(texts_given)
        start = tree.start[index]
        found: list[tuple[int, str]] = []
        for word in texts.keys() & set(_WORD.findall(given)):
            listed = texts[word]
            before = bisect_right(listed, start, key=itemgetter(0))
            for _, text, source in listed[max(0, before - _MOST_OF_A_WORD) : before]:
                if text in given:
                    found.append((source, text))
        found.sort(key=lambda one: (-tree.end[one[0]], one[0]))
        sources = [steps.step_of[source] for source, _ in found[:_MOST_SOURCES] if steps.step_of[source] != step]
        if from_outside:
            is_state = any(text in given for text in from_outside)
        else:
            is_state = len(set(sources)) > 1 or _is_one_of_several(texts_given, [text for _, text in found])
        yield Use(index, step, sources, is_state, is_whole=len(found) <= _MOST_SOURCES)


def _is_one_of_several(given: Sequence[str], found: Sequence[str]) -> bool:
    """Whether what was found are values among others, as in a state: what is used is in a text."""
    return len(given) > 1 and set(found) <= set(given)


def _asks_others(steps: Steps, index: int) -> bool:
    """Whether a span hands what it was given on to spans that say what they were given."""
    tree = steps.tree
    return any(_has(tree.spans[child], _IS_INPUT) for child in tree.children[index][:_MOST_OF_A_WORD])


class _Meaning(dict[str, bool]):
    """Whether an attribute of this name holds contents. Names are few, and asked for every span."""

    def __init__(self, names: tuple[str, ...], prefixes: tuple[str, ...]) -> None:
        super().__init__((name, True) for name in names)
        self._prefixes = prefixes

    def __missing__(self, key: str) -> bool:
        holds = key.startswith(self._prefixes) and key.endswith(("content", "text", "arguments"))
        if len(self) < _MOST_NAMES:
            self[key] = holds
        return holds


_IS_OUTPUT: Final = _Meaning(_OUTPUTS, _OUTPUT_PREFIXES)
_IS_INPUT: Final = _Meaning(_INPUTS, _INPUT_PREFIXES)


def _has(span: Span, meaning: _Meaning) -> bool:
    return any(map(meaning.__getitem__, span.attributes))


def _given(span: Span) -> list[str]:
    return _texts(span, _IS_INPUT)


def _texts(span: Span, meaning: _Meaning) -> list[str]:
    """The texts in a span's attributes, JSON opened, those left out that are too short to mean something."""
    texts: list[str] = []
    for key, value in span.attributes.items():
        if not meaning[key]:
            continue
        for text in _leaves(value):
            if len(text) >= _SHORTEST_TEXT and _WORD.search(text):
                texts.append(text)
                if len(texts) >= 2 * _MOST_TEXTS:
                    del texts[:_MOST_TEXTS]
    # The last ones: of a conversation, what was said last.
    return texts[-_MOST_TEXTS:]


def _leaves(value: Any) -> Iterator[str]:
    """The texts in a value: of JSON its texts, but not its keys."""
    work = [value]
    while work:
        one = work.pop()
        if isinstance(one, str):
            text = one[:_LONGEST_TEXT].strip()
            if text[:1] in ("{", "[") and len(one) <= _LONGEST_TEXT:
                try:
                    work.append(json.loads(text))
                    continue
                except (ValueError, RecursionError):
                    pass
            yield text
        elif isinstance(one, dict):
            work.extend(
                reversed(
                    [item for key, item in one.items() if key not in ("role", "type", "id", "lc", "finish_reason")]
                )
            )
        elif isinstance(one, (list, tuple)):
            work.extend(reversed(one))

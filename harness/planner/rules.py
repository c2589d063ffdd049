"""The rules planner: from a sentence to steps, by grammar. Needs no model.

Clauses come from :mod:`.sentences`, what they ask for from :mod:`.things`, what "it" means from :mod:`.references`;
here each kind of verb makes its steps. Texts in several languages or formats, several topics, and numbers make steps
that run side by side; "it", "the summary" and verbs without an object make dependencies; "then" keeps an order.

Rules of this module:
- No text is refused: what no rule understands is one step that asks for it in the task's own words.
- A text without a number or a list becomes several steps only as ``chat.workflow_mode`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from executor.findings import Finding, WorkflowError
from harness.config import WorkflowMode
from harness.planner.converting import conversion_steps, names_format
from harness.planner.draft import STEPS_LIMIT, Draft, TooManyStepsError
from harness.planner.references import Product, Reference, Scope
from harness.planner.sentences import Clause, Token, clauses_of, listed, said, tokens_of, unquoted
from harness.planner.things import Thing, counted_at, knows_language, languages_in, names_of_items, things_of
from harness.planner.vocabulary import (
    ANYTHING,
    DERIVED,
    GATHERING,
    ITEMWISE,
    LANGUAGES,
    PRONOUNS_PLURAL,
    PRONOUNS_SINGULAR,
    USUAL_LANGUAGES,
    singular,
)
from harness.planner.wording import without_shared_topic, words_of, works_of

WRITER: Final = "content_generator"
TRANSLATOR: Final = "nmt_translator"
SUMMARIZER: Final = "summarizer"
_TOWARDS: Final = ("to", "into", "in")
# These mean a text, and are none.
_EMPTY_WORDS: Final = ANYTHING | PRONOUNS_SINGULAR | PRONOUNS_PLURAL


def draft_of(task: str, *, mode: WorkflowMode, default_tool: str | None = None) -> Draft:
    """The steps of a task.

    Raises:
        WorkflowError: the task is empty, or asks for more steps than a sentence should.

    """
    if not any(token.kind in ("word", "quoted", "address") for token in tokens_of(task)):
        raise _fault(
            "empty-task", "the task is empty", "say what is to be done: 'write a joke and translate to French'"
        )
    try:
        draft = _Rules(task, default_tool or WRITER).draft()
    except TooManyStepsError:
        message = f"the task asks for more than {STEPS_LIMIT:,} steps"
        raise _fault("too-many-steps", message, "ask for fewer, or write a scenario file with `copies`") from None
    if len(draft.steps) == 1 or (draft.steps and draft.has_list) or (draft.steps and _wants_workflow(task, mode)):
        return draft
    single = Draft()
    words = " ".join(task.split())
    single.add(words, tool=default_tool or WRITER, label="answer", words=words)
    if not draft.steps:
        return single
    why = "none of chat.workflow_mode.detect_keywords stands in it" if mode.enabled else "chat.workflow_mode is off"
    message = f"the task is one step: it names no list and no number of things, and {why}"
    single.findings.append(Finding("hint", "one-step", message, "change chat.workflow_mode in config.yaml"))
    return single


def _wants_workflow(task: str, mode: WorkflowMode) -> bool:
    words = " ".join(task.lower().split())
    padded = f" {''.join(sign if sign.isalnum() else ' ' for sign in words)} "
    return mode.enabled and any(f" {keyword.lower().strip()} " in padded for keyword in mode.detect_keywords)


def _fault(code: str, message: str, fix: str) -> WorkflowError:
    return WorkflowError([Finding("error", code, message, fix)])


class _Rules:
    """The clauses of one task, turned into steps one after another."""

    def __init__(self, task: str, default_tool: str) -> None:
        self._task = task
        self._default_tool = default_tool
        self._draft = Draft()
        self._scope = Scope()
        self._makers = {
            "write": self._write,
            "translate": self._translate,
            "convert": self._convert,
            "summarize": self._summarize,
            "edit": self._edit,
            "other": self._other,
        }

    def draft(self) -> Draft:
        """All steps."""
        for clause in clauses_of(self._task):
            if clause.kind is None and self._scope:
                self._draft.remark(self._scope.last_steps(), f"{_capital(clause.text)}.")
                continue
            products = self._makers[clause.kind or "other"](clause)
            self._keep_order(clause, products)
            self._scope.clauses.append(products)
        return self._draft

    def _keep_order(self, clause: Clause, products: list[Product]) -> None:
        """Let "then" hold also where nothing is handed on."""
        if clause.link != "then":
            return
        before = self._scope.last_steps()
        new = {step for product in products for step in product.steps}
        for index in sorted(new):
            step = self._draft.steps[index]
            if not step.depends_on:
                step.depends_on = before

    # ------------------------------------------------------------------ write

    def _write(self, clause: Clause) -> list[Product]:
        things = things_of(self._task, clause.tokens)
        if not things:
            return self._other(clause)
        self._draft.has_list |= len(things) > 1
        products: list[Product] = []
        for thing in things:
            products.append(self._write_thing(clause, without_shared_topic(thing, products), products))
        return products

    def _write_thing(self, clause: Clause, thing: Thing, earlier: list[Product]) -> Product:
        if thing.noun == "translation" and (thing.languages or knows_language(words_of(thing))):
            return self._write_translations(clause, thing, earlier)
        reference = self._sources_of(thing, earlier)
        source_noun = self._noun_of(reference, earlier) if reference and not thing.names_others else ""
        works = works_of(self._task, clause.verb, thing, source_noun)
        tool = SUMMARIZER if thing.noun == "summary" and reference else WRITER
        self._draft.has_list |= len(works) > 1
        groups = (
            [[step] for step in reference.steps]
            if reference and reference.each
            else [reference.steps if reference else ()]
        )
        self._draft.has_list |= len(groups) > 1
        steps = [
            self._draft.add(
                f"{work.description} of {self._draft.steps[sources[0]].label}" if len(groups) > 1 else work.description,
                tool=tool, label=work.label, words=work.words, sources=tuple(sources),
            )
            for sources in groups for work in works
        ]  # fmt: skip
        return Product(thing.noun, tuple(steps))

    def _sources_of(self, thing: Thing, earlier: list[Product]) -> Reference | None:
        """The steps that a thing is made from, if any."""
        if earlier and thing.about and thing.about[0].low in ("it", "them"):  # "an article and a summary of it"
            return Reference(earlier[0].steps, 0, 0)
        if thing.about or thing.names_others:
            return self._scope.find(words_of(thing)) if thing.names_others else self._scope.find(thing.about)
        if earlier and thing.noun in DERIVED:
            source = next((product for product in reversed(earlier) if product.noun not in DERIVED), None)
            return Reference(source.steps, 0, 0) if source is not None else None
        if self._scope and (thing.noun in DERIVED or thing.determiner in ("its", "their")):
            steps = self._scope.last_steps() if thing.determiner == "their" else self._scope.one()
            return Reference(steps, 0, 0)
        return None

    def _noun_of(self, reference: Reference, earlier: list[Product]) -> str:
        products = [*earlier, *(product for products in self._scope.clauses for product in products)]
        return next((product.noun for product in products if set(reference.steps) <= set(product.steps)), "text")

    def _write_translations(self, clause: Clause, thing: Thing, earlier: list[Product]) -> Product:
        words = [token for token in words_of(thing) if token.low in LANGUAGES]
        languages = [language for token in words for language in languages_in([token])] or list(thing.languages)
        own = [product for product in earlier if product.noun not in DERIVED]
        source = own[-1].steps if own else self._scope.one()
        return self._translations(source, languages, named="", note="", each=False)

    # ------------------------------------------------------------------ translate, convert

    def _translate(self, clause: Clause) -> list[Product]:
        tokens = list(clause.tokens)
        place = self._language_place(tokens)
        what, languages, note = tokens, list[str](), ""
        if place is not None:
            languages, note = self._languages_after(tokens[place + 1 :])
            what = tokens[:place]
        self._draft.has_list |= len(languages) > 1
        reference = self._scope.find(what)
        literal = clause.material or ("" if reference is not None else _literal(self._task, what))
        if reference is None and not literal and self._scope:
            reference = Reference(self._scope.one(), 0, 0)
        if reference is not None and not clause.material:
            named = reference.noun if len(reference.steps) == 1 else ""
            return [self._translations(reference.steps, languages, named=named, note=note, each=True)]
        if not literal or (what and not clause.material and singular(what[-1].low) in _EMPTY_WORDS):
            self._warn("the task does not hold the text to translate", "add it: translate to French: good morning")
        steps = [
            self._draft.add(
                f"Translate to {language}" if language else _capital(clause.text), tool=TRANSLATOR, label="translation",
                words=f"Translate to {language}{note}: {literal}" if language and literal else _whole(clause),
            )
            for language in languages or [""]
        ]  # fmt: skip
        return [Product("translation", tuple(steps))]

    def _language_place(self, tokens: list[Token]) -> int | None:
        """Where the "to" stands that leads to the languages: the last one before a known one, else the last."""
        places = [at for at, token in enumerate(tokens[:-1]) if token.low in _TOWARDS]
        known = [
            at for at in places if knows_language(tokens[at + 1 : at + 4]) or self._counts_languages(tokens[at + 1 :])
        ]
        if known:
            return known[-1]
        last = [at for at in places if tokens[at].low != "in" and languages_in(tokens[at + 1 :])]
        return last[-1] if last else None

    def _counts_languages(self, tokens: list[Token]) -> bool:
        count, place = counted_at(tokens, 0)
        rest = [token for token in tokens[place : place + 2] if token.low not in ("different", "other")]
        return count is not None and bool(rest) and singular(rest[0].low) == "language"

    def _languages_after(self, tokens: list[Token]) -> tuple[list[str], str]:
        """The languages that are listed, and what follows them."""
        count, _ = counted_at(tokens, 0)
        if count is not None and self._counts_languages(tokens):
            chosen = list(USUAL_LANGUAGES[:count])
            if len(chosen) < count:
                self._warn(
                    f"the task asks for {count} languages and names none; {len(chosen)} usual ones are taken",
                    "name them",
                )
            return chosen, ""
        end = next(
            (at for at, token in enumerate(tokens) if at and token.low in ("for", "using", "with", "by", "from", "as")),
            len(tokens),
        )
        note = f" {said(self._task, tokens[end:])}" if tokens[end:] else ""
        return languages_in(tokens[:end]), note

    def _translations(
        self, sources: tuple[int, ...], languages: list[str], *, named: str, note: str, each: bool
    ) -> Product:
        self._draft.has_list |= len(languages) > 1 or len(sources) > 1
        steps = []
        for source in sources:
            label = self._draft.steps[source].label
            for language in languages or [""]:
                what = f" {label}" if len(sources) > 1 else f" the {named}" if named else "" if language else " it"
                towards = f" to {language}" if language else ""
                words = f"Translate{towards}{note}"
                made = f"{language or 'translated'} {label}".strip()
                steps.append(
                    self._draft.add(
                        f"Translate{what}{towards}", tool=TRANSLATOR, label=made, words=words, sources=(source,)
                    )
                )
        if not languages:
            self._warn("the task names no language to translate to", "write: translate … to French", severity="warning")
        return Product("translation", tuple(steps), sources if len(sources) == 1 and len(languages) > 1 else ())

    def _convert(self, clause: Clause) -> list[Product]:
        tokens = list(clause.tokens)
        places = [at for at, token in enumerate(tokens[:-1]) if token.low in ("to", "into", "as", "in")]
        place = next((at for at in reversed(places) if names_format(tokens[at + 1 :])), None)
        if place is None:
            return self._edit(clause)
        reference = self._scope.find(tokens[:place])
        if reference is None and self._scope and not _literal(self._task, tokens[:place]):
            reference = Reference(self._scope.one(), 0, 0)
        sources = reference.steps if reference is not None else ()
        formats = [said(self._task, item) for item in listed(tokens[place + 1 :])]
        self._draft.has_list |= len(formats) > 1 or len(sources) > 1
        steps = conversion_steps(self._draft, formats, sources=sources, what=tokens[:place], task=self._task)
        return [Product("document", steps, sources if len(sources) == 1 and len(formats) > 1 else ())]

    # ------------------------------------------------------------------ everything else

    def _summarize(self, clause: Clause) -> list[Product]:
        reference = self._object(clause)
        tool, label = SUMMARIZER, "summary"
        if reference is None:
            step = self._draft.add(_capital(clause.text), tool=tool, label=label, words=_whole(clause))
            return [Product("summary", (step,))]
        groups = [(step,) for step in reference.steps] if reference.each else [reference.steps]
        self._draft.has_list |= len(groups) > 1
        steps = [
            self._draft.add(
                self._described(clause, group, several=len(groups) > 1),
                tool=tool,
                label=label,
                words=_asked(clause, self._task, reference),
                sources=group,
            )
            for group in groups
        ]
        return [Product("summary", tuple(steps))]

    def _edit(self, clause: Clause) -> list[Product]:
        reference = self._object(clause)
        if reference is None:
            return self._plain(clause)
        self._draft.has_list |= len(reference.steps) > 1
        several = len(reference.steps) > 1
        reference = replace(reference, each=reference.each or several)
        steps = [
            self._draft.add(
                self._described(clause, (source,), several=several), tool=WRITER,
                label=self._draft.steps[source].label, words=_asked(clause, self._task, reference), sources=(source,),
            )
            for source in reference.steps
        ]  # fmt: skip
        return [Product(self._noun_of(reference, []), tuple(steps))]

    def _other(self, clause: Clause) -> list[Product]:
        reference = self._object(clause)
        if reference is None:
            return self._itemwise(clause) or self._plain(clause)
        if reference.each:
            return self._edit(clause)
        step = self._draft.add(
            _capital(clause.text), tool=self._default_tool, label="result", words=_asked(clause, self._task, reference),
            sources=reference.steps,
        )  # fmt: skip
        return [Product("result", (step,))]

    def _itemwise(self, clause: Clause) -> list[Product]:
        """``research wind, sun and water``: a step for each."""
        items = listed(clause.tokens)
        if clause.verb not in ITEMWISE or len(items) < 2 or clause.material:
            return []
        self._draft.has_list = True
        names = names_of_items(self._task, items)
        steps = [
            self._draft.add(text, tool=self._default_tool, label=name, words=text)
            for name in names
            for text in [f"{clause.verb.capitalize()} {name}"]
        ]
        return [Product("result", tuple(steps))]

    def _plain(self, clause: Clause) -> list[Product]:
        step = self._draft.add(_capital(clause.text), tool=self._default_tool, label="result", words=_whole(clause))
        return [Product("result", (step,))]

    def _object(self, clause: Clause) -> Reference | None:
        """What a clause works on: what it refers to, or, without an object, what was made before."""
        if clause.material:
            return None
        reference = self._scope.find(clause.tokens)
        elided = clause.verb in GATHERING or not _literal(self._task, clause.tokens)
        if reference is None and self._scope and elided and clause.verb:
            steps = self._scope.one() if clause.kind in ("edit", "summarize") else self._scope.last_steps()
            reference = Reference(steps, 0, 0)
        return reference

    def _described(self, clause: Clause, sources: tuple[int, ...], *, several: bool) -> str:
        if several:
            return f"{clause.verb.capitalize()} {self._draft.steps[sources[0]].label}"
        return _capital(clause.text)

    def _warn(self, message: str, fix: str, severity: str = "warning") -> None:
        self._draft.findings.append(
            Finding("warning" if severity == "warning" else "hint", "unclear-task", message, fix)
        )


def _asked(clause: Clause, task: str, reference: Reference) -> str:
    """What a clause asks of the outputs below it."""
    if not reference.each or reference.end == reference.begin:
        return _capital(clause.text)
    before, after = clause.tokens[: reference.begin], clause.tokens[reference.end :]
    words = [clause.verb, said(task, before), f"this {reference.noun}".strip(), said(task, after)]
    return _capital(" ".join(word for word in words if word))


def _whole(clause: Clause) -> str:
    """All that a clause says, with the text that it works on."""
    return _capital(f"{clause.text}: {clause.material}" if clause.material else clause.text)


def _literal(task: str, tokens: Sequence[Token]) -> str:
    """The text itself that a clause works on, if it holds some: ``'good morning'``, ``the attached letter``."""
    if not tokens or tokens[0].low in ("to", "into", "in", "for", "with", "as", "from", "by", "on", "at"):
        return ""
    quoted = [token for token in tokens if token.kind == "quoted"]
    return unquoted(quoted[0]) if len(quoted) == 1 else said(task, tokens)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

"""The rules planner: from a sentence to steps, by grammar. Needs no model.

Clauses come from :mod:`.sentences`, what they ask for from :mod:`.noun_phrases`, what "it" means from :mod:`.pronouns`;
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

from executor.model.findings import Finding, WorkflowError
from harness.config import Config, WorkflowMode
from harness.planner import assumptions
from harness.planner.accounting import not_understood
from harness.planner.converting import conversion_steps, names_format
from harness.planner.counting import numbered_at, numbered_names, range_in
from harness.planner.draft import STEPS_LIMIT, Draft, TooManyStepsError
from harness.planner.marked_lists import clauses_of
from harness.planner.noun_phrases import (
    NounPhrase,
    knows_language,
    language_place,
    languages_counted,
    languages_in,
    languages_listed,
    names_of_items,
    noun_phrases_of,
    shares_words,
)
from harness.planner.planned_task import Planned, check_task
from harness.planner.pronouns import Product, Reference, Scope
from harness.planner.sentences import Clause
from harness.planner.tokens import Token, listed, said, tokens_of
from harness.planner.vocabulary import (
    DERIVED,
    DETERMINERS,
    GATHERING,
    ITEMWISE,
    LANGUAGES,
    PREPOSITIONS,
    QUESTIONS,
    REMARK_OPENERS,
    REMARKS,
    USUAL_LANGUAGES,
    VerbKind,
    singular,
)
from harness.planner.wording import (
    asked_of,
    capital,
    definite_words,
    lacks_text,
    literal_in,
    whole_of,
    without_shared_topic,
    words_of,
    works_of,
)

WRITER: Final = "content_generator"
TRANSLATOR: Final = "nmt_translator"
SUMMARIZER: Final = "summarizer"


def plan_by_rules(task: str, *, config: Config) -> Planned:
    """The plan of a task.

    Raises:
        WorkflowError: the task is empty or too long, or asks for too much.

    """
    check_task(task)
    draft = draft_of(task, mode=config.chat.workflow_mode, default_tool=config.default_tool)
    findings = (*draft.findings, *not_understood(task, draft))
    return Planned(task, draft.finished(), draft.inputs, draft.tools, findings)


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
    why = "none of chat.workflow_mode.detect_keywords is in it" if mode.enabled else "chat.workflow_mode is off"
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
        self._last_kind: VerbKind | None = None
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
        loose_points = 0
        for clause in clauses_of(self._task):
            self._draft.has_list |= clause.link == "point"
            self._doubt(clause)
            if clause.kind is None and self._scope:
                self._draft.remark(self._scope.last_steps(), f"{capital(clause.text)}.")
                continue
            products = self._makers[clause.kind or "other"](clause)
            self._keep_order(clause, products)
            sources = self._sources_of_all(products)
            loose_points += clause.link == "point" and bool(self._scope) and not sources and not clause.material
            self._scope.add(products, sources, clause.verb)
        self._assume(assumptions.of_points(loose_points))
        self._draft.unsure += [(words, "what is to be done for each") for words in self._scope.unknown]
        return self._draft

    def _doubt(self, clause: Clause) -> None:
        """Note of a clause that has no verb what it may be."""
        first = clause.tokens[0].low if clause.tokens else ""
        after_other = bool(self._scope) and clause.link in ("then", "and") and self._last_kind != "write"
        if clause.kind is None and clause.link == "stop" and first not in REMARK_OPENERS:
            self._draft.unsure.append((clause.text, "whether that is a step or says how the step before is to be done"))
        elif first in REMARKS and not clause.verb and not self._scope:
            self._draft.unsure.append((clause.text, "which step that is for"))
        elif clause.is_implied and after_other:
            self._draft.unsure.append((clause.text, "what is to be done with it"))
        elif clause.kind == "other" and not clause.verb and self._scope and self._scope.find(clause.tokens) is None:
            self._draft.unsure.append((clause.text, "what is to be done"))
        self._last_kind = clause.kind

    def _sources_of_all(self, products: Sequence[Product]) -> set[int]:
        made = [self._draft.steps[step] for product in products for step in product.steps]
        return {parent for step in made for parent in step.depends_on}

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
        things = noun_phrases_of(self._task, clause.tokens)
        if clause.tokens and clause.tokens[0].low in ("it", "them"):  # "make it shorter"
            return self._edit(clause)
        if not things or clause.material or clause.tokens[0].low in PREPOSITIONS:  # "write to John and Mary"
            return self._other(clause)
        self._draft.has_list |= len(things) > 1
        products: list[Product] = []
        for thing in things:
            products.append(self._write_thing(clause, without_shared_topic(thing, products), products))
            self._assume(assumptions.of_thing(thing))
            if not thing.is_sure:
                self._draft.unsure.append((thing.name, "what is to be made"))
            if (own := thing.thing_among_topics) is not None:
                self._draft.unsure.append((own, "whether that is a topic or a thing to make"))
        numbered = numbered_at(clause.tokens)
        self._assume(assumptions.of_numbered(numbered.names) if numbered else [])
        return products

    def _write_thing(self, clause: Clause, thing: NounPhrase, earlier: list[Product]) -> Product:
        if thing.noun == "translation" and (thing.languages or knows_language(words_of(thing))):
            return self._write_translations(clause, thing, earlier)
        reference = self._sources_of(thing, earlier)
        source_noun = self._noun_of(reference, earlier) if reference and not thing.names_others else ""
        works = works_of(self._task, clause.verb, thing, source_noun)
        tool = SUMMARIZER if thing.noun == "summary" and reference else WRITER
        self._draft.has_list |= len(works) > 1
        if thing.noun in ("summary", "abstract", "excerpt") and not reference and not thing.about:
            self._miss_text(clause)
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
        return Product(thing.noun, tuple(steps), name=thing.name.lower() if thing.is_name else "", plural=thing.plural)

    def _sources_of(self, thing: NounPhrase, earlier: list[Product]) -> Reference | None:
        """The steps that a thing is made from, if any."""
        if earlier and thing.about and thing.about[0].low in ("it", "them"):  # "an article and a summary of it"
            return Reference(earlier[0].steps, 0, 0)
        if earlier and thing.about and thing.about[0].low in DETERMINERS:  # "… and a summary of the article"
            nouns = [singular(token.low) for token in thing.about]
            named = next((product for product in reversed(earlier) if product.noun in nouns), None)
            if named is not None:
                return Reference(named.steps, 0, 0)
        if thing.about or thing.names_others:
            return self._scope.find(words_of(thing)) if thing.names_others else self._scope.find(thing.about)
        if earlier and (thing.noun in DERIVED or thing.determiner in ("its", "their")):
            source = next((product for product in reversed(earlier) if product.noun not in DERIVED), None)
            return Reference(source.steps, 0, 0) if source is not None else None
        if self._scope and (thing.noun in DERIVED or thing.determiner in ("its", "their")):
            steps = self._scope.last_steps() if thing.determiner == "their" else self._scope.one()
            return Reference(steps, 0, 0)
        return None

    def _noun_of(self, reference: Reference, earlier: list[Product]) -> str:
        products = [*earlier, *(product for products in self._scope.clauses for product in products)]
        return next((product.noun for product in products if set(reference.steps) <= set(product.steps)), "text")

    def _write_translations(self, clause: Clause, thing: NounPhrase, earlier: list[Product]) -> Product:
        words = [token for token in words_of(thing) if token.low in LANGUAGES]
        languages = [language for token in words for language in languages_in([token])] or list(thing.languages)
        own = [product for product in earlier if product.noun not in DERIVED]
        source = own[-1].steps if own else self._scope.one()
        return self._translations(source, languages, named="", note="", each=False)

    # ------------------------------------------------------------------ translate, convert

    def _translate(self, clause: Clause) -> list[Product]:
        tokens = list(clause.tokens)
        place = language_place(tokens)
        what, languages, note = tokens, list[str](), ""
        if place is not None:
            languages, note = self._languages_after(tokens[place + 1 :])
            what = tokens[:place]
        self._draft.has_list |= len(languages) > 1
        if languages and not clause.material and knows_language(what):  # "A to French and B to German"
            self._draft.unsure.append((said(self._task, what), "what is to be in which language"))
        reference = self._scope.find(what)
        literal = clause.material or ("" if reference is not None else literal_in(self._task, what))
        if reference is None and not literal and self._scope:
            reference = Reference(self._scope.one(), 0, 0)
        if reference is not None and not clause.material:
            named = reference.noun if len(reference.steps) == 1 else ""
            return [self._translations(reference.steps, languages, named=named, note=note, each=True)]
        if not clause.material and (not literal or lacks_text(what)):
            self._miss_text(clause)
        elif not clause.material and self._scope and definite_words(what):
            self._draft.unsure.append((said(self._task, what), "which text that is"))
        names = self._numbered(clause, what)
        if clause.link == "point" and clause.material and languages:
            asked = [(f' "{literal}"', language, literal) for language in languages]
        elif names and languages:
            asked = [(f" {name}", language, name) for name in names for language in languages]
        else:
            asked = [("", language, literal) for language in languages or [""]]
        steps = [
            self._draft.add(
                f"Translate{name} to {language}" if language else capital(clause.text), tool=TRANSLATOR,
                label=f"translation{f' of{name}' if name else ''}",
                words=f"Translate to {language}{note}: {text}" if language and text else whole_of(clause),
            )
            for name, language, text in asked
        ]  # fmt: skip
        return [Product("translation", tuple(steps))]

    def _languages_after(self, tokens: list[Token]) -> tuple[list[str], str]:
        """The languages that are listed, and what follows them."""
        count = languages_counted(tokens)
        if count is None:
            languages, rest = languages_listed(tokens)
            return languages, f" {said(self._task, rest)}" if rest else ""
        chosen = list(USUAL_LANGUAGES[:count])
        if len(chosen) < count:
            self._warn(
                f"the task asks for {count} languages and names none; {len(chosen)} usual ones are taken", "name them"
            )
        self._assume(assumptions.of_range(range_in(tokens), count))
        return chosen, ""

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
        if reference is None and self._scope and not literal_in(self._task, tokens[:place]):
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
            return self._itemwise(clause, tool=tool, noun=label) or self._plain(clause, tool=tool, noun=label)
        groups = [(step,) for step in reference.steps] if reference.each else [reference.steps]
        self._draft.has_list |= len(groups) > 1
        steps = [
            self._draft.add(
                self._described(clause, group, several=len(groups) > 1),
                tool=tool,
                label=label,
                words=asked_of(clause, self._task, reference),
                sources=group,
            )
            for group in groups
        ]
        return [Product("summary", tuple(steps))]

    def _edit(self, clause: Clause) -> list[Product]:
        reference = self._object(clause)
        if reference is None:
            return self._itemwise(clause, tool=WRITER) or self._plain(clause)
        self._draft.has_list |= len(reference.steps) > 1
        several = len(reference.steps) > 1
        reference = replace(reference, each=reference.each or several)
        steps = [
            self._draft.add(
                self._described(clause, (source,), several=several), tool=WRITER,
                label=self._draft.steps[source].label, words=asked_of(clause, self._task, reference), sources=(source,),
            )
            for source in reference.steps
        ]  # fmt: skip
        plural = self._scope.is_plural(reference.steps)
        return [Product(self._noun_of(reference, []), tuple(steps), plural=plural)]

    def _other(self, clause: Clause) -> list[Product]:
        reference = self._object(clause)
        if reference is None:
            return self._itemwise(clause, tool=self._default_tool) or self._plain(clause)
        if reference.each:
            return self._edit(clause)
        step = self._draft.add(
            capital(clause.text),
            tool=self._default_tool,
            label="result",
            words=asked_of(clause, self._task, reference),
            sources=reference.steps,
        )
        return [Product("result", (step,))]

    def _itemwise(self, clause: Clause, *, tool: str | None, noun: str = "result") -> list[Product]:
        """``research wind, sun and water``, ``summarize chapters 1 to 3``: a step for each."""
        names = self._numbered(clause, clause.tokens)
        items = listed(clause.tokens)
        asks_whole = bool(items) and items[0][0].low in QUESTIONS and items[-1][0].low not in QUESTIONS
        if not names and clause.verb in ITEMWISE and len(items) > 1 and not clause.material and not asks_whole:
            names = names_of_items(self._task, items)
            self._draft.unsure += [
                (said(self._task, item), f"whether it is what is to be {clause.verb.removesuffix('e')}ed")
                for item in items[1:] if shares_words(items[0], item)
            ]  # fmt: skip
            self._assume(assumptions.of_items(clause.verb, names, clause.tokens))
        if clause.verb in ITEMWISE and not clause.material:
            self._assume(assumptions.of_pairs(clause.tokens))
        self._draft.has_list |= bool(names)
        steps = [
            self._draft.add(text, tool=tool, label=name, words=text)
            for name in names
            for text in [f"{clause.verb.capitalize()} {name}"]
        ]
        return [Product(noun, tuple(steps))] if steps else []

    def _numbered(self, clause: Clause, tokens: Sequence[Token]) -> list[str]:
        """The names in ``chapter 1, chapter 2 and chapter 3``, where these are what a verb is done to."""
        names = numbered_names(self._task, tokens) if clause.verb not in GATHERING and not clause.material else []
        self._draft.has_list |= bool(names)
        self._assume(assumptions.of_numbered(names) if names and tokens[0].kind != "quoted" else [])
        return names

    def _plain(self, clause: Clause, *, tool: str | None = None, noun: str = "result") -> list[Product]:
        words = whole_of(clause)
        if clause.kind in ("edit", "summarize", "convert") and not clause.material and lacks_text(clause.tokens):
            self._miss_text(clause)
        text = words if clause.link == "point" else capital(clause.text)
        step = self._draft.add(text, tool=tool or self._default_tool, label=noun, words=words)
        return [Product(noun, (step,))]

    def _object(self, clause: Clause) -> Reference | None:
        """What a clause works on: what it refers to, or, without an object, what was made before."""
        if clause.material:
            return None
        reference = self._scope.find(clause.tokens)
        elided = clause.verb in GATHERING or not literal_in(self._task, clause.tokens)
        if reference is None and self._scope and elided and clause.verb:
            gathers = clause.verb in GATHERING
            all_steps = self._scope.several() if gathers else self._scope.last_steps()
            steps = self._scope.one() if clause.kind in ("edit", "summarize") else all_steps
            reference = Reference(steps, 0, 0)
        return reference

    def _described(self, clause: Clause, sources: tuple[int, ...], *, several: bool) -> str:
        if several:
            return f"{clause.verb.capitalize()} {self._draft.steps[sources[0]].label}"
        return capital(clause.text)

    def _assume(self, findings: Sequence[Finding]) -> None:
        self._draft.findings += [finding for finding in findings if finding not in self._draft.findings]

    def _miss_text(self, clause: Clause) -> None:
        self._warn(f"the task does not hold the text to {clause.verb}", f"add it: {clause.verb} …: good morning")

    def _warn(self, message: str, fix: str, severity: str = "warning") -> None:
        self._draft.findings.append(
            Finding("warning" if severity == "warning" else "hint", "unclear-task", message, fix)
        )

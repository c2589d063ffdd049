"""Templates: Jinja2, sandboxed, strict about undefined names, bounded, rendered once.

A template sees ``inputs`` and ``steps``: ``{{ steps.joke.output }}``, ``{{ steps['a.b'].output.title | upper }}``;
those of a step with ``for_each`` see ``item`` and ``index`` too.

Rules of this module:
- Text that a step put out is a value, never a template: nothing is rendered twice.
- A template that cannot be rendered raises :class:`TemplateError` with a plain message, within a second or two.
- Jinja2 is imported when a template needs it. Constant text, plain references (``{{ steps.a.output }}``) and simple
  conditions (``steps.a.output == 'yes'``) do not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from executor.model.findings import Finding, Path
from executor.model.json_values import VALUES_LIMIT, json_faults
from executor.templates.render_budget import (
    OUTPUT_LIMIT_CHARACTERS,
    Stub,
    TemplateError,
    TemplateLimitError,
    UnknownValueError,
    budget,
    refuse_size,
)
from executor.templates.simple_expressions import (
    ABSENT,
    Evaluate,
    SimpleExpression,
    simple_expression,
    truth_of,
)
from executor.templates.steps_view import StepsView

if TYPE_CHECKING:
    from executor.templates.compilation import Compiled

__all__ = [
    "OUTPUT_LIMIT_CHARACTERS",
    "Template",
    "TemplateError",
    "TemplateLimitError",
    "compile_expression",
    "compile_template",
    "evaluate_condition",
    "evaluate_expression",
    "render_text",
    "render_value",
    "templates_in",
]

_MARKERS = re.compile(r"\{[{%#]")
_IN_BRACES = re.compile(r"\{\{(?![-+])([^{}\r]*)(?<![-+])\}\}")
_NOT_AN_EXPRESSION = Finding(
    "error",
    "template-not-an-expression",
    "has to be one expression",
    "write one expression, such as steps.check.output == 'yes'",
)
NO_ITEM: Mapping[str, Any] = {}


class Template:
    """A template, read but not yet run. Made by :func:`compile_template` or :func:`compile_expression`.

    ``references``: ids of the steps that it names. ``inputs``: names of the inputs that it names. ``of_items``: which
    of ``item`` and ``index`` it uses. ``findings``: its faults (without step and path: the caller adds
    them). ``is_constant``: it says what it is.
    """

    __slots__ = (
        "_evaluate", "_expression", "_parts", "_single", "_text", "_value", "findings", "inputs", "of_items",
        "references", "source",
    )  # fmt: skip

    def __init__(self, source: str, *, wants_value: bool = False) -> None:
        """``wants_value``: this has to be one expression, which may be written without its ``{{ }}``."""
        expression = wants_value and _MARKERS.match(source) is None
        self.source = source
        self.references: frozenset[str] = frozenset()
        self.inputs: frozenset[str] = frozenset()
        self.of_items: frozenset[str] = frozenset()
        self.findings: tuple[Finding, ...] = ()
        self._expression = expression
        self._single = expression
        # Of a single simple expression; it gives ABSENT where Jinja2 has to say what is wrong.
        self._evaluate: Evaluate | None = None
        self._text: Compiled | None = None
        self._value: Compiled | None = None
        # Text and simple expressions in turn; None if Jinja2 has to read the template.
        self._parts: list[str | SimpleExpression] | None = None
        if expression:
            simple = simple_expression(source)
            self._parts = None if simple is None else [simple]
        else:
            self._parts = _parts(source)
        if self._parts is not None and wants_value and _is_text(self._parts):
            self._parts = None
        if self._parts is not None:
            places = [place for part in self._parts if not isinstance(part, str) for place in part.references]
            self.references = frozenset(place.step for place in places if place.step is not None)
            self.inputs = frozenset(place.input for place in places if place.input is not None)
            self.of_items = frozenset(place.variable for place in places if place.variable is not None)
            first = self._parts[0]
            if len(self._parts) == 1 and not isinstance(first, str):
                self._single, self._evaluate = True, first.evaluate
            return
        from executor.templates.inspection import analyse  # noqa: PLC0415  # imports Jinja2

        analysis = analyse(source, expression=expression)
        self.references = frozenset(analysis.references)
        self.inputs = frozenset(analysis.inputs)
        self.of_items = frozenset(analysis.of_items)
        self.findings = tuple(analysis.findings)
        self._single = analysis.single_expression
        if wants_value and not self._single and not self.findings:
            self.findings = (_NOT_AN_EXPRESSION,)

    @property
    def is_constant(self) -> bool:
        """Whether the text means itself."""
        return self._parts is not None and all(isinstance(part, str) for part in self._parts)

    def text(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], of_item: Mapping[str, Any] = NO_ITEM) -> str:
        """The rendered text. ``of_item``: what ``item`` and ``index`` stand for.

        Raises:
            TemplateError: it cannot be rendered.
            UnknownValueError: on the virtual clock: it depends on a value that only a run knows.

        """
        if self._parts is not None:
            texts: list[str] = []
            for part in self._parts:
                value = part if isinstance(part, str) else part.evaluate(inputs, outputs, of_item)
                if type(value) is not str:
                    if value is not None and not isinstance(value, str | int | float):
                        break
                    value = str(value)
                texts.append(value)
            else:
                text = "".join(texts)
                refuse_size("the text", len(text))
                return text
        text = self._run(inputs, outputs, of_item, native=False)
        assert isinstance(text, str)
        return text

    def value(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], of_item: Mapping[str, Any] = NO_ITEM) -> Any:
        """The value of a single expression, as it is; the text of anything else.

        Raises:
            TemplateError: it cannot be rendered, or its value is none that JSON can hold.

        """
        if not self._single and not self.findings:
            return self.text(inputs, outputs, of_item)
        value = ABSENT if self._evaluate is None else self._evaluate(inputs, outputs, of_item)
        if value is not ABSENT:
            return value
        return _json_value(self._run(inputs, outputs, of_item, native=True))

    def truth(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> bool:
        """Whether the value counts as true (as Python and Jinja2 see it: empty and zero do not)."""
        value = ABSENT if self._evaluate is None else self._evaluate(inputs, outputs, NO_ITEM)
        truth = value if type(value) is bool else truth_of(value)
        if truth is not ABSENT:
            return bool(truth)
        return bool(self._run(inputs, outputs, NO_ITEM, native=True))

    def _run(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], of_item: Mapping[str, Any], *, native: bool
    ) -> Any:
        for finding in self.findings:
            raise TemplateError(f"{finding.message}; {finding.fix}" if finding.fix else finding.message)
        variables = {**of_item, "inputs": inputs if type(inputs) is dict else dict(inputs), "steps": StepsView(outputs)}
        with budget(stub_prints=False):
            return _translated(lambda: self._compiled(native=native), variables)

    def _compiled(self, *, native: bool) -> Compiled:
        from executor.templates.compilation import Compiled, parse  # noqa: PLC0415  # imports Jinja2

        compiled = self._value if native else self._text
        if compiled is None:
            compiled = Compiled(parse(self.source, expression=self._expression), native=native)
            if native:
                self._value = compiled
            else:
                self._text = compiled
        return compiled


def _is_text(parts: Sequence[str | SimpleExpression]) -> bool:
    """Whether the parts are anything but one expression."""
    return len(parts) != 1 or isinstance(parts[0], str)


def _parts(source: str) -> list[str | SimpleExpression] | None:
    """The template as text and simple expressions, or None if there is more to it.

    Markers are met from left to right, as Jinja2 meets them, so that ``{{{`` and the like are left to it.
    """
    parts: list[str | SimpleExpression] = []
    position = 0
    while (marker := _MARKERS.search(source, position)) is not None:
        braces = _IN_BRACES.match(source, marker.start())
        simple = None if braces is None or "\r" in source else simple_expression(braces[1])
        if braces is None or simple is None:
            return None
        if braces.start() > position:
            parts.append(source[position : braces.start()])
        parts.append(simple)
        position = braces.end()
    if position < len(source) or not parts:
        parts.append(source[position:])
    return parts


class _Runs(Protocol):
    def run(self, variables: Mapping[str, Any]) -> Any: ...

    def line_of(self, error: BaseException) -> int | None: ...


def _translated(compiled: Callable[[], _Runs], variables: Mapping[str, Any]) -> Any:
    """Run, and turn whatever a template can raise into a :class:`TemplateError`."""
    template: _Runs | None = None
    try:
        template = compiled()
        return template.run(variables)
    except (TemplateError, UnknownValueError):
        raise
    except RecursionError:
        raise TemplateLimitError(
            "the template, or a value in it, is nested too deeply (or calls itself for ever)"
        ) from None
    except MemoryError:
        raise TemplateLimitError("the template needs too much memory") from None
    except Exception as error:  # a template can raise whatever its values raise
        line = template.line_of(error) if template is not None else None
        place = f"line {line} of the template: " if line is not None and line > 1 else ""
        known = type(error).__module__.startswith("jinja2")
        raise TemplateError(f"{place}{error if known else f'{type(error).__name__}: {error}'}") from error


def _json_value(value: Any) -> Any:
    """A native value as JSON has it: views, ranges and lazy results become lists.

    Raises:
        TemplateError: JSON cannot hold it.

    """
    if value is None or isinstance(value, bool | int) or type(value) is str:
        return value
    if isinstance(value, range | Iterator) or type(value).__name__ in {"dict_keys", "dict_values", "dict_items"}:
        with budget():
            value = _translated(lambda: _Listed(value), {})
    value = _without_tuples(value)
    if _holds(value, Stub):
        return value  # on the virtual clock: in part only a run knows it
    for path, wrong in json_faults(value):
        place = f" ({Finding('error', '', '', path=path).field})" if path else ""
        raise TemplateError(f"the value of the expression{place} {wrong}")
    return value


class _Listed:
    """A lazy result, run when it becomes a list."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def run(self, variables: Mapping[str, Any]) -> Any:
        return list(self._value)

    def line_of(self, error: BaseException) -> int | None:
        return None


def _without_tuples(value: Any) -> Any:
    """The value itself if it holds no tuples, else a copy with lists in their place."""
    if not _holds(value, tuple):
        return value
    return _rebuilt(value, lambda text: text)


def _holds(value: Any, kind: type) -> bool:
    """Whether a value of that type is in the value, or is it."""
    stack = [value]
    for _ in range(VALUES_LIMIT):
        if not stack:
            return False
        current = stack.pop()
        if isinstance(current, kind):
            return True
        if isinstance(current, dict):
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)
    return False


def _rebuilt(value: Any, change: Callable[[str], Any]) -> Any:
    """A copy of a nested value with every text changed."""
    root = [value]
    stack: list[tuple[Any, Any]] = [(root, 0)]
    visited = 0
    while stack:
        holder, key = stack.pop()
        visited += 1
        if visited > VALUES_LIMIT:
            raise TemplateLimitError(f"the arguments hold more than {VALUES_LIMIT:,} values")
        current = holder[key]
        if isinstance(current, str):
            holder[key] = change(current)
        elif isinstance(current, dict):
            holder[key] = dict(current)
            stack.extend((holder[key], name) for name in current)
        elif isinstance(current, list | tuple):
            holder[key] = list(current)
            stack.extend((holder[key], place) for place in range(len(current)))
    return root[0]


@functools.lru_cache(maxsize=4096)
def compile_template(source: str) -> Template:
    """Read a template. Never raises: what is wrong is in ``findings``, and is raised when it is rendered."""
    return Template(source)


@functools.lru_cache(maxsize=4096)
def compile_expression(source: str) -> Template:
    """Read an expression (`when`, `for_each`): ``steps.check.output == 'yes'``, bare or in ``{{ }}``."""
    return Template(source.strip(), wants_value=True)


def render_text(
    source: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], of_item: Mapping[str, Any] = NO_ITEM
) -> str:
    """A prompt. ``outputs``: the outputs of (at least) the steps that it refers to, by id; ``of_item``: what ``item``
    and ``index`` stand for.

    Raises:
        TemplateError: it cannot be rendered.

    """
    if "{" not in source:
        return source
    return compile_template(source).text(inputs, outputs, of_item)


def render_value(
    value: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any], of_item: Mapping[str, Any] = NO_ITEM
) -> Any:
    """Arguments: every text in the nested value is a template. A text that is exactly one ``{{ expression }}`` becomes
    its native value; any other becomes text. Values that hold no template are returned as they are, not copied.

    Raises:
        TemplateError: a template cannot be rendered.

    """
    if type(value) is str:
        return compile_template(value).value(inputs, outputs, of_item) if "{" in value else value
    if next(templates_in(value), None) is None:
        return value

    def rendered(text: str) -> Any:
        return compile_template(text).value(inputs, outputs, of_item) if "{" in text else text

    return _rebuilt(value, rendered)


def evaluate_expression(source: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """The native value of an expression (`for_each`), bare or in ``{{ }}``.

    Raises:
        TemplateError: it cannot be evaluated.

    """
    return compile_expression(source).value(inputs, outputs)


def evaluate_condition(source: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> bool:
    """Whether a condition (`when`) holds. The condition is an expression, bare or in ``{{ }}``.

    Raises:
        TemplateError: it cannot be evaluated.

    """
    return compile_expression(source).truth(inputs, outputs)


def templates_in(value: Any) -> Iterator[tuple[Path, str]]:
    """Every text in a nested value that may be a template, with the way to it; in the order of the file."""
    stack: list[tuple[Any, Path]] = [(value, ())]
    while stack:
        current, path = stack.pop()
        if isinstance(current, str):
            if "{" in current:
                yield path, current
        elif isinstance(current, dict):
            stack.extend((item, (*path, key)) for key, item in reversed(current.items()))
        elif isinstance(current, list | tuple):
            stack.extend((current[place], (*path, place)) for place in range(len(current) - 1, -1, -1))

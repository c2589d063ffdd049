"""Expressions that need no Jinja2: references, and comparisons of them, read once into closures.

    steps.check.output == 'yes' and not inputs.quiet
    steps.list.output | length > 2
    steps.a.output.kind in ['x', 'y']

Rules of this module:
- What it reads means the same to Jinja2. What it does not read is left to Jinja2.
- A closure gives :data:`ABSENT` where a value is missing, unknown, large or of another type than JSON's simple ones:
  Jinja2 then says what is wrong, or counts the cost.
- Nothing here grows with a value: texts above :data:`TEXT_LIMIT_CHARACTERS` are left to Jinja2.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeAlias

ABSENT = object()
TEXT_LIMIT_CHARACTERS = 4096
INTEGER_LIMIT = 2**63
_SOURCE_LIMIT_CHARACTERS = 1000
_DEPTH_LIMIT = 10

# Names of Jinja2 are ASCII here; what begins with "__" is left to the sandbox to refuse.
_NAME = r"(?!__)[A-Za-z_][A-Za-z_0-9]*"
_REFERENCE = (
    rf"(?:steps(?:\.(?P<id>{_NAME})|\[(?P<quote>['\"])(?P<quoted>(?!__)[^'\"\\\n]+)(?P=quote)\])\.output"
    rf"|inputs\.(?P<input>{_NAME})|(?P<item>item|index)\b)(?P<keys>(?:\.{_NAME})*)"
)
_SPACE = re.compile(r"[ \t\n]*")
_TOKEN = re.compile(
    rf"(?P<reference>{_REFERENCE})(?![\w(\[.])"
    r"|(?P<word>[A-Za-z_]+)(?![\w(\[.])"
    r"|(?P<number>-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?)(?![\w.])"
    r"|(?P<text>'[^'\\\n{}]*'|\"[^\"\\\n{}]*\")"
    r"|(?P<sign>==|!=|<=|>=|<|>|\||\(|\)|\[|\]|,)",
    re.ASCII,
)
_CONSTANTS = {"true": True, "false": False, "none": None, "True": True, "False": False, "None": None}
_WORDS = frozenset({"and", "or", "not", "in", "is"})
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_FILTERS: dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "length": ((str, list, dict), len),
    "count": ((str, list, dict), len),
    "lower": ((str,), str.lower),
    "upper": ((str,), str.upper),
    "trim": ((str,), str.strip),
    "string": ((str, int, float, bool, NoneType), str),
}

Values: TypeAlias = Mapping[str, Any]
# inputs, outputs, what `item` and `index` are -> the value
Evaluate: TypeAlias = Callable[[Values, Values, Values], Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that a template looks into: a step's output, an input, or `item` or `index`; and the keys behind it."""

    step: str | None
    input: str | None
    variable: str | None
    keys: tuple[str, ...]

    @classmethod
    def of_match(cls, match: re.Match[str]) -> Reference:
        """What a token refers to."""
        keys = tuple(match["keys"].split(".")[1:])
        return cls(match["id"] or match["quoted"], match["input"], match["item"], keys)

    def look_up(self, inputs: Values, outputs: Values, of_item: Values) -> Any:
        """The value, or :data:`ABSENT` where Jinja2 has to say what is wrong (or knows a method)."""
        value: Any = ABSENT
        if self.step is not None:
            value = outputs.get(self.step, ABSENT)
        elif self.input is not None:
            value = inputs.get(self.input, ABSENT)
        elif self.variable is not None:
            value = of_item.get(self.variable, ABSENT)
        for key in self.keys:
            if not isinstance(value, dict) or key not in value:
                return ABSENT
            value = value[key]
        return value

    def reader(self) -> Evaluate:
        """:meth:`look_up`, for the reference that is by far the most frequent in one look."""
        step = self.step
        if step is None or self.keys:
            return self.look_up

        def output(inputs: Values, outputs: Values, of_item: Values) -> Any:  # noqa: ARG001  # as all of them are called
            return outputs.get(step, ABSENT)

        return output


@dataclass(frozen=True, slots=True)
class SimpleExpression:
    """An expression with all the places that it refers to."""

    evaluate: Evaluate
    references: tuple[Reference, ...]


def simple_expression(source: str) -> SimpleExpression | None:
    """Read an expression; None if it is not a simple one."""
    if len(source) > _SOURCE_LIMIT_CHARACTERS:
        return None
    try:
        return _Reader(source).expression()
    except _NotSimpleError:
        return None


class _NotSimpleError(Exception):
    """Jinja2 has to read it."""


class _Reader:
    """Reads by the precedence of Jinja2: `or`, `and`, `not`, one comparison, filters."""

    def __init__(self, source: str) -> None:
        self._references: list[Reference] = []
        self._tokens: list[re.Match[str]] = []
        self._place = self._depth = 0
        position = 0
        while position < len(source):
            position = _end(_SPACE.match(source, position))
            if position == len(source):
                break
            token = _TOKEN.match(source, position)
            if token is None:
                raise _NotSimpleError
            self._tokens.append(token)
            position = token.end()

    def expression(self) -> SimpleExpression:
        evaluate = self._any_of()
        if self._place != len(self._tokens):
            raise _NotSimpleError
        return SimpleExpression(evaluate, tuple(self._references))

    def _next(self) -> re.Match[str]:
        if self._place == len(self._tokens):
            raise _NotSimpleError
        token = self._tokens[self._place]
        self._place += 1
        return token

    def _took(self, text: str) -> bool:
        """Whether the next token is this word or sign; if so it is taken."""
        taken = self._place < len(self._tokens) and self._tokens[self._place][0] == text
        self._place += taken
        return taken

    def _any_of(self) -> Evaluate:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise _NotSimpleError
        parts = [self._all_of()]
        while self._took("or"):
            parts.append(self._all_of())
        self._depth -= 1
        return _first(parts, wanted=True)

    def _all_of(self) -> Evaluate:
        parts = [self._negation()]
        while self._took("and"):
            parts.append(self._negation())
        return _first(parts, wanted=False)

    def _negation(self) -> Evaluate:
        turned = 0
        while self._took("not"):
            turned += 1
        evaluate = self._comparison()
        return evaluate if not turned else _truth(evaluate, negated=turned % 2 == 1)

    def _comparison(self) -> Evaluate:
        left = self._operand()
        if self._took("is"):
            negated = self._took("not")
            if not self._took("none"):
                raise _NotSimpleError
            return _is_none(left, negated=negated)
        for sign, compare in _COMPARISONS.items():
            if self._took(sign):
                places = len(self._references)
                right = self._operand()
                if len(self._references) > places:
                    return _compared(compare, left, right)
                return _compared_with(compare, left, right({}, {}, {}))
        if self._took("in"):
            return _contained(left, self._container(), negated=False)
        if self._took("not"):
            if not self._took("in"):
                raise _NotSimpleError
            return _contained(left, self._container(), negated=True)
        return left

    def _operand(self) -> Evaluate:
        token = self._next()
        if token[0] == "(":
            inner = self._any_of()
            if not self._took(")"):
                raise _NotSimpleError
            return inner
        if token["reference"] is None:
            return _constant(self._constant(token))
        reference = Reference.of_match(token)
        self._references.append(reference)
        evaluate: Evaluate = reference.reader()
        while self._took("|"):
            kinds_and_filter = _FILTERS.get(self._next()[0])
            if kinds_and_filter is None:
                raise _NotSimpleError
            evaluate = _filtered(evaluate, *kinds_and_filter)
        return evaluate

    def _constant(self, token: re.Match[str]) -> Any:
        if token["text"] is not None:
            return token["text"][1:-1]
        if token["number"] is not None:
            return float(token["number"]) if "." in token["number"] else int(token["number"])
        if token["word"] in _CONSTANTS:
            return _CONSTANTS[token["word"]]
        raise _NotSimpleError

    def _container(self) -> Evaluate:
        """A text, or a list of constants."""
        if not self._took("["):
            return self._operand()
        values: list[Any] = []
        while not self._took("]"):
            values.append(self._constant(self._next()))
            if not self._took(","):
                if not self._took("]"):
                    raise _NotSimpleError
                break
        return _constant(tuple(values))


def _end(match: re.Match[str] | None) -> int:
    assert match is not None
    return match.end()


def _is_simple(value: Any) -> bool:
    """Whether comparing it costs little and can fail in no way that Jinja2 has to explain."""
    kind = type(value)
    if kind is str:
        return len(value) <= TEXT_LIMIT_CHARACTERS
    if kind is int:
        return bool(-INTEGER_LIMIT < value < INTEGER_LIMIT)
    return value is None or kind is bool or kind is float


def _constant(value: Any) -> Evaluate:
    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:  # noqa: ARG001  # as all of them are called
        return value

    return run


def truth_of(value: Any) -> Any:
    """Whether the value counts as true, or :data:`ABSENT`."""
    return bool(value) if _is_simple(value) or type(value) in (list, dict) else ABSENT


def _truth(evaluate: Evaluate, *, negated: bool) -> Evaluate:
    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        truth = truth_of(evaluate(inputs, outputs, of_item))
        return truth if truth is ABSENT else truth is not negated

    return run


def _first(parts: list[Evaluate], *, wanted: bool) -> Evaluate:
    """The first part whose truth is ``wanted``, else the last one: `or` (True) and `and` (False)."""
    if len(parts) == 1:
        return parts[0]

    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        value: Any = ABSENT
        for part in parts:
            value = part(inputs, outputs, of_item)
            truth = truth_of(value)
            if truth is ABSENT:
                return ABSENT
            if truth is wanted:
                break
        return value

    return run


def _compared(compare: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        first, second = left(inputs, outputs, of_item), right(inputs, outputs, of_item)
        if not (_is_simple(first) and _is_simple(second)):
            return ABSENT
        try:
            return compare(first, second)
        except TypeError:
            return ABSENT

    return run


def _compared_with(compare: Callable[[Any, Any], Any], left: Evaluate, constant: Any) -> Evaluate:
    """:func:`_compared` with what never changes, as most conditions do."""
    if not _is_simple(constant):
        return _constant(ABSENT)

    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        value = left(inputs, outputs, of_item)
        if not _is_simple(value):
            return ABSENT
        try:
            return compare(value, constant)
        except TypeError:
            return ABSENT

    return run


def _contained(left: Evaluate, right: Evaluate, *, negated: bool) -> Evaluate:
    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        value, container = left(inputs, outputs, of_item), right(inputs, outputs, of_item)
        if not _is_simple(value):
            return ABSENT
        if type(container) is not tuple and not (type(value) is type(container) is str and _is_simple(container)):
            return ABSENT
        return (value in container) is not negated

    return run


def _is_none(evaluate: Evaluate, *, negated: bool) -> Evaluate:
    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        value = evaluate(inputs, outputs, of_item)
        if not (_is_simple(value) or type(value) in (list, dict)):
            return ABSENT
        return (value is None) is not negated

    return run


def _filtered(evaluate: Evaluate, kinds: tuple[type, ...], change: Callable[[Any], Any]) -> Evaluate:
    def run(inputs: Values, outputs: Values, of_item: Values) -> Any:
        value = evaluate(inputs, outputs, of_item)
        kind = type(value)
        if kind not in kinds or not (kind is list or kind is dict or _is_simple(value)):
            return ABSENT
        return change(value)

    return run

"""The Jinja2 environment that templates run in: sandboxed, strict about undefined names, bounded.

Imports Jinja2: only :mod:`executor.templates.template` imports this module, and only when a template is really needed.

Rules of this module:
- A template sees JSON values, the views of :mod:`executor.templates.template` and Jinja2's own helpers; nothing else.
- Whatever can cost much is metered by :mod:`executor.templates.render_budget`: loops, macros, operators, filters, calls
  and the text that is put out. Meters are built into the parsed template.
- Nothing here depends on the clock, on chance or on the machine.
"""

from __future__ import annotations

import functools
import itertools
import operator
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import StrictUndefined, pass_context
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.tests import TESTS
from jinja2.utils import Cycler, Joiner, Namespace, missing

from executor.model.findings import nearest
from executor.templates.charges import (
    LAZY_FILTERS,
    SORTS_AND_LOOKS_DEEP,
    charge_calculation,
    charge_comparison,
    charge_filter,
    charge_key,
    charge_method,
    charge_pairs,
    charge_pattern,
    charge_search,
    charge_text_of,
    integer_work,
    parts_of,
)
from executor.templates.filters import FILTERS
from executor.templates.render_budget import (
    RANGE_LIMIT,
    STUB,
    Stub,
    TemplateError,
    TemplateLimitError,
    UnknownValueError,
    check_numbers,
    check_percent_format,
    measure,
    metered,
    refuse_size,
    spend,
    spend_characters,
    stub_prints,
)

_TEXT_METHODS = frozenset({
    "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "format_map", "index",
    "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable",
    "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
    "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
    "strip", "swapcase", "title", "upper", "zfill",
})  # fmt: skip
METHODS: dict[type, frozenset[str]] = {
    str: _TEXT_METHODS,
    list: frozenset({"count", "index", "copy"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"get", "items", "keys", "values", "copy"}),
}
_JINJA_TESTS: dict[str, Callable[..., Any]] = dict(TESTS)  # type: ignore[arg-type]  # Jinja2 types them by their first one
# What an error looks at to find a name that is near.
_NAME_LIMIT = 100
_NAMES_COMPARED = 150
_HELPERS = (LoopContext, Macro, Cycler, Joiner, Namespace)


class Missing(StrictUndefined):
    """A name or key that is not there. Says which ones there are, if one is near."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        name = self._undefined_name
        if self._undefined_obj is missing:
            return f"{name!r} is not defined"
        if not isinstance(self._undefined_obj, dict):
            return f"{_describe(self._undefined_obj)} has no {_shown(name)}"
        near = None
        if isinstance(name, str) and 0 < len(name) <= _NAME_LIMIT:
            keys = itertools.islice(self._undefined_obj, _NAMES_COMPARED)
            near = nearest(name, [key for key in keys if isinstance(key, str) and len(key) <= _NAME_LIMIT])
        return f"the mapping has no {_shown(name)}{f'; did you mean {near!r}?' if near else ''}"


def _shown(name: object) -> str:
    """A name or key as a message shows it: nothing long."""
    if isinstance(name, list | tuple | dict) or (isinstance(name, int) and name.bit_length() > 64):
        return f"{_describe(name)} as a key"
    text = repr(name[:_NAME_LIMIT] if isinstance(name, str) else name)
    return f"{text}…" if isinstance(name, str) and len(name) > _NAME_LIMIT else text


def _describe(value: object) -> str:
    names = {str: "a text", list: "a list", int: "a number", float: "a number", bool: "true or false"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


class Formatter(SandboxedFormatter):
    """``str.format`` with a bound on each field and on the whole."""

    def __init__(self, environment: Sandbox) -> None:
        super().__init__(environment)
        self._environment = environment
        self._size = 0

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion is not None:
            measure(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Stub):
            raise UnknownValueError
        for digits in "".join(sign if sign.isdigit() else " " for sign in format_spec).split():
            check_numbers("format", iter((int(digits[:12]),)))
        text = str(super().format_field(value, format_spec)) if format_spec else self._environment.text(value)
        self._size += len(text)
        refuse_size("a formatted text", self._size)
        spend(4 + len(text) // 128)
        return text


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment. Its public methods beside Jinja2's own are what the meters in a parsed template call."""

    intercepted_binops = frozenset({"+", "-", "*", "**", "/", "//", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=Missing, autoescape=False, keep_trailing_newline=True, finalize=_finalize)
        self.globals = {
            "range": bounded_range,
            "dict": bounded_dict,
            "namespace": Namespace,
            "cycler": Cycler,
            "joiner": Joiner,
        }
        self.filters = {name: _metered_filter(name, function) for name, function in FILTERS.items()}
        self.tests = {name: _metered_test(name, test) for name, test in _JINJA_TESTS.items()}
        self.concat = self.joined  # type: ignore[method-assign]  # Jinja2's own hook (native types use it)

    # -- what the meters call -------------------------------------------------------------------------------------

    def tick(self, work: int) -> bool:
        """Called once in every turn of a loop and every call of a macro."""
        spend(work)
        return True

    def built(self, value: Any) -> Any:
        """A list, tuple or mapping that the template wrote: measured, so that it cannot grow by doubling."""
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Undefined):
                str(item)
        measure(value)
        return value

    def weighed(self, value: Any) -> Any:
        """A value that is about to be compared or searched."""
        charge_comparison(value)
        return value

    def searched(self, value: Any, part: Any) -> Any:
        """A value in which another one is about to be looked for."""
        if isinstance(value, str):
            charge_search(value, part)
        else:
            charge_comparison(value)
            charge_comparison(part)
        return value

    def searched_whole(self, value: Any) -> Any:
        """The same, where the other one is not at hand: as dear as it can be."""
        if isinstance(value, str):
            spend(1 + len(value) * (100 if len(value) < 30_000 else 8) // 128)
        else:
            charge_comparison(value)
        return value

    def cut(self, value: Any) -> Any:
        """A slice, which is a copy."""
        if isinstance(value, str):
            spend(1 + len(value) // 128)
        elif isinstance(value, list | tuple):
            spend(1 + len(value) // 32)
        return value

    def concatenated(self, *values: Any) -> Any:
        """The operator ``~``."""
        return STUB if has_stub(values) else self.joined(self.text(value) for value in values)

    def joined(self, parts: Iterable[str]) -> str:
        """What blocks, macros and ``~`` put together."""
        texts = list(parts)
        size = sum(map(len, texts))
        refuse_size("a text", size)
        spend(1 + len(texts) // 16 + size // 256)
        return "".join(texts)

    def text(self, value: Any) -> str:
        """The value as text, if it has one."""
        if type(value) is str:
            return value
        if isinstance(value, Stub):
            if stub_prints():
                return ""
            raise UnknownValueError
        if isinstance(value, list | tuple | dict | set | frozenset):
            charge_text_of(value)
        elif type(value) is int:
            spend(integer_work(value))
        elif not isinstance(value, str | int | float | Undefined | Macro | type(None)) and not hasattr(
            value, "to_text"
        ):
            if callable(value):
                name = getattr(value, "__name__", "it")
                raise TemplateError(f"there is no field {name!r}, only a method; write `{name}()` if that is meant")
            raise TemplateError(
                f"{_describe(value)} has no text; turn it into one with a filter such as `list` or `join`"
            )
        return str(value)

    # -- what Jinja2 calls ----------------------------------------------------------------------------------------

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``a.b``. The keys of a mapping come before its methods: the values are JSON."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Stub):
            return obj
        reader = getattr(type(obj), "read_for_template", None)
        return reader(obj, attribute) if reader is not None else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``a['b']``."""
        if isinstance(obj, Stub):
            return obj
        if type(argument) is tuple:
            charge_key(argument)
        reader = getattr(type(obj), "read_for_template", None)
        return reader(obj, argument) if reader is not None else super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods that make new values from JSON values, and the helpers of Jinja2; nothing else."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return isinstance(obj, _HELPERS) or attr in METHODS.get(type(obj), ())

    def wrap_str_format(self, value: Any) -> Callable[..., Any] | None:
        """``str.format`` and ``format_map``, sandboxed and bounded."""
        if not isinstance(value, types.BuiltinMethodType) or value.__name__ not in {"format", "format_map"}:
            return None
        pattern = value.__self__
        if not isinstance(pattern, str):
            return None
        by_map = value.__name__ == "format_map"

        def formatted(*args: Any, **kwargs: Any) -> Any:
            if by_map:
                kwargs, args = args[0], ()
            if has_stub(args) or has_stub(kwargs.values()):
                return STUB
            charge_pattern(pattern)
            return Formatter(self).vformat(pattern, args, kwargs)

        return formatted

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # Jinja2's names: they leave all keywords free
        """``a(b)``."""
        if isinstance(__obj, Stub):
            return __obj
        owner = getattr(__obj, "__self__", None)
        if owner is __self:
            return __obj(*args)  # a meter
        if isinstance(owner, str):
            if has_stub(args):
                return STUB
            charge_method(__obj.__name__, owner, (*args, *kwargs.values()) if kwargs else args)
        elif isinstance(owner, list | tuple):
            measure(args)
            if args:
                measure(owner)
            else:
                spend(len(owner) // 32)
        elif isinstance(owner, LoopContext):
            measure(args)
        elif isinstance(owner, dict):
            if args:
                charge_key(args[0])
            elif __obj.__name__ == "copy":
                spend(len(owner) // 16)
        spend(2 + len(args) // 8 + len(kwargs) // 2)
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(owner, str):
            spend(len(result) // (128 if isinstance(result, str) else 4) if isinstance(result, str | list) else 0)
            return result
        return __self.built(result) if __obj is bounded_dict else result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The operators that can make something large."""
        if isinstance(left, Stub) or isinstance(right, Stub):
            return STUB
        if operator == "+":
            return self.added(left, right)
        if operator == "%":
            if isinstance(left, str):
                check_percent_format(left, right)
            else:
                charge_calculation(operator, left, right)
            return left % right
        charge_calculation(operator, left, right)
        if operator in "-//":  # neither makes anything large
            return self.binop_table[operator](left, right)
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                refuse_size("a repeated value", len(many) * times)
                if not isinstance(many, str):
                    refuse_size("a repeated value", measure(many) * times)
                spend(1 + max(0, len(many) * times) // 64)
        return self.binop_table[operator](left, right)

    @staticmethod
    def added(left: Any, right: Any) -> Any:
        """``left + right``, measured."""
        if type(left) is int and type(right) is int:
            charge_calculation("+", left, right)
        if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            refuse_size("a sum", len(left) + len(right))
            spend(1 + (len(left) + len(right)) // 32)
        return operator.add(left, right)


def has_stub(values: Iterable[Any]) -> bool:
    return any(isinstance(value, Stub) for value in values)


@pass_context  # so that Jinja2 evaluates no constant expression while it compiles
def _finalize(context: Context, value: Any) -> str:
    environment = context.environment
    assert isinstance(environment, Sandbox)
    text = environment.text(value)
    spend_characters(len(text))
    return text


def bounded_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """``dict``, whose cost is known before it is made."""
    if args:
        charge_pairs(args[0])
    return dict(*args, **kwargs)


def bounded_range(*args: Any) -> range:
    """``range`` with at most :data:`RANGE_LIMIT` numbers."""
    numbers = range(*args)
    try:
        long = len(numbers) > RANGE_LIMIT
    except OverflowError:
        long = True
    if long:
        raise TemplateLimitError(f"a range has more than {RANGE_LIMIT:,} numbers")
    return numbers


def _metered_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    item_work = LAZY_FILTERS.get(name)

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        options = args[first + 1 :]
        if kwargs:
            options += tuple(kwargs.values())
        value = args[first]
        if isinstance(value, Stub) or (options and has_stub(options)):
            return STUB
        charge_filter(name, value, options)
        if item_work is not None and isinstance(value, Iterable):
            args = (*args[:first], metered(value, item_work + len(options) + parts_of(options)), *args[first + 1 :])
        elif isinstance(value, Iterator) and not isinstance(value, _HELPERS):
            if name in SORTS_AND_LOOKS_DEEP:
                value = list(metered(value))
                charge_filter(name, value, options)
                args = (*args[:first], value, *args[first + 1 :])
            else:
                args = (*args[:first], metered(value), *args[first + 1 :])
        result = function(*args, **kwargs)
        if type(result) is str:
            refuse_size("a text", len(result))
            spend(len(result) // 128)
        elif isinstance(result, Iterator):
            return metered(result)
        return result

    return bounded


def _metered_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    as_text = name in {"lower", "upper"}

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        operands = args[first:]
        if has_stub(operands):
            raise UnknownValueError
        spend(2)
        if as_text:
            charge_text_of(operands[0])
        elif len(operands) > 1:
            for value in operands:
                charge_comparison(value)
            if name == "in" and isinstance(operands[1], str):
                charge_search(operands[1], operands[0])
            elif name == "divisibleby":
                if not all(isinstance(value, int | float) for value in operands):
                    raise TemplateError("the test 'divisibleby' is for numbers")
                charge_calculation("%", *operands)
        return function(*args, **kwargs)

    return bounded


@functools.lru_cache(maxsize=1)
def sandbox() -> Sandbox:
    """The one environment. It holds no state of any rendering."""
    return Sandbox()

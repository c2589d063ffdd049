"""The filters that templates have: Jinja2's, less those that are random, unbounded or about HTML pages.

Rules of this module:
- A filter makes a new value from its value and options; it changes nothing and knows no chance.
- Filters that could make much from little are written here so that they measure first.
- `tojson` writes plain JSON: prompts and arguments are no HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import pass_environment
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import ignore_case, make_attrgetter
from markupsafe import escape

from executor.templates.charges import integer_work
from executor.templates.render_budget import Stub, UnknownValueError, check_percent_format, refuse_size, spend
from executor.templates.word_wrapping import wordwrap

_KEPT = (
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "filesizeformat", "first",
    "float", "groupby", "indent", "items", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "reverse", "round", "select", "selectattr", "slice", "sort", "title", "truncate",
    "upper", "urlencode", "wordcount",
)  # fmt: skip

_LARGE = 2**61 - 1


def _text(environment: Any, value: Any) -> str:
    return str(environment.text(value))


@pass_environment
def _join(environment: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    separator = _text(environment, d)
    texts: list[str] = []
    size = 0
    for item in items:
        if isinstance(item, Stub):
            raise UnknownValueError
        text = _text(environment, item)
        size += len(text) + len(separator)
        refuse_size("a joined text", size)
        spend(2)
        texts.append(text)
    return separator.join(texts)


@pass_environment
def _replace(environment: Any, value: Any, old: str, new: str, count: int | None = None) -> str:
    text, old, new = _text(environment, value), _text(environment, old), _text(environment, new)
    times = text.count(old) if count is None else min(count, text.count(old))
    refuse_size("a text", len(text) + max(0, times) * max(0, len(new) - len(old)))
    return text.replace(old, new, -1 if count is None else count)


@pass_environment
def _format(environment: Any, value: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format takes values by place or by name, not both")
    pattern = _text(environment, value)
    check_percent_format(pattern, kwargs or args)
    return pattern % (kwargs or args)


@pass_environment
def _sum(environment: Any, iterable: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    items = iterable if attribute is None else map(make_attrgetter(environment, attribute), iterable)
    total = start
    for item in items:
        if isinstance(item, Stub):
            raise UnknownValueError
        spend(2)
        total = environment.added(total, item)
    return total


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _int(value: Any, default: int = 0, base: int = 10) -> Any:
    number = JINJA_FILTERS["int"](value, default, base)
    if type(number) is int:
        spend(integer_work(number))
    return number


@pass_environment
def _trim(environment: Any, value: Any, chars: str | None = None) -> str:
    return _text(environment, value).strip(chars)


@pass_environment
def _unique(
    environment: Any, value: Iterable[Any], case_sensitive: bool = False, attribute: str | int | None = None
) -> Iterator[Any]:
    key_of = make_attrgetter(environment, attribute, postprocess=None if case_sensitive else ignore_case)
    seen: set[Any] = set()
    for item in value:
        key = key_of(item)
        # The hash of a large number is known beforehand: with many of the same one a set is a list.
        if isinstance(key, int | float) and abs(key) >= _LARGE and key == key // 1:
            key = ("a large number", hex(int(key)))
        if key not in seen:
            seen.add(key)
            yield item


@pass_environment
def _escape(environment: Any, value: Any) -> str:
    return str(escape(_text(environment, value)))


@pass_environment
def _string(environment: Any, value: Any) -> str:
    return _text(environment, value)


FILTERS: dict[str, Callable[..., Any]] = {
    **{name: JINJA_FILTERS[name] for name in _KEPT},
    "e": _escape,
    "escape": _escape,
    "int": _int,
    "trim": _trim,
    "unique": _unique,
    "wordwrap": wordwrap,
    "format": _format,
    "join": _join,
    "replace": _replace,
    "string": _string,
    "sum": _sum,
    "tojson": _tojson,
}

"""The filters that templates have: Jinja2's, less those that are random, unbounded or about HTML pages.

Rules of this module:
- A filter makes a new value from its value and options; it changes nothing and knows no chance.
- Filters that could make much from little are written here so that they measure first.
- `tojson` writes plain JSON: prompts and arguments are no HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import pass_environment
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import make_attrgetter
from markupsafe import escape

from executor.templates.render_budget import Stub, UnknownValueError, check_percent_format, measure, refuse_size, spend

_KEPT = (
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "filesizeformat", "first",
    "float", "groupby", "indent", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "reverse", "round", "select", "selectattr", "slice", "sort", "title", "trim", "truncate", "unique",
    "upper", "urlencode", "wordcount", "wordwrap",
)  # fmt: skip


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
        spend(1)
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
        spend(1)
        total = environment.added(total, item)
    return total


def _tojson(value: Any, indent: int | None = None) -> str:
    measure(value)
    return json.dumps(value, ensure_ascii=False, indent=indent)


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
    "format": _format,
    "join": _join,
    "replace": _replace,
    "string": _string,
    "sum": _sum,
    "tojson": _tojson,
}

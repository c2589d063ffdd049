"""No template takes more time than it is charged for: every filter, test, operator and method, on large values and in
loops.

A unit of work is measured, in the same run, on plain loops. Time is that of the thread's CPU, and all are ratios.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from executor.templates.compilation import Compiled, parse
from executor.templates.render_budget import budget, spent
from executor.templates.sandbox import METHODS as SAFE_METHODS
from executor.templates.sandbox import sandbox
from executor.templates.steps_view import StepsView

# How many times the time of a plain loop a unit may take. Machines differ in what is slow on them; what is charged
# too little by its kind (quadratic, or by the item instead of the character) is off by far more.
MOST_RATIO = 6.0
# What one rendering costs before it does anything.
START_UNITS = 150
LENGTH = 31_000
ITEMS = 600
PRIME = 2**61 - 1


def same_for(names: list[str], given: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(names, given)


VALUES: dict[str, Any] = {
    "one_word": "a" * LENGTH,
    "one_other": "a" * (LENGTH - 1) + "b",
    "words": "ab " * (LENGTH // 3),
    "lines": "a\n" * (LENGTH // 2),
    "blanks": " " * LENGTH,
    "dashes": "-" * LENGTH,
    "numbers_and_dashes": "1-" * (LENGTH // 2),
    "tabs": "\t" * (LENGTH // 10),
    "digits": "7" * 4_200,
    "many_digits": "7" * LENGTH,
    "fraction": "0." + "7" * LENGTH,
    "hexadecimal": "f" * LENGTH,
    "percents": "%%" * (LENGTH // 2),
    "braces": "{{" * (LENGTH // 2),
    "fields": "{0}" * 1_000,
    "faces": "\U0001f600\u00df" * (LENGTH // 2),
    "quotes": '"\\\x01' * (LENGTH // 3),
    "letters": list("hello world " * (ITEMS // 12)),
    "integers": list(range(ITEMS, 0, -1)),
    "floats": [number / 7 for number in range(ITEMS)],
    "colliding": [number * PRIME for number in range(1_000)],
    "large_integers": [7**4_900] * 100,
    "texts": [f"{number % 97:03}" * 20 for number in range(ITEMS // 4)],
    "long_texts": [f"{'a' * 20_000}{number % 7}" for number in range(40)],
    "rows": [{"k": f"{number % 89}", "n": number % 7, "m": {"x": number}} for number in range(ITEMS // 4)],
    "pairs": [[number % 13, number] for number in range(ITEMS // 4)],
    "equal_lists": [[1.5] * 2_000 + [number] for number in range(60)],
    "shared": [["a" * 1_000] * 100] * 30,
    "mapping": {f"key{number}": str(number % 11) for number in range(ITEMS // 2)},
    "integer": 7**4_900,
    "small": 3,
    "short": "Abc d",
    "few": [3, 1, 2],
    "row": {"k": "v"},
    "no": None,
}

# Every filter, with its options; `x` is the value.
FILTERS: dict[str, list[str]] = {
    "abs": [""],
    "attr": ["('k')"],
    "batch": ["(2)", "(99999, 'x')", "(3, 'x')"],
    "capitalize": [""],
    "center": ["(99)", "(99999)"],
    "count": [""],
    "d": ["('y')", "('y', true)"],
    "default": ["('y')", "('y', true)"],
    "dictsort": ["", "(by='value')", "(true, reverse=true)"],
    "e": [""],
    "escape": [""],
    "filesizeformat": [""],
    "first": [""],
    "float": ["", "(0.5)"],
    "format": ["(1)", "(x)", "(k=x)"],
    "groupby": ["('k')", "('n')", "('m.x')", "(1)", "('k.k.k.k.k.k.k.k.k.k', default='')"],
    "indent": ["", "(99)", "(2, true, true)", "('> ')"],
    "int": ["", "(base=16)", "(base=36)", "(base=0)"],
    "items": [""],
    "join": ["", "(', ')", "(x)", "('', attribute='k')", "('', attribute='m.x')"],
    "last": [""],
    "length": [""],
    "list": [""],
    "lower": [""],
    "map": [
        "('upper')",
        "('trim')",
        "(attribute='k')",
        "(attribute='m.x.y.z', default=1)",
        "('length')",
        "('string')",
        "('replace', 'a', 'b')",
        "('tojson')",
        "('wordwrap', 1)",
    ],
    "max": ["", "(attribute='k')", "(true)"],
    "min": ["", "(attribute='m.x')"],
    "reject": ["", "('odd')", "('in', x)", "('eq', x)", "('none')"],
    "rejectattr": ["('k')", "('k', 'eq', '1')"],
    "replace": ["('a', 'b')", "('a', 'bb')", "('', 'b')", "('aaaaaaab', 'c')", "(x, 'c')", "('a', 'b', 5)"],
    "reverse": [""],
    "round": ["", "(300)", "(2, 'floor')", "(1, 'ceil')"],
    "select": ["", "('odd')", "('in', x)", "('string')"],
    "selectattr": ["('k')", "('m.x', 'gt', 5)"],
    "slice": ["(3)", "(99999)", "(7, 'x')"],
    "sort": ["", "(true, true)", "(attribute='k')", "(attribute='k,n,m.x')", "(attribute=1)"],
    "string": [""],
    "sum": ["", "(start='')", "(start=[])", "(attribute='n')"],
    "title": [""],
    "tojson": ["", "(indent=2)", "(16)"],
    "trim": ["", "(x)", "('bcdefghijklmnopqrstuvwxyza')", "('a')"],
    "truncate": ["", "(99999, true)", "(5, leeway=0)", "(5, false, x)"],
    "unique": ["", "(true)", "(attribute='k')"],
    "upper": [""],
    "urlencode": [""],
    "wordcount": [""],
    "wordwrap": ["", "(1)", "(99999)", "(3, false)", "(3, wrapstring='<br>')", "(4, break_on_hyphens=false)"],
}
# Every test, with its arguments; `y` equals the value and is another one.
TESTS: dict[str, list[str]] = {
    **same_for(
        [
            "boolean",
            "callable",
            "defined",
            "escaped",
            "even",
            "false",
            "float",
            "integer",
            "iterable",
            "lower",
            "mapping",
            "none",
            "number",
            "odd",
            "sequence",
            "string",
            "true",
            "undefined",
            "upper",
        ],
        [""],
    ),
    **same_for(
        [
            "==",
            "!=",
            "<",
            "<=",
            ">",
            ">=",
            "eq",
            "equalto",
            "ge",
            "greaterthan",
            "gt",
            "le",
            "lessthan",
            "lt",
            "ne",
            "sameas",
        ],
        ["(y)", "(3)"],
    ),
    "divisibleby": ["(3)", "(0.1)", "(y)"],
    "filter": [""],
    "test": [""],
    "in": ["(y)", "([y, y])", "([x])", "('aaab')"],
}
OPERATORS = [
    "x == y", "x != y", "x < y", "x >= y", "x < y < z", "x in y", "'aaab' in x", "7 in x", "x not in y", "[x] == [y]",
    "x in [y, y, y]", "x + x", "x ~ x", "x * 3", "3 * x", "x - x", "x / 3", "x // 3", "x % 3", "x ** 2", "-x", "+x",
    "x // 10 ** 300", "x % 10 ** 300", "'%s' % x", "'%r%r' % (x, x)", "x % 'a'", "x % (1, 2)", "x[1:]", "x[::-1]",
    "x[:99999]", "x[0]", "x['k']", "x.k", "x[x]", "{'k': 1}[x]", "not x", "x and y", "x or y", "x if x else y",
    "[x, x]", "{'a': x}", "(x, x)", "dict(x)", "dict(a=x)", "range(*x)", "cycler(*x)", "joiner(*x)", "namespace(a=x)",
    "[x, y, 1]|sort", "{'k': x}|tojson", "x is mapping and x.k == y", "x|string|upper", "x|list|sort", "x|list|unique",
    "x|list|groupby(0)", "x|map('string')|join", "x|map('string')|map('upper')|map('trim')|list",
    "x|select|map('string')|reject('odd')", "(x|int(base=16)) // 3", "(x|string) % x", "x|string|wordwrap(2)",
]  # fmt: skip
METHODS: dict[type, dict[str, list[str]]] = {
    str: {
        **same_for(
            [
                *("capitalize", "casefold", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier"),
                *("islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "lower", "swapcase", "title"),
                "upper",
            ],
            ["()"],
        ),
        **same_for(["count", "find", "index", "rfind", "rindex"], ["('a')", "('aaab')", "('b' + x[1:99999])", "(x)"]),
        **same_for(["partition", "rpartition"], ["('b' ~ x[1:99999])", "('aaab')", "('ab' ~ x[1:99999])"]),
        **same_for(
            ["split", "rsplit"], ["()", "('a')", "('b')", "(' ', 5)", "('ab' ~ x[1:99999])", "('aaab')"]
        ),
        **same_for(["strip", "lstrip", "rstrip"], ["()", "('a')", "(x)", "('bcdefghijklmnopqrstuvwxyza')"]),
        **same_for(["center", "ljust", "rjust"], ["(9)", "(99999)", "(99999, 'x')"]),
        **same_for(["startswith", "endswith", "removeprefix", "removesuffix"], ["('a')", "(y)"]),
        "expandtabs": ["()", "(2)"],
        "format": ["(1)", "(x)"],
        "format_map": ["({'a': x})"],
        "join": ["(x)", "(['a', 'b'])", "([x, x])"],
        "replace": ["('a', 'b')", "('', 'b')", "('aaab', 'c')", "(x, 'c')", "('a', 'b', 3)"],
        "splitlines": ["()", "(true)"],
        "zfill": ["(9)", "(99999)"],
    },
    list: {"count": ["(x[0])", "(y)", "(y[-1])"], "index": ["(y[-1])", "(0)"], "copy": ["()"]},
    dict: {"get": ["('k')", "(1)"], "items": ["()", "()|list"], "keys": ["()|list"], "values": ["()|sort"],
           "copy": ["()"]},
}  # fmt: skip
BLOCKS = [
    "{% for a in x %}{{ a }}{% endfor %}",
    "{% for a in x if a %}{% endfor %}",
    "{% for a in x %}{{ loop.changed(x) }}{% endfor %}",
    "{% for a in x %}{{ loop.length }}{{ loop.cycle('a', 'b') }}{{ loop.previtem }}{% endfor %}",
    "{% for a, b in x %}{{ a }}{% endfor %}",
    "{% set a %}{{ x }}{% endset %}{{ a }}{{ x }}",
    "{% filter upper %}{{ x }}{% endfilter %}",
    "{% macro m(a, b=x) %}{{ a }}{{ caller() }}{% endmacro %}{% call m(x) %}{{ x }}{% endcall %}",
    "{% macro m() %}{{ varargs | length }}{% endmacro %}{{ m(*x) }}",
    "{% macro m() %}{{ kwargs | length }}{% endmacro %}{{ m(**x) }}",
    "{% with a = x %}{{ a }}{% endwith %}{% if x %}{{ x | length }}{% endif %}{{ x }}{{ x }}",
]


def expressions() -> list[str]:
    found = [f"x|{name}{option}" for name, options in FILTERS.items() for option in options]
    found += [f"x is {name}{argument}" for name, given in TESTS.items() if name.isalpha() for argument in given]
    found += [f"[x]|select('{name}', y)|list" for name in TESTS if not name.isalpha()]
    found += OPERATORS
    return found + sorted(
        {
            f"x.{name}{given}"
            for methods in METHODS.values()
            for name, all_given in methods.items()
            for given in all_given
        }
    )


@functools.cache
def copies() -> dict[str, Any]:
    """The same values once more, none of them the same object."""

    def copied(value: Any) -> Any:
        if isinstance(value, str):
            return "".join([value[:1], value[1:]])
        if isinstance(value, list):
            return [copied(item) for item in value]
        return {copied(key): copied(item) for key, item in value.items()} if isinstance(value, dict) else value

    return {name: copied(value) for name, value in VALUES.items()}


def cost(compiled: Compiled, name: str, others: dict[str, Any]) -> tuple[float, int]:
    """CPU seconds and units of work of one rendering, whatever comes of it."""
    value = VALUES[name]
    variables = {"x": value, "y": others[name], "z": 5, "steps": StepsView({})}
    with budget():
        began = time.thread_time()
        try:
            result = compiled.run(variables)
            if isinstance(result, Iterator):
                list(result)
        except Exception:  # what it costs to find out that it does not work counts, too
            pass
        return time.thread_time() - began, spent()


def unit_seconds() -> float:
    """CPU seconds of one unit of work in plain templates."""
    loops = [
        "{% for a in range(20000) %}{{ a }}{% endfor %}",
        "{% for a in range(20000) %}{% if a > 5 and a < 30 %}{{ a + 1 }}{% endif %}{% endfor %}",
    ]
    found = []
    for source in loops:
        compiled = Compiled(parse(source, expression=False), native=False)
        seconds, units = min(cost(compiled, "small", copies()) for _ in range(5))
        found.append(seconds / units)
    return max(found)


def too_cheap(compiled: Compiled, names: list[str]) -> dict[str, float]:
    """The values at which a unit takes too long, with how many times too long. Measured again before it counts."""
    found = {}
    for name in names:
        ratio = 0.0
        for _ in range(4):
            seconds, units = cost(compiled, name, copies())
            again = seconds / (units + START_UNITS) / unit_seconds_once()
            ratio = min(ratio, again) if ratio else again
            if ratio <= MOST_RATIO or seconds > 1:
                break
        if ratio > MOST_RATIO:
            found[name] = round(ratio, 1)
    return found


@functools.cache
def unit_seconds_once() -> float:
    return unit_seconds()


# What shows most of the faults, in half a minute. All of them compare times, so they are for the nightly tests.
QUICK = ["one_word", "words", "lines", "texts", "long_texts", "rows", "integer"]
SMALL = ["small", "short", "few", "row", "no", "digits", "integer"]


def test_every_filter_test_and_method_is_among_those_that_are_measured() -> None:
    assert set(FILTERS) == set(sandbox().filters)
    assert set(TESTS) == set(sandbox().tests)
    assert {kind: set(methods) for kind, methods in METHODS.items()} == {
        kind: set(SAFE_METHODS[kind]) for kind in METHODS
    }


def found_among(names: list[str]) -> dict[str, dict[str, float]]:
    sources = [(source, True) for source in expressions()] + [(source, False) for source in BLOCKS]
    found = {
        source: too_cheap(Compiled(parse(source, expression=expression), native=expression), names)
        for source, expression in sources
    }
    return {source: ratios for source, ratios in found.items() if ratios}


@pytest.mark.nightly
def test_nothing_on_large_values_takes_more_time_than_it_is_charged_for() -> None:
    assert found_among(QUICK) == {}


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_nothing_on_any_large_value_takes_more_time_than_it_is_charged_for() -> None:
    assert found_among(list(VALUES)) == {}


@pytest.mark.nightly
def test_nothing_in_a_loop_takes_more_time_than_it_is_charged_for() -> None:
    found = {}
    for source in expressions():
        loop = f"{{% for i in range(50) %}}{{% set r = ({source}) %}}{{% endfor %}}"
        found[source] = too_cheap(Compiled(parse(loop, expression=False), native=False), SMALL)
    assert {source: ratios for source, ratios in found.items() if ratios} == {}

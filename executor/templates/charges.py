"""What filters, tests, operators and methods cost, in units of work: charged before they run.

Rules of this module:
- A charge follows the cost of the worst value of that size: the length of the texts, the items, and their logarithm
  where something is sorted, their product where a search is quadratic.
- A charge is counted, never timed. tests/unit/test_template_costs.py measures that it covers the time.
- What would be too large is refused before it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from executor.templates.render_budget import (
    ARGUMENT_LIMIT,
    INTEGER_LIMIT_BITS,
    TemplateError,
    TemplateLimitError,
    check_numbers,
    measure,
    refuse_size,
    spend,
    weigh,
)

# Characters of a text that a filter or method handles for one unit. What is not named: 64 (it copies or compares).
_CHARACTERS_A_UNIT = {
    "capitalize": 12, "casefold": 8, "center": 64, "dictsort": 8, "e": 12, "escape": 12, "expandtabs": 16, "float": 8,
    "format": 8, "format_map": 8, "groupby": 4, "indent": 8, "int": 8, "join": 4, "list": 16, "lower": 12, "max": 1,
    "min": 1, "slice": 16, "sort": 1, "splitlines": 16, "split": 16, "rsplit": 16, "swapcase": 12, "title": 2,
    "tojson": 16, "trim": 32, "strip": 32, "lstrip": 32, "rstrip": 32, "truncate": 64, "unique": 1, "upper": 12,
    "urlencode": 3, "wordcount": 3, "isalnum": 16, "isalpha": 16, "isdecimal": 16, "isdigit": 16, "isidentifier": 16,
    "islower": 16, "isnumeric": 16, "isprintable": 16, "isspace": 16, "istitle": 8, "isupper": 16, "items": 64,
    "batch": 4,
}  # fmt: skip
_SEARCHES = frozenset({"count", "find", "index", "partition", "replace", "split"})
# Python looks for these from the right, character by character.
_SEARCHES_FROM_THE_RIGHT = frozenset({"rfind", "rindex", "rpartition", "rsplit"})
_STRIPS = frozenset({"trim", "strip", "lstrip", "rstrip"})
# Filters that go through their items one by one as these are asked for: each costs so many units.
LAZY_FILTERS = {"map": 5, "select": 5, "reject": 5, "selectattr": 7, "rejectattr": 7}
_SORTS = frozenset({"sort", "groupby", "dictsort"})
SORTS_AND_LOOKS_DEEP = _SORTS | {"unique", "min", "max", "urlencode", "tojson"}
_WRITES = frozenset({"urlencode", "tojson"})
_LONG_OPTIONS = frozenset({"replace", "join", "format", "trim", "truncate", "wordwrap"})
_AT_ONCE = frozenset({"length", "count", "first", "last", "default", "d", "items", "attr"})
_CALL = 2


def charge_filter(name: str, value: Any, options: tuple[Any, ...]) -> None:
    """Refuse what would be giant, and spend what the filter costs."""
    if name in {"default", "d"}:
        spend(_CALL)
        return
    widest = longest = parts = 1
    if options:
        limit = 300 if name == "round" else 16 if name == "tojson" else ARGUMENT_LIMIT
        check_numbers(f"the filter {name!r}", iter(options), limit)
        texts = [option for option in options if isinstance(option, str)]
        longest = max(map(len, texts), default=1)
        parts = 1 + parts_of(texts)
        widest = max((abs(option) for option in options if isinstance(option, int)), default=1)
    spend(_CALL + (4 * parts if parts > 1 else 0) + (4 if name == "attr" else 0) + widest // 64)
    if name == "round" and not isinstance(value, int | float):
        raise TemplateError("the filter 'round' is for numbers")
    if isinstance(value, str):
        _charge_text_filter(name, value, options, longest, widest, parts)
    elif isinstance(value, list | tuple | dict | range):
        _charge_items_filter(name, value, parts, widest)
    elif type(value) is int:
        spend(integer_work(value))


def parts_of(options: Iterable[Any]) -> int:
    """How many steps the names of attributes in the options have beyond one: each is looked up for each item."""
    return sum(option.count(".") + option.count(",") for option in options if isinstance(option, str))


def _charge_text_filter(name: str, text: str, options: tuple[Any, ...], longest: int, widest: int, parts: int) -> None:
    length = len(text)
    if name in SORTS_AND_LOOKS_DEEP and name not in _WRITES:
        spend(5 * parts * length)
    if name in _SORTS:
        spend(length * length.bit_length() // 16)
    spend(length // _CHARACTERS_A_UNIT.get(name, 64))
    if name not in _LONG_OPTIONS and name not in {"groupby", "map", "select", "selectattr", "reject", "rejectattr"}:
        refuse_size("a text", (length + 1) * max(1, longest))
    if name == "indent":
        lines = text.count("\n") + 1
        refuse_size("a text", length + lines * max(widest, longest))
        spend(lines // 2)
    elif name == "replace" and options:
        charge_search(text, options[0])
    elif name == "trim" and options:
        charge_strip(text, options[0])
    elif name == "slice":
        spend(widest * 3 // 2)


def _charge_items_filter(
    name: str, items: list[Any] | tuple[Any, ...] | dict[Any, Any] | range, parts: int, widest: int
) -> None:
    if name in _AT_ONCE or name in LAZY_FILTERS:
        return
    length = len(items)
    if name not in SORTS_AND_LOOKS_DEEP:
        spend(length // 4)
        if name == "batch":
            refuse_size("a list", length + widest)
        elif name == "slice":
            spend(widest * 3 // 2)
        elif name in {"string", "lower", "upper", "title", "capitalize", "trim", "e", "escape", "replace", "center",
                      "indent", "wordcount", "wordwrap", "truncate", "urlencode"}:  # fmt: skip
            charge_text_of(items)
        return
    if name in _WRITES:
        charge_text_of(items)
        return
    size, count = (0, 0) if isinstance(items, range) else weigh(items)
    spend(size // 16 + (2 + 3 * parts) * length)
    if name in _SORTS:
        # An item is compared about log n times with another one: with all that both hold in common.
        spend((length // 2 + count // 8 + size // 512) * length.bit_length())


def charge_method(name: str, text: str, args: tuple[Any, ...]) -> None:
    """Refuse the call of a text's method whose result would be giant, and spend what the others cost."""
    length = len(text)
    if args:
        check_numbers(name, iter(args), ARGUMENT_LIMIT)
    spend(1 + length // _CHARACTERS_A_UNIT.get(name, 64))
    if not args:
        if name == "expandtabs":
            refuse_size("a text", length + text.count("\t") * 8)
        return
    first = args[0]
    if name in _STRIPS:
        charge_strip(text, first)
    elif name in _SEARCHES:
        charge_search(text, first)
    elif name in _SEARCHES_FROM_THE_RIGHT and isinstance(first, str):
        spend(1 + max(0, length - len(first)) * len(first) // 128)
    if name == "replace" and len(args) > 1:
        refuse_size("a text", length + text.count(str(first)) * max(0, len(str(args[1])) - len(str(first))))
    elif name == "expandtabs":
        refuse_size("a text", length + text.count("\t") * int(first))
    elif name == "join":
        if isinstance(first, list | tuple | dict | str):
            size = measure(first) + length * len(first)
            refuse_size("a text", size)
            spend(size // 64 + len(first) // 4)
    elif name in {"center", "ljust", "rjust", "zfill"} and isinstance(first, int):
        spend(abs(first) // 64)


def charge_search(text: str, part: Any) -> None:
    """What it costs to look for a part in a text from the left. Long texts are searched in linear time."""
    if not isinstance(part, str):
        return
    length, size = len(text), len(part)
    if size > length:
        return
    spend(length // 16 if length >= 30_000 else 1 + length * (min(size, 100) if length >= 2_500 else size) // 128)


def charge_strip(text: str, characters: Any) -> None:
    """What it costs to look each character up in a list of characters."""
    if isinstance(characters, str) and len(characters) > 8:
        spend(len(characters) // 16 + len(text) * len(characters) // 128)


def charge_comparison(value: Any) -> None:
    """A value that is about to be compared or searched."""
    if isinstance(value, str):
        spend(len(value) // 128)
    elif isinstance(value, list | tuple | dict):
        measure(value)
    elif type(value) is int:
        spend(integer_work(value))


def charge_text_of(value: Any) -> None:
    """What it costs to write a list or a mapping as text."""
    size, count = weigh(value)
    spend(size // 16 + count)


def charge_calculation(operator: str, left: Any, right: Any) -> None:
    """Refuse to calculate with numbers that could not be printed: products and quotients of these are quadratic."""
    if not (isinstance(left, int) and isinstance(right, int)):
        return
    bits = left.bit_length() + right.bit_length()
    if operator == "**" and abs(left) > 1:
        bits = left.bit_length() * max(right, 0)
    if bits > 64:
        if bits > (INTEGER_LIMIT_BITS if operator in {"*", "**"} else 2 * INTEGER_LIMIT_BITS + 2) and abs(left) > 1:
            raise TemplateLimitError("the template computes a number with thousands of digits")
        spend(bits * bits // 2**20 + bits // 256)


def integer_work(number: int) -> int:
    """What it costs to write an integer in digits: quadratic in their number.

    Raises:
        TemplateLimitError: it has more digits than Python writes.

    """
    bits = number.bit_length()
    if bits <= 64:
        return 0
    if bits > 2 * INTEGER_LIMIT_BITS:
        raise TemplateLimitError("the template works on a number with thousands of digits")
    return bits * bits // 2**20 + 1


def charge_key(key: Any) -> None:
    """What it costs to look for a key: a tuple is gone through each time."""
    if type(key) is tuple:
        measure(key)


def charge_pairs(pairs: Any) -> None:
    """``dict(pairs)``: numbers whose hash is the same are compared each with each."""
    if not isinstance(pairs, list | tuple | dict):
        return
    spend(len(pairs) * 2)
    if isinstance(pairs, list | tuple):
        keys = [pair[0] for pair in pairs if isinstance(pair, list | tuple) and pair]
        spend(colliding_work(keys))


def colliding_work(keys: Iterable[Any]) -> int:
    """What it costs to put keys into one mapping beyond one look each."""
    large = sum(1 for key in keys if isinstance(key, int | float) and abs(key) >= 2**61 - 1)
    return large * large // 32


def charge_pattern(pattern: str) -> None:
    """``str.format``: each field is read and formatted by Python code."""
    spend(
        len(pattern) // 8
        + 12 * (pattern.count("{") + pattern.count("}"))
        + 4 * (pattern.count(".") + pattern.count("["))
    )

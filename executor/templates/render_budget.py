"""How much one rendering may do: work, characters, the size of what it builds.

Rules of this module:
- Bounds are counted, never timed: the same template fails on every machine or on none.
- What would be too large is refused before it is made.
- One unit of work is about the cost of one node of a template (0.3 µs): the budget is spent in
  less than a second of CPU time in plain templates, and in some seconds at the very worst.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

WORK_LIMIT = 2_500_000
OUTPUT_LIMIT_CHARACTERS = 10_000_000
# All expressions of a rendering together: text may pass through blocks and macros before it is put out.
THROUGHPUT_LIMIT_CHARACTERS = 4 * OUTPUT_LIMIT_CHARACTERS
RANGE_LIMIT = 100_000
ARGUMENT_LIMIT = 100_000
# Just below what Python turns into text (4,300 digits).
INTEGER_LIMIT_BITS = 14_000


class TemplateError(ValueError):
    """A template that cannot be rendered. The message says why, in plain words; another attempt cannot help."""

    retryable = False


class TemplateLimitError(TemplateError):
    """A template that does too much: a loop without an end, a recursion, a giant value."""


class UnknownValueError(Exception):
    """A trial rendering came to a decision that depends on a value which only a run knows."""


class Stub:
    """In place of a value that only a run knows. It may be handed on; a look at it raises
    :class:`UnknownValueError`.
    """

    __slots__ = ()

    def _look(self, *_others: object) -> Any:
        raise UnknownValueError

    __bool__ = __len__ = __iter__ = __hash__ = __index__ = __int__ = __float__ = __contains__ = _look
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = __repr__ = _look

    def _pass_on(self, *_others: object) -> Stub:
        return self

    __getitem__ = __neg__ = __pos__ = __abs__ = _pass_on


STUB = Stub()


class _Account(threading.local):
    """What is left of the budget of the rendering that runs on this thread."""

    work = 0
    characters = 0
    # In a trial, an unknown value may be printed, but not into a buffer that the template can look at.
    stub_prints = True


_account = _Account()


@contextmanager
def budget(*, stub_prints: bool = True) -> Iterator[None]:
    """Give the rendering inside a fresh budget."""
    before = _account.work, _account.characters, _account.stub_prints
    _account.work, _account.characters, _account.stub_prints = WORK_LIMIT, THROUGHPUT_LIMIT_CHARACTERS, stub_prints
    try:
        yield
    finally:
        _account.work, _account.characters, _account.stub_prints = before


def spent() -> int:
    """Units of work that the rendering on this thread has taken from its budget so far."""
    return WORK_LIMIT - max(0, _account.work)


def spend(work: int) -> None:
    """Take units of work from the budget.

    Raises:
        TemplateLimitError: it is spent.

    """
    _account.work -= work
    if _account.work < 0:
        raise TemplateLimitError(
            "the template does too much: a loop or a macro runs too often (or for ever), or works on too large values"
        )


def spend_characters(characters: int) -> None:
    """Take characters from the budget, and the work of copying them."""
    _account.characters -= characters
    if _account.characters < 0:
        raise TemplateLimitError(f"the template writes more than {OUTPUT_LIMIT_CHARACTERS:,} characters")
    spend(characters // 256)


def stub_prints() -> bool:
    """Whether a trial may print unknown values."""
    return _account.stub_prints


def refuse_size(what: str, size: int, limit: int = OUTPUT_LIMIT_CHARACTERS) -> None:
    """Refuse to make ``what`` if its size (characters or items) is above the limit."""
    if size > limit:
        raise TemplateLimitError(f"{what} would be larger than {limit:,}")


def measure(value: Any) -> int:
    """The size of a value, with all that it holds: characters of text, plus one per item. Costs work.

    A value that holds another one twice counts it twice, as printing or comparing it would.
    """
    return weigh(value)[0]


def weigh(value: Any) -> tuple[int, int]:
    """The size as :func:`measure` has it, and how many of it are items. Costs work."""
    if type(value) is str:
        spend(len(value) // 128)
        return len(value), 0
    size = count = 0
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, str):
            size += 1 + len(current)
            continue
        size += 1
        if type(current) is int:
            if not -(2**63) < current < 2**63:
                digits = current.bit_length() // 3
                size += digits
                spend(1 + digits * digits // 2**17)
            continue
        if isinstance(current, dict):
            items: Collection[Any] = [*current, *current.values()]
        elif isinstance(current, list | tuple | set | frozenset | range):
            items = current
        else:
            continue
        count += len(items)
        spend(1 + len(items) // 2)
        if size + len(stack) + len(items) > OUTPUT_LIMIT_CHARACTERS:
            raise TemplateLimitError(f"the template builds a value larger than {OUTPUT_LIMIT_CHARACTERS:,} characters")
        stack.extend(items)
    spend(size // 128)
    return size, count


def metered(items: Iterable[Any], work: int = 1) -> Iterator[Any]:
    """The same items, lazily, each for so many units of work."""
    for item in items:
        spend(work)
        yield item


def check_numbers(what: str, arguments: Iterator[Any], limit: int = ARGUMENT_LIMIT) -> None:
    """Refuse widths, counts and precisions that are too large."""
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > limit:
            raise TemplateLimitError(f"{what} is called with a number above {limit:,}")


def check_percent_format(pattern: str, arguments: Any) -> None:
    """Refuse ``%`` formatting whose result could be giant."""
    spend(1 + len(pattern) // 8)
    widths = sum(int(digits[:12]) for digits in re.findall(r"\d+", pattern))
    values = list(arguments) if isinstance(arguments, tuple) else [arguments]
    if isinstance(arguments, Mapping):
        values = list(arguments.values())
    stars = max((abs(value) for value in values if isinstance(value, int)), default=0) * pattern.count("*")
    fields = pattern.count("%")
    size = len(pattern) + widths + stars + fields * measure(values)
    refuse_size("a formatted text", size)
    spend(fields // 2 + size // 64)

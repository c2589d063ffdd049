"""Values on their way between processes: pickled, and if that is impossible, named.

Rules of this module:
- What can be imported travels by name; what lives in the user's script (or cannot be imported where it is going)
  travels by value, with cloudpickle.
- The error says which part of the value it was, and of which type.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from executor.record.outcomes import Failure

PROTOCOL = 5
# A pickle that refers to the user's script by name would look for it in the worker's own main module.
_MAIN = b"__main__"


class NotPicklableError(Exception):
    """A value cannot travel: the message names the part that cannot, its type and the reason."""


def failure_of(error: BaseException) -> Failure:
    """:meth:`.Failure.of`; what cannot be pickled would be no other in another attempt."""
    failure = Failure.of(error)
    if isinstance(error, NotPicklableError):
        return replace(failure, error_type="NotPicklable", retryable=False)
    return failure


def not_picklable(step_id: str, error: NotPicklableError) -> Failure:
    """The failure of a step whose arguments or result cannot travel."""
    return Failure("NotPicklable", f"step {step_id!r}: {error}", retryable=False)


def unreadable_result(step_id: str, error: Exception) -> Failure:
    """The failure of a step whose result came, and cannot be read in this process."""
    message = f"step {step_id!r}: its result cannot be read here: {type(error).__name__}: {error}"
    return Failure("NotPicklable", message, retryable=False)


def dumps(value: Any, name: str) -> bytes:
    """The value as bytes; ``name`` is what the error calls it.

    Raises:
        NotPicklableError: it cannot be pickled.
    """
    try:
        data = pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001  # a value's own methods may raise anything; the second way says what
        return _by_value(value, name)
    if _MAIN in data:
        return _by_value(value, name)
    return data


def _by_value(value: Any, name: str) -> bytes:
    import cloudpickle  # noqa: PLC0415  # most values never need it

    try:
        data: bytes = cloudpickle.dumps(value, PROTOCOL)
    except Exception as error:
        place, part, reason = _culprit(value, name, error)
        kind = f"{type(part).__module__}.{type(part).__qualname__}".removeprefix("builtins.")
        raise NotPicklableError(f"{place} is a {kind}, which cannot be pickled ({reason})") from error
    return data


def _culprit(value: Any, name: str, error: Exception) -> tuple[str, Any, Exception]:
    """The innermost part of nested data that fails by itself: its place, the part, and why."""
    import cloudpickle  # noqa: PLC0415  # as above

    seen: set[int] = set()
    while id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, Mapping):
            parts = [(f"{name}[{key!r}]", part) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            parts = [(f"{name}[{place}]", part) for place, part in enumerate(value)]
        else:
            break
        for place, part in parts:
            try:
                cloudpickle.dumps(part, PROTOCOL)
            except Exception as reason:  # noqa: BLE001  # as in `dumps`
                name, value, error = place, part, reason
                break
    return name, value, error

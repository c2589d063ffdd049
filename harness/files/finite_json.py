"""JSON of files and databases, as JSON defines it: its numbers are finite, and what is wrong is said in plain words.

Rules of this module:
- ``NaN``, ``Infinity`` and numbers beyond the range of floats are refused: no figure can be made of them.
- Where lines matter to a person, :mod:`harness.files.strict_file` reads the file instead.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def read_finite_json(text: str | bytes) -> Any:
    """The value.

    Raises:
        ValueError: it is no JSON, nested too deeply, or holds a number that is not finite.

    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(plain_fault(error)) from None


def plain_fault(error: Exception) -> str:
    """What is wrong with JSON, without advice for programmers."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if "int_max_str_digits" in str(error):
        return "it holds a number of more than 4,300 digits"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no {error.encoding.upper()}"
    return str(error)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number

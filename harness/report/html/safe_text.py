"""Text from runs made harmless and visible: for HTML, for a script block, for a file in UTF-8. Pure.

Rules of this module:
- Control characters become the signs that Unicode has for them; what turns the writing direction or hides itself
  is named. Nothing is dropped, so that two different ids stay different wherever that is possible.
- Half a surrogate pair, which no file can hold, becomes U+FFFD.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

# What is shown where there is no value.
NOTHING: Final = "–"
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
# They reorder or hide the text around them: an id must not look like another.
_INVISIBLE: Final = (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0x061C, 0xFEFF)
_SIGNS: Final[dict[int, str]] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **{code: f"⟨U+{code:04X}⟩" for code in range(0x80, 0xA0)},
    **{code: f"⟨U+{code:04X}⟩" for code in _INVISIBLE},
    0x2028: "\N{SYMBOL FOR NEWLINE}",
    0x2029: "\N{SYMBOL FOR NEWLINE}",
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT),
}
_SCRIPT_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def visible(text: str, limit: int | None = None) -> str:
    """The text as one line in which everything shows, cut to ``limit`` of its characters with an ellipsis."""
    if limit is not None and len(text) > limit:
        return text[: max(0, limit - 1)].translate(_SIGNS) + "…"
    return text if text.isascii() and text.isprintable() else text.translate(_SIGNS)


def shown_value(value: Any, limit: int) -> str:
    """A step's output as one line: text as it is, all else as JSON as far as that goes."""
    if isinstance(value, str):
        return visible(value, limit)
    pieces: list[str] = []
    length = 0
    for piece in _json_pieces(value):
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            break
    return visible("".join(pieces), limit)


def _json_pieces(value: Any) -> Iterator[str]:
    try:
        yield from json.JSONEncoder(ensure_ascii=False).iterencode(value)
    except (TypeError, ValueError, RecursionError):
        yield f"<{type(value).__name__}>"


def script_json(value: Any) -> str:
    """JSON that is allowed inside a ``<script>`` element: it holds no ``<``, ``>`` or ``&``."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_SCRIPT_ESCAPES)


def ratio_text(ratio: float | None) -> str:
    """``2.84×``, or a dash where there is none."""
    return NOTHING if ratio is None else f"{ratio:.2f}×"


def share_text(ratio: float | None) -> str:
    """``72 %``, or a dash where there is none."""
    if ratio is None:
        return NOTHING
    percent = 100 * ratio
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.1f} %"

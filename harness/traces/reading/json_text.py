"""A place in the text of a file of JSON, which is read on as far as a value needs.

Rules of this module:
- The text before the place is dropped; what is held is one buffer, or one value where that is larger.
- A value that may only be cut by the end of the buffer is never called broken.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, BinaryIO, Final

# Exact numbers: times are integers of nanoseconds, and some files write them as fractions.
DECODER: Final = json.JSONDecoder(parse_float=Decimal)
_SCAN_ONCE: Final[Callable[[str, int], tuple[Any, int]]] = DECODER.scan_once  # type: ignore[attr-defined] # no types
# Small enough for the processor's cache: one of 1 MiB takes half as long again.
BUFFER_BYTES: Final = 64 << 10
# What `whole` gives for a value that does not fit the buffer, or is broken.
NOT_WHOLE: Final = object()
_SPACE: Final = re.compile(r"[ \t\n\r\x1e]*")
_MARK: Final = "\ufeff"
# The longer ones first: UTF-32's little-endian mark begins with UTF-16's.
_WIDE_MARKS: Final = (
    (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
_FIRST_SIGNS: Final = ("{", "[")
# A fault that is nearer to the end of the buffer may come from the cut (`-Infinity`, `\ud83d\ude00`).
_LONGEST_SIGN: Final = 16
_LOOKED_AT_BYTES: Final = 64
_BEGINNING_SIGNS: Final = 20_000
# A text can be read again from its first sign until so much of it was read.
_KEPT_SIGNS: Final = 4 << 20


def wide_encoding(beginning: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark or by the zeros in what must be ``{`` or ``[``; None for UTF-8 and what is no text.

    Source: RFC 4627, section 3.
    """
    for mark, name in _WIDE_MARKS:
        if beginning.startswith(mark):
            return name
    name = json.detect_encoding(beginning[:4])
    if name.startswith("utf-8"):
        return None
    width = 4 if name.startswith("utf-32") else 2
    try:
        text = beginning[: _LOOKED_AT_BYTES - _LOOKED_AT_BYTES % width][: len(beginning) // width * width].decode(name)
    except UnicodeDecodeError:
        return None
    return name if text.lstrip().startswith(_FIRST_SIGNS) else None


class JsonTextError(ValueError):
    """Text that is no JSON; the message says where and why."""


class JsonText:
    """The text of a stream, from its first sign.

    ``not_utf8_from``: the first byte that is no UTF-8, or None.
    """

    def __init__(self, stream: BinaryIO, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._stream = stream
        self._buffer_bytes = buffer_bytes
        self._text = ""
        self._at = 0
        self._ended = False
        self._dropped = 0  # signs before the buffer
        self._dropped_lines = 0
        self._line_start = 0  # of the line in which the buffer begins, from the first sign
        self._read_bytes = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self.not_utf8_from: int | None = None
        # The text from its first sign, as long as it is kept for `rewind`.
        self._kept: list[str] | None = []
        self._more()

    @property
    def line_number(self) -> int:
        """The number of the line here, from 1."""
        return self._dropped_lines + self._text.count("\n", 0, self._at) + 1

    @property
    def signs_before(self) -> int:
        """How many signs the text has before this place."""
        return self._dropped + self._at

    def rewind(self) -> bool:
        """Go back to the first sign; False if too much was read."""
        if self._kept is None:
            return False
        self._text = "".join(self._kept)
        self._at = self._dropped = self._dropped_lines = self._line_start = 0
        return True

    @property
    def beginning(self) -> str:
        """The first signs, for messages; "" if too much was read."""
        return "" if self._kept is None else "".join(self._kept)[:_BEGINNING_SIGNS]

    def peek(self) -> str:
        """The next sign that is no space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # always matches
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go past the sign here."""
        self._at += 1

    def whole(self) -> Any:
        """The value here, if it fits the buffer; else :data:`NOT_WHOLE`, and the place stays."""
        self.peek()
        while True:
            while len(self._text) - self._at < self._buffer_bytes and self._more():
                pass
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                return NOT_WHOLE
            if end < len(self._text) or not self._more():  # else it may be a number that goes on
                self._at = end
                return value

    def value(self) -> Any:
        """The value here, however large it is.

        Raises:
            JsonTextError: there is none.

        """
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos + _LONGEST_SIGN > len(self._text) or error.msg.startswith("Unterminated")
                place = self._dropped + error.pos
                if cut and self._more():
                    continue
                raise self._fault(error.msg, place - self._dropped) from None
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def values_in_buffer(self) -> list[Any]:
        """The values here that have a comma after them, as far as the buffer goes."""
        scan, space, text = _SCAN_ONCE, _SPACE.match, self._text
        at = space(text, self._at).end()  # type: ignore[union-attr] # always matches
        found: list[Any] = []
        try:
            while True:
                value, end = scan(text, at)
                if text[end] != ",":
                    end = space(text, end).end()  # type: ignore[union-attr]
                    if text[end] != ",":
                        break
                found.append(value)
                at = space(text, end + 1).end()  # type: ignore[union-attr]
        except (StopIteration, json.JSONDecodeError, IndexError):
            pass  # the next one is cut, or broken: `value` shows which
        self._at = at
        return found

    def fault(self, message: str) -> JsonTextError:
        """A fault at this place."""
        return self._fault(message, self._at)

    def rest_of_line(self) -> str:
        """From here to the end of the line, which is passed."""
        looked_at = 0
        while (end := self._text.find("\n", self._at + looked_at)) < 0:
            looked_at = len(self._text) - self._at
            if not self._more():
                end = len(self._text)
                break
        line = self._text[self._at : end]
        self._at = min(end + 1, len(self._text))
        return line

    def ends_line(self) -> bool:
        """Whether nothing but spaces is left in this line, which is then passed."""
        while (end := self._text.find("\n", self._at)) < 0 and self._text[self._at :].isspace() and self._more():
            pass
        end = len(self._text) if end < 0 else end + 1
        if self._text[self._at : end].strip():
            return False
        self._at = end
        return True

    def ended(self) -> bool:
        """Whether there is no sign left, spaces counted."""
        return self._at >= len(self._text) and not self._more()

    def _fault(self, message: str, at: int) -> JsonTextError:
        lines = self._text.count("\n", 0, at)
        start = self._dropped + self._text.rfind("\n", 0, at) + 1 if lines else self._line_start
        column = self._dropped + at - start + 1
        return JsonTextError(f"line {self._dropped_lines + lines + 1}, column {column}: {message}")

    def _more(self) -> bool:
        """Read on, as much again as is held. False at the end."""
        while not self._ended:
            data = self._stream.read(max(self._buffer_bytes, len(self._text) - self._at))
            self._ended = not data
            text = self._decoded(data)
            if text:
                self._drop()
                self._text += text
                self._keep(text)
                return True
        return False

    def _keep(self, text: str) -> None:
        if self._kept is not None:
            self._kept.append(text)
            if self._dropped + len(self._text) > _KEPT_SIGNS:
                self._kept = None

    def _drop(self) -> None:
        lines = self._text.count("\n", 0, self._at)
        if lines:
            self._dropped_lines += lines
            self._line_start = self._dropped + self._text.rfind("\n", 0, self._at) + 1
        self._dropped += self._at
        self._text = self._text[self._at :]
        self._at = 0

    def _decoded(self, data: bytes) -> str:
        is_first = self._decoder is None
        if self._decoder is None:
            name = wide_encoding(data)
            self._decoder = codecs.getincrementaldecoder(name or "utf-8")("replace" if name else "strict")
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            self.not_utf8_from = self._read_bytes - len(state[0]) + error.start
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._decoder.setstate(state)
            text = self._decoder.decode(data, final=self._ended)
        self._read_bytes += len(data)
        return text.removeprefix(_MARK) if is_first else text

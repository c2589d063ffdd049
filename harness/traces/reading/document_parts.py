"""Hands on a JSON document that may be larger than memory in parts of the same shape, each with some of its spans.

A document that fits the buffer is handed on whole. Of a larger one, and of a broken one, the lists are cut:
``{"data": [{"spans": [a, b, c], "processes": p}]}`` becomes ``{"data": [{"spans": [a, b]}]}``,
``{"data": [{"spans": [c]}]}``, and the members ``{"processes": p}`` that came late for the spans before them. So what
a document holds is known in one place (:mod:`harness.traces.reading.recognition`), for all sizes.

Rules of this module:
- Each span is parsed whole by the standard library, so the speed is that of ``json.loads``.
- A document that breaks off gives the spans until there, before its fault is raised.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from harness.traces.reading.json_text import BUFFER_BYTES, NOT_WHOLE, JsonText, JsonTextError

SPANS: Final = "spans"
_OPENED: Final = frozenset(
    (
        "resourceSpans", "resource_spans", "batches", "scopeSpans", "scope_spans", "instrumentationLibrarySpans",
        "instrumentation_library_spans", "trace", "result", "data", "traces", SPANS,
    )
)  # fmt: skip
_DEEPEST: Final = 64
_MISSING: Final = {"]": "Expecting value", "}": "Expecting property name enclosed in double quotes"}
# What a list or mapping gives of which parts were handed on.
_HANDED_ON: Final = object()


class Taker(Protocol):
    """Takes documents, and the parts of large ones."""

    def document(self, value: Any) -> None:
        """Take a document."""

    def part(self, value: Any) -> None:
        """Take a part of a document."""

    def mark(self) -> int:
        """A number for how many spans were taken of the document."""

    def late(self, mark: int, members: dict[str, Any]) -> None:
        """Take members of a mapping whose spans were taken since the mark."""

    def end_of_document(self) -> None:
        """All parts were given."""


class DocumentParts:
    """Cuts the documents of a text."""

    def __init__(self, text: JsonText, taker: Taker, part_signs: int = BUFFER_BYTES) -> None:
        self._text = text
        self._taker = taker
        self._part_signs = part_signs
        # Around this place: a mapping's members so far and the key here, or None for a list.
        self._around: list[tuple[dict[str, Any], str] | None] = []
        # A comma before the end of a list or mapping: the rest is read, and then the fault is raised.
        self._comma_fault: JsonTextError | None = None
        # Keys of lists with items that did not fit: the next one is not tried.
        self._too_large: set[str] = set()

    def hand_on(self) -> None:
        """Hand the document at this place on.

        Raises:
            JsonTextError: it is no JSON, or breaks off; what can be read is handed on.
            RecursionError: it is nested too deeply.

        """
        value = self._text.whole()
        if value is NOT_WHOLE:
            self._around.clear()
            value = self._opened()
            self._taker.end_of_document()
            if self._comma_fault is not None:
                raise self._comma_fault
        if value is not _HANDED_ON:
            self._taker.document(value)

    def _opened(self) -> Any:
        sign = self._text.peek()
        if sign == "{" and len(self._around) < _DEEPEST:
            return self._mapping()
        if sign == "[" and len(self._around) < _DEEPEST:
            return self._list()
        return self._text.value()

    def _mapping(self) -> Any:
        text = self._text
        text.skip()
        members: dict[str, Any] = {}
        late: dict[str, Any] = {}
        mark = self._taker.mark()
        handed_on = False
        try:
            while not self._closes("}", after_comma=bool(members) or handed_on):
                key = self._key()
                if key in _OPENED and text.peek() in ("[", "{"):
                    self._around.append((members, key))
                    value = self._opened()
                    self._around.pop()
                else:
                    value = text.value()
                if value is _HANDED_ON:
                    handed_on = True
                else:
                    (late if handed_on else members)[key] = value
                if self._is_last("}"):
                    break
        finally:
            if late:
                self._taker.late(mark, late)
        return _HANDED_ON if handed_on else members

    def _key(self) -> str:
        if self._text.peek() != '"':
            raise self._text.fault(_MISSING["}"])
        key: str = self._text.value()
        if self._text.peek() != ":":
            raise self._text.fault("Expecting ':' delimiter")
        self._text.skip()
        return key

    def _closes(self, closing: str, *, after_comma: bool) -> bool:
        """Go past the end, if it is here."""
        text = self._text
        if text.peek() != closing:
            return False
        if after_comma and self._comma_fault is None:
            self._comma_fault = text.fault(_MISSING[closing])
        text.skip()
        return True

    def _is_last(self, closing: str) -> bool:
        """Go past the comma or the end that follows an item."""
        found = self._text.peek()
        if found not in (",", closing) or not found:
            raise self._text.fault("Expecting ',' delimiter")
        self._text.skip()
        return found == closing

    def _list(self) -> Any:
        text = self._text
        text.skip()
        if self._closes("]", after_comma=False):
            return []
        around = self._around[-1] if self._around else None
        key = "" if around is None else around[1]
        part: list[Any] = []
        began = text.signs_before
        try:
            while True:
                if key not in self._too_large:
                    part += text.values_in_buffer()
                if self._closes("]", after_comma=True):
                    break
                value = text.value() if key == SPANS else NOT_WHOLE if key in self._too_large else text.whole()
                if value is NOT_WHOLE:
                    self._too_large.add(key)
                    self._hand_on_part(part)
                    part = []
                    self._around.append(None)
                    value = self._opened()
                    self._around.pop()
                if value is not _HANDED_ON:
                    part.append(value)
                if self._is_last("]"):
                    break
                if text.signs_before - began >= self._part_signs:
                    self._hand_on_part(part)
                    part = []
                    began = text.signs_before
        finally:
            self._hand_on_part(part)
        return _HANDED_ON

    def _hand_on_part(self, part: list[Any]) -> None:
        """Hand items of the list at this place on, in all that is around them."""
        if not part:
            return
        value: Any = part
        for frame in reversed(self._around):
            value = [value] if frame is None else {**frame[0], frame[1]: value}
        self._taker.part(value)

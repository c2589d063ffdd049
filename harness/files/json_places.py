"""Where a value is in a JSON text: its line, found without building the whole tree again.

Rules of this module:
- The text is known to be JSON. What is not on the way to the place is skipped by the standard library's scanner.
- The members of a container that was walked once are remembered: many places in one list cost one walk.
"""

from __future__ import annotations

import json
import re
from typing import Final

from executor.model.findings import Path

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SKIPPED: Final = json.JSONDecoder()


class JsonPlaces:
    """The lines of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        # The place that was asked for last, and its line: faults are mostly placed in their order.
        self._counted = 0, 1
        self._members: dict[int, dict[str | int, tuple[int, int]]] = {}

    def line_of(self, path: Path) -> int:
        """The line (from 1) of the value at ``path``, or of its deepest ancestor that exists. A value in a mapping
        is where its key is.
        """
        shown = value = self._after_space(0)
        for part in path:
            member = self._members_at(value).get(part)
            if member is None:
                break
            shown, value = member
        return self._line_at(shown)

    def _line_at(self, place: int) -> int:
        before, line = self._counted if self._counted[0] <= place else (0, 1)
        self._counted = place, line + self._text.count("\n", before, place)
        return self._counted[1]

    def _after_space(self, place: int) -> int:
        match = _SPACE.match(self._text, place)
        return place if match is None else match.end()

    def _members_at(self, start: int) -> dict[str | int, tuple[int, int]]:
        """By key or index, where each member is shown and where its value begins."""
        found = self._members.get(start)
        if found is None:
            opening = self._text[start : start + 1]
            found = self._walked(start, is_mapping=opening == "{") if opening in {"{", "["} else {}
            self._members[start] = found
        return found

    def _walked(self, start: int, *, is_mapping: bool) -> dict[str | int, tuple[int, int]]:
        text = self._text
        found: dict[str | int, tuple[int, int]] = {}
        place = self._after_space(start + 1)
        while text[place] not in "]}":
            shown = place
            key: str | int = len(found)
            if is_mapping:
                key, place = _SKIPPED.raw_decode(text, place)
                place = self._after_space(self._after_space(place) + 1)
            found[key] = (shown, place)
            _, place = _SKIPPED.raw_decode(text, place)
            place = self._after_space(place)
            if text[place] == ",":
                place = self._after_space(place + 1)
        return found

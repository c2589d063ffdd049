"""What WfFormat's schemas ask of each field that counts here, with the place of each fault.

Rules of this module:
- A field that is wrong is a finding and reads as absent, so that everything else in the file is checked as well.
- Fields that no schedule depends on (files, commands, energy) are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from executor.model.durations import LONGEST_SECONDS
from executor.model.findings import Path
from executor.model.json_values import describe
from harness.scenario.imported_form import ImportedForm

# Of whatever it counts, cores for one, a larger number is a mistake, too.
_MOST: Final = LONGEST_SECONDS


class Fields:
    """The fields of one object of the file."""

    def __init__(self, data: Mapping[str, Any], path: Path, form: ImportedForm, who: str) -> None:
        """``who``: how messages name the object."""
        self.data = data
        self.path = path
        self._form = form
        self._who = who

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A text that is not empty."""
        value = self._present(name, required=required)
        if value is None or (isinstance(value, str) and value):
            return value
        self._wrong(name, value, "a text that is not empty")
        return None

    def seconds(self, name: str, *, required: bool = False) -> float | None:
        """A duration."""
        value = self._present(name, required=required)
        if value is None or (_is_number(value) and value >= 0):
            return None if value is None else float(value)
        self._wrong(name, value, "a number of seconds from 0 on")
        return None

    def count(self, name: str) -> int | None:
        """A whole number from 1 on."""
        value = self._present(name, required=False)
        if value is None or (_is_number(value) and value >= 1 and value == int(value)):
            return None if value is None else int(value)
        self._wrong(name, value, "a whole number from 1 on")
        return None

    def names(self, name: str, *, required: bool = False) -> list[tuple[int, str]]:
        """Texts, each with its place in the list."""
        value = self._present(name, required=required)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(name, value, "a list of texts")
            return []
        found = []
        for place, each in enumerate(value):
            if isinstance(each, str) and each:
                found.append((place, each))
            else:
                self._wrong(name, each, "a text that is not empty", place)
        return found

    def object(self, name: str, *, required: bool = False, who: str = "") -> Fields | None:
        """An object inside of it."""
        value = self._present(name, required=required)
        if value is None:
            return None
        if isinstance(value, Mapping):
            return Fields(value, (*self.path, name), self._form, who or f"`{name}`")
        self._wrong(name, value, "an object")
        return None

    def objects(self, name: str, who: str, *, required: bool = False) -> Iterator[Fields]:
        """The objects of a list inside of it; with ``required`` at least one."""
        value = self._present(name, required=required)
        if value is None:
            return
        if not isinstance(value, list) or (required and not value):
            self._wrong(name, value, "a list with at least one object")
            return
        for place, each in enumerate(value):
            if isinstance(each, Mapping):
                yield Fields(each, (*self.path, name, place), self._form, who)
            else:
                self._wrong(name, each, "an object", place)

    def _present(self, name: str, *, required: bool) -> Any:
        value = self.data.get(name)
        if value is None and (required or name in self.data):
            message = f"{self._who} has no `{name}`" if name not in self.data else f"`{name}` of {self._who} is null"
            fix = "add it" if required else "add a value, or leave the field out"
            self._form.fault("missing-field", message, fix, (*self.path, name))
        return value

    def _wrong(self, name: str, value: Any, wanted: str, *inside: int) -> None:
        message = f"`{name}` of {self._who} is {_told(value)}, where {wanted} belongs"
        self._form.fault("wrong-type", message, f"write {wanted}", (*self.path, name, *inside))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST <= value <= _MOST


def _told(value: Any) -> str:
    if _is_number(value):
        return f"{value}"
    return "empty" if value in ("", []) else describe(value)

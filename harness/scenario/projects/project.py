"""A project: activities with durations, successors and needs, and the renewable resources that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from executor.model.findings import Finding, WorkflowError
from harness.plain_text import counted

FAULTS_SHOWN: Final = 50
# More activities, or units, than that stand in no library, and make no sense as a file.
MOST: Final = 1_000_000


@dataclass(slots=True)
class Activity:
    """``number`` is its name in the file; ``line`` (from 1) is where it is. ``needs``: units by resource."""

    number: int
    line: int
    duration: int = 0
    needs: Sequence[int] = ()
    successors: Sequence[int] = ()


@dataclass(slots=True)
class Project:
    """``capacities``: units of each resource at all times."""

    activities: list[Activity] = field(default_factory=list)
    capacities: Sequence[int] = ()


class Faults:
    """What is wrong with a file, each with its line."""

    def __init__(self, source: str) -> None:
        self._found: list[Finding] = []
        self._left_out = 0
        self._source = source

    def add(self, code: str, message: str, fix: str, line: int) -> None:
        """Note one."""
        if len(self._found) < FAULTS_SHOWN:
            self._found.append(Finding("error", code, message, fix, file=self._source, line=line))
        else:
            self._left_out += 1

    @property
    def found(self) -> list[Finding]:
        """The first of them, and how many more there are."""
        if not self._left_out:
            return self._found
        message = f"there {'is' if self._left_out == 1 else 'are'} {counted(self._left_out, 'more fault')} like these"
        return [*self._found, Finding("error", "more-faults", message, "correct these first", file=self._source)]

    def stop(self, code: str, message: str, fix: str, line: int) -> WorkflowError:
        """Note one that nothing can be read after; the caller raises what this returns."""
        self.add(code, message, fix, line)
        return WorkflowError(self.found)

    def number(self, word: str, line: int, what: str) -> int:
        """A whole number from 0 on. Raises :class:`WorkflowError` if it is none."""
        if word.isascii() and word.isdecimal() and len(word) <= len(str(MOST)) and int(word) <= MOST:
            return int(word)
        raise self.stop(
            "not-a-number", f"{word[:40]!r} is no {what}", f"{what}s are whole numbers from 0 to {MOST:,}", line
        )

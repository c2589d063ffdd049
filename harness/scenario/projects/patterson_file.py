"""Reads Patterson's ``.rcp`` files: whole numbers alone, in a fixed order, with line ends wherever.

The order: number of activities, number of resources; the capacity of each resource; for each activity its duration, its
need of each resource, its number of successors, and these.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.scenario.projects.project import Activity, Faults, Project


def parse_patterson(text: str, faults: Faults) -> Project:
    """The project of a file.

    Raises:
        WorkflowError: a number is missing, is none, or is one too many.

    """
    words = _Words(text, faults)
    activities, resources = words.take("number of activities"), words.take("number of resources")
    project = Project(capacities=words.several(resources, "capacity"))
    for number in range(1, activities + 1):
        duration = words.take("duration")
        activity = Activity(number, words.line, duration, words.several(resources, "need"))
        activity.successors = words.several(words.take("number of successors"), "successor")
        project.activities.append(activity)
    words.end()
    return project


class _Words:
    def __init__(self, text: str, faults: Faults) -> None:
        self._words = _placed(text)
        self._faults = faults
        self.line = 1

    def take(self, what: str) -> int:
        """The next number."""
        found = next(self._words, None)
        if found is None:
            raise self._faults.stop(
                "missing-number", f"the file ends where a {what} belongs", "is it complete?", self.line
            )
        self.line, word = found
        return self._faults.number(word, self.line, what)

    def several(self, count: int, what: str) -> list[int]:
        """So many numbers."""
        return [self.take(what) for _ in range(count)]

    def end(self) -> None:
        """See that nothing is left."""
        found = next(self._words, None)
        if found is not None:
            raise self._faults.stop(
                "too-many-numbers", "the file goes on after its last activity", "is a count too small?", found[0]
            )


def _placed(text: str) -> Iterator[tuple[int, str]]:
    for line, row in enumerate(text.splitlines(), start=1):
        for word in row.split():
            yield line, word

"""Reads PSPLIB's ``.sm`` files: sections between lines of asterisks, tables of whole numbers.

Rules of this module:
- Sections are known by their heads; what is between is read by position, as the library's own files have it.
"""

from __future__ import annotations

from typing import Final

from harness.scenario.projects.project import Activity, Faults, Project

_PRECEDENCE: Final = "PRECEDENCE RELATIONS"
_REQUESTS: Final = "REQUESTS/DURATIONS"
_CAPACITIES: Final = "RESOURCEAVAILABILITIES"
_SECTIONS: Final = (_PRECEDENCE, _REQUESTS, _CAPACITIES)


def parse_psplib(text: str, faults: Faults) -> Project:
    """The project of a file.

    Raises:
        WorkflowError: a section or a number is missing, or it has several modes or resources of another kind.

    """
    sections = _sections(text, faults)
    project = Project()
    head, *rows = sections[_CAPACITIES]
    line, words = rows[0] if rows else head
    project.capacities = [faults.number(word, line, "capacity") for word in words] if rows else []
    by_number: dict[int, Activity] = {}
    for line, words in sections[_PRECEDENCE][1:]:
        number, modes, count, *successors = _numbers(words, line, 3, "jobnr., #modes, #successors", faults)
        if modes != 1:
            raise faults.stop(
                "several-modes", f"the job {number} has {modes} modes", "files with one mode are read", line
            )
        if len(successors) != count:
            raise faults.stop(
                "wrong-count", f"the job {number} says {count} successors, and names {len(successors)}",
                "correct one of the two", line,
            )  # fmt: skip
        if number in by_number:
            raise faults.stop("duplicate-job", f"the job {number} is there twice", "keep one of them", line)
        by_number[number] = Activity(number, line, successors=successors)
    project.activities = list(by_number.values())
    wanted = 3 + len(project.capacities)
    stated: set[int] = set()
    for line, words in sections[_REQUESTS][1:]:
        number, mode, duration, *needs = _numbers(words, line, wanted, "a duration and a need of each resource", faults)
        activity = by_number.get(number)
        if activity is None or len(needs) != len(project.capacities) or mode != 1 or number in stated:
            raise faults.stop(
                "wrong-job", f"the request of job {number} fits no job, no mode or not all resources",
                "each job of the precedence relations has one line here", line,
            )  # fmt: skip
        stated.add(number)
        activity.duration, activity.needs = duration, needs
    for activity in project.activities:
        if activity.number not in stated:
            faults.add("missing-duration", f"the job {activity.number} has no duration", "add it", activity.line)
    return project


def _sections(text: str, faults: Faults) -> dict[str, list[tuple[int, list[str]]]]:
    """By its name the lines of each section, with their numbers, the line of column names first."""
    found: dict[str, list[tuple[int, list[str]]]] = {}
    here: list[tuple[int, list[str]]] | None = None
    line = 0
    for line, row in enumerate(text.splitlines(), start=1):
        name = next((one for one in _SECTIONS if row.startswith(one)), None)
        if name is not None:
            here = found[name] = []
        elif row.startswith("***"):
            here = None
        elif "nonrenewable" in row or "doubly constrained" in row:
            _check_kind(row, line, faults)
        elif here is not None and row.strip() and not row.startswith("---"):
            here.append((line, row.split()))
    for name in _SECTIONS:
        if not found.get(name):
            raise faults.stop("missing-section", f"there is no section {name!r}", "is the file complete?", max(line, 1))
    return found


def _check_kind(row: str, line: int, faults: Faults) -> None:
    _, _, said = row.partition(":")
    words = said.split()
    if words and words[0] != "0":
        kind = row.partition(":")[0].strip(" -")
        raise faults.stop("other-resources", f"{kind} resources are not read", "take a file with one mode", line)


def _numbers(words: list[str], line: int, least: int, what: str, faults: Faults) -> list[int]:
    if len(words) < least:
        raise faults.stop("missing-number", f"a row with {what} has {least} numbers at least", "complete it", line)
    return [faults.number(word, line, "number") for word in words]

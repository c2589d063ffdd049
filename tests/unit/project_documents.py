"""Projects with limited resources, random but known, as PSPLIB's ``.sm`` and Patterson's ``.rcp`` files."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownProject:
    """Of each activity, from 1: duration, needs, successors. The first begins the project, the last ends it."""

    durations: list[int]
    needs: list[list[int]]
    successors: list[list[int]]
    capacities: list[int]


def known_project(seed: int, *, activities: int = 8, resources: int = 2, longest: int = 6) -> KnownProject:
    draw = random.Random(seed)
    inner = draw.randrange(1, activities + 1)
    capacities = [draw.randrange(2, 6) for _ in range(resources)]
    durations = [0, *(draw.randrange(1, longest + 1) for _ in range(inner)), 0]
    needs = [[0] * resources for _ in durations]
    for row in needs[1:-1]:
        row[:] = [draw.choice([0, draw.randrange(capacity + 1)]) for capacity in capacities]
    last = inner + 2
    successors: list[list[int]] = [list(range(2, last))]
    for number in range(2, last):
        later = [one for one in range(number + 1, last) if draw.random() < 0.3]
        successors.append([*later, last])
    return KnownProject(durations, needs, [*successors, []], capacities)


def psplib(project: KnownProject) -> str:
    stars = "*" * 72
    count = len(project.durations)
    resources = len(project.capacities)
    rows = [
        stars, "file with basedata            : made.bas", stars, "projects                      :  1",
        f"jobs (incl. supersource/sink ):  {count}", "RESOURCES", f"  - renewable                 :  {resources}   R",
        "  - nonrenewable              :  0   N", "  - doubly constrained        :  0   D", stars,
        "PRECEDENCE RELATIONS:", "jobnr.    #modes  #successors   successors",
    ]  # fmt: skip
    for number, after in enumerate(project.successors, start=1):
        rows.append(f"  {number}  1  {len(after)}  {' '.join(map(str, after))}")
    rows += [stars, "REQUESTS/DURATIONS:", "jobnr. mode duration  R 1  R 2", "-" * 72]
    for number, (duration, needs) in enumerate(zip(project.durations, project.needs, strict=True), start=1):
        rows.append(f"  {number}  1  {duration}  {' '.join(map(str, needs))}")
    rows += [stars, "RESOURCEAVAILABILITIES:", "  R 1  R 2", " ".join(map(str, project.capacities)), stars]
    return "\n".join(rows) + "\n"


def patterson(project: KnownProject, seed: int = 0) -> str:
    """The numbers in their order, with line ends at random places."""
    draw = random.Random(seed)
    words = [len(project.durations), len(project.capacities), *project.capacities]
    for duration, needs, after in zip(project.durations, project.needs, project.successors, strict=True):
        words += [duration, *needs, len(after), *after]
    return "".join(f"{word}{draw.choice([' ', '  ', chr(10)])}" for word in words)

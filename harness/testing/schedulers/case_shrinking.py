"""Makes a case smaller that a scheduler fails: what is left is needed.

Rules of this module:
- A smaller case counts only if it breaks the same rule.
- It ends: each step makes the case smaller, and the time is bounded. On real threads a case costs milliseconds, and
  one at a standstill much more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from harness.testing.schedulers.case_play import Played
from harness.testing.schedulers.graph_case import Case, step_name

T = TypeVar("T")


def shrink(found: Played, play: Callable[[Case], Played], seconds: float) -> Played:
    """The smallest case that can be reached by leaving out one thing at a time, within so many seconds."""
    deadline = time.monotonic() + seconds
    rule = found.faults[0].property
    tried = {repr(found.case)}
    smaller = True
    while smaller:
        smaller = False
        for case in smaller_cases(found.case):
            if time.monotonic() > deadline:
                return found
            if repr(case) in tried:
                continue
            tried.add(repr(case))
            played = play(case)
            if played.faults and played.faults[0].property == rule:
                found = played
                smaller = True
                break
    return found


def smaller_cases(case: Case) -> Iterator[Case]:
    """The cases with one thing less, those that leave out most first."""
    count = len(case.steps)
    if count > 2:
        yield _without(case, range(count // 2, count))
        yield _without(case, range(count // 2))
    for place in reversed(range(count)):
        if count > 1:
            yield _without(case, [place])
    yield replace(case, order=(), fails={}, attempts={}, needs={})
    yield from _simpler_run(case)
    yield from _fewer_edges(case)
    yield from _shorter_order(case)
    yield from _fewer_details(case)


def _simpler_run(case: Case) -> Iterator[Case]:
    if case.listed_backwards:
        yield replace(case, listed_backwards=False)
    if case.cancel_at is not None:
        yield replace(case, cancel_at=None)
        if case.cancel_at > 1:
            yield replace(case, cancel_at=case.cancel_at - 1)
    if case.workers > 1:
        yield replace(case, workers=case.workers - 1)


def _fewer_details(case: Case) -> Iterator[Case]:
    for step in case.fails:
        yield replace(case, fails=_less(case.fails, step))
    for step in case.attempts:
        yield replace(case, attempts=_less(case.attempts, step))
    for step in case.needs:
        yield replace(case, needs=_less(case.needs, step))
    for resource in case.limits:
        needs = {step: {name: n for name, n in units.items() if name != resource} for step, units in case.needs.items()}
        limits = {name: units for name, units in case.limits.items() if name != resource}
        yield replace(case, limits=limits, needs={step: units for step, units in needs.items() if units})


def _less(values: Mapping[str, T], step: str) -> dict[str, T]:
    return {other: value for other, value in values.items() if other != step}


def _fewer_edges(case: Case) -> Iterator[Case]:
    for place, (step, before) in enumerate(case.steps):
        for gone in before:
            changed = (step, tuple(other for other in before if other != gone))
            yield replace(case, steps=(*case.steps[:place], changed, *case.steps[place + 1 :]))


def _shorter_order(case: Case) -> Iterator[Case]:
    order = case.order
    if len(order) > 1:
        yield replace(case, order=order[: len(order) // 2])
        yield replace(case, order=order[:-1])
    for place, picks in enumerate(order):
        if len(picks) > 1:
            yield replace(case, order=(*order[:place], picks[:1], *order[place + 1 :]))
        if any(picks):
            yield replace(case, order=(*order[:place], (0,) * len(picks), *order[place + 1 :]))


def _without(case: Case, places: Iterator[int] | range | list[int]) -> Case:
    """The case without these steps; what depended on them no longer does. The others get the first names."""
    gone = {case.steps[place][0] for place in places}
    left = [
        (step, tuple(other for other in before if other not in gone)) for step, before in case.steps if step not in gone
    ]
    names = {step: step_name(place) for place, (step, _) in enumerate(left)}

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {names[step]: value for step, value in values.items() if step in names}

    return replace(
        case,
        steps=tuple((names[step], tuple(names[other] for other in before)) for step, before in left),
        fails=renamed(case.fails),
        attempts=renamed(case.attempts),
        needs=renamed(case.needs),
    )

"""Test cases for any scheduler: a small graph, what its calls do, and in which order they end.

Rules of this module:
- A case is plain data that prints as what a person can read, and says the same of a run every time it is played.
- Only what a scheduler says that it supports is ever drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hypothesis import strategies as st

from harness.testing.drawing.shapes import SHAPES, RandomSource, Source
from harness.testing.drawing.strategies import EventSchedule
from harness.testing.oracle.plain_graph import PlainGraph, PlainResource, PlainRetry, PlainStep

SUPPORTS = {
    "failures": "calls fail: what depends on them is not called, everything else is",
    "fail_fast": "calls fail: what depends on them is not called, and anything else need not be",
    "retries": "a failed step is called again, up to graph.attempts[step] times in all (with failures)",
    "limits": "graph.needs[step] units of graph.limits are held by each running step",
    "cancellation": "the run is cancelled: through graph.on_cancel, or by cancelling a coroutine",
    "states": "run returns a mapping from each step to succeeded, failed, skipped or cancelled",
}
"""What a scheduler may support, beyond dependencies and a number of workers."""
ALWAYS = 99
_SEED_BYTES: Final = 16
LINES_SHOWN = 24
# Where several steps become ready at once, most schedulers err.
_OFTEN = [*SHAPES, *(2 * ["fan_out", "out_tree", "diamond", "layered"])]
LINE_LENGTH = 160


class Graph(dict[str, tuple[str, ...]]):
    """What a scheduler gets: step → the steps that it depends on, in no particular order.

    ``limits`` (resource → units at once), ``needs`` (step → {resource: units}) and ``attempts`` (step → how often it
    may be called) are for those who support them. ``on_cancel(function)`` registers what is called when the run is to
    end.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(reversed(case.steps) if case.listed_backwards else case.steps)
        self.limits = dict(case.limits)
        self.needs: dict[str, dict[str, int]] = {step: dict(case.needs.get(step, {})) for step in self}
        self.attempts = {step: case.attempts.get(step, 1) for step in self}
        self.cancel_functions: list[Callable[[], object]] = []

    def on_cancel(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the run is cancelled: nothing more is to start, and run returns when all has ended."""
        self.cancel_functions.append(function)


@dataclass(frozen=True)
class Case:
    """One test. ``steps`` are (step, its dependencies), each after what it depends on. ``fails`` says how many calls of
    a step fail; ``cancel_at`` is the instant at which the run is cancelled.
    """

    steps: tuple[tuple[str, tuple[str, ...]], ...]
    workers: int
    fails: Mapping[str, int] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    needs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cancel_at: int | None = None
    listed_backwards: bool = False
    order: tuple[tuple[int, ...], ...] = ()

    def plain(self) -> PlainGraph:
        """The graph as the oracle reads it."""
        steps = (
            PlainStep(
                step,
                before,
                needs=tuple(self.needs.get(step, {}).items()),
                retry=PlainRetry(max_attempts=self.attempts.get(step, 1)),
                expected_ns=None,
            )
            for step, before in self.steps
        )
        limits = {name: PlainResource(capacity=units) for name, units in self.limits.items()}
        return PlainGraph(tuple(steps), limits, workers=self.workers)

    def schedule(self) -> EventSchedule:
        """The order in which calls end, from its beginning."""
        return EventSchedule(tuple((1, picks) for picks in self.order))

    def description(self) -> str:
        """The graph and what its calls do, for people."""
        lines = [f"the graph, on {'1 worker' if self.workers == 1 else f'{self.workers} workers'}:"]
        for name, units in self.limits.items():
            lines.append(f"  at most {units} of {name} at once")
        for step, before in self.steps:
            line = f"  {step}" + (f" ← {', '.join(before)}" if before else "")
            needs = [f"{units} of {name}" for name, units in self.needs.get(step, {}).items()]
            line += f", needs {', '.join(needs)}" if needs else ""
            fails = self.fails.get(step, 0)
            line += ", fails" if fails >= ALWAYS else f", fails {fails} times" if fails else ""
            most = self.attempts.get(step, 1)
            lines.append(line + (f", may be called {most} times" if most > 1 else ""))
        return shortened(lines)


def cases(supports: Collection[str] = (), *, max_steps: int = 8) -> st.SearchStrategy[Case]:
    """Cases for a scheduler that supports this (:data:`SUPPORTS`). Raises ValueError for what there is not."""
    unknown = sorted(set(supports) - set(SUPPORTS))
    if unknown:
        raise ValueError(f"supports: there is no {', '.join(unknown)}; there are {', '.join(SUPPORTS)}")
    return _cases(frozenset(supports), max_steps)


@dataclass(frozen=True)
class _Theme:
    """What a case is about, in chances of a hundred: what is everywhere hides what is behind it. ``loose``: that a
    dependency is left out; ``workers``: the first come up most often.
    """

    fails: int = 25
    fails_early: int = 0
    retries: int = 60
    limits: int = 0
    needs: int = 40
    most_units: int = 2
    cancels: int = 0
    loose: int = 0
    workers: tuple[int, ...] = (3, 4, 2, 1)


_THEMES: Final = {
    "all": _Theme(limits=60, cancels=30),
    "order": _Theme(fails=0, retries=0),
    # What is not given back shows where there is but one of it, something failed early, and there is more to do.
    "tight": _Theme(fails_early=100, limits=50, needs=60, most_units=1, loose=40, workers=(1, 2)),
    "failures": _Theme(fails=15, fails_early=100, retries=20, loose=70, workers=(3, 2, 4)),
    "limits": _Theme(fails=0, limits=100, needs=75, loose=70, workers=(4, 3)),
    "limits and failures": _Theme(fails=60, retries=100, limits=100, needs=90, loose=90, workers=(3, 4)),
    "cancellation": _Theme(fails=60, fails_early=50, retries=90, cancels=100, loose=60, workers=(2, 3, 1)),
}
_FITS: Final = {
    "limits": ("limits",), "limits and failures": ("limits", "failures"), "cancellation": ("cancellation",),
    "tight": ("failures",), "failures": ("failures",),
}  # fmt: skip


def _themes(supports: frozenset[str]) -> list[_Theme]:
    known = supports | ({"failures"} if "fail_fast" in supports else set())
    # Dependencies and workers alone are what every scheduler errs in first.
    return [_THEMES["order"], *(theme for name, theme in _THEMES.items() if known.issuperset(_FITS.get(name, ())))]


@st.composite
def _cases(draw: st.DrawFn, supports: frozenset[str], max_steps: int) -> Case:
    # Hypothesis varies what it drew before, so that a hundred examples are much alike. Cases have a shrinker of their
    # own (:mod:`.case_shrinking`): all that is drawn here is what chance starts from, and each case is another one.
    drawn = hashlib.blake2b(draw(st.binary(min_size=_SEED_BYTES, max_size=_SEED_BYTES)), digest_size=_SEED_BYTES)
    source = RandomSource(int.from_bytes(drawn.digest(), "big"))
    theme = source.choice(_themes(supports))
    steps = tuple(
        (step, tuple(other for other in before if not source.chance(theme.loose)))
        for step, before in _steps(source, max_steps)
    )
    names = [step for step, _ in steps]
    retries = "retries" in supports and source.chance(theme.retries)
    limits, needs = _limits(source, theme, names) if "limits" in supports else ({}, {})
    return Case(
        steps,
        source.choice(theme.workers),
        _fails(source, theme, steps, retries=retries) if supports & {"failures", "fail_fast"} else {},
        {step: source.choice([2, 3, 1]) for step in names} if retries else {},
        limits,
        needs,
        source.integer(1, len(steps)) if "cancellation" in supports and source.chance(theme.cancels) else None,
        source.chance(30),
        _order(source, 2 * max_steps),
    )


def _order(source: Source, most: int) -> tuple[tuple[int, ...], ...]:
    """Which of the running calls end at each instant, now and then several; after that the longest-running one."""
    return tuple(
        tuple(source.integer(0, 7) for _ in range(source.choice([1, 1, 1, 2, 3])))
        for _ in range(source.integer(0, most))
    )


def _fails(
    source: Source, theme: _Theme, steps: Sequence[tuple[str, tuple[str, ...]]], *, retries: bool
) -> dict[str, int]:
    """How many calls of each step fail."""
    fails = {
        step: source.choice([ALWAYS, 1, 2]) if retries else ALWAYS for step, _ in steps if source.chance(theme.fails)
    }
    if source.chance(theme.fails_early):
        first = [step for step, before in steps if not before]
        fails.setdefault(source.choice(first), 1 if retries else ALWAYS)
    return fails


def _limits(source: Source, theme: _Theme, names: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Units of each limit, and what each step needs of them."""
    if not source.chance(theme.limits):
        return {}, {}
    limits = {name: source.integer(1, theme.most_units) for name in ("door", "lift")[: source.integer(1, 2)]}
    needs = {
        step: found
        for step in names
        if (found := {name: source.integer(1, units) for name, units in limits.items() if source.chance(theme.needs)})
    }
    return limits, needs


def _steps(source: Source, most: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    # The larger of two: most faults want some steps.
    size = max(source.integer(1, most), source.integer(1, most))
    shape = SHAPES[source.choice(_OFTEN)](source, size)
    found: dict[str, tuple[str, ...]] = {}
    names: dict[int, str] = {}
    for place in range(size):
        # With gaps there are graphs of no known shape too.
        parents = shape.parents(source, place)
        if found and source.chance(10):
            continue
        names[place] = step_name(len(found))
        found[names[place]] = tuple(dict.fromkeys(names[parent] for parent in parents if parent in names))
    return tuple(found.items())


def shortened(lines: list[str]) -> str:
    """The lines as one text, without the middle of many."""
    left_out = len(lines) - LINES_SHOWN
    if left_out > 1:
        half = LINES_SHOWN // 2
        lines = [*lines[:half], f"  … {left_out} more", *lines[-half:]]
    return "\n".join(line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]}…" for line in lines)


def step_name(number: int) -> str:
    """A short name: a, b, … z, then s26, s27, …"""
    return chr(ord("a") + number) if number < 26 else f"s{number}"

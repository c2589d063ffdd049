"""How the makespan spreads where durations vary: many runs, each with durations drawn from the observed ones.

Rules of this module:
- A step that was observed more than once draws from its own run times. A step that was observed once draws from those
  of the steps of its tool. A step whose tool was observed once, or is not known, keeps its own.
- Steps are drawn independently of each other, with a seed: durations that rise together (a slow model) spread wider.
- Speed-ups and all other changes hold for what was drawn.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.simulation.changes import Change, SimulationError
from harness.simulation.subject import Subject

PERCENTILES: Final = (5, 25, 50, 75, 95, 99)
DEFAULT_RUNS: Final = 1000
_ENOUGH: Final = 2


@dataclass(frozen=True, slots=True)
class Distribution:
    """``percentiles``: makespans in seconds by percentile. ``runs_per_second``: how fast it was simulated.

    ``own``, ``pooled``, ``fixed``: how many steps drew from their own run times, from their tool's, from nothing.
    """

    runs: int
    mean_seconds: float
    percentiles: Mapping[int, float]
    runs_per_second: float
    own: int
    pooled: int
    fixed: int


def distribution(
    subject: Subject, change: Change, *, runs: int = DEFAULT_RUNS, seed: int = 0, max_seconds: float | None = None
) -> Distribution:
    """The makespans of many runs. ``max_seconds``: begin no run after that time.

    Raises:
        SimulationError: nothing was observed more than once.

    """
    pools, own = _pools(subject)
    if not pools:
        fix = "simulate a measured run with repetitions: makespan bench SCENARIO --json FILE, then simulate FILE"
        if subject.kind == "scenario":
            raise SimulationError("--distribution: a scenario states durations, and none was observed", fix)
        raise SimulationError("--distribution: every step, and every tool, was observed once", fix)
    draw = random.Random(seed)  # noqa: S311 - a simulation, no secret
    makespans: list[int] = []
    began = time.perf_counter()
    while len(makespans) < runs:
        durations = {step: pool[draw.randrange(len(pool))] for step, pool in pools}
        makespans.append(subject.run(change, durations).makespan_nanoseconds)
        if max_seconds is not None and time.perf_counter() - began > max_seconds:
            break
    took = time.perf_counter() - began
    makespans.sort()
    return Distribution(
        runs=len(makespans),
        mean_seconds=sum(makespans) / len(makespans) / NANOSECONDS,
        percentiles={one: _percentile(makespans, one) / NANOSECONDS for one in PERCENTILES},
        runs_per_second=len(makespans) / took if took > 0 else math.inf,
        own=own,
        pooled=len(pools) - own,
        fixed=len(subject.rerun.last_attempt) - len(pools),
    )


def _pools(subject: Subject) -> tuple[list[tuple[str, Sequence[int]]], int]:
    """What each step draws from, the steps in order; and how many of them draw from their own."""
    by_tool: dict[str, list[int]] = {}
    for step_id, observed in subject.observed.items():
        tool = subject.tools.get(step_id)
        if tool is not None:
            by_tool.setdefault(tool, []).extend(observed)
    pools: list[tuple[str, Sequence[int]]] = []
    own = 0
    for step_id, observed in subject.observed.items():
        if len(observed) >= _ENOUGH:
            pools.append((step_id, observed))
            own += 1
            continue
        pool = by_tool.get(subject.tools.get(step_id, ""), ())
        if len(pool) >= _ENOUGH:
            pools.append((step_id, pool))
    return pools, own


def _percentile(ordered: Sequence[int], percent: int) -> float:
    """By linear interpolation between the two nearest (Hyndman and Fan 1996, type 7)."""
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

"""What any schedule of a run has to keep to: durations, dependencies, workers and capacities. Pure.

Rules of this module:
- It is made of a run on the virtual clock, so that it holds what the scheduler itself had to keep to.
- Steps over the same state run in their one fixed order (rule 3): order edges are dependencies here.
- What has no exact form here is an error that names it: rates, tokens, found capacities, calls, steps that did not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from executor.record.timeline import Timeline
from harness.analysis import RunAnalysis
from harness.plain_text import one_line
from harness.simulation.changes import SimulationError


@dataclass(frozen=True, slots=True)
class Part:
    """One attempt: how long after the one before it may start at the earliest, and how long it runs, in ticks.
    ``started``: when it did.
    """

    gap: int
    ticks: int
    started: int


@dataclass(frozen=True, slots=True)
class ScheduleProblem:
    """Everything by the index of the step. ``tick_nanoseconds`` divides every time exactly.

    ``bound_ticks`` and ``known_ticks``: no schedule is shorter than the first, and one is as long as the second.
    """

    parts: Sequence[Sequence[Part]]
    parents: Sequence[Sequence[int]]
    needs: Sequence[Mapping[str, int]]
    capacities: Mapping[str, int]
    workers: int
    tick_nanoseconds: int
    bound_ticks: int
    known_ticks: int
    heads: Sequence[int] = field(repr=False, default=())
    tails: Sequence[int] = field(repr=False, default=())


def problem_of(timeline: Timeline) -> ScheduleProblem:
    """What the schedule of that run had to keep to.

    Raises:
        SimulationError: a part of it has no exact form here.

    """
    _check(timeline)
    tries: list[list[tuple[int, int]]] = [[] for _ in timeline.step_ids]
    places = {step_id: place for place, step_id in enumerate(timeline.step_ids)}
    for attempt in timeline.attempts:
        if attempt.started is not None and attempt.ended is not None:
            tries[places[attempt.step_id]].append((attempt.started, attempt.ended))
    backoffs = {
        (attempt.step_id, attempt.attempt): attempt.waits[0].end - attempt.waits[0].start
        for attempt in timeline.attempts
        if attempt.attempt > 1 and attempt.waits and attempt.waits[0].reason == "backoff"
    }
    gaps = [
        [backoffs.get((step_id, number), 0) for number in range(1, len(one) + 1)]
        for step_id, one in zip(timeline.step_ids, tries, strict=True)
    ]
    lengths = [end - start for one in tries for start, end in one]
    tick = math.gcd(*lengths, *(gap for row in gaps for gap in row)) or 1
    parts = [
        [
            Part(gap // tick, (end - start) // tick, start // tick)
            for gap, (start, end) in zip(row, one, strict=True)
        ]
        for row, one in zip(gaps, tries, strict=True)
    ]  # fmt: skip
    parents = [
        sorted({*timeline.data_parents[place], *timeline.order_parents[place]}) for place in range(len(parts))
    ]  # fmt: skip
    heads, tails = _heads_and_tails([sum(part.gap + part.ticks for part in one) for one in parts], parents)
    bound = RunAnalysis(timeline).lower_bound.nanoseconds
    return ScheduleProblem(
        parts=parts,
        parents=parents,
        needs=[
            {name: int(units) for name, units in (needs or {}).items() if name in timeline.resources}
            for needs in timeline.needs or [None] * len(parts)
        ],
        capacities={
            name: resource.capacity for name, resource in timeline.resources.items() if resource.capacity is not None
        },
        workers=1 if timeline.policy == "serial" else timeline.workers,
        tick_nanoseconds=tick,
        bound_ticks=-(-bound // tick),
        known_ticks=-(-timeline.makespan_nanoseconds // tick),
        heads=heads,
        tails=tails,
    )


def _check(timeline: Timeline) -> None:
    fix = "leave --optimum out; the lower bound holds for every run"
    for name, resource in timeline.resources.items():
        if resource.devices is not None:
            raise SimulationError(f"--optimum knows capacities, and {one_line(name, 40)} has devices", fix)
        if resource.rate_per_minute is not None or resource.tokens_per_minute is not None:
            raise SimulationError(f"--optimum knows capacities, and {one_line(name, 40)} has a rate", fix)
        if timeline.capacity_changes.get(name):
            raise SimulationError(
                f"--optimum knows fixed capacities, and that of {one_line(name, 40)} is found out", fix
            )
    if any(parent >= 0 for parent in timeline.nested_in):
        raise SimulationError("--optimum knows steps of a workflow, and this run has calls or mapped steps", fix)
    idle = [step_id for step_id, status in zip(timeline.step_ids, timeline.statuses, strict=True)
            if status in {"skipped", "cancelled"}]  # fmt: skip
    if idle:
        raise SimulationError(f"--optimum knows steps that run, and {one_line(idle[0], 40)} did not", fix)


def _heads_and_tails(lasting: Sequence[int], parents: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """The longest chain before each step, and the longest after it."""
    order = list(TopologicalSorter(dict(enumerate(parents))).static_order())
    heads, tails = [0] * len(lasting), [0] * len(lasting)
    for place in order:
        heads[place] = max((heads[parent] + lasting[parent] for parent in parents[place]), default=0)
    for place in reversed(order):
        for parent in parents[place]:
            tails[parent] = max(tails[parent], tails[place] + lasting[place])
    return heads, tails

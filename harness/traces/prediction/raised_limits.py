"""What a limit that a trace shows costs: the same spans with more of the limited ones at once.

The observed order of calls that stood in a queue is an effect of the limit, not a need. Without it each of them needs
what the first of them needed, and the limit itself is kept as one.

Rules of this module:
- What is known stays: declared and inferred edges, and what followed the queue follows all of it that had ended.
- A gain is the difference between two schedules of the same graph, under the limit as it was and under the higher one.
- At most :data:`MOST_RAISED` queues are tried, those in which most was waited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.analysis.attempt_index import ended_of, started_of
from harness.traces.prediction.flat_graph import flat_graph, layout_of
from harness.traces.prediction.list_scheduling import list_schedule
from harness.traces.prediction.trace_what_if import WhatIf
from harness.traces.runs.queueing import Queue
from harness.traces.trace_model import ASSUMED, INFERRED, Edge, ForeignRun

MOST_RAISED: Final = 3
# Edges that take the place of the order in the queue: so many for each of its steps.
_EDGES_PER_STEP: Final = 32


@dataclass(frozen=True, slots=True)
class Raised:
    """``queue`` with ``at_once`` calls side by side (None: with no limit): the makespan, and what that gains."""

    queue: Queue
    at_once: int | None
    makespan_seconds: float
    gain_seconds: float


def raised_limits(sure: WhatIf, queues: Sequence[Queue], observed_nanoseconds: int) -> list[Raised]:
    """Each of the queues with its limit doubled, and without one."""
    found = []
    for queue in queues[:MOST_RAISED]:
        again = _Unordered(sure, queue)
        base = again.makespan_nanoseconds(queue.at_once)
        for at_once in (2 * queue.at_once, None):
            gain = base - again.makespan_nanoseconds(at_once)
            makespan = (observed_nanoseconds - gain) / NANOSECONDS
            found.append(Raised(queue, at_once, makespan, gain / NANOSECONDS))
    return found


class _Unordered:
    """A run in which the steps of a queue wait for a place, and not for each other."""

    def __init__(self, sure: WhatIf, queue: Queue) -> None:
        self.limited = {step for members in queue.rounds for step in members}
        run = replace(sure.run, edges=_without_order(sure, queue, self.limited))
        services = [str(step) if step in self.limited else None for step in range(len(run.timeline.step_ids))]
        layout = layout_of(run, services, sure.index, whole=self.limited)
        self.flat = flat_graph(run, layout, sure.index, assumed=True)
        self.units = {unit for unit, service in enumerate(self.flat.services) if service is not None}
        self._queue_up(sure)

    def _queue_up(self, sure: WhatIf) -> None:
        """Let those of the queue begin in the order in which they began: who asks first is first."""
        places, services = self.flat.places, self.flat.services
        free = sorted(places[unit] for unit in self.units)
        in_order = sorted(self.units, key=lambda unit: (_start(sure, int(services[unit] or 0)), unit))
        for unit, place in zip(in_order, free, strict=True):
            places[unit] = place

    def makespan_nanoseconds(self, at_once: int | None) -> int:
        """With so many of the queue at once, and as many workers as there are spans."""
        return list_schedule(self.flat, len(self.flat.lengths) + 1, limited=self.units, at_once=at_once)


def _start(sure: WhatIf, step: int) -> int:
    tries = sure.index.tries[step]
    return started_of(tries[0]) if tries else 0


def _without_order(sure: WhatIf, queue: Queue, limited: set[int]) -> list[Edge]:
    run: ForeignRun = sure.run
    ends = [ended_of(sure.index.last_of(step)) if tries else 0 for step, tries in enumerate(sure.index.tries)]
    starts = [started_of(tries[0]) if tries else 0 for tries in sure.index.tries]
    opening = {step for members in queue.rounds for step in members[: queue.at_once]}
    kept: list[Edge] = []
    needed_first: dict[int, list[Edge]] = {}
    followers: dict[int, set[int]] = {}
    round_of = {step: number for number, members in enumerate(queue.rounds) for step in members}
    for edge in run.edges:
        before, after, label, _ = edge
        if label == ASSUMED and after in limited and after not in opening:
            continue
        if label == ASSUMED and before in limited and after not in limited:
            followers.setdefault(after, set()).add(round_of[before])
        kept.append(edge)
        if after in opening:
            needed_first.setdefault(round_of[after], []).append(edge)
    left = _EDGES_PER_STEP * (len(limited) + len(run.edges))
    for number, members in enumerate(queue.rounds):
        for step in members[queue.at_once :]:
            needed = {edge.before for edge in needed_first.get(number, ())}
            kept += [Edge(before, step, INFERRED, "queue") for before in needed]
    for step, numbers in followers.items():
        ended = [one for number in numbers for one in queue.rounds[number] if ends[one] <= starts[step]]
        if len(ended) > left:
            ended = sorted(ended, key=lambda one: ends[one])[-_EDGES_PER_STEP:]
        left -= len(ended)
        kept += [Edge(one, step, ASSUMED, "queue") for one in ended]
    return kept

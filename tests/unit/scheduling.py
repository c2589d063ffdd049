"""A small hand on the scheduler for unit tests: seconds in, step ids out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from executor.dependencies import Graph
from executor.model.workflow import Resource, Step
from executor.record.timeline import NANOSECONDS, Attempt
from executor.scheduler import Scheduler


def step(name: str, *depends_on: str, **fields: object) -> Step:
    """A step in the words of a file."""
    return Step.model_validate({"step_id": name, "tool": "noop", "depends_on": list(depends_on), **fields})


def at(seconds: float) -> int:
    """In the scheduler's nanoseconds."""
    return round(seconds * NANOSECONDS)


def graph_of(steps: Sequence[Step], order: Mapping[str, Sequence[tuple[str, str]]] | None = None) -> Graph:
    """A graph from `depends_on` alone; order edges by hand, as (predecessor, state)."""
    index = {step.step_id: place for place, step in enumerate(steps)}
    data = [tuple(sorted(index[name] for name in step.depends_on)) for step in steps]
    edges = [tuple((index[name], state) for name, state in (order or {}).get(step.step_id, ())) for step in steps]
    levels = [0] * len(steps)
    ranks = [round((step.expected_seconds or 1.0) * NANOSECONDS) for step in steps]
    for place in range(len(steps)):
        above = [*data[place], *(other for other, _ in edges[place])]
        levels[place] = max((levels[other] + 1 for other in above), default=0)
    for place in reversed(range(len(steps))):
        for other in [*data[place], *(other for other, _ in edges[place])]:
            own = round((steps[other].expected_seconds or 1.0) * NANOSECONDS)
            ranks[other] = max(ranks[other], own + ranks[place])
    return Graph(tuple(steps), index, data, edges, list(range(len(steps))), levels, ranks)


class Hand:
    """Drives one scheduler; checks its invariants after every call."""

    def __init__(
        self,
        steps: Sequence[Step],
        slots: int = 8,
        *,
        order: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        resources: Mapping[str, Resource] | None = None,
        **options: Any,
    ) -> None:
        self.scheduler = Scheduler(slots, resources=resources, **options)
        self.live: dict[str, Attempt] = {}
        self.scheduler.add(graph_of(steps, order), 0)
        self.scheduler.validate()

    def add(self, *steps: Step, now: float = 0.0, parent: str | None = None) -> list[str]:
        """Add steps late, or as calls of a running step; their ids."""
        ids = self.scheduler.add(steps, round(now * NANOSECONDS), parent)
        self.scheduler.validate()
        return ids

    def start(self, now: float = 0.0) -> list[str]:
        """Start what may start; the ids in order."""
        starts = self.scheduler.start(round(now * NANOSECONDS))
        self.scheduler.validate()
        for attempt in starts:
            self.live[attempt.step_id] = attempt
        return [attempt.step_id for attempt in starts]

    def end(self, step_id: str, now: float, outcome: Any = "succeeded", **facts: Any) -> str:
        """End the live attempt of a step; the step's state after it."""
        status = self.scheduler.finish(self.live[step_id], outcome, round(now * NANOSECONDS), **facts)
        self.scheduler.validate()
        return status

    def turn(self, now: float, *ended: str) -> list[str]:
        """End steps well, then start."""
        for step_id in ended:
            self.end(step_id, now)
        return self.start(now)

    def status(self, step_id: str) -> str:
        return self.scheduler.status(self.scheduler.index[step_id])

    def statuses(self) -> dict[str, str]:
        return dict(zip(self.scheduler.step_ids, self.scheduler.statuses(), strict=True))

    def waits(self, step_id: str, attempt: int = 1) -> list[tuple[str, float, float]]:
        """The waits of an attempt in seconds."""
        found = next(a for a in self.scheduler.attempts if a.step_id == step_id and a.attempt == attempt)
        return [(wait.reason, wait.start / NANOSECONDS, wait.end / NANOSECONDS) for wait in found.waits]

    def wake_at(self) -> float | None:
        wake_at = self.scheduler.wake_at()
        return None if wake_at is None else wake_at / NANOSECONDS

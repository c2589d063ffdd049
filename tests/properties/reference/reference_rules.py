"""What may start, and when: the questions that the reference asks before it starts anything.

Rules of this module:
- It shares nothing with the production scheduler; rules come from :mod:`harness.testing.oracle.plain_graph` and from
  here.
- Each rule is one short method, so that a subclass can break exactly one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from executor.record.timeline import Attempt, StepStatus, Wait
from harness.testing.drawing.behaviour import Behaviour, Call, StepPlan
from harness.testing.oracle.events import FINAL
from harness.testing.oracle.plain_graph import PlainGraph, PlainStep

MINUTE_NS = 60_000_000_000


@dataclass(eq=False)
class Life:
    """A step on its way."""

    step: PlainStep
    plan: StepPlan
    place: int
    added: int
    caller: Life | None = None
    status: StepStatus = "waiting"
    ready: int = 0
    backoff_until: int = 0
    # The turn in which its last attempt failed: even a backoff of no length lasts to the end of that.
    failed_in: int = -1
    attempt: int = 0
    released_by: str | None = None
    bad: bool = False
    ever_ran: bool = False
    now: Attempt | None = None
    progress: int = 0
    due: int = -1
    calls: list[Call] = field(default_factory=list)
    called: list[Life] = field(default_factory=list)
    call_count: int = 0
    blocked_since: int = 0
    waits: list[Wait] = field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in FINAL

    @property
    def holds(self) -> bool:
        """Whether it holds its slot and its limits."""
        return self.status == "running"


class StartingRules:
    """A run as it is, and what its rules say of each step."""

    def __init__(self, graph: PlainGraph, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.resources = graph.resources
        self.policy = graph.policy
        self.slots = 1 if graph.policy == "serial" else graph.workers
        self.graph = graph
        self.time = 0
        self.turn = 0
        self.lives: dict[str, Life] = {}
        self.attempts: list[Attempt] = []
        self.stopped = False
        self.cancels = list(behaviour.cancellations)
        self.random = random.Random(behaviour.seed)
        self.levels = {
            ("rate", name): float(limit.burst) for name, limit in self.resources.items() if limit.rate_per_minute
        }
        self.levels |= {
            ("tokens", name): float(limit.token_burst if limit.token_burst is not None else limit.tokens_per_minute)
            for name, limit in self.resources.items()
            if limit.tokens_per_minute
        }
        self.batch: list[Life] = []
        for place, step in enumerate(graph.steps):
            self.lives[step.step_id] = Life(step, behaviour.steps[step.step_id], place, 0)

    def precedence(self, life: Life) -> tuple[int, ...]:
        """The order of starts, smallest first."""
        step = life.step
        rank = self.graph.ranks[step.step_id] or 0
        return (-self.graph.depths[step.step_id], -step.priority, -rank, life.place)

    def _next_batch(self) -> None:
        if self.policy != "barrier" or any(not life.final for life in self.batch):
            return
        ready = [life for life in self.lives.values() if life.status == "ready" and life.caller is None]
        ready = [life for life in ready if not self.locked(life)]
        alone = [life for life in ready if life.step.group is None]
        if alone:
            self.batch = alone[:1]
        elif ready:
            group = ready[0].step.group
            self.batch = [life for life in ready if type(life.step.group) is type(group) and life.step.group == group]

    def barred(self, life: Life) -> bool:
        """Whether a barrier holds it back."""
        if life.caller is not None:
            return False
        if self.policy == "levels":
            level = self.graph.levels[life.step.step_id]
            levels = self.graph.levels
            return any(levels[k] < level for k, other in self.lives.items() if other.caller is None and not other.final)
        return self.policy == "barrier" and life not in self.batch

    def satisfied(self, step_id: str) -> bool:
        """Whether an order edge to this step is satisfied."""
        life = self.lives[step_id]
        if not life.final:
            return False
        return life.ever_ran or all(self.satisfied(other) for other in self.graph.order_parents[step_id])

    def locked(self, life: Life) -> str | None:
        """The first state that is not yet its turn."""
        for other, state in self.graph.order_edges[life.step.step_id]:
            if not self.satisfied(other):
                return state
        return None

    def slot_free(self) -> bool:
        """Whether a slot is free."""
        return sum(life.holds for life in self.lives.values()) < self.slots

    def lacking(self, life: Life) -> Iterator[str]:
        """The resources whose units do not suffice."""
        for name, units in life.step.needs:
            capacity = self.resources[name].capacity if name in self.resources else None
            held = sum(dict(other.step.needs).get(name, 0) for other in self.lives.values() if other.holds)
            if capacity is not None and held + units > capacity:
                yield name

    def units_free(self, life: Life) -> bool:
        """Whether all its units are free."""
        return not list(self.lacking(life))

    def _rates_open(self, life: Life) -> Iterator[int]:
        """From when each bucket holds what the step takes, if no step takes anything."""
        for name, _ in life.step.needs:
            for kind, amount in (("rate", 1), ("tokens", life.step.tokens)):
                if (kind, name) not in self.levels:
                    continue
                missing = amount - self.levels[kind, name]
                if missing > 1e-9:
                    limit = self.resources[name]
                    per_minute = (limit.rate_per_minute if kind == "rate" else limit.tokens_per_minute) or 0.0
                    yield self.time + math.ceil(missing * MINUTE_NS / per_minute)

    def shut_rates(self, life: Life) -> Iterator[str]:
        """The resources whose buckets do not hold enough."""
        for name, _ in life.step.needs:
            for kind, amount in (("rate", 1), ("tokens", life.step.tokens)):
                if (kind, name) in self.levels and amount - self.levels[kind, name] > 1e-9:
                    yield name

    def rates_allow(self, life: Life) -> bool:
        """Whether all its buckets hold enough."""
        return not list(self.shut_rates(life))

    def reason(self, life: Life) -> str:
        """The first reason why a ready step does not start."""
        if self.time < life.backoff_until:
            return "backoff"
        if self.barred(life):
            return "barrier"
        lock = self.locked(life)
        if lock is not None:
            return f"lock.{lock}"
        for name in self.lacking(life):
            return f"resource.{name}"
        for name in self.shut_rates(life):
            return f"rate.{name}"
        return "worker"

    def _resuming_reason(self, life: Life) -> str:
        for name in self.lacking(life):
            return f"resource.{name}"
        return "worker"

"""Services whose limit is unknown, on the virtual clock: they refuse, or they become slower."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from executor.backends.virtual import Simulated, VirtualBackend
from executor.model.workflow import Resource, Retry, Step, Workflow
from executor.record.outcomes import Failure
from executor.record.timeline import NANOSECONDS, Attempt
from executor.running import Run, run

Durations = Callable[[int], float]


@dataclass
class HiddenLimit:
    """Bears ``limit`` calls at once. Beyond that it refuses after a moment, or (``queues``) lets them wait for each
    other. ``seconds(i)``: how long the i-th step's call takes without load.
    """

    limit: int
    seconds: Durations
    queues: bool = False
    refusals: int = 0
    calls: int = 0
    _ends: list[int] = field(default_factory=list)

    def __call__(self, attempt: Attempt) -> Simulated:
        now = attempt.granted
        while self._ends and self._ends[0] <= now:
            heappop(self._ends)
        self.calls += 1
        lasts = round(self.seconds(attempt.index) * NANOSECONDS)
        if len(self._ends) >= self.limit and not self.queues:
            self.refusals += 1
            wait = (self._ends[0] - now) / NANOSECONDS
            return Simulated(1_000_000, "failed", Failure("Refused", "429", retry_after_seconds=wait, overloaded=True))
        # Of those that are there it follows the one whose place it gets.
        free = sorted(self._ends)[-self.limit] if len(self._ends) >= self.limit else now
        heappush(self._ends, free + lasts)
        return Simulated(free - now + lasts)


def used(limit: HiddenLimit, llm: Resource, *, steps: int = 300, workers: int = 64, expected: bool = False) -> Run:
    """A run of independent calls."""
    retry = Retry(max_attempts=1000, backoff_seconds=0.01, jitter="none")
    made = tuple(
        Step(
            step_id=f"s{index}",
            tool="ask",
            needs={"llm": 1},
            retry=retry,
            expected_seconds=limit.seconds(index) if expected else None,
        )
        for index in range(steps)
    )
    backend = VirtualBackend(workers, behaviour=limit)
    return run(Workflow(steps=made), backend=backend, tools={"ask": lambda: None}, resources={"llm": llm})


def steady(seconds: float) -> Durations:
    """Every call takes as long."""
    return lambda _: seconds


def varied(median_seconds: float, sigma: float, seed: int = 1) -> Durations:
    """Log-normal, the same for the same step."""
    return lambda index: median_seconds * random.Random(f"{seed}-{index}").lognormvariate(0.0, sigma)

"""How short a step may be on an executor: METG, the minimum effective task granularity.

METG(e) is the step duration at which a run reaches the efficiency e: its lower bound ÷ its makespan. Shorter steps cost
more to start than they do.

Source: "Task Bench: A parameterized benchmark for evaluating parallel runtime performance", SC 2020.

Rules of this module:
- The lower bound is that of the stated durations: work ÷ workers, or the critical path.
- The makespan of a duration is the median of some runs; durations halve or double until the efficiency is crossed.
- Between two durations METG is interpolated, on a logarithmic scale.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.execution import execute
from harness.files.strict_file import Document
from harness.scenario.forecast import forecast
from harness.scenario.scenario_file import load_document

SHORTEST_SECONDS: Final = 1e-6
LONGEST_SECONDS: Final = 1.0
_FIRST_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Measured:
    """What a duration of steps brought."""

    step_seconds: float
    makespan_seconds: float
    bound_seconds: float

    @property
    def efficiency_ratio(self) -> float:
        """Lower bound ÷ makespan."""
        return self.bound_seconds / self.makespan_seconds if self.makespan_seconds > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Granularity:
    """``metg_seconds``: None where no duration that was tried is on both sides. ``measured``: by duration."""

    metg_seconds: float | None
    measured: tuple[Measured, ...]
    workers: int


def measure_granularity(
    workload: Callable[[float], dict[str, Any]],
    *,
    executor: str,
    workers: int | None = None,
    efficiency: float = 0.5,
    repetitions: int = 5,
) -> Granularity:
    """Measure it. ``workload``: a scenario's data by the duration of its steps in seconds.

    Raises:
        BackendError: there is no such executor, or it cannot be had.

    """
    slots = 0

    def measure(seconds: float) -> Measured:
        nonlocal slots
        data = workload(seconds)
        loaded = load_document(Document(data, "workload.json", "json", json.dumps(data)))
        runs = [execute(loaded, executor=executor, workers=workers).run.timeline for _ in range(repetitions)]
        slots = runs[0].workers
        bound = forecast(loaded.graph, workers=slots).lower_bound_amount
        return Measured(seconds, statistics.median(run.makespan_seconds for run in runs), bound)

    found = crossing(measure, efficiency)
    return Granularity(interpolated(found, efficiency), tuple(found), slots)


def crossing(
    measure: Callable[[float], Measured],
    efficiency: float,
    *,
    first_seconds: float = _FIRST_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> list[Measured]:
    """Durations on both sides of the efficiency, as far as there are any, in order, from the first on."""
    found = [measure(first_seconds)]
    reached = found[0].efficiency_ratio >= efficiency
    factor = 0.5 if reached else 2.0
    seconds = first_seconds
    while SHORTEST_SECONDS <= seconds * factor <= longest_seconds:
        seconds *= factor
        found.append(measure(seconds))
        if (found[-1].efficiency_ratio >= efficiency) != reached:
            break
    return sorted(found, key=lambda one: one.step_seconds)


def interpolated(found: list[Measured], efficiency: float) -> float | None:
    """The duration at which the efficiency is crossed, from two that are beside each other."""
    for low, high in itertools.pairwise(found):
        below, above = low.efficiency_ratio, high.efficiency_ratio
        if below < efficiency <= above:
            share = (efficiency - below) / (above - below)
            return math.exp(math.log(low.step_seconds) * (1 - share) + math.log(high.step_seconds) * share)
    return None

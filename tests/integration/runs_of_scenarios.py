"""Documents of runs with a known truth: several scenarios, each measured several times, at times of their own.

A run of a scenario has cells on ``serial`` and on ``threads``. How many steps ran at once, how long it took and how
much faster it was say which run a number or a curve is from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from executor.model.workflow import Step
from executor.record.timeline import NANOSECONDS, Attempt, Timeline
from harness.result import Estimate, Repetition, result_document
from tests.unit.run_documents import document

TRACES = 2**100


@dataclass(frozen=True)
class Planned:
    """A run as it was planned. ``begin``: hours after the first one; ``wide``: steps that ran at once on ``threads``;
    ``workers`` of it; ``compared``: it has cells with speedups, else it is one run of ``threads`` alone.
    """

    run_id: str
    scenario: str
    begin_hours: float
    wide: int
    seconds: float = 1.0
    workers: int = 8
    compared: bool = True

    @property
    def speedup(self) -> float:
        """Serial makespan divided by makespan."""
        return float(self.wide)


TWO_SCENARIOS = (
    Planned("orders-1", "orders", 0, 5),
    Planned("letters-1", "letters", 1, 2, seconds=3.0),
    Planned("orders-2", "orders", 30, 3, seconds=2.0),
    Planned("letters-2", "letters", 31, 4),
    Planned("letters-3", "letters", 31 + 1 / 1200, 6),
    # A slower service, and one number of workers less.
    Planned("orders-3", "orders", 60, 2, seconds=4.0, workers=4),
    Planned("letters-4", "letters", 80, 7, compared=False),
)
FIRST = datetime.now(UTC).replace(microsecond=0) - timedelta(days=5)


def documents(plans: Sequence[Planned] = TWO_SCENARIOS) -> Iterator[dict[str, Any]]:
    """The documents of these runs, oldest first."""
    for number, plan in enumerate(sorted(plans, key=lambda one: one.begin_hours)):
        begin = FIRST + timedelta(hours=plan.begin_hours)
        cells = [_cell(plan, begin, "serial", 1, number)] if plan.compared else []
        at = begin + timedelta(seconds=plan.seconds * plan.wide if plan.compared else 0)
        cells.append(_cell(plan, at, "threads", plan.wide, number))
        yield document(*cells, run_id=plan.run_id, scenario=plan.scenario, started_at=begin.isoformat())


def many_cells(count: int) -> dict[str, Any]:
    """One run of so many cells, one after the other."""
    plans = [Planned("many-1", "many", number / 3600, 2, workers=number) for number in range(1, count + 1)]
    cells = [_cell(plan, FIRST + timedelta(hours=plan.begin_hours), "threads", 2, plan.workers) for plan in plans]
    return document(*cells, run_id="many-1", scenario="many", started_at=FIRST.isoformat())


def end_of(plan: Planned) -> float:
    """When its last cell ended, seconds since 1970."""
    serial = plan.seconds * plan.wide if plan.compared else 0.0
    return (FIRST + timedelta(hours=plan.begin_hours)).timestamp() + serial + plan.seconds


def _cell(plan: Planned, begin: datetime, executor: str, at_once: int, number: int) -> Mapping[str, Any]:
    length = round(plan.seconds * NANOSECONDS)
    attempts = []
    for step in range(plan.wide):
        start = 0 if at_once > 1 else step * length
        attempt = Attempt(step, f"s{step}", 1, 0, start, waits="worker" if start else None)
        attempt.started, attempt.ended, attempt.known = start, start + length, start + length
        attempt.outcome = "succeeded"
        attempts.append(attempt)
    ids = [f"s{step}" for step in range(plan.wide)]
    empty: list[tuple[int, ...]] = [()] * plan.wide
    workers = plan.workers if executor == "threads" else 1
    timeline = Timeline(ids, empty, empty, ["succeeded"] * plan.wide, attempts, workers, backend=executor)
    speedup = (plan.speedup if executor == "threads" else 1.0) if plan.compared else None
    steps = {name: Step(step_id=name, tool="sleep") for name in ids}
    trace = f"{TRACES + number * 2 + workers:032x}"
    repetition = Repetition(timeline, steps=steps, started_at=begin.isoformat(), trace_id=trace)
    return result_document(
        [repetition], executor=executor, speedup=None if speedup is None else Estimate(speedup, (speedup, speedup))
    )

"""The best schedule that a solver finds in a given time, and a bound that no schedule beats: OR-Tools' CP-SAT.

Rules of this module:
- The solver begins with the schedule of the run, so that what it says is never worse.
- Both figures are exact in ticks that divide every duration; nothing is rounded.
- A run as short as its lower bound needs no solver. The solver is imported where it is used: it is the extra `optimum`.
- A step of no length takes no worker and no units, as the solver sees it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from executor.record.timeline import NANOSECONDS, Timeline
from harness.environment import usable_cores
from harness.simulation.changes import SimulationError
from harness.simulation.schedule_problem import ScheduleProblem, problem_of

_MOST_STEPS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Optimum:
    """``best_seconds``: the makespan of the best schedule known; ``bound_seconds``: no schedule is shorter.

    ``took_seconds``: what the search took on this machine.
    """

    best_seconds: float
    bound_seconds: float
    took_seconds: float

    @property
    def is_proven(self) -> bool:
        """Whether no schedule is better than the best known."""
        return self.bound_seconds >= self.best_seconds

    def above_best_ratio(self, makespan_seconds: float) -> float:
        """By what share of the best known a makespan is longer."""
        return max(0.0, makespan_seconds / self.best_seconds - 1) if self.best_seconds > 0 else 0.0

    def above_bound_ratio(self, makespan_seconds: float) -> float:
        """By what share of any schedule it is longer at most."""
        return max(0.0, makespan_seconds / self.bound_seconds - 1) if self.bound_seconds > 0 else 0.0


def best_schedule(timeline: Timeline, *, max_seconds: float, threads: int | None = None) -> Optimum:
    """The best schedule of what ran, with its workers and capacities. ``threads``: default the usable cores.

    Raises:
        SimulationError: the solver is not installed, or the run has something that it does not know.

    """
    began = time.perf_counter()
    problem = problem_of(timeline)
    best, bound = problem.known_ticks, problem.bound_ticks
    if bound < best:
        if len(problem.parts) > _MOST_STEPS:
            fix = "take a smaller one; the lower bound is shown beside the makespan"
            raise SimulationError(
                f"--optimum searches at most {_MOST_STEPS:,} steps: these are {len(problem.parts):,}", fix
            )
        found, proven = _search(problem, max_seconds, threads or usable_cores())
        best, bound = min(best, found), max(bound, proven)
    best_nanoseconds, bound_nanoseconds = (ticks * problem.tick_nanoseconds for ticks in (best, bound))
    return Optimum(best_nanoseconds / NANOSECONDS, bound_nanoseconds / NANOSECONDS, time.perf_counter() - began)


def _solver() -> Any:
    try:
        from ortools.sat.python import cp_model  # noqa: PLC0415 - half a second, and an extra
    except ImportError as error:
        raise SimulationError(
            "--optimum needs OR-Tools, which is not installed", "pip install 'makespan[optimum]'"
        ) from error
    return cp_model


def _search(problem: ScheduleProblem, max_seconds: float, threads: int) -> tuple[int, int]:
    """The best makespan found and the proven bound, in ticks."""
    cp_model = _solver()
    model = cp_model.CpModel()
    intervals, starts, makespan = _variables(model, problem)
    for place, parents in enumerate(problem.parents):
        for parent in parents:
            last = problem.parts[parent][-1].ticks
            model.add(starts[place][0] >= starts[parent][-1] + last)
    _limit(model, problem, intervals)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max_seconds
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    status = solver.solve(model)
    found = int(solver.objective_value) if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else problem.known_ticks
    proven = found if status == cp_model.OPTIMAL else round(solver.best_objective_bound)
    return found, max(0, proven)


def _variables(model: Any, problem: ScheduleProblem) -> tuple[list[list[Any]], list[list[Any]], Any]:
    """The interval and the start of each attempt, and the makespan; each hinted as it was."""
    horizon = problem.known_ticks
    makespan = model.new_int_var(problem.bound_ticks, horizon, "makespan")
    model.add_hint(makespan, horizon)
    intervals: list[list[Any]] = []
    starts: list[list[Any]] = []
    for place, parts in enumerate(problem.parts):
        mine: list[Any] = []
        left = sum(part.gap + part.ticks for part in parts)
        passed = 0
        for number, part in enumerate(parts):
            earliest = problem.heads[place] + passed + part.gap
            latest = horizon - problem.tails[place] - left + part.gap
            start = model.new_int_var(earliest, latest, f"start_{place}_{number}")
            model.add_hint(start, part.started)
            if mine:
                model.add(start >= mine[-1] + parts[number - 1].ticks + part.gap)
            mine.append(start)
            passed += part.gap + part.ticks
            left -= part.gap + part.ticks
        model.add(makespan >= mine[-1] + parts[-1].ticks + problem.tails[place])
        starts.append(mine)
        intervals.append([
            model.new_fixed_size_interval_var(start, part.ticks, f"interval_{place}_{number}")
            for number, (start, part) in enumerate(zip(mine, parts, strict=True))
        ])  # fmt: skip
    return intervals, starts, makespan


def _limit(model: Any, problem: ScheduleProblem, intervals: list[list[Any]]) -> None:
    every = [interval for mine in intervals for interval in mine]
    if problem.workers < len(problem.parts):
        model.add_cumulative(every, [1] * len(every), problem.workers)
    for name, capacity in problem.capacities.items():
        using = [(mine, needs[name]) for mine, needs in zip(intervals, problem.needs, strict=True) if needs.get(name)]
        if sum(units for _, units in using) > capacity:
            mine = [interval for some, _ in using for interval in some]
            model.add_cumulative(mine, [units for some, units in using for _ in some], capacity)

"""What a plan promises before it runs: critical path, lower bound and workers, from expected durations. Pure.

Rules of this module:
- A step's duration is ``expected_seconds × scale``; one that states none counts as 0, and the forecast says how many.
  Where no step states any, each counts as 1 and everything is in steps, not in seconds.
- The lower bound is that of a run (critical path, work ÷ workers, limits and rates), with expected durations.
- O(steps + edges), no recursion. Integer nanoseconds inside, so that steps that meet do not overlap by a rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from executor.dependencies import Graph
from executor.timeline import NANOSECONDS
from executor.workflow import Resource

CRITICAL_PATH = "critical path"


@dataclass(frozen=True, slots=True)
class Forecast:
    """``critical_path`` holds indices of steps, in order. Amounts are seconds, or steps if not ``in_seconds``.

    ``largest_term`` names what the lower bound comes from. ``sufficient_workers`` is the most steps that run at once
    when each starts as soon as it can, limits aside: more workers start nothing earlier.
    """

    in_seconds: bool
    steps_unstated: int
    durations: Sequence[float]
    critical_path: Sequence[int]
    critical_path_amount: float
    work_amount: float
    lower_bound_amount: float
    largest_term: str
    workers: int
    sufficient_workers: int


def forecast(
    graph: Graph, *, workers: int, scale: float = 1.0, resources: Mapping[str, Resource] | None = None
) -> Forecast:
    """The forecast of a graph for a number of workers."""
    stated = [step.expected_seconds for step in graph.steps]
    unstated = sum(1 for seconds in stated if seconds is None)
    in_seconds = unstated < len(stated)
    unit = NANOSECONDS if in_seconds else 1
    ticks = [round((seconds or 0.0) * scale * unit) for seconds in stated] if in_seconds else [1] * len(stated)
    starts, path = _as_soon_as_possible(graph, ticks)
    durations = [length / unit for length in ticks]
    longest = sum(ticks[index] for index in path) / unit
    work = sum(ticks) / unit
    terms = {CRITICAL_PATH: longest, f"work on {workers} worker{'s' if workers != 1 else ''}": work / workers}
    if in_seconds:
        terms |= _limits(graph, durations, resources or {})
    largest = max(terms, key=lambda term: terms[term])
    return Forecast(
        in_seconds=in_seconds,
        steps_unstated=unstated,
        durations=durations,
        critical_path=path,
        critical_path_amount=longest,
        work_amount=work,
        lower_bound_amount=terms[largest],
        largest_term=largest,
        workers=workers,
        sufficient_workers=_most_at_once(starts, ticks),
    )


def _as_soon_as_possible(graph: Graph, ticks: Sequence[int]) -> tuple[list[int], list[int]]:
    """When each step would start with endless workers and no limits, and the longest chain."""
    starts = [0] * len(ticks)
    before = [-1] * len(ticks)
    for index in graph.topological:
        for parent in (*graph.data_parents[index], *(edge[0] for edge in graph.order_edges[index])):
            ready = starts[parent] + ticks[parent]
            if ready > starts[index] or before[index] < 0:
                starts[index] = max(ready, starts[index])
                before[index] = parent
    last = max(range(len(ticks)), key=lambda index: starts[index] + ticks[index], default=-1)
    path: list[int] = []
    while last >= 0:
        path.append(last)
        last = before[last]
    path.reverse()
    return starts, path


def _most_at_once(starts: Sequence[int], ticks: Sequence[int]) -> int:
    changes = [(start, 1) for start, length in zip(starts, ticks, strict=True) if length > 0]
    changes += [(start + length, -1) for start, length in zip(starts, ticks, strict=True) if length > 0]
    changes.sort()
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return max(most, 1)


def _limits(graph: Graph, durations: Sequence[float], resources: Mapping[str, Resource]) -> dict[str, float]:
    """For each limit the seconds below which these steps cannot pass through it."""
    use: dict[str, float] = {}
    grants: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for step, seconds in zip(graph.steps, durations, strict=True):
        for name, units in (step.needs or {}).items():
            use[name] = use.get(name, 0.0) + units * seconds
            grants[name] = grants.get(name, 0) + 1
            tokens[name] = tokens.get(name, 0) + (step.expected_tokens or 0)
    terms: dict[str, float] = {}
    for name, resource in resources.items():
        if name not in use:
            continue
        if resource.capacity is not None:
            terms[f"capacity of {name}"] = use[name] / resource.capacity
        if resource.rate_per_minute is not None:
            terms[f"rate of {name}"] = max(0.0, (grants[name] - resource.burst) * 60 / resource.rate_per_minute)
        if resource.tokens_per_minute is not None:
            burst = resource.token_burst if resource.token_burst is not None else resource.tokens_per_minute
            terms[f"tokens of {name}"] = max(0.0, (tokens[name] - burst) * 60 / resource.tokens_per_minute)
    return terms

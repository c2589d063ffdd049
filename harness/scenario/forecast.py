"""What a plan promises before it runs: critical path, lower bound and workers, from expected durations. Pure.

Rules of this module:
- A step's duration is ``expected_seconds × scale``; one that states none counts as 0, and the forecast says how many.
  Where no step states any, each counts as 1 and everything is in steps, not in seconds.
- A mapped step counts once for each item, in as many rounds as its `max_parallel` asks for. Where only a run knows the
  list it has `expected_items`, else one item, and the forecast says so.
- The lower bound is that of a run (critical path, work ÷ workers, limits and rates), with expected durations.
- O(steps + edges), no recursion. Integer nanoseconds inside, so that steps that meet do not overlap by a rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor.dependencies import Graph
from executor.engine.mapped_items import DEFAULT_ITEMS, known_items
from executor.model.workflow import Resource, Step
from executor.record.timeline import NANOSECONDS
from executor.templates.render_budget import STUB
from harness.analysis.device_bound import device_terms
from harness.plain_text import counted

CRITICAL_PATH = "critical path"


@dataclass(frozen=True, slots=True)
class Forecast:
    """``critical_path`` holds indices of steps, in order. Amounts are seconds, or steps if not ``in_seconds``.

    ``largest_term`` names what the lower bound comes from. ``sufficient_workers`` is the most steps that run at once
    when each starts as soon as it can, limits aside: more workers start nothing earlier. ``items``: how many each
    mapped step has, by id; ``assumed_items``: those of them that cannot be known yet.
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
    items: Mapping[str, int] = field(default_factory=dict)
    assumed_items: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Load:
    """How often each step is done, how often at once, and how long once takes, in ticks."""

    counts: Sequence[int]
    at_once: Sequence[int]
    ticks: Sequence[int]

    @property
    def lasting(self) -> list[int]:
        """From the first beginning to the last end of each step, if nothing else holds it back."""
        rounds = [-(-count // most) if most else 0 for count, most in zip(self.counts, self.at_once, strict=True)]
        return [length * number for length, number in zip(self.ticks, rounds, strict=True)]

    @property
    def work(self) -> int:
        """All together."""
        return sum(length * count for length, count in zip(self.ticks, self.counts, strict=True))


def forecast(
    graph: Graph,
    *,
    workers: int,
    scale: float = 1.0,
    resources: Mapping[str, Resource] | None = None,
    inputs: Mapping[str, Any] | None = None,
    expected_outputs: Mapping[str, Any] | None = None,
) -> Forecast:
    """The forecast of a graph for a number of workers. ``inputs`` and ``expected_outputs`` (by step id): what lists of
    mapped steps may be made of.
    """
    stated = [step.expected_seconds for step in graph.steps]
    unstated = sum(1 for seconds in stated if seconds is None)
    in_seconds = unstated < len(stated)
    unit = NANOSECONDS if in_seconds else 1
    ticks = [round((seconds or 0.0) * scale * unit) for seconds in stated] if in_seconds else [1] * len(stated)
    items, assumed = items_of([graph.steps[index] for index in graph.topological], inputs or {}, expected_outputs)
    counts = [items.get(step.step_id, 1) for step in graph.steps]
    at_once = [min(count, step.max_parallel or count) for count, step in zip(counts, graph.steps, strict=True)]
    load = _Load(counts, at_once, ticks)
    lasting = load.lasting
    starts, path = _as_soon_as_possible(graph, lasting)
    longest = sum(lasting[index] for index in path) / unit
    work = load.work / unit
    terms = {CRITICAL_PATH: longest, f"work on {counted(workers, 'worker')}": work / workers}
    if in_seconds:
        terms |= _limits(graph, [length / unit for length in ticks], counts, resources or {})
    largest = max(terms, key=lambda term: terms[term])
    return Forecast(
        in_seconds=in_seconds,
        steps_unstated=unstated,
        durations=[length / unit for length in lasting],
        critical_path=path,
        critical_path_amount=longest,
        work_amount=work,
        lower_bound_amount=terms[largest],
        largest_term=largest,
        workers=workers,
        sufficient_workers=_most_at_once(starts, lasting, at_once),
        items=items,
        assumed_items=assumed,
    )


def items_of(
    steps: Sequence[Step], inputs: Mapping[str, Any], expected_outputs: Mapping[str, Any] | None = None
) -> tuple[dict[str, int], frozenset[str]]:
    """How many items each mapped step has, by id, and which of these numbers are assumptions. ``steps``: each behind
    those that it depends on.
    """
    outputs: dict[str, Any] = {step.step_id: STUB for step in steps} | dict(expected_outputs or {})
    items: dict[str, int] = {}
    assumed: set[str] = set()
    for step in steps:
        if step.for_each is None:
            continue
        known = known_items(step, inputs, outputs)
        if known is None:
            assumed.add(step.step_id)
            known = DEFAULT_ITEMS if step.expected_items is None else step.expected_items
        items[step.step_id] = known
        outputs[step.step_id] = [outputs[step.step_id]] * known
    return items, frozenset(assumed)


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


def _most_at_once(starts: Sequence[int], lasting: Sequence[int], at_once: Sequence[int]) -> int:
    long = [entry for entry in zip(starts, lasting, at_once, strict=True) if entry[1] > 0]
    changes = [(start, number) for start, _, number in long]
    changes += [(start + length, -number) for start, length, number in long]
    changes.sort()
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return max(most, 1)


def _limits(
    graph: Graph, durations: Sequence[float], counts: Sequence[int], resources: Mapping[str, Resource]
) -> dict[str, float]:
    """For each limit the seconds below which these steps cannot pass through it."""
    runs = [
        (index, round(seconds * count * NANOSECONDS))
        for index, (seconds, count) in enumerate(zip(durations, counts, strict=True))
    ]
    of_devices = device_terms([step.needs for step in graph.steps], resources, runs)
    terms = {f"devices of {kind}": nanoseconds / NANOSECONDS for kind, nanoseconds in of_devices.items()}
    use: dict[str, float] = {}
    grants: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for step, seconds, count in zip(graph.steps, durations, counts, strict=True):
        for name, units in (step.needs or {}).items():
            use[name] = use.get(name, 0.0) + units * seconds * count
            grants[name] = grants.get(name, 0) + count
            tokens[name] = tokens.get(name, 0) + (step.expected_tokens or 0) * count
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

"""The plain graph of a run in which steps called others: for the oracle, which takes no graph from a scheduler.

It has a module of its own, without assertions, so that an import of it leaves the suites to be rewritten by pytest.
"""

from __future__ import annotations

from dataclasses import replace

from executor import Run
from harness.testing.oracle.description import describe
from harness.testing.oracle.plain_graph import PlainGraph, PlainStep


def graph_with_calls(run: Run) -> PlainGraph:
    """The plain graph of a run, with the calls that its record shows: for the oracle."""
    timeline = run.timeline
    graph = describe(run.workflow, resources=timeline.resources, workers=timeline.workers, policy=timeline.policy)
    waiting: dict[str, list[tuple[int, int]]] = {}
    ready: dict[str, int] = {}
    for attempt in timeline.attempts:
        waiting.setdefault(attempt.step_id, []).extend(attempt.blocked)
        ready.setdefault(attempt.step_id, attempt.ready)
    called = []
    for index, parent in enumerate(timeline.nested_in):
        if parent >= 0:
            step_id, caller = timeline.step_ids[index], timeline.step_ids[parent]
            at = ready.get(step_id, 0)
            call = next((n for n, (start, end) in enumerate(waiting.get(caller, ())) if start <= at <= end), 0)
            units: tuple[tuple[str, float], ...] = tuple((timeline.needs[index] or {}).items())
            called.append(PlainStep(step_id, parent=caller, call=call, needs=units))
    return replace(graph, steps=(*graph.steps, *called))

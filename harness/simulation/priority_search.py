"""The order of starts that is shortest on the virtual clock, of several priority rules: ``--policy best``.

Rules of this module:
- The order that ``dataflow`` itself takes is tried first and kept unless another is shorter: the choice is never worse.
- An order under which a step ends otherwise (a failure cuts more short) counts for nothing, however short it is.
- The rules know how long each step runs on the virtual clock; ``dataflow`` knows ``expected_seconds``, else 1 s.
- Deterministic: of equal makespans the rule that comes first in :data:`.RULES` counts.
- Bounded: attempts times rules stay below a budget. A larger run is tried with fewer rules, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from executor.record.timeline import NANOSECONDS, Timeline
from executor.scheduler import Policy
from harness.simulation.changes import Change
from harness.simulation.priority_rules import RULES, Weighed, load_parts, places
from harness.simulation.subject import Subject

DATAFLOW: Final[Policy] = "dataflow"
# Attempts that may be simulated for one choice, all its rules together: some seconds.
BUDGET_ATTEMPTS: Final = 200_000


@dataclass(frozen=True, slots=True)
class BestPriorities:
    """``rule``: the one that was taken, ``dataflow`` where no rule is shorter than its own order.

    ``makespans_seconds``: under its own order and each rule that was tried. ``left_out``: rules beyond the budget.
    ``priorities``: by step id, to be stated in the file so that ``dataflow`` starts in that order; empty where its own
    is kept.
    """

    rule: str
    makespans_seconds: Mapping[str, float]
    left_out: Sequence[str]
    priorities: Mapping[str, int]


def best_priorities(
    subject: Subject, change: Change, *, budget_attempts: int = BUDGET_ATTEMPTS
) -> tuple[BestPriorities, Change]:
    """The best order of starts with something changed, and the change with it."""
    count = max(0, budget_attempts // max(1, len(subject.timeline.attempts)) - 1)
    tried, left_out = list(RULES)[:count], list(RULES)[count:]
    best = own = replace(change, policy=DATAFLOW, ranks=None)
    chosen: str = DATAFLOW
    first = subject.run(own)
    shortest = first.makespan_nanoseconds
    makespans: dict[str, int] = {DATAFLOW: shortest}
    weighed = _weighed(subject, change)
    for rule in tried:
        ordered = replace(own, ranks=tuple(places(weighed, rule)))
        again = subject.run(ordered)
        makespans[rule] = again.makespan_nanoseconds
        if makespans[rule] < shortest and _ends(again) == _ends(first):
            shortest, chosen, best = makespans[rule], rule, ordered
    steps = subject.rerun.graph.steps
    priorities = {} if best.ranks is None else {
        step.step_id: place for step, place in zip(steps, best.ranks, strict=True)
    }  # fmt: skip
    seconds = {rule: one / NANOSECONDS for rule, one in makespans.items()}
    return BestPriorities(chosen, seconds, left_out, priorities), best


def _ends(timeline: Timeline) -> dict[str, str]:
    """How each step ended. Calls are listed in the order in which they were made."""
    return dict(zip(timeline.step_ids, timeline.statuses, strict=True))


def _weighed(subject: Subject, change: Change) -> Weighed:
    rerun = subject.rerun
    graph = rerun.graph
    workers = change.workers or subject.timeline.workers
    capacities = {
        name: resource.capacity
        for name, resource in change.resources(subject.timeline.resources).items()
        if resource.capacity is not None
    }
    nanoseconds = [
        round(one / change.speed_ups.get(step.step_id, 1.0))
        for step, one in zip(graph.steps, rerun.lasting_nanoseconds(), strict=True)
    ]
    return Weighed(
        parents=[
            sorted({*above, *(parent for parent, _ in edges)})
            for above, edges in zip(graph.data_parents, graph.order_edges, strict=True)
        ],
        order=graph.topological,
        nanoseconds=nanoseconds,
        load_parts=[load_parts(step.needs or {}, capacities, workers) for step in graph.steps],
        priorities=[step.priority for step in graph.steps],
    )

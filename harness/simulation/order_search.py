"""The order of starts that a run under the policy ``best`` takes: found on the virtual clock before it begins.

Rules of this module:
- How long a step runs: as its file states, else as its tool says, else as it ran in earlier runs, else 1 s.
- Where nothing is known of any step the order is that of ``dataflow``; so it is where a run is too large to be tried.
- The order is stated as the ``priority`` of each step, as ``makespan simulate --save`` writes it: the scheduler runs
  ``dataflow``, and the record of the run knows what decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from executor.dependencies import Graph
from harness.config import BEST
from harness.scenario.scenario_model import Loaded
from harness.simulation.changes import Change
from harness.simulation.priority_search import BUDGET_ATTEMPTS, DATAFLOW, BestPriorities, best_priorities
from harness.simulation.subject import Subject, subject_of_scenario

# From a scenario to the seconds that its steps took in earlier runs, by id.
Learned = Callable[[Loaded], Mapping[str, float]]
Known = Literal["stated", "tool", "learned", "assumed"]
# With more steps not even one rule is within the budget.
MOST_STEPS: Final = BUDGET_ATTEMPTS // 2


@dataclass(slots=True)
class BestOrder:
    """``known``: of how many steps the duration is stated, said by the tool, learned from earlier runs, or assumed.
    ``found``: what was tried; None: nothing, since no duration is known, or there are more than ``most_steps``.
    """

    workers: int
    known: Mapping[Known, int]
    found: BestPriorities | None = None
    most_steps: int | None = None
    _made: tuple[Graph, Graph] | None = None

    @property
    def rule(self) -> str:
        """The rule that was taken."""
        return DATAFLOW if self.found is None else self.found.rule

    def applied(self, graph: Graph) -> Graph:
        """The graph of the scenario with the priorities of the order; the same for the same."""
        if self.found is None or not self.found.priorities:
            return graph
        if self._made is None or self._made[0] is not graph:
            priorities = self.found.priorities
            steps = tuple(step.model_copy(update={"priority": priorities[step.step_id]}) for step in graph.steps)
            self._made = graph, replace(graph, steps=steps)
        return self._made[1]


def best_order(
    loaded: Loaded, *, workers: int, learned: Learned | None = None, most_steps: int = MOST_STEPS
) -> BestOrder:
    """The best order of a scenario for a number of workers. With more than ``most_steps`` steps none is tried.

    Raises:
        WorkflowError: a tool cannot be made.

    """
    graph = loaded.graph
    stated = sum(step.expected_seconds is not None for step in graph.steps)
    if len(graph.steps) > most_steps:
        return BestOrder(workers, {"stated": stated, "assumed": len(graph.steps) - stated}, None, most_steps)
    subject = subject_of_scenario(loaded, workers=workers)
    assumed = _assumed(subject)
    seconds = {} if learned is None or not assumed else learned(loaded)
    taken = {step_id: seconds[step_id] / loaded.scenario.scale for step_id in assumed if step_id in seconds}
    if taken:
        subject = subject_of_scenario(replace(loaded, graph=_lasting(graph, taken)), workers=workers)
    unknown = len(assumed) - len(taken)
    known: dict[Known, int] = {
        "stated": stated, "tool": len(graph.steps) - stated - len(assumed), "learned": len(taken), "assumed": unknown,
    }  # fmt: skip
    if unknown == len(graph.steps) or not subject.timeline.attempts:
        return BestOrder(workers, known)
    found, _ = best_priorities(subject, Change(BEST))
    return BestOrder(workers, known, found)


def _assumed(subject: Subject) -> set[str]:
    """The steps of the file whose duration nobody knows. Items count for their step."""
    timeline = subject.timeline
    found = set()
    for place, step_id in enumerate(timeline.step_ids):
        if step_id in subject.assumed:
            while timeline.nested_in and timeline.nested_in[place] >= 0:
                place = timeline.nested_in[place]  # noqa: PLW2901 - the way up to the step of the file
            found.add(timeline.step_ids[place])
    return found


def _lasting(graph: Graph, seconds: Mapping[str, float]) -> Graph:
    """The graph in which some steps state how long they take. Ranks stay: they are those that ``dataflow`` knows."""
    return replace(
        graph,
        steps=tuple(
            step.model_copy(update={"expected_seconds": seconds[step.step_id]}) if step.step_id in seconds else step
            for step in graph.steps
        ),
    )

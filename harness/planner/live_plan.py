"""Running a plan while its end is still being written.

::

    model ── text ──▶ PlanReader ── step ──▶ Acceptor (three rules) ── step ──▶ Arrivals ──▶ the run

Rules of this module:
- A step starts as soon as it is accepted and its dependencies allow it; waiting for the next step is lost time of the
  cause `arrival`.
- A plan that fails half-way cancels what has not run; what was finished is kept, and the failure is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from executor.dependencies import Graph, plan
from executor.feed import Arrivals
from executor.model.findings import WorkflowError
from executor.model.workflow import Workflow
from harness.config import Config
from harness.planner.accepting import levels_of
from harness.planner.draft import groups_of
from harness.planner.model_planner import ModelPlanner
from harness.planner.planned_task import Planned, name_of
from harness.scenario.scenario_model import Loaded, Scenario


@dataclass(slots=True)
class WrittenPlan:
    """How the writing went. Seconds count from the first request to the model."""

    error: WorkflowError | None = None
    written_seconds: float = 0.0


class LivePlan:
    """Feeds a run with the steps of a plan. ``with LivePlan(task, config) as live: execute(live.loaded, feed=live)``.

    ``loaded`` has no step at first, and all of them after the run.
    """

    def __init__(self, task: str, config: Config) -> None:
        self.task = task
        self.writing = WrittenPlan()
        self._planner = ModelPlanner(task, config)
        workflow = Workflow(workflow_id=name_of(task))
        scenario = Scenario(scenario=name_of(task), task=task)
        empty = Graph((), {}, [], [], [], [], [])
        document = Planned(task, ()).document()
        self.loaded = Loaded(scenario, workflow, empty, document, dict(config.tools), dict(config.all_resources))

    def __enter__(self) -> LivePlan:
        self._planner.__enter__()
        self.loaded.findings += self._planner.remarks
        return self

    def __exit__(self, *_: object) -> None:
        self._planner.__exit__()

    def __call__(self, arrivals: Arrivals) -> None:
        """The feed: write the plan, and add each step as it is accepted."""
        begin = perf_counter()
        arrivals.on_over(self._planner.stop)

        try:
            self._planner.write(arrivals.add)
        except WorkflowError as error:
            if not arrivals.over:
                self.writing.error = error
                arrivals.cancel()
        finally:
            self.writing.written_seconds = perf_counter() - begin

    def finish(self) -> None:
        """Put the steps that arrived into ``loaded``: call it after the run.

        Raises:
            WorkflowError: none arrived, since the plan failed.

        """
        steps = self._planner.accepted
        if not steps:
            raise self.writing.error or WorkflowError([])
        groups = groups_of(levels_of(steps))
        grouped = tuple(step.model_copy(update={"parallel_group": groups.get(at)}) for at, step in enumerate(steps))
        found = plan(Workflow(workflow_id=self.loaded.workflow.workflow_id, steps=grouped), hints=False)
        assert found.graph is not None, "every step was checked as it came"
        self.loaded.graph = found.graph
        self.loaded.workflow = Workflow(workflow_id=self.loaded.workflow.workflow_id, steps=grouped)

"""Plays a drawn run through the production scheduler and engine on the virtual clock, thousands in a minute.

Rules of this module:
- Nothing of the executor is replaced but what is outside it: how long attempts take, how they end, what they call.
- Same workflow and behaviour, same record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from executor.backends.virtual import Simulated, VirtualBackend
from executor.dependencies import Graph, plan
from executor.engine.engine import Engine, Failure, Request
from executor.engine.instruments import Instrument
from executor.engine.keeping import EarlierResults
from executor.model.findings import raise_errors
from executor.model.workflow import Workflow
from executor.record.timeline import Attempt, Timeline
from executor.scheduler.items import NoItems
from executor.tools.tool import RunContext, Tool
from harness.testing.drawing.behaviour import Behaviour, StepPlan, graph_of_run
from harness.testing.drawing.generator import DrawnRun
from harness.testing.oracle.judge import Violation, check_timeline

DIED = Failure("WorkerDied", "the simulated worker died")
FAILED = Failure("SimulatedFailure", "this attempt was drawn to fail")


class SimulatedEngine(Engine):
    """The engine with conditions that are drawn and not evaluated."""

    def __init__(self, *arguments: Any, whens: Mapping[str, bool], **options: Any) -> None:
        self._whens = whens
        super().__init__(*arguments, **options)

    def _condition(self, index: int) -> bool:
        return self._whens.get(self.scheduler.step_ids[index], True)


class Simulation:
    """One drawn run. ``timeline`` after :meth:`run`."""

    engine_class: ClassVar[type[SimulatedEngine]] = SimulatedEngine
    # None is asked for: attempts are played.
    tools: Mapping[str, Tool] = MappingProxyType({})

    def __init__(
        self,
        workflow: Workflow,
        behaviour: Behaviour,
        *,
        instruments: Sequence[Instrument] = (),
        graph: Graph | None = None,
        earlier: EarlierResults | None = None,
    ) -> None:
        """``earlier``: the results of a run that this one goes on from."""
        self.earlier = earlier
        self.workflow = workflow
        self.behaviour = behaviour
        self._plans: dict[str, StepPlan] = dict(behaviour.steps)
        self._whens = dict(behaviour.whens)
        if graph is None:
            planned = plan(workflow, resources=behaviour.resources, hints=False)
            raise_errors(planned.findings)
            graph = planned.graph
        assert graph is not None
        self.backend = self.make_backend()
        self.engine = self.make_engine(graph, instruments)

    def make_backend(self) -> VirtualBackend:
        """The backend; subclasses inject faults here."""
        planned = [(time, self._cancellation(ids)) for time, ids in self.behaviour.cancellations]
        return VirtualBackend(self.behaviour.workers, behaviour=self.attempt, planned=planned)

    def make_engine(self, graph: Graph, instruments: Sequence[Instrument]) -> Engine:
        """The engine; subclasses put faulty schedulers here."""
        return self.engine_class(
            graph,
            self.tools,
            self.backend,
            slots=self.backend.capacity,
            policy=self.behaviour.policy,
            resources=self.behaviour.resources,
            context=self.context_of(DrawnRun(self.workflow, self.behaviour)),
            instruments=instruments,
            earlier=self.earlier,
            whens=self._whens,
        )

    @staticmethod
    def context_of(run: DrawnRun) -> RunContext:
        """What all attempts of a drawn run share."""
        return RunContext(run.workflow.workflow_id, run.workflow.inputs, seed=run.behaviour.seed)

    def run(self) -> Timeline:
        """Play it to its end.

        Raises:
            RuntimeError: nothing can happen any more and the run is not over.
        """
        self.backend.drive(self.engine)
        return self.engine.scheduler.timeline(backend="virtual")

    def take_apart(self) -> None:
        """Nothing is played any more: backend, engine and scheduler let go of each other, the record stays. In circles
        they would be left to the garbage collector, thousands of objects at once that no cache holds any longer.
        """
        scheduler = self.engine.scheduler
        scheduler._condition = None  # noqa: SLF001 - a scheduler of a run that goes on never lets go of it
        scheduler._items = NoItems(scheduler.steps)  # noqa: SLF001 - as above
        self.engine.renderer.devices_of = None
        vars(self.backend).clear()

    def attempt(self, attempt: Attempt) -> Simulated:
        """What the behaviour says of an attempt."""
        if attempt.step_id not in self._plans:
            self._plan_items(attempt)
        found = self._plans[attempt.step_id].attempt(attempt.attempt)
        calls = []
        count = len(self.engine.scheduler.family_calls(attempt.index)) if found.calls else 0
        for call in found.calls:
            steps = []
            for child in call.children:
                count += 1
                step_id = f"{attempt.step_id}/{count}"
                self._plans[step_id] = child.plan
                if child.plan.when is not None:
                    self._whens[step_id] = child.plan.when
                steps.append(child.step)
            calls.append((call.offset_ns, steps))
        value = None if found.outcome == "succeeded" else DIED if found.outcome == "worker_died" else FAILED
        return Simulated(found.duration_ns, found.outcome, value, found.tokens_used, calls)

    def _plan_items(self, item: Attempt) -> None:
        """The plans of all items of a mapped step, when the first of them starts."""
        assert item.parent is not None
        scheduler = self.engine.scheduler
        items = scheduler.family_calls(scheduler.index[item.parent])
        ids = [scheduler.step_ids[index] for index in items]
        self._plans.update(zip(ids, self._plans[item.parent].items, strict=True))

    def _cancellation(self, step_ids: Sequence[str] | None) -> Request:
        def cancel(now: int) -> None:
            scheduler = self.engine.scheduler
            scheduler.cancel(now, None if step_ids is None else [name for name in step_ids if name in scheduler.index])

        return cancel


def simulate(workflow: Workflow, behaviour: Behaviour) -> Timeline:
    """Play a drawn run and return its record."""
    return Simulation(workflow, behaviour).run()


def judge(workflow: Workflow, behaviour: Behaviour, timeline: Timeline, **options: Any) -> list[Violation]:
    """What the oracle finds in the record of a drawn run."""
    graph = graph_of_run(workflow, behaviour, timeline)
    return check_timeline(graph, timeline, cancellations=behaviour.cancellations, **options)

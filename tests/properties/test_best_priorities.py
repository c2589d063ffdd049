"""The policy ``best`` on random workflows: never worse than ``dataflow``, and its priorities give what it says."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from executor import Resource, Step, Workflow
from executor.backends.virtual import VirtualBackend
from executor.dependencies import Graph, plan
from executor.record.timeline import Timeline
from executor.running import run as run_workflow
from harness.simulation import Change, SimulationError, best_priorities, subject_of_timeline
from harness.testing.drawing.generator import DrawnRun
from harness.testing.drawing.simulated_run import simulate
from harness.testing.drawing.strategies import workflows
from tests.properties.effort import examples

RUNS = settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@RUNS
@given(workflows(max_steps=12))
def test_best_is_never_worse_than_dataflow_and_ends_each_step_as_it_does(run: DrawnRun) -> None:
    try:
        subject = subject_of_timeline(simulate(run.workflow, run.behaviour), name="drawn")
    except SimulationError:
        assume(False)
    own = subject.run(Change("", policy="dataflow"))
    found, change = best_priorities(subject, Change(""))
    again = subject.run(change)
    assert again.makespan_nanoseconds <= own.makespan_nanoseconds
    assert again.makespan_seconds == found.makespans_seconds[found.rule]
    assert dict(zip(again.step_ids, again.statuses, strict=True)) == dict(zip(own.step_ids, own.statuses, strict=True))
    assert best_priorities(subject, Change(""))[0] == found


@st.composite
def limited_steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Steps with stated durations, dependencies, needs, shared states and priorities."""
    steps: list[dict[str, Any]] = []
    for number in range(draw(st.integers(3, 10))):
        step: dict[str, Any] = {
            "step_id": f"s{number}",
            "tool": "noop",
            "expected_seconds": draw(st.integers(0, 6)),
            "depends_on": tuple(f"s{one}" for one in range(number) if draw(st.integers(0, 3)) == 0),
            "priority": draw(st.sampled_from([0, 0, 0, 1, -1])),
        }
        if draw(st.booleans()):
            step["needs"] = {"units": draw(st.integers(1, 3))}
        if draw(st.integers(0, 4)) == 0:
            step["writes"] = ("state",)
        steps.append(step)
    return steps


@RUNS
@given(limited_steps(), st.integers(1, 4))
def test_its_priorities_give_the_makespan_that_it_says(steps: list[dict[str, Any]], workers: int) -> None:
    def played(words: list[dict[str, Any]]) -> tuple[Timeline, Graph]:
        workflow = Workflow(steps=tuple(Step(**one) for one in words))
        limits = {"units": Resource(capacity=3)}
        graph = plan(workflow).graph
        assert graph is not None
        return run_workflow(workflow, backend=VirtualBackend(workers), resources=limits).timeline, graph

    timeline, graph = played(steps)
    assume(timeline.makespan_nanoseconds > 0)
    found, _ = best_priorities(subject_of_timeline(timeline, name="drawn", graph=graph), Change(""))
    priorities = found.priorities or {one["step_id"]: one["priority"] for one in steps}
    again, _ = played([{**one, "priority": priorities[one["step_id"]]} for one in steps])
    assert again.makespan_seconds == found.makespans_seconds[found.rule]
    assert again.makespan_nanoseconds <= timeline.makespan_nanoseconds

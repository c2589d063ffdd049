"""Drawn runs are valid, varied and shrink well, and the hard cases are really drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis import strategies as st

from executor.dependencies import plan
from executor.model.workflow import Step
from harness.testing.drawing.behaviour import Behaviour, StepPlan, graph_of_run, plans_of_run
from harness.testing.drawing.generator import (
    DEFAULT_FEATURES,
    DEVICE_KIND,
    FEATURES,
    DrawnRun,
    draw_run,
    random_workflow,
)
from harness.testing.drawing.shapes import SHAPES, RandomSource
from harness.testing.drawing.strategies import EventSchedule, event_schedules, workflows
from harness.testing.oracle.judge import PROPERTIES, assert_ok, check_timeline, same_schedule
from harness.testing.oracle.plain_graph import EXACT_UNIT_NANOSECONDS
from tests.properties.hard_cases import HARD_CASES, hard_cases
from tests.properties.reference.reference_schedule import Reference

QUICK = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
COUNTED = settings(QUICK, max_examples=400, phases=[Phase.generate])


def played(run: DrawnRun) -> Reference:
    reference = Reference(run.behaviour.describe(run.workflow), run.behaviour)
    reference.run()
    return reference


def edges_of(shape: str, size: int, number: int = 0) -> list[tuple[int, ...]]:
    run = draw_run(RandomSource(number), min_steps=size, max_steps=size, features=(), shapes=(shape,))
    return [tuple(int(other[1:]) for other in step.depends_on) for step in run.workflow.steps]


def children_of(step: Step, plan: StepPlan) -> Iterator[tuple[Step, Step]]:
    """(caller, called) for all calls, deep."""
    for attempt in plan.attempts:
        for call in attempt.calls:
            for child in call.children:
                yield step, child.step
                yield from children_of(child.step, child.plan)


def assert_limits_hold_a_step(step: Step, behaviour: Behaviour) -> None:
    for name, units in (step.needs or {}).items():
        if name.startswith(DEVICE_KIND):
            continue
        limit = behaviour.resources[name]
        assert limit.capacity is None or units <= limit.capacity
        if limit.tokens_per_minute is not None:
            assert (step.expected_tokens or 0) <= (limit.token_burst or limit.tokens_per_minute)


@QUICK
@given(workflows(max_steps=25, features=FEATURES))
def test_the_words_accept_every_drawn_step_as_it_is(run: DrawnRun) -> None:
    workflow, behaviour = run
    drawn = list(workflow.steps)
    for step in workflow.steps:
        plan = behaviour.steps[step.step_id]
        drawn += [child for part in (plan, *plan.items) for _, child in children_of(step, part)]
    for step in drawn:
        fields: dict[str, Any] = {name: getattr(step, name) for name in step.model_fields_set}
        assert Step(**fields) == step


@QUICK
@given(workflows(max_steps=25, features=FEATURES))
def test_every_drawn_workflow_is_valid(run: DrawnRun) -> None:
    workflow, behaviour = run
    graph = behaviour.describe(workflow)
    assert len(graph.topological) == len(workflow.steps)
    assert [one for one in plan(workflow, resources=behaviour.resources).findings if one.severity == "error"] == []
    reach: dict[str, set[str]] = {}
    for step in graph.topological:
        before = (*step.data, *graph.order_parents[step.step_id])
        reach[step.step_id] = set(before).union(*(reach[other] for other in before))
    for place, step in enumerate(workflow.steps):
        assert all(int(other[1:]) < place for other in graph.by_id[step.step_id].data)
        assert_limits_hold_a_step(step, behaviour)
        for caller, called in children_of(step, behaviour.steps[step.step_id]):
            assert_limits_hold_a_step(called, behaviour)
            assert set(called.reads) <= {*caller.reads, *caller.writes}
            assert set(called.writes) <= set(caller.writes)
    for left in graph.steps:
        for right in graph.steps:
            if left is not right and left.group is not None and (left.group, type(left.group)) == (
                right.group, type(right.group),
            ):  # fmt: skip
                assert not left.conflicts_with(right)
                assert left.step_id not in reach[right.step_id]


@QUICK
@given(workflows(max_steps=15))
def test_every_drawn_run_can_be_played_to_its_end_within_the_rules(run: DrawnRun) -> None:
    timeline = played(run).timeline()
    plans = plans_of_run(run.behaviour, timeline)
    assert_ok(
        check_timeline(
            graph_of_run(run.workflow, run.behaviour, timeline),
            timeline,
            cancellations=run.behaviour.cancellations,
            properties=set(PROPERTIES),
            outcomes=lambda step_id, number: plans[step_id].attempt(number).outcome,
        )
    )


@QUICK
@given(workflows(max_steps=10))
def test_the_same_run_played_twice_gives_the_same_schedule(run: DrawnRun) -> None:
    assert same_schedule(played(run).timeline(), played(run).timeline()) == []


@pytest.mark.slow
def test_the_hard_cases_are_really_drawn() -> None:
    counts: Counter[str] = Counter()

    @seed(1)
    @COUNTED
    @given(workflows(max_steps=20))
    def count(run: DrawnRun) -> None:
        counts.update(hard_cases(run))

    count()
    rare = {name: counts[name] for name in HARD_CASES if counts[name] < 3}
    assert not rare, f"drawn fewer than 3 times in 400 examples: {rare}"
    assert sum(counts[name] >= 30 for name in HARD_CASES) >= len(HARD_CASES) // 2


def test_the_hard_cases_are_drawn_without_hypothesis_as_well() -> None:
    counts = Counter(name for number in range(300) for name in hard_cases(random_workflow(number, 20)))
    rare = {name: counts[name] for name in HARD_CASES if counts[name] < 3}
    assert not rare, f"drawn fewer than 3 times in 300 runs: {rare}"


def test_every_final_state_every_outcome_and_every_reason_to_wait_comes_up() -> None:
    seen: set[str] = set()
    for number in range(400):
        # The reference knows no mapped steps.
        timeline = played(random_workflow(number, 14, FEATURES - {"mapped"})).timeline()
        seen |= {str(status) for status in timeline.statuses}
        seen |= {f"attempt {attempt.outcome}" for attempt in timeline.attempts}
        seen |= {wait.reason.partition(".")[0] for attempt in timeline.attempts for wait in attempt.waits}
    assert seen >= {"succeeded", "failed", "skipped", "cancelled"}
    assert seen >= {f"attempt {outcome}" for outcome in ("failed", "timed_out", "worker_died", "cancelled")}
    assert seen >= {"backoff", "barrier", "lock", "resource", "rate", "worker"}


def test_the_same_seed_draws_the_same_run_and_another_seed_another() -> None:
    assert random_workflow(7, 12) == random_workflow(7, 12)
    assert len({str(random_workflow(number, 12)) for number in range(20)}) > 15


def test_only_the_features_asked_for_are_drawn() -> None:
    for number in range(60):
        workflow, behaviour = random_workflow(number, 10, {"retries"})
        assert behaviour.policy == "dataflow"
        assert not behaviour.resources
        assert not behaviour.cancellations
        for step in workflow.steps:
            assert step.reads == step.writes == ()
            assert (step.when, step.timeout, step.parallel_group, step.priority) == (None, None, None, 0)
            last = behaviour.steps[step.step_id].attempts[-1]
            assert last.outcome == "succeeded"
            assert not last.calls


def test_limits_stand_for_resources_rates_and_tokens() -> None:
    kinds = set()
    for number in range(60):
        for limit in random_workflow(number, 10, {"limits"}).behaviour.resources.values():
            kinds |= {name for name, value in limit if value is not None}
    assert kinds >= {"capacity", "rate_per_minute", "tokens_per_minute"}


def test_worker_deaths_are_drawn_only_when_asked_for() -> None:
    def died(features: frozenset[str]) -> bool:
        return any("worker_died" in str(random_workflow(number, 10, features)) for number in range(80))

    assert not died(DEFAULT_FEATURES)
    assert died(FEATURES)


def test_durations_are_exact_in_seconds_and_in_nanoseconds() -> None:
    for number in range(60):
        workflow, behaviour = random_workflow(number, 10)
        for step in workflow.steps:
            assert ((step.expected_seconds or 0.0) * 512).is_integer()
            assert all(one.duration_ns % EXACT_UNIT_NANOSECONDS == 0 for one in behaviour.steps[step.step_id].attempts)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_drawn_at_every_size_with_parents_before_their_steps(shape: str) -> None:
    for size in range(1, 24):
        edges = edges_of(shape, size, size)
        assert len(edges) == size
        assert all(other < place for place, parents in enumerate(edges) for other in parents)


def test_the_regular_shapes_are_what_they_are_called() -> None:
    assert edges_of("chain", 4) == [(), (0,), (1,), (2,)]
    assert edges_of("fan_out", 4) == [(), (0,), (0,), (0,)]
    assert edges_of("fan_in", 4) == [(), (), (), (0, 1, 2)]
    assert edges_of("in_tree", 7) == [(), (), (), (), (0, 1), (2, 3), (4, 5)]
    trees = [edges_of("out_tree", 9, number) for number in range(5)]
    assert all(len(parents) == 1 for tree in trees for parents in tree[1:])
    stencils = [edges_of("stencil", 18, number) for number in range(8)]
    assert {len(parents) for stencil in stencils for parents in stencil} == {0, 2, 3}
    butterflies = [edges_of("fft", 24, number) for number in range(8)]
    assert {len(parents) for fft in butterflies for parents in fft} == {0, 2}


def test_unknown_features_shapes_and_empty_ranges_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no such feature: speed"):
        random_workflow(0, 3, {"speed"})
    with pytest.raises(ValueError, match="no such feature: speed"):
        workflows(features={"speed"})
    with pytest.raises(ValueError, match="no such shape: ring"):
        workflows(shapes={"ring"})
    with pytest.raises(ValueError, match="from 5 to 2 steps"):
        workflows(min_steps=5, max_steps=2)


FINDING = settings(max_examples=2000, deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize(
    ("case", "features"),
    [
        ("failure with dependants", {"failures"}),
        pytest.param("retry under a limit", {"retries", "resources"}, marks=pytest.mark.slow),
    ],
)
def test_a_hard_case_shrinks_to_one_or_two_steps(case: str, features: set[str]) -> None:
    # Few steps and features, for shrinking tries hundreds of examples.
    smallest = find(workflows(max_steps=6, features=features), lambda run: case in hard_cases(run), settings=FINDING)
    assert len(smallest.workflow.steps) <= 2
    assert smallest.behaviour.cancellations == ()


@QUICK
@given(event_schedules(), st.integers(1, 9))
def test_a_schedule_lets_everything_complete_exactly_once(schedule: EventSchedule, count: int) -> None:
    running = [f"s{place}" for place in range(count)]
    done: list[str] = []
    while running:
        arrival = schedule.next(running)
        assert arrival.step_ids
        assert arrival.after_ns >= 0
        done += arrival.step_ids
        running = [step_id for step_id in running if step_id not in arrival.step_ids]
    assert sorted(done) == sorted(f"s{place}" for place in range(count))


def test_schedules_hold_ties_and_shrink_to_first_started_first_done() -> None:
    tied = find(event_schedules(), lambda schedule: len(schedule.next(["a", "b"]).step_ids) > 1, settings=FINDING)
    assert tied.choices == ((0, (0, 0)),)
    plain = find(event_schedules(), lambda schedule: True, settings=FINDING)
    assert plain.next(["a", "b"]).step_ids == ("a",)
    with pytest.raises(ValueError, match="nothing is running"):
        plain.next([])

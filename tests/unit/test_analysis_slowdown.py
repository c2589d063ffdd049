"""Slowdown, slack and what would help: small runs by hand, and random ones."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource
from executor.record.timeline import Attempt, Interval, StepStatus, Timeline, Wait
from harness.analysis import CpuBoundThreads, RunAnalysis, TooFewCores, in_seconds, summary
from harness.analysis.slowdown import (
    SlowerThanSerial,
    largest_lost_cause,
    remedy_beside_serial,
    slowdown_cautions,
    split_running,
)
from harness.simulation.what_if import Rerun, predicted_gains
from harness.testing.drawing.generator import DEFAULT_FEATURES, random_workflow
from harness.testing.drawing.simulated_run import Simulation

SECOND = 1_000_000_000


def run_of(
    steps: dict[str, tuple[int, int]],
    parents: dict[str, tuple[str, ...]] | None = None,
    *,
    workers: int = 2,
    backend: str = "threads",
    cpu: float | None = None,
    waits: dict[str, Wait] | None = None,
    resources: dict[str, Resource] | None = None,
    needs: dict[str, dict[str, int]] | None = None,
) -> Timeline:
    """``steps``: start and end in seconds; each is ready when its parents have ended."""
    ids = list(steps)
    above = {step_id: (parents or {}).get(step_id, ()) for step_id in ids}
    attempts = []
    for index, (step_id, (start, end)) in enumerate(steps.items()):
        ready = max((steps[parent][1] for parent in above[step_id]), default=0) * SECOND
        released = max(above[step_id], key=lambda parent: steps[parent][1], default=None)
        attempt = Attempt(
            index,
            step_id,
            1,
            ready,
            start * SECOND,
            released,
            None,
            [waits[step_id]] if waits and step_id in waits else None,
        )
        attempt.started, attempt.ended, attempt.known = start * SECOND, end * SECOND, end * SECOND
        attempt.outcome, attempt.worker, attempt.cpu_seconds = "succeeded", "w", cpu
        attempts.append(attempt)
    return Timeline(
        step_ids=ids,
        data_parents=[tuple(ids.index(parent) for parent in above[step_id]) for step_id in ids],
        order_parents=[()] * len(ids),
        statuses=["succeeded"] * len(ids),
        attempts=attempts,
        workers=workers,
        needs=[(needs or {}).get(step_id) for step_id in ids],
        resources=resources or {},
        backend=backend,
    )


def split_beside(run: Timeline, serial: Timeline) -> dict[str, int]:
    return split_running(RunAnalysis(run), RunAnalysis(serial).run_nanoseconds)


SERIAL = run_of({"a": (0, 2), "b": (2, 5), "c": (5, 8)}, {"b": ("a",), "c": ("a",)}, workers=1, backend="serial")


def test_running_is_what_the_serial_run_needed_and_slowdown_the_rest() -> None:
    slow = run_of({"a": (0, 2), "b": (2, 7), "c": (2, 8)}, {"b": ("a",), "c": ("a",)})
    assert split_beside(slow, SERIAL) == {
        "running": 5 * SECOND,
        "slowdown": 3 * SECOND,
    }


def test_a_run_that_was_faster_than_the_serial_one_has_a_negative_slowdown() -> None:
    fast = run_of({"a": (0, 1), "b": (1, 3), "c": (1, 4)}, {"b": ("a",), "c": ("a",)})
    assert split_beside(fast, SERIAL) == {
        "running": 5 * SECOND,
        "slowdown": -SECOND,
    }
    assert largest_lost_cause(in_seconds(split_beside(fast, SERIAL))) is None


def test_an_attempt_that_the_serial_run_did_not_make_is_all_running() -> None:
    other = run_of({"a": (0, 2), "x": (2, 9)}, {"x": ("a",)})
    assert split_beside(other, SERIAL) == {"running": 9 * SECOND}


def test_a_part_of_an_attempt_is_compared_with_its_share() -> None:
    parent, serial = nested(4, 2, 4), nested(2, 2, 2)
    lost = split_beside(parent, serial)
    assert sum(lost.values()) == parent.makespan_nanoseconds
    assert lost == {"running": 6 * SECOND, "slowdown": 4 * SECOND}


def nested(before: int, call: int, after: int) -> Timeline:
    whole = before + call + after
    parent = Attempt(0, "p", 1, 0, 0)
    parent.started, parent.ended, parent.known = 0, whole * SECOND, whole * SECOND
    parent.blocked = (Interval(before * SECOND, (before + call) * SECOND),)
    child = Attempt(1, "p/1", 1, before * SECOND, before * SECOND, "p", "p")
    child.started, child.ended, child.known = before * SECOND, (before + call) * SECOND, (before + call) * SECOND
    statuses: list[StepStatus] = ["succeeded", "succeeded"]
    return Timeline(
        ["p", "p/1"], [(), ()], [(), ()], statuses, [parent, child], 2, nested_in=[-1, 0], needs=[None, None]
    )


@pytest.mark.parametrize(
    ("backend", "workers", "cpu", "serial_cpu", "kind", "words"),
    [
        ("threads", 4, 2.0, 2.0, CpuBoundThreads, "use processes"),
        ("processes", 4, 4.0, 2.5, TooFewCores, "use 2 workers"),
        ("threads", 2, 0.01, 0.01, SlowerThanSerial, "what they share"),
        ("processes", 2, 4.0, 2.5, SlowerThanSerial, "what they share"),
    ],
)
def test_the_reason_for_a_slowdown_is_named_where_cpu_time_points_at_it(
    backend: str, workers: int, cpu: float, serial_cpu: float, kind: type, words: str
) -> None:
    serial = run_of({"a": (0, 3), "b": (3, 6)}, workers=1, backend="serial", cpu=serial_cpu)
    slow = run_of({"a": (0, 5), "b": (0, 5)}, workers=workers, backend=backend, cpu=cpu)
    figures, alone = summary(slow, usable_cores=2), summary(serial, usable_cores=2)
    lost = in_seconds(split_beside(slow, serial))
    found = slowdown_cautions(slow, figures, lost, alone, usable_cores=2)
    assert [type(one) for one in found] == [kind]
    assert words in remedy_beside_serial(slow, figures, lost, found)


def test_a_small_slowdown_is_no_reason_to_act() -> None:
    serial = run_of({"a": (0, 50), "b": (50, 100)}, workers=1, backend="serial", cpu=1.0)
    slow = run_of({"a": (0, 51), "b": (0, 51)}, cpu=1.0)
    figures = summary(slow)
    lost = in_seconds(split_beside(slow, serial))
    assert slowdown_cautions(slow, figures, lost, summary(serial)) == ()
    assert "critical path" in remedy_beside_serial(slow, figures, lost, ())


def test_slack_is_what_a_step_may_grow_before_the_critical_path_does() -> None:
    diamond = run_of(
        {"a": (0, 2), "b": (2, 5), "c": (2, 8), "d": (8, 9), "e": (0, 1)},
        {"b": ("a",), "c": ("a",), "d": ("b", "c")},
        workers=3,
    )
    assert RunAnalysis(diamond).slack_nanoseconds == {
        "a": 0, "b": 3 * SECOND, "c": 0, "d": 0, "e": 8 * SECOND,
    }  # fmt: skip


def test_doubling_a_limit_and_halving_a_step_gain_what_one_can_compute_by_hand() -> None:
    limited = run_of(
        {"a": (0, 4), "b": (4, 8), "c": (0, 1)}, workers=2, needs={"a": {"llm": 1}, "b": {"llm": 1}},
        waits={"b": Wait("resource.llm", 0, 4 * SECOND)}, resources={"llm": Resource(capacity=1)},
    )  # fmt: skip
    found = predicted_gains(limited)
    assert found is not None
    assert (found.measured_seconds, found.simulated_seconds) == (8, 8)
    # With two units, `c` is the last to find a worker.
    assert [(one.limit, one.before, one.after, one.seconds) for one in found.limits] == [("llm.capacity", 1, 2, 3)]
    assert [(one.step_id, one.half_seconds, one.whole_seconds) for one in found.steps] == [("a", 2, 4), ("b", 2, 4)]


def test_a_run_without_length_or_that_was_cut_short_predicts_nothing() -> None:
    assert predicted_gains(run_of({"a": (0, 0)})) is None
    cut = run_of({"a": (0, 1)})
    cut.statuses = ["cancelled"]
    assert predicted_gains(cut) is None


def test_random_runs_again_on_the_virtual_clock_are_the_same_and_their_lost_time_sums_up() -> None:
    features = frozenset(DEFAULT_FEATURES) - {"cancellations", "timeouts", "stops", "nested"}
    for seed in range(150):
        drawn = random_workflow(seed, 15, features)
        simulation = Simulation(drawn.workflow, drawn.behaviour)
        timeline = simulation.run()
        assert Rerun(timeline, simulation.engine.graph).run().makespan_nanoseconds == timeline.makespan_nanoseconds
        doubled = Rerun(timeline, simulation.engine.graph).run(workers=2 * timeline.workers)
        lost = split_beside(timeline, doubled)
        assert sum(lost.values()) == timeline.makespan_nanoseconds
        assert lost.get("running", 0) + lost.get("slowdown", 0) == RunAnalysis(timeline).lost_nanoseconds.get(
            "running", 0
        )


def test_in_random_runs_the_critical_path_has_no_slack_and_nobody_has_less() -> None:
    features = frozenset(DEFAULT_FEATURES) - {"cancellations", "timeouts", "stops"}
    for seed in range(150):
        drawn = random_workflow(seed, 15, features)
        timeline = Simulation(drawn.workflow, drawn.behaviour).run()
        analysis = RunAnalysis(timeline)
        slack = analysis.slack_nanoseconds
        on_the_path = {part.step_id for part in analysis.critical_path.parts if part.nanoseconds}
        assert {slack[step_id] for step_id in on_the_path} <= {0}
        assert all(value >= 0 for value in slack.values())


def test_a_step_that_grows_by_its_slack_costs_nothing_and_by_one_more_costs_one() -> None:
    features = frozenset(DEFAULT_FEATURES) - {"cancellations", "timeouts", "stops", "nested"}
    for seed in range(60):
        drawn = random_workflow(seed, 10, features)
        timeline = Simulation(drawn.workflow, drawn.behaviour).run()
        whole = RunAnalysis(timeline).critical_path.nanoseconds
        for step_id, slack in RunAnalysis(timeline).slack_nanoseconds.items():
            attempt = next(one for one in reversed(timeline.attempts) if one.step_id == step_id)
            ended = attempt.ended or 0
            attempt.ended = ended + slack
            assert RunAnalysis(timeline).critical_path.nanoseconds == whole
            attempt.ended = ended + slack + 1
            assert RunAnalysis(timeline).critical_path.nanoseconds == whole + 1
            attempt.ended = ended

"""Steps that are handed out ahead of their grant: they wait as before, start in their turn, and can come back."""

from __future__ import annotations

import random

import pytest

from executor.dependencies import plan
from executor.model.workflow import Step, Workflow
from executor.record.timeline import Wait
from executor.scheduler import Policy, Scheduler


def scheduler_of(*steps: Step, slots: int = 1, policy: Policy = "dataflow") -> Scheduler:
    graph = plan(Workflow(steps=steps)).graph
    assert graph is not None
    scheduler = Scheduler(slots, policy=policy)
    scheduler.add(graph, 0)
    return scheduler


def noops(count: int) -> list[Step]:
    return [Step(step_id=f"s{n}", tool="noop") for n in range(count)]


def test_what_is_handed_out_is_what_would_start_next_and_takes_no_slot() -> None:
    scheduler = scheduler_of(*noops(5), slots=2)
    assert [attempt.index for attempt in scheduler.start(0)] == [0, 1]
    assert scheduler.hand_out(2, lambda _: True) == [2, 3]
    assert scheduler.running == 2
    assert [scheduler.status(n) for n in (2, 3)] == ["ready", "ready"]
    scheduler.validate()


def test_nothing_is_handed_out_past_a_step_that_does_not_fit() -> None:
    scheduler = scheduler_of(*noops(5))
    scheduler.start(0)
    assert scheduler.hand_out(4, lambda index: index != 3) == [1, 2]


def test_a_step_that_was_handed_out_is_granted_when_the_slot_before_it_became_free() -> None:
    scheduler = scheduler_of(*noops(2))
    (first,) = scheduler.start(0)
    assert scheduler.hand_out(1, lambda _: True) == [1]
    scheduler.finish(first, "succeeded", 100)
    second = scheduler.start_handed_out(1, 60)
    assert second is not None
    assert (second.ready, second.granted, list(second.waits)) == (0, 60, [Wait("worker", 0, 60)])
    assert scheduler.start(100) == []
    scheduler.validate()
    scheduler.finish(second, "succeeded", 120)
    assert scheduler.done


def test_a_step_that_was_taken_back_starts_the_usual_way() -> None:
    scheduler = scheduler_of(*noops(2))
    (first,) = scheduler.start(0)
    scheduler.hand_out(1, lambda _: True)
    scheduler.take_back(1)
    scheduler.validate()
    scheduler.finish(first, "succeeded", 10)
    assert [attempt.index for attempt in scheduler.start(10)] == [1]
    assert scheduler.start_handed_out(1, 10) is None


def test_a_step_that_was_handed_out_can_be_cancelled() -> None:
    scheduler = scheduler_of(*noops(2))
    scheduler.start(0)
    scheduler.hand_out(1, lambda _: True)
    scheduler.cancel(5)
    assert scheduler.status(1) == "cancelled"
    assert scheduler.start_handed_out(1, 5) is None
    scheduler.validate()


def test_a_granted_step_that_goes_to_another_worker_waited_for_it() -> None:
    scheduler = scheduler_of(*noops(2), slots=2)
    first, second = scheduler.start(0)
    scheduler.regrant(first, 30)
    assert (first.granted, list(first.waits)) == (30, [Wait("worker", 0, 30)])
    assert scheduler.attempts == [second, first]
    scheduler.validate()


def test_the_serial_baseline_hands_nothing_out() -> None:
    scheduler = scheduler_of(*noops(3), slots=2, policy="serial")
    scheduler.start(0)
    assert scheduler.hand_out(2, lambda _: True) == []


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_handing_out_and_taking_back_runs_every_step_once(seed: int) -> None:
    draw = random.Random(seed)
    steps = [
        Step(
            step_id=f"s{n}", tool="noop", depends_on=tuple({f"s{draw.randrange(n)}" for _ in range(2)}) if n > 4 else ()
        )
        for n in range(60)
    ]
    scheduler = scheduler_of(*steps, slots=draw.randint(1, 4))
    running = scheduler.start(0)
    handed: list[int] = []
    now = 0
    while not scheduler.done:
        now += draw.randint(0, 3)
        action = draw.randrange(3)
        if action == 0:
            handed += scheduler.hand_out(draw.randint(1, 5), lambda _: True)
        elif action == 1 and handed:
            scheduler.take_back(handed.pop(draw.randrange(len(handed))))
        elif running:
            scheduler.finish(running.pop(draw.randrange(len(running))), "succeeded", now)
            if handed:
                attempt = scheduler.start_handed_out(handed.pop(0), now - 1)
                assert attempt is not None
                running.append(attempt)
        running += scheduler.start(now)
        scheduler.validate()
        assert len(running) == scheduler.running <= scheduler.slots
    attempts = scheduler.attempts
    assert sorted(attempt.index for attempt in attempts) == list(range(60))
    assert [attempt.granted for attempt in attempts] == sorted(attempt.granted for attempt in attempts)
    assert all(attempt.ready <= attempt.granted for attempt in attempts)

"""Handing out ahead where steps make calls: only what would start next whoever comes back, and in the record unseen."""

from __future__ import annotations

from executor.scheduler import Scheduler
from executor.timeline import Attempt
from executor.workflow import Step
from tests.unit.scheduling import graph_of


def steps(*names: str) -> list[Step]:
    return [Step(step_id=name, tool="noop") for name in names]


def begun(*names: str, slots: int) -> tuple[Scheduler, dict[str, Attempt]]:
    scheduler = Scheduler(slots)
    scheduler.add(graph_of(steps(*names)), 0)
    return scheduler, {attempt.step_id: attempt for attempt in scheduler.start(0)}


def handed(scheduler: Scheduler) -> list[str]:
    return [scheduler.step_ids[index] for index in scheduler.hand_out(9, lambda _: True)]


def call(scheduler: Scheduler, caller: Attempt, count: int, now: int) -> list[Attempt]:
    scheduler.add(steps(*map(str, range(count))), now, parent=caller.step_id)
    scheduler.block(caller, now)
    return scheduler.start(now)


def test_the_calls_that_a_step_waits_for_are_handed_out_and_nothing_behind_them() -> None:
    scheduler, running = begun("a", "b", slots=1)
    (first,) = call(scheduler, running["a"], 3, 1)
    assert handed(scheduler) == ["a/2", "a/3"]
    scheduler.finish(first, "succeeded", 2)
    second = scheduler.start_handed_out(scheduler.index["a/2"], 2)
    assert second is not None
    assert (second.parent, second.granted, second.released_by) == ("a", 2, "a")
    assert scheduler.start(2) == []
    scheduler.validate()


def test_where_two_steps_wait_for_calls_either_could_come_back_so_nothing_is_handed_out() -> None:
    scheduler, running = begun("a", "b", slots=2)
    call(scheduler, running["a"], 3, 1)
    call(scheduler, running["b"], 3, 1)
    assert handed(scheduler) == []


def test_of_steps_that_wait_for_each_other_the_innermost_ones_calls_are_handed_out() -> None:
    scheduler, running = begun("a", slots=1)
    (inner,) = call(scheduler, running["a"], 2, 1)
    call(scheduler, inner, 3, 2)
    assert handed(scheduler) == ["a/1/2", "a/1/3"]


def test_while_a_step_comes_back_nothing_is_handed_out() -> None:
    scheduler, running = begun("a", "b", "c", slots=1)
    (only,) = call(scheduler, running["a"], 1, 1)
    scheduler.finish(only, "succeeded", 2)
    scheduler.unblock(running["a"], 2)
    assert handed(scheduler) == []


def test_when_no_step_waits_any_more_those_of_the_file_are_handed_out_again() -> None:
    scheduler, running = begun("a", "b", "c", slots=1)
    (only,) = call(scheduler, running["a"], 1, 1)
    scheduler.finish(only, "succeeded", 2)
    scheduler.unblock(running["a"], 2)
    assert scheduler.start(2) == [running["a"]]
    assert handed(scheduler) == ["b", "c"]


def test_a_call_that_is_cancelled_where_it_waits_never_starts() -> None:
    scheduler, running = begun("a", slots=1)
    call(scheduler, running["a"], 2, 1)
    assert handed(scheduler) == ["a/2"]
    scheduler.finish(running["a"], "failed", 2)
    assert scheduler.start_handed_out(scheduler.index["a/2"], 2) is None
    scheduler.validate()

"""The short way for one call: what it does, what is not for it, and that what is not for it changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor.model.workflow import Step
from executor.record.timeline import Attempt
from harness.testing.fuzz.transition_coverage import WatchedScheduler
from tests.properties.scheduler_machine import frozen
from tests.unit.scheduling import graph_of, step


class Caller:
    """Step `a` runs; ``others`` run or wait beside it. ``call()``: `a` waits for the call `a/1`."""

    def __init__(self, *others: str, slots: int = 2) -> None:
        self.scheduler = WatchedScheduler(slots)
        self.scheduler.add(graph_of([step("a"), *map(step, others)]), 0)
        self.live = {attempt.step_id: attempt for attempt in self.scheduler.start(0)}
        self.a = self.live["a"]

    def call(self, now: int = 1) -> Attempt:
        attempt = self.scheduler.call(self.a, step("x"), now)
        assert attempt is not None
        self.scheduler.validate()
        return attempt

    def refuses(self, ask: Callable[[], Attempt | bool | None], answer: bool | None) -> None:
        """The answer is no, and nothing is changed."""
        before = frozen(self.scheduler)
        assert ask() is answer
        assert frozen(self.scheduler) == before


def lookalike(attempt: Attempt) -> Attempt:
    return Attempt(attempt.index, attempt.step_id, attempt.attempt, attempt.ready, attempt.granted)


def test_a_call_runs_at_once_in_the_slot_of_its_step_which_goes_on_at_once_when_it_ends() -> None:
    one = Caller(slots=3)
    call = one.call(5)
    assert (call.step_id, call.parent, call.released_by, call.ready, call.granted) == ("a/1", "a", "a", 5, 5)
    assert one.scheduler.come_back(call, one.a, 7) is True
    one.scheduler.validate()
    assert (call.outcome, call.known) == ("succeeded", 7)
    assert [(interval.start, interval.end) for interval in one.a.blocked] == [(5, 7)]
    assert dict(zip(one.scheduler.step_ids, one.scheduler.statuses(), strict=True)) == {
        "a": "running",
        "a/1": "succeeded",
    }


def test_every_change_of_a_state_stands_in_the_table() -> None:
    one = Caller()
    one.scheduler.come_back(one.call(), one.a, 2)
    reached = one.scheduler.reached()
    assert one.scheduler.illegal == []
    assert {("blocked", "unblock", "resuming"), ("resuming", "start", "running")} <= set(reached)


def test_a_step_that_does_not_run_makes_no_call_in_the_short_way() -> None:
    one = Caller()
    one.refuses(lambda: one.scheduler.call(lookalike(one.a), step("x"), 1), None)
    one.scheduler.block(one.a, 1)
    one.refuses(lambda: one.scheduler.call(one.a, step("x"), 2), None)


@pytest.mark.parametrize(
    "not_plain",
    [
        step("x", needs={"llm": 1}),
        step("x", "b"),
        step("x", reads=["s"]),
        step("x", writes=["s"]),
        step("x", when="true"),
        step("x", for_each="{{ steps.b.output }}"),
    ],
    ids=["needs", "depends_on", "reads", "writes", "when", "for_each"],
)
def test_a_call_that_asks_for_more_than_a_slot_is_not_plain(not_plain: Step) -> None:
    one = Caller("b")
    one.refuses(lambda: one.scheduler.call(one.a, not_plain, 1), None)


def test_a_call_does_not_overtake_who_could_start_in_a_free_slot() -> None:
    one = Caller("b", "c")
    one.scheduler.finish(one.live["b"], "succeeded", 1)
    one.refuses(lambda: one.scheduler.call(one.a, step("x"), 1), None)


def test_a_step_resumes_behind_who_could_start_in_a_free_slot() -> None:
    one = Caller("b", "c")
    call = one.call()
    one.scheduler.finish(one.live["b"], "succeeded", 2)
    one.refuses(lambda: one.scheduler.come_back(call, one.a, 2), False)


def test_only_the_live_attempt_of_a_call_that_runs_comes_back() -> None:
    one = Caller()
    call = one.call()
    one.refuses(lambda: one.scheduler.come_back(lookalike(call), one.a, 2), False)
    one.scheduler.block(call, 2)
    one.refuses(lambda: one.scheduler.come_back(call, one.a, 3), False)


def test_only_the_live_attempt_of_a_step_that_is_blocked_resumes() -> None:
    one = Caller()
    call = one.call()
    one.refuses(lambda: one.scheduler.come_back(call, lookalike(one.a), 2), False)
    other = Caller(slots=2)
    other.scheduler.add([step("x")], 1, parent="a")
    (beside,) = other.scheduler.start(1)
    other.refuses(lambda: other.scheduler.come_back(beside, other.a, 2), False)


def test_a_call_that_made_calls_itself_ends_the_general_way() -> None:
    one = Caller(slots=3)
    call = one.call()
    one.scheduler.add([step("y")], 2, parent="a/1")
    (below,) = one.scheduler.start(2)
    one.scheduler.finish(below, "succeeded", 3)
    one.refuses(lambda: one.scheduler.come_back(call, one.a, 4), False)


def test_a_call_on_which_another_depends_ends_the_general_way() -> None:
    one = Caller(slots=3)
    call = one.call()
    one.scheduler.add([step("y", "a/1")], 2, parent="a")
    one.refuses(lambda: one.scheduler.come_back(call, one.a, 3), False)


def test_a_step_that_fails_before_its_call_is_done_ends_that_too() -> None:
    one = Caller()
    call = one.call()
    one.scheduler.finish(one.a, "failed", 2)
    assert (call.outcome, one.scheduler.statuses(), one.scheduler.take_cancelled()) == (
        "cancelled", ["failed", "cancelled"], [call],
    )  # fmt: skip


def test_a_run_that_is_plain_no_more_has_no_short_way() -> None:
    one = Caller("b", slots=3)
    call = one.call()
    one.scheduler.add([step("late", "b", when="true")], 2)
    one.refuses(lambda: one.scheduler.come_back(call, one.a, 2), False)
    one.refuses(lambda: one.scheduler.call(one.live["b"], step("x"), 2), None)


def test_calls_go_by_their_depth_and_what_they_are_expected_to_last() -> None:
    one = Caller("b", "c", slots=3)
    one.scheduler.call(one.a, step("x"), 1)
    one.scheduler.call(one.live["b"], step("x", expected_seconds=9), 1)
    keys = {name: one.scheduler._keys[index] for name, index in one.scheduler.index.items()}
    calls = one.scheduler.add([step("x", expected_seconds=5), step("y", expected_seconds=10)], 1, parent="c")
    general = [one.scheduler._keys[one.scheduler.index[name]] for name in calls]
    assert general[1] < keys["b/1"] < general[0] < keys["a/1"] < keys["c"]

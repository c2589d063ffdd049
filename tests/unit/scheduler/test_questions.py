"""What the scheduler answers without changing anything: states, reasons, when to ask again, the record."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource, Retry
from tests.unit.scheduling import Hand, step

RETRY = Retry(max_attempts=2, backoff_seconds=2, jitter="none")
SECOND = 1_000_000_000


def reasons(hand: Hand) -> dict[str, str | None]:
    return {name: hand.scheduler.waits_for(index) for name, index in hand.scheduler.index.items()}


def is_stalled(hand: Hand) -> bool:
    return hand.scheduler.stalled


# ---------------------------------------------------------------------- what a step waits for


def test_whoever_watches_is_told_what_each_step_waits_for() -> None:
    steps = [
        step("fails", retry=RETRY),
        step("writer", writes=("s",), priority=1),
        step("asks", needs={"llm": 1}),
        step("slot", priority=-1),
        step("reader", reads=("s",)),
        step("full", needs={"llm": 1}),
        step("rated", needs={"api": 1}),
        step("rated_too", needs={"api": 1}),
        step("later", "fails"),
    ]
    resources = {"llm": Resource(capacity=1), "api": Resource(rate_per_minute=60)}
    hand = Hand(steps, 4, order={"reader": [("writer", "s")]}, resources=resources)
    assert hand.start() == ["writer", "fails", "asks", "rated"]
    assert reasons(hand) == {
        "fails": None, "writer": None, "asks": None, "rated": None, "later": None,
        "slot": "worker", "reader": "lock.s", "full": "resource.llm", "rated_too": "rate.api",
    }  # fmt: skip
    hand.end("fails", 1, "failed")
    assert reasons(hand)["fails"] == "backoff"
    hand.turn(1, "asks", "writer", "rated")
    assert hand.statuses()["reader"] == "running"
    assert {name: reason for name, reason in reasons(hand).items() if reason} == {"fails": "backoff"}


def test_of_a_reason_that_changed_the_last_is_told() -> None:
    steps = [step("a", needs={"llm": 2}, priority=9), step("x", priority=8), step("b", needs={"llm": 1}), step("y")]
    hand = Hand([*steps[:3], steps[3].model_copy(update={"priority": 5})], 2, resources={"llm": Resource(capacity=2)})
    hand.start()
    assert reasons(hand)["b"] == "resource.llm"
    assert hand.turn(1, "a") == ["y"]
    assert reasons(hand)["b"] == "worker"


def test_a_step_that_resumes_waits_for_its_limits_before_a_slot() -> None:
    hand = Hand([step("a", needs={"llm": 1}), step("b", needs={"llm": 1})], 1, resources={"llm": Resource(capacity=1)})
    hand.start()
    hand.scheduler.block(hand.live["a"], SECOND)
    assert hand.start(1) == ["b"]
    assert reasons(hand) == {"a": None, "b": None}
    hand.scheduler.unblock(hand.live["a"], 2 * SECOND)
    assert hand.scheduler.resuming == [0]
    assert hand.start(2) == []
    assert reasons(hand)["a"] == "resource.llm"
    assert hand.turn(3, "b") == ["a"]
    assert hand.scheduler.resuming == []
    assert hand.waits("a") == [("resource.llm", 2, 3)]


def test_the_first_in_order_is_the_step_that_the_next_slot_is_for() -> None:
    hand = Hand([step("low"), step("high", priority=1), step("last", priority=-1)], 1)
    scheduler = hand.scheduler
    assert scheduler.first_in_order() == scheduler.index["high"]
    hand.start()
    assert scheduler.first_in_order() == scheduler.index["low"]
    hand.turn(1, "high")
    hand.turn(2, "low")
    assert scheduler.first_in_order() is None


def test_a_step_behind_a_barrier_says_so() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a")], policy="levels")
    hand.start()
    hand.turn(1, "a")
    assert reasons(hand) == {"a": None, "b": None, "c": "barrier"}


# ---------------------------------------------------------------------- when to ask again


@pytest.mark.parametrize(("backoff_seconds", "wake_at"), [(2.0, 3.0), (4.0, 4.0), (9.0, 4.0)])
def test_of_a_backoff_and_a_rate_the_earlier_one_wakes(backoff_seconds: float, wake_at: float) -> None:
    retry = Retry(max_attempts=2, backoff_seconds=backoff_seconds, jitter="none")
    hand = Hand(
        [step("a", retry=retry), step("b", needs={"api": 1}), step("c", needs={"api": 1})],
        resources={"api": Resource(rate_per_minute=15)},
    )
    assert hand.wake_at() is None
    hand.start()
    assert hand.wake_at() == 4
    hand.end("a", 1, "failed")
    hand.start(1)
    assert hand.wake_at() == wake_at


def test_a_run_is_stalled_when_only_an_abandoned_call_can_move_it_on() -> None:
    hand = Hand([step("a", retry=RETRY), step("b", "a")])
    hand.scheduler.hold()
    hand.start()
    assert not is_stalled(hand)
    hand.end("a", 1, "timed_out", abandoned=True)
    hand.start(9)
    assert not is_stalled(hand)
    hand.scheduler.release()
    assert is_stalled(hand)
    assert hand.scheduler.abandoned == [hand.live["a"]]
    assert hand.scheduler.is_abandoned(hand.live["a"])
    hand.scheduler.returned(hand.live["a"], 9 * SECOND)
    assert not is_stalled(hand)
    assert (hand.scheduler.abandoned, hand.scheduler.is_abandoned(hand.live["a"])) == ([], False)
    hand.start(9)
    hand.end("a", 10)
    hand.turn(10)
    hand.end("b", 11)
    assert not is_stalled(hand)


def test_a_mapped_step_moves_nothing_on_by_itself() -> None:
    hand = Hand([step("m", for_each=[1, 2], retry=RETRY), step("other")])
    assert hand.start() == ["other", "m/1", "m/2"]
    hand.end("m/1", 1)
    hand.end("m/2", 1, "timed_out", abandoned=True)
    hand.start(9)
    assert not is_stalled(hand)
    hand.end("other", 9)
    hand.start(9)
    assert is_stalled(hand)


# ---------------------------------------------------------------------- states


def test_states_are_told_by_name_one_at_a_time_counted_and_all_together() -> None:
    hand = Hand([step("a"), step("b", "a"), step("c"), step("d", when="x")], 2, condition=lambda index: False)
    hand.start()
    hand.end("c", 1)
    scheduler = hand.scheduler
    names = ["running", "waiting", "succeeded", "skipped"]
    assert [scheduler.status(index) for index in range(4)] == names
    assert scheduler.statuses() == names
    assert [scheduler.count(name) for name in ("running", "waiting", "succeeded", "skipped", "failed")] == [
        1,
        1,
        1,
        1,
        0,
    ]
    assert [scheduler.is_final(index) for index in range(4)] == [False, False, True, True]
    assert [scheduler.was_false(index) for index in range(4)] == [False, False, False, True]
    assert (scheduler.running, scheduler.done) == (1, False)
    assert scheduler.live_attempt(0) is hand.live["a"]
    assert scheduler.live_attempt(1) is scheduler.live_attempt(2) is None


def test_calls_and_mapped_steps_are_known_as_such() -> None:
    hand = Hand([step("a"), step("m", for_each=[1, 2])])
    hand.start()
    hand.scheduler.add([step("x"), step("y")], SECOND, parent="a")
    assert [hand.scheduler.is_mapped(index) for index in range(3)] == [False, True, False]
    assert [list(hand.scheduler.family_calls(index)) for index in range(3)] == [[4, 5], [2, 3], []]


def test_without_anybody_to_evaluate_it_a_condition_is_true() -> None:
    hand = Hand([step("a", when="x"), step("b", "a")])
    assert hand.start() == ["a"]


def test_the_serial_baseline_takes_the_short_way_too() -> None:
    hand = Hand([step("a"), step("b", "a")], policy="serial")
    hand.start()
    starts = hand.scheduler.succeed(hand.live["a"], SECOND)
    assert starts is not None
    assert [attempt.step_id for attempt in starts] == ["b"]


# ---------------------------------------------------------------------- the record


def test_the_record_holds_the_resources_with_the_largest_capacity_that_they_had() -> None:
    auto = Resource.model_validate({"capacity": "auto", "rate_per_minute": 90})
    resources = {
        "llm": Resource(capacity=2),
        "api": Resource(rate_per_minute=60),
        "found": auto,
        "same": Resource(capacity=1),
    }
    hand = Hand([step("a", needs={"llm": 1})], resources=resources)
    hand.start()
    hand.scheduler.resize(SECOND, capacities={"llm": 5})
    hand.scheduler.resize(SECOND, capacities={"llm": 1})
    assert hand.scheduler.timeline().resources == {
        "llm": Resource(capacity=5),
        "api": Resource(rate_per_minute=60),
        "found": Resource(capacity=4, rate_per_minute=90),
        "same": Resource(capacity=1),
    }


def test_the_record_says_what_each_step_is_and_where_it_belongs() -> None:
    steps = [step("a"), step("m", for_each=[1], needs={"llm": 1}), step("b", "a", needs={"llm": 2}, reads=("s",))]
    hand = Hand(steps, 3, order={"b": [("a", "s")]}, resources={"llm": Resource(capacity=2)}, policy="levels")
    hand.start()
    hand.scheduler.add([step("x")], SECOND, parent="a")
    timeline = hand.scheduler.timeline(backend="by hand", startup_seconds=1.5)
    assert list(timeline.step_ids) == ["a", "m", "b", "m/1", "a/1"]
    assert list(timeline.nested_in) == [-1, -1, -1, 1, 0]
    assert list(timeline.needs) == [None, None, {"llm": 2}, {"llm": 1}, None]
    assert [tuple(parents) for parents in timeline.data_parents] == [(), (), (0,), (), ()]
    assert [tuple(parents) for parents in timeline.order_parents] == [(), (), (0,), (), ()]
    assert (timeline.workers, timeline.policy) == (3, "levels")
    assert (timeline.backend, timeline.startup_seconds) == ("by hand", 1.5)
    assert timeline.attempts == hand.scheduler.attempts
    assert timeline.capacity_changes == {}


def test_the_history_of_a_step_tells_of_its_own_attempts() -> None:
    hand = Hand([step("a", retry=RETRY), step("b")])
    hand.start()
    hand.end("a", 1, "failed")
    hand.start(3)
    history = hand.scheduler.history(0)
    assert history.startswith("step 'a' is running")
    assert ("attempt 1" in history, "attempt 2" in history, history.count("attempt ")) == (True, True, 2)
    assert "attempt" in hand.scheduler.history(1)

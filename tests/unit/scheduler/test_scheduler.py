"""Ends, blocks, cancels, resizes: what each call to the scheduler brings about, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from executor.model.workflow import Resource, Retry
from executor.record.timeline import NANOSECONDS
from executor.scheduler import SchedulerError
from tests.unit.scheduler.overtaking import resuming
from tests.unit.scheduling import Hand, at, step

TRIPLING = Retry(max_attempts=3, backoff_seconds=2, multiplier=3, jitter="none")
TWO = {"llm": Resource(capacity=2)}

AUTO = Resource.model_validate({"capacity": {"auto": {"initial": 16}}})
ONE_RETRY = Retry(max_attempts=2, backoff_seconds=2, jitter="none")


def cancelled(hand: Hand) -> list[str]:
    return [attempt.step_id for attempt in hand.scheduler.take_cancelled()]


# ---------------------------------------------------------------------- ends


def test_what_a_step_used_is_in_its_record_whether_a_limit_counts_it_or_not() -> None:
    hand = Hand([step("a")])
    hand.start()
    hand.end("a", 1, tokens_used=7)
    assert hand.live["a"].tokens_used == 7
    counted = Hand([step("a", needs={"llm": 1}), step("b")], resources={"llm": Resource(tokens_per_minute=60)})
    counted.start()
    counted.end("b", 1, tokens_used=8)
    counted.end("a", 1, "failed", tokens_used=9)
    assert (counted.live["a"].tokens_used, counted.live["b"].tokens_used) == (9, 8)


def test_an_attempt_that_was_cancelled_is_ended_by_cancel_alone() -> None:
    hand = Hand([step("a")])
    hand.start()
    with pytest.raises(SchedulerError, match="cannot finish attempt 1 of step 'a' as cancelled"):
        hand.end("a", 1, "cancelled")
    assert hand.status("a") == "running"


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_once_a_step_did_not_end_well_the_short_way_is_not_taken(outcome: str) -> None:
    hand = Hand([step("a"), step("b"), step("c", "a", "b")])
    hand.start()
    if outcome == "failed":
        hand.end("a", 1, outcome)
    else:
        hand.scheduler.cancel(at(1), ["a"])
    assert hand.scheduler.succeed(hand.live["b"], at(2)) is None
    assert hand.status("b") == "running"
    hand.end("b", 2)
    assert hand.status("c") == ("skipped" if outcome == "failed" else "cancelled")


# ---------------------------------------------------------------------- a capacity that is found out


def capacity(hand: Hand) -> int | None:
    return hand.scheduler.limits.by_name["llm"].capacity


def asking(count: int) -> Hand:
    """So many steps that ask one service, more than it is used with at first."""
    return Hand([step(f"s{n}", needs={"llm": 1}) for n in range(count)], slots=count, resources={"llm": AUTO})


def test_a_service_that_answers_in_time_is_asked_more_whatever_the_hour() -> None:
    hand = asking(112)
    for round_number in range(3):
        began = 1000.0 * round_number
        for name in hand.start(began):
            hand.end(name, began + 1)
    assert capacity(hand) == 128


def test_the_latency_is_the_workers_own_time() -> None:
    # From the second round on each step waits at its worker before and after it runs: the service is no slower.
    hand = asking(200)
    for name in hand.start(0):
        hand.end(name, 1)
    assert capacity(hand) == 32
    names = hand.start(10)
    for name in names:
        hand.live[name].started, hand.live[name].ended = at(14), at(15)
        hand.end(name, 19)
    assert len(names) == 32
    assert capacity(hand) == 64


def test_a_step_that_was_blocked_says_nothing_of_its_latency_but_a_timeout_counts() -> None:
    hand = asking(16)
    hand.start()
    for name in ("s0", "s1"):
        hand.scheduler.block(hand.live[name], at(1))
        hand.scheduler.unblock(hand.live[name], at(2))
    hand.start(2)
    hand.end("s0", 3)
    assert capacity(hand) == 16
    hand.end("s1", 3, "timed_out")
    assert capacity(hand) == 14


# ---------------------------------------------------------------------- retries


def test_a_call_that_comes_back_before_the_backoff_is_over_changes_nothing() -> None:
    hand = Hand([step("a", retry=Retry(max_attempts=2, backoff_seconds=10, jitter="none"))])
    hand.start()
    hand.end("a", 1, "timed_out", abandoned=True)
    hand.scheduler.returned(hand.live["a"], at(3))
    assert hand.wake_at() == 11
    assert hand.start(10.9) == []
    assert hand.start(11) == ["a"]


def test_what_was_not_abandoned_cannot_come_back() -> None:
    hand = Hand([step("a")])
    hand.start()
    with pytest.raises(SchedulerError, match="step 'a' was not abandoned"):
        hand.scheduler.returned(hand.live["a"], at(1))


def test_a_retry_takes_up_what_its_first_attempt_called() -> None:
    # What the call brings about when it ends with its caller's attempt is decided at once.
    hand = Hand([step("a", retry=ONE_RETRY)])
    hand.start()
    assert hand.scheduler.add([step("x"), step("y", "x")], at(1), parent="a") == ["a/1", "a/2"]
    assert hand.start(1) == ["a/1"]
    assert hand.end("a", 2, "failed") == "backing_off"
    assert hand.statuses() == {"a": "backing_off", "a/1": "cancelled", "a/2": "cancelled"}
    assert cancelled(hand) == ["a/1"]


def test_in_a_run_that_stops_calls_are_still_tried_again_and_steps_are_not() -> None:
    steps = [step("caller"), step("bad", on_failure="stop"), step("other", retry=ONE_RETRY)]
    hand = Hand(steps)
    hand.start()
    hand.scheduler.add([step("x", retry=ONE_RETRY)], at(1), parent="caller")
    hand.start(1)
    hand.end("bad", 2, "failed")
    assert hand.end("other", 3, "failed") == "failed"
    assert hand.end("caller/1", 3, "failed") == "backing_off"
    assert hand.start(5) == ["caller/1"]


def test_a_step_whose_worker_dies_has_the_attempts_that_it_states() -> None:
    hand = Hand([step("a", retry=ONE_RETRY)])
    hand.start()
    assert hand.end("a", 1, "worker_died") == "backing_off"
    assert hand.wake_at() == 3
    hand.start(3)
    assert hand.end("a", 4, "worker_died") == "failed"


# ---------------------------------------------------------------------- blocking


def test_a_step_can_block_again_and_again_and_each_time_is_recorded() -> None:
    hand = Hand([step("a")])
    hand.start()
    for second in (1, 3, 5):
        hand.scheduler.block(hand.live["a"], at(second))
        hand.scheduler.unblock(hand.live["a"], at(second + 1))
        assert hand.start(second + 1) == ["a"]
    blocked = [(interval.start // NANOSECONDS, interval.end // NANOSECONDS) for interval in hand.live["a"].blocked]
    assert blocked == [(1, 2), (3, 4), (5, 6)]


def test_only_a_running_step_blocks_and_only_a_blocked_one_unblocks() -> None:
    hand = Hand([step("a")])
    hand.start()
    with pytest.raises(SchedulerError, match="cannot unblock attempt 1 of step 'a', which is running"):
        hand.scheduler.unblock(hand.live["a"], at(1))
    hand.scheduler.block(hand.live["a"], at(1))
    with pytest.raises(SchedulerError, match="cannot block attempt 1 of step 'a', which is blocked"):
        hand.scheduler.block(hand.live["a"], at(1))
    hand.scheduler.cancel(at(2), ["a"])
    with pytest.raises(SchedulerError, match="cannot unblock attempt 1 of step 'a', which is cancelled"):
        hand.scheduler.unblock(hand.live["a"], at(2))


def test_a_step_that_resumes_is_overtaken_a_thousand_times_and_no_more() -> None:
    hand, big, running = resuming()
    now = 2
    while big not in running:
        now += 1
        hand.scheduler.finish(running.pop(0), "succeeded", now)
        running += hand.scheduler.start(now)
    hand.scheduler.validate()
    assert now == 1004


# ---------------------------------------------------------------------- cancelling


def test_a_step_that_nobody_knows_is_named_and_nothing_is_cancelled() -> None:
    hand = Hand([step("a")])
    hand.start()
    with pytest.raises(SchedulerError, match=r"unknown steps 'x', 'y'$"):
        hand.scheduler.cancel(at(1), ["x", "a", "y"])
    assert hand.status("a") == "running"


def test_cancelling_a_run_leaves_what_is_final_and_a_failure_still_wins() -> None:
    hand = Hand([step("both", "bad", "runs"), step("bad"), step("runs"), step("well"), step("after", "runs")])
    hand.start()
    hand.end("bad", 1, "failed")
    hand.end("well", 1)
    hand.scheduler.cancel(at(2))
    hand.scheduler.validate()
    assert hand.statuses() == {
        "both": "skipped", "bad": "failed", "runs": "cancelled", "well": "succeeded", "after": "cancelled",
    }  # fmt: skip
    assert hand.scheduler.done


def test_to_a_run_that_was_cancelled_nothing_is_added_that_would_run() -> None:
    hand = Hand([step("a")])
    hand.start()
    hand.end("a", 1)
    hand.scheduler.cancel(at(1))
    hand.scheduler.add([step("late"), step("later", "late")], at(2))
    assert hand.statuses() == {"a": "succeeded", "late": "cancelled", "later": "cancelled"}
    assert hand.start(2) == []


def test_a_run_that_waits_for_further_steps_waits_no_more_once_it_is_cancelled() -> None:
    hand = Hand([step("a")])
    hand.scheduler.hold()
    hand.scheduler.hold()
    hand.start()
    hand.end("a", 1)
    assert not hand.scheduler.done
    hand.scheduler.cancel(at(2))
    assert (hand.scheduler.done, hand.scheduler.held) == (True, 0)
    hand.scheduler.validate()


def test_a_step_that_was_cancelled_while_it_waited_for_another_stays_so() -> None:
    hand = Hand([step("a"), step("b", "a"), step("c", "b")])
    hand.start()
    hand.scheduler.cancel(at(1), ["b", "b"])
    hand.scheduler.cancel(at(1), ["b"])
    assert hand.statuses() == {"a": "running", "b": "cancelled", "c": "cancelled"}
    assert hand.turn(2, "a") == []
    assert hand.status("b") == "cancelled"
    assert hand.scheduler.done


def test_what_was_cancelled_is_handed_out_once_and_its_record_says_so() -> None:
    hand = Hand([step("a"), step("b")])
    hand.start()
    hand.scheduler.cancel(at(1), ["a"])
    assert cancelled(hand) == ["a"]
    assert (hand.live["a"].outcome, hand.live["a"].known) == ("cancelled", at(1))
    hand.scheduler.cancel(at(2))
    assert cancelled(hand) == ["b"]
    assert cancelled(hand) == []


def test_giving_up_fails_every_step_that_backs_off_and_a_stop_among_them_changes_nothing() -> None:
    fields: dict[str, Any] = {"retry": ONE_RETRY, "on_failure": "stop"}
    hand = Hand(
        [step("a", **fields), step("b", **fields), step("after", "b"), step("locked")], order={"locked": [("b", "s")]}
    )
    hand.start()
    for name in ("a", "b"):
        hand.end(name, 1, "timed_out", abandoned=True)
    assert hand.start(10) == []
    assert hand.scheduler.stalled
    hand.scheduler.give_up(at(11))
    hand.scheduler.validate()
    assert hand.statuses() == {"a": "failed", "b": "failed", "after": "skipped", "locked": "cancelled"}
    assert hand.scheduler.done


# ---------------------------------------------------------------------- resizing


def test_a_capacity_can_be_changed_without_the_slots_and_the_slots_without_a_capacity() -> None:
    steps = [step(name, needs={"llm": 1}) for name in "abcd"]
    hand = Hand(steps, slots=1, resources={"llm": Resource(capacity=1)})
    assert hand.start() == ["a"]
    hand.scheduler.resize(at(1), slots=3)
    assert hand.start(1) == []
    hand.scheduler.resize(at(2), capacities={"llm": 2})
    assert hand.start(2) == ["b"]
    assert hand.scheduler.slots == 3


def test_the_serial_baseline_has_one_slot_whatever_is_asked_for() -> None:
    hand = Hand([step("a"), step("b")], policy="serial")
    hand.start()
    hand.scheduler.resize(at(1), slots=4)
    assert hand.start(1) == []
    assert (hand.scheduler.slots, hand.scheduler.timeline().workers) == (1, 1)


def test_only_a_capacity_that_is_there_can_be_changed() -> None:
    hand = Hand([step("a")], resources={"api": Resource(rate_per_minute=60), "llm": Resource(capacity=2)})
    for name in ("api", "other"):
        with pytest.raises(SchedulerError, match=f"the resource '{name}' has no capacity to change"):
            hand.scheduler.resize(at(1), slots=3, capacities={"llm": 1, name: 1})
    assert (hand.scheduler.slots, hand.scheduler.limits.by_name["llm"].capacity) == (8, 2)


def test_a_resize_moves_the_time_on_as_every_call_does() -> None:
    hand = Hand([step("a"), step("b")], slots=1)
    hand.start()
    hand.scheduler.resize(at(5), slots=2)
    hand.start(3)
    assert hand.live["b"].granted == at(5)


# ---------------------------------------------------------------------- a whole run, one fact each


def test_cancel_hands_out_what_runs_and_cancels_the_rest() -> None:
    hand = Hand([step("a"), step("b", "a"), step("c")], slots=1)
    hand.start()
    hand.scheduler.cancel(5)
    assert [attempt.step_id for attempt in hand.scheduler.take_cancelled()] == ["a"]
    assert set(hand.statuses().values()) == {"cancelled"}
    assert hand.scheduler.done


def test_cancelling_a_step_cancels_those_that_depend_on_it() -> None:
    hand = Hand([step("a"), step("b", "a"), step("c")])
    hand.start()
    hand.scheduler.cancel(5, ["a"])
    assert hand.statuses() == {"a": "cancelled", "b": "cancelled", "c": "running"}


def test_an_abandoned_call_keeps_its_limits_and_locks_until_it_returns() -> None:
    steps = [step("a", needs={"llm": 2}, writes=("s",)), step("b", needs={"llm": 1}), step("c", writes=("s",))]
    hand = Hand(steps, order={"c": [("a", "s")]}, resources=TWO)
    assert hand.start() == ["a"]
    hand.end("a", 1, "timed_out", abandoned=True)
    assert hand.start(1) == []
    assert hand.scheduler.stalled
    hand.scheduler.returned(hand.live["a"], 4_000_000_000)
    assert hand.start(4) == ["b", "c"]


def test_a_retry_waits_for_the_abandoned_call() -> None:
    hand = Hand([step("a", retry=TRIPLING), step("b")])
    hand.start()
    hand.end("a", 1, "timed_out", abandoned=True)
    hand.end("b", 1)
    assert hand.start(10) == []
    hand.scheduler.returned(hand.live["a"], 20_000_000_000)
    assert hand.start(20) == ["a"]
    assert hand.waits("a", 2) == [("backoff", 1, 20)]


def test_giving_up_fails_what_waits_for_an_abandoned_call() -> None:
    hand = Hand([step("a", retry=TRIPLING), step("b", "a")])
    hand.start()
    hand.end("a", 1, "timed_out", abandoned=True)
    hand.start(10)
    assert hand.scheduler.stalled
    hand.scheduler.give_up(11_000_000_000)
    assert hand.statuses() == {"a": "failed", "b": "skipped"}


def test_a_blocked_step_gives_back_slot_and_limits_and_resumes_first() -> None:
    steps = [step("parent", needs={"llm": 1}, writes=("s",)), step("other"), step("third")]
    hand = Hand(steps, slots=1, resources={"llm": Resource(capacity=1)})
    assert hand.start() == ["parent"]
    parent = hand.live["parent"]
    ids = hand.scheduler.add([step("x", needs={"llm": 1}), step("y", "x")], 1_000_000_000, parent="parent")
    assert ids == ["parent/1", "parent/2"]
    hand.scheduler.block(parent, 1_000_000_000)
    assert hand.start(1) == ["parent/1"]
    assert hand.turn(2, "parent/1") == ["parent/2"]
    hand.end("parent/2", 3)
    hand.scheduler.unblock(parent, 3_000_000_000)
    assert hand.start(3) == ["parent"]
    assert [(i.start, i.end) for i in parent.blocked] == [(1_000_000_000, 3_000_000_000)]
    assert hand.turn(4, "parent") == ["other"]


def test_an_illegal_call_tells_the_story_and_changes_nothing() -> None:
    hand = Hand([step("a"), step("b", "a")])
    hand.start()
    hand.end("a", 1)
    before = hand.statuses()
    with pytest.raises(SchedulerError, match="step 'a' is succeeded") as caught:
        hand.scheduler.finish(hand.live["a"], "succeeded", 2)
    assert "attempt 1: ready 0.000000 s" in caught.value.history
    assert hand.statuses() == before
    hand.scheduler.validate()


def test_time_never_runs_backwards() -> None:
    hand = Hand([step("a"), step("b", "a")])
    hand.start(5)
    assert hand.turn(3, "a") == ["b"]
    assert hand.live["b"].granted == 5_000_000_000


def test_resizing_changes_the_slots_and_the_record_keeps_the_largest() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=1)
    hand.start()
    hand.scheduler.resize(1, slots=3)
    assert hand.start(1) == ["b", "c"]
    hand.scheduler.resize(2, slots=1)
    assert hand.turn(2, "a") == []
    assert hand.scheduler.timeline().workers == 3

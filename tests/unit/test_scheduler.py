"""The scheduler by hand: one fact a test. Random calls are in tests/properties."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource, Retry
from executor.scheduler import STATE_NAMES, TRANSITIONS, SchedulerError
from tests.unit.scheduling import Hand, step

NO_JITTER = Retry(max_attempts=3, backoff_seconds=2, multiplier=3, jitter="none")


def test_a_step_starts_when_its_last_dependency_ended() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a", "b")])
    assert hand.start() == ["a", "b"]
    assert hand.turn(1, "a") == []
    assert hand.turn(2, "b") == ["c"]


def test_the_record_names_who_made_a_step_ready() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a", "b")])
    hand.start()
    hand.turn(1, "b")
    hand.turn(2, "a")
    attempt = hand.live["c"]
    assert (attempt.released_by, attempt.ready, attempt.granted) == ("a", 2_000_000_000, 2_000_000_000)


def test_the_longest_path_starts_first_and_file_order_breaks_ties() -> None:
    steps = [step("short"), step("long", expected_seconds=5), step("same", expected_seconds=5)]
    assert Hand(steps, slots=2).start() == ["long", "same"]


def test_priority_goes_before_rank() -> None:
    steps = [
        step("long", expected_seconds=9),
        step("urgent", priority=1),
        step("late", priority=-1, expected_seconds=99),
    ]
    hand = Hand(steps, slots=1)
    assert hand.start() == ["urgent"]
    assert hand.turn(1, "urgent") == ["long"]
    assert hand.turn(2, "long") == ["late"]


def test_waiting_for_a_slot_is_recorded_as_worker() -> None:
    hand = Hand([step("a"), step("b")], slots=1)
    hand.start()
    hand.turn(3, "a")
    assert hand.waits("b") == [("worker", 0, 3)]


def test_a_failed_step_skips_all_that_depend_on_it_and_nothing_else() -> None:
    hand = Hand([step("a"), step("b", "a"), step("c", "b"), step("d")])
    hand.start()
    assert hand.end("a", 1, "failed") == "failed"
    assert hand.statuses() == {"a": "failed", "b": "skipped", "c": "skipped", "d": "running"}


def test_a_cascade_through_a_long_chain_does_not_recurse() -> None:
    count = 20_000
    steps = [step("0"), *(step(str(i), str(i - 1)) for i in range(1, count))]
    hand = Hand(steps)
    hand.start()
    hand.scheduler.finish(hand.live["0"], "failed", 1)
    assert hand.scheduler.done
    assert hand.statuses()[str(count - 1)] == "skipped"


def test_a_false_condition_skips_a_step_and_satisfies_its_dependants() -> None:
    hand = Hand([step("a", when="no"), step("b", "a")], condition=lambda index: False)
    assert hand.start() == ["b"]
    assert hand.status("a") == "skipped"
    assert hand.scheduler.was_false(0)


def test_a_condition_is_not_evaluated_when_a_dependency_failed() -> None:
    asked: list[int] = []
    hand = Hand([step("a"), step("b", "a", when="x")], condition=lambda index: not asked.append(index))
    hand.start()
    hand.end("a", 1, "failed")
    assert (hand.status("b"), asked) == ("skipped", [])


def test_a_condition_that_raises_fails_its_step() -> None:
    def broken(index: int) -> bool:
        raise ValueError("no such name")

    hand = Hand([step("a", when="x"), step("b", "a")], condition=broken)
    assert hand.statuses() == {"a": "failed", "b": "skipped"}
    assert str(hand.scheduler.condition_errors[0]) == "no such name"


def test_a_failed_attempt_is_tried_again_after_its_backoff_and_no_earlier() -> None:
    hand = Hand([step("a", retry=NO_JITTER)])
    hand.start()
    assert hand.end("a", 1, "failed") == "backing_off"
    assert hand.wake_at() == 3
    assert hand.start(2.9) == []
    assert hand.start(3) == ["a"]
    assert hand.waits("a", 2) == [("backoff", 1, 3)]
    assert hand.end("a", 4, "failed") == "backing_off"
    assert hand.wake_at() == 10
    hand.start(10)
    assert hand.end("a", 11, "failed") == "failed"


def test_full_jitter_depends_on_the_seed_alone() -> None:
    def due(seed: int) -> float | None:
        hand = Hand([step("a", retry=Retry(backoff_seconds=10))], seed=seed)
        hand.start()
        hand.end("a", 0, "failed")
        return hand.wake_at()

    assert due(1) == due(1)
    assert len({due(seed) for seed in range(20)}) == 20
    assert all(0 <= (due(seed) or 0) <= 10 for seed in range(20))


def test_retry_after_is_a_least_wait() -> None:
    hand = Hand([step("a", retry=NO_JITTER)])
    hand.start()
    hand.end("a", 1, "failed", retry_after_seconds=30)
    assert hand.wake_at() == 31


def test_a_failure_that_another_attempt_cannot_help_is_final() -> None:
    hand = Hand([step("a", retry=NO_JITTER)])
    hand.start()
    assert hand.end("a", 1, "failed", retryable=False) == "failed"


def test_a_step_whose_worker_died_is_tried_again_although_it_states_no_retry() -> None:
    hand = Hand([step("a")])
    hand.start()
    assert hand.end("a", 1, "worker_died") == "backing_off"
    assert hand.start(1) == ["a"]
    hand.end("a", 2, "worker_died")
    hand.start(2)
    assert hand.end("a", 3, "worker_died") == "failed"


def test_a_step_that_is_not_idempotent_is_not_tried_again_when_its_worker_died() -> None:
    hand = Hand([step("a", idempotent=False, retry=NO_JITTER)])
    hand.start()
    assert hand.end("a", 1, "worker_died") == "failed"


LLM = {"llm": Resource(capacity=2)}


def test_a_capacity_is_never_exceeded_and_the_wait_names_it() -> None:
    hand = Hand([step(name, needs={"llm": 1}) for name in "abc"], resources=LLM)
    assert hand.start() == ["a", "b"]
    assert hand.turn(4, "b") == ["c"]
    assert hand.waits("c") == [("resource.llm", 0, 4)]


def test_a_step_behind_a_full_resource_does_not_stop_others() -> None:
    hand = Hand([step("a", needs={"llm": 2}), step("b", needs={"llm": 1}), step("c")], resources=LLM)
    assert hand.start() == ["a", "c"]


def test_the_reason_of_a_wait_changes_when_the_limit_opens_and_no_slot_is_free() -> None:
    steps = [
        step("a", needs={"llm": 2}, priority=9),
        step("x", priority=8),
        step("b", needs={"llm": 1}),
        step("y", priority=5),
    ]
    hand = Hand(steps, slots=2, resources=LLM)
    assert hand.start() == ["a", "x"]
    assert hand.turn(1, "a") == ["y"]
    assert hand.turn(2, "x") == ["b"]
    assert hand.waits("b") == [("resource.llm", 0, 1), ("worker", 1, 2)]


def test_needs_are_granted_at_once_or_not_at_all() -> None:
    resources = {"p": Resource(capacity=1), "q": Resource(capacity=1)}
    hand = Hand(
        [step("a", needs={"p": 1}), step("b", needs={"q": 1, "p": 1}), step("c", needs={"q": 1})], resources=resources
    )
    assert hand.start() == ["a", "c"]


def test_a_rate_lets_one_attempt_through_a_minute_share() -> None:
    hand = Hand([step(name, needs={"api": 1}) for name in "abc"], resources={"api": Resource(rate_per_minute=60)})
    assert hand.start() == ["a"]
    assert hand.wake_at() == 1
    assert hand.start(0.5) == []
    assert hand.start(1) == ["b"]
    assert hand.start(2) == ["c"]
    assert hand.waits("c") == [("rate.api", 0, 2)]


def test_a_bucket_lets_its_burst_through_at_once() -> None:
    resources = {"api": Resource(rate_per_minute=60, burst=2)}
    hand = Hand([step(name, needs={"api": 1}) for name in "abc"], resources=resources)
    assert hand.start() == ["a", "b"]
    assert hand.wake_at() == 1


def test_tokens_used_beyond_the_estimate_become_debt_and_unused_ones_come_back() -> None:
    resources = {"llm": Resource(tokens_per_minute=60, token_burst=60)}
    steps = [step(name, needs={"llm": 1}, expected_tokens=30) for name in "abcd"]
    hand = Hand(steps, resources=resources)
    assert hand.start() == ["a", "b"]
    hand.end("a", 0, tokens_used=40)
    assert hand.start(30) == []
    assert hand.wake_at() == 40
    assert hand.start(40) == ["c"]
    hand.end("c", 40, tokens_used=0)
    assert hand.start(40) == ["d"]


def test_order_edges_hold_a_ready_step_and_the_wait_names_the_state() -> None:
    hand = Hand([step("w", writes=("s",)), step("r", reads=("s",))], order={"r": [("w", "s")]})
    assert hand.start() == ["w"]
    assert hand.status("r") == "ready"
    assert hand.turn(5, "w") == ["r"]
    assert hand.waits("r") == [("lock.s", 0, 5)]


def test_an_order_edge_never_skips_anything() -> None:
    hand = Hand([step("w", writes=("s",)), step("r", reads=("s",))], order={"r": [("w", "s")]})
    hand.start()
    hand.end("w", 1, "failed")
    assert hand.start(1) == ["r"]


def test_a_step_that_never_ran_passes_its_own_order_edges_on() -> None:
    # `b` is skipped at once, but `a`, before it in the order, still uses the state: `c` has to wait for `a`.
    steps = [step("a", writes=("s",)), step("x"), step("b", "x", writes=("s",)), step("c", writes=("s",))]
    hand = Hand(steps, order={"b": [("a", "s")], "c": [("b", "s")]})
    assert hand.start() == ["a", "x"]
    hand.end("x", 1, "failed")
    assert hand.status("b") == "skipped"
    assert hand.start(1) == []
    assert hand.turn(2, "a") == ["c"]


def test_levels_are_barriers() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a")], policy="levels")
    assert hand.start() == ["a", "b"]
    assert hand.turn(1, "a") == []
    assert hand.turn(3, "b") == ["c"]
    assert hand.waits("c") == [("barrier", 1, 3)]


def test_a_level_is_not_over_while_a_member_backs_off() -> None:
    hand = Hand([step("a", retry=NO_JITTER), step("b"), step("c", "b")], policy="levels")
    hand.start()
    hand.end("a", 1, "failed")
    assert hand.turn(1, "b") == []
    assert hand.start(3) == ["a"]
    assert hand.turn(4, "a") == ["c"]


def test_barrier_runs_ungrouped_steps_alone_and_a_group_together() -> None:
    steps = [step("g1", parallel_group=1), step("u"), step("g2", parallel_group=1), step("h", parallel_group="1")]
    hand = Hand(steps, policy="barrier")
    assert hand.start() == ["u"]
    assert hand.turn(1, "u") == ["g1", "g2"]
    assert hand.turn(2, "g1") == []
    assert hand.turn(3, "g2") == ["h"]


def test_serial_has_one_slot_whatever_the_workers() -> None:
    hand = Hand([step("a"), step("b")], slots=8, policy="serial")
    assert hand.start() == ["a"]


def test_stop_cancels_what_has_not_started_and_lets_the_rest_end() -> None:
    steps = [
        step("bad", on_failure="stop"),
        step("runs"),
        step("after", "runs"),
        step("backs", retry=NO_JITTER),
        step("queued"),
    ]
    hand = Hand(steps, slots=3)
    assert hand.start() == ["runs", "bad", "backs"]
    hand.end("backs", 1, "failed")
    hand.end("bad", 2, "failed")
    assert hand.statuses() == {
        "bad": "failed", "runs": "running", "after": "waiting", "backs": "failed", "queued": "cancelled",
    }  # fmt: skip
    hand.turn(3, "runs")
    assert hand.status("after") == "cancelled"
    assert hand.scheduler.done


def test_a_failed_dependency_wins_over_a_stop() -> None:
    hand = Hand([step("bad", on_failure="stop"), step("after", "bad")])
    hand.start()
    hand.end("bad", 1, "failed")
    assert hand.status("after") == "skipped"


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
    hand = Hand(steps, order={"c": [("a", "s")]}, resources=LLM)
    assert hand.start() == ["a"]
    hand.end("a", 1, "timed_out", abandoned=True)
    assert hand.start(1) == []
    assert hand.scheduler.stalled
    hand.scheduler.returned(hand.live["a"], 4_000_000_000)
    assert hand.start(4) == ["b", "c"]


def test_a_retry_waits_for_the_abandoned_call() -> None:
    hand = Hand([step("a", retry=NO_JITTER), step("b")])
    hand.start()
    hand.end("a", 1, "timed_out", abandoned=True)
    hand.end("b", 1)
    assert hand.start(10) == []
    hand.scheduler.returned(hand.live["a"], 20_000_000_000)
    assert hand.start(20) == ["a"]
    assert hand.waits("a", 2) == [("backoff", 1, 20)]


def test_giving_up_fails_what_waits_for_an_abandoned_call() -> None:
    hand = Hand([step("a", retry=NO_JITTER), step("b", "a")])
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


def test_deeper_calls_start_first() -> None:
    hand = Hand([step("top"), step("other")], slots=1)
    hand.start()
    hand.scheduler.add([step("x")], 1, parent="top")
    hand.scheduler.block(hand.live["top"], 1)
    assert hand.start(1) == ["top/1"]
    hand.scheduler.add([step("x")], 2, parent="top/1")
    hand.scheduler.block(hand.live["top/1"], 2)
    assert hand.start(2) == ["top/1/1"]


def test_a_call_may_use_only_what_its_step_declares() -> None:
    hand = Hand([step("top", reads=("s",))])
    hand.start()
    with pytest.raises(SchedulerError, match="uses the state 's'"):
        hand.scheduler.add([step("x", writes=("s",))], 1, parent="top")
    assert hand.scheduler.step_ids == ["top"]


def test_a_call_may_depend_only_on_siblings_and_final_steps() -> None:
    hand = Hand([step("top"), step("other")])
    hand.start()
    with pytest.raises(SchedulerError, match="depends on 'other'"):
        hand.scheduler.add([step("x", "other")], 1, parent="top")


def test_calls_nest_to_a_limited_depth() -> None:
    hand = Hand([step("a")], max_depth=2)
    hand.start()
    for name in ("a", "a/1"):
        hand.scheduler.add([step("x")], 1, parent=name)
        hand.start(1)
    with pytest.raises(SchedulerError, match="more than 2 levels"):
        hand.scheduler.add([step("x")], 1, parent="a/1/1")


def test_a_parent_that_dies_cancels_its_calls_and_counts_on_across_attempts() -> None:
    hand = Hand([step("a", retry=NO_JITTER)])
    hand.start()
    hand.scheduler.add([step("x"), step("y")], 1, parent="a")
    hand.start(1)
    hand.end("a", 2, "worker_died")
    assert [attempt.step_id for attempt in hand.scheduler.take_cancelled()] == ["a/1", "a/2"]
    for name in ("a/1", "a/2"):
        hand.scheduler.returned(hand.live[name], 3_000_000_000)
    assert hand.start(10) == ["a"]
    assert hand.scheduler.add([step("x")], 11_000_000_000, parent="a") == ["a/3"]


def test_a_call_never_takes_the_id_of_a_step_of_the_file() -> None:
    hand = Hand([step("a"), step("a/1")])
    hand.start()
    assert hand.scheduler.add([step("x"), step("y")], 1, parent="a") == ["a/2", "a/3"]
    assert hand.scheduler.add([step("x")], 2, parent="a") == ["a/4"]


def test_late_steps_stand_last_and_keep_the_order_of_a_state() -> None:
    hand = Hand([step("a", writes=("s",))])
    hand.start()
    hand.scheduler.add([step("b", writes=("s",)), step("c", "a")], 1)
    assert hand.start(1) == []
    assert hand.turn(2, "a") == ["b", "c"]


def test_an_illegal_call_tells_the_story_and_changes_nothing() -> None:
    hand = Hand([step("a"), step("b", "a")])
    hand.start()
    hand.end("a", 1)
    before = hand.statuses()
    with pytest.raises(SchedulerError, match="step 'a' is succeeded") as caught:
        hand.scheduler.finish(hand.live["a"], "succeeded", 2)
    assert "attempt 1: ready 0.000000 s" in caught.value.story
    assert hand.statuses() == before
    hand.scheduler.validate()


def test_time_never_runs_backwards() -> None:
    hand = Hand([step("a"), step("b", "a")])
    hand.start(5)
    assert hand.turn(3, "a") == ["b"]
    assert hand.live["b"].granted == 5_000_000_000


def test_a_step_that_is_overtaken_a_thousand_times_reserves_what_it_needs() -> None:
    # `big` needs both units; small steps of higher rank come again and again and would always find one free.
    small = [step(f"s{i}", *([f"s{i - 2}"] if i >= 2 else []), needs={"llm": 1}, priority=1) for i in range(2400)]
    hand = Hand([step("big", needs={"llm": 2}), *small], resources=LLM)
    now = 0
    queue = hand.scheduler.start(0)
    overtakers = 0
    while queue[0].step_id != "big":
        attempt = queue.pop(0)
        now += 1
        overtakers += 1
        hand.scheduler.finish(attempt, "succeeded", now)
        queue += hand.scheduler.start(now)
    hand.scheduler.validate()
    assert overtakers == 1002


@pytest.mark.parametrize("short_way", [True, False])
def test_a_step_that_needs_only_a_slot_is_overtaken_a_thousand_times_and_no_more(short_way: bool) -> None:
    # One slot, and each step of the chain becomes ready as the one before it ends: it always finds the slot first.
    chain = [step(f"s{i}", *([f"s{i - 1}"] if i else [])) for i in range(2000)]
    hand = Hand([step("low", priority=-1), *chain], slots=1)
    starts = hand.scheduler.start(0)
    now = 0
    while starts[0].step_id != "low":
        now += 1
        if short_way:
            starts = hand.scheduler.succeed(starts[0], now) or []
        else:
            hand.scheduler.finish(starts[0], "succeeded", now)
            starts = hand.scheduler.start(now)
    hand.scheduler.validate()
    assert now == 1001
    assert hand.scheduler.attempts[-1].waits == [("worker", 0, 1001)]


def test_resizing_changes_the_slots_and_the_record_keeps_the_largest() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=1)
    hand.start()
    hand.scheduler.resize(1, slots=3)
    assert hand.start(1) == ["b", "c"]
    hand.scheduler.resize(2, slots=1)
    assert hand.turn(2, "a") == []
    assert hand.scheduler.timeline().workers == 3


def test_every_state_of_the_table_has_transitions_or_is_final() -> None:
    assert set(TRANSITIONS) == set(STATE_NAMES)
    reachable = {state for events in TRANSITIONS.values() for states in events.values() for state in states}
    assert reachable | {"waiting"} == set(STATE_NAMES)

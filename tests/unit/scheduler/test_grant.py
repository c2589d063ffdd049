"""Who starts and who waits for what: backoffs, rates, and steps that resume."""

from __future__ import annotations

from executor.model.workflow import Resource, Retry
from tests.unit.scheduler.overtaking import blocked, step
from tests.unit.scheduling import Hand

TWO = {"llm": Resource(capacity=2)}

NO_JITTER = Retry(max_attempts=3, backoff_seconds=2, jitter="none")
ONE = {"llm": Resource(capacity=1)}

# ---------------------------------------------------------------------- the plain queue


def test_free_slots_are_filled_and_no_more() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=2)
    assert hand.start() == ["a", "b"]
    assert hand.start(1) == []
    assert hand.turn(2, "a") == ["c"]
    assert hand.turn(3, "b", "c") == ["d"]
    assert [hand.waits(name) for name in "abcd"] == [[], [], [("worker", 0, 2)], [("worker", 0, 3)]]


def test_a_cancelled_step_in_the_queue_hides_nobody_behind_it() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=1)
    hand.start()
    hand.scheduler.cancel(1, ["b", "c"])
    assert hand.turn(2, "a") == ["d"]


def test_the_record_names_the_attempt_its_cause_and_its_parent() -> None:
    hand = Hand([step("first"), step("other"), step("second", "first", retry=NO_JITTER)], slots=1)
    hand.start()
    hand.turn(1, "first")
    hand.end("other", 2)
    assert hand.start(3) == ["second"]
    second = hand.live["second"]
    assert (second.attempt, second.released_by, second.parent) == (1, "first", None)
    hand.scheduler.add([step("x")], 3_000_000_000, parent="second")
    hand.end("second", 4, "failed")
    hand.scheduler.take_cancelled()
    assert hand.start(6) == ["second"]
    assert (hand.live["second"].attempt, hand.live["second"].released_by) == (2, "first")
    hand.scheduler.add([step("x"), step("y", "x")], 6_000_000_000, parent="second")
    hand.scheduler.block(hand.live["second"], 6_000_000_000)
    assert hand.start(6) == ["second/2"]
    assert hand.turn(7, "second/2") == ["second/3"]
    called = [hand.live[name] for name in ("second/2", "second/3")]
    assert [(call.released_by, call.parent) for call in called] == [("second", "second"), ("second/2", "second")]


def test_a_call_of_the_first_step_names_it() -> None:
    hand = Hand([step("first")], slots=2)
    hand.start()
    hand.scheduler.add([step("x")], 1, parent="first")
    assert hand.start(1e-9) == ["first/1"]
    assert (hand.live["first/1"].released_by, hand.live["first/1"].parent) == ("first", "first")


# ---------------------------------------------------------------------- backoffs


def test_a_backoff_that_ended_before_anybody_looked_waits_no_longer_than_it_took() -> None:
    hand = Hand([step("a", retry=NO_JITTER)])
    hand.start()
    hand.end("a", 1, "failed")
    assert hand.start(7) == ["a"]
    assert hand.waits("a", 2) == [("backoff", 1, 3)]


def test_after_its_backoff_a_step_waits_for_what_stands_in_its_way_then() -> None:
    steps = [step("a", retry=NO_JITTER, needs={"llm": 1}), step("b", needs={"llm": 1}), step("c")]
    hand = Hand(steps, slots=2, resources=ONE)
    assert hand.start() == ["a", "c"]
    hand.end("a", 1, "failed")
    assert hand.start(1) == ["b"]
    assert hand.start(3) == []
    assert hand.turn(5, "b") == ["a"]
    assert hand.waits("a", 2) == [("backoff", 1, 3), ("resource.llm", 3, 5)]


def test_steps_that_ended_while_they_backed_off_wake_nobody_and_hide_nobody() -> None:
    hand = Hand([step(name, retry=NO_JITTER) for name in "abcd"])
    hand.start()
    for place, name in enumerate("abcd"):
        hand.end(name, place, "failed")
    assert hand.wake_at() == 2
    hand.scheduler.cancel(3_000_000_000, ["a", "b"])
    assert hand.start(3) == []
    assert hand.wake_at() == 4
    assert hand.start(5) == ["c", "d"]
    assert hand.wake_at() is None


def test_a_step_that_backs_off_again_is_due_after_its_new_backoff() -> None:
    hand = Hand([step("a", retry=NO_JITTER), step("b", retry=NO_JITTER)])
    hand.start()
    hand.end("a", 0, "failed")
    hand.end("b", 1, "failed")
    assert hand.start(2) == ["a"]
    hand.end("a", 2, "failed")
    assert hand.start(3) == ["b"]
    assert hand.start(5.9) == []
    assert hand.start(6) == ["a"]


# ---------------------------------------------------------------------- limits and rates


def test_lines_are_noted_on_although_the_one_before_them_is_empty() -> None:
    resources = {"p": Resource(capacity=1), "q": Resource(capacity=1)}
    hand = Hand([step("a", needs={"p": 1}), step("b", needs={"q": 1}), step("c", needs={"q": 1})], resources=resources)
    assert hand.start() == ["a", "b"]
    assert hand.turn(2, "b") == ["c"]
    assert hand.waits("c") == [("resource.q", 0, 2)]


def test_a_line_that_comes_again_knows_nothing_of_the_last_one() -> None:
    hand = Hand([step("a", needs={"llm": 1}), step("b", needs={"llm": 1}), step("z")], resources=ONE)
    hand.start()
    hand.turn(1, "a")
    hand.end("b", 2)
    hand.scheduler.add([step("c", needs={"llm": 1})], 3_000_000_000)
    assert hand.start(4) == ["c"]
    assert hand.waits("c") == []


def test_once_nothing_waits_for_more_than_a_slot_steps_are_handed_out_again() -> None:
    hand = Hand([step("a", needs={"llm": 1}), step("b", needs={"llm": 1}), step("c")], slots=1, resources=ONE)
    assert hand.start() == ["a"]
    assert hand.scheduler.hand_out(1, lambda _: True) == []
    assert hand.turn(1, "a") == ["b"]
    assert hand.scheduler.hand_out(1, lambda _: True) == [2]


def test_the_run_wakes_when_the_first_of_its_rates_opens_and_no_more_when_all_have() -> None:
    resources = {"slow": Resource(rate_per_minute=20), "fast": Resource(rate_per_minute=60)}
    for order in (["slow", "fast"], ["fast", "slow"]):
        hand = Hand([step(f"{name}{n}", needs={name: 1}) for n in range(2) for name in order], resources=resources)
        hand.start()
        assert hand.wake_at() == 1
        assert hand.start(1) == ["fast1"]
        assert hand.wake_at() == 3
        assert hand.start(3) == ["slow1"]
        assert hand.wake_at() is None


def test_a_full_resource_wakes_nobody() -> None:
    hand = Hand([step("a", needs={"llm": 1}), step("b", needs={"llm": 1})], resources=ONE)
    hand.start()
    assert hand.wake_at() is None


def test_who_waits_for_a_slot_alone_wakes_nobody_although_it_has_a_rate() -> None:
    resources = {"api": Resource(rate_per_minute=60, burst=5)}
    hand = Hand([step("a", needs={"api": 1}), step("b", needs={"api": 1})], slots=1, resources=resources)
    hand.start()
    assert hand.wake_at() is None
    assert hand.turn(2, "a") == ["b"]
    assert hand.waits("b") == [("worker", 0, 2)]


def test_an_attempt_says_how_many_tokens_it_reserved_if_any() -> None:
    resources = {"llm": Resource(tokens_per_minute=60), "disk": Resource(capacity=1)}
    steps = [step("a", needs={"llm": 1}, expected_tokens=30), step("b", needs={"disk": 1}), step("c")]
    hand = Hand(steps, resources=resources)
    hand.start()
    assert [hand.live[name].tokens_reserved for name in "abc"] == [30, None, None]


def test_steps_with_and_without_needs_start_in_one_order() -> None:
    steps = [
        step("none", priority=2),
        step("llm", priority=3, needs={"llm": 1}),
        step("disk", priority=1, needs={"disk": 1}),
        step("last"),
    ]
    resources = {"llm": Resource(capacity=1), "disk": Resource(capacity=1)}
    hand = Hand(steps, slots=1, resources=resources)
    assert hand.start() == ["llm"]
    assert hand.turn(1, "llm") == ["none"]
    assert hand.turn(2, "none") == ["disk"]
    assert hand.turn(3, "disk") == ["last"]
    assert [hand.waits(name) for name in ("none", "disk", "last")] == [[("worker", 0, n)] for n in (1, 2, 3)]


# ---------------------------------------------------------------------- steps that resume


def test_a_step_resumes_when_its_units_and_a_slot_are_free_and_waited_for_both() -> None:
    steps = [step("a", needs={"llm": 1}), step("b", needs={"llm": 1}), step("c"), step("d")]
    hand = Hand(steps, slots=2, resources=ONE)
    assert hand.start() == ["a", "c"]
    blocked(hand, "a", 1, 2)
    assert hand.status("b") == "running"
    hand.start(2)
    hand.scheduler.resize(3_000_000_000, slots=1)
    assert hand.turn(4, "b") == []
    assert hand.turn(5, "c") == ["a"]
    assert hand.waits("a") == [("resource.llm", 2, 4), ("worker", 4, 5)]
    blocked(hand, "a", 6, 7)
    assert hand.turn(8, "d") == ["a"]
    assert hand.turn(9, "a") == []
    assert hand.scheduler.done


def test_all_that_can_resume_do_in_the_order_of_their_priority() -> None:
    steps = [step("a"), step("b", priority=1), step("c", needs={"llm": 1}, priority=2), step("d", needs={"llm": 1})]
    hand = Hand(steps, slots=4, resources=ONE)
    assert hand.start() == ["c", "b", "a"]
    for name in "abc":
        hand.scheduler.block(hand.live[name], 1)
    assert hand.start(1e-9) == ["d"]
    for name in "abc":
        hand.scheduler.unblock(hand.live[name], 2)
    assert hand.start(2e-9) == ["b", "a"]
    assert hand.scheduler.resuming == [2]
    assert hand.turn(3e-9, "d") == ["c"]


def test_a_step_that_resumes_at_once_waits_for_nothing_that_it_waited_for_before_its_start() -> None:
    hand = Hand([step("a"), step("b", "a")], policy="levels")
    hand.start()
    assert hand.turn(1, "a") == ["b"]
    blocked(hand, "b", 2, 3)
    assert hand.start(4) == ["b"]
    assert hand.waits("b") == []


# ---------------------------------------------------------------------- order, slots, limits and rates


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


def test_a_capacity_is_never_exceeded_and_the_wait_names_it() -> None:
    hand = Hand([step(name, needs={"llm": 1}) for name in "abc"], resources=TWO)
    assert hand.start() == ["a", "b"]
    assert hand.turn(4, "b") == ["c"]
    assert hand.waits("c") == [("resource.llm", 0, 4)]


def test_a_step_behind_a_full_resource_does_not_stop_others() -> None:
    hand = Hand([step("a", needs={"llm": 2}), step("b", needs={"llm": 1}), step("c")], resources=TWO)
    assert hand.start() == ["a", "c"]


def test_the_reason_of_a_wait_changes_when_the_limit_opens_and_no_slot_is_free() -> None:
    steps = [
        step("a", needs={"llm": 2}, priority=9),
        step("x", priority=8),
        step("b", needs={"llm": 1}),
        step("y", priority=5),
    ]
    hand = Hand(steps, slots=2, resources=TWO)
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


def test_serial_has_one_slot_whatever_the_workers() -> None:
    hand = Hand([step("a"), step("b")], slots=8, policy="serial")
    assert hand.start() == ["a"]

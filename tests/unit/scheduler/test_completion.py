"""What follows from an end: fates, stops, gates, locks, calls, by hand."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource, Retry
from executor.record.timeline import Attempt
from executor.scheduler import Policy, SchedulerError
from tests.unit.scheduler.overtaking import resuming
from tests.unit.scheduling import Hand, at, step

TRIPLING = Retry(max_attempts=3, backoff_seconds=2, multiplier=3, jitter="none")

RETRY = Retry(max_attempts=2, backoff_seconds=2, jitter="none")


# ---------------------------------------------------------------------- the record of an end


def test_the_record_holds_how_and_when_each_attempt_ended() -> None:
    hand = Hand([step("a", retry=RETRY), step("b", "a")])
    hand.start()
    hand.end("a", 1, "failed")
    hand.start(4)
    assert hand.end("a", 5) == "succeeded"
    facts = [(one.attempt, one.ready, one.granted, one.known, one.outcome) for one in hand.scheduler.attempts]
    assert facts == [(1, 0, 0, at(1), "failed"), (2, at(1), at(4), at(5), "succeeded")]
    hand.start(5)
    assert hand.end("b", 6, "timed_out") == "failed"
    assert [(one.known, one.outcome) for one in hand.scheduler.attempts[2:]] == [(at(6), "timed_out")]


def test_a_step_may_end_without_waiting_for_its_calls_which_end_with_it() -> None:
    hand = Hand([step("a"), step("b", "a")])
    hand.start()
    hand.scheduler.add([step("x"), step("y", "x")], at(1), parent="a")
    hand.scheduler.block(hand.live["a"], at(1))
    assert hand.start(1) == ["a/1"]
    hand.end("a", 2)
    assert hand.statuses() == {"a": "succeeded", "b": "ready", "a/1": "cancelled", "a/2": "cancelled"}
    assert [(interval.start, interval.end) for interval in hand.live["a"].blocked] == [(at(1), at(2))]
    assert hand.start(2) == ["b"]
    assert hand.scheduler.running == 1


def test_a_step_that_ends_while_it_resumes_waited_until_then() -> None:
    resources = {"llm": Resource(capacity=1)}
    hand = Hand([step("a", needs={"llm": 1}, retry=RETRY), step("b", needs={"llm": 1})], resources=resources)
    hand.start()
    hand.scheduler.block(hand.live["a"], at(1))
    assert hand.start(1) == ["b"]
    hand.scheduler.unblock(hand.live["a"], at(2))
    hand.start(2)
    assert hand.end("a", 5, "timed_out") == "backing_off"
    assert hand.waits("a") == [("resource.llm", 2, 5)]
    assert hand.scheduler.resuming == []
    assert hand.turn(7, "b") == ["a"]


def while_it_resumes(hand: Hand, running: list[Attempt], now: int, turns: int) -> int:
    """So many times the oldest of ``running`` ends, and what can starts. Ends early when nothing does. The time."""
    for _ in range(turns):
        now += 1
        hand.scheduler.finish(running.pop(0), "succeeded", now)
        started = hand.scheduler.start(now)
        running += started
        if not started:
            break
    hand.scheduler.validate()
    return now


def test_a_step_that_ended_while_it_resumed_is_overtaken_by_nobody() -> None:
    hand, big, running = resuming(retry=RETRY)
    now = while_it_resumes(hand, running, 2, 500)
    hand.scheduler.finish(big, "timed_out", now, retryable=False)
    while_it_resumes(hand, running, now, 1500)
    assert hand.status("big") == "failed"
    assert len(hand.scheduler.attempts) == 2003


def test_what_a_step_reserved_to_resume_is_not_reserved_for_its_next_attempt() -> None:
    hand, big, running = resuming(retry=RETRY)
    now = while_it_resumes(hand, running, 2, 1500)
    assert now < 1500
    hand.scheduler.finish(big, "timed_out", now)
    hand.scheduler.finish(running.pop(), "succeeded", now)
    now += at(2)
    (again,) = hand.scheduler.start(now)
    hand.scheduler.block(again, now)
    running = hand.scheduler.start(now)
    hand.scheduler.unblock(again, now)
    now = while_it_resumes(hand, running, now, 10)
    assert len(running) == 2


def test_the_books_are_compared_with_what_they_should_be() -> None:
    hand = Hand([step("a")])
    hand.scheduler.remaining += 1
    with pytest.raises(SchedulerError, match="broken invariant: remaining counts the steps that are not final"):
        hand.scheduler.validate()


# ---------------------------------------------------------------------- fates


def test_steps_that_come_late_share_the_fate_of_what_they_depend_on() -> None:
    hand = Hand([step("well"), step("bad"), step("gone"), step("not", when="x")], condition=lambda index: False)
    hand.start()
    hand.end("well", 1)
    hand.end("bad", 1, "failed")
    hand.scheduler.cancel(at(1), ["gone"])
    late = [step(f"after_{name}", name) for name in ("well", "bad", "gone", "not")]
    hand.scheduler.add([*late, step("both", "gone", "bad", "well")], at(2))
    assert list(hand.statuses().values())[4:] == ["ready", "skipped", "cancelled", "ready", "skipped"]


def test_a_failure_wins_over_a_cancelled_dependency_whichever_came_first() -> None:
    for first in ("failed", "cancelled"):
        hand = Hand([step("a"), step("b"), step("c", "a", "b")])
        hand.start()
        if first == "failed":
            hand.end("a", 1, "failed")
        hand.scheduler.cancel(at(1), ["b"])
        if first == "cancelled":
            hand.end("a", 1, "failed")
        assert hand.status("c") == "skipped"


def test_only_a_failure_stops_a_run_whose_steps_ask_for_it() -> None:
    steps = [step("a", on_failure="stop"), step("bad"), step("b", "bad", on_failure="stop"), step("c", "d"), step("d")]
    hand = Hand([*steps, step("e", on_failure="stop", when="x")], condition=lambda index: False)
    hand.start()
    hand.scheduler.cancel(at(1), ["a"])
    hand.end("bad", 1, "failed")
    assert hand.statuses() == {
        "a": "cancelled", "bad": "failed", "b": "skipped", "c": "waiting", "d": "running", "e": "skipped",
    }  # fmt: skip
    assert hand.turn(2, "d") == ["c"]


def test_a_call_stops_nothing_and_calls_go_on_where_the_run_stops() -> None:
    hand = Hand([step("a"), step("bad", on_failure="stop"), step("next", "bad"), step("queued")], 2)
    assert hand.start() == ["bad", "a"]
    calls = [step("x", on_failure="stop"), step("y", retry=RETRY), step("z")]
    hand.scheduler.add(calls, at(1), parent="a")
    hand.scheduler.block(hand.live["a"], at(1))
    assert hand.start(1) == ["a/1"]
    hand.end("a/1", 2, "failed")
    assert hand.status("queued") == "ready"
    assert hand.start(2) == ["a/2"]
    hand.end("a/2", 3, "failed")
    hand.end("bad", 3, "failed")
    assert hand.statuses() == {
        "a": "blocked", "bad": "failed", "next": "skipped", "queued": "cancelled",
        "a/1": "failed", "a/2": "backing_off", "a/3": "ready",
    }  # fmt: skip
    assert hand.start(3) == ["a/3"]
    assert hand.start(5) == ["a/2"]


def test_a_mapped_step_ends_with_its_own_items_whatever_calls_end_meanwhile() -> None:
    hand = Hand([step("m", for_each=[1, 2]), step("a"), step("after", "m")])
    assert hand.start() == ["m/1", "m/2", "a"]
    hand.scheduler.add([step("x"), step("y")], at(1), parent="a")
    hand.scheduler.block(hand.live["a"], at(1))
    assert hand.start(1) == ["a/1", "a/2"]
    assert hand.turn(2, "a/1", "m/1") == []
    assert hand.turn(3, "a/2") == []
    assert (hand.status("a"), hand.status("m")) == ("blocked", "blocked")
    assert hand.turn(4, "m/2") == ["after"]
    assert hand.status("a") == "blocked"


def test_a_mapped_step_that_is_cancelled_was_blocked_until_then() -> None:
    hand = Hand([step("m", for_each=[1, 2]), step("after", "m")])
    hand.start()
    hand.scheduler.cancel(at(2), ["m"])
    assert hand.statuses() == {"m": "cancelled", "after": "cancelled", "m/1": "cancelled", "m/2": "cancelled"}
    mapped = hand.scheduler.attempts[0]
    assert (mapped.step_id, mapped.outcome, mapped.known) == ("m", "cancelled", at(2))
    assert [(interval.start, interval.end) for interval in mapped.blocked] == [(0, at(2))]
    for item in ("m/1", "m/2"):
        hand.scheduler.returned(hand.live[item], at(3))
    assert hand.start(3) == []


# ---------------------------------------------------------------------- gates


@pytest.mark.parametrize("policy", ["levels", "barrier"])
def test_calls_pass_every_barrier_and_end_none_those_of_the_first_step_too(policy: Policy) -> None:
    hand = Hand([step("a"), step("b"), step("c", "a")], policy=policy)
    first = hand.start()
    assert first == (["a", "b"] if policy == "levels" else ["a"])
    hand.scheduler.add([step("x")], at(1), parent="a")
    hand.scheduler.block(hand.live["a"], at(1))
    assert hand.start(1) == ["a/1"]
    assert hand.turn(2, "a/1") == []
    hand.scheduler.unblock(hand.live["a"], at(2))
    assert hand.start(2) == ["a"]
    assert hand.turn(3, "a") == ([] if policy == "levels" else ["b"])
    assert hand.turn(4, "b") == ["c"]


@pytest.mark.parametrize("policy", ["levels", "barrier"])
def test_a_step_that_was_cancelled_behind_a_barrier_does_not_pass_it(policy: Policy) -> None:
    hand = Hand([step("a"), step("b"), step("c", "a"), step("d", "a")], policy=policy)
    hand.start()
    if policy == "barrier":
        hand.turn(1, "a")
    else:
        hand.end("a", 1)
        hand.start(1)
    hand.scheduler.cancel(at(2), ["c"])
    assert hand.turn(3, "b") == ["d"]
    assert hand.status("c") == "cancelled"


def test_behind_its_barrier_a_step_may_still_wait_for_a_state() -> None:
    hand = Hand(
        [step("w", writes=("s",)), step("x"), step("r", "x", reads=("s",))], order={"r": [("w", "s")]}, policy="levels"
    )
    hand.start()
    hand.end("x", 1)
    hand.end("w", 2, "timed_out", abandoned=True)
    assert hand.start(2) == []
    hand.scheduler.returned(hand.live["w"], at(5))
    assert hand.start(5) == ["r"]
    assert hand.waits("r") == [("barrier", 1, 2), ("lock.s", 2, 5)]


def test_a_locked_step_is_in_no_batch_before_the_last_of_its_locks_is_open() -> None:
    steps = [step("a", writes=("s",)), step("b", writes=("t",), parallel_group=1), step("c", reads=("s", "t"))]
    hand = Hand(steps, order={"c": [("a", "s"), ("b", "t")]}, policy="barrier")
    assert hand.start() == ["a"]
    assert hand.turn(1, "a") == ["b"]
    assert hand.turn(2, "b") == ["c"]
    assert hand.waits("c") == [("barrier", 0, 2)]


# ---------------------------------------------------------------------- locks


def test_after_its_locks_a_step_may_still_wait_for_a_slot() -> None:
    steps = [
        step("w", writes=("s",), priority=1),
        step("x", priority=2),
        step("y", priority=1),
        step("r", reads=("s",)),
    ]
    hand = Hand(steps, 2, order={"r": [("w", "s")]})
    assert hand.start() == ["x", "w"]
    assert hand.turn(5, "w") == ["y"]
    assert hand.turn(7, "x") == ["r"]
    assert hand.waits("r") == [("lock.s", 0, 5), ("worker", 5, 7)]


def test_a_step_that_waits_for_two_states_names_the_first_that_is_not_open() -> None:
    steps = [step("a", writes=("s",)), step("b", writes=("t",)), step("c", writes=("s", "t"))]
    hand = Hand(steps, order={"c": [("a", "s"), ("b", "t")]})
    hand.start()
    assert hand.turn(1, "a") == []
    assert hand.turn(3, "b") == ["c"]
    assert hand.waits("c") == [("lock.s", 0, 1), ("lock.t", 1, 3)]


def test_states_pass_through_steps_that_will_not_run_and_stop_at_those_that_may() -> None:
    # Of the three that waited for `a` one is skipped, one cancelled, and one may still run: it keeps its successor.
    steps = [
        step("bad"), step("runs"), step("a"),
        step("skipped", "bad"), step("cancelled", "runs"), step("waits", "runs"),
        step("after_skipped"), step("after_cancelled"), step("after_waits"),
    ]  # fmt: skip
    order = {
        "skipped": [("a", "s")], "cancelled": [("a", "t")], "waits": [("a", "u")],
        "after_skipped": [("skipped", "s")], "after_cancelled": [("cancelled", "t")], "after_waits": [("waits", "u")],
    }  # fmt: skip
    hand = Hand(steps, order=order)
    hand.start()
    hand.end("bad", 1, "failed")
    hand.scheduler.cancel(at(1), ["cancelled"])
    assert hand.start(1) == []
    assert hand.turn(2, "a") == ["after_skipped", "after_cancelled"]
    assert hand.turn(3, "runs") == ["waits"]
    assert hand.turn(4, "waits") == ["after_waits"]


def test_a_state_stays_taken_while_anything_of_its_step_goes_on() -> None:
    hand = Hand([step("a", writes=("s",)), step("b", reads=("s",))], order={"b": [("a", "s")]})
    hand.start()
    hand.scheduler.add([step("x", writes=("s",))], at(1), parent="a")
    assert hand.start(1) == ["a/1"]
    assert hand.end("a", 2, "failed") == "failed"
    assert hand.start(2) == []
    hand.scheduler.returned(hand.live["a/1"], at(4))
    assert hand.start(4) == ["b"]


# ---------------------------------------------------------------------- a whole run, one fact each


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


def test_stop_cancels_what_has_not_started_and_lets_the_rest_end() -> None:
    steps = [
        step("bad", on_failure="stop"),
        step("runs"),
        step("after", "runs"),
        step("backs", retry=TRIPLING),
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

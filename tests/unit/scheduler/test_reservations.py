"""Steps that were overtaken a thousand times: what they reserve, when they start, and what the record says of them."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource, Retry, Step
from executor.scheduler.ready_queue import OVERTAKES_UNTIL_RESERVED, RESERVED_AT_ONCE
from tests.unit.scheduler.overtaking import Overtaken, blocked, chain, step
from tests.unit.scheduling import Hand

NO_JITTER = Retry(max_attempts=3, backoff_seconds=2, jitter="none")
ONE = {"llm": Resource(capacity=1)}
TWO = {"llm": Resource(capacity=2)}

MANY = OVERTAKES_UNTIL_RESERVED
MIXED = {"llm": Resource(capacity=2), "api": Resource(rate_per_minute=60, burst=2)}


@pytest.mark.parametrize("needs", [{"llm": 1}, {"api": 1}])
@pytest.mark.parametrize("overtakes", [MANY - 1, MANY])
def test_what_a_reserved_step_needs_counts_as_in_use_for_those_behind_it(needs: dict[str, int], overtakes: int) -> None:
    # `holder` has a unit that `big` lacks. What `small` needs is free.
    steps = [step("holder", needs={"llm": 1, "api": 1}, priority=10), step("big", needs={"llm": 2, "api": 1}), *chain()]
    hand = Overtaken([*steps, step("small", f"c{overtakes - 1}", needs=needs)], slots=3, resources=MIXED)
    assert hand.start() == ["holder", "c0"]
    hand.go_on(overtakes - 1)
    if overtakes < MANY:
        assert hand.go_on() == [f"c{overtakes}", "small"]
        return
    assert hand.go_on() == [f"c{overtakes}"]
    assert hand.then("holder") == ["big"]
    assert hand.waits_for("big") == [("resource.llm", 0, hand.now)]


def test_what_the_step_needs_that_reserved_first_counts_for_the_second() -> None:
    steps = [
        step("holder", needs={"llm": 1}, priority=10),
        step("big", needs={"llm": 2}),
        step("small", needs={"llm": 1}),
    ]
    hand = Overtaken([*steps, *chain()], slots=2, resources=TWO)
    assert hand.start() == ["holder", "c0"]
    hand.go_on(MANY)
    hand.scheduler.resize(hand.now, slots=3)
    assert hand.then() == []
    assert hand.then("holder") == ["big"]
    assert hand.then("big") == ["small"]
    assert [reason for reason, _, _ in hand.waits_for("small")] == ["worker", "resource.llm"]


def test_a_reserved_step_waits_for_a_slot_like_all_others() -> None:
    steps = [step("holder", needs={"llm": 1}, priority=10), step("big", needs={"llm": 1}), *chain()]
    hand = Overtaken(steps, slots=2, resources=ONE)
    hand.start()
    hand.go_on(MANY)
    hand.scheduler.resize(hand.now, slots=1)
    assert hand.then("holder") == []
    free_at = hand.now
    assert hand.scheduler.waits_for(1) == "worker"
    assert hand.go_on() == ["big"]
    assert hand.waits_for("big") == [("resource.llm", 0, free_at), ("worker", free_at, hand.now)]


def test_reserved_steps_start_together_where_they_can() -> None:
    steps = [step("holder", needs={"llm": 2}, priority=10), *(step(name, needs={"llm": 1}) for name in "ab"), step("c")]
    hand = Overtaken([*steps, *chain()], slots=2, resources=TWO)
    hand.start()
    hand.go_on(MANY)
    hand.scheduler.resize(hand.now, slots=5)
    assert hand.then("holder") == ["a", "b", "c"]


def test_reserved_steps_start_in_the_order_of_their_reservations_with_needs_or_without() -> None:
    steps = [step(name, needs={"llm": 1} if name in "bd" else None, priority=-ord(name)) for name in "abcde"]
    hand = Overtaken([*steps, *chain()], slots=1, resources=ONE)
    hand.start()
    hand.go_on(MANY)
    assert hand.go_on() == ["a"]
    assert [hand.then(name) for name in "abcd"] == [["b"], ["c"], ["d"], ["e"]]


@pytest.mark.parametrize("needs", [None, {"llm": 1}])
def test_no_more_than_sixteen_steps_reserve_at_once_and_the_next_one_follows_the_first_that_starts(
    needs: dict[str, int] | None,
) -> None:
    count = RESERVED_AT_ONCE + 2
    steps = [step(f"s{n:02}", needs=needs) for n in range(count)]
    # Of all that wait the last is the most urgent, but for the chain.
    steps[-1] = step(steps[-1].step_id, needs=needs, priority=1)
    hand = Overtaken([*steps, *chain()], slots=1, resources=ONE)
    hand.start()
    hand.go_on(MANY)
    reserved = hand.scheduler._queue.reserved
    assert list(reserved) == list(range(RESERVED_AT_ONCE))
    assert hand.go_on() == ["s00"]
    assert list(reserved) == list(range(1, RESERVED_AT_ONCE + 1))
    hand.scheduler.cancel(hand.now, ["s01"])
    assert hand.then("s00") == ["s02"]
    # Both are reserved now: they start in the order of their reservations, whatever their priorities are.
    assert list(reserved) == list(range(3, count))


def test_while_sixteen_steps_have_reserved_the_others_start_in_the_order_of_starts() -> None:
    held = [step(f"s{n:02}", needs={"llm": 1}) for n in range(RESERVED_AT_ONCE)]
    free = [step("low", priority=-2), step("high", priority=-1)]
    holder = step("holder", needs={"llm": 1}, priority=10)
    hand = Overtaken([holder, *held, *free, *chain()], slots=2, resources=ONE)
    hand.start()
    hand.go_on(MANY)
    assert hand.go_on() == [f"c{MANY + 1}"]
    hand.scheduler.resize(hand.now, slots=3)
    assert hand.then() == ["high"]
    assert hand.then("high") == ["low"]


def test_a_reserved_step_that_waits_for_a_rate_wakes_the_run_and_a_cancelled_one_does_not() -> None:
    steps = [step("first", needs={"api": 1}, priority=10), step("low", needs={"api": 1}), *chain()]
    hand = Overtaken(steps, slots=2, resources={"api": Resource(rate_per_minute=60)})
    hand.start()
    hand.go_on(MANY + 1)
    assert hand.wake_at() == 1
    hand.scheduler.cancel(hand.now, ["low"])
    assert hand.then("first") == []
    assert hand.wake_at() is None


def test_a_reserved_step_remembers_the_locks_that_it_waited_for() -> None:
    steps = [step("w", writes=("s",), priority=10), step("r", reads=("s",), needs={"llm": 1})]
    steps += [step("holder", needs={"llm": 1}, priority=10), *chain()]
    hand = Overtaken(steps, slots=3, resources=ONE, order={"r": [("w", "s")]})
    hand.start()
    hand.go_on(5)
    hand.then("w")
    lock_until = hand.now
    hand.go_on(MANY)
    assert hand.then("holder") == ["r"]
    assert hand.waits_for("r") == [("lock.s", 0, lock_until), ("resource.llm", lock_until, hand.now)]


def test_a_reserved_step_that_failed_stands_in_the_queue_again_without_its_reservation() -> None:
    steps = [step("low", priority=-1, retry=NO_JITTER), *chain()]
    hand = Overtaken(steps, slots=1)
    hand.start()
    hand.go_on(MANY)
    assert hand.go_on() == ["low"]
    hand.end("low", hand.now * 1e-9, "failed")
    assert hand.start(hand.now * 1e-9) == [f"c{MANY + 1}"]
    hand.now = 3_000_000_000
    assert hand.go_on() == [f"c{MANY + 2}"]


def caller_and_taker(*others: Step) -> Overtaken:
    """`caller` held both units, let go of them to make calls, and wants them back: `taker` has one meanwhile."""
    steps = [step("caller", needs={"llm": 2, "api": 1}, priority=10), step("taker", needs={"llm": 1}, priority=1)]
    hand = Overtaken([*steps, *others, *chain()], slots=3, resources=MIXED)
    assert hand.start() == ["caller", "c0"]
    hand.scheduler.block(hand.live["caller"], 1)
    assert hand.then() == ["taker"]
    hand.scheduler.unblock(hand.live["caller"], 2)
    assert hand.go_on() == ["c1"]
    return hand


def test_a_resuming_step_that_was_not_yet_overtaken_too_often_reserves_nothing() -> None:
    hand = caller_and_taker(step("small", f"c{MANY - 1}", needs={"llm": 1}))
    hand.go_on(MANY - 2)
    assert hand.go_on() == [f"c{MANY}", "small"]


def test_a_resuming_step_that_was_overtaken_too_often_reserves_units_and_whoever_came_with_it_too() -> None:
    hand = caller_and_taker(
        step("late", "c0", needs={"llm": 2}), step("small", f"c{MANY}", needs={"llm": 1}, priority=5)
    )
    hand.go_on(MANY - 1)
    assert hand.go_on() == [f"c{MANY + 1}"]
    assert hand.then("taker") == ["caller"]
    assert hand.waits_for("caller") == [("resource.llm", 2, hand.now)]
    assert hand.then("caller") == ["late"]
    assert hand.then("late") == ["small"]


def test_a_resuming_step_reserves_no_rate_since_it_is_charged_none() -> None:
    hand = caller_and_taker(step("small", f"c{MANY}", needs={"api": 1}))
    hand.go_on(MANY - 1)
    assert hand.go_on() == [f"c{MANY + 1}", "small"]


@pytest.mark.parametrize("handed_out", [False, True])
def test_a_resuming_step_reserves_its_units_whatever_is_overdue_before_it(handed_out: bool) -> None:
    # Overdue at once: sixteen steps that reserve, then `handed` or `first`, and `caller` last. `third` came later.
    low = [step(f"low{n:02}", priority=-1) for n in range(RESERVED_AT_ONCE)]
    handed = [step("handed", priority=5)] if handed_out else []
    first = step("first", needs={"other": 1}, priority=10)
    callers = [first, step("caller", needs={"llm": 2}, priority=10), step("third", needs={"llm": 1}, priority=10)]
    holders = [
        step("a", "c0", needs={"llm": 2}),
        step("b", "c0", needs={"llm": 1}),
        step("d", "c0", needs={"other": 1}),
    ]
    resources = {"llm": Resource(capacity=3), "other": Resource(capacity=1)}
    hand = Overtaken([*low, *handed, *callers, *holders, *chain()], slots=4, resources=resources)
    assert hand.start() == ["first", "caller", "third", "c0"]
    assert len(hand.scheduler.hand_out(1, lambda _: handed_out)) == len(handed)
    for caller in callers:
        hand.scheduler.block(hand.live[caller.step_id], 0)
    assert hand.turn(0, "c0") == ["c1", "a", "b", "d"]
    hand.place = 1
    hand.scheduler.unblock(hand.live["first"], 0)
    hand.scheduler.unblock(hand.live["caller"], 0)
    hand.go_on(5)
    hand.scheduler.unblock(hand.live["third"], hand.now)
    hand.go_on(MANY - 5)
    assert list(hand.scheduler._queue.reserved) == list(range(RESERVED_AT_ONCE))
    # One of the sixteen is gone: who is overdue besides is looked at, and what `caller` lacks is not for `third`.
    hand.scheduler.cancel(hand.now, ["low00"])
    assert hand.then("b") == ["low01"]
    assert hand.then("a") == ["caller"]


def test_the_reservation_of_a_resuming_step_ends_when_it_resumes() -> None:
    hand = caller_and_taker(step("small", f"c{MANY}", needs={"llm": 1}))
    hand.go_on(MANY)
    assert hand.then("taker") == ["caller"]
    hand.scheduler.block(hand.live["caller"], hand.now)
    assert hand.then() == ["small"]
    hand.scheduler.unblock(hand.live["caller"], hand.now)
    hand.scheduler.add([step("other", needs={"llm": 1})], hand.now)
    assert hand.then() == ["other"]


def test_a_step_that_has_resumed_is_overtaken_no_more() -> None:
    hand = Overtaken([step("caller", priority=10), *chain()], slots=2)
    hand.start()
    blocked(hand, "caller", 1e-9, 2e-9)
    hand.now = 3
    assert hand.then() == ["caller"]
    hand.go_on(MANY + 5)
    assert hand.status("caller") == "running"


def test_a_step_that_resumes_overtakes_those_that_were_queued_before() -> None:
    # `caller` resumes as the last of a thousand that overtake `big`, which reserves both units at once.
    steps = [step("holder", needs={"llm": 1}, priority=11), step("caller", priority=10), step("big", needs={"llm": 2})]
    hand = Overtaken([*steps, *chain()], slots=3, resources=TWO)
    assert hand.start() == ["holder", "caller", "c0"]
    hand.go_on(MANY - 1)
    blocked(hand, "caller", hand.now * 1e-9, (hand.now + 1) * 1e-9)
    hand.scheduler.add([step("small", needs={"llm": 1})], hand.now + 1)
    assert hand.then() == ["caller"]
    assert hand.scheduler.waits_for(hand.scheduler.index["small"]) == "resource.llm"


# ---------------------------------------------------------------------- how often a step is overtaken


def test_a_step_that_is_overtaken_a_thousand_times_reserves_what_it_needs() -> None:
    # `big` needs both units; small steps of higher rank come again and again and would always find one free.
    small = [step(f"s{i}", *([f"s{i - 2}"] if i >= 2 else []), needs={"llm": 1}, priority=1) for i in range(2400)]
    hand = Hand([step("big", needs={"llm": 2}), *small], resources=TWO)
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

"""What is handed out ahead of its grant, when that counts as granted, and where it is in the record."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest

from executor.dependencies import plan
from executor.model.workflow import Resource, Retry, Step, Workflow
from executor.record.timeline import Wait
from executor.scheduler import Policy, Scheduler
from executor.scheduler.ready_queue import OVERTAKES_UNTIL_RESERVED
from tests.unit.scheduler.overtaking import Overtaken, chain
from tests.unit.scheduling import Hand, at, step

MANY = OVERTAKES_UNTIL_RESERVED


def hand_out(hand: Hand, most: int = 9, fits: Callable[[int], bool] = lambda _: True) -> list[str]:
    handed = [hand.scheduler.step_ids[index] for index in hand.scheduler.hand_out(most, fits)]
    hand.scheduler.validate()
    return handed


def go_on_to(hand: Hand, step_id: str, at: int) -> int | None:
    """A worker went on to the step; when it was granted."""
    attempt = hand.scheduler.start_handed_out(hand.scheduler.index[step_id], at)
    if attempt is None:
        return None
    hand.live[step_id] = attempt
    return attempt.granted


def granted(hand: Hand) -> list[tuple[str, int]]:
    return [(attempt.step_id, attempt.granted) for attempt in hand.scheduler.attempts]


# ---------------------------------------------------------------------- what is handed out


def test_as_many_are_handed_out_as_asked_for_in_the_order_of_starts() -> None:
    hand = Hand([step(name, priority=place) for place, name in enumerate("edcba")], slots=1)
    assert hand.start() == ["a"]
    assert hand_out(hand, 0) == []
    assert hand_out(hand, 2) == ["b", "c"]
    assert hand_out(hand) == ["d", "e"]
    assert hand_out(hand) == []


def test_who_was_cancelled_in_the_queue_is_not_handed_out_and_hides_nobody() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=1)
    hand.start()
    hand.scheduler.cancel(1, ["b"])
    assert hand_out(hand, 1) == ["c"]
    assert hand_out(hand) == ["d"]


def test_a_second_attempt_is_not_handed_out_nor_is_anybody_behind_it() -> None:
    hand = Hand([step("a", retry=Retry(backoff_seconds=0), priority=1), step("b"), step("c")], slots=1)
    hand.start()
    hand.end("a", 0, "failed")
    hand.scheduler.resize(0, slots=0)
    hand.start()
    assert hand_out(hand) == []


@pytest.mark.parametrize("waits_for", ["a resource", "its own calls", "a slot to resume"])
def test_nothing_is_handed_out_while_anything_waits_for_more_than_a_slot(waits_for: str) -> None:
    needs = {"llm": 1} if waits_for == "a resource" else None
    steps = [step("a", needs=needs), step("b", needs=needs), step("c", priority=1), step("d"), step("e")]
    hand = Hand(steps, slots=2, resources={"llm": Resource(capacity=1)})
    assert hand.start() == ["c", "a"]
    if waits_for != "a resource":
        hand.scheduler.add([step("x")], 1, parent="a")
        hand.scheduler.block(hand.live["a"], 1)
        assert hand.start(1e-9) == ["a/1"]
    if waits_for == "a slot to resume":
        hand.end("a/1", 2e-9)
        hand.scheduler.resize(2, slots=1)
        hand.scheduler.unblock(hand.live["a"], 2)
        hand.start(2e-9)
    assert hand_out(hand) == []
    assert hand.status("d") == "ready"


def test_nothing_is_handed_out_while_somebody_has_reserved() -> None:
    hand = Overtaken([step("low"), *chain(), step("other", f"c{MANY}", priority=1)], slots=1)
    hand.start()
    hand.go_on(MANY)
    assert hand_out(hand) == []
    assert hand.go_on() == ["low"]
    assert hand_out(hand, 1) == [f"c{MANY + 1}"]


def limited(hand: Hand, most: int = 9, holders: int = 2) -> list[str]:
    """What is handed out where so many attempts hold limits at once at most."""
    handed = [hand.scheduler.step_ids[index] for index in hand.scheduler.hand_out(most, lambda _: True, holders)]
    hand.scheduler.validate()
    return handed


def test_steps_whose_limit_is_never_full_are_handed_out_in_the_order_of_starts() -> None:
    needs = [{"llm": 1}, None, {"llm": 1}, {"gpu": 1, "llm": 1}, None, {"gpu": 1, "llm": 1}]
    steps = [step(name, priority=9 - n, needs=each) for n, (name, each) in enumerate(zip("abcdef", needs, strict=True))]
    hand = Hand(steps, slots=2, resources={"llm": Resource(capacity=6), "gpu": Resource(capacity=5)})
    assert hand.start() == ["a", "b"]
    assert limited(hand) == ["c", "d", "e"]
    hand.end("a", 1)
    assert go_on_to(hand, "c", at(1)) == at(1)
    hand.end("b", 1)
    assert go_on_to(hand, "d", at(1)) == at(1)
    assert limited(hand) == ["f"]
    assert hand.start(1) == []


@pytest.mark.parametrize(
    ("resource", "larger"),
    [
        ({"capacity": 2}, 1),
        ({"capacity": 5}, 2),
        ({"capacity": 4, "rate_per_minute": 9}, 1),
        ({"auto": {"initial": 4}}, 1),
        ({"devices": 4}, 1),
    ],
    ids=["no more than slots", "another step takes more", "a rate", "found out", "devices"],
)
def test_nothing_is_handed_out_while_a_step_waits_whose_limit_may_be_full(
    resource: dict[str, object], larger: int
) -> None:
    steps = [
        step("a", priority=1),
        step("b", priority=1),
        step("c", needs={"llm": 1}),
        step("d", needs={"llm": larger}),
    ]
    hand = Hand(steps, slots=2, resources={"llm": Resource.model_validate(resource)})
    assert hand.start() == ["a", "b"]
    assert limited(hand) == []


def test_nothing_with_a_limit_is_handed_out_while_an_abandoned_call_keeps_its_own() -> None:
    steps = [step(name, needs={"llm": 1}) for name in "abc"]
    hand = Hand(steps, slots=1, resources={"llm": Resource(capacity=9)})
    hand.start()
    hand.end("a", 1, "timed_out", abandoned=True)
    assert hand.start(1) == ["b"]
    assert limited(hand) == []
    hand.scheduler.returned(hand.live["a"], at(2))
    assert limited(hand) == ["c"]


def test_a_step_with_a_limit_waited_for_a_worker_all_the_time_in_which_it_was_handed_out() -> None:
    steps = [
        step("a", priority=1),
        step("b", needs={"llm": 1}),
        step("c", needs={"llm": 1}),
        step("d", "a", needs={"llm": 1}),
    ]
    hand = Hand(steps, slots=1, resources={"llm": Resource(capacity=9)})
    hand.start()
    assert limited(hand, 2) == ["b", "c"]
    # None of them waits here: their line ends, and another begins for `d`.
    assert hand.start(1) == []
    hand.end("a", 2)
    assert go_on_to(hand, "b", at(2)) == at(2)
    assert hand.start(2) == []
    hand.scheduler.take_back(hand.scheduler.index["c"])
    assert hand.turn(3, "b") == ["c"]
    assert hand.turn(4, "c") == ["d"]
    assert [hand.waits(name) for name in "bcd"] == [[("worker", 0, 2)], [("worker", 0, 3)], [("worker", 2, 4)]]


def caller_of(hand: Hand, name: str, *calls: str) -> None:
    """A running step makes calls and waits for them."""
    now = hand.scheduler.attempts[-1].granted + 1
    hand.scheduler.add([step(call) for call in calls], now, parent=name)
    hand.scheduler.block(hand.live[name], now)
    hand.start(now * 1e-9)


def test_while_a_step_waits_for_its_calls_those_alone_are_handed_out() -> None:
    hand = Hand([step("first"), step("other")], slots=1)
    hand.start()
    caller_of(hand, "first", "x", "y", "z")
    assert hand_out(hand, 1) == ["first/2"]
    assert hand_out(hand) == ["first/3"]
    assert hand.status("other") == "ready"


def test_of_callers_within_each_other_the_innermost_is_waited_for() -> None:
    hand = Hand([step("first"), step("other")], slots=1)
    hand.start()
    caller_of(hand, "first", "x", "y")
    caller_of(hand, "first/1", "x", "y")
    assert hand_out(hand) == ["first/1/2"]


def test_nothing_is_handed_out_while_two_steps_wait_for_their_calls_side_by_side() -> None:
    hand = Hand([step("first"), step("second"), step("other")], slots=2)
    hand.start()
    caller_of(hand, "first", "x", "y")
    caller_of(hand, "second", "x", "y", "z")
    assert hand_out(hand) == []


# ---------------------------------------------------------------------- taking back


def test_who_was_not_handed_out_cannot_be_taken_back() -> None:
    hand = Hand([step("a"), step("b"), step("c")], slots=1)
    hand.start()
    for index in range(3):
        hand.scheduler.take_back(index)
    hand.scheduler.validate()
    assert hand.turn(1, "a") == ["b"]
    assert hand.turn(2, "b") == ["c"]


def test_who_is_taken_back_can_be_handed_out_again_in_its_turn() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=1)
    hand.start()
    assert hand_out(hand, 2) == ["b", "c"]
    hand.scheduler.take_back(1)
    assert hand_out(hand, 2) == ["b", "d"]


def test_who_was_overtaken_a_thousand_times_while_it_was_handed_out_reserves_when_it_is_taken_back() -> None:
    hand = Overtaken([step("handed"), step("other"), *chain()], slots=1)
    hand.start()
    assert hand_out(hand, 1) == ["handed"]
    hand.go_on(MANY)
    assert hand.go_on() == ["other"]
    hand.scheduler.take_back(0)
    hand.scheduler.validate()
    assert hand.scheduler.waits_for(0) == "worker"
    assert hand.then("other") == ["handed"]
    assert hand.waits_for("handed") == [("worker", 0, hand.now)]


# ---------------------------------------------------------------------- when it counts as granted


def test_it_is_granted_when_the_worker_was_free_or_else_when_it_could_start() -> None:
    steps = [step("a"), step("b"), step("c", "a"), step("d", "a"), step("w", writes=("s",)), step("r", reads=("s",))]
    hand = Hand(steps, slots=3, order={"r": [("w", "s")]})
    hand.start()
    hand.end("a", 10e-9)
    hand.end("w", 20e-9)
    assert hand_out(hand) == ["c", "d", "r"]
    assert go_on_to(hand, "c", 15) == 15
    assert go_on_to(hand, "d", 7) == 10
    # It was unknown that its worker was free at 18; until 20 it could not have run.
    assert go_on_to(hand, "r", 18) == 20
    assert hand.waits("r") == [("lock.s", 0, 20e-9)]


def test_who_was_taken_back_or_has_started_does_not_start_ahead() -> None:
    hand = Hand([step("a"), step("b"), step("c")], slots=1)
    hand.start()
    hand_out(hand)
    hand.scheduler.take_back(1)
    assert [go_on_to(hand, name, 5) for name in "ab"] == [None, None]
    hand.end("a", 6e-9)
    assert go_on_to(hand, "c", 5) == 5
    assert go_on_to(hand, "c", 5) is None


# ---------------------------------------------------------------------- the order of the record


@pytest.mark.parametrize(("at", "place"), [(5, 0), (10, 1), (15, 1), (20, 2), (25, 2), (30, 3), (35, 3)], ids=str)
def test_attempts_stand_in_order_of_grant_and_of_start_where_that_is_the_same(at: int, place: int) -> None:
    hand = Hand([step(name) for name in "abcd"], slots=1)
    hand.start(10e-9)
    hand.turn(20e-9, "a")
    hand.turn(30e-9, "b")
    hand_out(hand)
    hand.end("c", 40e-9)
    assert go_on_to(hand, "d", at) == at
    in_order = [("a", 10), ("b", 20), ("c", 30)]
    in_order.insert(place, ("d", at))
    assert granted(hand) == in_order


def test_an_attempt_that_goes_to_another_worker_moves_to_where_it_is_granted_again() -> None:
    hand = Hand([step(name) for name in "abcd"], slots=3)
    hand.start()
    hand_out(hand)
    hand.end("c", 50e-9)
    assert go_on_to(hand, "d", 40) == 40
    hand.scheduler.regrant(hand.live["a"], 60)
    hand.scheduler.regrant(hand.live["d"], 70)
    assert granted(hand) == [("b", 0), ("c", 0), ("a", 60), ("d", 70)]
    assert hand.waits("a") == [("worker", 0, 60e-9)]
    assert hand.waits("d") == [("worker", 0, 40e-9), ("worker", 40e-9, 70e-9)]
    hand.scheduler.validate()


def test_an_attempt_that_is_granted_again_stands_before_one_that_is_granted_later() -> None:
    hand = Hand([step("a"), step("b"), step("c")], slots=2)
    hand.start()
    hand_out(hand)
    hand.end("b", 10e-9)
    assert go_on_to(hand, "c", 90) == 90
    hand.scheduler.regrant(hand.live["a"], 30)
    assert granted(hand) == [("b", 0), ("a", 30), ("c", 90)]


def test_an_attempt_that_has_ended_is_not_granted_again() -> None:
    hand = Hand([step("a"), step("b")])
    hand.start()
    hand.end("a", 10e-9)
    hand.scheduler.regrant(hand.live["a"], 20)
    assert granted(hand) == [("a", 0), ("b", 0)]
    assert hand.waits("a") == []


def test_an_attempt_is_granted_again_when_it_was_although_more_is_known_by_then() -> None:
    hand = Hand([step("a"), step("b")])
    hand.start()
    hand.end("b", 30e-9)
    hand.scheduler.regrant(hand.live["a"], 20)
    assert granted(hand) == [("b", 0), ("a", 20)]
    assert hand.waits("a") == [("worker", 0, 20e-9)]


def test_whether_anything_could_be_handed_out_is_told_beforehand() -> None:
    hand = Hand([step("a"), step("b")], slots=1)
    hand.start()
    assert (hand.scheduler.may_hand_out, hand.scheduler.has_handed_out) == (True, False)
    assert hand_out(hand) == ["b"]
    assert (hand.scheduler.may_hand_out, hand.scheduler.has_handed_out) == (False, True)
    hand.scheduler.take_back(hand.scheduler.index["b"])
    assert (hand.scheduler.may_hand_out, hand.scheduler.has_handed_out) == (True, False)


# ---------------------------------------------------------------------- where a step made calls


def test_a_call_that_was_handed_out_starts_with_its_parent_and_what_released_it() -> None:
    hand = Hand([step("a"), step("b")], slots=1)
    hand.start()
    caller_of(hand, "a", "1", "2", "3")
    hand.start(1)
    assert hand_out(hand) == ["a/2", "a/3"]
    hand.end("a/1", 2)
    assert go_on_to(hand, "a/2", at(2)) == at(2)
    assert (hand.live["a/2"].parent, hand.live["a/2"].released_by) == ("a", "a")
    assert hand.start(2) == []


def test_when_no_step_waits_any_more_those_of_the_file_are_handed_out_again() -> None:
    hand = Hand([step("a"), step("b"), step("c")], slots=1)
    hand.start()
    caller_of(hand, "a", "1")
    hand.start(1)
    hand.end("a/1", 2)
    hand.scheduler.unblock(hand.live["a"], at(2))
    assert hand.start(2) == ["a"]
    assert hand_out(hand) == ["b", "c"]


def test_a_call_that_is_cancelled_where_it_waits_never_starts() -> None:
    hand = Hand([step("a")], slots=1)
    hand.start()
    caller_of(hand, "a", "1", "2")
    hand.start(1)
    assert hand_out(hand) == ["a/2"]
    hand.end("a", 2, "failed")
    assert go_on_to(hand, "a/2", at(2)) is None
    hand.scheduler.validate()


# ---------------------------------------------------------------------- from handing out to the end of a run


def scheduler_of(
    *steps: Step, slots: int = 1, policy: Policy = "dataflow", resources: Mapping[str, Resource] | None = None
) -> Scheduler:
    graph = plan(Workflow(steps=steps), resources=resources or {}).graph
    assert graph is not None
    scheduler = Scheduler(slots, policy=policy, resources=resources)
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
@pytest.mark.parametrize("with_limits", [False, True])
def test_any_order_of_handing_out_and_taking_back_runs_every_step_once(seed: int, with_limits: bool) -> None:
    draw = random.Random(seed)
    needs: list[dict[str, float]] = [{"r": 2}, {"r": 1, "s": 1}, {}, {"s": 1}] if with_limits else [{}]
    steps = [
        Step(
            step_id=f"s{n}",
            tool="noop",
            depends_on=tuple({f"s{draw.randrange(n)}" for _ in range(2)}) if n > 4 else (),
            needs=draw.choice(needs),
        )
        for n in range(60)
    ]
    slots = draw.randint(1, 4)
    resources = {"r": Resource(capacity=2 * slots + 6), "s": Resource(capacity=slots + 3)}
    scheduler = scheduler_of(*steps, slots=slots, resources=resources)
    running = scheduler.start(0)
    handed: list[int] = []
    now = 0
    while not scheduler.done:
        now += draw.randint(0, 3)
        action = draw.randrange(3)
        if action == 0:
            handed += scheduler.hand_out(draw.randint(1, 5), lambda _: True, slots + len(handed))
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
    waits = {attempt.index: [(wait.reason, wait.start, wait.end) for wait in attempt.waits] for attempt in attempts}
    assert waits == {
        attempt.index: [("worker", attempt.ready, attempt.granted)] if attempt.ready < attempt.granted else []
        for attempt in attempts
    }


# ---------------------------------------------------------------------- a grant that was at another time


def moved(to: int) -> tuple[Hand, list[Wait]]:
    """``b`` waits for the one slot and gets it at 1 s; then it turns out that it was granted ``to``."""
    hand = Hand([step("a"), step("b")], slots=1)
    hand.start()
    hand.turn(1.0, "a")
    attempt = hand.live["b"]
    hand.scheduler.move_grant(attempt, to)
    hand.scheduler.validate()
    assert attempt.granted == to
    return hand, list(attempt.waits)


def test_a_grant_that_was_later_makes_the_wait_for_a_worker_longer() -> None:
    hand, waits = moved(at(1.5))
    assert [(wait.reason, wait.end) for wait in waits][-1] == ("worker", at(1.5))
    assert sum(wait.end - wait.start for wait in waits) == at(1.5)
    assert granted(hand) == [("a", 0), ("b", at(1.5))]


def test_a_grant_that_was_earlier_makes_it_shorter() -> None:
    _, waits = moved(at(0.25))
    assert [(wait.reason, wait.start, wait.end) for wait in waits] == [("worker", 0, at(0.25))]


def test_a_grant_at_the_instant_when_a_wait_began_leaves_no_wait() -> None:
    _, waits = moved(0)
    assert waits == []


def test_an_attempt_that_did_not_wait_has_waited_for_a_worker_where_it_was_granted_later() -> None:
    hand = Hand([step("a")])
    hand.start()
    hand.scheduler.move_grant(hand.live["a"], at(0.5))
    assert [(wait.reason, wait.start, wait.end) for wait in hand.live["a"].waits] == [("worker", 0, at(0.5))]

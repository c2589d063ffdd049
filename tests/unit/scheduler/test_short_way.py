"""The short way does what `finish` and `start` do, or says that it is not for the case and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from executor.model.workflow import Resource, Retry, Step
from executor.record.timeline import Attempt
from executor.scheduler.ready_queue import OVERTAKES_UNTIL_RESERVED
from tests.unit.scheduler.overtaking import Overtaken, chain, step
from tests.unit.scheduling import Hand

MANY = OVERTAKES_UNTIL_RESERVED


def succeed(hand: Hand, step_id: str, now: int) -> list[str] | None:
    """End a step the short way; what starts."""
    starts = hand.scheduler.succeed(hand.live[step_id], now)
    hand.scheduler.validate()
    hand.live.update((attempt.step_id, attempt) for attempt in starts or ())
    return None if starts is None else [attempt.step_id for attempt in starts]


def facts(attempts: Sequence[Attempt]) -> list[object]:
    """What the record says of each attempt."""
    return [
        (a.step_id, a.attempt, a.ready, a.granted, a.known, a.outcome, a.released_by, a.parent, list(a.waits))
        for a in attempts
    ]


# ---------------------------------------------------------------------- what it is not for


RATES = {
    "rate": Resource(rate_per_minute=60),
    "tokens": Resource(tokens_per_minute=60),
    "auto": Resource.model_validate({"capacity": "auto"}),
}


@pytest.mark.parametrize(
    "fields",
    [*({"needs": {name: 1}} for name in RATES), {"retry": Retry()}, {"for_each": [1]}],
    ids=[*RATES, "retry", "for_each"],
)
def test_it_is_taken_until_something_is_not_plain(fields: dict[str, object]) -> None:
    hand = Hand([step("a"), step("b"), step("c", **fields)], resources=RATES)
    hand.start()
    if "retry" in fields:
        assert succeed(hand, "a", 1) == []
        hand.end("c", 2e-9, "failed")
    before = facts(hand.scheduler.attempts)
    assert succeed(hand, "b", 3) is None
    assert facts(hand.scheduler.attempts) == before
    assert hand.end("b", 4e-9) == "succeeded"


@pytest.mark.parametrize("fields", [{"needs": {"llm": 1}}, {"when": "yes"}], ids=["capacity", "when"])
def test_it_is_taken_where_steps_have_conditions_or_capacities(fields: dict[str, object]) -> None:
    steps = [step("a", **fields), step("b", "a", **fields), step("c", "a", **fields)]
    hand = Hand(steps, resources={"llm": Resource(capacity=1)}, condition=lambda _: True)
    hand.start()
    started = ["b"] if "needs" in fields else ["b", "c"]
    assert succeed(hand, "a", 1) == started
    assert succeed(hand, "b", 2) == (["c"] if "needs" in fields else [])
    waits = [("resource.llm", 1, 2)] if "needs" in fields else []
    assert [tuple(wait) for wait in hand.live["c"].waits] == waits


def test_once_a_condition_has_failed_it_is_taken_no_more() -> None:
    def condition(index: int) -> bool:
        raise ValueError(f"step {index} cannot be decided")

    hand = Hand([step("a"), step("b"), step("c", "a", when="x"), step("d", "c")], condition=condition)
    hand.start()
    assert succeed(hand, "a", 1) == []
    assert [hand.scheduler.status(index) for index in (2, 3)] == ["failed", "skipped"]
    assert succeed(hand, "b", 2) is None


def test_a_call_with_a_condition_ends_it() -> None:
    hand = Hand([step("a"), step("b")], condition=lambda _: True)
    hand.start()
    hand.add(step("x", when="yes"), parent="a")
    assert succeed(hand, "b", 1) is None


def test_an_attempt_that_has_ended_cannot_end_again() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a")], slots=2)
    hand.start()
    assert succeed(hand, "a", 1) == ["c"]
    before = facts(hand.scheduler.attempts)
    assert succeed(hand, "a", 2) is None
    assert facts(hand.scheduler.attempts) == before


def test_it_is_not_for_steps_that_made_calls_nor_while_one_of_them_resumes() -> None:
    hand = Hand([step("caller"), step("other"), step("third")], slots=2)
    hand.start()
    hand.scheduler.add([step("x"), step("y"), step("z")], 1, parent="caller")
    assert succeed(hand, "caller", 1) is None
    hand.scheduler.block(hand.live["caller"], 1)
    assert hand.start(1e-9) == ["caller/1"]
    assert succeed(hand, "caller", 2) is None
    assert succeed(hand, "caller/1", 2) == ["caller/2"]
    hand.scheduler.unblock(hand.live["caller"], 3)
    assert succeed(hand, "caller", 3) is None
    assert succeed(hand, "other", 3) is None
    assert hand.turn(3e-9, "other") == ["caller"]
    assert succeed(hand, "caller/2", 4) == ["caller/3"]
    assert succeed(hand, "caller", 5) is None
    assert [hand.live[f"caller/{n}"].parent for n in (1, 2, 3)] == ["caller"] * 3


def test_a_step_that_waits_without_ever_having_made_a_call_is_not_for_it() -> None:
    hand = Hand([step("a"), step("b")], slots=1)
    hand.start()
    hand.scheduler.block(hand.live["a"], 1)
    assert hand.start(1e-9) == ["b"]
    assert succeed(hand, "a", 2) is None
    hand.scheduler.unblock(hand.live["a"], 2)
    assert succeed(hand, "b", 3) is None
    assert hand.turn(3e-9, "b") == ["a"]


# ---------------------------------------------------------------------- what it does


def test_the_record_is_the_same() -> None:
    steps = [step("a"), step("b", "a"), step("c", "a", "e"), step("d", "b"), step("e", priority=1), step("f", "a")]
    order = ["e", "a", "b", "c", "f", "d"]
    short, general = Hand(steps, slots=2), Hand(steps, slots=2)
    assert short.start() == general.start() == ["e", "a"]
    for now, name in enumerate(order, 1):
        assert succeed(short, name, now) == general.turn(now * 1e-9, name)
    assert short.scheduler.done
    assert facts(short.scheduler.attempts) == facts(general.scheduler.attempts)
    assert {a.step_id: a.released_by for a in short.scheduler.attempts} == {
        "a": None, "b": "a", "c": "a", "d": "b", "e": None, "f": "a",
    }  # fmt: skip


def test_a_child_that_waits_for_others_hides_nobody_after_it() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a", "b"), step("d", "a")])
    hand.start()
    assert succeed(hand, "a", 1) == ["d"]
    assert succeed(hand, "b", 2) == ["c"]


def test_time_never_runs_backwards() -> None:
    hand = Hand([step("a"), step("b", "a"), step("c", "b")])
    hand.start(5e-9)
    succeed(hand, "a", 9)
    succeed(hand, "b", 7)
    assert [(a.ready, a.granted, a.known) for a in hand.scheduler.attempts] == [(0, 5, 9), (9, 9, 9), (9, 9, None)]


def test_a_step_that_started_so_and_failed_is_tried_a_second_time() -> None:
    hand = Hand([step("a"), step("b", "a")])
    hand.start()
    succeed(hand, "a", 1)
    assert hand.end("b", 2e-9, "worker_died") == "backing_off"
    assert hand.start(2e-9) == ["b"]
    assert [attempt.attempt for attempt in hand.scheduler.attempts] == [1, 1, 2]


def test_nothing_starts_where_more_runs_than_there_are_slots() -> None:
    hand = Hand([step(name) for name in "abcde"], slots=3)
    assert hand.start() == ["a", "b", "c"]
    hand.scheduler.resize(1, slots=1)
    assert succeed(hand, "a", 1) == []
    assert succeed(hand, "b", 2) == []
    assert succeed(hand, "c", 3) == ["d"]


def test_several_that_end_together_are_final_before_anything_starts() -> None:
    steps = [step("a"), step("b"), step("late", "a"), step("early", "b", priority=1)]
    short, general = Hand(steps, slots=2), Hand(steps, slots=2)
    assert short.start() == general.start() == ["a", "b"]
    starts = short.scheduler.succeed_together([short.live["a"], short.live["b"]], 1)
    short.scheduler.validate()
    assert [attempt.step_id for attempt in starts or ()] == general.turn(1e-9, "a", "b") == ["early", "late"]
    assert facts(short.scheduler.attempts) == facts(general.scheduler.attempts)


def test_of_several_that_end_together_one_may_decide_a_condition_that_fails() -> None:
    def condition(index: int) -> bool:
        raise ValueError(f"step {index} cannot be decided")

    steps = [step("a"), step("b"), step("e"), step("c", "a", when="x"), step("d", "b"), step("f", "e"), step("g", "c")]
    short, general = (Hand(steps, slots=3, condition=condition) for _ in range(2))
    assert short.start() == general.start() == ["a", "b", "e"]
    starts = short.scheduler.succeed_together([short.live[name] for name in "abe"], 1)
    short.scheduler.validate()
    assert [attempt.step_id for attempt in starts or ()] == general.turn(1e-9, "a", "b", "e") == ["d", "f"]
    assert short.statuses() == general.statuses()
    assert facts(short.scheduler.attempts) == facts(general.scheduler.attempts)
    assert short.scheduler.condition_errors.keys() == {3}


def test_what_waits_for_a_condition_that_fails_and_for_another_that_ends_with_it_is_skipped() -> None:
    def condition(index: int) -> bool:
        raise ValueError(f"step {index} cannot be decided")

    steps = [step("a"), step("b"), step("c", "a", when="x"), step("d", "b", "c"), step("e", "b")]
    short, general = (Hand(steps, slots=3, condition=condition) for _ in range(2))
    assert short.start() == general.start() == ["a", "b"]
    starts = short.scheduler.succeed_together([short.live["a"], short.live["b"]], 1)
    short.scheduler.validate()
    assert [attempt.step_id for attempt in starts or ()] == general.turn(1e-9, "a", "b") == ["e"]
    assert short.statuses() == general.statuses()
    assert short.statuses()["d"] == "skipped"


def test_several_do_not_end_together_where_one_of_them_has_ended_or_made_calls() -> None:
    hand = Hand([step("a"), step("b"), step("c")])
    hand.start()
    assert succeed(hand, "c", 1) == []
    before = facts(hand.scheduler.attempts)
    assert hand.scheduler.succeed_together([hand.live["a"], hand.live["c"]], 2) is None
    hand.add(step("x"), parent="a")
    assert hand.scheduler.succeed_together([hand.live["a"], hand.live["b"]], 2) is None
    assert facts(hand.scheduler.attempts) == before


# ---------------------------------------------------------------------- overtaking


def twins(count: int) -> list[Step]:
    """Like `chain`, but two steps come each time. The second of them waits until the chain is at its end."""
    return [step(f"twin{place}", f"c{place}", priority=8) for place in range(count)]


@pytest.mark.parametrize("short_way", [False, True], ids=["general", "short"])
class TestOvertaking:
    """The same numbers hold for both ways."""

    @pytest.mark.parametrize(
        ("others", "slots"),
        [([], 1), ([step("x", priority=10), step("y", priority=10)], 3), ([step("z", priority=-1)], 1)],
        ids=["alone", "with others that run", "with another that waits"],
    )
    def test_whoever_is_there_from_the_beginning_starts_after_a_thousand(
        self, short_way: bool, others: list[Step], slots: int
    ) -> None:
        hand = Overtaken([step("low"), *others, *chain()], slots=slots)
        hand.start()
        hand.go_on(MANY, short_way=short_way)
        assert hand.live[f"c{MANY}"].outcome is None
        assert hand.go_on(short_way=short_way) == ["low"]
        assert hand.waits_for("low") == [("worker", 0, hand.now)]

    def test_whoever_comes_on_the_way_starts_after_a_thousand(self, short_way: bool) -> None:
        hand = Overtaken([*chain(), step("low", "c9"), step("low too", "c9")], slots=1)
        hand.start()
        hand.go_on(MANY + 10, short_way=short_way)
        assert hand.live[f"c{MANY + 10}"].outcome is None
        assert hand.go_on(short_way=short_way) == ["low"]
        assert hand.waits_for("low") == [("worker", 10, hand.now)]
        assert hand.then("low") == ["low too"]

    def test_whoever_comes_at_the_same_instant_overtakes_nobody(self, short_way: bool) -> None:
        # With each step of the chain a twin comes, and all twins wait; the oldest of them was overtaken first.
        hand = Overtaken([*chain(), *twins(20)], slots=1)
        hand.start()
        assert hand.go_on(MANY + 2, short_way=short_way) == ["twin0"]
        assert hand.then("twin0") == [f"c{MANY + 2}"]
        assert hand.go_on(short_way=short_way) == ["twin1"]

    def test_two_that_come_together_and_start_count_as_two(self, short_way: bool) -> None:
        count = MANY // 2
        above = [(), *((f"p{n}",) for n in range(count))]
        pairs = [step(f"{name}{n}", *names, priority=9) for n, names in enumerate(above) for name in "pq"]
        scheduler = Hand([step("low"), *pairs], slots=2).scheduler
        running = scheduler.start(0)
        for now in range(1, count + 1):
            for attempt in running[:]:
                if short_way:
                    running += scheduler.succeed(attempt, now) or ()
                else:
                    scheduler.finish(attempt, "succeeded", now)
                    running += scheduler.start(now)
            del running[:2]
            assert [attempt.step_id for attempt in running] == [f"p{now}", f"q{now}"]
        scheduler.validate()
        assert scheduler.succeed(running[0], count + 1) == scheduler.attempts[-1:]
        assert scheduler.attempts[-1].step_id == "low"

    def test_whoever_had_reserved_and_started_hides_nobody_behind_it(self, short_way: bool) -> None:
        hand = Overtaken([step("low"), *chain(MANY + 5), step("lower", "c500", priority=-5)], slots=1)
        hand.start()
        assert hand.go_on(MANY + 1, short_way=short_way) == ["low"]
        assert hand.then("low") == [f"c{MANY + 1}"]
        assert hand.go_on(3, short_way=short_way) == [f"c{MANY + 4}"]
        assert hand.go_on(short_way=short_way) == ["lower"]

    def test_it_counts_from_when_it_came_though_others_wait_since_longer(self, short_way: bool) -> None:
        hand = Overtaken([step("first", priority=10), step("low", "first"), *chain()], slots=1)
        assert hand.start() == ["first"]
        if short_way:
            assert succeed(hand, "first", 1) == ["c0"]
        else:
            assert hand.turn(1e-9, "first") == ["c0"]
        hand.now = 1
        hand.go_on(MANY, short_way=short_way)
        assert hand.go_on(short_way=short_way) == ["low"]

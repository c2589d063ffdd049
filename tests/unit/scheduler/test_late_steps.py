"""Late steps and calls among the states, barriers and short ways of a run."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from executor.model.workflow import Resource
from executor.record.timeline import Wait
from tests.unit.scheduling import Hand, step

LLM = {"llm": Resource(capacity=3)}


# ------------------------------------------------------------------------------------------------------------- states


def test_a_late_step_follows_the_last_writer_in_the_fixed_order_which_is_not_the_order_of_the_file() -> None:
    steps = [step("b", "a", writes=["s"]), step("a", writes=["s"])]
    hand = Hand(steps, order={"b": [("a", "s")]})
    assert hand.start() == ["a"]
    hand.add(step("n", writes=["s"]))
    assert hand.turn(1, "a") == ["b"]
    assert hand.turn(2, "b") == ["n"]
    assert hand.waits("n") == [("lock.s", 0, 2)]


def test_a_late_writer_follows_those_who_read_and_a_late_reader_those_who_write() -> None:
    hand = Hand([step("r", reads=["s"]), step("w", writes=["t"]), step("x", reads=["u"]), step("y", writes=["v"])])
    hand.start()
    hand.add(step("after r", writes=["s"]), step("after w", reads=["t"]), step("beside x", reads=["u"]))
    hand.add(step("after both", writes=["s", "t"]), step("first", writes=["z"]))
    assert list(hand.scheduler.timeline().order_parents) == [(), (), (), (), (0,), (1,), (), (4, 1, 5), ()]
    assert hand.start(1) == ["beside x", "first"]
    assert hand.turn(2, "w") == ["after w"]
    assert hand.turn(3, "r") == ["after r"]
    assert hand.turn(4, "after r") == []
    assert hand.waits("after r") == [("lock.s", 0, 3)]
    assert hand.turn(5, "after w") == ["after both"]
    assert hand.waits("after both") == [("lock.s", 0, 4), ("lock.t", 4, 5)]


def test_an_order_edge_to_a_step_that_is_done_holds_nobody() -> None:
    hand = Hand([step("w", writes=["s"]), step("x", writes=["t"])])
    hand.start()
    hand.end("w", 1)
    hand.add(step("n", writes=["s"]), step("m", writes=["s", "t"]), now=1)
    assert hand.start(1) == ["n"]
    hand.turn(2, "n")
    assert hand.turn(3, "x") == ["m"]
    assert hand.waits("m") == [("lock.s", 1, 2), ("lock.t", 2, 3)]


def test_a_late_step_waits_for_the_caller_of_those_who_write_its_state_and_not_for_them() -> None:
    hand = Hand([step("p", writes=["s"])])
    hand.start()
    hand.add(step("x", writes=["s"]), parent="p")
    hand.start()
    hand.add(step("n", writes=["s"]))
    assert list(hand.scheduler.timeline().order_parents) == [(), (), (0,)]
    assert hand.turn(1, "p/1") == []
    assert hand.turn(2, "p") == ["n"]


def test_two_states_of_one_step_are_one_order_parent() -> None:
    hand = Hand([step("w", writes=["s", "t"])])
    hand.add(step("n", writes=["s", "t"]))
    assert list(hand.scheduler.timeline().order_parents) == [(), (0,)]


# ------------------------------------------------------------------------------------------------------------- levels


def test_a_late_step_without_dependencies_belongs_to_the_current_level() -> None:
    hand = Hand([step("a"), step("b", "a")], policy="levels")
    hand.start()
    hand.add(step("n"))
    assert hand.start(1) == ["n"]
    assert hand.turn(2, "a") == []
    assert hand.turn(3, "n") == ["b"]


def test_a_late_step_stands_one_level_below_the_deepest_that_it_follows() -> None:
    hand = Hand([step("a"), step("b", "a", writes=["s"]), step("c", "b"), step("d", "a")], policy="levels")
    hand.start()
    hand.add(step("n", "a"), step("w", "a", writes=["s"]), step("behind b", "a", "b"))
    hand.add(step("behind n", "n"))
    assert hand.turn(1, "a") == ["b", "d", "n"]
    hand.turn(2, "b", "d")
    assert hand.turn(3, "n") == ["c", "w", "behind b", "behind n"]
    assert hand.waits("w") == [("barrier", 1, 3)]


def test_calls_pass_the_barrier_and_who_depends_on_one_stands_below_its_callers_level() -> None:
    hand = Hand([step("a", "first"), step("first"), step("b", "first")], policy="levels")
    hand.start()
    hand.turn(1, "first")
    hand.add(step("x"), parent="a")
    assert hand.start(1) == ["a/1"]
    hand.add(step("y"), parent="a/1")
    assert hand.start(1) == ["a/1/1"]
    hand.add(step("n", "a/1/1"))
    assert hand.turn(2, "a/1/1", "a/1", "a") == []
    assert hand.turn(3, "b") == ["n"]


def test_calls_belong_to_the_batch_of_their_caller() -> None:
    hand = Hand([step("a"), step("b")], policy="barrier")
    assert hand.start() == ["a"]
    hand.add(step("x", parallel_group=1), step("y"), parent="a")
    hand.add(step("n", parallel_group=1), step("m"))
    assert hand.start(1) == ["a/1", "a/2"]
    assert hand.turn(2, "a/1", "a/2") == []
    for now, ended, started in ((3, "a", "b"), (4, "b", "m"), (5, "m", "n")):
        assert hand.turn(now, ended) == [started]


# ------------------------------------------------------------------------------------------------------ the short way


def played(fields: Mapping[str, object], *, short_way: bool) -> list[tuple[str, int, list[Wait]]]:
    """A run in which the longest-running step ends at each instant, and two steps come late; what was granted when."""
    hand = Hand([step("a")], resources=LLM, condition=lambda _: False)
    scheduler = hand.scheduler
    running = scheduler.start(0)
    hand.add(step("n", "a", **fields), step("m", "a", **fields))
    now = 0
    while running:
        now += 1
        started = scheduler.succeed(running[0], now) if short_way else None
        if started is None:
            scheduler.finish(running[0], "succeeded", now)
            started = scheduler.start(now)
        scheduler.validate()
        running = [*running[1:], *started]
    assert scheduler.done
    return [(attempt.step_id, attempt.granted, list(attempt.waits)) for attempt in scheduler.attempts]


@pytest.mark.parametrize(
    ("fields", "granted"),
    [
        ({}, {"a": 0, "n": 1, "m": 1}),
        ({"needs": {"llm": 3}}, {"a": 0, "n": 1, "m": 2}),
        ({"needs": {"llm": 1}}, {"a": 0, "n": 1, "m": 1}),
        ({"writes": ["s"]}, {"a": 0, "n": 1, "m": 2}),
        ({"when": "no"}, {"a": 0}),
        ({"for_each": [1, 2]}, {"a": 0, "n": 1, "m": 1, "n/1": 1, "n/2": 1, "m/1": 1, "m/2": 1}),
    ],
)
def test_the_short_way_of_plain_runs_leads_past_nothing_that_came_late(
    fields: dict[str, object], granted: dict[str, int]
) -> None:
    found = played(fields, short_way=False)
    assert {step_id: at for step_id, at, _ in found} == granted
    assert played(fields, short_way=True) == found


@pytest.mark.parametrize(
    ("fields", "short_way"),
    [({}, True), ({"needs": {"llm": 1}}, True), ({"when": "yes"}, True), ({"writes": ["s"]}, False)],
)
def test_a_run_of_steps_with_states_does_not_take_the_short_way(fields: dict[str, object], short_way: bool) -> None:
    hand = Hand([step("a", **fields)], resources=LLM)
    hand.add(step("b", **fields), step("c", "a", **fields))
    hand.start()
    assert (hand.scheduler.succeed(hand.live["a"], 1) is not None) is short_way


def test_a_run_with_a_mapped_step_does_not_take_the_short_way() -> None:
    hand = Hand([step("m", for_each=[1])])
    hand.start()
    assert hand.scheduler.succeed(hand.live["m/1"], 1) is None

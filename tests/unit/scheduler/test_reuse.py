"""Steps whose result an earlier run left end without an attempt when they would start."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from executor.model.workflow import Resource, Step
from executor.record.timeline import Wait
from tests.unit.scheduler.test_mapped_steps import Lists
from tests.unit.scheduling import Hand, at, step

CHAIN = (step("a"), step("b", "a"), step("c", "b"))


def hand(
    steps: tuple[Step, ...], answers: Mapping[str, str | None], asked: list[str] | None = None, **more: object
) -> Hand:
    """A scheduler that is answered by the step's id; ``asked`` notes the ids in order."""
    names = [one.step_id for one in steps]

    def reuse(index: int) -> str | None:
        if asked is not None:
            asked.append(names[index])
        return answers.get(names[index])

    return Hand(steps, reuse=reuse, **more)  # type: ignore[arg-type]  # the options are the scheduler's own


def test_a_chain_that_is_all_there_ends_at_once_without_an_attempt() -> None:
    driven = hand(CHAIN, dict.fromkeys("abc", "reused"))
    assert driven.start(1.0) == []
    scheduler = driven.scheduler
    assert scheduler.done
    timeline = scheduler.timeline()
    assert list(timeline.statuses) == ["succeeded"] * 3
    assert list(timeline.attempts) == []
    assert sorted(timeline.reused) == [0, 1, 2]
    assert [scheduler.has_run(index) for index in range(3)] == [False] * 3
    assert scheduler.ended_unrun


def test_what_is_missing_runs_and_what_needs_it_is_asked_about_after_it() -> None:
    asked: list[str] = []
    driven = hand(CHAIN, {"a": "reused", "c": "reused"}, asked)
    assert driven.start() == ["b"]
    assert asked == ["a", "b"]
    assert driven.scheduler.has_run(1)
    assert not driven.scheduler.has_run(0)
    assert driven.turn(2.0, "b") == []
    assert asked == ["a", "b", "c"]
    assert driven.scheduler.done
    assert list(driven.scheduler.timeline().reused) in ([0, 2], [2, 0])


def test_a_step_that_is_left_out_counts_as_one_whose_condition_is_false() -> None:
    driven = hand(CHAIN, {"a": "left_out"})
    assert driven.start() == ["b"]
    assert driven.scheduler.status(0) == "skipped"
    assert 0 not in driven.scheduler.timeline().reused
    assert driven.turn(1.0, "b") == ["c"]


@pytest.mark.parametrize(
    ("items", "reused", "cached"),
    [
        (("cached", "cached"), [0, 1, 2], [0, 1, 2]),
        (("cached", "reused"), [0, 1, 2], [1]),
        (("reused", "reused"), [0, 1, 2], []),
        (("reused", None), [1], []),
        ((None, None), [], []),
    ],
)
def test_a_mapped_step_is_reused_or_cached_where_all_of_its_items_are(
    items: tuple[str | None, str | None], reused: list[int], cached: list[int]
) -> None:
    answers = dict(enumerate(items, 1))
    driven = Hand([step("m", for_each=["x", "y"])], reuse=answers.get, items=Lists({0: 2}))
    driven.turn(1.0, *driven.start())
    timeline = driven.scheduler.timeline()
    assert driven.scheduler.done
    assert (sorted(timeline.reused), sorted(timeline.cached)) == (reused, cached)


def test_a_mapped_step_without_items_is_not_reused() -> None:
    driven = Hand([step("a"), step("m", "a", for_each=[])], reuse={0: "cached"}.get, items=Lists({1: 0}))
    assert driven.start() == []
    timeline = driven.scheduler.timeline()
    assert driven.scheduler.done
    assert (sorted(timeline.reused), sorted(timeline.cached)) == ([0], [0])


def test_steps_are_asked_about_in_the_order_in_which_they_would_start() -> None:
    asked: list[str] = []
    steps = (step("low", priority=1), step("high", priority=5), step("middle", priority=3))
    assert hand(steps, {}, asked).start() == ["high", "middle", "low"]
    assert asked == ["high", "middle", "low"]


def test_a_step_that_had_an_attempt_is_asked_about_no_more() -> None:
    asked: list[str] = []
    again = step("a", retry={"max_attempts": 2, "backoff_seconds": 1.0, "jitter": "none"})
    driven = hand((again,), {}, asked)
    assert driven.start() == ["a"]
    assert driven.end("a", 1.0, "failed") == "backing_off"
    assert driven.start(2.0) == ["a"]
    assert asked == ["a"]


def test_a_reused_step_holds_no_slot_and_no_limit() -> None:
    one = {"bed": Resource(capacity=1)}
    steps = (step("a", needs={"bed": 1}), step("b", needs={"bed": 1}))
    driven = hand(steps, {"a": "reused"}, slots=1, resources=one)
    assert driven.start() == ["b"]
    assert driven.turn(1.0, "b") == []
    assert driven.scheduler.done


def test_what_a_reused_step_releases_was_released_by_what_released_it() -> None:
    driven = hand(CHAIN, {"b": "reused"})
    assert driven.start() == ["a"]
    assert driven.turn(3.0, "a") == ["c"]
    assert driven.live["c"].released_by == "a"
    assert driven.live["c"].ready == at(3.0)


def test_a_step_behind_a_barrier_is_asked_about_when_the_barrier_opens() -> None:
    asked: list[str] = []
    steps = (step("a"), step("b"), step("c", "a"))
    driven = hand(steps, {"c": "reused"}, asked, slots=2, policy="levels")
    assert driven.start() == ["a", "b"]
    assert driven.turn(1.0, "a") == []
    assert asked == ["a", "b"]
    assert driven.turn(2.0, "b") == []
    assert asked == ["a", "b", "c"]
    assert driven.scheduler.done


def test_nothing_is_kept_of_why_a_reused_step_waited() -> None:
    driven = hand((step("a"), step("b"), step("c", "a")), {"c": "reused"}, slots=2, policy="levels")
    driven.start()
    driven.turn(1.0, "a")
    assert driven.scheduler._wait_reasons.latest(2, in_line=False) == "barrier"
    driven.turn(2.0, "b")
    assert driven.scheduler._wait_reasons.own == {}


def test_a_step_that_waits_in_the_queue_after_it_was_asked_about_keeps_its_reason() -> None:
    driven = hand((step("a"), step("b")), {}, slots=1)
    assert driven.start() == ["a"]
    assert driven.turn(2.0, "a") == ["b"]
    assert driven.live["b"].waits == (Wait("worker", 0, at(2.0)),)


def test_without_an_answer_the_short_ways_are_shut_and_with_none_they_are_open() -> None:
    assert not hand(CHAIN, {}).scheduler.plain
    assert Hand(CHAIN).scheduler.plain


@pytest.mark.parametrize("answer", ["reused", "left_out"])
def test_the_end_of_a_step_that_never_ran_is_noted_for_the_caller(answer: str) -> None:
    driven = hand((step("a"), step("b")), {"a": answer})
    assert driven.start() == ["b"]
    assert driven.scheduler.ended_unrun


def test_a_start_that_ends_nothing_notes_nothing() -> None:
    driven = hand((step("a"),), {})
    assert driven.start() == ["a"]
    assert not driven.scheduler.ended_unrun

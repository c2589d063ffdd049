"""Mapped steps: what is asked of who runs them and when, and what an item is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from executor.model.workflow import Resource, Retry, Step
from executor.record.timeline import NANOSECONDS, Attempt, Interval
from tests.unit.scheduling import Hand, step


def mapped(name: str, *depends_on: str, **fields: object) -> Step:
    return step(name, *depends_on, for_each=["x", "y"], **fields)


class Lists:
    """Knows the lists of mapped steps, and notes the questions and the reports. A length of None: it cannot be had."""

    def __init__(self, counts: Mapping[int, int | None]) -> None:
        self.counts = counts
        self.noted: list[object] = []

    def count(self, index: int) -> int:
        self.noted.append(("count", index))
        count = self.counts[index]
        if count is None:
            raise ValueError("no such list")
        return count

    def began(self, attempt: Attempt, items: Sequence[int]) -> None:
        self.noted.append(("began", attempt.step_id, list(items), attempt.started, attempt.outcome))

    def ended(self, attempt: Attempt, items: Sequence[int]) -> None:
        self.noted.append(("ended", attempt.step_id, list(items), attempt.outcome))

    def heard(self) -> list[object]:
        noted, self.noted = self.noted, []
        return noted


def record_of(hand: Hand, step_id: str) -> Attempt:
    (attempt,) = (one for one in hand.scheduler.attempts if one.step_id == step_id)
    return attempt


def test_who_runs_the_steps_is_asked_for_the_list_and_told_when_items_come_and_are_done() -> None:
    lists = Lists({1: 2})
    hand = Hand([step("a"), mapped("m", "a")], items=lists)
    hand.start()
    hand.end("a", 3)
    assert lists.heard() == []
    hand.start(3)
    assert lists.heard() == [("count", 1), ("began", "m", [2, 3], 3 * NANOSECONDS, None)]
    hand.turn(4, "m/2")
    hand.end("m/1", 5)
    assert lists.heard() == []
    assert hand.status("m") == "blocked"
    hand.start(5)
    assert lists.heard() == [("ended", "m", [2, 3], "succeeded")]
    attempt = record_of(hand, "m")
    assert list(attempt.blocked) == [Interval(3 * NANOSECONDS, 5 * NANOSECONDS)]
    assert (attempt.attempt, attempt.ended, attempt.known, attempt.parent) == (
        1,
        5 * NANOSECONDS,
        5 * NANOSECONDS,
        None,
    )


def test_an_empty_list_begins_and_ends_in_one_instant() -> None:
    lists = Lists({0: 0})
    hand = Hand([mapped("m")], items=lists)
    hand.start(2)
    assert lists.heard() == [("count", 0), ("began", "m", [], 2 * NANOSECONDS, None), ("ended", "m", [], "succeeded")]
    assert list(record_of(hand, "m").blocked) == []
    assert hand.scheduler.done


def test_a_list_that_cannot_be_had_is_the_error_of_its_step_and_nothing_begins() -> None:
    lists = Lists({0: None})
    hand = Hand([mapped("m"), step("z", "m")], items=lists)
    assert hand.start() == []
    assert lists.heard() == [("count", 0)]
    assert str(hand.scheduler.condition_errors[0]) == "no such list"
    assert (hand.statuses(), hand.scheduler.attempts) == ({"m": "failed", "z": "skipped"}, [])


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        (("succeeded", "succeeded", "succeeded"), "succeeded"),
        (("succeeded", "failed", "succeeded"), "failed"),
        (("cancelled", "succeeded", "succeeded"), "cancelled"),
        (("cancelled", "succeeded", "failed"), "failed"),
        (("cancelled", "cancelled", "cancelled"), "cancelled"),
    ],
)
def test_a_mapped_step_ends_as_its_items_did(ends: Sequence[str], outcome: str) -> None:
    lists = Lists({0: 3})
    hand = Hand([mapped("m")], items=lists)
    hand.start()
    for number, end in enumerate(ends, 1):
        if end == "cancelled":
            hand.scheduler.cancel(NANOSECONDS, [f"m/{number}"])
        else:
            hand.end(f"m/{number}", 1, end)
    hand.start(1)
    assert (hand.status("m"), record_of(hand, "m").outcome) == (outcome, outcome)
    assert lists.heard()[-1] == ("ended", "m", [1, 2, 3], outcome)


# ------------------------------------------------------------------------------------------------------------- items


def test_an_item_is_its_step_without_what_concerns_the_whole_list() -> None:
    kept = {
        "tool": "t", "prompt": "{{ item }}", "args": {"x": 1}, "retry": Retry(), "timeout": 5.0, "priority": 2,
        "on_failure": "stop", "idempotent": False, "reads": ["r"], "writes": ["w"], "expected_seconds": 3.0,
        "expected_tokens": 7,
    }  # fmt: skip
    whole = {"when": "yes", "parallel_group": "g", "max_parallel": 1, "expected_items": 4, "needs": {"llm": 2}}
    hand = Hand([step("a"), mapped("m", "a", **kept, **whole)], resources={"llm": Resource(capacity=2)})
    hand.start()
    assert hand.turn(1, "a") == ["m/1"]
    assert hand.scheduler.steps[2] == step("m", **kept, needs={"llm": 2, "m.max_parallel": 1})
    assert hand.scheduler.steps[1].needs == {"llm": 2}


def test_an_item_of_a_step_that_needs_nothing_needs_nothing() -> None:
    hand = Hand([mapped("m")])
    assert hand.start() == ["m/1", "m/2"]
    assert hand.scheduler.steps[1:] == [step("m")] * 2


def test_an_item_names_its_step_as_who_made_it_ready_and_as_the_one_it_belongs_to() -> None:
    hand = Hand([step("a"), mapped("m", "a")])
    hand.start()
    hand.turn(2, "a")
    item = hand.live["m/1"]
    assert (item.released_by, item.parent, item.ready, item.granted) == ("m", "m", 2 * NANOSECONDS, 2 * NANOSECONDS)
    assert (record_of(hand, "m").released_by, record_of(hand, "m").waits) == ("a", ())
    assert list(hand.scheduler.timeline().nested_in) == [-1, -1, 1, 1]


def test_an_item_may_make_calls_which_go_first() -> None:
    hand = Hand([mapped("m"), step("a")], slots=1)
    assert hand.start() == ["a"]
    assert hand.turn(1, "a") == ["m/1"]
    assert hand.scheduler.add([step("x")], NANOSECONDS, "m/1") == ["m/1/1"]
    hand.scheduler.block(hand.live["m/1"], NANOSECONDS)
    assert hand.start(1) == ["m/1/1"]


# --------------------------------------------------------------------------------------------- when lists are asked for


def test_lists_are_asked_for_in_the_order_of_starts() -> None:
    lists = Lists({0: 1, 1: 1, 2: 0, 3: 1})
    steps = [mapped("m"), mapped("first", priority=1), mapped("long", expected_seconds=9), mapped("n")]
    hand = Hand(steps, items=lists)
    assert hand.start() == ["first/1", "m/1", "n/1"]
    assert [noted[1] for noted in lists.heard() if isinstance(noted, tuple) and noted[0] == "count"] == [1, 2, 0, 3]


def test_mapped_steps_whose_last_items_end_in_one_instant_end_in_the_order_of_the_file() -> None:
    lists = Lists({0: 1, 1: 1, 2: 1})
    hand = Hand([mapped("m"), mapped("n"), mapped("o")], items=lists)
    hand.start()
    for name in ("o/1", "m/1", "n/1"):
        hand.end(name, 1)
    lists.heard()
    hand.start(1)
    assert lists.heard() == [("ended", name, [place], "succeeded") for place, name in ((3, "m"), (4, "n"), (5, "o"))]


def test_a_list_that_fails_the_run_leaves_the_lists_behind_it_unasked() -> None:
    lists = Lists({0: None, 1: 2})
    hand = Hand([mapped("m", on_failure="stop"), mapped("n"), step("a")], items=lists)
    assert hand.start() == []
    assert lists.heard() == [("count", 0)]
    assert hand.statuses() == {"m": "failed", "n": "cancelled", "a": "cancelled"}


def test_a_step_that_is_cancelled_before_its_list_was_asked_for_has_none() -> None:
    lists = Lists({0: 2, 1: 1})
    hand = Hand([mapped("m"), mapped("n")], items=lists)
    hand.scheduler.cancel(0, ["m"])
    assert hand.start() == ["n/1"]
    assert [noted for noted in lists.heard() if noted == ("count", 0)] == []


def test_a_step_that_is_cancelled_after_its_last_item_ended_and_before_that_was_noted_stays_cancelled() -> None:
    lists = Lists({0: 1})
    hand = Hand([mapped("m"), step("z", "m")], items=lists)
    hand.start()
    hand.end("m/1", 1)
    hand.scheduler.cancel(NANOSECONDS, ["m"])
    lists.heard()
    assert hand.start(1) == []
    assert (hand.statuses(), lists.heard()) == ({"m": "cancelled", "z": "cancelled", "m/1": "succeeded"}, [])


def test_what_a_mapped_step_waited_for_is_in_its_record() -> None:
    order = {"m": [("w", "s")]}
    steps = [step("w", writes=["s"]), step("b"), mapped("m", "b", reads=["s"])]
    hand = Hand(steps, order=order)
    hand.start()
    hand.turn(1, "b")
    hand.turn(3, "w")
    assert hand.waits("m") == [("lock.s", 1, 3)]
    assert hand.waits("m/1") == []


def test_an_empty_list_that_ends_a_batch_lets_the_next_begin_in_the_same_instant() -> None:
    lists = Lists({0: 0, 1: 0, 2: 1})
    hand = Hand([mapped("m"), mapped("n"), mapped("o"), step("a")], policy="barrier", items=lists)
    assert hand.start() == ["o/1"]
    assert hand.turn(1, "o/1") == ["a"]

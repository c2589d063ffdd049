"""Why steps wait: histories of reasons, and the waits that the record keeps of them."""

from __future__ import annotations

import pytest

from executor.model.workflow import Resource, Step
from executor.record.timeline import Wait
from executor.scheduler.ready_queue import Line
from executor.scheduler.resources import Demand, Limits
from executor.scheduler.wait_reasons import WaitReasons, extend_history, waits_of


def hihistory_of(*notes: tuple[str, int]) -> list[tuple[int, str]]:
    history: list[tuple[int, str]] = []
    for reason, now in notes:
        extend_history(history, reason, now)
    return history


def test_a_history_keeps_the_changes_of_a_reason_and_the_last_word_of_an_instant() -> None:
    assert hihistory_of(("a", 0), ("a", 1), ("b", 2)) == [(0, "a"), (2, "b")]
    assert hihistory_of(("a", 0), ("b", 2), ("c", 2)) == [(0, "a"), (2, "c")]
    assert hihistory_of(("a", 0), ("b", 2), ("a", 2), ("a", 3)) == [(0, "a")]
    assert hihistory_of(("a", 5), ("b", 5)) == [(5, "b")]


@pytest.mark.parametrize(
    ("start", "end", "waits"),
    [
        (0, 9, [Wait("a", 2, 4), Wait("b", 4, 6), Wait("a", 8, 9)]),
        (3, 9, [Wait("a", 3, 4), Wait("b", 4, 6), Wait("a", 8, 9)]),
        (2, 6, [Wait("a", 2, 4), Wait("b", 4, 6)]),
        (4, 8, [Wait("b", 4, 6)]),
        (5, 5, []),
        (4, 4, []),
        (6, 8, []),
        (0, 2, []),
        (0, 1, []),
    ],
)
def test_the_waits_of_a_time_are_what_the_history_says_of_it_and_none_is_of_no_length(
    start: int, end: int, waits: list[Wait]
) -> None:
    # From 6 to 8 it was not noticed that nothing was in the way.
    assert waits_of([(2, "a"), (4, "b"), (6, ""), (8, "a")], start, end) == waits


# ---------------------------------------------------------------------- the histories of steps


def reasons_of(*line: tuple[str, int]) -> WaitReasons:
    """Step 0 asks for a unit of `llm`, and its line has this history; step 1 asks for nothing."""
    demand = Limits({"llm": Resource(capacity=1)}).demand(Step(step_id="x", tool="noop", needs={"llm": 1}))
    assert demand is not None
    lines: dict[Demand, Line] = {demand: Line(demand)} if line else {}
    for reason, now in line:
        lines[demand].note(reason, now)
    return WaitReasons({0: demand}, lines)


def test_a_step_waited_outside_of_the_queue_first_and_then_with_its_line() -> None:
    reasons = reasons_of(("resource.llm", 3), ("worker", 6))
    reasons.note(0, "barrier", 1)
    reasons.enters_queue(0, 4)
    assert reasons.queued_at == {0: 4}
    assert reasons.take(0, 1, 8, was_reserved=False) == [
        Wait("barrier", 1, 4), Wait("resource.llm", 4, 6), Wait("worker", 6, 8),
    ]  # fmt: skip
    assert (reasons.own, reasons.queued_at) == ({}, {})


def test_a_step_that_came_straight_to_the_queue_has_no_hihistory_of_its_own() -> None:
    reasons = reasons_of(("resource.llm", 3))
    reasons.enters_queue(0, 4)
    reasons.enters_queue(1, 4)
    assert (reasons.own, reasons.queued_at) == ({}, {})
    assert reasons.take(0, 4, 8, was_reserved=False) == "resource.llm"
    assert reasons.take(1, 4, 8, was_reserved=False) == "worker"


def test_a_step_that_is_granted_as_it_becomes_ready_waited_for_nothing() -> None:
    reasons = reasons_of(("resource.llm", 3))
    reasons.note(0, "barrier", 4)
    assert reasons.take(0, 4, 4, was_reserved=False) is None
    assert reasons.own == {}


def test_a_reservation_takes_over_what_the_line_says_and_goes_on_by_itself() -> None:
    reasons = reasons_of(("resource.llm", 3), ("worker", 6))
    reasons.enters_reservation(0, 2, 7)
    reasons.note(0, "rate.api", 7)
    reasons.note(0, "resource.llm", 8)
    assert reasons.own == {0: [(3, "resource.llm"), (6, "worker"), (7, "rate.api"), (8, "resource.llm")]}
    assert reasons.take(0, 2, 9, was_reserved=True) == [
        Wait("resource.llm", 3, 6), Wait("worker", 6, 7), Wait("rate.api", 7, 8), Wait("resource.llm", 8, 9),
    ]  # fmt: skip


def test_the_latest_reason_is_that_of_the_line_or_of_the_step_and_otherwise_a_worker() -> None:
    reasons = reasons_of(("resource.llm", 3), ("rate.api", 6))
    assert [reasons.latest(index, in_line=True) for index in (0, 1)] == ["rate.api", "worker"]
    reasons.note(0, "barrier", 1)
    reasons.note(0, "lock.s", 2)
    reasons.note(1, "", 2)
    assert [reasons.latest(index, in_line=False) for index in (0, 1, 2)] == ["lock.s", "worker", "worker"]
    assert reasons_of().latest(0, in_line=True) == "worker"


def test_what_a_step_waited_for_by_itself_is_taken_once() -> None:
    reasons = reasons_of(("resource.llm", 3))
    reasons.note(0, "worker", 5)
    assert reasons.take_own(0, 6, 9) == [Wait("worker", 6, 9)]
    assert reasons.take_own(0, 6, 9) == []

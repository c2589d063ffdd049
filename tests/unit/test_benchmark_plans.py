"""What the record of a run says of code that called tools: its own time, and what it asked when."""

from __future__ import annotations

from collections.abc import Sequence

from executor.record.timeline import Attempt, Interval, StepStatus, Timeline, Wait
from harness.benchmark.recorded_calls.call_plans import own_seconds, plans_of
from harness.benchmark.recorded_calls.recorded_call import Ask

SECOND = 1_000_000_000


def attempt(index: int, ready: float, ended: float, outcome: str = "succeeded", *, number: int = 1) -> Attempt:
    """An attempt that is granted when it is ready, and known when it ends."""
    parent = None if index == 0 else "x"
    step_id = "x" if index == 0 else f"x/{index}"
    found = Attempt(index, step_id, number, round(ready * SECOND), round(ready * SECOND), None, parent)
    found.started = found.granted
    found.ended = found.known = round(ended * SECOND)
    found.outcome = outcome  # type: ignore[assignment]  # a literal; here it is any of them
    return found


def caller(ended: float, *waits: tuple[float, float], ready: float = 0.0, number: int = 1) -> Attempt:
    found = attempt(0, ready, ended, number=number)
    found.blocked = [Interval(round(start * SECOND), round(end * SECOND)) for start, end in waits]
    return found


def timeline(attempts: Sequence[Attempt], statuses: Sequence[StepStatus]) -> Timeline:
    """A run of step x and its calls; ``statuses`` are those of the calls."""
    count = len(statuses) + 1
    return Timeline(
        step_ids=["x", *(f"x/{number}" for number in range(1, count))],
        data_parents=[()] * count,
        order_parents=[()] * count,
        statuses=["succeeded", *statuses],
        attempts=attempts,
        workers=4,
        nested_in=[-1, *([0] * (count - 1))],
    )


def waits_of(run: Timeline, number: int = 1) -> tuple[tuple[Ask, ...], ...]:
    return plans_of(run, ())[0, number].waits


def test_own_time_is_what_is_left_without_waits_and_without_resuming() -> None:
    one = caller(10, (1, 4), (6, 8))
    one.add_wait(Wait("worker", 4 * SECOND, 5 * SECOND))
    one.add_wait(Wait("resource.llm", 8 * SECOND, 8 * SECOND + SECOND // 2))
    one.add_wait(Wait("worker", 8 * SECOND + SECOND // 2, 9 * SECOND))
    assert own_seconds(one) == (1, 1, 1)


def test_a_caller_that_was_over_while_it_waited_has_no_time_after_that() -> None:
    assert own_seconds(caller(4, (1, 4))) == (1, 0)


def test_calls_that_became_ready_together_were_asked_together() -> None:
    run = timeline([caller(9, (1, 4), (5, 6)), attempt(1, 1, 4), attempt(2, 1, 2), attempt(3, 5, 6)],
                   ["succeeded", "failed", "succeeded"])  # fmt: skip
    assert waits_of(run) == ((Ask(0, ("x/1", "x/2")),), (Ask(0, ("x/3",)),))


def test_a_call_that_became_ready_as_another_was_over_was_asked_in_turn() -> None:
    run = timeline(
        [caller(9, (1, 8)), attempt(1, 1, 4), attempt(2, 1, 2), attempt(3, 2, 3, "failed"),
         attempt(3, 3, 5, number=2), attempt(4, 4, 6), attempt(5, 5, 8)],
        ["succeeded"] * 5,
    )  # fmt: skip
    assert waits_of(run) == ((Ask(0, ("x/1", "x/2", "x/3", "x/4", "x/5"), at_once=2),),)


def test_a_call_of_a_time_of_its_own_was_asked_from_another_place() -> None:
    run = timeline([caller(9, (1, 8)), attempt(1, 1, 8), attempt(2, 3.5, 5), attempt(3, 5, 6)], ["succeeded"] * 3)
    assert waits_of(run) == ((Ask(0, ("x/1",)), Ask(2.5, ("x/2", "x/3"), at_once=1)),)


def test_calls_are_withdrawn_when_the_first_of_them_was_cancelled() -> None:
    run = timeline(
        [caller(9, (1, 5)), attempt(1, 1, 2), attempt(2, 1, 4, "cancelled")], ["succeeded", "cancelled", "cancelled"]
    )
    assert waits_of(run) == ((Ask(0, ("x/1", "x/2", "x/3"), withdrawn_after_seconds=3),),)


def test_calls_that_were_given_up_keep_the_order_in_which_they_were_made() -> None:
    run = timeline(
        [caller(9, (1, 5)), attempt(1, 1, 2), attempt(3, 1, 4, "cancelled")], ["succeeded", "cancelled", "cancelled"]
    )
    assert waits_of(run) == ((Ask(0, ("x/1", "x/2", "x/3"), withdrawn_after_seconds=3),),)


def test_calls_that_never_began_are_given_up_by_themselves_where_others_went_on() -> None:
    run = timeline(
        [caller(9, (1, 6)), attempt(1, 1, 2), attempt(4, 2, 6)], ["succeeded", "cancelled", "cancelled", "succeeded"]
    )
    in_turn = Ask(0, ("x/1", "x/4"), at_once=1)
    assert waits_of(run) == ((in_turn, Ask(0, ("x/2", "x/3"), withdrawn_after_seconds=5)),)


def test_a_call_that_was_cancelled_before_another_try_is_withdrawn_at_the_end_of_the_wait() -> None:
    run = timeline([caller(9, (1, 5)), attempt(1, 1, 2, "failed")], ["cancelled"])
    assert waits_of(run) == ((Ask(0, ("x/1",), withdrawn_after_seconds=4),),)


def test_a_call_that_never_began_is_the_one_of_a_wait_that_has_no_other() -> None:
    run = timeline(
        [caller(9, (1, 3), (4, 5), (6, 7)), attempt(1, 1, 3), attempt(3, 6, 7)], ["succeeded", "cancelled", "succeeded"]
    )
    assert [[one.calls for one in wait] for wait in waits_of(run)] == [[("x/1",)], [("x/2",)], [("x/3",)]]
    assert waits_of(run)[1][0].withdrawn_after_seconds == 1


def test_calls_that_never_began_stand_behind_those_that_were_made_before_them() -> None:
    run = timeline(
        [caller(3, (1, 3)), attempt(1, 1, 2), caller(9, (6, 7), ready=5, number=2), attempt(4, 6, 7)],
        ["succeeded", "cancelled", "cancelled", "succeeded"],
    )
    assert [one.calls for one in waits_of(run)[0]] == [("x/1",), ("x/2", "x/3")]
    assert waits_of(run, 2)[0][0].calls == ("x/4",)


def test_only_calls_that_never_began_belong_to_the_waits_in_their_order() -> None:
    run = timeline([caller(3, (1, 2)), caller(9, (4, 5), ready=3, number=2)], ["cancelled", "cancelled"])
    assert [one.calls for one in waits_of(run)[0]] == [("x/1",)]
    assert [one.calls for one in waits_of(run, 2)[0]] == [("x/2",)]


def test_items_of_a_mapped_step_are_no_calls() -> None:
    run = timeline([caller(9, (0, 9)), attempt(1, 0, 9)], ["succeeded"])
    assert plans_of(run, {0}) == {}

"""Who was overtaken how often, by hand, and who reserved in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from executor.model.workflow import Resource, Step
from executor.scheduler.ready_queue import OUT, OVERTAKES_UNTIL_RESERVED, RESERVED, ReadyQueue
from executor.scheduler.resources import Demand, Limits

LLM = Limits({"llm": Resource(capacity=1)}).demand(Step(step_id="x", tool="noop", needs={"llm": 1}))


def queue_of(count: int) -> ReadyQueue:
    queue = ReadyQueue()
    queue.grow(count)
    return queue


# ---------------------------------------------------------------------- overtaking


class Overtaking:
    """A queue in which steps come and go; the instants are numbered."""

    def __init__(self) -> None:
        self.queue = queue_of(0)
        self.now = 0

    def come(self, count: int = 1, *, same_instant: bool = False) -> list[int]:
        """Steps are queued at the next instant, or at this one."""
        self.now += not same_instant
        first = len(self.queue.queued)
        self.queue.grow(count)
        for index in range(first, first + count):
            self.queue.push(index, index, None, self.now)
        return list(range(first, first + count))

    def go(self, indices: Iterable[int]) -> None:
        for index in indices:
            self.queue.queued[index] = OUT
            self.queue.granted(index)

    def pass_by(self, count: int) -> None:
        """Steps come and go at once, each at an instant of its own."""
        for _ in range(count):
            self.go(self.come())

    def overdue(self) -> list[int]:
        expected = self.queue.overdue
        steps: list[int] = []
        while (index := self.queue.next_overdue()) is not None:
            steps.append(index)
        assert bool(steps) == expected
        return steps


@pytest.mark.parametrize("together", [False, True])
def test_a_step_is_overdue_when_it_was_overtaken_a_thousand_times_and_then_no_more(together: bool) -> None:
    play = Overtaking()
    waiting = play.come()
    if together:
        overtakers = play.come(OVERTAKES_UNTIL_RESERVED)
        play.go(overtakers[:-1])
    else:
        play.pass_by(OVERTAKES_UNTIL_RESERVED - 1)
        overtakers = play.come()
    assert play.overdue() == []
    play.go(overtakers[-1:])
    assert play.overdue() == waiting
    assert play.overdue() == []
    play.pass_by(3 * OVERTAKES_UNTIL_RESERVED)
    assert play.overdue() == []


def test_who_was_queued_at_the_same_instant_overtakes_nobody() -> None:
    play = Overtaking()
    first, *others = play.come(OVERTAKES_UNTIL_RESERVED)
    play.go(others)
    play.go(play.come(OVERTAKES_UNTIL_RESERVED, same_instant=True))
    assert play.overdue() == []
    play.pass_by(OVERTAKES_UNTIL_RESERVED)
    assert play.overdue() == [first]


def test_who_was_queued_earlier_overtakes_nobody() -> None:
    play = Overtaking()
    earlier = play.come(OVERTAKES_UNTIL_RESERVED + 1)
    (later,) = play.come()
    play.go(earlier)
    assert play.overdue() == []
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 1)
    assert play.overdue() == []
    play.pass_by(1)
    assert play.overdue() == [later]


@pytest.mark.parametrize("oldest_ends", ["granted", "removed"])
def test_each_step_counts_only_those_that_came_after_it(oldest_ends: str) -> None:
    play = Overtaking()
    oldest = play.come(2)
    play.pass_by(300)
    middle = play.come(3)
    play.pass_by(200)
    play.go(middle[:1])
    (youngest,) = play.come()
    play.pass_by(100)
    for index in oldest:
        play.go([index]) if oldest_ends == "granted" else play.queue.remove(index)
    # The middle ones were overtaken 300 times so far: not by their own fellow, nor by those before them.
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 301)
    assert play.overdue() == []
    play.pass_by(1)
    assert play.overdue() == middle[1:]
    # The youngest 800 times.
    play.pass_by(199)
    assert play.overdue() == []
    play.pass_by(1)
    assert play.overdue() == [youngest]


def test_all_that_are_overdue_are_named_the_oldest_first() -> None:
    play = Overtaking()
    first, second, third = play.come(), play.come(), play.come(2)
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 1)
    play.go(third[:1])
    # The third ones are at 999.
    assert play.overdue() == [*first, *second]
    play.pass_by(1)
    assert play.overdue() == third[1:]


def test_who_leaves_without_a_grant_has_overtaken_nobody() -> None:
    play = Overtaking()
    (waiting,) = play.come()
    for index in play.come(OVERTAKES_UNTIL_RESERVED):
        play.queue.remove(index)
    assert play.overdue() == []
    play.pass_by(OVERTAKES_UNTIL_RESERVED)
    assert play.overdue() == [waiting]


def test_steps_without_an_epoch_come_and_go_without_a_trace() -> None:
    play = Overtaking()
    waiting = play.come()
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 1)
    gone = waiting[0] + 1
    for _ in range(2):
        play.queue.granted(gone)
        play.queue.leave_epoch(gone)
    assert play.overdue() == []
    play.pass_by(1)
    assert play.overdue() == waiting


def test_overdue_steps_stand_in_the_order_in_which_they_were_queued_last() -> None:
    play = Overtaking()
    first, second = play.come(2)
    play.go([first, second])
    play.now += 1
    for index in (second, first):
        play.queue.push(index, index, None, play.now)
    # One that ended within the instant and was queued again at it.
    play.go([second])
    play.queue.push(second, second, None, play.now)
    play.pass_by(OVERTAKES_UNTIL_RESERVED)
    assert play.overdue() == [second, first]


def test_those_for_whom_nobody_waits_any_more_are_forgotten() -> None:
    play = Overtaking()
    play.pass_by(100)
    assert len(play.queue.epochs) == 1
    assert len(play.queue.epochs[0].members) == 1
    play.come()
    play.pass_by(100)
    assert len(play.queue.epochs) == 2


def test_the_overtakes_of_an_instant_that_is_over_count_for_no_later_one() -> None:
    play = Overtaking()
    (waiting,) = play.come()
    for _ in range(4):
        play.pass_by(300)
        (later,) = play.come()
        play.go([waiting])
        waiting = later
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 1)
    assert play.overdue() == []
    play.pass_by(1)
    assert play.overdue() == [waiting]


@pytest.mark.parametrize("before", ["nobody", "one who waits", "one who waits, and one who passed"])
def test_a_step_that_passes_through_counts_as_one_that_came_and_was_granted(before: str) -> None:
    play = Overtaking()
    if before != "nobody":
        play.come()
    if before.endswith("passed"):
        play.pass_by(1)
    passed = OVERTAKES_UNTIL_RESERVED - 1 - before.endswith("passed")
    for _ in range(passed):
        play.now += 1
        play.queue.grow_by_one()
        play.queue.pass_through(len(play.queue.queued) - 1, play.now)
    assert play.overdue() == []
    later = play.come(same_instant=True)
    play.pass_by(1)
    assert play.overdue() == ([0] if before != "nobody" else [])
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 1)
    assert play.overdue() == later


def test_before_the_grant_that_may_make_somebody_overdue_the_queue_says_so() -> None:
    play = Overtaking()
    play.come()
    play.pass_by(OVERTAKES_UNTIL_RESERVED - 2)
    assert not play.queue.may_be_overdue()
    play.pass_by(1)
    assert play.queue.may_be_overdue()
    assert play.overdue() == []


# ---------------------------------------------------------------------- reservations


def reserve_all(queue: ReadyQueue, demands: Sequence[Demand | None]) -> None:
    """The last one reserves first."""
    for index, demand in reversed(list(enumerate(demands))):
        queue.push(index, index, demand, 0)
        queue.reserve(index, demand)


def test_reservations_have_growing_numbers_and_those_with_needs_are_listed_apart() -> None:
    queue = queue_of(3)
    reserve_all(queue, [None, LLM, None])
    assert list(queue.queued) == [RESERVED] * 3
    assert sorted(queue.reserved, key=queue.reserved.__getitem__) == [2, 1, 0]
    assert queue.reserved_with_needs == {1: LLM}


def test_the_first_reserved_step_without_needs_comes_up_until_its_reservation_ends() -> None:
    queue = queue_of(3)
    reserve_all(queue, [None, None, None])
    assert [queue.next_reserved_open(), queue.next_reserved_open()] == [2, 2]
    queue.end_reservation(2)
    queue.end_reservation(1)
    assert queue.next_reserved_open() == 0
    queue.end_reservation(0)
    assert queue.next_reserved_open() is None
    assert (queue.reserved, queue.reserved_with_needs) == ({}, {})


def test_only_reservations_before_a_given_one_come_up() -> None:
    queue = queue_of(3)
    reserve_all(queue, [None, LLM, None])
    numbers = dict(queue.reserved)
    assert queue.next_reserved_open(numbers[2]) is None
    assert queue.next_reserved_open(numbers[1]) == 2
    queue.end_reservation(2)
    assert queue.next_reserved_open(numbers[1]) is None
    assert queue.next_reserved_open(numbers[0]) is None
    assert queue.next_reserved_open() == 0


def test_a_step_that_reserves_again_stands_behind_those_that_did_meanwhile() -> None:
    queue = queue_of(2)
    reserve_all(queue, [None, None])
    queue.remove(1)
    assert queue.queued[1] == OUT
    queue.push(1, 1, None, 1)
    queue.reserve(1, None)
    assert queue.next_reserved_open() == 0
    queue.remove(0)
    assert queue.next_reserved_open() == 1


def test_a_step_that_is_removed_has_no_reservation_left() -> None:
    queue = queue_of(2)
    reserve_all(queue, [LLM, None])
    queue.remove(0)
    queue.remove(1)
    assert (queue.reserved, queue.reserved_with_needs, list(queue.queued)) == ({}, {}, [OUT, OUT])
    assert queue.epoch_of == [None, None]

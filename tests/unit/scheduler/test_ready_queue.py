"""The queue by hand: who is next, and how long who waited for what."""

from __future__ import annotations

from executor.model.workflow import Resource, Step
from executor.scheduler.ready_queue import (
    INDEX_MASK,
    LARGEST_RANK,
    OUT,
    QUEUED,
    Line,
    ReadyQueue,
    start_key,
)
from executor.scheduler.resources import Demand, Limits

LIMITS = Limits({"llm": Resource(capacity=1), "disk": Resource(capacity=1)})


def demand_of(name: str) -> Demand:
    demand = LIMITS.demand(Step(step_id="x", tool="noop", needs={name: 1}))
    assert demand is not None
    return demand


def key_of(index: int, rank: int = 0, depth: int = 0, priority: int = 0) -> int:
    return start_key(index, Step(step_id="x", tool="noop", priority=priority), rank, depth)


# ---------------------------------------------------------------------- the order of starts


def test_deeper_calls_go_first_then_priority_then_rank_then_file_order() -> None:
    hour = 3600 * 1_000_000_000
    in_order = [
        key_of(9, depth=2, priority=-100),
        key_of(8, depth=1, priority=1),
        key_of(7, depth=1),
        key_of(6, depth=1, priority=-100, rank=hour),
        key_of(5, priority=100),
        key_of(4, priority=1),
        key_of(3, rank=hour),
        key_of(10, rank=1),
        key_of(0),
        key_of(1),
        key_of(2, priority=-1, rank=LARGEST_RANK),
    ]
    assert in_order == sorted(in_order)


def test_the_index_of_a_step_stands_in_the_lowest_bits_of_its_key_whatever_the_rest() -> None:
    keys = [key_of(7), key_of(7, rank=123), key_of(7, priority=-3), key_of(7, depth=31, priority=2)]
    assert [key & INDEX_MASK for key in keys] == [7] * 4


def test_ranks_beyond_the_largest_are_equal() -> None:
    assert key_of(1, rank=LARGEST_RANK) == key_of(1, rank=LARGEST_RANK * 8)
    assert key_of(1, rank=LARGEST_RANK) < key_of(0, rank=LARGEST_RANK - 1)


def test_a_line_keeps_the_hihistory_of_its_reason() -> None:
    line = Line(demand_of("llm"))
    line.note("resource.llm", 1)
    line.note("worker", 4)
    assert (line.demand, line.history) == (demand_of("llm"), [(1, "resource.llm"), (4, "worker")])


# ---------------------------------------------------------------------- the heaps


def queue_of(count: int) -> ReadyQueue:
    queue = ReadyQueue()
    queue.grow(count)
    return queue


def test_steps_with_the_same_needs_stand_in_one_line_and_those_without_in_none() -> None:
    queue = queue_of(4)
    for index, demand in enumerate([None, demand_of("llm"), demand_of("disk"), demand_of("llm")]):
        queue.push(index, index, demand, 0)
    assert queue.open_heap == [0]
    assert {demand: line.heap for demand, line in queue.lines.items()} == {
        demand_of("llm"): [1, 3],
        demand_of("disk"): [2],
    }
    assert list(queue.queued) == [QUEUED] * 4


def test_the_head_of_a_heap_is_the_smallest_key_that_still_waits() -> None:
    queue = queue_of(3)
    keys = [key_of(index) for index in range(3)]
    for index in (2, 0, 1):
        queue.push(index, keys[index], None, 0)
    assert queue.head(queue.open_heap) == keys[0]
    queue.remove(0)
    queue.remove(1)
    assert queue.head(queue.open_heap) == keys[2]
    queue.remove(2)
    assert queue.head(queue.open_heap) is None
    assert list(queue.queued) == [OUT] * 3


def test_room_can_be_made_again_and_for_one_step_alone() -> None:
    queue = queue_of(2)
    queue.push(1, 1, None, 0)
    queue.grow(2)
    queue.grow_by_one()
    assert list(queue.queued) == [OUT, QUEUED, OUT, OUT, OUT]
    assert [epoch is None for epoch in queue.epoch_of] == [True, False, True, True, True]

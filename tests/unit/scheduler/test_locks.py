"""Order edges: who waits for whom over a state, and which state a wait is called after."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from executor.dependencies import OrderEdge
from executor.model.workflow import Step
from executor.scheduler.locks import Locks, StateUse


def locks_of(index: int, *edges: OrderEdge) -> Locks:
    locks = Locks()
    locks.add(index, edges, [False] * len(edges))
    return locks


def uses(*steps: tuple[Sequence[str], Sequence[str]]) -> list[tuple[OrderEdge, ...]]:
    """The order edges of steps that arrive one after the other, each (what it reads, what it writes)."""
    use = StateUse()
    return [
        use.edges(index, Step(step_id=f"s{index}", reads=tuple(reads), writes=tuple(writes)))
        for index, (reads, writes) in enumerate(steps)
    ]


# ---------------------------------------------------------------------------------------------- edges that are open


def test_a_step_is_locked_until_its_last_order_edge_is_satisfied() -> None:
    locks = locks_of(3, (0, "s"), (1, "t"), (2, "u"))
    assert [locks.locked(index) for index in range(4)] == [False, False, False, True]
    for predecessor, still_locked in ((1, True), (0, True), (2, False)):
        assert locks.satisfy(predecessor) == [3]
        assert locks.locked(3) is still_locked


def test_the_reason_is_the_first_state_that_is_not_open_yet() -> None:
    locks = locks_of(3, (0, "s"), (1, "t"), (2, "u"))
    assert locks.reason(3) == "lock.s"
    locks.satisfy(1)
    assert locks.reason(3) == "lock.s"
    locks.satisfy(0)
    assert locks.reason(3) == "lock.u"


def test_two_states_shared_with_one_step_are_opened_by_its_end_together() -> None:
    locks = locks_of(1, (0, "s"), (0, "t"))
    assert locks.satisfy(0) == [1]
    assert not locks.locked(1)


def test_an_end_opens_the_edges_of_all_that_wait_for_it_in_their_order_and_once() -> None:
    locks = Locks()
    for index in (5, 3, 4):
        locks.add(index, [(0, "s"), (0, "t"), (1, "u")], [False, False, False])
    assert locks.satisfy(0) == [5, 3, 4]
    assert locks.satisfy(0) == []
    assert [locks.reason(index) for index in (3, 4, 5)] == ["lock.u"] * 3


@pytest.mark.parametrize(
    ("satisfied", "reason"),
    [
        ([False, False, False], "lock.s"),
        ([True, False, False], "lock.t"),
        ([True, True, False], "lock.u"),
        ([False, True, True], "lock.s"),
        ([True, True, True], None),
    ],
)
def test_edges_that_are_satisfied_when_the_step_comes_hold_nothing(satisfied: list[bool], reason: str | None) -> None:
    locks = Locks()
    locks.add(3, [(0, "s"), (1, "t"), (2, "u")], satisfied)
    assert (locks.reason(3) if locks.locked(3) else None) == reason
    for predecessor, was_satisfied in enumerate(satisfied):
        if not was_satisfied:
            assert locks.satisfy(predecessor) == [3]
    assert not locks.locked(3)


def test_asking_why_a_writer_waits_costs_no_more_the_more_of_its_readers_are_done() -> None:
    looks = 0

    class Watched(tuple[OrderEdge, ...]):
        __slots__ = ()

        def __getitem__(self, place: object) -> OrderEdge:  # type: ignore[override]  # only ever asked for one
            nonlocal looks
            looks += 1
            return super().__getitem__(place)  # type: ignore[no-any-return, call-overload]  # as above

    readers = 200
    locks = Locks()
    locks.add(readers, Watched((reader, "s") for reader in range(readers)), [False] * readers)
    for reader in range(readers - 1):
        locks.satisfy(reader)
        assert locks.reason(readers) == "lock.s"
    assert looks <= 4 * readers


# ----------------------------------------------------------------------------------- who follows whom over a state


def test_a_reader_follows_the_last_writer_and_a_writer_the_last_writer_and_the_readers_since() -> None:
    write, read = ((), ("s",)), (("s",), ())
    assert uses(read, write, read, read, write, write, read) == [
        (), ((0, "s"),), ((1, "s"),), ((1, "s"),), ((1, "s"), (2, "s"), (3, "s")), ((4, "s"),), ((5, "s"),),
    ]  # fmt: skip


def test_a_step_that_reads_and_writes_a_state_counts_as_its_writer() -> None:
    both, read = (("s",), ("s",)), (("s",), ())
    assert uses(both, both, read) == [(), ((0, "s"),), ((1, "s"),)]


def test_writes_come_before_reads_and_a_state_named_twice_counts_once() -> None:
    assert uses(((), ("a", "b", "c", "b")), (("a", "c", "a"), ("b", "b")))[1] == ((0, "b"), (0, "a"), (0, "c"))


def test_what_a_step_writes_hides_none_of_its_other_reads() -> None:
    assert uses(((), ("a", "b")), (("a", "b"), ("a",)))[1] == ((0, "a"), (0, "b"))


def test_states_are_kept_apart() -> None:
    assert uses(((), ("a",)), ((), ("b",)), (("b",), ()), ((), ("a",))) == [(), (), ((1, "b"),), ((0, "a"),)]

"""Policies with barriers, each gate by hand. A gate asks whether a step is still held: some are cancelled meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from executor.model.workflow import Retry, Step
from executor.scheduler.barriers import POLICIES, BatchGate, Gate, LevelGate, gate_for
from tests.unit.scheduling import Hand, step

TRIPLING = Retry(max_attempts=3, backoff_seconds=2, multiplier=3, jitter="none")


class Barrier:
    """A gate, the steps that it knows, and those that it holds."""

    def __init__(self, gate: Gate, levels: Mapping[int, int], groups: Mapping[int, int | str] | None = None) -> None:
        self.gate = gate
        self.held: set[int] = set()
        self.add(levels, groups)

    def add(self, levels: Mapping[int, int], groups: Mapping[int, int | str] | None = None) -> None:
        for index, level in levels.items():
            self.gate.add(index, Step(step_id=f"s{index}", parallel_group=(groups or {}).get(index)), level)

    def arrive(self, *indices: int, locked: bool = False) -> list[bool]:
        answers = [self.gate.arrive(index, locked=locked) for index in indices]
        self.held.update(index for index, passes in zip(indices, answers, strict=True) if not passes)
        return answers

    def cancel(self, *indices: int) -> None:
        self.held.difference_update(indices)
        self.leave(*indices)

    def open(self) -> list[int]:
        opened = self.gate.open(self.held.__contains__)
        self.held.difference_update(opened)
        return opened

    def leave(self, *indices: int) -> None:
        for index in indices:
            self.gate.leave(index)


# ------------------------------------------------------------------------------------------------------------ levels


def test_a_level_passes_until_the_last_member_of_it_has_left() -> None:
    barrier = Barrier(LevelGate(), {0: 0, 1: 0, 2: 1, 3: 1, 4: 2})
    assert barrier.arrive(0, 1, 2, 4) == [True, True, False, False]
    assert barrier.open() == []
    barrier.leave(0)
    assert barrier.open() == []
    barrier.leave(1)
    assert barrier.open() == [2]
    assert barrier.arrive(3) == [True]
    barrier.leave(2, 3)
    assert barrier.open() == [4]
    assert barrier.open() == []


def test_levels_of_which_all_have_left_are_passed_over_in_one_go() -> None:
    barrier = Barrier(LevelGate(), {0: 0, 1: 1, 2: 2, 3: 3})
    assert barrier.arrive(0, 3) == [True, False]
    barrier.leave(0, 1, 2)
    assert barrier.open() == [3]


def test_a_step_that_was_cancelled_at_the_barrier_does_not_pass_it() -> None:
    barrier = Barrier(LevelGate(), {0: 0, 1: 1, 2: 1})
    barrier.arrive(0, 1, 2)
    barrier.leave(0)
    barrier.cancel(1)
    assert barrier.open() == [2]


def test_levels_are_counted_over_order_edges_too_so_a_lock_does_not_matter_to_the_barrier() -> None:
    barrier = Barrier(LevelGate(), {0: 0, 1: 1})
    assert barrier.arrive(0, 1, locked=True) == [True, False]
    barrier.gate.unlock(1)
    assert barrier.open() == []


def test_a_late_step_belongs_to_the_current_level_or_to_a_later_one() -> None:
    barrier = Barrier(LevelGate(), {0: 0, 1: 1, 2: 2})
    barrier.leave(0)
    barrier.open()
    barrier.add({3: 0, 4: 2})
    assert barrier.arrive(3, 2, 4) == [True, False, False]
    barrier.leave(1)
    assert barrier.open() == []
    barrier.leave(3)
    assert barrier.open() == [2, 4]


def test_the_current_level_takes_late_steps_after_all_others_have_left() -> None:
    barrier = Barrier(LevelGate(), {0: 0, 1: 1})
    barrier.leave(0, 1)
    assert barrier.open() == []
    barrier.add({2: 0, 3: 5})
    assert barrier.arrive(2, 3) == [True, False]
    barrier.leave(2)
    assert barrier.open() == [3]


def test_levels_may_begin_anywhere() -> None:
    barrier = Barrier(LevelGate(), {0: 3, 1: 1})
    assert barrier.arrive(0, 1) == [False, False]
    assert barrier.open() == [1]
    barrier.leave(1)
    assert barrier.open() == [0]


# ----------------------------------------------------------------------------------------------------------- batches


def test_the_earliest_ungrouped_step_runs_alone_before_any_group() -> None:
    barrier = Barrier(BatchGate(), dict.fromkeys(range(4), 0), {0: "g", 3: "g"})
    assert barrier.arrive(3, 2, 0, 1) == [False] * 4
    for batch in ([1], [2], [0, 3]):
        assert barrier.open() == batch
        assert barrier.open() == []
        barrier.leave(*batch)
    assert barrier.open() == []


def test_a_batch_is_over_when_the_last_of_it_has_left() -> None:
    barrier = Barrier(BatchGate(), dict.fromkeys(range(4), 0), {0: "g", 1: "g", 2: 1})
    barrier.arrive(0, 1, 2)
    assert barrier.open() == [0, 1]
    barrier.arrive(3)
    barrier.leave(0)
    assert barrier.open() == []
    barrier.leave(1)
    assert barrier.open() == [3]


def test_the_group_of_the_earliest_listed_ready_member_goes_first() -> None:
    barrier = Barrier(BatchGate(), dict.fromkeys(range(4), 0), {0: "g", 1: 1, 2: "g", 3: "1"})
    barrier.arrive(3, 2, 1)
    assert barrier.open() == [1]
    barrier.arrive(0)
    barrier.leave(1)
    assert barrier.open() == [0, 2]
    barrier.leave(0, 2)
    assert barrier.open() == [3]


def test_a_member_that_tries_again_passes_as_long_as_its_batch_lasts() -> None:
    barrier = Barrier(BatchGate(), {0: 0, 1: 0})
    barrier.arrive(0, 1)
    assert barrier.open() == [0]
    assert barrier.arrive(0) == [True]


def test_a_locked_step_is_in_no_batch_until_it_is_unlocked() -> None:
    barrier = Barrier(BatchGate(), {0: 0, 1: 0, 2: 0}, {0: "g", 2: "g"})
    assert barrier.arrive(0, 1, locked=True) == [False, False]
    barrier.arrive(2)
    assert barrier.open() == [2]
    barrier.leave(2)
    assert barrier.open() == []
    barrier.gate.unlock(0)
    barrier.gate.unlock(1)
    assert barrier.open() == [1]


@pytest.mark.parametrize(("cancelled", "batch"), [((0,), [1, 3]), ((1,), [0, 3]), ((0, 1, 3), [2]), ((0, 1, 2, 3), [])])
def test_a_step_that_was_cancelled_at_the_barrier_is_in_no_batch(cancelled: tuple[int, ...], batch: list[int]) -> None:
    barrier = Barrier(BatchGate(), dict.fromkeys(range(5), 0), {0: "g", 1: "g", 2: "h", 3: "g"})
    barrier.arrive(0, 1, 2, 3, 4)
    barrier.cancel(4, *cancelled)
    assert barrier.open() == batch


def test_a_cancelled_ungrouped_step_lets_the_next_go_first() -> None:
    barrier = Barrier(BatchGate(), {0: 0, 1: 0})
    barrier.arrive(0, 1)
    barrier.cancel(0)
    assert barrier.open() == [1]


# ---------------------------------------------------------------------------------------------------------- policies


def test_two_policies_have_barriers_and_an_unknown_one_is_refused_with_those_that_there_are() -> None:
    assert [type(gate_for(policy)) for policy in POLICIES] == [type(None), LevelGate, BatchGate, type(None)]
    with pytest.raises(ValueError, match=r"^unknown policy 'fast': use one of dataflow, levels, barrier, serial$"):
        gate_for("fast")  # type: ignore[arg-type]  # a wrong word is what the test is about


# ---------------------------------------------------------------------- policies in a run


def test_levels_are_barriers() -> None:
    hand = Hand([step("a"), step("b"), step("c", "a")], policy="levels")
    assert hand.start() == ["a", "b"]
    assert hand.turn(1, "a") == []
    assert hand.turn(3, "b") == ["c"]
    assert hand.waits("c") == [("barrier", 1, 3)]


def test_a_level_is_not_over_while_a_member_backs_off() -> None:
    hand = Hand([step("a", retry=TRIPLING), step("b"), step("c", "b")], policy="levels")
    hand.start()
    hand.end("a", 1, "failed")
    assert hand.turn(1, "b") == []
    assert hand.start(3) == ["a"]
    assert hand.turn(4, "a") == ["c"]


def test_barrier_runs_ungrouped_steps_alone_and_a_group_together() -> None:
    steps = [step("g1", parallel_group=1), step("u"), step("g2", parallel_group=1), step("h", parallel_group="1")]
    hand = Hand(steps, policy="barrier")
    assert hand.start() == ["u"]
    assert hand.turn(1, "u") == ["g1", "g2"]
    assert hand.turn(2, "g1") == []
    assert hand.turn(3, "g2") == ["h"]

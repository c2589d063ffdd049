"""Rule 3: which steps follow each other because of a state."""

from __future__ import annotations

from executor.dependencies.shared_state import order_edges
from tests.unit.dependencies.plans import step


def test_a_writer_follows_the_last_writer_and_the_readers_since() -> None:
    steps = [
        step("r0", reads=("s",)), step("w0", writes=("s",)), step("r1", reads=("s",)), step("x"),
        step("r2", reads=("s",)), step("w1", writes=("s",)), step("w2", writes=("s",)),
    ]  # fmt: skip
    assert order_edges(steps, range(7)) == [
        (), ((0, "s"),), ((1, "s"),), (), ((1, "s"),), ((1, "s"), (2, "s"), (4, "s")), ((5, "s"),),
    ]  # fmt: skip


def test_edges_go_along_the_order_given_not_along_the_file() -> None:
    steps = [step("a", writes=("s",)), step("b", reads=("s",)), step("c", writes=("s",))]
    assert order_edges(steps, [2, 1, 0]) == [((2, "s"), (1, "s")), ((2, "s"),), ()]


def test_a_step_that_reads_and_writes_a_state_is_its_writer_and_a_reader_of_the_others() -> None:
    steps = [step("a", writes=("x", "y", "z")), step("b", reads=("x", "y", "z", "y"), writes=("x", "x"))]
    assert order_edges(steps, range(2))[1] == ((0, "x"), (0, "y"), (0, "z"))
    steps.append(step("c", writes=("y", "x")))
    assert order_edges(steps, range(3))[2] == ((0, "y"), (1, "y"), (1, "x"))


def test_steps_without_a_state_follow_nobody() -> None:
    assert order_edges([step("a", writes=("s",)), step("b"), step("c", reads=("t",))], range(3)) == [(), (), ()]

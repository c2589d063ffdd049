"""What is computed from edges alone: orders, knots of cycles, levels, ranks; and how names are listed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import pytest

from executor.dependencies.graph import (
    components,
    levels_of,
    listed,
    ranks_of,
    shortest_cycle,
    spelled,
    topological_order,
)
from tests.unit.dependencies.plans import step

Parents = list[tuple[int, ...]]
STEPS = 4


def every_graph() -> Iterator[Parents]:
    """All graphs of four steps, of which none waits for itself."""
    choices = [
        [tuple(one for one in range(STEPS) if bits >> one & 1) for bits in range(1 << STEPS) if not bits >> place & 1]
        for place in range(STEPS)
    ]
    yield from map(list, product(*choices))


def all_above(parents: Parents) -> list[set[int]]:
    """What each step waits for, near or far."""
    above = [set(direct) for direct in parents]
    for _ in parents:
        for found in above:
            found.update(*[above[parent] for parent in found])
    return above


# -- the order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parents", "order"),
    [
        ([], []),
        ([(), (0,), (0, 1)], [0, 1, 2]),
        ([(1,), ()], [1, 0]),
        ([(2,), (), (), (1,)], [1, 2, 0, 3]),
        ([(3, 4), (3,), (4,), (), ()], [3, 1, 4, 0, 2]),
    ],
)
def test_the_order_takes_the_earliest_listed_available_step(parents: Parents, order: list[int]) -> None:
    assert list(topological_order(parents)) == order


@pytest.mark.parametrize(
    ("parents", "order"),
    [([(0,)], []), ([(), (1,)], [0]), ([(1,), (0,), (), (2,), (0,)], [2, 3])],
)
def test_steps_in_a_cycle_or_behind_one_stand_in_no_order(parents: Parents, order: list[int]) -> None:
    assert list(topological_order(parents)) == order


# -- cycles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parents", "knots"),
    [
        ([(), (0,)], []),
        ([(1,), (0,), (), (4, 2), (3,), (4,)], [[0, 1], [3, 4]]),
        ([(1,), (0, 2), (3,), (2,)], [[0, 1], [2, 3]]),
        ([(1,), (0,), (3, 0), (2,)], [[0, 1], [2, 3]]),
        ([(2,), (0,), (1,), (0, 2)], [[0, 1, 2]]),
    ],
)
def test_knots_of_cycles_are_listed_by_their_earliest_step(parents: Parents, knots: list[list[int]]) -> None:
    assert components(parents, topological_order(parents)) == knots


def test_in_every_graph_of_four_steps_a_knot_is_what_waits_for_each_other() -> None:
    for parents in every_graph():
        above = all_above(parents)
        knots = {
            tuple(other for other in range(STEPS) if other in above[place] and place in above[other])
            for place in range(STEPS)
        } - {()}
        order = topological_order(parents)
        assert components(parents, order) == sorted(map(list, knots)), parents
        assert set(order) == {place for place in range(STEPS) if not any(above[one] & {one} for one in
                              {place, *above[place]})}, parents  # fmt: skip


def test_a_shortest_cycle_begins_at_the_earliest_step_and_each_step_is_needed_by_the_next() -> None:
    assert shortest_cycle([(1, 2), (2,), (0,)], [0, 1, 2]) == [0, 2, 0]
    assert shortest_cycle([(3,), (0,), (1,), (2,)], [0, 1, 2, 3]) == [0, 1, 2, 3, 0]
    # A step above the knot belongs to no cycle.
    assert shortest_cycle([(), (0, 2), (1, 0)], [1, 2]) == [1, 2, 1]


def test_in_every_graph_of_four_steps_no_cycle_through_that_step_is_shorter() -> None:
    for parents in every_graph():
        for knot in components(parents, topological_order(parents)):
            cycle = shortest_cycle(parents, knot)
            assert cycle[0] == cycle[-1] == knot[0], parents
            assert all(one in parents[other] for one, other in pairwise(cycle)), parents
            reached, length = {knot[0]}, 0
            while length == 0 or knot[0] not in reached:
                reached = {parent for place in reached for parent in parents[place]}
                length += 1
            assert len(cycle) - 1 == length, parents


# -- levels and ranks -------------------------------------------------------------------------------------------------


def test_a_level_is_the_longest_path_from_a_root_over_edges_of_both_kinds() -> None:
    parents: Parents = [(1, 2), (), (1,), (), (3,)]
    assert levels_of([1, 2, 0, 3, 4], parents, [()] * 5) == [2, 0, 1, 0, 1]
    assert levels_of([1, 2, 0, 3, 4], parents, [(), (), (), ((0, "s"), (1, "s")), ()]) == [2, 0, 1, 3, 4]


def test_a_rank_is_the_own_duration_and_the_longest_way_down_over_edges_of_both_kinds() -> None:
    steps = [step("a", expected_seconds=2), step("b"), step("c", expected_seconds=0), step("d", expected_seconds=0.5)]
    parents: Parents = [(), (0,), (0,), ()]
    assert ranks_of(steps, [0, 1, 2, 3], parents, [()] * 4) == [3 * 10**9, 10**9, 0, 5 * 10**8]
    edges = [(), (), (), ((1, "s"), (2, "s"))]
    assert ranks_of(steps, [0, 1, 2, 3], parents, edges) == [3_500_000_000, 1_500_000_000, 5 * 10**8, 5 * 10**8]


# -- names in messages ------------------------------------------------------------------------------------------------


def test_of_more_than_twenty_names_a_chain_shows_the_first_ten_and_the_last_nine() -> None:
    names = [f"s{number}" for number in range(1500)]
    assert spelled(names[:2]) == "s0 → s1"
    assert spelled(names[:20]) == " → ".join(names[:20])
    first = "s0 → s1 → s2 → s3 → s4 → s5 → s6 → s7 → s8 → s9"
    assert spelled(names[:21]) == f"{first} → … 2 more … → s12 → s13 → s14 → s15 → s16 → s17 → s18 → s19 → s20"
    assert spelled(names).startswith(f"{first} → … 1,481 more … → s1491 → ")


def test_of_more_than_five_names_a_list_shows_the_first_five() -> None:
    assert listed(["a"]) == "'a'"
    assert listed(["a", "b"]) == "'a' and 'b'"
    assert listed(list("abcde")) == "'a', 'b', 'c', 'd' and 'e'"
    assert listed(list("abcdef")) == "'a', 'b', 'c', 'd', 'e' and 1 more"
    assert listed([1, "1"]) == "1 and '1'"

"""Rule 2: what is said of the members of a parallel group, and how far it is looked."""

from __future__ import annotations

import pytest

from executor.model.workflow import Step
from tests.unit.dependencies.plans import codes, graph_of, planned, said, step

TOGETHER = "they cannot run together"
APART = "fix: put them into different groups, or give each its own state"
TAKE_OUT = "fix: take one of them out of the group, or take the dependency out"
CHAIN = (step("a", parallel_group="g"), step("x", "a"), step("y", "x"), step("b", "y", parallel_group="g"))


# -- conflicts over a state -------------------------------------------------------------------------------------------


def test_writers_of_one_state_are_named_at_the_second_of_them() -> None:
    found = planned(
        step("a", writes=("s",), parallel_group=1), step("b", writes=("t", "s"), parallel_group=1), step("c")
    )
    assert said(found) == [
        f"error[group-conflict] step 'b', steps[1].writes[1]: 'a' and 'b' of group 1 all write 's': {TOGETHER}",
        APART,
    ]


def test_readers_of_a_state_that_one_member_writes_are_named_at_the_first_of_them() -> None:
    found = planned(
        step("w", writes=("s",), parallel_group="g"),
        step("r", reads=("t", "s"), parallel_group="g"),
        step("q", reads=("s",), parallel_group="g"),
    )
    does = "'w' of group 'g' writes 's', which 'r' and 'q' of the same group read"
    assert said(found) == [f"error[group-conflict] step 'r', steps[1].reads[1]: {does}: {TOGETHER}", APART]


def test_readers_are_named_with_the_writers() -> None:
    found = planned(
        step("r", reads=("s",), parallel_group=1),
        step("a", writes=("s",), parallel_group=1),
        step("b", writes=("s",), reads=("s",), parallel_group=1),
        step("c", writes=("s",), parallel_group=1),
    )
    does = "'a', 'b' and 'c' of group 1 all write 's', which 'r' of the same group read"
    assert said(found) == [f"error[group-conflict] step 'b', steps[2].writes[0]: {does}: {TOGETHER}", APART]


def test_each_state_of_a_group_is_told() -> None:
    found = planned(
        step("a", writes=("own", "s", "t"), parallel_group=1),
        step("b", writes=("t",), reads=("s",), parallel_group=1),
    )
    assert [(finding.code, finding.field) for finding in found.findings] == [
        ("group-conflict", "steps[1].reads[0]"),
        ("group-conflict", "steps[1].writes[0]"),
    ]


def test_a_member_does_not_conflict_with_itself_nor_with_other_groups_nor_readers_with_readers() -> None:
    graph_of(step("a", writes=("s", "s"), reads=("s",), parallel_group=1), step("b", parallel_group=1))
    graph_of(step("a", writes=("s",), parallel_group=1), step("b", writes=("s",), parallel_group=2))
    graph_of(step("a", writes=("s",), parallel_group=1), step("b", reads=("s",)), step("c", parallel_group=1))
    graph_of(*(step(name, reads=("s",), parallel_group=1) for name in "abc"))


# -- paths between members --------------------------------------------------------------------------------------------


def test_a_path_between_members_is_told_with_the_steps_on_it() -> None:
    sentence = "error[group-dependency] step 'b', steps[{}].parallel_group: depends on 'a' of the same group {}: {}"
    direct = planned(step("a", parallel_group=1), step("b", "a", parallel_group=1))
    assert said(direct) == [sentence.format(1, 1, "a → b"), TAKE_OUT]
    assert said(planned(*CHAIN)) == [sentence.format(3, "'g'", "a → x → y → b"), TAKE_OUT]
    assert said(planned(*reversed(CHAIN))) == [sentence.format(0, "'g'", "a → x → y → b"), TAKE_OUT]


def test_of_several_paths_that_through_the_earliest_listed_step_is_told() -> None:
    fork = (step("a", parallel_group="g"), step("x", "a"), step("y", "a"), step("b", "x", "y", parallel_group="g"))
    sentence, _ = said(planned(*fork))
    assert "a → x → b" in sentence
    deeper = (*fork[:3], step("z", "x", "y"), step("b", "z", parallel_group="g"))
    sentence, _ = said(planned(*deeper))
    assert "a → x → z → b" in sentence


def test_a_member_below_several_is_told_once_and_steps_between_members_not_at_all() -> None:
    found = planned(
        step("a", parallel_group=1),
        step("x", "a"),
        step("b", "x", parallel_group=1),
        step("y", "b"),
        step("c", "y", "a", parallel_group=1),
        step("d", parallel_group=1),
    )
    assert codes(found) == [("group-dependency", "b"), ("group-dependency", "c")]
    assert "depends on 'a' of the same group 1: a → x → b" in said(found)[0]


def test_members_of_three_levels_without_a_path_are_fine() -> None:
    graph_of(
        step("x"), step("y", "x"), step("a", parallel_group=1), step("b", "x", parallel_group=1),
        step("c", "y", parallel_group=1),
    )  # fmt: skip


def test_a_path_between_members_that_conflict_is_not_told_again() -> None:
    conflicting = (step("a", writes=("s",), parallel_group=1), step("b", "a", writes=("s",), parallel_group=1))
    assert codes(planned(*conflicting)) == [("group-conflict", "b")]
    # That both conflict with a third member says nothing of this path.
    found = planned(
        step("a", writes=("s",), parallel_group=1),
        step("b", writes=("s", "t"), parallel_group=1),
        step("c", "a", writes=("t",), parallel_group=1),
        step("d", "a", parallel_group=1),
    )
    assert codes(found) == [
        ("group-conflict", "b"),
        ("group-conflict", "c"),
        ("group-dependency", "c"),
        ("group-dependency", "d"),
    ]


def test_a_group_of_one_hides_no_fault_of_the_next() -> None:
    found = planned(step("one", parallel_group=1), *CHAIN)
    assert codes(found) == [("group-dependency", "b")]


# -- groups that span too much ----------------------------------------------------------------------------------------


def checked(monkeypatch: pytest.MonkeyPatch, limit: int, *steps: Step) -> list[tuple[str, str | None]]:
    """What is found where so many steps may be looked at."""
    monkeypatch.setattr("executor.dependencies.parallel_groups.VISITS_LIMIT", limit)
    return codes(planned(*steps))


def test_a_group_that_cannot_be_checked_to_the_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, 3, *CHAIN) == [("group-dependency", "b")]
    assert checked(monkeypatch, 2, *CHAIN) == [("group-not-checked", None), ("group-dependency", "b")]
    # The step between y and a was not looked at.
    assert checked(monkeypatch, 0, *CHAIN) == [("group-not-checked", None)]


def test_groups_behind_the_one_that_used_up_the_limit_are_checked_for_conflicts_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = [step("c", parallel_group=7), step("d", "c", parallel_group=7)]
    clashing = [step(name, writes=("s",), parallel_group="h") for name in "ef"]
    assert checked(monkeypatch, 4, *CHAIN, *more) == [("group-dependency", "b"), ("group-dependency", "d")]
    # Just used up by the first group, so that the second one goes over it.
    assert checked(monkeypatch, 3, *CHAIN, *more) == [
        ("group-not-checked", None),
        ("group-dependency", "b"),
        ("group-dependency", "d"),
    ]
    assert checked(monkeypatch, 0, *CHAIN, *more, *clashing) == [("group-not-checked", None), ("group-conflict", "f")]


def test_steps_at_or_above_the_level_of_the_highest_member_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [step("r"), step("a", "r", parallel_group=1), step("b", "a", parallel_group=1)]
    assert checked(monkeypatch, 1, *chain) == [("group-dependency", "b")]
    beside = [step("r"), step("z", "r"), step("a", "r", parallel_group=1), step("b", "z", parallel_group=1)]
    assert checked(monkeypatch, 1, *beside) == []
    level = [step("r"), *(step(name, "r", parallel_group=1) for name in "abc")]
    assert checked(monkeypatch, 0, *level) == []


def test_the_warning_names_the_groups_and_stands_before_what_is_said_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.dependencies.parallel_groups.VISITS_LIMIT", 0)
    more = [step("c", parallel_group=7), step("z", "c"), step("d", "z", parallel_group=7)]
    fix = "fix: take `parallel_group` out where the policy `barrier` is not used: it changes nothing elsewhere"
    rest = "too much of a large graph to be checked for paths between members"
    warning = "warning[group-not-checked] steps: "
    assert said(planned(*CHAIN)) == [f"{warning}group 'g' spans {rest}", fix]
    found = planned(*CHAIN, *more, step("e", "nobody"))
    assert said(found)[:2] == [f"{warning}groups 'g' and 7 span {rest}", fix]
    assert codes(found)[1:] == [("unknown-dependency", "e")]

"""What could be written better: dependencies that say nothing new, groups that could be wider."""

from __future__ import annotations

import pytest

from executor.model.workflow import Step
from tests.unit.dependencies.plans import codes, planned, said, step


def hinted(*steps: Step) -> list[str]:
    return said(planned(*steps, hints=True))


# -- dependencies -----------------------------------------------------------------------------------------------------


def test_a_declared_dependency_that_a_longer_path_implies_is_told_where_it_is_written() -> None:
    chain = [step("a"), step("b", "a"), step("c", "b"), step("d", "c", "a"), step("e", "c", "d", "a", "b")]
    need_not = "need not name {}: it waits for it through another step"
    expected = [("d", 3, 1, "'a'"), ("e", 4, 0, "'c'"), ("e", 4, 2, "'a'"), ("e", 4, 3, "'b'")]
    assert hinted(*chain) == [
        line
        for name, place, position, other in expected
        for line in (
            f"hint[unneeded-dependency] step '{name}', steps[{place}].depends_on[{position}]: {need_not.format(other)}",
            "fix: take it out",
        )
    ]


def test_dependencies_without_a_longer_path_are_needed_wherever_their_steps_stand() -> None:
    assert hinted(step("d", "b", "c"), step("a"), step("b", "a"), step("c", "a"), step("e", "a")) == []
    assert codes(planned(step("d", "b", "a"), step("b", "a"), step("a"), hints=True)) == [("unneeded-dependency", "d")]


def test_a_dependency_whose_output_is_used_is_needed_and_the_others_are_not() -> None:
    chain = [step("a"), step("b", "a"), step("c", "b"), step("d", "a", "b", "c", prompt="{{ steps.a.output }}")]
    assert [finding.field for finding in planned(*chain, step("e"), hints=True).findings] == ["steps[3].depends_on[1]"]
    # What only templates name is nothing to take out.
    assert hinted(step("a"), step("b", "a"), step("c", "b", prompt="{{ steps.a.output }}")) == []


# -- groups -----------------------------------------------------------------------------------------------------------


def test_steps_that_can_run_beside_a_group_are_named_with_the_words_to_write() -> None:
    found = hinted(step("x"), step("a", "x", parallel_group=7), step("b", "x"), step("c", "b"), step("d", "x"))
    assert found == [
        "hint[group-could-be-wider] step 'b', steps[2]: group 7 could be wider: 'b' and 'd' can run beside it",
        "fix: add `parallel_group: 7` to it",
    ]
    # 1 and "1" are two groups.
    assert hinted(step("a", parallel_group="1"), step("b"))[1] == "fix: add `parallel_group: '1'` to it"


def test_a_step_is_offered_to_one_group_and_groups_across_levels_are_passed_over() -> None:
    members = [step("a", parallel_group="across"), step("b", "x", parallel_group="across"), step("x")]
    found = planned(*members, step("c", parallel_group="one"), step("d", parallel_group="two"), hints=True)
    assert [finding.message for finding in found.findings] == ["group 'one' could be wider: 'x' can run beside it"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"writes": ("s",)}, {"writes": ("s",)}),
        ({"writes": ("s",)}, {"reads": ("s",)}),
        ({"reads": ("s",)}, {"writes": ("s",)}),
    ],
)
def test_a_step_that_shares_state_with_a_member_is_not_offered(
    first: dict[str, tuple[str, ...]], second: dict[str, tuple[str, ...]]
) -> None:
    # The later one of two that share state is on a lower level.
    apart = [step("r"), step("m", "r", parallel_group=1, **first), step("o", "r", **second)]
    assert codes(planned(*apart, hints=True)) == []
    # Two that could join alone cannot join together.
    pair = [step("r"), step("m", "r", parallel_group=1), step("p", "r", **first), step("q", "r", **second)]
    assert [finding.step for finding in planned(*pair, hints=True).findings] == ["p"]


def test_readers_of_one_state_join_together() -> None:
    readers = [step(name, reads=("s",)) for name in "ab"]
    assert len(planned(step("m", reads=("s",), parallel_group=1), *readers, hints=True).findings) == 1


def test_above_the_limit_it_says_that_there_are_no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.dependencies.hints.HINTS_LIMIT_STEPS", 1003)
    more = [step(f"s{number}") for number in range(1000)]
    chain = [step("a"), step("b", "a"), step("c", "b", "a")]
    assert codes(planned(*more, *chain, hints=True)) == [("unneeded-dependency", "c")]
    found = planned(*more, *chain, step("d"), hints=True)
    assert said(found) == ["hint[hints-skipped] hints are left out: the workflow has more than 1,003 steps"]

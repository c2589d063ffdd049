"""Steps that make calls: ids, depths, and what is left running below whom."""

from __future__ import annotations

import pytest

from executor.model.workflow import Step
from executor.scheduler.call_tree import CallTree
from executor.scheduler.errors import SchedulerError


def step(name: str = "x", *depends_on: str, reads: tuple[str, ...] = (), writes: tuple[str, ...] = ()) -> Step:
    return Step(step_id=name, depends_on=depends_on, reads=reads, writes=writes)


def call_tree_of(*parents: int) -> CallTree:
    """Step i+1 is a call of ``parents[i]``."""
    call_tree = CallTree(32)
    for index, parent in enumerate(parents, 1):
        call_tree.add_call(parent, index, step())
    return call_tree


def check(
    call_tree: CallTree, *calls: Step, of: Step | None = None, final: tuple[int, ...] = ()
) -> list[tuple[str, object]]:
    """Check calls of step 0, `top`; step 1 is called `other`. Ids, and the indices that they depend on."""
    known = {"top": 0, "other": 1, "top/1": 2}
    checked = call_tree.check_calls(0, "top", of or step("top"), calls, known, final.__contains__, 3)
    return [(step_id, above) for _, step_id, above in checked]


def test_the_tree_is_known_from_both_ends() -> None:
    call_tree = call_tree_of(0, 0, 1, 2, 4)
    assert [call_tree.parent(index) for index in range(6)] == [-1, 0, 0, 1, 2, 4]
    assert [call_tree.depth(index) for index in range(6)] == [0, 1, 1, 2, 2, 3]
    assert call_tree.parents(8) == [-1, 0, 0, 1, 2, 4, -1, -1]
    assert [list(call_tree.calls(index)) for index in range(6)] == [[1, 2], [3], [4], [], [5], []]
    assert [call_tree.has_calls(index) for index in range(6)] == [True, True, True, False, True, False]


def test_who_neither_calls_nor_is_called_stands_at_the_top() -> None:
    call_tree = CallTree(32)
    assert (call_tree.parent(0), call_tree.depth(0), call_tree.parents(2)) == (-1, 0, [-1, -1])


def test_calls_may_be_as_deep_as_it_says_and_no_deeper() -> None:
    call_tree = CallTree(2)
    for index in (1, 2):
        call_tree.check_calls(index - 1, "x", step(), [step()], {}, lambda _: False, index)
        call_tree.add_call(index - 1, index, step())
    with pytest.raises(SchedulerError, match="'x' calls more than 2 levels deep"):
        call_tree.check_calls(2, "x", step(), [step()], {}, lambda _: False, 3)


def test_a_call_with_a_list_is_refused() -> None:
    mapped = Step(step_id="x", for_each="{{ steps.other.output }}")
    with pytest.raises(SchedulerError, match="a call of step 'top' has `for_each`"):
        check(CallTree(32), mapped)


# ---------------------------------------------------------------------------------------------------------------- ids


def test_calls_are_numbered_on_and_on_past_ids_that_are_taken() -> None:
    call_tree = CallTree(32)
    assert [step_id for step_id, _ in check(call_tree, step("a"), step("b"))] == ["top/2", "top/3"]
    assert [step_id for step_id, _ in check(call_tree, step("a"))] == ["top/4"]
    taken = {"top/5": 5, "top/6": 6, "top/8": 8}
    assert list(call_tree.new_ids(0, "top", 3, taken)) == ["top/7", "top/9", "top/10"]
    assert list(call_tree.new_ids(0, "top", 1, {})) == ["top/11"]
    assert list(call_tree.new_ids(1, "other", 2, {})) == ["other/1", "other/2"]
    checked = call_tree.check_calls(2, "third", step(), [step()], {}, lambda _: False, 9)
    assert [step_id for _, step_id, _ in checked] == ["third/1"]


def test_ids_that_are_taken_in_a_row_are_all_passed_over() -> None:
    call_tree = CallTree(32)
    taken = {f"top/{number}": number for number in (1, 2, 3, 5)}
    checked = call_tree.check_calls(0, "top", step(), [step(), step()], taken, lambda _: False, 9)
    assert [step_id for _, step_id, _ in checked] == ["top/4", "top/6"]


def test_a_plain_call_is_noted_as_any_other_is() -> None:
    plain, other = CallTree(3), CallTree(3)
    known = dict.fromkeys(("a/2", "a/3", "a/5"), 9)
    calls = ((0, "a"), (0, "a"), (1, "a/1"), (3, "a/1/1"), (0, "a"), (2, "a/4"))
    for index, (parent, parent_id) in enumerate(calls, 1):
        ((_, step_id, _),) = other.check_calls(parent, parent_id, step(), [step()], known, lambda _: False, index)
        other.add_call(parent, index, step())
        assert plain.add_plain_call(parent, parent_id, index, known) == step_id
    assert plain.parents(8) == other.parents(8)
    assert [plain.depth(index) for index in range(8)] == [other.depth(index) for index in range(8)]
    assert [list(plain.calls(index)) for index in range(8)] == [list(other.calls(index)) for index in range(8)]
    assert plain.add_plain_call(4, "a/1/1/1", 8, known) is None
    assert (plain.parent(8), plain.calls(4)) == (-1, ())


# -------------------------------------------------------------------------------------------- what calls may depend on


def test_calls_of_one_batch_name_each_other_by_the_ids_they_came_with_or_those_they_get() -> None:
    found = check(CallTree(32), step("a"), step("b"), step("c", "b", "top/2", "b"))
    assert found == [("top/2", ()), ("top/3", ()), ("top/4", (3, 4))]


def test_a_call_may_depend_on_an_earlier_call_of_its_step_and_on_any_step_that_is_final() -> None:
    call_tree = CallTree(32)
    call_tree.add_call(0, 2, step())
    assert check(call_tree, step("a", "top/1"), step("b", "other"), final=(1,)) == [("top/2", (2,)), ("top/3", (1,))]


def test_what_comes_with_the_batch_hides_a_step_of_the_same_id() -> None:
    assert check(CallTree(32), step("other"), step("b", "other"))[1] == ("top/3", (3,))


def test_a_call_may_depend_on_a_final_first_step() -> None:
    call_tree = CallTree(32)
    checked = call_tree.check_calls(1, "b", step("b"), [step("x", "a")], {"a": 0, "b": 1}, lambda index: index == 0, 2)
    assert [above for _, _, above in checked] == [(0,)]


@pytest.mark.parametrize("name", ["other", "top/1", "nobody", "later"])
def test_a_call_may_depend_on_nothing_else(name: str) -> None:
    words = f"^a call of step 'top' depends on '{name}': only other calls of that step and steps that are final can be"
    with pytest.raises(SchedulerError, match=words):
        check(CallTree(32), step("a", name), step("later"), final=())


# ------------------------------------------------------------------------------------------------ what calls may share


@pytest.mark.parametrize(
    ("call", "forbidden"),
    [
        (step(reads=("r", "w")), None),
        (step(writes=("w",)), None),
        (step(reads=("w",), writes=("w",)), None),
        (step(writes=("r",)), "r"),
        (step(reads=("z", "y", "r")), "y"),
        (step(writes=("z",)), "z"),
        (step(reads=("w",), writes=("w", "z")), "z"),
        (step(reads=("z",), writes=("w",)), "z"),
    ],
)
def test_a_call_reads_what_its_step_reads_or_writes_and_writes_what_it_writes(
    call: Step, forbidden: str | None
) -> None:
    caller = step("top", reads=("r",), writes=("w",))
    if forbidden is None:
        assert len(check(CallTree(32), call, of=caller)) == 1
        return
    words = f"^a call of step 'top' uses the state '{forbidden}', which its step does not declare$"
    with pytest.raises(SchedulerError, match=words):
        check(CallTree(32), call, of=caller)


def test_calls_of_one_step_exclude_each_other_and_not_those_of_another() -> None:
    call_tree, read, write = CallTree(32), step(reads=("s",)), step(writes=("s",))
    calls = ((0, write), (0, read), (1, write), (0, step()), (0, write), (1, read))
    assert [call_tree.add_call(parent, index, call) for index, (parent, call) in enumerate(calls, 2)] == [
        (), ((2, "s"),), (), (), ((2, "s"), (3, "s")), ((4, "s"),),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- abandoned calls


def test_an_abandoned_call_counts_for_itself_and_all_above_it() -> None:
    call_tree = call_tree_of(0, 1, 1)
    assert [call_tree.abandoned_below(index) for index in range(4)] == [0] * 4
    for index in (2, 3, 2):
        call_tree.abandon(index)
    assert [call_tree.abandoned_below(index) for index in range(4)] == [3, 3, 2, 1]


def test_the_last_to_return_frees_those_above_it_deepest_first() -> None:
    call_tree = call_tree_of(0, 1, 1)
    for index in (2, 3, 2, 1):
        call_tree.abandon(index)
    assert [call_tree.return_abandoned(index) for index in (2, 2, 1, 3)] == [[], [2], [], [3, 1, 0]]
    assert [call_tree.abandoned_below(index) for index in range(4)] == [0] * 4
    call_tree.abandon(0)
    assert call_tree.return_abandoned(0) == [0]

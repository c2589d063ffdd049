"""Steps that come in late, and calls: what is checked, and their place among those that are there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from executor.model.workflow import Devices, Resource, Retry, Step
from executor.record.timeline import NANOSECONDS
from executor.scheduler import Scheduler, SchedulerError
from tests.unit.scheduling import Hand, graph_of, step

TRIPLING = Retry(max_attempts=3, backoff_seconds=2, multiplier=3, jitter="none")

LIMITS = {
    "llm": Resource(capacity=3),
    "auto": Resource.model_validate({"capacity": {"auto": {"min": 2, "initial": 4}}}),
    "rate": Resource(rate_per_minute=60),
    "tokens": Resource(tokens_per_minute=60, token_burst=100),
}


def refusal(hand: Hand, *steps: Step, parent: str | None = None) -> SchedulerError:
    """Add steps that break a rule: nothing changes."""
    before = hand.statuses(), hand.scheduler.remaining
    with pytest.raises(SchedulerError) as caught:
        hand.scheduler.add(steps, 0, parent)
    assert (hand.statuses(), hand.scheduler.remaining) == before
    hand.scheduler.validate()
    return caught.value


# ---------------------------------------------------------------------------------------------------- what is checked


def test_a_graph_is_added_first_and_once_and_to_no_step() -> None:
    words = "^a graph is added first, and once; later steps are added as steps$"
    hand = Hand([step("a")])
    with pytest.raises(SchedulerError, match=words):
        hand.scheduler.add(graph_of([step("b")]), 0)
    empty = Hand([])
    with pytest.raises(SchedulerError, match=words):
        empty.scheduler.add(graph_of([step("b")]), 0, "a")
    assert (hand.scheduler.step_ids, empty.scheduler.step_ids) == (["a"], [])
    assert empty.scheduler.add(graph_of([step("b"), step("c")]), 0) == ["b", "c"]


def test_the_graph_that_was_given_does_not_change_with_the_run() -> None:
    graph = graph_of([step("a")])
    hand = Hand([])
    hand.scheduler.add(graph, 0)
    hand.add(step("b", "a"))
    assert (graph.index, len(graph.steps), graph.data_parents) == ({"a": 0}, 1, [()])


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([step("a")], "step 'a' is there already"),
        ([step("n"), step("n")], "step 'n' is there already"),
        ([step("n", "m")], "step 'n' depends on 'm', which no step before it is"),
        ([step("n", "m"), step("m")], "step 'n' depends on 'm', which no step before it is"),
        ([step("n", "n")], "step 'n' depends on 'n', which no step before it is"),
        ([step("n", needs={"gpu": 1})], "step 'n' needs the resource 'gpu', which is not declared"),
        ([step("n", needs={"llm": 0.5})], "step 'n' needs 0.5 of 'llm', which is counted in whole units"),
        ([step("n", needs={"rate": 1, "llm": 4})], "step 'n' needs 4 of 'llm', capacity 3"),
        ([step("n", needs={"auto": 3})], "step 'n' needs 3 of 'auto', capacity 2"),
        ([step("n", needs={"tokens": 1}, expected_tokens=101)],
         "step 'n' expects more tokens than 'tokens' ever holds"),
        ([step("m"), step("n", needs={"llm": 4})], "step 'n' needs 4 of 'llm', capacity 3"),
    ],
)  # fmt: skip
def test_a_late_step_that_breaks_a_rule_is_refused_with_all_that_came_with_it(
    steps: Sequence[Step], words: str
) -> None:
    assert str(refusal(Hand([step("a")], resources=LIMITS), *steps)) == words


def test_what_a_late_step_needs_beside_a_device_is_looked_at_too() -> None:
    resources = {**LIMITS, "gpu": Resource(devices=Devices(ids=("0",)))}
    needs = {"gpu": 1, "llm": 4}
    assert str(refusal(Hand([step("a")], resources=resources), step("n", needs=needs))) == (
        "step 'n' needs 4 of 'llm', capacity 3"
    )


@pytest.mark.parametrize("parent", [None, "a"])
@pytest.mark.parametrize(
    "fields",
    [
        {"needs": {"llm": 3}},
        {"needs": {"llm": 3}, "expected_tokens": 1000},
        {"needs": {"auto": 2}},
        {"needs": {"rate": 99}, "expected_tokens": 1000},
        {"needs": {"tokens": 1}, "expected_tokens": 100},
        {"needs": {"tokens": 1}},
        {},
    ],
)
def test_a_step_that_can_ever_be_granted_is_taken_and_granted(fields: dict[str, object], parent: str | None) -> None:
    hand = Hand([step("a")], resources=LIMITS)
    hand.start()
    ids = hand.add(step("n", **fields), parent=parent)
    assert hand.start() == ids == ["n" if parent is None else "a/1"]


def test_calls_are_made_by_steps_that_run_or_wait_for_their_calls() -> None:
    hand = Hand([step("first"), step("ready"), step("waits", "first")], slots=1)
    for name in ("nobody", "first/1"):
        assert str(refusal(hand, step("x"), parent=name)) == f"{name!r} is no step, so it can make no calls"
    hand.start()
    for name in ("ready", "waits"):
        error = refusal(hand, step("x"), parent=name)
        assert error.history.startswith(f"step '{name}' is ")
        assert str(error) == f"only a running step can make calls, {name!r} is not\n{error.history}"
    assert hand.add(step("x"), parent="first") == ["first/1"]
    hand.scheduler.block(hand.live["first"], 0)
    assert hand.add(step("y"), step("z"), parent="first") == ["first/2", "first/3"]


@pytest.mark.parametrize("needs", [{"llm": 4}, {"gpu": 1}])
def test_a_call_that_could_never_be_granted_is_refused_with_those_that_came_with_it(needs: dict[str, int]) -> None:
    hand = Hand([step("a")], resources=LIMITS)
    hand.start()
    refusal(hand, step("x"), step("y", needs=needs), parent="a")
    assert hand.add(step("x"), parent="a") == ["a/1"]


# ------------------------------------------------------------------------------------------------- what they wait for


def test_late_steps_depend_on_any_step_before_them_by_its_id() -> None:
    hand = Hand([step("first"), step("b")])
    hand.start()
    hand.add(step("n", "first"), step("m", "first", "n", "b", "n"))
    hand.add(step("last", "m"))
    assert list(hand.scheduler.timeline().data_parents) == [(), (), (0,), (0, 1, 2), (3,)]
    assert hand.turn(1, "first") == ["n"]
    assert hand.turn(2, "n") == []
    assert hand.turn(3, "b") == ["m"]
    assert hand.turn(4, "m") == ["last"]
    assert [attempt.released_by for attempt in hand.scheduler.attempts] == [None, None, "first", "b", "m"]


@pytest.mark.parametrize("listed", [("good", "called off", "bad", "runs"), ("runs", "bad", "called off", "good")])
@pytest.mark.parametrize(
    ("above", "status", "when_all_ended"),
    [
        (["good"], "ready", "ready"),
        (["false"], "ready", "ready"),
        (["good", "runs"], "waiting", "ready"),
        (["called off", "runs"], "waiting", "cancelled"),
        (["bad", "runs"], "waiting", "skipped"),
        (["called off"], "cancelled", "cancelled"),
        (["good", "called off", "false"], "cancelled", "cancelled"),
        (["bad"], "skipped", "skipped"),
        (["bad", "called off"], "skipped", "skipped"),
        (["after bad", "good"], "skipped", "skipped"),
    ],
)
def test_what_ended_before_a_late_step_came_decides_its_fate(
    listed: Sequence[str], above: list[str], status: str, when_all_ended: str
) -> None:
    steps = [*map(step, listed), step("after bad", "bad"), step("false", when="no")]
    hand = Hand(steps, condition=lambda _: False)
    hand.start()
    hand.end("good", 1)
    hand.end("bad", 1, "failed")
    hand.scheduler.cancel(NANOSECONDS, ["called off"])
    hand.add(step("n", *above), now=2)
    assert hand.status("n") == status
    hand.end("runs", 3)
    assert hand.status("n") == when_all_ended


def test_a_late_step_is_ready_when_it_comes_and_nobody_made_it_so() -> None:
    hand = Hand([step("a")])
    hand.start()
    hand.turn(1, "a")
    hand.add(step("n", "a"), now=5)
    hand.start(6)
    attempt = hand.live["n"]
    assert (attempt.released_by, attempt.parent, attempt.ready, attempt.granted) == (
        None,
        None,
        5_000_000_000,
        6_000_000_000,
    )


def test_a_call_is_made_ready_by_its_caller_and_says_whose_it_is() -> None:
    hand = Hand([step("a")])
    hand.start()
    hand.add(step("x"), step("y", "x"), now=5, parent="a")
    hand.start(5)
    assert (hand.live["a/1"].released_by, hand.live["a/1"].parent, hand.live["a/1"].ready) == ("a", "a", 5_000_000_000)
    hand.turn(6, "a/1")
    assert (hand.live["a/2"].released_by, hand.live["a/2"].parent) == ("a/1", "a")
    assert list(hand.scheduler.timeline().nested_in) == [-1, 0, 0]


def test_a_condition_that_is_false_at_once_decides_what_came_with_it_once() -> None:
    asked: list[int] = []

    def no(index: int) -> bool:
        asked.append(index)
        return False

    hand = Hand([step("a", when="no"), step("b", "a", when="no"), step("c", "b")], condition=no)
    hand.add(step("d", when="no"), step("e", "d", when="no"), step("f", "e"))
    assert (asked, hand.start()) == ([0, 1, 3, 4], ["c", "f"])


def test_a_run_is_not_done_while_further_steps_may_come() -> None:
    hand = Hand([])
    done = [hand.scheduler.done]
    hand.scheduler.hold()
    hand.scheduler.hold()
    for _ in range(3):
        hand.scheduler.validate()
        done.append(hand.scheduler.done)
        hand.scheduler.release()
    hand.add(step("a"))
    done.append(hand.scheduler.done)
    assert done == [True, False, False, True, False]
    hand.scheduler.validate()


# -------------------------------------------------------------------------------------------- their place in the order


def test_late_steps_that_come_together_are_ranked_among_themselves_and_equals_start_as_listed() -> None:
    hand = Hand([step("a")], slots=1)
    hand.start()
    hand.add(
        step("short", expected_seconds=0.5),
        step("usual"),
        step("chain", expected_seconds=0.25),
        step("fork", expected_seconds=0),
        step("middle", "chain", "fork", expected_seconds=2),
        step("end", "middle", expected_seconds=0.5),
        step("none", expected_seconds=0),
        step("long", expected_seconds=2.6),
    )
    order = ["a"]
    while not hand.scheduler.done:
        order += hand.turn(len(order), order[-1])
    assert order == ["a", "chain", "long", "fork", "middle", "usual", "short", "end", "none"]


def test_a_late_step_does_not_raise_the_rank_of_what_was_there() -> None:
    hand = Hand([step("busy"), step("a"), step("b", expected_seconds=2)], slots=1)
    hand.scheduler.cancel(0, ["b"])
    hand.add(step("n", "a", expected_seconds=99), step("m", expected_seconds=1.5))
    assert hand.start() == ["m"]


def test_order_edges_count_for_the_rank_of_late_steps() -> None:
    hand = Hand([step("a")], slots=1)
    hand.start()
    hand.add(step("w", writes=["s"]), step("x", expected_seconds=3), step("r", reads=["s"], expected_seconds=4))
    assert hand.turn(1, "a") == ["w"]


def test_calls_stand_before_steps_and_deeper_ones_before_others_whatever_their_rank() -> None:
    hand = Hand([step("a"), step("long", expected_seconds=99)], slots=2)
    hand.start()
    hand.scheduler.resize(0, slots=1)
    hand.add(step("x"), step("y", expected_seconds=5), parent="a")
    hand.scheduler.block(hand.live["a"], 0)
    assert hand.turn(1, "long") == ["a/2"]
    hand.add(step("z", expected_seconds=0), parent="a/2")
    hand.scheduler.block(hand.live["a/2"], 0)
    assert hand.start(1) == ["a/2/1"]


# ---------------------------------------------------------------------- calls and late steps in a run


def test_deeper_calls_start_first() -> None:
    hand = Hand([step("top"), step("other")], slots=1)
    hand.start()
    hand.scheduler.add([step("x")], 1, parent="top")
    hand.scheduler.block(hand.live["top"], 1)
    assert hand.start(1) == ["top/1"]
    hand.scheduler.add([step("x")], 2, parent="top/1")
    hand.scheduler.block(hand.live["top/1"], 2)
    assert hand.start(2) == ["top/1/1"]


def test_a_call_may_use_only_what_its_step_declares() -> None:
    hand = Hand([step("top", reads=("s",))])
    hand.start()
    with pytest.raises(SchedulerError, match="uses the state 's'"):
        hand.scheduler.add([step("x", writes=("s",))], 1, parent="top")
    assert hand.scheduler.step_ids == ["top"]


def test_a_call_may_depend_only_on_siblings_and_final_steps() -> None:
    hand = Hand([step("top"), step("other")])
    hand.start()
    with pytest.raises(SchedulerError, match="depends on 'other'"):
        hand.scheduler.add([step("x", "other")], 1, parent="top")


def test_calls_nest_to_a_limited_depth() -> None:
    hand = Hand([step("a")], max_depth=2)
    hand.start()
    for name in ("a", "a/1"):
        hand.scheduler.add([step("x")], 1, parent=name)
        hand.start(1)
    with pytest.raises(SchedulerError, match="more than 2 levels"):
        hand.scheduler.add([step("x")], 1, parent="a/1/1")


def test_a_parent_that_dies_cancels_its_calls_and_counts_on_across_attempts() -> None:
    hand = Hand([step("a", retry=TRIPLING)])
    hand.start()
    hand.scheduler.add([step("x"), step("y")], 1, parent="a")
    hand.start(1)
    hand.end("a", 2, "worker_died")
    assert [attempt.step_id for attempt in hand.scheduler.take_cancelled()] == ["a/1", "a/2"]
    for name in ("a/1", "a/2"):
        hand.scheduler.returned(hand.live[name], 3_000_000_000)
    assert hand.start(10) == ["a"]
    assert hand.scheduler.add([step("x")], 11_000_000_000, parent="a") == ["a/3"]


def test_a_call_never_takes_the_id_of_a_step_of_the_file() -> None:
    hand = Hand([step("a"), step("a/1")])
    hand.start()
    assert hand.scheduler.add([step("x"), step("y")], 1, parent="a") == ["a/2", "a/3"]
    assert hand.scheduler.add([step("x")], 2, parent="a") == ["a/4"]


def test_late_steps_stand_last_and_keep_the_order_of_a_state() -> None:
    hand = Hand([step("a", writes=("s",))])
    hand.start()
    hand.scheduler.add([step("b", writes=("s",)), step("c", "a")], 1)
    assert hand.start(1) == []
    assert hand.turn(2, "a") == ["b", "c"]


def test_steps_that_are_added_to_a_graph_leave_its_index_as_it_is() -> None:
    graph = graph_of([step("a")])
    scheduler = Scheduler(1)
    scheduler.add(graph, 0)
    scheduler.add([step("b")], 0)
    assert scheduler.index == {"a": 0, "b": 1}
    assert graph.index == {"a": 0}

"""Mapped steps in the pure scheduler, and what the rules say of the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from executor.dependencies import Plan, plan
from executor.model.workflow import Resource, Retry, Step, Workflow, dump_workflow, parse_workflow
from executor.record.timeline import Attempt, Interval, Timeline, Wait
from executor.running import run
from executor.scheduler import SchedulerError
from executor.templates.template import TemplateError, render_text, render_value
from harness.analysis import RunAnalysis
from harness.report.html.gantt import worker_lanes
from harness.scenario.forecast import forecast
from harness.simulation.what_if import predicted_gains
from tests.unit.scheduling import Hand

SECOND = 1_000_000_000


def step(step_id: str, *depends_on: str, **fields: Any) -> Step:
    return Step(step_id=step_id, tool="t", depends_on=depends_on, **fields)


def mapped(step_id: str, count: int, *depends_on: str, **fields: Any) -> Step:
    return step(step_id, *depends_on, for_each=list(range(count)), **fields)


def statuses(hand: Hand) -> dict[str, str]:
    return dict(zip(hand.scheduler.step_ids, hand.scheduler.statuses(), strict=True))


def attempt_of(timeline: Timeline, step_id: str) -> Attempt:
    return next(attempt for attempt in timeline.attempts if attempt.step_id == step_id)


def finish_all(hand: Hand, ids: Sequence[str], now: float) -> None:
    for step_id in ids:
        hand.end(step_id, now)


# ---------------------------------------------------------------------------------------------- in the pure scheduler


def test_items_start_instead_of_their_step_and_it_ends_with_the_last_of_them() -> None:
    hand = Hand([step("a"), mapped("m", 3, "a"), step("z", "m")])
    assert hand.start(0) == ["a"]
    hand.end("a", 1)
    assert hand.start(1) == ["m/1", "m/2", "m/3"]
    assert statuses(hand)["m"] == "blocked"
    finish_all(hand, ["m/2", "m/3"], 2)
    assert hand.start(2) == []
    hand.end("m/1", 3)
    assert hand.start(3) == ["z"]
    m = attempt_of(hand.scheduler.timeline(), "m")
    assert (m.ready, m.started, m.ended, m.outcome) == (1 * SECOND, 1 * SECOND, 3 * SECOND, "succeeded")
    assert tuple(m.blocked) == (Interval(1 * SECOND, 3 * SECOND),)
    assert (m.released_by, hand.live["m/1"].released_by, hand.live["m/1"].parent) == ("a", "m", "m")
    assert hand.live["z"].released_by == "m"


def test_a_mapped_step_holds_no_slot_so_one_worker_is_enough_for_any_list() -> None:
    hand = Hand([mapped("m", 3)], 1)
    for number in (1, 2, 3):
        assert hand.start(number - 1) == [f"m/{number}"]
        hand.end(f"m/{number}", number)
    assert hand.start(3) == []
    assert hand.scheduler.done


def test_a_mapped_step_begins_although_every_slot_is_taken() -> None:
    hand = Hand([step("busy", priority=5), mapped("m", 2), mapped("none", 0), step("z", "none")], 1)
    assert hand.start(0) == ["busy"]
    assert statuses(hand)["m"] == "blocked"
    assert statuses(hand)["none"] == "succeeded"


def test_an_empty_list_ends_at_once_and_what_follows_starts_in_the_same_instant() -> None:
    hand = Hand([mapped("m", 0), mapped("n", 0, "m"), step("z", "n")])
    assert hand.start(0) == ["z"]
    assert statuses(hand) == {"m": "succeeded", "n": "succeeded", "z": "running"}
    assert attempt_of(hand.scheduler.timeline(), "m").blocked == ()


def test_max_parallel_is_a_limit_like_any_other_with_its_reason() -> None:
    hand = Hand([mapped("m", 3, max_parallel=2)])
    assert hand.start(0) == ["m/1", "m/2"]
    hand.end("m/2", 2)
    assert hand.start(2) == ["m/3"]
    assert list(hand.live["m/3"].waits) == [Wait("resource.m.max_parallel", 0, 2 * SECOND)]
    finish_all(hand, ["m/1", "m/3"], 4)
    hand.start(4)
    timeline = hand.scheduler.timeline()
    assert timeline.resources["m.max_parallel"].capacity == 2
    assert list(timeline.needs) == [None, *[{"m.max_parallel": 1}] * 3]


def test_the_largest_of_needs_and_max_parallel_bounds_the_run_from_below() -> None:
    hand = Hand([mapped("m", 4, max_parallel=2)], 8)
    for now in (0, 1):
        started = hand.start(now)
        for attempt in (hand.live[step_id] for step_id in started):
            attempt.started, attempt.ended = now * SECOND, (now + 1) * SECOND
        finish_all(hand, started, now + 1)
    hand.start(2)
    bound = RunAnalysis(hand.scheduler.timeline()).lower_bound
    assert bound.nanoseconds == bound.terms["resource.m.max_parallel"] == 2 * SECOND
    assert sum(RunAnalysis(hand.scheduler.timeline()).lost_nanoseconds.values()) == 2 * SECOND


def test_items_hold_what_their_step_needs_and_the_step_holds_nothing() -> None:
    hand = Hand([mapped("m", 3, needs={"r": 2})], resources={"r": Resource(capacity=4)})
    assert hand.start(0) == ["m/1", "m/2"]
    assert hand.scheduler.limits.by_name["r"].in_use == 4


def test_an_item_is_tried_again_on_its_own() -> None:
    retry = Retry(max_attempts=2, backoff_seconds=1, jitter="none")
    hand = Hand([mapped("m", 2, retry=retry), step("z", "m")])
    hand.start(0)
    assert hand.end("m/1", 1, "failed") == "backing_off"
    hand.end("m/2", 1)
    assert hand.start(1) == []
    assert hand.start(2) == ["m/1"]
    hand.end("m/1", 3)
    assert hand.start(3) == ["z"]


def test_one_that_failed_for_good_lets_the_others_go_on_and_fails_the_step_at_the_end() -> None:
    hand = Hand([mapped("m", 3), step("z", "m")], 1)
    hand.start(0)
    hand.end("m/1", 1, "failed")
    assert hand.start(1) == ["m/2"]
    hand.end("m/2", 2)
    assert hand.start(2) == ["m/3"]
    assert statuses(hand)["m"] == "blocked"
    hand.end("m/3", 3)
    hand.start(3)
    assert (statuses(hand)["m"], statuses(hand)["z"]) == ("failed", "skipped")


def test_on_failure_stop_starts_no_further_item() -> None:
    hand = Hand([mapped("m", 4, on_failure="stop"), step("other", priority=-1), step("z", "m")], 2)
    assert hand.start(0) == ["m/1", "m/2"]
    hand.end("m/1", 1, "failed")
    assert hand.start(1) == []
    hand.end("m/2", 2)
    hand.start(2)
    assert statuses(hand) == {
        "m": "failed", "other": "cancelled", "z": "skipped",
        "m/1": "failed", "m/2": "succeeded", "m/3": "cancelled", "m/4": "cancelled",
    }  # fmt: skip


def test_a_run_that_stops_elsewhere_cancels_the_items_that_have_not_begun() -> None:
    hand = Hand([step("a", priority=1, on_failure="stop"), mapped("m", 3), step("z", "m")], 2)
    assert hand.start(0) == ["a", "m/1"]
    hand.end("a", 1, "failed")
    assert hand.start(1) == []
    hand.end("m/1", 2)
    hand.start(2)
    found = statuses(hand)
    assert [found[name] for name in ("m/1", "m/2", "m/3", "m", "z")] == ["succeeded", *["cancelled"] * 4]


def test_items_stand_in_the_order_of_starts_where_their_step_stands() -> None:
    steps = [mapped("low", 2, priority=-1), step("plain"), mapped("high", 2, priority=1)]
    assert Hand(steps).start(0) == ["high/1", "high/2", "plain", "low/1", "low/2"]


def test_items_have_the_rank_of_their_step() -> None:
    steps = [step("short", expected_seconds=2), mapped("m", 2, expected_seconds=1), step("z", "m", expected_seconds=5)]
    assert Hand(steps).start(0) == ["m/1", "m/2", "short"]


def test_items_that_write_a_state_exclude_each_other_and_the_step_keeps_its_lock_until_the_last() -> None:
    order = {"m": [("w", "s")], "after": [("m", "s")]}
    steps = [step("w", writes=("s",)), mapped("m", 2, writes=("s",)), step("after", writes=("s",))]
    hand = Hand(steps, order=order)
    assert hand.start(0) == ["w"]
    hand.end("w", 1)
    assert hand.start(1) == ["m/1"]
    hand.end("m/1", 2)
    assert hand.start(2) == ["m/2"]
    assert hand.live["m/2"].waits == [Wait("lock.s", 1 * SECOND, 2 * SECOND)]
    assert attempt_of(hand.scheduler.timeline(), "m").waits == [Wait("lock.s", 0, 1 * SECOND)]
    hand.end("m/2", 3)
    assert hand.start(3) == ["after"]


def test_items_belong_to_the_level_of_their_step() -> None:
    hand = Hand([step("a"), mapped("m", 2), step("z", "a")], policy="levels")
    assert hand.start(0) == ["a", "m/1", "m/2"]
    finish_all(hand, ["a", "m/1"], 1)
    assert hand.start(1) == []
    hand.end("m/2", 2)
    assert hand.start(2) == ["z"]


def test_a_batch_is_over_when_the_items_are() -> None:
    hand = Hand([mapped("m", 2), step("b"), mapped("none", 0), step("c")], policy="barrier")
    assert hand.start(0) == ["m/1", "m/2"]
    finish_all(hand, ["m/1", "m/2"], 1)
    assert hand.start(1) == ["b"]
    hand.end("b", 2)
    assert hand.start(2) == ["c"]


def test_cancelling_the_step_cancels_its_items_and_leaves_nothing_of_it_running() -> None:
    hand = Hand([mapped("m", 3), step("z", "m")], 2)
    hand.start(0)
    hand.scheduler.cancel(SECOND, ["m"])
    hand.scheduler.validate()
    assert set(statuses(hand).values()) == {"cancelled"}
    cancelled = {attempt.step_id for attempt in hand.scheduler.take_cancelled()}
    assert cancelled == {"m", "m/1", "m/2"}
    assert {attempt.step_id for attempt in hand.scheduler.abandoned} == {"m/1", "m/2"}


def test_cancelling_one_item_cancels_the_step_when_the_others_are_done() -> None:
    hand = Hand([mapped("m", 2), step("z", "m")])
    hand.start(0)
    hand.scheduler.cancel(SECOND, ["m/2"])
    assert hand.start(1) == []
    hand.end("m/1", 2)
    hand.start(2)
    assert (statuses(hand)["m"], statuses(hand)["z"]) == ("cancelled", "cancelled")


def test_a_false_condition_skips_the_whole_step_before_its_list_is_asked_for() -> None:
    asked: list[int] = []

    class Lists:
        def count(self, index: int) -> int:
            asked.append(index)
            return 1

        def began(self, attempt: Attempt, items: Sequence[int]) -> None: ...

        def ended(self, attempt: Attempt, items: Sequence[int]) -> None: ...

    hand = Hand([mapped("m", 1, when="false"), step("z", "m")], condition=lambda _: False, items=Lists())
    assert hand.start(0) == ["z"]
    assert asked == []


def test_a_list_that_cannot_be_had_fails_the_step_without_an_attempt() -> None:
    class Lists:
        def count(self, index: int) -> int:
            raise ValueError("no list")

        def began(self, attempt: Attempt, items: Sequence[int]) -> None: ...

        def ended(self, attempt: Attempt, items: Sequence[int]) -> None: ...

    hand = Hand([mapped("m", 1), step("z", "m"), step("other")], items=Lists())
    assert hand.start(0) == ["other"]
    assert statuses(hand) == {"m": "failed", "z": "skipped", "other": "running"}


def test_an_id_of_the_file_is_not_used_again_for_an_item() -> None:
    assert Hand([mapped("m", 2), step("m/1")]).start(0) == ["m/1", "m/2", "m/3"]


def test_of_equal_rank_and_priority_steps_of_the_file_start_before_items() -> None:
    assert Hand([mapped("m", 2), step("a")]).start(0) == ["a", "m/1", "m/2"]


def test_a_call_cannot_be_mapped() -> None:
    hand = Hand([step("a")])
    hand.start(0)
    with pytest.raises(SchedulerError, match="for_each"):
        hand.scheduler.add([mapped("x", 2)], 0, parent="a")


# ------------------------------------------------------------------------------------------------------- the words


def planned(*steps: Step, **fields: Any) -> Plan:
    return plan(Workflow(steps=steps, **fields), hints=False)


def test_a_list_from_an_output_makes_a_dependency_and_item_is_known_in_prompt_and_args() -> None:
    found = planned(
        step("a"),
        step("m", for_each="{{ steps.a.output }}", prompt="{{ item.name }} {{ index }}", args={"x": "{{ item }}"}),
    )
    assert found.findings == []
    assert found.graph is not None
    assert found.graph.data_parents == [(), (0,)]


def test_a_literal_list_may_hold_templates() -> None:
    found = planned(step("a"), step("m", for_each=["x", "{{ steps.a.output }}"], prompt="{{ item }}"))
    assert found.graph is not None
    assert found.graph.data_parents == [(), (0,)]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"prompt": "{{ item }}"}, "steps[0].prompt", "add `for_each`"),
        ({"args": {"x": ["{{ index }}"]}}, "steps[0].args.x[0]", "add `for_each`"),
        ({"for_each": "[1]", "when": "item > 1"}, "steps[0].when", "once for all items"),
        ({"for_each": "[item]"}, "steps[0].for_each", "once for all items"),
    ],
)
def test_item_and_index_are_unknown_where_there_is_no_item(fields: dict[str, Any], field: str, words: str) -> None:
    (finding,) = planned(step("a", **fields)).findings
    assert (finding.code, finding.field) == ("template-unknown-name", field)
    assert words in f"{finding.message} {finding.fix}"


def test_a_loop_variable_may_still_be_called_item() -> None:
    assert planned(step("a", prompt="{% for item in [1, 2] %}{{ item }}{% endfor %}")).findings == []


def test_a_declared_resource_cannot_have_the_name_of_a_max_parallel() -> None:
    workflow = Workflow(steps=(mapped("m", 2, max_parallel=1),))
    (finding,) = plan(workflow, resources={"m.max_parallel": Resource(capacity=1)}, hints=False).findings
    assert finding.code == "resource-name-taken"


def test_a_mapped_step_survives_the_way_through_a_file() -> None:
    workflow = Workflow(steps=(mapped("m", 2, max_parallel=3, expected_items=4),))
    assert parse_workflow(dump_workflow(workflow)) == (workflow, [])


def test_for_each_that_is_neither_text_nor_a_list_is_refused_with_its_place() -> None:
    data = {"steps": [{"step_id": "m", "tool": "t", "for_each": {"a": 1}}]}
    _, (finding,) = parse_workflow(data)
    assert (finding.code, finding.field) == ("wrong-type", "steps[0].for_each")
    assert "text or a list" in finding.message


# --------------------------------------------------------------------------------------------- on the virtual clock


def test_on_the_virtual_clock_a_list_in_the_file_is_known() -> None:
    workflow = Workflow(steps=(mapped("m", 5, expected_seconds=2.0, max_parallel=2),))
    result = run(workflow, backend="virtual", tools={"t": lambda: None})
    assert result.timeline.makespan_seconds == 6.0
    assert result.warnings == []


def test_a_list_that_only_a_run_knows_is_assumed_and_that_is_said() -> None:
    steps = (
        step("a", expected_seconds=1.0),
        step("m", for_each="steps.a.output", expected_seconds=2.0, expected_items=3),
    )
    result = run(Workflow(steps=steps), backend="virtual", workers=2, tools={"t": lambda: None})
    assert result.timeline.makespan_seconds == 5.0
    assert [line for line in result.warnings if "'m'" in line and "3 items assumed (expected_items)" in line]


def test_a_list_that_the_file_gets_wrong_fails_on_the_virtual_clock_too() -> None:
    result = run(Workflow(steps=(step("m", for_each="'text'"),)), backend="virtual", tools={"t": lambda: None})
    assert result.statuses == {"m": "failed"}
    assert "it gives text, where a list belongs" in result.errors["m"].message


# ------------------------------------------------------------------------------------------------- before the run


def test_a_forecast_counts_each_item_and_max_parallel_makes_rounds() -> None:
    graph = planned(mapped("m", 5, expected_seconds=2.0, max_parallel=2), step("z", "m", expected_seconds=1.0)).graph
    assert graph is not None
    found = forecast(graph, workers=8)
    assert (found.critical_path_amount, found.work_amount, found.sufficient_workers) == (7.0, 11.0, 2)
    assert (dict(found.items), set(found.assumed_items)) == ({"m": 5}, set())


def test_a_forecast_says_which_numbers_of_items_it_assumes() -> None:
    llm = Resource(capacity=2)
    steps = (
        step("a", expected_seconds=1.0),
        step("known", for_each="{{ inputs.names[:2] }}", expected_seconds=1.0),
        step("stated", for_each="steps.a.output", expected_items=6, expected_seconds=1.0, needs={"llm": 1}),
        step("unknown", for_each="steps.a.output", expected_seconds=1.0),
    )
    inputs = {"names": ["x", "y", "z"]}
    graph = plan(Workflow(steps=steps, inputs=inputs), resources={"llm": llm}, hints=False).graph
    assert graph is not None
    found = forecast(graph, workers=100, resources={"llm": llm}, inputs=inputs)
    assert dict(found.items) == {"known": 2, "stated": 6, "unknown": 1}
    assert found.assumed_items == {"stated", "unknown"}
    assert (found.work_amount, found.lower_bound_amount, found.largest_term) == (10.0, 3.0, "capacity of llm")


def test_a_run_with_mapped_steps_can_be_run_again_on_the_virtual_clock() -> None:
    steps = (mapped("m", 6, expected_seconds=2.0, max_parallel=2), step("z", "m", expected_seconds=1.0))
    workflow = Workflow(steps=steps)
    timeline = run(workflow, backend="virtual", workers=8, tools={"t": lambda: None}).timeline
    graph = plan(workflow, hints=False).graph
    gains = predicted_gains(timeline, graph)
    assert gains is not None
    assert gains.simulated_seconds == gains.measured_seconds == 7.0
    assert [(gain.limit, gain.seconds) for gain in gains.limits] == [("m.max_parallel.capacity", 2.0)]


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ item }}", "{'a': {'b': 1}}"),
        ("{{ item.a.b }}/{{ index }}", "1/7"),
        ("{{item.a}}", "{'b': 1}"),
        ("{{ item['a'].b + index }}", "8"),
        ("{{ items }}", None),
        ("{{ item.c }}", None),
    ],
)
def test_templates_see_the_item_whether_jinja_reads_them_or_not(text: str, rendered: str | None) -> None:
    variables = {"item": {"a": {"b": 1}}, "index": 7}
    if rendered is None:
        with pytest.raises(TemplateError):
            render_text(text, {}, {}, variables)
    else:
        assert render_text(text, {}, {}, variables) == rendered


def test_a_template_of_an_item_alone_keeps_its_type() -> None:
    assert render_value({"x": "{{ item }}", "n": "{{ index }}"}, {}, {}, {"item": [1], "index": 0}) == {
        "x": [1],
        "n": 0,
    }


def test_without_an_item_its_template_fails_and_is_not_left_as_it_is() -> None:
    with pytest.raises(TemplateError, match="item"):
        render_text("{{ item }}", {}, {})


def test_in_the_report_a_mapped_step_stands_in_no_workers_lane() -> None:
    timeline = run(
        Workflow(steps=(mapped("m", 2, expected_seconds=1.0),)), backend="virtual", tools={"t": str}
    ).timeline
    assert worker_lanes(timeline).labels == ("virtual-1", "virtual-2", "waiting for items")

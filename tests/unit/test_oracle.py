"""The oracle reports each broken rule under its own name, and says nothing of runs that keep the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from executor.model.workflow import Resource, Retry, Step, Workflow
from executor.record.timeline import Attempt, Timeline, Wait
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, Call, Child, StepPlan, graph_of_run, plans_of_run
from harness.testing.drawing.generator import DEFAULT_FEATURES, FEATURES, random_workflow
from harness.testing.oracle.description import describe, references
from harness.testing.oracle.judge import (
    OPT_IN,
    PROPERTIES,
    assert_ok,
    check,
    check_timeline,
    outputs_equal,
    same_schedule,
)  # fmt: skip
from harness.testing.oracle.plain_graph import PlainGraph, PlainResource, PlainRetry, PlainStep
from tests.properties.reference.reference_rules import Life
from tests.properties.reference.reference_schedule import Reference

SECOND = 1_000_000_000


def step(step_id: str, *data: str, **fields: Any) -> PlainStep:
    fields.setdefault("expected_ns", SECOND)
    return PlainStep(step_id, data, **fields)


def graph(*steps: PlainStep, workers: int = 4, policy: str = "dataflow", **resources: PlainResource) -> PlainGraph:
    return PlainGraph(steps, resources, workers, policy)


def ran(
    step_id: str,
    start: int,
    end: int,
    *,
    ready: int | None = None,
    wait: str | None = None,
    number: int = 1,
    outcome: str = "succeeded",
    **info: Any,
) -> list[tuple[Any, ...]]:
    """One attempt, with the times of an exact clock."""
    since = start if ready is None else ready
    events: list[tuple[Any, ...]] = [("ready", step_id, number, since)]
    if wait is not None:
        events.append(("wait", step_id, number, since, {"reason": wait, "until": start}))
    reserved = {name: info[name] for name in ("tokens_reserved", "devices") if name in info} or None
    return [
        *events,
        ("granted", step_id, number, start, reserved),
        ("started", step_id, number, start),
        *info.get("middle", ()),
        ("ended", step_id, number, end),
        ("known", step_id, number, end, {"outcome": outcome, "tokens_used": info.get("tokens_used")}),
    ]


def final(**statuses: str) -> list[tuple[Any, ...]]:
    return [("final", step_id, 0, None, status) for step_id, status in statuses.items()]


A_THEN_B = graph(step("a"), step("b", "a"))
WRITERS = graph(step("a", writes=("x",)), step("b", writes=("x",)))
SKIPPED_BETWEEN = graph(
    step("a", writes=("x",)), step("f"), step("b", "f", writes=("x",)), step("c", writes=("x",))
)  # fmt: skip
TRIED = graph(step("a", retry=PlainRetry(3, 5)))
ONE_UNIT = graph(step("a", needs=(("r", 1),)), step("b", needs=(("r", 1),)), r=PlainResource(capacity=1))
_GPUS = PlainResource(devices=(("0", 24.0), ("1", 24.0)))
TWO_GPUS = graph(step("a", needs=(("gpu_memory_gb", 16.0),)), step("b", needs=(("gpu_memory_gb", 8.5),)), gpu=_GPUS)
TWO_GPUS_SHARED = graph(step("a", needs=(("gpu", 0.5),)), step("b", needs=(("gpu", 0.5),)), gpu=_GPUS)
ONE_A_SECOND = graph(step("a", needs=(("r", 1),)), step("b", needs=(("r", 1),)), r=PlainResource(None, 60.0))
TOKENS = graph(
    step("a", needs=(("r", 1),), tokens=10),
    step("b", needs=(("r", 1),), tokens=10),
    r=PlainResource(tokens_per_minute=60.0, token_burst=10),
)
TWO = graph(step("a"), step("b"), workers=1)
STOPS = graph(step("a", stops=True), step("b", "c"), step("c"))
NESTED = graph(step("p"), step("p/1", parent="p"), step("q"), workers=1)
MAPPED = graph(step("p", mapped=True), step("p/1", parent="p"), step("p/2", parent="p"))
LEVELS = graph(step("a"), step("b"), step("c", "a"), policy="levels")
BATCHES = graph(step("a", group=1), step("b"), step("c", group=1), policy="barrier")


def nested(blocked: int, unblocked: int, resumed: int) -> list[tuple[Any, ...]]:
    return [("blocked", "p", 1, blocked), ("unblocked", "p", 1, unblocked), ("resumed", "p", 1, resumed)]


P_CALLS = [
    *ran("p", 0, 10, middle=nested(2, 6, 6)),
    *ran("p/1", 2, 6),
    *ran("q", 10, 20, ready=0, wait="worker"),
]

# For each property: a graph, events that keep the rule, events that break it.
RECORDS: dict[str, tuple[PlainGraph, list[Any], list[Any]]] = {
    "data_edges": (A_THEN_B, [*ran("a", 0, 5), *ran("b", 5, 9)], [*ran("a", 0, 5), *ran("b", 4, 9)]),
    "order_edges": (
        SKIPPED_BETWEEN,
        [*ran("a", 0, 9), *ran("f", 0, 5, outcome="failed"), *ran("c", 9, 12, ready=0, wait="lock.x")],
        [*ran("a", 0, 9), *ran("f", 0, 5, outcome="failed"), *ran("c", 5, 12, ready=0, wait="lock.x")],
    ),
    "conflicting_states": (
        WRITERS,
        [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="lock.x")],
        [*ran("a", 0, 5), *ran("b", 4, 9, ready=0, wait="lock.x")],
    ),
    "final_states": (
        A_THEN_B,
        [*ran("a", 0, 5, outcome="failed"), *final(a="failed", b="skipped")],
        [*ran("a", 0, 5, outcome="failed"), *final(a="failed", b="cancelled")],
    ),
    "attempts": (
        TRIED,
        [*ran("a", 0, 1, outcome="failed"), *ran("a", 6, 9, number=2, ready=1, wait="backoff")],
        [*ran("a", 0, 1, outcome="succeeded"), *ran("a", 6, 9, number=2, ready=1, wait="backoff")],
    ),
    "backoffs": (
        TRIED,
        [*ran("a", 0, 1, outcome="failed"), *ran("a", 6, 9, number=2, ready=1, wait="backoff")],
        [*ran("a", 0, 1, outcome="failed"), *ran("a", 3, 9, number=2, ready=1, wait="backoff")],
    ),
    "timeouts": (
        graph(step("a", timeout_ns=50)),
        ran("a", 0, 50, outcome="timed_out"),
        ran("a", 0, 60),
    ),
    "stopping": (
        STOPS,
        [*ran("c", 0, 9), *ran("a", 0, 5, outcome="failed"), *final(a="failed", b="cancelled", c="succeeded")],
        [*ran("a", 0, 5, outcome="failed"), *ran("c", 0, 9), *ran("b", 9, 10)],
    ),
    "readiness": (
        A_THEN_B,
        [*ran("a", 0, 5), *ran("b", 5, 9)],
        [*ran("a", 0, 5), *ran("b", 7, 9, ready=3, wait="worker")],
    ),
    "released_by": (
        A_THEN_B,
        [*ran("a", 0, 5), ("ready", "b", 1, 5, {"released_by": "a"}), *ran("b", 5, 9)[1:]],
        [*ran("a", 0, 5), ("ready", "b", 1, 5, {"released_by": None}), *ran("b", 5, 9)[1:]],
    ),
    "reuse": (
        graph(step("a"), step("b", "a", reused="succeeded", reused_ns=5)),
        [*ran("a", 0, 5), *final(a="succeeded", b="succeeded")],
        [*ran("a", 0, 7), *final(a="succeeded", b="succeeded")],
    ),
    "nested_calls": (
        NESTED,
        P_CALLS,
        [*ran("p", 0, 10, middle=nested(2, 6, 6)), *ran("p/1", 2, 8), *ran("q", 10, 20, ready=0, wait="worker")],
    ),
    "mapped_steps": (
        MAPPED,
        [*ran("p", 0, 6, middle=nested(0, 6, 6)), *ran("p/1", 0, 5), *ran("p/2", 0, 6)],
        [*ran("p", 0, 6, middle=nested(0, 6, 6)), *ran("p/1", 0, 5), *ran("p/2", 0, 6, outcome="failed")],
    ),
    "barriers": (
        LEVELS,
        [*ran("a", 0, 5), *ran("b", 0, 9), *ran("c", 9, 12, ready=5, wait="barrier")],
        [*ran("a", 0, 5), *ran("b", 0, 9), *ran("c", 5, 12)],
    ),
    "record_order": (TWO, ran("a", 0, 5), [*ran("a", 5, 3)]),
    "waits": (
        TWO,
        [*ran("a", 0, 3), *ran("b", 3, 5, ready=0, wait="worker")],
        [*ran("a", 0, 3), *ran("b", 3, 5, ready=0, wait="lock.x")],
    ),
    "lower_bound": (
        ONE_A_SECOND,
        [*ran("a", 0, 5), *ran("b", SECOND, SECOND + 5, ready=0, wait="rate.r")],
        [*ran("a", 0, 5), *ran("b", 5, 10)],
    ),
    "graham_bound": (
        graph(step("a"), step("b"), workers=2),
        [*ran("a", 0, 5), *ran("b", 0, 5)],
        [*ran("a", 0, 5), *ran("b", 5, 10, ready=0, wait="worker")],
    ),
    "workers": (
        TWO,
        [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="worker")],
        [*ran("a", 0, 5), *ran("b", 4, 9, ready=0, wait="worker")],
    ),
    "limits": (
        ONE_UNIT,
        [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="resource.r")],
        [*ran("a", 0, 5), *ran("b", 4, 9, ready=0, wait="resource.r")],
    ),
    "devices": (
        TWO_GPUS,
        [*ran("a", 0, 5, devices={"gpu": ["0"]}), *ran("b", 0, 9, devices={"gpu": ["1"]})],
        [*ran("a", 0, 5, devices={"gpu": ["0"]}), *ran("b", 0, 9, devices={"gpu": ["0"]})],
    ),
    "device_packing": (
        TWO_GPUS_SHARED,
        [*ran("a", 0, 5, devices={"gpu": ["1"]}), *ran("b", 0, 9, devices={"gpu": ["1"]})],
        [*ran("a", 0, 5, devices={"gpu": ["1"]}), *ran("b", 0, 9, devices={"gpu": ["0"]})],
    ),
    "rates": (
        ONE_A_SECOND,
        [*ran("a", 0, 5), *ran("b", SECOND, SECOND + 5, ready=0, wait="rate.r")],
        [*ran("a", 0, 5), *ran("b", SECOND // 2, SECOND + 5, ready=0, wait="rate.r")],
    ),
    "start_order": (
        graph(step("a"), step("b", priority=1), workers=1),
        [*ran("b", 0, 5), *ran("a", 5, 9, ready=0, wait="worker")],
        [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="worker")],
    ),
    "work_conserving": (
        graph(step("a"), step("b"), workers=2),
        [*ran("a", 0, 5), *ran("b", 0, 5)],
        [*ran("a", 0, 5), *ran("b", 3, 8, ready=0, wait="worker")],
    ),
    "blocked_parents_hold_no_slot": (
        NESTED,
        P_CALLS,
        [
            *ran("p", 0, 10, middle=nested(2, 8, 8)),
            *ran("p/1", 4, 8, ready=2, wait="worker"),
            *ran("q", 10, 20, ready=0, wait="worker"),
        ],
    ),
    "wait_reasons": (
        ONE_UNIT,
        [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="resource.r")],
        [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="worker")],
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_keeps_the_rule_is_not_reported(name: str) -> None:
    described, good, _ = RECORDS[name]
    finals = [event for event in good if event[0] == "final"]
    everything = set(PROPERTIES) if finals else set(PROPERTIES) - {"final_states"}
    assert_ok(check(described, good, exact=True, properties=everything))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_breaks_the_rule_is_reported_under_its_name(name: str) -> None:
    described, _, bad = RECORDS[name]
    found = check(described, bad, exact=True, properties=set(PROPERTIES))
    assert name in {violation.property for violation in found}
    assert all(len(violation.message) > 20 for violation in found)


def test_every_property_is_shown_to_find_something() -> None:
    elsewhere = {"outcomes", "no_starvation", "recorded_edges"}
    assert set(RECORDS) | elsewhere == set(PROPERTIES)


def test_an_attempt_recorded_with_another_outcome_is_reported() -> None:
    events = [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="worker")]
    assert_ok(check(TWO, events, exact=True, outcomes=lambda _step, _number: "succeeded"))
    found = check(TWO, events, exact=True, outcomes=lambda step_id, _number: "failed" if step_id == "b" else None)
    assert {violation.property for violation in found} == {"outcomes"}


def overtaking(count: int) -> tuple[PlainGraph, list[Any]]:
    """One step needs both units; `count` others, each ready later, pass it one after another, two at a time."""
    others = [step(f"b{place}", needs=(("r", 1),)) for place in range(count)]
    described = graph(step("a", needs=(("r", 2),)), *others, r=PlainResource(capacity=2))
    events = [event for place in range(count) for event in ran(f"b{place}", place + 1, place + 3)]
    return described, [*events, *ran("a", count + 2, count + 3, ready=0)]


def test_a_step_overtaken_more_than_a_thousand_times_without_a_reservation_is_reported() -> None:
    for count, starved in ((1000, False), (1010, True)):
        described, events = overtaking(count)
        found = check(described, events, properties={"no_starvation"})
        assert bool(found) is starved
    assert "more than 1000 times" in found[0].message


@pytest.mark.parametrize(("count", "starved"), [(1000, False), (1010, True)])
def test_a_step_that_needs_only_a_slot_and_was_overtaken_a_thousand_times_has_the_next_one(
    count: int, starved: bool
) -> None:
    # One slot; each of the others becomes ready as the one before it ends, and takes it.
    described = graph(step("a"), *[step(f"b{place}") for place in range(count)], workers=1)
    events = [event for place in range(count) for event in ran(f"b{place}", place + 1, place + 2)]
    events += ran("a", count + 1, count + 2, ready=0)
    found = check(described, events, exact=True, properties={"no_starvation"})
    assert [violation.steps for violation in found] == ([("a", "b1001")] if starved else [])
    assert not starved or "was granted the slot that it needs" in found[0].message
    # Where clocks are real, or steps wait at a worker, the record does not say which step could have had the slot.
    assert check(described, events, properties={"no_starvation"}) == []
    assert check(described, events, exact=True, handed_out_ahead=True, properties={"no_starvation"}) == []


def test_steps_that_were_ready_at_the_same_time_overtake_nobody() -> None:
    # Who goes before whom is a matter of order alone.
    together = graph(*[step(f"s{place}") for place in range(1100)], workers=1)
    in_turn = [event for place in range(1100) for event in ran(f"s{place}", place, place + 1, ready=0)]
    assert check(together, in_turn, exact=True, properties={"no_starvation"}) == []


# ---- cases that look fussy --------------------------------------------------------------------------------------


def test_tokens_reserved_but_not_used_come_back_and_overuse_is_a_debt() -> None:
    refunded = [*ran("a", 0, 5, tokens_used=0), *ran("b", 5, 9, ready=0, wait="rate.r", tokens_used=10)]
    assert_ok(check(TOKENS, refunded, exact=True))
    early = [*ran("a", 0, 5, tokens_used=15), *ran("b", 10 * SECOND, 11 * SECOND, ready=0, wait="rate.r")]
    assert "rates" in {violation.property for violation in check(TOKENS, early, exact=True)}
    paid = [*ran("a", 0, 5, tokens_used=15), *ran("b", 15 * SECOND, 16 * SECOND, ready=0, wait="rate.r")]
    assert_ok(check(TOKENS, paid, exact=True))


def test_a_slot_is_free_for_the_step_that_a_finished_one_of_the_same_instant_releases() -> None:
    described = graph(step("a"), step("b", "a"), step("c", "b"), workers=1)
    assert_ok(check(described, [*ran("a", 0, 0), *ran("b", 0, 0), *ran("c", 0, 5)], exact=True))


def test_a_step_that_lets_a_smaller_one_pass_for_lack_of_units_is_work_conserving() -> None:
    described = graph(
        step("a", needs=(("r", 1),)), step("big", needs=(("r", 2),), priority=5), step("c", needs=(("r", 1),)),
        r=PlainResource(capacity=2),
    )  # fmt: skip
    events = [*ran("a", 0, 4), *ran("c", 0, 6), *ran("big", 6, 9, ready=0, wait="resource.r")]
    found = {violation.property for violation in check(described, events, exact=True)}
    assert found == {"start_order"}  # at 0 the big one fitted and came first
    first = [
        *ran("big", 0, 3),
        *ran("a", 3, 4, ready=0, wait="resource.r"),
        *ran("c", 3, 6, ready=0, wait="resource.r"),
    ]
    assert_ok(check(described, first, exact=True))


def test_a_failed_dependency_skips_even_after_the_run_has_stopped() -> None:
    described = graph(step("a", stops=True), step("b"), step("c", "b"), step("d"), workers=2)
    events = [*ran("b", 0, 9, outcome="failed"), *ran("a", 0, 5, outcome="failed")]
    right = final(a="failed", b="failed", c="skipped", d="cancelled")
    assert_ok(check(described, events + right, exact=True))
    wrong = final(a="failed", b="failed", c="cancelled", d="cancelled")
    assert {one.property for one in check(described, events + wrong, exact=True)} == {"final_states"}


def test_a_false_condition_satisfies_dependants_and_a_failure_does_not() -> None:
    described = graph(step("a", when=False), step("b", "a"))
    events = [*ran("b", 0, 5), *final(a="skipped", b="succeeded")]
    assert_ok(check(described, events, exact=True))
    found = check(described, final(a="skipped", b="skipped"), exact=True)
    assert "must run" in found[0].message


def test_a_step_that_was_cancelled_by_nobody_is_reported() -> None:
    events = [*ran("a", 0, 5), *final(a="succeeded", b="cancelled")]
    assert {one.property for one in check(TWO, events, exact=True)} == {"final_states"}
    assert_ok(check(TWO, [("cancel", "b", 0, 3), *events], exact=True))
    assert_ok(check(TWO, events, exact=True, unlisted_cancellations=True))


def test_a_retry_lets_no_conflicting_step_in_while_it_backs_off() -> None:
    described = graph(step("a", writes=("x",), retry=PlainRetry(2, 5)), step("b", reads=("x",)))
    tried = [*ran("a", 0, 1, outcome="failed"), *ran("a", 6, 9, number=2, ready=1, wait="backoff")]
    assert_ok(check(described, [*tried, *ran("b", 9, 10, ready=0, wait="lock.x")], exact=True))
    between = [*tried[:5], *ran("b", 2, 4, ready=0, wait="lock.x"), *tried[5:]]
    assert {one.property for one in check(described, between, exact=True)} >= {"order_edges"}


def test_a_smaller_number_of_workers_counts_from_when_it_holds() -> None:
    described = graph(step("a"), step("b"), step("c"), workers=2)
    events = [*ran("a", 0, 9), *ran("b", 0, 5), *ran("c", 5, 9, ready=0, wait="worker")]
    assert_ok(check(described, events, exact=True))
    found = check(described, [("resized", "", 0, 3, {"workers": 1}), *events], exact=True)
    assert {one.property for one in found} == {"workers"}


def test_of_several_sizes_in_one_instant_each_may_be_the_one_of_a_grant() -> None:
    described = graph(step("a"), step("b"), step("c"), workers=3)
    events = [*ran("a", 0, 9), *ran("b", 0, 5), *ran("c", 0, 9)]
    sizes = [("resized", "", 0, 0, {"workers": 1}), ("resized", "", 0, 0, {"workers": 2})]
    assert_ok(check(described, [*sizes, *events], exact=True))
    before = [("resized", "", 0, -1, {"workers": 2}), *sizes]
    assert {one.property for one in check(described, [*before, *events], exact=True)} == {"workers"}


def test_steps_handed_out_ahead_use_a_slot_from_started_to_ended() -> None:
    events = [
        *ran("a", 0, 5),
        ("granted", "b", 1, 1), ("started", "b", 1, 5), ("ended", "b", 1, 9), ("known", "b", 1, 9, "succeeded"),
    ]  # fmt: skip
    assert_ok(check(TWO, events, handed_out_ahead=True))
    assert {one.property for one in check(TWO, events)} == {"workers"}
    events[-3] = ("started", "b", 1, 3)
    assert {one.property for one in check(TWO, events, handed_out_ahead=True)} == {"workers"}


def test_a_scheduler_that_reports_starts_and_ends_alone_can_be_judged() -> None:
    good = [("started", "a", 1, 1), ("ended", "a", 1, 2, "succeeded"), ("started", "b", 1, 3), ("ended", "b", 1, 4)]
    good[-1] = (*good[-1], "succeeded")
    assert_ok(check(A_THEN_B, good))
    early = [("started", "b", 1, 0), *good[:2], good[3]]
    assert "data_edges" in {one.property for one in check(A_THEN_B, early)}
    lost = check(A_THEN_B, good[:2])
    assert [one.property for one in lost] == ["final_states"]


def test_the_batches_of_the_barrier_policy_are_the_ungrouped_step_alone_then_the_group() -> None:
    good = [*ran("b", 0, 5), *ran("a", 5, 9, ready=0, wait="barrier"), *ran("c", 5, 7, ready=0, wait="barrier")]
    assert_ok(check(BATCHES, good, exact=True))
    bad = [*ran("a", 0, 5), *ran("c", 0, 7), *ran("b", 7, 9, ready=0, wait="barrier")]
    assert "barriers" in {one.property for one in check(BATCHES, bad, exact=True)}


def test_groups_one_and_one_in_quotes_are_two_batches() -> None:
    described = graph(step("a", group=1), step("b", group="1"), policy="barrier")
    assert_ok(check(described, [*ran("a", 0, 5), *ran("b", 5, 9, ready=0, wait="barrier")], exact=True))
    assert "barriers" in {one.property for one in check(described, [*ran("a", 0, 5), *ran("b", 0, 9)], exact=True)}


def test_an_unknown_property_and_a_graph_with_a_cycle_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no such property: speed"):
        check(TWO, [], properties={"speed"})
    with pytest.raises(ValueError, match="a cycle among a, b"):
        check(graph(step("a", "b"), step("b", "a")), [])
    with pytest.raises(ValueError, match="refers to 'z'"):
        check(graph(step("a", "z")), [])


def test_events_that_make_no_sense_are_violations_and_never_raise() -> None:
    events = [("started", "z", 1, 0), ("exploded", "a", 1, 0), ("ended", "a", 1, 3), ("ready", "b", 1, 0)]
    found = check(TWO, events + ran("b", 5, 9) + ran("b", 5, 9), exact=True)
    assert sum(one.property == "record_order" for one in found) >= 4


@pytest.mark.parametrize("kind", ["unblocked", "resumed"])
def test_an_attempt_that_goes_on_more_often_than_it_was_blocked_is_a_fault_of_the_record(kind: str) -> None:
    events = ran("a", 0, 9, middle=[(kind, "a", 1, 3)])
    found = check(graph(step("a")), events, exact=True)
    assert [violation.property for violation in found] == ["record_order"]
    assert "more often than it was blocked" in found[0].message


# ---- graphs -----------------------------------------------------------------------------------------------------


def test_references_are_read_from_templates_in_either_form() -> None:
    said = Step(step_id="c", prompt="{{ steps.a.output }} steps.no {{ steps['b.1'].output | upper }}", when="steps.d")
    assert references(said) == ["a", "b.1", "d"]


def test_order_edges_lead_to_the_last_writer_and_to_the_readers_since() -> None:
    described = graph(
        step("w", writes=("x",)), step("r1", reads=("x",)), step("r2", reads=("x",)), step("v", writes=("x",))
    )
    assert described.order_parents == {"w": (), "r1": ("w",), "r2": ("w",), "v": ("w", "r1", "r2")}


def test_conflicting_steps_run_in_the_topological_order_that_takes_the_earliest_listed() -> None:
    described = graph(step("a", "c", writes=("x",)), step("b", writes=("x",)), step("c"))
    assert described.order_parents["a"] == ("b",)
    assert described.order_parents["b"] == ()


def test_calls_are_ordered_among_siblings_alone() -> None:
    described = graph(
        step("p", writes=("x",)), step("q", writes=("x",)),
        step("p/1", parent="p", writes=("x",)), step("p/2", parent="p", reads=("x",), call=1),
    )  # fmt: skip
    assert described.order_parents["p/1"] == ()
    assert described.order_parents["p/2"] == ("p/1",)
    assert described.order_parents["q"] == ("p",)


def test_ranks_and_levels_follow_data_and_order_edges() -> None:
    described = graph(
        step("a", expected_ns=5, writes=("x",)), step("b", expected_ns=3, writes=("x",)), step("c", "b", expected_ns=2)
    )
    assert described.ranks == {"a": 10, "b": 5, "c": 2}
    assert described.levels == {"a": 0, "b": 1, "c": 2}


def test_a_rank_is_unknown_where_a_step_states_no_duration() -> None:
    assert graph(step("a"), step("b", expected_ns=None)).ranks == {"a": None, "b": None}


def test_a_workflow_is_described_with_its_retries_limits_and_conditions() -> None:
    workflow = Workflow(
        steps=(
            Step(step_id="a", retry=Retry(max_attempts=2, backoff_seconds=0.5), needs={"r": 1}, timeout=2.0),
            Step(step_id="b", depends_on=("a",), when="inputs.x", on_failure="stop", expected_seconds=0.5),
        )
    )
    plain = describe(workflow, resources={"r": Resource(tokens_per_minute=60.0)}, whens={"b": False})
    a, b = plain.steps
    assert (a.retry.wait_ns(1), a.retry.wait_ns(2), a.timeout_ns) == (SECOND // 2, SECOND, 2 * SECOND)
    assert (b.data, b.when, b.stops, b.expected_ns) == (("a",), False, True, SECOND // 2)
    assert plain.resources["r"].token_burst == 60.0


def test_a_backoff_never_exceeds_its_limit_however_often_it_grows() -> None:
    assert PlainRetry(1000, SECOND, 10.0, 5 * SECOND).wait_ns(999) == 5 * SECOND


# ---- timelines --------------------------------------------------------------------------------------------------


def timeline(*attempts: Attempt, **changes: Any) -> Timeline:
    made = Timeline(
        step_ids=["a", "b"], data_parents=[[], [0]], order_parents=[[], []], statuses=["succeeded", "succeeded"],
        attempts=attempts, workers=2, nested_in=[-1, -1], backend="virtual",
    )  # fmt: skip
    return replace(made, **changes)


def attempt(
    index: int, step_id: str, start: int, end: int, released_by: str | None, ready: int | None = None
) -> Attempt:
    since = start if ready is None else ready
    made = Attempt(index, step_id, 1, since, start, released_by, waits=[Wait("worker", since, start)])
    made.started, made.ended, made.known, made.outcome = start, end, end, "succeeded"
    return made


def test_a_timeline_that_keeps_the_rules_passes_and_one_with_other_edges_does_not() -> None:
    attempts = (attempt(0, "a", 0, 5, None), attempt(1, "b", 5, 9, "a"))
    assert_ok(check_timeline(A_THEN_B, timeline(*attempts)))
    found = check_timeline(A_THEN_B, timeline(*attempts, data_parents=[[], []], order_parents=[[], [0]]))
    assert [one.property for one in found] == ["recorded_edges"] * 2


def test_a_timeline_of_another_backend_may_be_late() -> None:
    late = timeline(attempt(0, "a", 0, 5, None), attempt(1, "b", 8, 9, "a", ready=5))
    assert {one.property for one in check_timeline(A_THEN_B, late)} == {"work_conserving", "graham_bound"}
    assert_ok(check_timeline(A_THEN_B, replace(late, backend="threads")))


def test_the_same_schedule_is_the_same_and_another_is_told_by_its_first_difference() -> None:
    first = timeline(attempt(0, "a", 0, 5, None), attempt(1, "b", 5, 9, "a"))
    assert same_schedule(first, timeline(attempt(0, "a", 0, 5, None), attempt(1, "b", 5, 9, "a"))) == []
    other = timeline(attempt(0, "a", 0, 5, None), attempt(1, "b", 5, 8, "a"))
    assert same_schedule(first, other) == ["first difference: ('ended', 'b', 1, 9) and ('ended', 'b', 1, 8)"]


def test_outputs_differ_by_step_by_value_and_by_type() -> None:
    assert outputs_equal({"a": 1, "b": [2]}, {"a": 1, "b": [2]}) == []
    assert len(outputs_equal({"a": 1, "b": 2, "c": 1}, {"a": True, "b": 3, "d": 1})) == 4


def test_the_called_steps_of_a_run_are_found_in_its_plan() -> None:
    child = Child(Step(step_id="1", writes=("x",)), StepPlan((AttemptPlan(3),)))
    dependent = Child(Step(step_id="2", depends_on=("1",)), StepPlan((AttemptPlan(2, "failed"),)))
    plan = StepPlan((AttemptPlan(10, calls=(Call(4, (child, dependent)),)),))
    workflow = Workflow(steps=(Step(step_id="p", writes=("x",), expected_seconds=0.0),))
    behaviour = Behaviour({"p": plan})
    played = Reference(behaviour.describe(workflow), behaviour).run()
    full = graph_of_run(workflow, behaviour, played)
    assert [(one.step_id, one.data, one.parent) for one in full.steps] == [
        ("p", (), None), ("p/1", (), "p"), ("p/2", ("p/1",), "p"),
    ]  # fmt: skip
    assert plans_of_run(behaviour, played)["p/2"].attempt(1).outcome == "failed"
    assert played.makespan_nanoseconds == 15
    assert_ok(check_timeline(full, played, properties=set(PROPERTIES)))


# ---- the oracle against a reference, whole and with faults planted -------------------------------------------------


# The reference knows no mapped steps.
REFERENCE_FEATURES = FEATURES - {"devices", "mapped"}


def judged(make: type[Reference], seed: int, size: int = 14, features: Any = REFERENCE_FEATURES) -> set[str]:
    """What the oracle says of one random run; ``stuck`` where the run could not end."""
    workflow, behaviour = random_workflow(seed, size, features)
    try:
        played = make(behaviour.describe(workflow), behaviour).run()
    except RuntimeError:
        return {"stuck"}
    plans = plans_of_run(behaviour, played)
    found = check_timeline(
        graph_of_run(workflow, behaviour, played),
        played,
        cancellations=behaviour.cancellations,
        properties=set(PROPERTIES),
        outcomes=lambda step_id, number: plans[step_id].attempt(number).outcome,
    )
    return {violation.property for violation in found}


def test_the_reference_keeps_every_rule_on_random_runs() -> None:
    for seed in range(400):
        assert judged(Reference, seed) == set(), f"seed {seed}"


class ForgetsADependency(Reference):
    def _decide(self) -> None:
        for life in self.lives.values():
            known = [self.lives[other].final for other in life.step.data[:-1]]
            if life.status == "waiting" and known and all(known):
                self.decide(life)
        super()._decide()


class ForgetsLocks(Reference):
    def locked(self, life: Life) -> str | None:
        return None


class TakesANeverRunStepForDone(Reference):
    def satisfied(self, step_id: str) -> bool:
        return self.lives[step_id].final


class OneUnitTooMany(Reference):
    def lacking(self, life: Life) -> Any:
        for name in super().lacking(life):
            capacity = self.resources[name].capacity or 0
            held = sum(dict(other.step.needs).get(name, 0) for other in self.lives.values() if other.holds)
            if held + dict(life.step.needs)[name] > capacity + 1:
                yield name


class OneSlotTooMany(Reference):
    def slot_free(self) -> bool:
        return sum(life.holds for life in self.lives.values()) <= self.slots


class LeaksASlotAfterAFailure(Reference):
    def slot_free(self) -> bool:
        lost = min(self.slots - 1, sum(life.status == "failed" for life in self.lives.values()))
        return sum(life.holds for life in self.lives.values()) < self.slots - lost


class ForgetsRates(Reference):
    def shut_rates(self, life: Life) -> Any:
        return iter(())


class ForgivesDebts(Reference):
    def _settle_tokens(self, life: Life, attempt: Attempt, plan: AttemptPlan | None) -> None:
        super()._settle_tokens(life, attempt, plan)
        self.levels = {key: max(0.0, level) for key, level in self.levels.items()}


class PassesNoSkipOn(Reference):
    def decide(self, life: Life) -> None:
        super().decide(life)
        if life.status == "skipped":
            life.bad = False


class RunsWhatIsToBeSkipped(Reference):
    def decide(self, life: Life) -> None:
        super().decide(life)
        if life.status == "skipped" and not life.bad:
            life.status = "ready"


class TriesOnceTooOften(Reference):
    def tries_again(self, life: Life, outcome: str) -> bool:
        return super().tries_again(life, outcome) or life.attempt == life.step.retry.max_attempts > 1


class GivesUpEarly(Reference):
    def tries_again(self, life: Life, outcome: str) -> bool:
        return super().tries_again(life, outcome) and life.attempt + 1 < life.step.retry.max_attempts


class RetriesAtOnce(Reference):
    def backoff(self, life: Life) -> int:
        return 0


class BacksOffTwiceAsLong(Reference):
    def backoff(self, life: Life) -> int:
        return 2 * super().backoff(life)


class PutsLowPriorityFirst(Reference):
    def precedence(self, life: Life) -> tuple[int, ...]:
        depth, priority, rank, place = super().precedence(life)
        return (depth, -priority, rank, place)


class StartsTheShortestFirst(Reference):
    def precedence(self, life: Life) -> tuple[int, ...]:
        depth, priority, rank, place = super().precedence(life)
        return (depth, priority, -rank, place)


class TurnsTheFileRound(Reference):
    def precedence(self, life: Life) -> tuple[int, ...]:
        depth, priority, rank, place = super().precedence(life)
        return (depth, priority, rank, -place)


class PutsCallsLast(Reference):
    def precedence(self, life: Life) -> tuple[int, ...]:
        depth, priority, rank, place = super().precedence(life)
        return (-depth, priority, rank, place)


class BlockedStepsKeepTheirSlots(Reference):
    def slot_free(self) -> bool:
        return sum(life.status in ("running", "blocked") for life in self.lives.values()) < self.slots


class ResumesWithoutAsking(Reference):
    def _decide(self) -> None:
        super()._decide()
        for life in self.lives.values():
            if life.status == "resuming":
                self._resume(life)


class IgnoresBarriers(Reference):
    def barred(self, life: Life) -> bool:
        return False


class GoesOnAfterAStop(Reference):
    def _fail(self, life: Life) -> None:
        life.status = "failed"
        life.bad = True


class IgnoresCancellations(Reference):
    def _cancel_asked(self) -> None:
        while self.cancels and self.cancels[0][0] <= self.time:
            self.cancels.pop(0)


class NeverTimesOut(Reference):
    def _times_out_at(self, life: Life) -> int:
        return -1


class HeadOfLineBlocks(Reference):
    def units_free(self, life: Life) -> bool:
        ahead = [
            other
            for other in self.lives.values()
            if other.status == "ready" and other is not life and self.reason(other).startswith("resource")
        ]
        return super().units_free(life) and not (life.status == "ready" and ahead and life.place % 2)


class NamesTheWrongReason(Reference):
    def reason(self, life: Life) -> str:
        found = super().reason(life)
        return "worker" if found.startswith("resource.") else found


class NamesNoReleaser(Reference):
    def decide(self, life: Life) -> None:
        super().decide(life)
        life.released_by = None


FAULTS: dict[type[Reference], set[str]] = {
    ForgetsADependency: {"data_edges"},
    ForgetsLocks: {"order_edges", "conflicting_states"},
    TakesANeverRunStepForDone: {"order_edges"},
    OneUnitTooMany: {"limits"},
    OneSlotTooMany: {"workers"},
    LeaksASlotAfterAFailure: {"work_conserving"},
    ForgetsRates: {"rates"},
    ForgivesDebts: {"rates"},
    PassesNoSkipOn: {"final_states", "data_edges"},
    RunsWhatIsToBeSkipped: {"final_states"},
    TriesOnceTooOften: {"attempts"},
    GivesUpEarly: {"final_states"},
    RetriesAtOnce: {"backoffs"},
    BacksOffTwiceAsLong: {"backoffs"},
    PutsLowPriorityFirst: {"start_order"},
    StartsTheShortestFirst: {"start_order"},
    TurnsTheFileRound: {"start_order"},
    PutsCallsLast: {"start_order"},
    BlockedStepsKeepTheirSlots: {"blocked_parents_hold_no_slot"},
    ResumesWithoutAsking: {"limits"},  # its last call has just given it a slot
    IgnoresBarriers: {"barriers"},
    GoesOnAfterAStop: {"stopping"},
    IgnoresCancellations: {"stopping"},
    NeverTimesOut: {"timeouts"},
    HeadOfLineBlocks: {"work_conserving"},
    NamesTheWrongReason: {"wait_reasons"},
    NamesNoReleaser: {"released_by"},
}


# Faults that need a rare meeting of few features.
RARE: dict[type[Reference], set[str]] = {
    TakesANeverRunStepForDone: {"states", "conditions", "failures"},
    ResumesWithoutAsking: {"nested", "resources"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found_under_its_name_within_400_runs(fault: type[Reference]) -> None:
    missing = set(FAULTS[fault])
    for seed in range(400):
        missing -= judged(fault, seed, features=RARE.get(fault, DEFAULT_FEATURES))
        if not missing:
            return
    pytest.fail(f"never reported: {', '.join(sorted(missing))}")


def test_the_reasons_of_waits_are_checked_only_when_asked_for() -> None:
    assert {"wait_reasons"} == OPT_IN
    described, _, bad = RECORDS["wait_reasons"]
    assert_ok(check(described, bad, exact=True))

"""`capacity: auto`: by itself, and in the scheduler against services that hide their limit, on the virtual clock."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from executor.dependencies import plan
from executor.model.workflow import AutoCapacity, Resource, Step, Workflow
from executor.record.outcomes import Failure
from executor.record.timeline import NANOSECONDS
from executor.running import Run
from executor.scheduler.adaptive_capacity import AdaptiveCapacity
from executor.tools.connections import status_error
from executor.tools.tool import ToolError
from harness.analysis import RunAnalysis
from harness.report.terminal.plots import capacity_lines
from harness.result import Repetition, result_document, run_schema, timeline_from_document
from harness.testing.oracle.description import describe
from harness.testing.oracle.judge import PROPERTIES, assert_ok, check_timeline
from tests.unit.hidden_limits import HiddenLimit, steady, used, varied
from tests.unit.scheduling import Hand

AUTO = Resource.model_validate({"capacity": "auto"})


def makespan(limit: HiddenLimit, llm: Resource, **options: Any) -> float:
    return used(limit, llm, **options).timeline.makespan_seconds


# ------------------------------------------------------------------------------------------------------- the words


@pytest.mark.parametrize(
    ("words", "auto"),
    [
        ("auto", AutoCapacity(initial=4, min=1, max=1000)),
        ({"auto": None}, AutoCapacity(initial=4, min=1, max=1000)),
        ({"auto": {"max": 3}}, AutoCapacity(initial=3, min=1, max=3)),
        ({"auto": {"min": 6}}, AutoCapacity(initial=6, min=6, max=1000)),
        ({"auto": {"initial": 10, "min": 2, "max": 20}}, AutoCapacity(initial=10, min=2, max=20)),
    ],
)
def test_capacity_auto_says_where_it_begins_and_what_it_stays_between(words: Any, auto: AutoCapacity) -> None:
    resource = Resource.model_validate({"capacity": words, "rate_per_minute": 60})
    assert (resource.auto, resource.capacity, resource.smallest_capacity) == (auto, auto.initial, auto.min)
    assert Resource.model_validate(resource.model_dump(mode="json")) == resource


@pytest.mark.parametrize(
    "words",
    [
        "automatic",
        {"auto": {"initial": 9, "max": 8}},
        {"auto": {"most": 8}},
        {"auto": 5},
        {"auto": {"min": 0}},
        {"a": 1},
    ],
)
def test_what_is_no_capacity_is_refused(words: Any) -> None:
    with pytest.raises(ValidationError):
        Resource.model_validate({"capacity": words})


def test_a_step_that_could_never_start_at_the_least_capacity_is_refused() -> None:
    workflow = Workflow(steps=(Step(step_id="a", tool="t", needs={"llm": 2}),))
    (finding,) = plan(workflow, resources={"llm": AUTO}, hints=False).findings
    assert (finding.code, finding.fix) == ("need-above-capacity", "write capacity: {auto: {min: 2}}")


@pytest.mark.parametrize(("status", "overloaded"), [(429, True), (503, True), (529, True), (500, False), (404, False)])
def test_a_service_that_is_asked_too_much_says_so(status: int, overloaded: bool) -> None:
    error = status_error("ask", "http://127.0.0.1/", status, {}, b"", {})
    assert error.overloaded is overloaded
    assert pickle.loads(pickle.dumps(error)).overloaded is overloaded
    assert Failure.of(error).overloaded is overloaded


def test_an_exception_of_a_users_function_may_say_so_too() -> None:
    error = RuntimeError("too many")
    error.overloaded = True  # type: ignore[attr-defined]  # what a user's function may do
    assert Failure.of(error).overloaded
    assert not Failure.of(ToolError("other")).overloaded


# ---------------------------------------------------------------------------------------------------- by itself


def ended(capacity: AdaptiveCapacity, count: int, *, at: int, latency: int = 100, in_use: int | None = None) -> int:
    """So many calls end well at once, all of them granted ``latency`` ago, with all others still running."""
    for number in range(count):
        others = (capacity.value if in_use is None else in_use) - 1 - number
        capacity.succeeded(at - latency, latency, None, max(0, others), 1, at)
    return capacity.value


def test_at_first_it_doubles_in_a_round() -> None:
    capacity = AdaptiveCapacity(AutoCapacity(initial=4))
    assert ended(capacity, 4, at=100) == 8
    assert ended(capacity, 8, at=200) == 16


def test_what_is_not_used_up_does_not_grow() -> None:
    capacity = AdaptiveCapacity(AutoCapacity(initial=8))
    for round_number in range(1, 20):
        ended(capacity, 4, at=100 * round_number, in_use=4)
    assert capacity.value == 8


def test_it_never_leaves_its_bounds() -> None:
    capacity = AdaptiveCapacity(AutoCapacity(initial=4, min=3, max=6))
    assert ended(capacity, 4, at=100) == 6
    assert capacity.overloaded(150, 0, 200) == 3
    assert capacity.overloaded(250, 0, 300) == 3


def test_a_refusal_takes_a_tenth_or_down_to_those_that_were_not_refused_but_half_at_most() -> None:
    tenth = AdaptiveCapacity(AutoCapacity(initial=20))
    assert tenth.overloaded(1, 19, 10) == 18
    shown = AdaptiveCapacity(AutoCapacity(initial=20))
    assert [shown.overloaded(1, others, 10) for others in (15, 14, 13)] == [15, 14, 13]
    half = AdaptiveCapacity(AutoCapacity(initial=20))
    assert half.overloaded(1, 0, 10) == 10


def test_refusals_of_one_round_are_one_decrease() -> None:
    capacity = AdaptiveCapacity(AutoCapacity(initial=20))
    assert [capacity.overloaded(1, 19, 10 + number) for number in range(3)] == [18, 18, 18]
    assert capacity.overloaded(11, 17, 20) == 16


def test_after_a_refusal_it_grows_by_one_a_round_and_tries_what_was_refused_ever_more_seldom() -> None:
    capacity = AdaptiveCapacity(AutoCapacity(initial=16))
    now, tries = 0, []
    for round_number in range(200):
        now += 1000
        ended(capacity, capacity.value + 16, at=now, latency=1)
        if capacity.value > 16:
            tries.append(round_number)
            now += 1000
            capacity.overloaded(now - 1, 16, now)
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 2 * gaps[0]


def test_latency_that_grows_with_the_capacity_ends_its_growth_and_takes_a_tenth() -> None:
    capacity = AdaptiveCapacity(AutoCapacity(initial=16))
    ended(capacity, 16, at=1000, latency=100)
    grown = capacity.value
    assert grown == 32
    ended(capacity, 64, at=2000, latency=300)
    assert capacity.value == 32
    ended(capacity, 64, at=3000, latency=300)
    assert capacity.value == 28


def test_calls_that_are_expected_to_last_longer_are_not_slower() -> None:
    long_ones = AdaptiveCapacity(AutoCapacity(initial=16))
    now = 0
    for seconds in (1.0, 5.0, 1.0, 5.0):
        now += 100 * NANOSECONDS
        for number in range(long_ones.value):
            latency = round(seconds * NANOSECONDS)
            long_ones.succeeded(now - latency, latency, seconds, long_ones.value - 1 - number, 1, now)
    assert long_ones.value > 64


# ------------------------------------------------------------------------------------------- in the scheduler


def test_the_scheduler_learns_from_refusals_and_timeouts_and_from_nothing_else() -> None:
    steps = [Step(step_id=name, tool="t", needs={"llm": 1}) for name in "abcdefgh"]
    hand = Hand(steps, resources={"llm": AUTO})
    assert hand.start(0) == ["a", "b", "c", "d"]
    hand.end("a", 1, "failed")
    assert hand.scheduler.limits.by_name["llm"].capacity == 4
    hand.end("b", 1, "failed", overloaded=True)
    assert hand.scheduler.limits.by_name["llm"].capacity == 2
    assert hand.start(1) == []
    hand.end("c", 2)
    hand.end("d", 2, "timed_out")
    assert hand.scheduler.limits.by_name["llm"].capacity == 2
    assert hand.start(2) == ["e", "f"]
    timeline = hand.scheduler.timeline()
    assert [capacity for _, capacity in timeline.capacity_changes["llm"]][:2] == [4, 2]
    assert timeline.resources["llm"].capacity == 4


@pytest.mark.parametrize(("expected", "shrinks"), [(lambda seconds: seconds, False), (lambda _: None, True)])
def test_calls_that_are_expected_to_last_longer_are_no_sign_of_a_queue(
    expected: Callable[[float], float | None], shrinks: bool
) -> None:
    lasting = [1.0] * 300 + [8.0] * 300
    steps = [
        Step(step_id=f"s{number:03}", tool="t", needs={"llm": 1}, expected_seconds=expected(seconds), priority=-number)
        for number, seconds in enumerate(lasting)
    ]
    hand = Hand(steps, slots=1000, resources={"llm": AUTO})
    now, capacities = 0.0, []
    while running := hand.start(now):
        now += max(lasting[int(name[1:])] for name in running)
        for name in running:
            hand.end(name, now)
        capacities.append(hand.scheduler.limits.by_name["llm"].capacity or 0)
    assert (capacities[-1] < max(capacities)) == shrinks


@pytest.mark.parametrize("queues", [False, True], ids=["refuses", "queues"])
@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        pytest.param(limit, seconds, id=f"{limit}-{name}", marks=() if limit == 8 else pytest.mark.slow)
        for limit in (2, 8, 20)
        for name, seconds in (("steady", steady(1.0)), ("varied", varied(1.0, 0.5)), ("wild", varied(1.0, 0.8)))
    ],
)
def test_it_comes_within_15_percent_of_the_best_fixed_capacity(limit: int, seconds: Any, queues: bool) -> None:
    fixed = (limit - 1, limit, limit + 1, 2 * limit)
    best = min(makespan(HiddenLimit(limit, seconds, queues), Resource(capacity=one), steps=400) for one in fixed)
    service = HiddenLimit(limit, seconds, queues)
    result = used(service, AUTO, steps=400)
    ratio = result.timeline.makespan_seconds / best
    print(f"limit {limit}: {ratio:.3f} of the best fixed capacity, {service.refusals} refusals")
    assert result.ok
    assert ratio <= 1.15
    assert service.refusals <= 400 * 0.1


def test_a_service_that_is_given_more_room_later_is_used_more() -> None:
    class Grows(HiddenLimit):
        def __call__(self, attempt: Any) -> Any:
            self.limit = 4 if attempt.granted < 60 * NANOSECONDS else 16
            return super().__call__(attempt)

    changes = used(Grows(4, steady(1.0)), AUTO, steps=1500).timeline.capacity_changes["llm"]
    before = [capacity for time, capacity in changes if 20 * NANOSECONDS < time < 60 * NANOSECONDS]
    assert max(before, default=4) <= 5
    assert changes[-1][1] >= 12


def played(limit: int, queues: bool = False) -> tuple[Workflow, Run]:
    result = used(HiddenLimit(limit, varied(1.0, 0.5), queues), AUTO, steps=120, workers=16)
    return result.workflow, result


@pytest.mark.parametrize("queues", [False, True])
def test_the_oracle_finds_nothing_in_a_run_whose_capacity_changes(queues: bool) -> None:
    workflow, result = played(6, queues)
    timeline = result.timeline
    described = describe(workflow, resources={"llm": Resource(capacity=4)}, workers=16)
    resizes = [(time, {"llm": capacity}) for time, capacity in timeline.capacity_changes["llm"][1:]]
    # Between two changes of one instant a step may start; backoffs follow what the service asks for.
    properties = set(PROPERTIES) - {"work_conserving", "start_order", "backoffs"}
    assert_ok(check_timeline(described, timeline, exact=True, resizes=resizes, properties=properties))
    assert RunAnalysis(timeline).lower_bound.nanoseconds <= timeline.makespan_nanoseconds


def test_the_same_run_finds_the_same_capacities() -> None:
    assert played(6)[1].timeline.capacity_changes == played(6)[1].timeline.capacity_changes


def test_the_curve_is_part_of_the_document_and_comes_back_from_it() -> None:
    import jsonschema

    timeline = played(6)[1].timeline
    result = json.loads(json.dumps(result_document([Repetition(timeline)])))
    schema = {**run_schema(), "$ref": "#/$defs/result"}
    jsonschema.Draft202012Validator({"$defs": schema["$defs"], "$ref": "#/$defs/result"}).validate(result)
    assert timeline_from_document(result).capacity_changes == dict(timeline.capacity_changes)


def test_a_run_without_one_says_nothing_of_capacities() -> None:
    result = used(HiddenLimit(4, steady(1.0)), Resource(capacity=4), steps=8)
    assert "capacity_changes" not in result_document([Repetition(result.timeline)])
    assert capacity_lines(result.timeline) == []


def test_the_curve_is_drawn_in_one_line() -> None:
    timeline = played(6)[1].timeline
    (line,) = capacity_lines(timeline, 20)
    found = [capacity for _, capacity in timeline.capacity_changes["llm"]]
    assert line.startswith("llm ")
    assert line.endswith(f" 4 at first, {min(found)} to {max(found)}, {found[-1]} at the end")
    assert capacity_lines(timeline, 20, ascii_only=True)[0].isascii()

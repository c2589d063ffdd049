"""`capacity: auto` against fixed capacities, with a limit unknown to the run: on the stand-in, and simulated."""

from __future__ import annotations

import statistics
from itertools import product

import pytest

from executor.model.workflow import Resource, Retry, Step, ToolDeclaration, Workflow
from executor.running import Run, run
from harness.standin.standin_server import StandIn
from tests.unit.hidden_limits import Durations, HiddenLimit, steady, used, varied

HIDDEN_LIMIT = 8
CALLS = 240
FIXED = (4, 6, 7, 8, 9, 12, 16)
ROUNDS = 3
AUTO = Resource.model_validate({"capacity": "auto"})
DURATIONS = (steady(1.0), varied(1.0, 0.5), varied(1.0, 0.8))


def asked(base_url: str, llm: Resource) -> Run:
    """All calls, none of which waits for another."""
    tool = ToolDeclaration.model_validate({"kind": "llm", "base_url": base_url, "stand_in": True})
    retry = Retry(max_attempts=1000, backoff_seconds=0.01, jitter="none")
    steps = tuple(
        Step(step_id=f"s{n}", tool="ask", prompt=f"Say {n}", needs={"llm": 1}, expected_seconds=0.1, retry=retry)
        for n in range(CALLS)
    )
    return run(
        Workflow(steps=steps), backend="asyncio", workers=64, tools={"ask": tool}, resources={"llm": llm}
    )  # fmt: skip


@pytest.mark.slow
def test_it_comes_within_15_percent_of_the_best_fixed_capacity() -> None:
    seconds: dict[str, list[float]] = {}
    curve: list[int] = []
    with StandIn(concurrency=HIDDEN_LIMIT) as standin:
        for _ in range(ROUNDS):
            for name, llm in [("auto", AUTO), *((str(one), Resource(capacity=one)) for one in FIXED)]:
                result = asked(standin.base_url, llm)
                assert result.ok
                seconds.setdefault(name, []).append(result.timeline.makespan_seconds)
                curve = [value for _, value in result.timeline.capacity_changes.get("llm", ())] or curve
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min((name for name in medians if name != "auto"), key=medians.__getitem__)
    ratio = medians["auto"] / medians[best]
    figures = ", ".join(f"{name}: {median:.2f} s" for name, median in medians.items())
    print(f"\nhidden limit {HIDDEN_LIMIT}; {figures}; auto is {ratio:.3f} × the best ({best}); its capacities: {curve}")
    assert ratio <= 1.15


def simulated_ratios(limit: int, calls: int, llm: Resource, *, expected: bool) -> list[float]:
    """Makespans as multiples of that with the best fixed capacity, on the virtual clock. ``expected``: the calls state
    their durations.
    """

    def makespan(seconds: Durations, queues: bool, one: Resource) -> float:
        service = HiddenLimit(limit, seconds, queues)
        done = used(service, one, steps=calls, workers=max(64, 3 * limit), expected=expected)
        return done.timeline.makespan_seconds

    ratios = []
    for seconds, queues in product(DURATIONS, (False, True)):
        best = min(makespan(seconds, queues, Resource(capacity=one)) for one in (limit - 1, limit, limit + 1))
        ratios.append(makespan(seconds, queues, llm) / best)
    words = "with" if expected else "without"
    print(f"\nhidden limit {limit}, {calls} calls, {words} stated durations: {min(ratios):.2f} to {max(ratios):.2f}")
    return ratios


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "calls", "without", "with_durations"),
    [
        (20, 400, (1.04, 1.10), (1.10, 1.43)),
        (20, 1000, (1.02, 1.06), (1.04, 1.23)),
        (50, 1000, (1.08, 1.20), (1.20, 1.78)),
    ],
)
def test_on_the_virtual_clock_it_is_as_far_from_the_best_as_its_page_says(
    limit: int, calls: int, without: tuple[float, float], with_durations: tuple[float, float]
) -> None:
    for expected, bounds in ((False, without), (True, with_durations)):
        ratios = simulated_ratios(limit, calls, AUTO, expected=expected)
        assert (min(ratios), max(ratios)) == pytest.approx(bounds, abs=0.01)


@pytest.mark.slow
def test_whoever_says_where_it_begins_loses_little_with_stated_durations_too() -> None:
    known = Resource.model_validate({"capacity": {"auto": {"initial": 50}}})
    assert max(simulated_ratios(50, 1000, known, expected=True)) <= 1.08

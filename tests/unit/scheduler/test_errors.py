"""What error messages say of a step, the table of states, and lists that only the file knows."""

from __future__ import annotations

import pytest

from executor.model.workflow import Step
from executor.record.timeline import Attempt, Interval, Wait
from executor.scheduler import SchedulerError
from executor.scheduler.errors import history_of
from executor.scheduler.items import NoItems


def test_a_story_tells_each_attempt_with_its_times_waits_and_blocked_intervals() -> None:
    first = Attempt(
        0, "a", 1, 0, 1_500_000_000, waits=[Wait("lock.s", 0, 500_000_000), Wait("worker", 500_000_000, 1_500_000_000)]
    )
    first.started, first.ended, first.known = 1_600_000_000, 2_000_000_000, 2_000_001_000
    first.outcome = "failed"
    second = Attempt(0, "a", 2, 2_000_001_000, 3_000_000_000, waits="backoff")
    second.blocked = [Interval(4_000_000_000, 5_000_000_000), Interval(6_000_000_000, 6_250_000_000)]
    assert history_of("a", "running", [first, second]) == (
        "step 'a' is running\n"
        "  attempt 1: ready 0.000000 s, granted 1.500000 s, started 1.600000 s, ended 2.000000 s, known 2.000001 s, "
        "outcome failed\n"
        "    waited for lock.s from 0.000000 s to 0.500000 s\n"
        "    waited for worker from 0.500000 s to 1.500000 s\n"
        "  attempt 2: ready 2.000001 s, granted 3.000000 s, started ?, ended ?, known ?, outcome none yet\n"
        "    waited for backoff from 2.000001 s to 3.000000 s\n"
        "    blocked from 4.000000 s to 5.000000 s\n"
        "    blocked from 6.000000 s to 6.250000 s"
    )
    assert history_of("b", "waiting", []) == "step 'b' is waiting"


def test_an_error_says_what_is_wrong_and_then_the_story_if_there_is_one() -> None:
    full, short = SchedulerError("that cannot be", "step 'a' is running"), SchedulerError("that cannot be")
    assert (str(full), full.history) == ("that cannot be\nstep 'a' is running", "step 'a' is running")
    assert (str(short), short.history) == ("that cannot be", "")


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"for_each": ["x", "y", "z"], "expected_items": 9}, 3),
        ({"for_each": []}, 0),
        ({"for_each": "steps.a.output", "expected_items": 4}, 4),
        ({"for_each": "steps.a.output"}, 0),
    ],
)
def test_where_nobody_runs_a_step_its_list_is_that_of_the_file_or_as_long_as_expected(
    fields: dict[str, object], count: int
) -> None:
    steps = [Step(step_id="a"), Step.model_validate({"step_id": "m", **fields})]
    assert NoItems(steps).count(1) == count

"""Fuzzing: what is drawn is repeatable, what fails becomes small, is kept and can be played and run again."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import yaml

from executor.backends import Backend
from executor.engine.engine import Engine
from executor.scheduler import TRANSITIONS
from harness.scenario.scenario_file import load
from harness.testing.drawing.generator import FEATURES, random_workflow
from harness.testing.fuzz.crashed_runs import play_with_crashes
from harness.testing.fuzz.faults import FAULT_KINDS, NO_FAULTS, draw_faults
from harness.testing.fuzz.faulty_simulation import play
from harness.testing.fuzz.fuzzing import FuzzReport, Settings, examine, fuzz, play_part, replay
from harness.testing.fuzz.real_run_judging import judge_real
from harness.testing.fuzz.real_runs import play_for_real, scaled
from harness.testing.fuzz.replay_files import (
    ReplayError,
    read_replay,
    run_from_data,
    run_to_data,
    scenario_of,
    write_replay,
)
from harness.testing.fuzz.shrinking import Candidate, shrink, without
from harness.testing.fuzz.transition_coverage import ALL_TRANSITIONS, missing_transitions
from harness.testing.fuzz.watchdog import HangError, all_stacks, time_limit
from harness.testing.oracle.judge import same_schedule
from tests.properties.planted.faults import FAULTS
from tests.properties.planted.planting import planted

BY_NAME = {fault.name: fault for fault in FAULTS}


def candidate(number: int, size: int = 12) -> Candidate:
    return Settings(seed=5, size=size).draw(number)


def test_what_is_drawn_depends_on_nothing_but_seed_and_number() -> None:
    assert candidate(3) == candidate(3)
    assert candidate(3) != candidate(4)
    assert Settings(seed=6, size=12).draw(3) != candidate(3)


def test_every_kind_of_fault_is_drawn_and_many_runs_have_none() -> None:
    kinds = [candidate(number).faults.kinds() for number in range(300)]
    assert set().union(*kinds) == set(FAULT_KINDS)
    assert 50 < sum(not one for one in kinds) < 200


def test_only_the_kinds_of_faults_that_are_asked_for_are_drawn() -> None:
    for number in range(50):
        run = random_workflow(number, 12, FEATURES)
        assert draw_faults(number, run, ("held", "clock")).kinds() <= {"held", "clock"}


def test_a_run_written_down_and_read_back_is_the_same_run() -> None:
    for number in range(60):
        one = candidate(number)
        assert run_from_data(json.loads(json.dumps(run_to_data(*one)))) == tuple(one)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Expecting"),
        ("[]", "no replay"),
        ('{"schema": "makespan.fuzz/2"}', "no replay"),
        ('{"schema": "makespan.fuzz/1", "workflow": 3}', "workflow cannot be read"),
        ('{"schema": "makespan.fuzz/1", "workflow": {"workflow_id": "w", "steps": []}}', "behaviour"),
        ("[" * 100_000, ""),
    ],
)
def test_a_file_that_is_no_replay_is_refused_with_its_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "replay.json"
    path.write_text(text)
    with pytest.raises(ReplayError, match=r"replay\.json") as raised:
        read_replay(path)
    assert says in str(raised.value)


@pytest.mark.parametrize("devices", [False, True])
def test_a_run_that_was_played_is_gone_with_the_last_who_held_it_and_leaves_nothing_to_the_collector(
    devices: bool,
) -> None:
    features = FEATURES if devices else FEATURES - {"devices"}
    played = [play(random_workflow(number, 12, features), NO_FAULTS) for number in range(10)]
    assert any(one.scheduler.limits.pools for one in played) == devices
    engines = [weakref.ref(one.engine) for one in played]
    gc.disable()
    try:
        del played
        assert [engine() for engine in engines] == [None] * 10
    finally:
        gc.enable()


def test_every_transition_of_the_table_is_looked_for_once() -> None:
    assert len(ALL_TRANSITIONS) == len(set(ALL_TRANSITIONS))
    assert {state for state, _, _ in ALL_TRANSITIONS} == {state for state, events in TRANSITIONS.items() if events}
    assert missing_transitions(ALL_TRANSITIONS[1:]) == [ALL_TRANSITIONS[0]]


def test_what_was_played_says_which_transitions_it_went_through() -> None:
    report = FuzzReport("virtual", 0)
    run = random_workflow(0, 5, ("priorities",))
    assert examine(Candidate(run, NO_FAULTS), report) == []
    assert set(report.transitions) == {
        ("waiting", "decide", "ready"), ("ready", "start", "running"), ("running", "succeed", "succeeded"),
    }  # fmt: skip
    assert report.transitions["running", "succeed", "succeeded"] == len(run.workflow.steps)


def test_a_step_left_out_is_mentioned_nowhere() -> None:
    for number in range(40):
        one = candidate(number)
        gone = one.run.workflow.steps[0].step_id
        if len(one.run.workflow.steps) == 1:
            continue
        text = json.dumps(run_to_data(*without(one, {gone})))
        assert f'"{gone}"' not in text
        assert f"go_{gone}" not in text


def test_a_failing_run_shrinks_to_what_matters() -> None:
    with planted(BY_NAME["priority reversed"]):
        report = play_part(Settings(seed=1, size=20, shrink_seconds=20.0), 0, 30)
    failure = next(failure for failure in report.failures if failure.property == "start_order")
    assert failure.steps <= 4
    assert failure.smallest_messages
    run, faults = run_from_data(failure.replay)
    assert faults.kinds() == set()
    assert any(step.priority for step in run.workflow.steps)
    assert examine(Candidate(run, faults)) == []


def test_shrinking_stops_when_its_time_is_up() -> None:
    began = time.monotonic()
    shrink(candidate(1), lambda _: True, seconds=0.0)
    assert time.monotonic() - began < 5


def test_the_smallest_run_is_a_scenario_that_can_be_loaded(tmp_path: Path) -> None:
    for number in range(30):
        path = tmp_path / f"{number}.yaml"
        run = candidate(number).run
        path.write_text(yaml.safe_dump(scenario_of(run, f"found-{number}"), sort_keys=False))
        loaded = load(path)
        assert [step.step_id for step in loaded.workflow.steps] == [step.step_id for step in run.workflow.steps]


def test_jobs_change_nothing_but_the_time_it_takes() -> None:
    one, two = fuzz(420, seed=3, size=6), fuzz(420, seed=3, size=6, jobs=2)
    assert (one.dags, one.steps, one.attempts) == (two.dags, two.steps, two.attempts)
    assert one.transitions == two.transitions
    assert one.ok
    assert two.ok


def test_minutes_end() -> None:
    report = fuzz(minutes=0.005, size=4)
    assert report.ok
    assert 0 < report.seconds < 30


@pytest.mark.parametrize("wrong", [{"dags": 0}, {"minutes": 0.0}, {"jobs": 0}, {"size": 0}, {"features": ["nothing"]}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"positive|no such feature"):
        fuzz(**wrong)


def test_a_fault_that_is_gone_is_not_found_by_its_replay(tmp_path: Path) -> None:
    with planted(BY_NAME["retry counted wrong"]):
        failure = play_part(Settings(seed=1, size=8), 0, 30).failures[0]
        path = tmp_path / "replay.json"
        path.write_text(json.dumps(failure.replay))
        assert not replay(str(path)).ok
    assert replay(str(path)).ok


def test_a_run_that_dies_is_made_small_kept_and_played_again(tmp_path: Path) -> None:
    dying = (one for one in map(candidate, range(400)) if one.faults.crash and len(one.faults.crash.crashes) > 1)

    def fails(one: Candidate) -> bool:
        return any(violation.property == "finished_once" for violation in examine(one))

    with planted(BY_NAME["journal loses an end"]):
        crashing = next(one for one in dying if fails(one))
        smallest = shrink(crashing, fails)
    assert len(smallest.run.workflow.steps) == 1
    assert smallest.faults.kinds() == {"crash"}
    assert smallest.faults.crash is not None
    assert len(smallest.faults.crash.crashes) == 1
    path = tmp_path / "replay.json"
    path.write_text(json.dumps(run_to_data(*smallest)), encoding="utf-8")
    assert replay(str(path)).ok
    with planted(BY_NAME["journal loses an end"]):
        assert list(replay(str(path)).found) == ["finished_once"]


def test_a_run_that_dies_is_the_same_each_time() -> None:
    crashing = [one for one in map(candidate, range(300)) if one.faults.crash is not None]
    for one in crashing:
        first, again = (play_with_crashes(*one) for _ in range(2))
        assert [part.crashed for part in first.parts] == [part.crashed for part in again.parts]
        for mine, theirs in zip(first.parts, again.parts, strict=True):
            assert same_schedule(mine.played.timeline, theirs.played.timeline) == []
    assert sum(part.crashed for one in crashing for part in play_with_crashes(*one).parts) > len(crashing) / 2


def test_a_loop_without_end_is_reported_with_where_it_is() -> None:
    def spin() -> None:
        while True:
            pass

    with pytest.raises(HangError, match="in spin"), time_limit(0.1):
        spin()


def test_a_thing_that_waits_without_end_is_a_hang_too() -> None:
    with pytest.raises(HangError, match="no end after"), time_limit(0.02):
        threading.Event().wait(60)


def test_a_hang_is_told_again_where_its_first_word_was_swallowed() -> None:
    swallowed: list[HangError] = []

    def spin() -> None:
        while True:
            pass

    def swallow_and_spin() -> None:
        try:
            spin()
        except HangError as error:
            swallowed.append(error)
        spin()

    with pytest.raises(HangError), time_limit(0.05):
        swallow_and_spin()
    assert len(swallowed) == 1


def test_a_limit_around_a_limit_counts_its_own_clock_and_is_told_again() -> None:
    worked: list[float] = []

    def work() -> None:
        with time_limit(20):
            # The processor gives nothing while this waits: all that the outer limit allows is left afterwards.
            threading.Event().wait(0.5)
        for _ in range(2):
            began = time.process_time()
            # Not `suppress`: in its code the next telling would find the test unprotected.
            try:
                while True:
                    pass
            except HangError:
                pass
            worked.append(time.process_time() - began)

    # A collection of garbage takes as long as all that the tests before have left, and would count as work.
    gc.disable()
    try:
        with time_limit(0.2):
            work()
    finally:
        gc.enable()
    assert worked[0] > 0.1
    assert len(worked) == 2


def test_the_stacks_of_all_threads_are_told() -> None:
    here = threading.Event()
    there = threading.Event()

    def wait_for_nothing() -> None:
        there.set()
        here.wait()

    thread = threading.Thread(target=wait_for_nothing, name="the one that waits")
    thread.start()
    there.wait()
    text = all_stacks()
    here.set()
    thread.join()
    assert "the one that waits" in text
    assert "wait_for_nothing" in text


class LosingBackend(Backend):
    """Starts what it is given, and never reports an end."""

    name = "losing"

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers)
        self.closed = threading.Event()

    def drive(self, engine: Engine) -> None:
        engine.begin()
        self.closed.wait()

    def close(self) -> None:
        self.closed.set()


def test_a_backend_that_hangs_is_reported_with_the_history_of_its_steps_and_left() -> None:
    run = scaled(random_workflow(1, 6, ("priorities",)))
    played = play_for_real(run, LosingBackend(2), patience_seconds=0.2)
    found = judge_real(played)
    assert [violation.property for violation in found] == ["ends"]
    assert "no end after 0.2 s on losing" in found[0].message
    assert "is running" in found[0].message
    assert "makespan-fuzz-run" in found[0].message


class BreakingBackend(LosingBackend):
    """Breaks."""

    def drive(self, engine: Engine) -> None:
        raise RuntimeError("out of order")


def test_a_backend_that_breaks_is_reported_with_its_error() -> None:
    played = play_for_real(scaled(random_workflow(1, 6, ("priorities",))), BreakingBackend(2))
    assert [violation.message for violation in judge_real(played)] == ["RuntimeError: out of order"]


def test_news_that_comes_again_is_dropped_and_counted() -> None:
    from harness.testing.fuzz.faults import FaultPlan, Mishap

    run = random_workflow(1, 6, ("priorities",))
    mishaps = {(step.step_id, 1): Mishap("repeated", 0) for step in run.workflow.steps}
    played = play(run, FaultPlan(mishaps))
    assert played.error is None
    assert played.engine.dropped_completions == len(run.workflow.steps) == played.stale_news


def test_a_run_that_is_kept_by_hand_is_read_back_as_it_was(tmp_path: Path) -> None:
    run = random_workflow(3)
    write_replay(tmp_path / "cases" / "found.json", run)
    assert read_replay(tmp_path / "cases" / "found.json") == (run, NO_FAULTS)

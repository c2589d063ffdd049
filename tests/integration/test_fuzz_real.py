"""Runs that are played for real: what the steps saw themselves is compared with the record, and faults are found."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from executor import Step, Workflow
from executor.backends.base import Backend
from executor.backends.child_steps import Batch
from executor.backends.threads import ThreadsBackend
from executor.record.timeline import Interval
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, Call, Child, StepPlan
from harness.testing.drawing.generator import DrawnRun, random_workflow
from harness.testing.fuzz import real_steps as fuzz_steps
from harness.testing.fuzz.real_run_judging import judge_real
from harness.testing.fuzz.real_runs import (
    REAL_FEATURES,
    RealRun,
    is_steady,
    play_for_real,
    real_features,
    scaled,
)
from harness.testing.fuzz.real_steps import FOLLOWING, Seen, drawn_steps

MILLISECOND = 1_000_000
WAYS = set(FOLLOWING)


def plain(duration: int = MILLISECOND, *calls: Call) -> StepPlan:
    return StepPlan((AttemptPlan(duration, calls=calls),))


def calling(*, timeout: float | None = None, workers: int = 1) -> DrawnRun:
    """A step that calls two at once, the first of which calls a third; then one of those alone."""
    inner = Call(0, (Child(Step(step_id="1", tool="x"), plain()),))
    both = (Child(Step(step_id="1", tool="x"), plain(0, inner)), Child(Step(step_id="2", tool="x"), plain()))
    alone = Call(MILLISECOND, (Child(Step(step_id="1", tool="x", timeout=timeout), plain()),))
    plan = plain(2 * MILLISECOND, Call(MILLISECOND, both), alone)
    workflow = Workflow(workflow_id="drawn", steps=(Step(step_id="a", tool="x"), Step(step_id="b", tool="x")))
    return DrawnRun(workflow, Behaviour({"a": plan, "b": plain()}, workers=workers))


@pytest.fixture
def played() -> RealRun:
    found = play_for_real(calling(), "threads")
    assert judge_real(found) == []
    return found


def broken(played: RealRun) -> set[str]:
    return {violation.property for violation in judge_real(played)}


def test_calls_are_played_as_drawn(played: RealRun) -> None:
    assert played.attempts == {"a": 1, "b": 1, "a/1": 1, "a/2": 1, "a/1/1": 1, "a/3": 1}
    seen = [note.what for note in played.notes if note.step_id == "a"]
    assert seen == ["began", "called", "resumed", "called", "resumed", "ended"]


def test_steps_are_done_in_every_way_that_there_is() -> None:
    drawn = [drawn_steps(scaled(random_workflow(n, 12, REAL_FEATURES)).behaviour, steady=n % 2 > 0) for n in range(150)]
    assert {tool for one in drawn for tool in one.tools.values()} == WAYS
    batches = [batch for one in drawn for doings in one.doings.values() for doing in doings for batch in doing.batches]
    assert any(batch.at_once for batch in batches)
    assert any(batch.apart for batch in batches)
    assert any(batch.patience for batch in batches)
    assert any(len(batch.calls) > 1 for batch in batches)
    # In some runs one tool does nearly all.
    assert any(len(set(one.tools.values())) == 1 for one in drawn if len(one.tools) > 10)


def test_a_run_with_timeouts_of_calls_is_not_steady() -> None:
    assert is_steady(calling())
    assert not is_steady(calling(timeout=1.0))


def test_backends_without_a_way_back_get_no_calls() -> None:
    assert not real_features("dask") & {"nested", "deep"}
    assert {"nested", "deep", "deaths"} <= real_features("processes")


def test_a_step_that_goes_on_before_it_has_a_slot_is_found(played: RealRun) -> None:
    (one,) = (attempt for attempt in played.timeline.attempts if attempt.step_id == "a")
    (start, end), last = one.blocked
    one.blocked = [Interval(start, end), Interval(last.start, last.end + MILLISECOND)]
    assert "witnesses" in broken(played)


def test_a_step_that_runs_twice_is_found(played: RealRun) -> None:
    played.notes += [note for note in played.notes if note.step_id == "b"]
    assert broken(played) == {"witnesses"}


def test_a_step_that_runs_without_a_record_is_found(played: RealRun) -> None:
    played.notes.append(Seen("began", "b", 2, played.notes[-1].time_ns))
    assert broken(played) == {"witnesses"}


def test_an_end_that_is_told_too_early_is_found(played: RealRun) -> None:
    played.notes = [
        note._replace(time_ns=note.time_ns + 60_000 * MILLISECOND) if note[:2] == ("ended", "b") else note
        for note in played.notes
    ]
    assert "witnesses" in broken(played)


def test_a_step_that_is_cancelled_for_nothing_is_found_where_calls_were_given_up(played: RealRun) -> None:
    last = played.notes[-1]
    played.notes.append(Seen("gave_up", "a", 1, last.time_ns))
    place = played.timeline.step_ids.index("b")
    played.timeline.statuses[place] = "cancelled"
    played.timeline.attempts = [one for one in played.timeline.attempts if one.step_id != "b"]
    assert "final_states" in broken(played)


def test_more_that_run_than_there_are_workers_are_found() -> None:
    run = calling(workers=2)
    both = replace(run.behaviour, steps={"a": plain(30 * MILLISECOND), "b": plain(30 * MILLISECOND)})
    played = play_for_real(DrawnRun(run.workflow, both), "threads")
    assert judge_real(played) == []
    played.run = DrawnRun(run.workflow, replace(both, workers=1))
    assert "witnesses" in broken(played)


def test_an_output_that_does_not_fit_what_was_called_is_found(played: RealRun) -> None:
    played.engine.outputs["a/1/1"] += 1
    # What it gave to its callers is not what is there now.
    messages = [str(violation) for violation in judge_real(played)]
    assert len(messages) == 2
    assert all(message.startswith("outputs: step 'a/1") for message in messages)


# ------------------------------------------------------------------ faults of backends, planted


def found_on_threads(monkeypatch: pytest.MonkeyPatch, **tools: str) -> set[str]:
    """What is found in a run in which steps have these tools, and all others ``others``."""
    monkeypatch.setattr(fuzz_steps, "_tool_for", lambda key, _plan, _ways: tools.get(key, tools["others"]))
    return broken(play_for_real(calling(), "threads", patience_seconds=1.0))


def test_outcomes_in_the_wrong_order_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    submit = Batch.submit

    def reversing(self: Batch) -> Any:
        report = self._done
        self._done = lambda outcomes: report(None if outcomes is None else outcomes[::-1])
        return submit(self)

    monkeypatch.setattr(Batch, "submit", reversing)
    assert "outputs" in found_on_threads(monkeypatch, others="in_thread")


def test_a_coroutine_that_is_called_in_the_place_of_its_caller_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_async(self: Backend, awaitable: Any) -> Any:
        runner = getattr(self._local, "runner", None)
        if runner is None:
            runner = self._local.runner = asyncio.Runner()
        return runner.run(awaitable)

    monkeypatch.setattr(Backend, "run_async", run_async)
    assert "outcomes" in found_on_threads(monkeypatch, a="in_thread", others="as_coroutine")


def test_a_worker_that_waits_and_is_not_made_up_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    make_up = ThreadsBackend.make_up

    def only_at_first(self: ThreadsBackend) -> None:
        if not self._workers:
            make_up(self)

    monkeypatch.setattr(ThreadsBackend, "make_up", only_at_first)
    assert found_on_threads(monkeypatch, others="as_coroutine") == {"ends"}

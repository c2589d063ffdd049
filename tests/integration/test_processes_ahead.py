"""The `processes` backend hands out steps ahead of free workers, and the record is as if it did not."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from random import Random
from typing import Any

import pytest

from executor import Instrument, Resource, Run, Step, run
from executor.backends.processes.dispatch import Dispatcher
from executor.backends.processes.prefetch import ShortSteps
from executor.backends.processes.process_backend import ProcessesBackend
from executor.backends.processes.worker_handle import WorkerProcess
from executor.backends.processes.worker_pool import WorkerPool
from executor.record.outcomes import Completion
from executor.record.timeline import Attempt
from harness.testing.oracle.called_graphs import graph_with_calls
from harness.testing.oracle.judge import assert_ok, check_timeline
from tests.integration.process_runs import children, die_once, go, go_until, no_child_is_left, steps_of
from tests.movable_clock import PATIENCE_SECONDS, Ends, MovableClock

__all__ = ["no_child_is_left"]


def check_record(result: Run, workers: int) -> None:
    """The record shows no more running than workers, one step at a time on each, in order of grant."""
    attempts = list(result.timeline.attempts)
    assert [a.granted for a in attempts] == sorted(a.granted for a in attempts)
    changes: list[tuple[int, int]] = []
    for attempt in attempts:
        assert attempt.started is not None
        assert attempt.ended is not None
        assert attempt.known is not None
        assert attempt.ready <= attempt.granted <= attempt.started <= attempt.ended <= attempt.known
        waits = attempt.waits
        if attempt.granted > attempt.ready:
            assert (waits[0].start, waits[-1].end) == (attempt.ready, attempt.granted)
        changes += [(attempt.granted, 1), (attempt.ended, -1)]
    running = 0
    for _, change in sorted(changes):
        running += change
        assert running <= workers
    last: dict[str | None, int] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.started or 0):
        assert last.get(attempt.worker, 0) <= (attempt.started or 0)
        last[attempt.worker] = attempt.ended or 0


class Watcher(Instrument):
    """Notes the hooks of each attempt."""

    def __init__(self) -> None:
        self.seen: dict[Attempt, list[str]] = {}

    def attempt_started(self, attempt: Attempt) -> None:
        self.seen.setdefault(attempt, []).append("started")

    def attempt_finished(self, attempt: Attempt, status: str) -> None:
        self.seen.setdefault(attempt, []).append(status)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(
    "fields", [{}, {"needs": {"seat": 1}}, {"timeout": 60.0}, {"needs": {"seat": 1}, "timeout": 60.0}], ids=str
)
def test_short_steps_that_are_handed_out_ahead_leave_a_true_record(workers: int, fields: dict[str, Any]) -> None:
    layers = [[f"{layer}.{n}" for n in range(20)] for layer in range(10)]
    steps = [
        Step(
            step_id=name,
            tool="noop",
            depends_on=tuple(layers[place - 1][n % 20] for n in range(i, i + 3)) if place else (),
            **fields,
        )
        for place, layer in enumerate(layers)
        for i, name in enumerate(layer)
    ]
    watcher = Watcher()
    result = go(*steps, workers=workers, instruments=[watcher], resources={"seat": Resource(capacity=10)})
    assert result.ok
    assert_ok(check_timeline(graph_with_calls(result), result.timeline, handed_out_ahead=True))
    assert result.dropped_completions == 0
    assert len(result.timeline.attempts) == len(steps)
    assert result.timeline.workers == workers
    assert watcher.seen == {attempt: ["started", "succeeded"] for attempt in result.timeline.attempts}
    check_record(result, workers)


def spin() -> None:
    end = time.perf_counter() + 60e-6
    while time.perf_counter() < end:
        pass


def test_no_step_begins_before_its_grant_where_workers_go_on_while_others_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early: list[str] = []
    generator = Random(1)
    hear, completions = WorkerPool.hear, Dispatcher._completions

    def heard_late(pool: WorkerPool, worker: WorkerProcess) -> bool:
        if generator.random() < 0.3:
            time.sleep(0.002)
        return hear(pool, worker)

    def completed(dispatcher: Dispatcher) -> Iterator[Completion]:
        for completion in completions(dispatcher):
            attempt, started, *_ = completion
            # The record would put the one to the other.
            if started < attempt.granted:
                early.append(attempt.step_id)
            yield completion

    monkeypatch.setattr(WorkerPool, "hear", heard_late)
    monkeypatch.setattr(Dispatcher, "_completions", completed)
    result = go(*(Step(step_id=f"s{n}", tool="spin") for n in range(1_000)), tools={"spin": spin})
    assert early == []
    check_record(result, 2)


def wait_for(marker: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while marker and not Path(marker).exists():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.01)


class MarksTheEnds(Ends):
    """A file is there once so many attempts have ended."""

    def __init__(self, count: int, marker: Path) -> None:
        super().__init__(count)
        self._marker = marker

    def reached(self) -> None:
        self._marker.touch()


WORD: ContextVar[str] = ContextVar("WORD", default="none")


async def say(word: str) -> str:
    before = WORD.get()
    WORD.set(word)
    return before


def test_a_coroutine_does_not_see_the_context_variables_of_the_one_before_it() -> None:
    steps = [Step(step_id=name, tool="say", args={"word": name}) for name in ("a", "b")]
    assert go(*steps, tools={"say": say}, workers=1).outputs == {"a": "none", "b": "none"}


def test_a_long_step_among_short_ones_holds_up_nobody(tmp_path: Path) -> None:
    # It ends when all others have.
    others_ended = tmp_path / "others-ended"
    steps = [
        Step(step_id=f"s{n}", tool="wait", args={"marker": str(others_ended) if n == 100 else ""}) for n in range(300)
    ]
    result = go(*steps, tools={"wait": wait_for}, instruments=[MarksTheEnds(299, others_ended)])
    assert result.ok, result.errors
    check_record(result, 2)


def test_a_worker_that_dies_gives_back_what_waited_behind_its_step(tmp_path: Path) -> None:
    def maybe(n: int, marker: str) -> int:
        if n == 150:
            die_once(marker)
        return n

    marker = str(tmp_path / "marker")
    steps = [Step(step_id=f"s{n}", tool="maybe", args={"n": n, "marker": marker}) for n in range(300)]
    result = go(*steps, tools={"maybe": maybe})
    assert result.outputs == {f"s{n}": n for n in range(300)}
    assert [a.step_id for a in result.timeline.attempts if a.outcome == "worker_died"] == ["s150"]
    assert len(result.timeline.attempts) == 301
    check_record(result, 2)


def test_after_a_step_that_stops_the_run_none_of_those_behind_it_ran(tmp_path: Path) -> None:
    def mark(n: int) -> None:
        if n == 100:
            raise ValueError("stop here")
        (tmp_path / str(n)).touch()

    steps = [
        Step(step_id=f"s{n}", tool="mark", args={"n": n}, on_failure="stop" if n == 100 else "continue")
        for n in range(200)
    ]
    result = go(*steps, workers=1, tools={"mark": mark})
    assert {path.name for path in tmp_path.iterdir()} == {str(n) for n in range(100)}
    assert result.statuses["s100"] == "failed"
    assert all(result.statuses[f"s{n}"] == "cancelled" for n in range(101, 200))


def test_a_step_past_its_timeout_holds_up_none_of_those_behind_it(tmp_path: Path) -> None:
    # Its time is over when all others have ended.
    others_ended = tmp_path / "others-ended"
    steps = [
        Step(
            step_id=f"s{n}",
            tool="wait",
            args={"marker": "nowhere" if n == 150 else ""},
            timeout=PATIENCE_SECONDS,
            needs={"seat": 1},
        )
        for n in range(300)
    ]
    result = go_until(
        others_ended.exists,
        *steps,
        tools={"wait": wait_for},
        resources={"seat": Resource(capacity=4)},
        instruments=[MarksTheEnds(299, others_ended)],
    )
    assert [a.step_id for a in result.timeline.attempts if a.outcome != "succeeded"] == ["s150"]
    assert result.errors["s150"].outcome == "timed_out"
    assert len(result.timeline.attempts) == 300
    check_record(result, 2)


class StopsItsWorker(Instrument):
    """The only worker is stopped before it is sent a step, and goes on when a minute has passed."""

    def __init__(self, clock: MovableClock) -> None:
        self._clock = clock

    def attempt_started(self, attempt: Attempt) -> None:
        (worker,) = children()
        os.kill(worker, signal.SIGSTOP)

        def go_on() -> None:
            self._clock.move(60)
            # The engine has looked at the clock by now.
            time.sleep(0.2)
            os.kill(worker, signal.SIGCONT)

        threading.Timer(0.1, go_on).start()


def test_the_time_of_a_step_runs_from_its_beginning_at_its_worker() -> None:
    backend = ProcessesBackend(1)
    stops = StopsItsWorker(MovableClock(backend))
    result = run(steps_of(Step(step_id="a", tool="noop", timeout=60)), backend=backend, instruments=[stops])
    assert result.ok


def test_only_short_and_harmless_steps_may_wait_at_a_worker() -> None:
    steps = [
        Step(step_id="plain", tool="t"),
        Step(step_id="timed", tool="t", timeout=1.0),
        Step(step_id="limited", tool="t", needs={"r": 1}),
        Step(step_id="locked", tool="t", reads=("s",)),
        Step(step_id="once", tool="t", idempotent=False),
        Step(step_id="other tool", tool="u"),
    ]
    short, watched = ShortSteps(steps), ShortSteps(steps, limits_and_timeouts=True)
    assert not any(short.fits(n) for n in range(6))
    for _ in range(10):
        short.note(0, 1_000)
        watched.note(0, 1_000)
    assert [short.fits(n) for n in range(6)] == [True, False, False, False, False, False]
    assert [watched.fits(n) for n in range(6)] == [True, True, True, False, False, False]
    short.note(0, 300_000)
    assert not short.fits(0)

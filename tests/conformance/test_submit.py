"""`SubmitBackend` beside its suite: executors that are given, pools that break, times of other machines."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from executor import BackendError, Instrument, Step, ToolContext, Workflow, run
from executor.backends.clocks.placed_times import PlacedTimes
from executor.backends.cluster_size import resize
from executor.backends.submit import Answer, RemoteCall, Shared, SubmitBackend, Times
from executor.host_id import machine
from executor.record.timeline import Attempt
from executor.tools.python import PythonTool
from executor.tools.tool import RunContext
from executor.tracing.span_collector import FinishedSpan
from executor.tracing.span_contents import SPANS_FACT
from executor.tracing.step_spans import CLOCK
from executor.tracing.worker_spans import moved_facts
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS
from tests.movable_clock import MovableClock


def leave() -> None:
    os._exit(1)


def test_an_executor_that_is_given_stays_open() -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            done = run(Workflow(steps=(Step(step_id="a", tool="noop"),)), backend=SubmitBackend(2, executor=pool))
            assert done.ok
        assert pool.submit(int, "7").result() == 7


def test_a_run_says_nothing_of_the_one_before_it_that_shared_its_executor() -> None:
    with ThreadPoolExecutor(2) as pool, SubmitBackend(2, executor=pool) as backend:
        goes_on = threading.Event()
        late = Step(step_id="late", tool="wait", timeout=0.01)
        first = run(Workflow(steps=(late,)), backend=backend, tools={"wait": goes_on.wait})
        second = run(Workflow(steps=(Step(step_id="a", tool="noop"),)), backend=backend)
        goes_on.set()
    assert "cannot be stopped" in " ".join(first.warnings)
    assert (second.ok, second.warnings) == (True, [])


def test_without_an_executor_it_says_what_to_do() -> None:
    with pytest.raises(BackendError, match=r"give one, as in SubmitBackend\(4, executor=pool\)"):
        run(Workflow(steps=(Step(step_id="a", tool="noop"),)), backend=SubmitBackend(2))


def test_anything_with_submit_will_do() -> None:
    class Here:
        """Runs each call at once, in the thread that submits."""

        def submit(self, call: Callable[[], Any]) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(call())
            return future

    steps = [Step(step_id=f"s{i}", tool="noop", depends_on=(f"s{i - 1}",) if i else ()) for i in range(50)]
    assert run(Workflow(steps=tuple(steps)), backend=watch(SubmitBackend(1, executor=Here()))).ok


def test_a_given_pool_that_breaks_fails_what_comes_after() -> None:
    with ProcessPoolExecutor(1) as pool:
        steps = (Step(step_id="a", tool="leave"), Step(step_id="b", tool="echo"))
        done = run(Workflow(steps=steps), backend=SubmitBackend(1, executor=pool), tools={**STEPS, "leave": leave})
    assert done.statuses == {"a": "failed", "b": "failed"}
    assert done.errors["a"].outcome == "worker_died"


def test_a_call_that_the_executor_gives_up_is_a_dead_worker() -> None:
    class GivesUp:
        def submit(self, call: Callable[[], Any]) -> Future[Any]:
            future: Future[Any] = Future()
            threading.Timer(0.01, future.cancel).start()
            return future

    step = Step(step_id="a", tool="noop", idempotent=False)
    done = run(Workflow(steps=(step,)), backend=SubmitBackend(1, executor=GivesUp()))
    assert done.errors["a"].outcome == "worker_died"


def test_the_end_of_a_call_of_an_earlier_run_is_none_of_this_one() -> None:
    go_on, gone = threading.Event(), threading.Event()

    def stay() -> None:
        clock.move(60)
        go_on.wait(60)
        gone.set()

    def let_go() -> None:
        go_on.set()
        assert gone.wait(60)
        time.sleep(0.2)  # its end is on its way

    tools = {"stay": stay, "let_go": let_go}
    with ThreadPoolExecutor(3) as pool, SubmitBackend(2, executor=pool) as backend:
        clock = MovableClock(backend)
        steps = (Step(step_id="a", tool="noop"), Step(step_id="stay", tool="stay", timeout=60))
        assert run(Workflow(steps=steps), backend=backend, tools=tools).errors["stay"].outcome == "timed_out"
        done = run(Workflow(steps=(Step(step_id="let_go", tool="let_go"),)), backend=backend, tools=tools)
    assert done.ok, done.errors
    assert done.dropped_completions == 0


def test_times_of_this_machine_are_taken_as_they_are_and_those_of_another_lie_between_sending_and_answer() -> None:
    attempt, placed = Attempt(0, "a", 1, 0, 0), PlacedTimes()
    here = Times(1_000, 1_500, machine(), "w", 0.0)
    assert placed.spans(attempt, [here], 900) == [(100, 600)]
    placed.note_sending(attempt, 2_000)
    placed.note_return(attempt, 2_600)
    there = Times(1_000, 1_500, "another machine", "w", 0.0)
    [(started, ended)] = placed.spans(attempt, [there], 900)
    assert 1_100 <= started < ended <= 1_700
    assert abs(started - 1_150) <= placed.clocks.readings()["w"].error_nanoseconds < 60


class ElsewherePool:
    """Threads that state the times of a machine whose clock is hours ahead, and runs 200 ppm fast."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(2)

    def submit(self, call: Callable[[], Answer], /) -> Future[Answer]:
        def run_there() -> Answer:
            times, result = call()
            started, ended = self._shown(times.started), self._shown(times.ended)
            return replace(times, started=started, ended=ended, machine="another machine", host="elsewhere"), result

        return self.pool.submit(run_there)

    @staticmethod
    def _shown(instant: int) -> int:
        return instant + 5_000 * 10**9 + instant // 5_000


def test_a_run_on_a_machine_with_another_clock_has_the_times_of_ours() -> None:
    names = [f"s{number}" for number in range(6)]
    steps = [Step(step_id=name, tool="clock", depends_on=tuple(names[:at][-1:])) for at, name in enumerate(names)]
    elsewhere = ElsewherePool()
    with elsewhere.pool:
        workflow = Workflow(steps=tuple(steps))
        tools = {"clock": time.perf_counter_ns}
        done = run(workflow, backend=SubmitBackend(2, executor=elsewhere), tools=tools)
    assert done.ok
    clocks = done.timeline.clocks
    assert {attempt.worker for attempt in done.timeline.attempts} == set(clocks)
    assert all(worker.startswith("elsewhere ") for worker in clocks)
    origins = []
    for attempt in done.timeline.attempts:
        times = [attempt.ready, attempt.granted, attempt.started, attempt.ended, attempt.known]
        assert times == sorted(times, key=lambda instant: instant or 0)
        origins.append(done.outputs[attempt.step_id] - (attempt.started or 0))
    assert all(reading.resets == 0 for reading in clocks.values())
    # The steps say when they really ran: t = 0 is the same for all of them, but for the stated error and their length.
    longest = max((one.ended or 0) - (one.started or 0) for one in done.timeline.attempts)
    error = max(reading.error_nanoseconds for reading in clocks.values())
    assert max(origins) - min(origins) <= 2 * error + longest


class ShrinksToNothing(Instrument):
    """After the first step no worker is left for a moment."""

    def __init__(self) -> None:
        self.engine: Any = None

    def run_started(self, engine: Any) -> None:
        self.engine = engine

    def attempt_finished(self, attempt: Attempt, status: str) -> None:
        if attempt.step_id == "s0":
            self.engine.ask(lambda now: resize(self.engine, 0, now))
            threading.Timer(0.3, lambda: self.engine.ask(lambda now: resize(self.engine, 2, now))).start()


def test_a_run_waits_for_workers_where_all_have_left() -> None:
    steps = [Step(step_id=f"s{n}", tool="sleep", args={"seconds": 0.02}) for n in range(6)]
    with ThreadPoolExecutor(2) as pool:
        backend = SubmitBackend(2, executor=pool)
        done = run(Workflow(steps=tuple(steps)), backend=backend, instruments=[ShrinksToNothing()])
    assert done.ok
    assert [workers for _, workers in done.timeline.worker_changes] == [2, 0, 2]
    (_, _), (left, _), (came, _) = done.timeline.worker_changes
    assert all(not left < attempt.granted < came for attempt in done.timeline.attempts)


def test_spans_of_another_machine_are_brought_onto_the_wall_clock_of_the_run() -> None:
    span = FinishedSpan("inside", 1, 2, 3, 7_000, 8_000, {}, [("seen", 7_500, {})])
    carrier = {CLOCK: f"{10**18 + 50} 100 here"}
    facts = {SPANS_FACT: [span], "tokens": 3}
    moved = moved_facts(facts, carrier, lambda instant: instant - 6_000)
    assert moved["tokens"] == 3
    [there] = moved[SPANS_FACT]
    assert (there.start, there.events[0][1], there.end) == (10**18 + 950, 10**18 + 1_450, 10**18 + 1_950)
    assert facts[SPANS_FACT] == [span]
    stated = {SPANS_FACT: [span._replace(start=2 * 10**18)]}
    assert moved_facts(stated, carrier, lambda instant: instant)[SPANS_FACT][0].start == 2 * 10**18


def test_a_call_runs_in_this_process_as_it_is_and_in_another_from_bytes() -> None:
    run_context = RunContext()
    tool = PythonTool("double", STEPS["double"])
    call = RemoteCall(Shared(run_context), tool, ToolContext(run_context, "a"), None, {"value": 4})
    _, here = call()
    _, there = pickle.loads(pickle.dumps(call))()
    assert here.value == 8
    assert there.packed
    assert pickle.loads(there.value) == 8

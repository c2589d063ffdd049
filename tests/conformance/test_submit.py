"""`SubmitBackend` beside its suite: executors that are given, pools that break, times of other machines."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from executor import BackendError, Step, ToolContext, Workflow, run
from executor.backends.submit import RemoteCall, Shared, SubmitBackend, Times
from executor.host_id import machine
from executor.tools.python import PythonTool
from executor.tools.tool import RunContext
from harness.testing.backends.protocol_watch import watch
from harness.testing.backends.suite_steps import STEPS


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


def test_times_of_another_machine_keep_their_duration_alone() -> None:
    here = Times(1_000, 1_500, machine(), "w", 0.0)
    there = Times(1_000, 1_500, "another machine", "w", 0.0)
    assert here.on_our_clock(origin=900, now=10_000) == (100, 600)
    assert there.on_our_clock(origin=900, now=10_000) == (9_500, 10_000)


def test_a_call_runs_in_this_process_as_it_is_and_in_another_from_bytes() -> None:
    run_context = RunContext()
    tool = PythonTool("double", STEPS["double"])
    call = RemoteCall(Shared(run_context), tool, ToolContext(run_context, "a"), None, {"value": 4})
    _, here = call()
    _, there = pickle.loads(pickle.dumps(call))()
    assert here.value == 8
    assert there.packed
    assert pickle.loads(there.value) == 8

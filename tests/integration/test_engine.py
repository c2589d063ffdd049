"""The engine on the backends that run in this process: one set of facts, each on every one of them."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import pytest

from executor import interrupts
from executor.backends.threads import ThreadsBackend
from executor.engine.engine import Engine
from executor.engine.instruments import Instrument
from executor.model.workflow import Resource, Retry, Step, Workflow
from executor.record.timeline import Attempt, StepStatus
from executor.running import Interrupted, Run, arun, run
from harness.testing.backends.suite_steps import meet
from tests.movable_clock import PATIENCE_SECONDS

BACKENDS = ("serial", "threads", "asyncio", "processes")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend in turn; afterwards no thread of ours that could have ended is left."""
    yield request.param
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not [t for t in threading.enumerate() if t.name.startswith("makespan")]:
            return
        time.sleep(0.01)
    raise AssertionError(f"threads left: {[t.name for t in threading.enumerate()]}")


def workflow(*steps: Step) -> Workflow:
    return Workflow(steps=steps)


def double(value: int) -> int:
    return 2 * value


def fail(message: str) -> None:
    raise ValueError(message)


async def double_async(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def nap(seconds: float) -> None:
    time.sleep(seconds)


TOOLS = {"double": double, "fail": fail, "double_async": double_async, "nap": nap}


def test_outputs_travel_from_step_to_step(backend: str) -> None:
    steps = (
        Step(step_id="a", tool="double", args={"value": 3}),
        Step(step_id="b", tool="double_async", args={"value": "{{ steps.a.output }}"}),
        Step(step_id="c", tool="double", args={"value": "{{ steps.a.output + steps.b.output }}"}),
    )
    result = run(workflow(*steps), backend=backend, tools=TOOLS, workers=None)
    assert result.outputs == {"a": 6, "b": 12, "c": 36}
    assert result.ok


def test_a_failing_step_carries_its_traceback_and_skips_its_dependants(backend: str) -> None:
    steps = (
        Step(step_id="a", tool="fail", args={"message": "no luck"}),
        Step(step_id="b", tool="double", args={"value": 1}, depends_on=("a",)),
        Step(step_id="c", tool="double", args={"value": 1}),
    )
    result = run(workflow(*steps), backend=backend, tools=TOOLS)
    assert result.statuses == {"a": "failed", "b": "skipped", "c": "succeeded"}
    error = result.errors["a"]
    assert (error.error_type, error.message) == ("ValueError", "no luck")
    assert "in fail" in error.traceback


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def raise_unprintable() -> None:
    raise UnprintableError


def test_an_exception_that_cannot_be_printed_is_a_failed_step_and_no_more(backend: str) -> None:
    steps = (Step(step_id="a", tool="raise_unprintable"), Step(step_id="b", tool="double", args={"value": 1}))
    result = run(workflow(*steps), backend=backend, tools={**TOOLS, "raise_unprintable": raise_unprintable})
    assert result.statuses == {"a": "failed", "b": "succeeded"}
    assert "cannot be printed" in result.errors["a"].message


def test_a_template_that_fails_at_run_time_is_that_steps_failure(backend: str) -> None:
    steps = (
        Step(step_id="a", tool="double", args={"value": 3}),
        Step(step_id="b", tool="double", args={"value": "{{ steps.a.output.nothing }}"}),
    )
    result = run(workflow(*steps), backend=backend, tools=TOOLS)
    assert result.statuses == {"a": "succeeded", "b": "failed"}
    assert "nothing" in result.errors["b"].message


def test_a_flaky_step_is_tried_again_and_every_attempt_is_recorded(backend: str) -> None:
    step = Step(step_id="a", tool="flaky", args={"fail_times": 2}, retry=Retry(max_attempts=3, backoff_seconds=0.001))
    result = run(workflow(step), backend=backend)
    assert [a.outcome for a in result.timeline.attempts] == ["failed", "failed", "succeeded"]
    assert result.errors == {}


def test_a_limit_holds_on_every_backend(backend: str) -> None:
    steps = [Step(step_id=f"s{i}", tool="nap", args={"seconds": 0.01}, needs={"door": 1}) for i in range(6)]
    result = run(workflow(*steps), backend=backend, tools=TOOLS, resources={"door": Resource(capacity=1)})
    attempts = sorted(result.timeline.attempts, key=lambda a: a.granted)
    assert all(before.known <= after.granted for before, after in itertools.pairwise(attempts))  # type: ignore[operator]  # all are final


def test_a_timeout_fails_the_step_and_the_others_go_on(backend: str) -> None:
    steps = (
        Step(step_id="slow", tool="sleep", args={"seconds": 20}, timeout=0.2),
        Step(step_id="fine", tool="double", args={"value": 1}),
        Step(step_id="after", tool="double", args={"value": 1}, depends_on=("slow",)),
    )
    result = run(workflow(*steps), backend=backend, tools=TOOLS)
    assert result.statuses == {"slow": "failed", "fine": "succeeded", "after": "skipped"}
    assert result.errors["slow"].outcome == "timed_out"
    assert result.timeline.makespan_seconds < 10


def test_the_times_of_every_attempt_are_in_order(backend: str) -> None:
    steps = [
        Step(step_id=f"s{i}", tool="double", args={"value": 1}, depends_on=("s0",) if i else ()) for i in range(30)
    ]
    result = run(workflow(*steps), backend=backend, tools=TOOLS)
    for a in result.timeline.attempts:
        times = (a.ready, a.granted, a.started, a.ended, a.known)
        assert None not in times
        assert list(times) == sorted(times)  # type: ignore[type-var]  # none is None


def test_conditions_decide_at_run_time(backend: str) -> None:
    steps = (
        Step(step_id="a", tool="double", args={"value": 3}),
        Step(step_id="big", tool="double", args={"value": 1}, when="steps.a.output > 100"),
        Step(step_id="after", tool="double", args={"value": 5}, depends_on=("big",)),
    )
    result = run(workflow(*steps), backend=backend, tools=TOOLS)
    assert result.statuses == {"a": "succeeded", "big": "skipped", "after": "succeeded"}


def test_arun_awaits_in_a_running_loop(backend: str, tmp_path: Path) -> None:
    async def come() -> None:
        while not (tmp_path / "step").exists():  # noqa: ASYNC110  # another process may write it
            await asyncio.sleep(0.001)
        (tmp_path / "loop").touch()

    async def main() -> Run:
        coming = asyncio.ensure_future(come())
        # It ends once the loop has gone on.
        step = Step(step_id="a", tool="meet", args={"folder": str(tmp_path), "name": "step", "names": ["loop"]})
        result = await arun(workflow(step), backend=backend, tools={"meet": meet})
        await coming
        return result

    result = asyncio.run(main())
    assert result.ok, result.errors


def test_run_inside_a_running_loop_uses_a_helper_thread(backend: str) -> None:
    async def cell() -> Run:
        return run(workflow(Step(step_id="a", tool="double", args={"value": 2})), backend=backend, tools=TOOLS)

    assert asyncio.run(cell()).outputs == {"a": 4}


def test_cancelling_arun_cancels_the_run(backend: str) -> None:
    async def main() -> None:
        steps = (
            Step(step_id="a", tool="sleep", args={"seconds": 30}),
            Step(step_id="b", tool="noop", depends_on=("a",)),
        )
        task = asyncio.ensure_future(arun(workflow(*steps), backend=backend))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 15


class Watcher(Instrument):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def run_started(self, engine: Engine) -> None:
        self.seen.append("run started")

    def attempt_started(self, attempt: Attempt) -> None:
        self.seen.append(f"{attempt.step_id} started")

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        self.seen.append(f"{attempt.step_id} {status}")

    def run_finished(self, engine: Engine) -> None:
        self.seen.append("run finished")


def test_an_instrument_sees_the_run_from_start_to_end(backend: str) -> None:
    watcher = Watcher()
    step = Step(step_id="a", tool="double", args={"value": 1})
    run(workflow(step), backend=backend, tools=TOOLS, instruments=[watcher])
    assert watcher.seen == ["run started", "a started", "a succeeded", "run finished"]


class Broken(Instrument):
    calls = 0

    def attempt_started(self, attempt: Attempt) -> None:
        self.calls += 1
        raise RuntimeError("oh")


def test_an_instrument_that_raises_is_switched_off_and_the_run_goes_on(backend: str) -> None:
    broken = Broken()
    steps = [Step(step_id=f"s{i}", tool="double", args={"value": 1}) for i in range(3)]
    result = run(workflow(*steps), backend=backend, tools=TOOLS, instruments=[broken])
    assert result.ok
    assert broken.calls == 1
    assert result.warnings == ["instrument Broken raised RuntimeError in attempt_started and was switched off: oh"]


CTRL_C = """
import sys, os, signal
from executor.engine.instruments import Instrument
from executor.running import run, Interrupted
from executor.model.workflow import Step, Workflow

steps = (
    Step(step_id="quick", tool="noop", prompt="done"),
    Step(step_id="slow", tool="sleep", args={"seconds": 60}, depends_on=("quick",)),
)
class CtrlC(Instrument):
    def attempt_finished(self, attempt, status):
        if attempt.step_id == "quick":
            os.kill(os.getpid(), signal.SIGINT)
try:
    run(Workflow(steps=steps), backend=sys.argv[1], instruments=[CtrlC()])
except Interrupted as interrupted:
    print(interrupted.run.outputs, interrupted.run.statuses)
"""


def test_ctrl_c_ends_the_run_and_keeps_what_was_done(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C, backend], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "{'quick': 'done'} {'quick': 'succeeded', 'slow': 'cancelled'}\n"


class Interrupts(ThreadsBackend):
    """Ctrl-C while its steps run, and while it closes, as often as is said."""

    def __init__(self, *, driving: int, closing: int, heard: Sequence[int] | None = None) -> None:
        super().__init__(2)
        self.driving, self.closing, self.heard = driving, closing, heard

    def drive(self, engine: Engine) -> None:
        self._interrupt(self.driving)
        super().drive(engine)

    def close(self) -> None:
        super().close()
        self._interrupt(self.closing)

    def _interrupt(self, times: int) -> None:
        for _ in range(times):
            before = 0 if self.heard is None else len(self.heard)
            # As the system does: it gives signals to the main thread.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            # The system makes one of two that have not been heard of.
            until = time.monotonic() + PATIENCE_SECONDS
            while self.heard is not None and len(self.heard) == before:
                assert time.monotonic() < until, "it was not heard"
                time.sleep(0.001)


ONE_STEP = Workflow(steps=(Step(step_id="a", tool="double", args={"value": 4}),))


def test_ctrl_c_while_a_run_closes_gives_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.interrupts.SAME_INTERRUPT_SECONDS", 3600.0)
    with pytest.raises(Interrupted) as caught:
        run(ONE_STEP, backend=Interrupts(driving=0, closing=2), tools=TOOLS)
    assert caught.value.run.outputs == {"a": 8}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("driving", "closing"), [(3, 0), (1, 2), (2, 1)])
def test_ctrl_c_that_comes_again_within_a_second_is_the_same(
    driving: int, closing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long this machine takes from one to the next.
    monkeypatch.setattr("executor.interrupts.SAME_INTERRUPT_SECONDS", 3600.0)
    with pytest.raises(Interrupted) as caught:
        run(ONE_STEP, backend=Interrupts(driving=driving, closing=closing), tools=TOOLS)
    assert caught.value.run.statuses == {"a": "cancelled"}


@pytest.mark.parametrize(("driving", "closing"), [(2, 0), (1, 1), (0, 2)])
def test_a_later_ctrl_c_leaves_at_once(driving: int, closing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.interrupts.SAME_INTERRUPT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(ONE_STEP, backend=Interrupts(driving=driving, closing=closing), tools=TOOLS)
    assert not isinstance(caught.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the handler has been called with."""
    numbers: list[int] = []
    handle = interrupts.Interrupts.__call__

    def noted(handler: interrupts.Interrupts, number: int, frame: FrameType | None) -> None:
        numbers.append(number)
        handle(handler, number, frame)

    monkeypatch.setattr(interrupts.Interrupts, "__call__", noted)
    return numbers


def in_a_cell(backend: Interrupts) -> Run:
    """As a notebook runs it: in a loop that leaves Ctrl-C alone."""

    async def cell() -> Run:
        return run(ONE_STEP, backend=backend, tools=TOOLS)

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


@pytest.mark.parametrize(("driving", "closing"), [(2, 0), (1, 1), (0, 2)])
def test_an_interrupt_of_a_cell_that_comes_again_within_a_second_is_the_same(
    driving: int, closing: int, heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executor.interrupts.SAME_INTERRUPT_SECONDS", 3600.0)
    with pytest.raises(Interrupted) as caught:
        in_a_cell(Interrupts(driving=driving, closing=closing, heard=heard))
    assert caught.value.run.statuses == {"a": "cancelled" if driving else "succeeded"}
    assert len(heard) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_later_interrupt_of_a_cell_leaves_at_once(heard: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.interrupts.SAME_INTERRUPT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt) as caught:
        in_a_cell(Interrupts(driving=2, closing=0, heard=heard))
    assert not isinstance(caught.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("backend", ["serial", "threads"])
def test_ctrl_c_that_comes_while_a_thread_is_started_is_ctrl_c(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("makespan"):
            raise KeyboardInterrupt
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        run(workflow(Step(step_id="a", tool="nap", args={"seconds": 0})), backend=backend, tools=TOOLS)


def test_ctrl_c_that_comes_while_a_feed_is_started_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "makespan-arrivals":
            raise KeyboardInterrupt
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        run(Workflow(steps=()), feed=lambda _: None)


def test_more_steps_than_workers_share_the_workers(backend: str) -> None:
    steps = [Step(step_id=f"s{i}", tool="nap", args={"seconds": 0.002}) for i in range(12)]
    result = run(workflow(*steps), backend=backend, tools=TOOLS, workers=1 if backend == "serial" else 3)
    events = sorted(
        [(a.granted, 1) for a in result.timeline.attempts] + [(a.known, -1) for a in result.timeline.attempts]
    )  # type: ignore[operator]  # all are final
    running = most = 0
    for _, change in sorted(events, key=lambda event: (event[0] or 0, event[1])):
        running += change
        most = max(most, running)
    assert most <= result.workers

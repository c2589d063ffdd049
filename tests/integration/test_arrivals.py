"""Steps that arrive while a run goes on, on every executor that runs tools."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from executor import BackendError, Interrupted, Resource, Step, Workflow, run
from executor.engine.instruments import Instrument
from executor.feed import Arrivals, RunOverError
from executor.record.timeline import Attempt
from executor.scheduler import Scheduler, SchedulerError
from executor.tools.tool import ToolOptionsError

REAL = ("serial", "threads", "asyncio", "processes")
TOOLS: dict[str, Any] = {"nap": {"kind": "sleep"}, "echo": {"kind": "noop"}}


def nap(name: str, *parents: str, seconds: float = 0.02, **more: Any) -> Step:
    return Step(step_id=name, tool="nap", args={"seconds": seconds}, depends_on=parents, **more)


class Ended(Instrument):
    """Signals when an attempt of this step has ended."""

    def __init__(self, step_id: str) -> None:
        self.step_id = step_id
        self.event = threading.Event()

    def attempt_finished(self, attempt: Attempt, status: str) -> None:
        if attempt.step_id == self.step_id:
            self.event.set()


@pytest.mark.parametrize("backend", REAL)
def test_a_run_stays_open_until_its_feed_returns(backend: str) -> None:
    ended = Ended("b")

    def feed(arrivals: Arrivals) -> None:
        assert arrivals.add([nap("a"), nap("b", "a")]) == ["a", "b"]
        assert ended.event.wait(30)  # now nothing is left to do
        time.sleep(0.2)
        arrivals.add([nap("c", "b")])

    done = run(Workflow(), backend=backend, feed=feed, tools=TOOLS, instruments=[ended])
    assert done.statuses == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert [step.step_id for step in done.workflow.steps] == ["a", "b", "c"]
    last = done.timeline.attempts[-1]
    assert last.step_id == "c"
    assert last.released_by is None
    assert last.ready > 200_000_000


def test_steps_arrive_beside_those_of_the_workflow_and_see_their_outputs() -> None:
    first = Step(step_id="first", tool="echo", prompt="a text")

    def feed(arrivals: Arrivals) -> None:
        arrivals.add([Step(step_id="late", tool="echo", prompt="{{ steps.first.output }}", depends_on=("first",))])

    done = run(Workflow(steps=(first,)), feed=feed, tools=TOOLS)
    assert done.outputs["late"] == done.outputs["first"] == "a text"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (nap("b", "nobody"), SchedulerError),
        (nap("a"), SchedulerError),
        (nap("b", needs={"nothing": 1}), SchedulerError),
        (Step(step_id="b", tool="no_such_tool"), ToolOptionsError),
    ],
)
def test_a_step_that_breaks_a_rule_is_refused_and_the_run_goes_on(step: Step, error: type[Exception]) -> None:
    def feed(arrivals: Arrivals) -> None:
        arrivals.add([nap("a")])
        with pytest.raises(error):
            arrivals.add([step])
        arrivals.add([nap("z", "a")])

    done = run(Workflow(), feed=feed, tools=TOOLS, resources={"llm": Resource(capacity=1)})
    assert done.statuses == {"a": "succeeded", "z": "succeeded"}


@pytest.mark.parametrize("backend", REAL)
def test_an_error_of_the_feed_cancels_the_run_and_is_raised(backend: str) -> None:
    def feed(arrivals: Arrivals) -> None:
        arrivals.add([nap("long", seconds=30)])
        time.sleep(0.2)
        raise ValueError("the plan is torn")

    begin = time.monotonic()
    with pytest.raises(ValueError, match="torn"):
        run(Workflow(), backend=backend, feed=feed, tools=TOOLS)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("backend", REAL)
def test_a_cancelled_run_tells_its_feed_and_takes_nothing_more(backend: str) -> None:
    heard = threading.Event()
    refused: list[Exception] = []

    def feed(arrivals: Arrivals) -> None:
        arrivals.on_over(heard.set)
        arrivals.add([nap("long", seconds=30)])
        arrivals.cancel()
        heard.wait(20)
        try:
            arrivals.add([nap("more")])
        except RunOverError as error:
            refused.append(error)

    done = run(Workflow(), backend=backend, feed=feed, tools=TOOLS)
    assert done.statuses == {"long": "cancelled"}
    assert heard.is_set()
    assert len(refused) == 1


def test_ctrl_c_ends_a_run_whose_feed_is_slow() -> None:
    ended = Ended("quick")

    def feed(arrivals: Arrivals) -> None:
        over = threading.Event()
        arrivals.on_over(over.set)
        arrivals.add([nap("quick")])
        ended.event.wait(30)
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(30)

    begin = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        run(Workflow(), feed=feed, tools=TOOLS, instruments=[ended])
    assert time.monotonic() - begin < 20
    assert caught.value.run.statuses == {"quick": "succeeded"}


def test_nothing_can_arrive_where_no_time_passes() -> None:
    with pytest.raises(BackendError, match="no time passes"):
        run(Workflow(), backend="virtual", feed=lambda _arrivals: None, tools=TOOLS)


def test_a_feed_that_brings_nothing_ends_the_run() -> None:
    assert run(Workflow(), feed=lambda _arrivals: None, tools=TOOLS).statuses == {}


# ---------------------------------------------------------------------- the scheduler


@pytest.mark.parametrize("end", [Scheduler.release, lambda scheduler: scheduler.cancel(1)])
def test_a_held_scheduler_is_not_done_until_it_is_released_or_cancelled(end: Callable[[Scheduler], None]) -> None:
    scheduler = Scheduler(1)
    scheduler.hold()
    scheduler.validate()
    assert not is_done(scheduler)
    assert not scheduler.stalled
    scheduler.add([Step(step_id="a", tool="t")], 0)
    (attempt,) = scheduler.start(0)
    scheduler.finish(attempt, "succeeded", 1)
    scheduler.validate()
    assert not is_done(scheduler)
    end(scheduler)
    scheduler.validate()
    assert is_done(scheduler)
    scheduler.release()
    assert is_done(scheduler)


def is_done(scheduler: Scheduler) -> bool:
    return scheduler.done

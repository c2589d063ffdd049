"""Where a backend breaks the protocol, the error names the rule and the events that led there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from executor import Attempt, Backend, Retry, Step, Workflow, run
from executor.engine.engine import Engine
from executor.record.outcomes import Completion, Failure
from harness.testing.backends.backend_suite import BackendConformance
from harness.testing.backends.protocol_watch import ProtocolError, watch


def ok() -> str:
    return "done"


class Inline(Backend):
    """One step after the other, in the thread that waits. The faults below are planted in it."""

    name = "inline"

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(1)
        self.cpu: float | None = None

    def open(self, engine: Engine) -> None:
        self.calls = engine.renderer.direct_calls(engine.graph.steps, asynchronous=False)

    def drive(self, engine: Engine) -> None:
        run_one = self.runner(engine, "inline")

        def run_all(starts: list[Attempt]) -> None:
            while starts:
                starts = [*starts[1:], *self.one(engine, starts[0], run_one)]

        run_all(engine.begin())
        self.wait(engine, run_all)

    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        return run_one(attempt)

    def completion(self, engine: Engine, attempt: Attempt, **changed: Any) -> Completion:
        now = engine.now()
        said = {
            "started": now,
            "ended": now,
            "worker": "inline",
            "cpu": None,
            "outcome": "succeeded",
            "value": 1,
            "tokens": None,
        }
        return (attempt, *{**said, **changed}.values())  # type: ignore[return-value]  # faults are made of it


class LosesACompletion(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        return [] if attempt.step_id == "b" else run_one(attempt)


class CompletesTwice(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        starts = run_one(attempt)
        return [*starts, *engine.advance([self.completion(engine, attempt)])]


class RunsTwice(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        call = self.calls[attempt.index]
        assert call is not None
        call()
        return run_one(attempt)


class PreparesTwice(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        engine.prepare(attempt)
        engine.prepare(attempt)
        return run_one(attempt)


class NeverAdvances(Inline):
    def drive(self, engine: Engine) -> None:
        engine.begin()
        while not engine.done:
            time.sleep(0.01)


class NeverBegins(Inline):
    def drive(self, engine: Engine) -> None:
        while not engine.done:
            time.sleep(0.01)


class AdvancesFirst(Inline):
    def drive(self, engine: Engine) -> None:
        engine.advance()


class ForgetsWhatIsDue(Inline):
    def wait(self, engine: Engine, dispatch: Callable[[list[Attempt]], None]) -> None:
        engine.wake_at()
        while not engine.done:
            time.sleep(0.01)


class ReturnsEarly(Inline):
    def wait(self, engine: Engine, dispatch: Callable[[list[Attempt]], None]) -> None:
        return


class Raises(Inline):
    def wait(self, engine: Engine, dispatch: Callable[[list[Attempt]], None]) -> None:
        raise LookupError("somewhere in the backend")


class SlowClock(Inline):
    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self.clock = lambda: time.perf_counter_ns() // 1000

    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        time.sleep(0.05)
        return run_one(attempt)


class BackwardClock(Inline):
    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self.times = iter(range(10**9, 0, -1000))
        self.clock = lambda: next(self.times)


class AbsoluteTimes(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        now = self.clock()
        return engine.advance([self.completion(engine, attempt, started=now, ended=now)])


class SecondsForNanoseconds(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        return engine.advance([self.completion(engine, attempt, ended=time.perf_counter())])


class HalfACompletion(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        return engine.advance([self.completion(engine, attempt)[:5]])  # type: ignore[list-item]  # the fault


class FailsWithoutAFailure(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        return engine.advance([self.completion(engine, attempt, outcome="failed", value="oh")])


class UnknownOutcome(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        return engine.advance([self.completion(engine, attempt, outcome="done", value=Failure("E", "m"))])


class CompletesWhatNobodyStarted(Inline):
    def one(self, engine: Engine, attempt: Attempt, run_one: Callable[[Attempt], list[Attempt]]) -> list[Attempt]:
        other = Attempt(attempt.index, attempt.step_id, 7, 0, 0)
        return engine.advance([self.completion(engine, other)])


FAULTS = [
    (LosesACompletion, "completed", "b#1"),
    (CompletesTwice, "completed_once", "a#1 is completed a second time"),
    (RunsTwice, "handed_out", "the call of step 'a' is run more often"),
    (PreparesTwice, "handed_out", "a#1 is prepared a second time"),
    (NeverAdvances, "completed", "handed out and never completed: a#1"),
    (NeverBegins, "begin", "begin() was never called"),
    (AdvancesFirst, "begin", "advance() was called before begin()"),
    (ForgetsWhatIsDue, "woken", "advance() was not called since"),
    (ReturnsEarly, "drive", "drive() returned too early"),
    (Raises, "drive", "LookupError: somewhere in the backend"),
    (SlowClock, "clock", "while"),
    (BackwardClock, "clock", "after it said"),
    (AbsoluteTimes, "times", "a#1 started at"),
    (SecondsForNanoseconds, "times", "a float"),
    (HalfACompletion, "completion", "got ("),
    (FailsWithoutAFailure, "completion", "which is no Failure"),
    (UnknownOutcome, "completion", "which is no outcome of a call"),
    (CompletesWhatNobodyStarted, "handed_out", "a#7 is completed, and the engine never handed it out"),
]

STEPS = (
    Step(step_id="a", tool="ok"),
    Step(step_id="b", tool="ok", depends_on=("a",)),
    Step(
        step_id="c",
        tool="flaky",
        args={"fail_times": 1},
        depends_on=("b",),
        retry=Retry(max_attempts=2, backoff_seconds=0.01),
    ),
)


def test_a_backend_without_a_fault_passes() -> None:
    done = run(Workflow(steps=STEPS), backend=watch(Inline()), tools={"ok": ok})
    assert done.ok


@pytest.mark.parametrize(("faulty", "rule", "description"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_named_with_the_events_that_led_there(faulty: type[Inline], rule: str, description: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        run(Workflow(steps=STEPS), backend=watch(faulty(), patience_seconds=0.4), tools={"ok": ok})
    assert caught.value.rule == rule
    assert description in str(caught.value)
    assert "what led there:" in str(caught.value)
    if rule not in ("begin", "clock"):
        assert "begin() → a#1" in str(caught.value)


def test_a_standstill_shows_what_the_threads_are_doing() -> None:
    with pytest.raises(ProtocolError, match=r"The threads:") as caught:
        run(Workflow(steps=STEPS), backend=watch(NeverAdvances(), patience_seconds=0.2), tools={"ok": ok})
    assert "drive in " in str(caught.value)


def test_the_suite_finds_the_fault_in_the_first_run() -> None:
    class Suite(BackendConformance):
        __test__ = False
        backend = CompletesTwice
        cannot: ClassVar[Mapping[str, str]] = {"parallel": "it runs in the waiting thread"}

    with pytest.raises(ProtocolError, match="each attempt is completed once"):
        Suite().test_a_chain_runs_in_its_order()


def test_a_capability_that_does_not_exist_cannot_be_lacking() -> None:
    with pytest.raises(TypeError, match="no such capability: speed"):
        type("Suite", (BackendConformance,), {"backend": "threads", "cannot": {"speed": "why not"}})


def test_what_is_said_to_be_impossible_and_is_not_is_found(tmp_path: Path) -> None:
    class Suite(BackendConformance):
        __test__ = False
        backend = "threads"
        cannot: ClassVar[Mapping[str, str]] = {"unpicklable": "so they say"}

    with pytest.raises(AssertionError, match=r"cannot \(unpicklable\), and it can"):
        Suite().test_what_it_cannot_do_is_really_impossible(tmp_path)

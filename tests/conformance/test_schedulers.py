"""The suite for schedulers finds what is wrong with one, and nothing where nothing is wrong."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Collection
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.testing.schedulers.case_play import Patience, play
from harness.testing.schedulers.graph_case import Case, Graph
from harness.testing.schedulers.scheduler_suite import BrokenRuleError, SchedulerConformance, fuzz_target
from tests.conformance import schedulers
from tests.conformance.schedulers import Decisions, on_asyncio, on_threads

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
ALL = frozenset({"failures", "retries", "limits", "cancellation", "states"})
QUICK = Patience(settle=0.003, idle=0.2, standstill=0.4)


class TestOnThreads(SchedulerConformance):
    supports = ALL
    max_examples = 15
    database = None

    def run(self, graph: Graph, call: Callable[[str], object], workers: int) -> dict[str, str]:
        return on_threads(Decisions, graph, call, workers)


class TestOnAsyncio(SchedulerConformance):
    supports = ALL
    max_examples = 15
    database = None

    async def run(self, graph: Graph, call: Callable[[str], Any], workers: int) -> dict[str, str]:
        return await on_asyncio(Decisions, graph, call, workers)


FAULTS: list[tuple[type[Decisions], Collection[str], str]] = [
    (schedulers.AnyDependency, (), "data_edges"),
    (schedulers.OneTooMany, (), "workers"),
    (schedulers.CallsTwice, (), "attempts"),
    (schedulers.LeavesOneOut, (), "final_states"),
    (schedulers.WaitsForALevel, (), "work_conserving"),
    (schedulers.Breaks, (), "raises"),
    (schedulers.ForgetsASlot, {"failures"}, "final_states"),
    (schedulers.RunsAfterFailure, {"failures"}, "data_edges"),
    (schedulers.SkipsTooMuch, {"failures"}, "final_states"),
    (schedulers.WrongState, {"failures", "states"}, "final_states"),
    (schedulers.NeverTriesAgain, {"failures", "retries"}, "tries"),
    (schedulers.AlwaysTriesAgain, {"failures", "retries"}, "attempts"),
    (schedulers.CountsStepsForUnits, {"limits"}, "limits"),
    (schedulers.HeedsNoCancellation, {"cancellation"}, "stopping"),
]


@pytest.mark.parametrize(("faulty", "supports", "rule"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found_and_its_rule_is_named(
    faulty: type[Decisions], supports: Collection[str], rule: str
) -> None:
    run = functools.partial(on_threads, faulty)
    report = fuzz_target(run, 300, 1, supports=supports, patience=QUICK)
    assert report.fault is not None
    assert report.fault.faults[0].property == rule, report.message()
    assert "the graph, on " in report.message()
    assert "instant 0: " in report.message()
    assert len(report.fault.case.steps) <= 6, report.message()


def test_a_scheduler_in_a_loop_is_judged_alike() -> None:
    async def run(graph: Graph, call: Callable[[str], Any], workers: int) -> dict[str, str]:
        return await on_asyncio(schedulers.AnyDependency, graph, call, workers)

    report = fuzz_target(run, 300, 1, patience=QUICK)
    assert report.fault is not None
    assert report.fault.faults[0].property == "data_edges"


CHAIN = Case((("a", ()), ("b", ("a",)), ("c", ("b",))), workers=2)


def test_one_that_returns_too_early_is_told_what_still_ran() -> None:
    played = play(schedulers.leaves_early, Case((("a", ()), ("b", ("a",))), 2), patience=Patience(settle=0.3))
    assert [fault.property for fault in played.faults] == ["returns"]
    assert "run returned while b was still running" in played.message()


def test_one_that_stands_still_is_shown_with_the_stacks_of_its_threads() -> None:
    played = play(schedulers.stands_still, CHAIN, patience=QUICK)
    assert played.faults[0].property == "returns"
    assert "never called: c" in played.message()
    assert "c could be called" in played.message()
    assert "threading.Event().wait()" in played.message()


def test_a_run_that_imports_for_long_before_its_first_call_does_not_stand_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large_framework_of_a_test.py").write_text("import time\n\ntime.sleep(0.3)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def run(graph: Graph, call: Callable[[str], object], workers: int) -> dict[str, str]:
        importlib.import_module("large_framework_of_a_test")
        return on_threads(Decisions, graph, call, workers)

    assert play(run, CHAIN, patience=Patience(settle=0.003, standstill=0.02)).faults == ()


def test_one_that_calls_what_is_no_step_is_told_so() -> None:
    played = play(schedulers.calls_a_stranger, CHAIN, patience=QUICK)
    assert "known_steps" in [fault.property for fault in played.faults]
    assert "'nobody' was called, which is no step of the graph" in str(played.faults)


def test_a_rule_that_is_excused_is_not_judged() -> None:
    run = functools.partial(on_threads, schedulers.WaitsForALevel)
    assert fuzz_target(run, 40, 1, excused={"work_conserving"}, patience=QUICK).fault is None


def test_the_same_seed_finds_the_same_case() -> None:
    run = functools.partial(on_threads, schedulers.OneTooMany)
    first, second = (fuzz_target(run, 100, 5, patience=QUICK) for _ in range(2))
    assert first.fault is not None
    assert second.fault is not None
    assert first.fault.case == second.fault.case
    assert first.fault.history == second.fault.history


def test_a_target_is_found_by_its_name() -> None:
    report = fuzz_target("tests.conformance.test_schedulers:TestOnThreads", 5, 1)
    assert report.message() == "tests.conformance.test_schedulers:TestOnThreads: no fault in 5 graphs (seed 1)"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere", "is not of the form module:function"),
        ("no.such.module:run", "there is no module 'no'"),
        ("tests.conformance.schedulers:nothing", "has no attribute 'nothing'"),
    ],
)
def test_a_target_that_is_not_there_is_told(reference: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuzz_target(reference, 1)


def test_what_cannot_be_supported_or_excused_is_told() -> None:
    with pytest.raises(ValueError, match="there is no speed; there are failures"):
        type("Suite", (SchedulerConformance,), {"supports": {"speed"}})
    with pytest.raises(ValueError, match="there is no rule speed"):
        type("Suite", (SchedulerConformance,), {"excused": {"speed": "slow"}})


# ---------------------------------------------------------------------- the guide's scheduler


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The guide's modules, as they are found in its folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import tiny_scheduler

    yield tiny_scheduler
    for name in ("tiny_scheduler", "test_tiny_scheduler"):
        sys.modules.pop(name, None)


def test_the_suite_finds_the_fault_in_the_guides_scheduler(tiny: Any) -> None:
    import test_tiny_scheduler

    with pytest.raises(BrokenRuleError, match="No worker is idle while a step is ready") as caught:
        type(
            "Suite",
            (test_tiny_scheduler.TestTinyScheduler,),
            {"database": None, "patience": QUICK, "max_examples": 200},
        )().test_order()
    assert len(caught.value.played.case.steps) <= 6
    shown = [entry.frame.code.name for entry in caught.traceback.filter(caught)]
    assert shown[-1] == "test_order", "pytest shows code of the kit above what happened"


def test_the_guides_scheduler_without_its_fault_passes(tiny: Any) -> None:
    text = (EXAMPLES / "tiny_scheduler.py").read_text(encoding="utf-8")
    before, fault, after = text.rpartition("self.changed.notify()")
    assert fault
    mended: dict[str, Any] = {}
    exec(f"{before}self.changed.notify_all(){after}", mended)

    def run(graph: Graph, call: Callable[[str], object], workers: int) -> None:
        mended["TinyScheduler"](workers).run(graph, call)

    assert fuzz_target(run, 60, 1).fault is None


def test_the_guides_scheduler_and_adapter_are_as_short_as_the_guide_says() -> None:
    assert len((EXAMPLES / "tiny_scheduler.py").read_text(encoding="utf-8").splitlines()) <= 45
    assert len((EXAMPLES / "test_tiny_scheduler.py").read_text(encoding="utf-8").splitlines()) <= 15


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("test-your-scheduler", "tiny_scheduler"),
        ("test-your-scheduler", "test_tiny_scheduler"),
        ("write-a-backend", "pool_backend"),
        ("write-a-backend", "test_pool_backend"),
    ],
)
def test_the_guides_show_the_examples_as_they_are(page: str, name: str) -> None:
    shown = (EXAMPLES.parent / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert f"```python file={name}.py\n{text}```" in shown


# ---------------------------------------------------------------------- others' schedulers


class TestGraphlib(SchedulerConformance):
    """What one writes by hand: graphlib, a pool of threads and a queue."""

    supports: ClassVar[Collection[str]] = {"fail_fast"}
    max_examples = 25
    database = None

    def run(self, graph: Graph, call: Callable[[str], object], workers: int) -> None:
        from concurrent.futures import Future, ThreadPoolExecutor
        from queue import SimpleQueue  # noqa: TID251  # no wait here has a deadline

        sorter = TopologicalSorter(graph)
        sorter.prepare()
        ended: SimpleQueue[tuple[str, Future[object]]] = SimpleQueue()
        with ThreadPoolExecutor(workers) as pool:
            while sorter.is_active():
                for step in sorter.get_ready():
                    pool.submit(call, step).add_done_callback(functools.partial(_put, ended, step))
                step, future = ended.get()
                future.result()
                sorter.done(step)


def _put(ended: Any, step: str, future: Any) -> None:
    ended.put((step, future))

"""The suite on schedulers that people use. What it found in them is in docs/how-to/test-your-scheduler.md.

What a scheduler is known not to keep is excused, and a test beside it shows that it is still so. LangGraph and Prefect
are tested where they are installed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import ClassVar

import pytest

from harness.testing.schedulers.case_play import Patience
from harness.testing.schedulers.scheduler_suite import SchedulerConformance, fuzz_target
from tests.conformance import foreign_schedulers

pytestmark = pytest.mark.slow

# A cluster passes what ends and what starts through several loops.
CLUSTER = Patience(settle=0.03, idle=1.0, standstill=5.0)


class TestDaskThreads(SchedulerConformance):
    supports: ClassVar[Collection[str]] = {"fail_fast"}
    excused: ClassVar[Mapping[str, str]] = {"returns": "when a call fails, it does not wait for those that still run"}
    database = None
    run = staticmethod(foreign_schedulers.dask_threads)


def test_dask_threads_raises_while_calls_still_run() -> None:
    report = fuzz_target(foreign_schedulers.dask_threads, 100, 1, supports={"fail_fast"})
    assert report.fault is not None
    assert report.fault.faults[0].property == "returns"
    assert "was still running" in report.message()


def test_dask_threads_has_no_fault_where_no_call_fails() -> None:
    assert fuzz_target(foreign_schedulers.dask_threads, 200, 1).fault is None


class TestDaskDistributed(SchedulerConformance):
    supports: ClassVar[Collection[str]] = {"fail_fast"}
    max_examples = 20
    patience = CLUSTER
    database = None
    run = staticmethod(foreign_schedulers.dask_distributed)


if find_spec("langgraph") is not None:

    class TestLangGraph(SchedulerConformance):
        supports: ClassVar[Collection[str]] = {"fail_fast"}
        excused: ClassVar[Mapping[str, str]] = {
            "work_conserving": "it runs in steps, each of which waits for its slowest"
        }
        # A busy machine may hold its loop and its threads up for longer than a pool of threads.
        patience = Patience(settle=0.01, idle=1.0, standstill=10.0)
        database = None
        run = staticmethod(foreign_schedulers.langgraph)

    def test_langgraph_lets_workers_idle_between_its_steps() -> None:
        report = fuzz_target(foreign_schedulers.langgraph, 100, 1)
        assert report.fault is not None
        assert report.fault.faults[0].property == "work_conserving"
        assert len(report.fault.case.steps) <= 4


if find_spec("prefect") is not None:

    class TestPrefect(SchedulerConformance):
        excused: ClassVar[Mapping[str, str]] = {"work_conserving": "a task that waits for others takes up a worker"}
        max_examples = 5
        patience = Patience(settle=0.3, idle=3.0, standstill=20.0)
        database = None
        run = staticmethod(foreign_schedulers.prefect)

    def test_prefect_lets_waiting_tasks_take_up_workers() -> None:
        patience = Patience(settle=0.3, idle=3.0, standstill=20.0)
        report = fuzz_target(foreign_schedulers.prefect, 20, 1, patience=patience)
        assert report.fault is not None
        assert report.fault.faults[0].property == "work_conserving"

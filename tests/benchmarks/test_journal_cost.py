"""What a journal costs: a run that is kept as it goes on, against the same run that is not; and reading it again.

No-op steps are compared by the CPU time of the whole process, all work of the journal's thread included: beside other
programs wall time says little. Steps of 1 ms are compared by makespan: there the journal works while others sleep.
"""

from __future__ import annotations

import gc
import itertools
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor.journal.kept_run import read_journal
from executor.running import run
from tests.benchmarks import graphs
from tests.benchmarks.measure import paired, report, workflow_of

STEPS_READ = 100_000


def noop() -> None:
    """Nothing."""


def sleep(seconds: float) -> None:
    """As a step calls it: by name, which `time.sleep` does not take."""
    time.sleep(seconds)


@pytest.mark.parametrize("seconds", [0.0, 0.001], ids=["no-op", "1 ms"])
def test_cost_of_a_journal(benchmark: BenchmarkFixture, tmp_path: Path, seconds: float) -> None:
    steps = 50_000 if not seconds else 4_000
    flow = workflow_of(graphs.wide(steps), seconds=[seconds] * steps if seconds else None)
    call = sleep if seconds else noop
    numbers = itertools.count()

    def measured(*, kept: bool) -> float:
        """CPU seconds of the whole run, or seconds of its makespan."""
        journal = tmp_path / f"{next(numbers)}.sqlite" if kept else None
        gc.collect()
        began = time.process_time()
        done = run(flow, workers=4, tools={"step": call}, journal=journal)
        assert done.ok
        return done.timeline.makespan_seconds if seconds else time.process_time() - began

    found = paired(lambda: measured(kept=True), lambda: measured(kept=False), 7)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.extra_info["microseconds_a_step"] = (found.ours_seconds - found.yardstick_seconds) / steps * 1e6
    benchmark.pedantic(lambda: measured(kept=True), rounds=1)
    report(f"a journal, {seconds * 1e3:g} ms steps", found, steps, "3 µs" if not seconds else "1.02")


def test_reading_a_journal(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Not against anything: how long the journal of so many finished steps takes to be read."""
    path = tmp_path / "run.sqlite"
    run(workflow_of(graphs.wide(STEPS_READ)), workers=4, tools={"step": noop}, journal=path)
    earlier = benchmark.pedantic(lambda: read_journal(path), rounds=3)
    assert len(earlier.steps) == STEPS_READ

"""What a journal costs: a run that is kept as it goes on, against the same run that is not; and reading it again."""

from __future__ import annotations

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


@pytest.mark.parametrize("seconds", [0.0, 0.001], ids=["no-op", "1 ms"])
def test_cost_of_a_journal(benchmark: BenchmarkFixture, tmp_path: Path, seconds: float) -> None:
    steps = 50_000 if not seconds else 4_000
    flow = workflow_of(graphs.wide(steps), seconds=[seconds] * steps if seconds else None)
    call = time.sleep if seconds else noop
    numbers = itertools.count()

    def measured(*, kept: bool) -> float:
        """Seconds of the measured part."""
        journal = tmp_path / f"{next(numbers)}.sqlite" if kept else None
        return run(flow, workers=4, tools={"step": call}, journal=journal).timeline.makespan_seconds

    found = paired(lambda: measured(kept=True), lambda: measured(kept=False), 7)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(lambda: measured(kept=True), rounds=1)
    report(f"a journal, {seconds * 1e3:g} ms steps", found, steps, "3 µs" if not seconds else "1.02")


def test_reading_a_journal(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Not against anything: how long the journal of so many finished steps takes to be read."""
    path = tmp_path / "run.sqlite"
    run(workflow_of(graphs.wide(STEPS_READ)), workers=4, tools={"step": noop}, journal=path)
    earlier = benchmark.pedantic(lambda: read_journal(path), rounds=3)
    assert len(earlier.steps) == STEPS_READ

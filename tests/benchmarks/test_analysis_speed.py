"""What analysing a trace costs a span, at 10,000 and at 100,000 spans, against reading the same file into a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.traces import foreign_run, read_traces
from harness.traces.diagnosis.diagnosis import diagnose
from tests.benchmarks.test_reading_traces import LARGE, SMALL, request, spans

GROWS_AT_MOST = 1.3
AT_MOST = 3.0
ROUNDS = 3


def seconds(path: Path) -> tuple[float, float]:
    """The least of some rounds: reading a file into a run, and analysing that."""
    reading, analysing = [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        (trace,) = read_traces(path)
        run = foreign_run(trace)
        reading.append(time.process_time() - began)
        began = time.process_time()
        diagnose(run)
        analysing.append(time.process_time() - began)
    return min(reading), min(analysing)


@pytest.mark.timeout(0)
def test_analysing_costs_at_most_three_times_reading_and_grows_with_the_spans(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    costs = {}
    for count in (SMALL, LARGE):
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps(request(spans(count))), encoding="utf-8")
        costs[count] = seconds(path)
    for count, (reading, analysing) in costs.items():
        print(
            f"{count:,} spans: reading {reading / count * 1e6:.1f} µs, analysis {analysing / count * 1e6:.1f} µs a span"
        )
        assert analysing <= AT_MOST * reading
    grows = (costs[LARGE][1] / LARGE) / (costs[SMALL][1] / SMALL)
    print(f"a span of the larger trace costs {grows:.2f} times as much")
    assert grows <= GROWS_AT_MOST
    benchmark.pedantic(lambda: None, rounds=1)

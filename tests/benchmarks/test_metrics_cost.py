"""What metrics cost: a run that is served and scraped every second, against the same run without."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor.running import run
from harness.telemetry.metrics.time_series import series_of
from harness.telemetry.prometheus.metrics_service import MetricService
from harness.telemetry.prometheus.remote_write import requests
from tests.benchmarks import graphs
from tests.benchmarks.measure import paired, report, workflow_of
from tests.unit.metric_documents import run_document_of

SCRAPE_SECONDS = 1.0
# Runs on end, so that several scrapes fall into them.
SECONDS_MEASURED = 3.0


def noop() -> None:
    """Nothing."""


@pytest.fixture
def service() -> Iterator[MetricService]:
    """Metrics that are scraped as a Prometheus would."""
    ended = threading.Event()
    with MetricService(0, run_info=True, warn=pytest.fail) as found:

        def scrape() -> None:
            request = urllib.request.Request(str(found.url), headers={"Accept": "application/openmetrics-text"})
            while not ended.wait(SCRAPE_SECONDS):
                with urllib.request.urlopen(request) as answer:
                    answer.read()

        thread = threading.Thread(target=scrape)
        thread.start()
        yield found
        ended.set()
        thread.join()


def sleep(seconds: float) -> None:
    """As a step calls it: by name, which `time.sleep` does not take."""
    time.sleep(seconds)


@pytest.mark.parametrize("seconds", [0.0, 0.001], ids=["no-op", "1 ms"])
def test_cost_of_metrics(benchmark: BenchmarkFixture, service: MetricService, seconds: float) -> None:
    steps = 100_000 if not seconds else 4_000
    flow = workflow_of(graphs.wide(steps), seconds=[seconds] * steps if seconds else None)
    call = sleep if seconds else noop

    def measured(*, watched: bool) -> float:
        """Seconds of the measured part, of as many runs as it takes."""
        total, runs = 0.0, 0
        while total < SECONDS_MEASURED:
            service.live.begin_cell("cost", "threads", {})
            done = run(flow, workers=4, tools={"step": call}, instruments=[service.live] if watched else [])
            assert done.ok
            service.live.settle()
            total += done.timeline.makespan_seconds
            runs += 1
        return total / runs

    found = paired(lambda: measured(watched=True), lambda: measured(watched=False), 7)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(lambda: measured(watched=True), rounds=1)
    report(f"metrics, scraped every second, {seconds * 1e3:g} ms steps", found, steps, "1.05")


def test_cost_of_sending_a_run(benchmark: BenchmarkFixture) -> None:
    """Not against anything: how long a run of 10,000 steps takes to be made into requests."""
    whole = run_document_of(workflow_of(graphs.wide(10_000), tool="noop"))
    benchmark.pedantic(lambda: list(requests(series_of(whole))), rounds=3)

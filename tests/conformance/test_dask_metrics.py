"""Metrics of steps that ran on a Dask cluster: what is scraped is what the record says, a killed worker included."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from executor import Retry, Step, Workflow, run
from executor.backends import make_backend
from executor.record.timeline import NANOSECONDS
from harness.telemetry.metrics.live_metrics import LiveMetrics
from harness.telemetry.prometheus.endpoint import Endpoint


def dies_once(mark: str) -> str:
    place = Path(mark)
    if not place.exists():
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


def fails() -> None:
    raise ValueError("as it should")


def test_what_is_scraped_after_a_run_on_dask_is_what_the_record_says(tmp_path: Path) -> None:
    live = LiveMetrics()
    live.begin_cell("on-dask", "dask", {})
    tools = {"dies_once": dies_once, "fails": fails}
    steps = [Step(step_id=f"s{number}", tool="sleep", args={"seconds": 0.01}) for number in range(12)]
    steps.append(
        Step(step_id="d", tool="dies_once", args={"mark": str(tmp_path / "mark")}, retry=Retry(max_attempts=3))
    )
    steps.append(Step(step_id="f", tool="fails", depends_on=("d",)))
    done = run(Workflow(steps=tuple(steps)), backend=make_backend("dask", 2, {}), tools=tools, instruments=[live])
    attempts = done.timeline.attempts
    with Endpoint(0, live.samples) as endpoint, urllib.request.urlopen(endpoint.url) as answer:
        families = {one.name: one for one in text_string_to_metric_families(answer.read().decode())}

    def counted(name: str, *labels: str) -> dict[tuple[str, ...], float]:
        found = [one for one in families[f"makespan_{name}"].samples if one.name.endswith("_total") and one.value]
        return {tuple(one.labels[label] for label in labels): one.value for one in found}

    outcomes = Counter((done.workflow.steps[one.index].tool, one.outcome) for one in attempts)
    assert outcomes["dies_once", "worker_died"] == 1
    assert counted("step_attempts", "tool", "result") == outcomes
    assert counted("step_retries", "reason") == {("worker_died",): 1}
    [busy] = counted("busy_worker_seconds").values()
    ran = sum((one.ended or 0) - (one.started or 0) for one in attempts)
    assert busy == pytest.approx(ran / NANOSECONDS, abs=1e-6)

"""Real runs for the dashboards: a bench of a scenario with limits, retries and parameters, kept in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.store.run_store import Store
from harness.telemetry.prometheus.prometheus_push import Prometheus, Pushed, push_runs
from tests.integration.calling import started

JOBS = """
scenario: jobs
scale: 0.02
inputs: {n: 1}
resources: {database: {capacity: 1}}
tools:
  reader: {kind: sleep, needs: {database: 1}}
  sender: {kind: flaky, retry: {max_attempts: 3, backoff_seconds: 0.01, max_backoff_seconds: 0.02}}
steps:
  - {step_id: first, description: Read, tool: reader, args: {seconds: 2}, expected_seconds: 2}
  - {step_id: second, description: Read more, tool: reader, args: {seconds: 3}, expected_seconds: 3}
  - {step_id: think, description: Think, tool: sleep, args: {seconds: 4}, expected_seconds: 4}
  - {step_id: send, description: Send, tool: sender, args: {fail_times: 1}, depends_on: [first, second, think]}
"""


def benched(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Bench it into ``runs.sqlite`` of the folder. Answers the documents in there, oldest first."""
    (folder / "jobs.yaml").write_text(JOBS, encoding="utf-8")
    done = started(
        "bench", str(folder / "jobs.yaml"), "--executor", "serial,threads", "--workers", "2", "--policy",
        "dataflow,barrier", "--repetitions", "2", "--warmup", "0", "--no-progress", "--quiet", "--store",
        str(folder / "runs.sqlite"), *arguments,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return stored(folder)


def stored(folder: Path) -> list[dict[str, Any]]:
    """What is in the store of the folder."""
    with Store.open(folder / "runs.sqlite", read_only=True) as store:
        return [store.document(run.run_id) for run in reversed(store.history())]


def pushed(url: str, documents: list[dict[str, Any]]) -> None:
    """Send them, and see that they arrived."""
    with Prometheus(url) as server:
        answers = list(push_runs(documents, server))
    assert [one for one in answers if not isinstance(one, Pushed)] == []


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two benches in its store, the second with a parameter."""
    folder = tmp_path_factory.mktemp("benches")
    benched(folder)
    benched(folder, "--parameter", "n=1,2")
    return folder

"""makespan on the executor ``processes``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.peers.adapters.makespan_runs import prepared
from tests.benchmarks.peers.work import Prepare

TITLE = "makespan, processes"
PACKAGES = ("makespan",)
IMPORTS = ("executor.prepared_run",)
REPORTS = "a span a step (OpenTelemetry), critical path, lower bound, lost time by cause, speedup, what would help"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """Nothing is kept: each run starts its workers, before its t = 0."""
    yield prepared("processes", workers)

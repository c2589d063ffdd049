"""Parsl's ``HighThroughputExecutor`` on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.peers.adapters.parsl_runs import apps_on
from tests.benchmarks.peers.work import Prepare

TITLE = "Parsl, processes (HighThroughputExecutor)"
PACKAGES = ("parsl",)
IMPORTS = ("parsl",)
REPORTS = "with its monitoring extra, a database with the states and times of tasks"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A block of workers that is kept."""
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    executor = HighThroughputExecutor(
        address="127.0.0.1",
        loopback_address="127.0.0.1",
        max_workers_per_node=workers,
        # Less than one where there are fewer cores than workers: else there would be fewer workers.
        cores_per_worker=min(1.0, len(os.sched_getaffinity(0)) / workers),
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    with apps_on(executor) as prepare:
        yield prepare

"""Parsl's ``ThreadPoolExecutor``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.peers.adapters.parsl_runs import apps_on
from tests.benchmarks.peers.work import Prepare

TITLE = "Parsl, threads"
PACKAGES = ("parsl",)
IMPORTS = ("parsl",)
REPORTS = "with its monitoring extra, a database with the states and times of tasks"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A pool that is kept."""
    from parsl.executors import ThreadPoolExecutor

    with apps_on(ThreadPoolExecutor(max_threads=workers)) as prepare:
        yield prepare

"""Dagster's ``execute_in_process``: one op after another in this process, its events in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.peers.adapters.dagster_jobs import QUIET, job_of
from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work

TITLE = "Dagster, in process (one op at a time)"
PACKAGES = ("dagster",)
IMPORTS = ("dagster",)
REPORTS = "a log of events with the times of ops; a Gantt chart of them in its web server"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """One instance in memory. This executor has one worker, whatever is asked for."""
    from dagster import DagsterInstance

    with DagsterInstance.ephemeral() as instance:

        def prepare(work: Work) -> Runner:
            job = job_of(work.parents, work.step.__name__, work.seconds)
            names = [f"s{place}" for place in range(len(work.parents))]

            def run(_: Aside) -> list[Any]:
                result = job.execute_in_process(instance=instance, run_config=QUIET)
                return [result.output_for_node(name) for name in names]

            return run

        yield prepare

"""Prefect: tasks submitted to its thread pool, with the server that it starts by itself for as long."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.peers.work import Prepare, Runner, Work

TITLE = "Prefect, thread pool, own server"
PACKAGES = ("prefect",)
IMPORTS = ("prefect", "prefect.task_runners")
REPORTS = "states and times of all tasks in its database, and a page of the run on its server"

# What its documentation names for speed: no log lines a task, and none of them to the server.
SETTINGS = {
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # It makes its database first.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """The server is started by the first flow, and ends with the process."""
    # The server uses it until the process ends.
    os.environ.update(SETTINGS, PREFECT_HOME=tempfile.mkdtemp())
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    @task(cache_policy=NO_CACHE)
    def call(step: Any, place: int, seconds: float) -> Any:
        return step(place, seconds)

    def prepare(work: Work) -> Runner:
        @flow(task_runner=ThreadPoolTaskRunner(max_workers=workers))
        def graph() -> list[Any]:
            ends: list[Any] = []
            for place, above in enumerate(work.parents):
                before = [ends[parent] for parent in above]
                ends.append(call.submit(work.step, place, work.seconds[place], wait_for=before))
            return [end.result() for end in ends]

        return lambda _: graph()

    yield prepare

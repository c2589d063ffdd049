"""Ray's tasks on this machine; the references of the parents are arguments."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work, after

TITLE = "Ray, tasks"
PACKAGES = ("ray",)
IMPORTS = ("ray",)
REPORTS = "a dashboard; the time line of all tasks (`ray timeline`)"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A local Ray that is kept."""
    import ray

    # Not one that another program has left word of.
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        call = ray.remote(after)
        # Its worker processes start with the first tasks.
        ray.get([call.remote(abs_of, place, 0.0) for place in range(workers * 8)])

        def prepare(work: Work) -> Runner:
            def run(_: Aside) -> list[Any]:
                ends: list[Any] = []
                for place, above in enumerate(work.parents):
                    ends.append(call.remote(work.step, place, work.seconds[place], *(ends[parent] for parent in above)))
                found: list[Any] = ray.get(ends)
                return found

            return run

        yield prepare
    finally:
        ray.shutdown()


def abs_of(place: int, seconds: float) -> int:
    """Something to start workers with."""
    return abs(place)

"""By hand: graphlib, a thread pool, and a queue on which calls report their ends."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from graphlib import TopologicalSorter
from queue import SimpleQueue  # noqa: TID251  # no wait here has a deadline
from typing import Any

from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work

TITLE = "by hand: graphlib, thread pool"
PACKAGES: tuple[str, ...] = ()
IMPORTS = ("concurrent.futures.thread", "graphlib", "queue")
REPORTS = "nothing"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A pool that is kept."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers * 4)))

        def prepare(work: Work) -> Runner:
            sorter = TopologicalSorter(dict(enumerate(work.parents)))
            sorter.prepare()
            ends: SimpleQueue[tuple[int, Any]] = SimpleQueue()

            def one(place: int) -> None:
                ends.put((place, work.step(place, work.seconds[place])))

            def run(_: Aside) -> list[Any]:
                outputs: dict[int, Any] = {}
                while sorter.is_active():
                    for place in sorter.get_ready():
                        pool.submit(one, place)
                    place, output = ends.get()
                    outputs[place] = output
                    sorter.done(place)
                return [outputs[place] for place in range(len(work.parents))]

            return run

        yield prepare

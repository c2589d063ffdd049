"""By hand: graphlib, a process pool, and a queue on which done callbacks report the ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from graphlib import TopologicalSorter
from queue import SimpleQueue  # noqa: TID251  # no wait here has a deadline
from typing import Any

from tests.benchmarks.peers.work import Aside, Prepare, Runner, Work

TITLE = "by hand: graphlib, process pool"
PACKAGES: tuple[str, ...] = ()
IMPORTS = ("concurrent.futures.process", "graphlib", "queue")
REPORTS = "nothing"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A pool that is kept."""
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers * 4)))

        def prepare(work: Work) -> Runner:
            sorter = TopologicalSorter(dict(enumerate(work.parents)))
            sorter.prepare()
            ends: SimpleQueue[tuple[int, Any]] = SimpleQueue()

            def report(place: int) -> Callable[[Future[Any]], None]:
                return lambda future: ends.put((place, future.result()))

            def run(_: Aside) -> list[Any]:
                outputs: dict[int, Any] = {}
                while sorter.is_active():
                    for place in sorter.get_ready():
                        pool.submit(work.step, place, work.seconds[place]).add_done_callback(report(place))
                    place, output = ends.get()
                    outputs[place] = output
                    sorter.done(place)
                return [outputs[place] for place in range(len(work.parents))]

            return run

        yield prepare

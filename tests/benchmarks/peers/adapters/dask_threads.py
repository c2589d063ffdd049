"""Dask's threaded scheduler on ``dask.delayed``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.benchmarks.peers.work import Prepare, Runner, Work, after

TITLE = "Dask, threaded scheduler"
PACKAGES = ("dask",)
IMPORTS = ("dask", "dask.threaded")
REPORTS = "on request a profile with the time of each task (`dask.diagnostics`)"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A pool that is kept."""
    import dask

    with ThreadPoolExecutor(workers) as pool:
        call = dask.delayed(after, pure=False, traverse=False)

        def prepare(work: Work) -> Runner:
            nodes: list[object] = []
            for place, above in enumerate(work.parents):
                nodes.append(call(work.step, place, work.seconds[place], *(nodes[parent] for parent in above)))
            return lambda _: list(dask.compute(*nodes, scheduler="threads", pool=pool))

        yield prepare

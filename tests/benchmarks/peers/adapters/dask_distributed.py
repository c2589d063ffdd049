"""Dask's distributed scheduler on ``dask.delayed``: a local cluster with a thread for each worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.peers.work import Prepare, Runner, Work, after

TITLE = "Dask, distributed (local cluster)"
PACKAGES = ("distributed",)
IMPORTS = ("dask", "distributed")
REPORTS = "a dashboard with the stream of tasks; on request a page of it (`performance_report`)"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """A cluster that is kept."""
    import dask
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        call = dask.delayed(after, pure=False, traverse=False)

        def prepare(work: Work) -> Runner:
            nodes: list[object] = []
            for place, above in enumerate(work.parents):
                nodes.append(call(work.step, place, work.seconds[place], *(nodes[parent] for parent in above)))
            return lambda _: client.gather(client.compute(nodes))

        yield prepare

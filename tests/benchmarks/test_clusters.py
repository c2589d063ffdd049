"""Backends of clusters beside the same graph by hand on such a cluster: a call a step, with own dependencies."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor import run
from executor.backends import find_backend
from executor.record.timeline import Timeline
from tests.benchmarks import graphs
from tests.benchmarks.graphs import Parents
from tests.benchmarks.measure import ROWS, workflow_of

WORKERS = 2
# A thousand steps by hand take Dask 15 s on a busy machine.
PAIRS = 3
NAP_SECONDS = 0.020
NAPS = 60
# Of METG(50 %).
DURATIONS = [0.0005 * 2**power for power in range(7)]
GRAPHS = {"wide 1,000": graphs.wide(1000), "layered 10 × 50": graphs.layered(10, 50)}

# Runs a graph by hand: what each step sleeps, and the seconds that they slept in all and that it took.
ByHand = Callable[[Parents, float], tuple[float, float]]


def nap(seconds: float) -> float:
    """Sleep, and say for how long."""
    began = time.perf_counter()
    if seconds:
        time.sleep(seconds)
    return time.perf_counter() - began


def step_by_hand(seconds: float, *_: Any) -> float:
    """The same after other steps."""
    return nap(seconds)


def by_hand_dask(client: Any) -> ByHand:
    """``client.submit`` with futures as dependencies."""

    def go(parents: Parents, seconds: float) -> tuple[float, float]:
        began = time.perf_counter()
        futures: list[Any] = []
        for above in parents:
            futures.append(client.submit(step_by_hand, seconds, *(futures[one] for one in above), pure=False))
        slept = sum(client.gather(futures))
        return slept, time.perf_counter() - began

    return go


def by_hand_ray(ray: Any) -> ByHand:
    """``ray.remote`` with object references as dependencies."""
    remote = ray.remote(num_cpus=1)(step_by_hand)

    def go(parents: Parents, seconds: float) -> tuple[float, float]:
        began = time.perf_counter()
        references: list[Any] = []
        for above in parents:
            references.append(remote.remote(seconds, *(references[one] for one in above)))
        slept = sum(ray.get(references))
        return slept, time.perf_counter() - began

    return go


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any, ByHand]]:
    """A backend that keeps its cluster, and how the same cluster is used by hand."""
    if request.param == "dask":
        from distributed import Client, LocalCluster

        # Workers of ours have a second thread for the call that comes next: by hand it would run steps.
        with (
            find_backend("dask")(WORKERS) as backend,
            LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as other,  # type: ignore[no-untyped-call]  # Dask has few types
            Client(other) as client,  # type: ignore[no-untyped-call]  # as above
        ):
            run(workflow_of(graphs.wide(8)), backend=backend, tools={"step": nap_of_none})
            yield "dask", backend, by_hand_dask(client)
        return
    import ray

    # Of its cores ours hold two, and two are left to what is done by hand.
    ray.init(address="local", num_cpus=2 * WORKERS, include_dashboard=False, log_to_driver=False)
    try:
        with find_backend("ray")(WORKERS) as backend:
            run(workflow_of(graphs.wide(8)), backend=backend, tools={"step": nap_of_none})
            yield "ray", backend, by_hand_ray(ray)
    finally:
        ray.shutdown()


def nap_of_none(seconds: float = 0.0) -> None:
    """The step of our runs."""
    nap(seconds)


def ours(backend: Any, parents: Parents, seconds: float) -> tuple[float, float]:
    """The same by a run: seconds in steps, and the makespan."""
    words = [seconds] * len(parents) if seconds else None
    timeline: Timeline = run(workflow_of(parents, seconds=words), backend=backend, tools={"step": nap_of_none}).timeline
    ran = sum(one.ended - one.started for one in timeline.attempts if one.ended and one.started is not None)
    return ran / 1e9, timeline.makespan_seconds


def _first_half(efficiencies: list[float]) -> float:
    found = (seconds for seconds, reached in zip(DURATIONS, efficiencies, strict=True) if reached >= 0.5)
    return float(next(found, DURATIONS[-1]))


def _row(name: str, mine: list[float], other: list[float], at_most: str, unit: float = 1.0, digits: int = 2) -> None:
    ratios = [one / two for one, two in zip(mine, other, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    load = os.getloadavg()[0]
    ROWS.append(
        (
            f"{name} (load {load:.1f})",
            f"{statistics.median(mine) * unit:.{digits}f}",
            f"{statistics.median(other) * unit:.{digits}f}",
            f"{statistics.median(ratios):.2f}",
            f"{quartiles[0]:.2f} – {quartiles[2]:.2f}",
            at_most,
        )
    )


@pytest.mark.parametrize("graph", list(GRAPHS))
def test_no_op_graphs_beside_by_hand(benchmark: BenchmarkFixture, cluster: Any, graph: str) -> None:
    name, backend, by_hand = cluster
    parents = GRAPHS[graph]
    by_hand(graphs.wide(8), 0.0)
    pairs = [(ours(backend, parents, 0.0)[1], by_hand(parents, 0.0)[1]) for _ in range(PAIRS)]
    benchmark.pedantic(lambda: ours(backend, parents, 0.0), rounds=1)
    mine, other = [one for one, _ in pairs], [two for _, two in pairs]
    _row(f"{name}@{WORKERS}, {graph}", mine, other, "1.0", 1e6 / len(parents), 1)


def test_efficiency_of_20_ms_steps(benchmark: BenchmarkFixture, cluster: Any) -> None:
    name, backend, by_hand = cluster
    parents = graphs.wide(NAPS)
    by_hand(graphs.wide(8), 0.0)
    mine, other = [], []
    for _ in range(PAIRS):
        slept, took = ours(backend, parents, NAP_SECONDS)
        mine.append(slept / WORKERS / took)
        slept, took = by_hand(parents, NAP_SECONDS)
        other.append(slept / WORKERS / took)
    benchmark.pedantic(lambda: ours(backend, parents, NAP_SECONDS), rounds=1)
    _row(f"{name}@{WORKERS}, efficiency of 20 ms steps", mine, other, "0.97 at least")


def test_metg_beside_by_hand(benchmark: BenchmarkFixture, cluster: Any) -> None:
    name, backend, by_hand = cluster
    parents = graphs.wide(NAPS)
    found: list[list[float]] = [[], []]
    for seconds in DURATIONS:
        pairs = [(ours(backend, parents, seconds), by_hand(parents, seconds)) for _ in range(3)]
        for place in (0, 1):
            took = statistics.median(pair[place][1] for pair in pairs)
            found[place].append(NAPS * seconds / WORKERS / took)
    benchmark.pedantic(lambda: ours(backend, parents, DURATIONS[0]), rounds=1)
    metg = [_first_half(one) for one in found]
    _row(f"{name}@{WORKERS}, METG(50 %), ms, up to a factor of 2", metg[:1] * 2, metg[1:] * 2, "—", 1e3)

"""Ten Dask tasks on a cluster of 2 threads, then one that gathers them; after: of 4."""

import sys
import time
from typing import Any

from distributed import Client, LocalCluster
from opentelemetry import context, propagate, trace

THREADS = {"before": 2, "after": 4}[sys.argv[1]]


# Dask pickles what it runs, and a tracer cannot be.
def load(number: int, carrier: dict[str, str]) -> int:
    with trace.get_tracer("dask").start_as_current_span("load", context=propagate.extract(carrier)):
        time.sleep(0.15 + 0.03 * (number % 3))
    return number


def add(carrier: dict[str, str], *numbers: int) -> int:
    with trace.get_tracer("dask").start_as_current_span("add", context=propagate.extract(carrier)):
        time.sleep(0.2)
    return sum(numbers)


def main() -> None:
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=THREADS, processes=False, dashboard_address=None, protocol="tcp"
    )
    with cluster, Client(cluster) as client, trace.get_tracer("dask").start_as_current_span("table"):
        carrier: dict[str, Any] = {}
        propagate.inject(carrier, context=context.get_current())
        loaded = [client.submit(load, number, carrier, pure=False) for number in range(10)]
        client.submit(add, carrier, *loaded, pure=False).result()


main()

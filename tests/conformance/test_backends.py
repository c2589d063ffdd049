"""Every backend of ours keeps the facts of the suite, or says in one table what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import ClassVar

import pytest

from executor.backends import find_backend
from executor.backends.submit import SubmitBackend
from harness.testing.backends.backend_suite import CANNOT, BackendConformance


class TestSerial(BackendConformance):
    backend = "serial"


class TestThreads(BackendConformance):
    backend = "threads"


class TestAsyncio(BackendConformance):
    backend = "asyncio"


class TestProcesses(BackendConformance):
    backend = "processes"
    # Every run starts processes.
    workers = 2
    random_workflows = 5


class TestVirtual(BackendConformance):
    backend = "virtual"


class ThreadPool(SubmitBackend):
    name = "thread-pool"

    def make_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.capacity)


class TestThreadPool(BackendConformance):
    backend = ThreadPool
    cannot: ClassVar[Mapping[str, str]] = {
        **CANNOT["threads"],
        "replaces": "the pool has the threads that it has",
        "calls": "there is no way back from the pool",
    }


class ProcessPool(SubmitBackend):
    name = "process-pool"

    def make_executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.capacity)


@pytest.mark.slow
class TestProcessPool(BackendConformance):
    backend = ProcessPool
    cannot: ClassVar[Mapping[str, str]] = {
        "calls": "there is no way back from the pool",
        "lets_go": "the interpreter waits at its end for what a pool runs; the processes of a dead one stay",
        "replaces": "the pool has the processes that it has",
        "stops_functions": "a pool does not stop what runs",
        "stops_coroutines": "a pool does not stop what runs",
        "unpicklable": "outputs travel between processes",
    }


@pytest.mark.slow
class TestDask(BackendConformance):
    backend = "dask"
    workers = 2
    hands_out_ahead = True
    many_steps = 300
    random_workflows = 3


@pytest.mark.slow
class TestRay(BackendConformance):
    backend = "ray"
    workers = 2
    hands_out_ahead = True
    many_steps = 300
    random_workflows = 3

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def kept(cls) -> Iterator[None]:
        """One Ray for all runs of this process. The suite's programs start their own."""
        with find_backend("ray")(2):
            yield

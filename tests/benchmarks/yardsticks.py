"""What a good programmer writes by hand: the yardsticks. Each returns the seconds from the first start to the last end,
with workers up and the graph prepared, so that nothing but running is compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from graphlib import TopologicalSorter
from queue import SimpleQueue  # noqa: TID251  # no wait here has a deadline

from tests.benchmarks.graphs import Parents


def _sorter(parents: Parents) -> TopologicalSorter[int]:
    sorter = TopologicalSorter(dict(enumerate(parents)))
    sorter.prepare()
    return sorter


def by_hand_threads(parents: Parents, workers: int, call: Callable[[], object]) -> float:
    """graphlib, a thread pool, and a queue on which calls report their ends."""
    sorter = _sorter(parents)
    ends: SimpleQueue[int] = SimpleQueue()

    def work(step: int) -> None:
        call()
        ends.put(step)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers * 4)))
        began = time.perf_counter()
        while sorter.is_active():
            for step in sorter.get_ready():
                pool.submit(work, step)
            sorter.done(ends.get())
        return time.perf_counter() - began


def by_hand_asyncio(parents: Parents, workers: int, call: Callable[[], Awaitable[object]]) -> float:
    """graphlib and one task a step; a semaphore is the limit of workers."""

    async def main() -> float:
        sorter = _sorter(parents)
        slots = asyncio.Semaphore(workers)
        ends: asyncio.Queue[int] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()

        async def work(step: int) -> None:
            async with slots:
                await call()
            ends.put_nowait(step)

        began = time.perf_counter()
        while sorter.is_active():
            for step in sorter.get_ready():
                task = asyncio.ensure_future(work(step))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            sorter.done(await ends.get())
        return time.perf_counter() - began

    return asyncio.run(main())


def by_hand_processes(parents: Parents, workers: int, call: Callable[[], object]) -> float:
    """graphlib, a process pool, and a queue on which done callbacks report the ends."""
    sorter = _sorter(parents)
    ends: SimpleQueue[int] = SimpleQueue()

    def report(step: int) -> Callable[[Future[object]], None]:
        return lambda _: ends.put(step)

    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers * 4)))
        began = time.perf_counter()
        while sorter.is_active():
            for step in sorter.get_ready():
                pool.submit(call).add_done_callback(report(step))
            sorter.done(ends.get())
        return time.perf_counter() - began

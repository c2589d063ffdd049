"""By hand: graphlib and one asyncio task a step; a semaphore is the limit of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import Any

from tests.benchmarks.peers.work import COROUTINES, Prepare, Runner, Work

TITLE = "by hand: graphlib, asyncio"
PACKAGES: tuple[str, ...] = ()
IMPORTS = ("asyncio", "graphlib")
REPORTS = "nothing"


@contextmanager
def ready(workers: int) -> Iterator[Prepare]:
    """Nothing is kept."""

    def prepare(work: Work) -> Runner:
        call = COROUTINES[work.step]
        sorter = TopologicalSorter(dict(enumerate(work.parents)))
        sorter.prepare()

        async def main() -> list[Any]:
            slots = asyncio.Semaphore(workers)
            ends: asyncio.Queue[int] = asyncio.Queue()
            outputs: dict[int, Any] = {}
            tasks: set[asyncio.Task[None]] = set()

            async def one(place: int) -> None:
                async with slots:
                    outputs[place] = await call(place, work.seconds[place])
                ends.put_nowait(place)

            while sorter.is_active():
                for place in sorter.get_ready():
                    task = asyncio.ensure_future(one(place))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                sorter.done(await ends.get())
            return [outputs[place] for place in range(len(work.parents))]

        return lambda _: asyncio.run(main())

    yield prepare

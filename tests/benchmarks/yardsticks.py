"""What a good programmer writes by hand: the yardsticks. Each returns the seconds from the first start to the last end,
with workers up and the graph prepared, so that nothing but running is compared."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from queue import Empty, SimpleQueue  # noqa: TID251  # each wait of _Ends has its deadline, others have none
from typing import Any

import jinja2

from tests.benchmarks.graphs import Parents

TIMEOUT_SECONDS = 60.0


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


async def _tasks_of(
    sorter: TopologicalSorter[int], work: Callable[[int], Coroutine[Any, Any, None]], ends: asyncio.Queue[int]
) -> float:
    """One task a step, when it is ready. ``work`` puts the step that it did into ``ends``."""
    tasks: set[asyncio.Task[None]] = set()
    began = time.perf_counter()
    while sorter.is_active():
        for step in sorter.get_ready():
            task = asyncio.ensure_future(work(step))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        sorter.done(await ends.get())
    return time.perf_counter() - began


def by_hand_asyncio(parents: Parents, workers: int, call: Callable[[], Awaitable[object]]) -> float:
    """graphlib and one task a step; a semaphore is the limit of workers."""

    async def main() -> float:
        sorter = _sorter(parents)
        slots = asyncio.Semaphore(workers)
        ends: asyncio.Queue[int] = asyncio.Queue()

        async def work(step: int) -> None:
            async with slots:
                await call()
            ends.put_nowait(step)

        return await _tasks_of(sorter, work, ends)

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


# ---------------------------------------------------------------------- steps with features

TEMPLATES = {
    "three references": "{{ a }} {{ b }} {{ c }}",
    "filters": "{{ a | string | length }} {{ b | string | length }} {{ c | string | length }}",
}


class RealSteps:
    """What steps with features do, by hand: one compiled Jinja2 template for all, a comparison, a semaphore, a loop.

    ``features`` and the graph are those of `test_feature_cost`: each step but the first ones has three parents.
    """

    def __init__(self, features: frozenset[str], parents: Parents, layer_width: int) -> None:
        source = next((TEMPLATES[feature] for feature in sorted(features) if feature in TEMPLATES), None)
        self.template = None if source is None else jinja2.Environment(autoescape=False).from_string(source)
        self.each_layer = "filters" in features
        self.parents = parents
        self.layer_width = layer_width
        self.outputs: dict[int, str | None] = {}
        self.condition = "condition" in features
        self.attempts = 3 if "retry" in features else 1
        self.limited = "limit" in features
        self.timed = "timeout" in features

    def begin(self, step: int) -> tuple[bool, str | None]:
        """Whether its condition holds, and its prompt."""
        above = self.parents[step]
        if self.condition and above and self.outputs[above[0]] == "no":
            return False, None
        if self.template is None:
            return True, None
        if not above or not (self.each_layer or step // self.layer_width % 2):
            return True, "x"
        a, b, c = above
        outputs = self.outputs
        return True, self.template.render(a=outputs[a], b=outputs[b], c=outputs[c])


def _attempt(call: Callable[[str | None], str | None], attempts: int, prompt: str | None) -> str | None:
    for number in range(1, attempts + 1):
        try:
            return call(prompt)
        except Exception:
            if number == attempts:
                raise
    return None


class _Ends:
    """The queue on which steps report their ends, and a heap of the deadlines of those that have one."""

    def __init__(self, steps: RealSteps) -> None:
        self._steps = steps
        self._ends: SimpleQueue[int] = SimpleQueue()
        self._deadlines: list[tuple[float, int]] = []
        self.put = self._ends.put

    def expect(self, step: int) -> None:
        if self._steps.timed:
            heappush(self._deadlines, (time.monotonic() + TIMEOUT_SECONDS, step))

    def get(self) -> int:
        if not self._steps.timed:
            return self._ends.get()
        while True:
            with suppress(Empty):
                return self._ends.get(timeout=max(0.0, self._deadlines[0][0] - time.monotonic()))
            late = heappop(self._deadlines)[1]
            if late not in self._steps.outputs:
                raise TimeoutError(late)


def by_hand_threads_with(steps: RealSteps, workers: int, call: Callable[[str | None], str | None]) -> float:
    """:func:`by_hand_threads` with features; the thread that waits for ends looks for timeouts in a heap."""
    sorter = _sorter(steps.parents)
    ends = _Ends(steps)
    limit = threading.Semaphore(8)

    def work(step: int) -> None:
        holds, prompt = steps.begin(step)
        if holds and steps.limited:
            with limit:
                steps.outputs[step] = _attempt(call, steps.attempts, prompt)
        elif holds:
            steps.outputs[step] = _attempt(call, steps.attempts, prompt)
        ends.put(step)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers * 4)))
        began = time.perf_counter()
        while sorter.is_active():
            for step in sorter.get_ready():
                ends.expect(step)
                pool.submit(work, step)
            sorter.done(ends.get())
        return time.perf_counter() - began


def by_hand_processes_with(steps: RealSteps, workers: int, call: Callable[[str | None], str | None]) -> float:
    """:func:`by_hand_processes` with features: a worker tries again by itself, all else is done before a submit."""
    sorter = _sorter(steps.parents)
    ends = _Ends(steps)
    limit = threading.Semaphore(8)
    running: dict[int, Future[str | None]] = {}

    def report(step: int) -> Callable[[Future[str | None]], None]:
        def ended(_: Future[str | None]) -> None:
            if steps.limited:
                limit.release()
            ends.put(step)

        return ended

    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers * 4)))
        began = time.perf_counter()
        while sorter.is_active():
            for step in sorter.get_ready():
                ends.expect(step)
                holds, prompt = steps.begin(step)
                if not holds:
                    ends.put(step)
                    continue
                if steps.limited:
                    limit.acquire()
                running[step] = future = pool.submit(_attempt, call, steps.attempts, prompt)
                future.add_done_callback(report(step))
            step = ends.get()
            if step in running:
                steps.outputs[step] = running.pop(step).result()
            sorter.done(step)
        return time.perf_counter() - began


def by_hand_asyncio_with(steps: RealSteps, workers: int, call: Callable[[str | None], Awaitable[str | None]]) -> float:
    """:func:`by_hand_asyncio` with features; `asyncio.timeout` costs less than `wait_for`, which makes a task."""

    async def main() -> float:
        sorter = _sorter(steps.parents)
        slots, limit = asyncio.Semaphore(workers), asyncio.Semaphore(8)
        ends: asyncio.Queue[int] = asyncio.Queue()

        async def attempt(prompt: str | None) -> str | None:
            for number in range(1, steps.attempts + 1):
                try:
                    if not steps.timed:
                        return await call(prompt)
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        return await call(prompt)
                except Exception:
                    if number == steps.attempts:
                        raise
            return None

        async def work(step: int) -> None:
            async with slots:
                holds, prompt = steps.begin(step)
                if holds and steps.limited:
                    async with limit:
                        steps.outputs[step] = await attempt(prompt)
                elif holds:
                    steps.outputs[step] = await attempt(prompt)
            ends.put_nowait(step)

        return await _tasks_of(sorter, work, ends)

    return asyncio.run(main())

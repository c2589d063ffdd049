"""Schedulers to test the suite with: one on threads and one on asyncio that keep every rule, and ones with a fault."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from harness.testing.schedulers.graph_case import Graph


class Decisions:
    """What may be called now; the part that both have in common. Faults are planted by overriding a method."""

    def __init__(self, graph: Graph, workers: int) -> None:
        self.graph = graph
        self.workers = workers
        self.states: dict[str, str] = {}
        self.calls = Counter[str]()
        self.at_work: list[str] = []
        self.cancelled = False

    def next(self) -> str | None:
        """The next step to call."""
        self.skip()
        if self.cancelled or not self.has_worker():
            return None
        for step in self.graph:
            if self.is_open(step) and self.is_ready(step) and self.fits(step):
                return step
        return None

    def skip(self) -> None:
        for _ in self.graph:
            for step, before in self.graph.items():
                if step not in self.states and any(self.states.get(other) in ("failed", "skipped") for other in before):
                    self.states[step] = "skipped"

    def has_worker(self) -> bool:
        return len(self.at_work) < self.workers

    def is_open(self, step: str) -> bool:
        return step not in self.states and step not in self.at_work

    def is_ready(self, step: str) -> bool:
        return all(self.states.get(other) == "succeeded" for other in self.graph[step])

    def fits(self, step: str) -> bool:
        used = Counter[str]()
        for other in self.at_work:
            used.update(self.graph.needs[other])
        return all(used[name] + units <= self.graph.limits[name] for name, units in self.graph.needs[step].items())

    def begin(self, step: str) -> None:
        self.at_work.append(step)
        self.calls[step] += 1

    def end(self, step: str, *, well: bool) -> None:
        self.at_work.remove(step)
        if well:
            self.states[step] = "succeeded"
        elif not self.tries_again(step):
            self.states[step] = "failed"

    def tries_again(self, step: str) -> bool:
        return self.calls[step] < self.graph.attempts[step]

    def finish(self) -> dict[str, str]:
        return {step: self.states.get(step, "cancelled") for step in self.graph}


def on_threads(decisions: type[Decisions], graph: Graph, call: Callable[[str], object], workers: int) -> dict[str, str]:
    """Run a graph on a pool of threads."""
    state = decisions(graph, workers)
    changed = threading.Condition()

    def cancel() -> None:
        with changed:
            state.cancelled = True

    graph.on_cancel(cancel)
    futures: dict[Future[object], str] = {}
    with ThreadPoolExecutor(workers + 2) as pool:
        while True:
            with changed:
                while (step := state.next()) is not None:
                    state.begin(step)
                    futures[pool.submit(call, step)] = step
            if not futures:
                return state.finish()
            ended, _ = wait(futures, return_when=FIRST_COMPLETED)
            with changed:
                for future in ended:
                    state.end(futures.pop(future), well=future.exception() is None)


async def on_asyncio(
    decisions: type[Decisions], graph: Graph, call: Callable[[str], Awaitable[object]], workers: int
) -> dict[str, str]:
    """Run a graph in an event loop."""
    state = decisions(graph, workers)
    tasks: dict[asyncio.Future[object], str] = {}
    try:
        while True:
            while (step := state.next()) is not None:
                state.begin(step)
                tasks[asyncio.ensure_future(call(step))] = step
            if not tasks:
                return state.finish()
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                state.end(tasks.pop(task), well=task.exception() is None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class AnyDependency(Decisions):
    def is_ready(self, step: str) -> bool:
        before = self.graph[step]
        return not before or any(self.states.get(other) == "succeeded" for other in before)


class OneTooMany(Decisions):
    def has_worker(self) -> bool:
        return len(self.at_work) <= self.workers


class CallsTwice(Decisions):
    def end(self, step: str, *, well: bool) -> None:
        self.at_work.remove(step)
        if self.calls[step] > 1 or len(self.graph[step]) < 2:
            self.states[step] = "succeeded"


class ForgetsASlot(Decisions):
    """A failed step keeps its slot (and never gives it back)."""

    leaked = 0

    def end(self, step: str, *, well: bool) -> None:
        super().end(step, well=well)
        self.leaked += not well

    def next(self) -> str | None:
        return super().next() if len(self.at_work) + self.leaked < self.workers else None


class RunsAfterFailure(Decisions):
    def skip(self) -> None:
        return

    def is_ready(self, step: str) -> bool:
        return all(self.states.get(other) in ("succeeded", "failed") for other in self.graph[step])


class SkipsTooMuch(Decisions):
    """One failure skips all that has not begun."""

    def is_ready(self, step: str) -> bool:
        return super().is_ready(step) and "failed" not in self.states.values()


class NeverTriesAgain(Decisions):
    def tries_again(self, step: str) -> bool:
        return False


class AlwaysTriesAgain(Decisions):
    def tries_again(self, step: str) -> bool:
        return self.calls[step] < self.graph.attempts[step] + 1


class CountsStepsForUnits(Decisions):
    def fits(self, step: str) -> bool:
        return all(
            sum(name in self.graph.needs[other] for other in self.at_work) < self.graph.limits[name]
            for name in self.graph.needs[step]
        )


class HeedsNoCancellation(Decisions):
    def next(self) -> str | None:
        self.cancelled = False
        return super().next()


class WaitsForALevel(Decisions):
    """A barrier: nothing begins while anything of the level before runs."""

    def is_ready(self, step: str) -> bool:
        return super().is_ready(step) and (not self.at_work or self.graph[step] == self.graph[self.at_work[0]])


class LeavesOneOut(Decisions):
    def is_ready(self, step: str) -> bool:
        return super().is_ready(step) and not (len(self.graph) > 3 and step == list(self.graph)[3])


class WrongState(Decisions):
    def finish(self) -> dict[str, str]:
        return {step: "failed" if state == "skipped" else state for step, state in super().finish().items()}


class Breaks(Decisions):
    def end(self, step: str, *, well: bool) -> None:
        super().end(step, well=well)
        if len(self.states) == 3:
            raise LookupError("a fault in the scheduler")


def leaves_early(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    """Starts the last step and does not wait for it."""
    *first, last = sorted(graph, key=lambda step: len(_all_before(graph, step)))
    for step in first:
        call(step)
    threading.Thread(target=call, args=(last,), daemon=True).start()
    time.sleep(0.01)


def stands_still(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    """Waits for a wake-up that never comes, once it has run two steps."""
    for number, step in enumerate(sorted(graph, key=lambda step: len(_all_before(graph, step)))):
        if number == 2:
            threading.Event().wait()
        call(step)


def calls_a_stranger(graph: Graph, call: Callable[[str], object], workers: int) -> None:
    call("nobody")


def _all_before(graph: Graph, step: str) -> set[str]:
    found: set[str] = set()
    todo: list[Any] = [step]
    while todo:
        for other in graph[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found

"""What every peer is given: a graph, and one function that is each of its steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.graphs import Parents

Step = Callable[[int, float], Any]


@dataclass(frozen=True)
class Work:
    """``parents`` of each step, by place; ``seconds`` that each waits; ``step`` is called with place and seconds."""

    parents: Parents
    step: Step
    seconds: tuple[float, ...]


# An adapter makes a runner of a work; a runner runs the graph once and gives the outputs by place. What it gives its
# argument to do is not measured: workers that every run starts anew, where the others keep theirs.
Aside = Callable[[Callable[[], None]], None]
Runner = Callable[[Aside], list[Any]]
Prepare = Callable[[Work], Runner]


def at_once(do: Callable[[], None]) -> None:
    """Where nothing is measured."""
    do()


def nothing(place: int, seconds: float) -> int:
    """A step that does nothing."""
    return place


def sleeping(place: int, seconds: float) -> int:
    """A step that waits."""
    time.sleep(seconds)
    return place


def watched(place: int, seconds: float) -> list[int]:
    """A step that says which it is and when it ran, on the clock that all processes of a machine share."""
    began = time.monotonic_ns()
    time.sleep(seconds)
    return [place, began, time.monotonic_ns()]


async def nothing_async(place: int, seconds: float) -> int:
    """The same as a coroutine."""
    return place


async def sleeping_async(place: int, seconds: float) -> int:
    """The same as a coroutine."""
    await asyncio.sleep(seconds)
    return place


async def watched_async(place: int, seconds: float) -> list[int]:
    """The same as a coroutine."""
    began = time.monotonic_ns()
    await asyncio.sleep(seconds)
    return [place, began, time.monotonic_ns()]


COROUTINES: dict[Step, Callable[[int, float], Any]] = {
    nothing: nothing_async, sleeping: sleeping_async, watched: watched_async,
}  # fmt: skip


def after(step: Step, place: int, seconds: float, *parents: object) -> Any:
    """The step for peers whose edges are arguments."""
    return step(place, seconds)

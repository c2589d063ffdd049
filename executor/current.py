"""Which step the code that is running belongs to: for spans that user code opens, and for calls that it makes.

Rules of this module:
- A worker (a thread, a coroutine, the loop of a worker process) has one :class:`Place` for its whole life, in a context
  variable. What runs there changes by one attribute store a step; who wants to know asks when it wants to.
- A place is inherited as context variables are: by coroutines and ``asyncio.to_thread``, not by a plain new thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol


class Running(Protocol):
    """A running attempt, as far as its own code may know it: an :class:`executor.timeline.Attempt`, or, in another
    process, a :class:`RunningStep`.
    """

    @property
    def step_id(self) -> str:
        """The step."""

    @property
    def attempt(self) -> int:
        """Counts from 1."""


class RunningStep(NamedTuple):
    """A running attempt in a process that has no record of the run."""

    step_id: str
    attempt: int


class Place:
    """Where a worker's code runs. ``running`` is None between steps; ``engine`` is None in a worker process."""

    __slots__ = ("engine", "running")

    def __init__(self, engine: Any = None) -> None:
        self.running: Any = None
        self.engine = engine


_PLACE: ContextVar[Place | None] = ContextVar("makespan_place", default=None)


def current_place() -> Place | None:
    """The place of the worker whose code asks, or None outside of any run."""
    return _PLACE.get()


def current_step() -> Running | None:
    """The attempt whose code asks, or None outside of any step."""
    place = _PLACE.get()
    return None if place is None else place.running


def enter_place(place: Place) -> None:
    """From here on the code of this thread, or this task, runs at ``place``."""
    _PLACE.set(place)

"""Which step the code that is running belongs to: for spans that user code opens, and for calls that it makes.

Rules of this module:
- A worker (a thread, a coroutine, the loop of a worker process) has one :class:`Place` for its whole life, in a context
  variable. What runs there changes by one attribute store a step; who wants to know asks when it wants to.
- A place is inherited as context variables are: by coroutines and ``asyncio.to_thread``, not by a plain new thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from executor.model.device_needs import HeldDevices


class Running(Protocol):
    """A running attempt, as far as its own code may know it: an :class:`executor.record.timeline.Attempt`, or, in
    another process, a :class:`RunningStep`.
    """

    @property
    def step_id(self) -> str:
        """The step."""

    @property
    def attempt(self) -> int:
        """Counts from 1."""

    @property
    def devices(self) -> HeldDevices | None:
        """By kind, the ids of its devices; None where it needed none."""


class RunningStep(NamedTuple):
    """A running attempt in a process that has no record of the run."""

    step_id: str
    attempt: int
    devices: HeldDevices | None = None


class Place:
    """Where a worker's code runs. ``running`` is None between steps; ``engine`` is None in a worker process.
    ``caller`` (:class:`executor.child_steps.child_request.Caller`) makes the calls of what runs here; None where none
    can.
    """

    __slots__ = ("__weakref__", "caller", "engine", "running")

    def __init__(self, engine: Any = None, caller: Any = None) -> None:
        self.running: Any = None
        self.engine = engine
        self.caller = caller


_PLACE: ContextVar[Place | None] = ContextVar("makespan_place", default=None)
_PLACES: WeakSet[Place] = WeakSet()
_ENTERING = threading.Lock()


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
    with _ENTERING:
        _PLACES.add(place)


def runs_somewhere() -> bool:
    """Whether any step runs in this process: code that knows of none may still belong to one."""
    with _ENTERING:
        return any(_is_at_work(place.running) for place in _PLACES)


def _is_at_work(running: Any) -> bool:
    """A place keeps its last step until the next one comes."""
    return running is not None and getattr(running, "outcome", None) is None


def program_environment() -> AbstractContextManager[dict[str, str]]:
    """Variables for a program that the current step starts, so that its spans return when the block ends, after the
    program has; none where the run is not traced.
    """
    return nullcontext({}) if _tracing is None else _tracing()


def trace_programs(tracing: Callable[[], AbstractContextManager[dict[str, str]]]) -> None:
    """From now on :func:`program_environment` is ``tracing``: called by what traces runs."""
    global _tracing  # noqa: PLW0603  # one for the whole process
    _tracing = tracing


_tracing: Callable[[], AbstractContextManager[dict[str, str]]] | None = None

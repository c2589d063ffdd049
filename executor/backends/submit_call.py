"""A step's call on its way to an executor, and its answer on the way back.

Rules of this module:
- In this process a call is run as it is. Where it is pickled, it turns into bytes that the other side unpacks: what
  cannot travel is named, with the part of the value that cannot.
- Whatever the step raises is part of the answer; an error of the future itself is the executor's.
- Times are nanoseconds of the machine's monotonic clock, which all its processes share. From another machine only the
  duration counts.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

from executor.backends.processes.pickling import NotPicklableError, dumps
from executor.child_steps.step_context import Place, RunningStep, enter_place
from executor.host_id import machine
from executor.record.outcomes import Failure, outcome_of
from executor.record.timeline import NANOSECONDS, AttemptOutcome
from executor.tools.tool import RunContext, Tool, ToolContext, run_call
from executor.tracing.hooks import worker_tracing


@dataclass(frozen=True, slots=True)
class Times:
    """When, where and by whom a call was run. ``started`` and ``ended`` by the clock of ``machine``."""

    started: int
    ended: int
    machine: str
    worker: str
    cpu_seconds: float

    def on_our_clock(self, origin: int, now: int) -> tuple[int, int]:
        """``(started, ended)`` from the run's t = 0. Of another machine's clock only the difference is known."""
        if self.machine == machine():
            return self.started - origin, self.ended - origin
        return now - (self.ended - self.started), now


@dataclass(frozen=True, slots=True)
class Result:
    """What a call gave: an output, or a :class:`Failure` where ``outcome`` is not ``succeeded``; as bytes where it is
    ``packed`` for the way between processes.
    """

    outcome: AttemptOutcome
    value: Any
    tokens: int | None = None
    facts: dict[str, Any] | None = None
    packed: bool = False


Answer: TypeAlias = tuple[Times, Result]


class Shared:
    """What the calls of one run have in common, pickled once."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._pickled: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def pickled(self, tool: Tool) -> tuple[bytes, bytes]:
        """The run's context and the tool. Raises NotPicklableError."""
        with self._lock:
            if "" not in self._pickled:
                self._pickled[""] = dumps(self._context, "the context of the run")
            if tool.name not in self._pickled:
                self._pickled[tool.name] = dumps(tool, f"tool {tool.name!r}")
            return self._pickled[""], self._pickled[tool.name]


class RemoteCall:
    """One attempt's call. Called in this process it runs the tool; pickled it becomes a :class:`TravelledCall`."""

    def __init__(
        self, shared: Shared, tool: Tool, context: ToolContext, prompt: str | None, args: Mapping[str, Any]
    ) -> None:
        self._shared = shared
        self._tool = tool
        self._context = context
        self._prompt = prompt
        self._args = args

    def __call__(self) -> Answer:
        return run_tool(self._tool, self._context, self._prompt, self._args, threading.current_thread().name)

    def __reduce__(self) -> tuple[Any, ...]:
        context = self._context
        said = (context.step_id, context.attempt, context.expected_seconds, context.timeout_seconds)
        args = dumps(self._args, "args")
        return TravelledCall, (*self._shared.pickled(self._tool), said, self._prompt, args)


class TravelledCall:
    """The call in another process."""

    def __init__(
        self,
        run: bytes,
        tool: bytes,
        said: tuple[str, int, float | None, float | None],
        prompt: str | None,
        args: bytes,
    ) -> None:
        self._packed = (run, tool, said, prompt, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return TravelledCall, self._packed

    def __call__(self) -> Answer:
        run, tool, said, prompt, args = self._packed
        worker = f"process-{os.getpid()}"
        started = time.perf_counter_ns()
        try:
            context = ToolContext(pickle.loads(run), *said)  # noqa: S301  # the words of whoever submitted it
            call = (_unpacked_tool(tool), context, prompt, pickle.loads(args))  # noqa: S301  # as above
        except Exception as error:  # noqa: BLE001  # importing the user's modules may raise anything
            message = f"step {said[0]!r}: its call cannot be had in a worker process: {type(error).__name__}: {error}"
            times = Times(started, time.perf_counter_ns(), machine(), worker, 0.0)
            return times, Result("failed", Failure(type(error).__name__, message))
        return _packed(run_tool(*call, worker), said[0])


def run_tool(tool: Tool, context: ToolContext, prompt: str | None, args: Mapping[str, Any], worker: str) -> Answer:
    """Run a call to its end: its times, and its :class:`Result`."""
    place = Place()
    place.running = RunningStep(context.step_id, context.attempt)
    enter_place(place)
    tracing = worker_tracing(context.run.trace)
    if tracing is not None:
        tracing.enter(place)
    started = time.perf_counter_ns()
    cpu = time.thread_time_ns()
    outcome: AttemptOutcome = "succeeded"
    try:
        value = run_call(tool, context, prompt, args, _run_awaitable)
    except BaseException as error:  # noqa: BLE001  # whatever a step raises is its failure and nobody else's
        outcome, value = outcome_of(error), Failure.of(error)
    cpu_seconds = (time.thread_time_ns() - cpu) / NANOSECONDS
    times = Times(started, time.perf_counter_ns(), machine(), worker, cpu_seconds)
    facts = context.facts if tracing is None else tracing.facts(place.running, context.facts)
    return times, Result(outcome, value, context.tokens_used, facts)


def _run_awaitable(awaitable: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


def unpack(answer: Answer, step_id: str) -> Answer:
    """An answer, its value read in the process that asked."""
    times, result = answer
    if not result.packed:
        return answer
    try:
        value = pickle.loads(result.value)  # noqa: S301  # from a worker of ours
    except Exception as error:  # noqa: BLE001  # a value's own code may raise anything
        message = f"step {step_id!r}: its result cannot be read here: {type(error).__name__}: {error}"
        return times, Result("failed", Failure("NotPicklable", message, retryable=False))
    return times, replace(result, value=value, packed=False)


def _packed(answer: Answer, step_id: str) -> Answer:
    times, result = answer
    try:
        return times, replace(result, value=dumps(result.value, "its result"), packed=True)
    except NotPicklableError as error:
        failure = Failure("NotPicklable", f"step {step_id!r}: {error}", retryable=False)
        return times, replace(result, outcome="failed", value=failure)


@lru_cache(maxsize=64)
def _unpacked_tool(data: bytes) -> Tool:
    """A tool in this process, made and prepared once, so that its connections are used again."""
    tool: Tool = pickle.loads(data)  # noqa: S301  # the words of whoever submitted it
    tool.prepare()
    return tool

"""`SubmitBackend`: makes a backend of anything with ``submit(callable) -> Future``.

::

    drive(): wait for any future's end ─▶ advance() once for all that ended ─▶ submit the starts ─▶ wait …

Rules of this module:
- Nothing is polled: a future's done callback leaves its end in a queue and wakes the thread in :meth:`drive`.
- In this process a call is run as it is. Where it is pickled, it turns into bytes that the other side unpacks: what
  cannot travel is named, with the part of the value that cannot. The backend never has to know which.
- Whatever the step raises is part of the answer; an error of the future itself is the executor's.
- What was submitted cannot be stopped once it runs: past its timeout it is given up, as on threads.
- A pool of its own that breaks (its process died) is replaced; the steps that ran in it are run again while their
  attempts last.
- Times are nanoseconds of the machine's monotonic clock, which all its processes share. Those of another machine are
  brought onto the driver's clock (:mod:`executor.backends.clocks`).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeAlias

from executor.backends.attempt_timing import CpuClock, TimedAttempt
from executor.backends.base import Backend, BackendError, patience_seconds
from executor.backends.clocks.placed_times import PlacedTimes, worker_name
from executor.backends.own_environment import own_environment
from executor.backends.pickling import NotPicklableError, dumps, not_picklable, unreadable_result
from executor.child_steps.step_context import Place, RunningStep, enter_place
from executor.engine.engine import Engine
from executor.host_id import host, machine
from executor.model.device_needs import HeldDevices
from executor.record.outcomes import Completion, Failure
from executor.record.timeline import Attempt, AttemptOutcome
from executor.tools.tool import RunContext, Tool, ToolContext, run_call
from executor.tracing.hooks import worker_tracing


@dataclass(frozen=True, slots=True)
class Times:
    """When, where and by whom a call was run. ``started`` and ``ended`` by the clock of ``machine``; ``thread`` tells
    those of one worker apart.
    """

    started: int
    ended: int
    machine: str
    worker: str
    cpu_seconds: float | None
    host: str = ""
    thread: int = 0


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
    # Of what type an output is.
    type_name: str = ""

    def is_larger_than(self, size_bytes: int) -> bool:
        """Whether it is an output, packed, of more bytes than that."""
        return self.outcome == "succeeded" and self.packed and len(self.value) > size_bytes


Answer: TypeAlias = tuple[Times, Result]
# The type of the failure where a worker lacks a module.
LACKING = ModuleNotFoundError.__name__


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

    def leave_devices_to(self, others: Callable[[str], bool]) -> None:
        """Do not name the devices of the kinds of which ``others(kind)`` holds: somebody else does."""
        held = self._context.devices or {}
        self._context.devices = {kind: ids for kind, ids in held.items() if not others(kind)} or None

    def __call__(self) -> Answer:
        return run_tool(self._tool, self._context, self._prompt, self._args, threading.current_thread().name)

    def __reduce__(self) -> tuple[Any, ...]:
        context = self._context
        said = (
            context.step_id, context.attempt, context.expected_seconds, context.timeout_seconds, context.devices,
        )  # fmt: skip
        args = dumps(self._args, "args")
        return TravelledCall, (*self._shared.pickled(self._tool), said, self._prompt, args)


class TravelledCall:
    """The call in another process."""

    def __init__(
        self,
        run: bytes,
        tool: bytes,
        said: tuple[str, int, float | None, float | None, HeldDevices | None],
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
            context = ToolContext(pickle.loads(run), *said)  # noqa: S301  # the words of the submitter
            call = (_unpacked_tool(tool), context, prompt, pickle.loads(args))  # noqa: S301  # as above
        except Exception as error:  # noqa: BLE001  # importing the user's modules may raise anything
            times = Times(started, time.perf_counter_ns(), machine(), worker, 0.0, host(), threading.get_ident())
            return times, Result("failed", _cannot_begin(said[0], error))
        with own_environment(context.devices):
            return _packed(run_tool(*call, worker), said[0])


def _cannot_begin(step_id: str, error: BaseException) -> Failure:
    """Why a call cannot be made here. A module that is not there is named, wherever that came up."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError):
            return Failure(LACKING, f"step {step_id!r}: its worker cannot import {cause.name!r}: {error}")
        cause = cause.__cause__ or cause.__context__
    message = f"step {step_id!r}: its call cannot be made in a worker process: {type(error).__name__}: {error}"
    return Failure(type(error).__name__, message)


def run_tool(tool: Tool, context: ToolContext, prompt: str | None, args: Mapping[str, Any], worker: str) -> Answer:
    """Run a call to its end: its times, and its :class:`Result`."""
    place = Place()
    place.running = RunningStep(context.step_id, context.attempt, context.devices)
    enter_place(place)
    tracing = worker_tracing(context.run.trace)
    if tracing is not None:
        tracing.enter(place)
    with TimedAttempt(time.perf_counter_ns, CpuClock()) as run:
        run.value = run_call(tool, context, prompt, args, _run_awaitable)
    times = Times(run.started, run.ended, machine(), worker, run.cpu_seconds, host(), threading.get_ident())
    facts = context.facts if tracing is None else tracing.facts(place.running, context.facts)
    return times, Result(run.outcome, run.value, context.tokens_used, facts)


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
        return times, Result("failed", unreadable_result(step_id, error))
    return times, replace(result, value=value, packed=False)


def _packed(answer: Answer, step_id: str) -> Answer:
    times, result = answer
    try:
        return times, replace(
            result, value=dumps(result.value, "its result"), packed=True, type_name=type(result.value).__name__
        )
    except NotPicklableError as error:
        return times, replace(result, outcome="failed", value=not_picklable(step_id, error))


@lru_cache(maxsize=64)
def _unpacked_tool(data: bytes) -> Tool:
    """A tool in this process, made and prepared once, so that its connections are used again."""
    tool: Tool = pickle.loads(data)  # noqa: S301  # the words of the submitter
    tool.prepare()
    return tool


# The end of an attempt as it is queued: its future, or why there is none.
End: TypeAlias = "tuple[Attempt, Future[Answer] | Exception]"


class Submits(Protocol):
    """What is asked of an executor. Its futures have ``add_done_callback``, ``result``, ``exception``, ``cancel`` and
    ``cancelled`` of :class:`concurrent.futures.Future`.
    """

    def submit(self, call: Callable[[], Any], /) -> Any:
        """Run ``call`` somewhere, soon."""


class SubmitBackend(Backend):
    """Steps on any executor. Give one (``SubmitBackend(4, executor=pool)``; it stays yours and open), or subclass and
    override :meth:`make_executor` (then it is closed after the run, and replaced if it breaks).

    ``workers`` is how many calls are submitted at once; the executor should run as many.
    """

    name = "submit"
    summary = "anything with submit(callable) -> Future"
    # What to do where a worker lacks a module.
    import_remedy: ClassVar[str] = ""
    # Whether `Future.cancel` refuses where the call is running already.
    knows_what_runs = True
    # Whether the executor says when a call with a timeout has begun.
    reports_beginnings = False

    def __init__(self, workers: int | None = None, *, executor: Submits | None = None) -> None:
        super().__init__(workers)
        self._given = executor
        self._executor: Submits | None = executor
        self._ends: deque[End] = deque()
        self._futures: dict[Attempt, Future[Answer]] = {}
        self._shared: Shared | None = None
        self.placed = PlacedTimes()

    def make_executor(self) -> Submits:
        """A new executor with :attr:`capacity` workers; one run uses it, and :meth:`close_executor` closes it."""
        raise BackendError(f"{self.name} has no executor: give one, as in SubmitBackend(4, executor=pool)")

    def close_executor(self, executor: Any, unfinished: list[str]) -> None:
        """Close an executor of :meth:`make_executor`. The calls of the steps in ``unfinished`` still run."""
        executor.shutdown(wait=not unfinished, cancel_futures=True)

    # ------------------------------------------------------------------ the life of the backend

    def open(self, engine: Engine) -> None:
        self._shared = Shared(engine.context)
        self.placed = PlacedTimes()
        # A call that outlived an earlier run ends there.
        self._ends = deque()
        if self._executor is None:
            self._executor = self.make_executor()

    def drive(self, engine: Engine) -> None:
        self._submit_all(engine, engine.begin())
        while not engine.done:
            ends = self._wait_for_ends(patience_seconds(engine))
            if not engine.done:
                self._submit_all(engine, engine.advance(self._completions(engine, ends)))
        engine.clocks = self.placed.clocks.readings()
        if engine.crash is not None:
            raise engine.crash

    def cancel(self, attempt: Attempt) -> None:
        """A call that has not begun never will; one that runs goes on, and its end is reported when it comes."""
        future = self._futures.get(attempt)
        if future is not None and self.knows_what_runs:
            future.cancel()

    def close(self) -> None:
        unfinished = [attempt.step_id for attempt, future in self._futures.items() if not _is_over(future)]
        if unfinished:
            self.warnings.append(
                f"the call of {', '.join(map(repr, unfinished))} cannot be stopped on {self.name}: the run ended "
                "without waiting for it"
            )
        self._futures.clear()
        executor, self._executor = self._executor, self._given
        if executor is not None and executor is not self._given:
            self.close_executor(executor, unfinished)
        super().close()

    # ------------------------------------------------------------------ ends

    def _wait_for_ends(self, seconds: float) -> list[End]:
        """All that ended, as soon as anything did; nothing if there is something else to look at."""
        self._wake.wait(seconds)
        ends: list[End] = []
        while self._ends:
            ends.append(self._ends.popleft())
        return ends

    def _ended(self, attempt: Attempt, end: Future[Answer] | Exception, of: deque[End] | None = None) -> None:
        """Have :meth:`drive` look at the end of an attempt. From any thread. ``of``: the ends of the attempt's run; by
        default those of the run that is open.
        """
        if of is not None and of is not self._ends:
            return
        self.placed.note_return(attempt, self.clock())
        self._ends.append((attempt, end))
        self._wake.set()

    def _completions(self, engine: Engine, ends: list[End]) -> Iterable[Completion]:
        """What ended, for the engine, which takes it under its lock."""
        return [self._completion(engine, *end) for end in ends]

    def _completion(self, engine: Engine, attempt: Attempt, end: Future[Answer] | Exception) -> Completion:
        now = engine.now()
        self._futures.pop(attempt, None)
        if isinstance(end, Exception) or end.cancelled() or end.exception() is not None:
            self.placed.forget(attempt)
        if isinstance(end, Exception):
            outcome, failure = self._failure(engine, attempt, end)
            begun = attempt.granted if outcome == "worker_died" else now
            return attempt, begun, now, self.name, None, outcome, failure, None
        if end.cancelled():
            # Cancelled by the engine (which knows and takes this as the call's return) or lost by the executor.
            message = f"{self.name} gave up the call before it ended{_not_again(engine, attempt)}"
            lost = Failure("WorkerDied", message)
            return attempt, attempt.granted, now, self.name, None, "worker_died", lost, None
        error = end.exception()
        if error is not None:
            outcome, failure = self._failure(engine, attempt, error)
            return attempt, attempt.granted, now, self.name, None, outcome, failure, None
        answer = end.result()
        [(started, ended)] = self.placed.spans(attempt, [answer[0]], engine.origin)
        return self._answered(engine, attempt, answer, started, ended)

    def _answered(self, engine: Engine, attempt: Attempt, answer: Answer, started: int, ended: int) -> Completion:
        """The end of a call that came back."""
        times, result = unpack(answer, attempt.step_id)
        if self.import_remedy and getattr(result.value, "error_type", "") == LACKING:
            message = f"{result.value.message} (worker {times.worker} on {times.host}): {self.import_remedy}"
            result = replace(result, value=replace(result.value, message=message))
        if result.facts:
            engine.facts[attempt] = self.placed.facts(times.machine, result.facts, engine.context.trace)
        worker = worker_name(times.host, times.worker)
        return attempt, started, ended, worker, times.cpu_seconds, result.outcome, result.value, result.tokens

    def _failure(self, engine: Engine, attempt: Attempt, error: BaseException) -> tuple[AttemptOutcome, Failure]:
        """What went wrong between here and the call, which reports its own errors as answers."""
        if self.is_worker_death(error):
            death = self.describe_death(error, engine.origin + attempt.granted)
            message = f"the worker of step {attempt.step_id!r} died: {death}"
            return "worker_died", Failure("WorkerDied", message + _not_again(engine, attempt))
        return "failed", _as_failure(attempt.step_id, error)

    def describe_death(self, error: BaseException, since: int) -> str:
        """What is known of it, in words: also what it wrote ``since`` then (nanoseconds of the clock), if that can be
        had.
        """
        return f"{type(error).__name__}: {error}"

    def is_worker_death(self, error: BaseException) -> bool:
        """Whether this error of a future means that the call's worker is gone."""
        return isinstance(error, BrokenExecutor)

    # ------------------------------------------------------------------ starts

    def _submit_all(self, engine: Engine, starts: list[Attempt]) -> None:
        for attempt in starts:
            try:
                if attempt.outcome is None:
                    self._submit(engine, attempt)
                else:
                    self._ended(attempt, BackendError("it was cancelled before it was submitted"))
            except Exception as error:  # noqa: BLE001  # a template or a value that cannot travel: a failed attempt
                self._ended(attempt, error)

    def _submit(self, engine: Engine, attempt: Attempt) -> None:
        assert self._shared is not None
        tool, context, prompt, args = engine.prepare(attempt)
        call = RemoteCall(self._shared, tool, context, prompt, args)
        if context.timeout_seconds is not None and not self.reports_beginnings:
            # When the worker begins is not reported: the time runs from here.
            engine.started(attempt, engine.now(), self.name)
        self.placed.note_sending(attempt, self.clock())
        future = self._submit_to_executor(self._call_of(attempt, call, engine))
        self._futures[attempt] = future
        ends = self._ends
        future.add_done_callback(lambda ended: self._ended(attempt, ended, ends))

    def _call_of(self, attempt: Attempt, call: RemoteCall, engine: Engine) -> Callable[[], Any]:
        """What is submitted for an attempt."""
        return call

    def _submit_to_executor(self, call: Callable[[], Any]) -> Future[Answer]:
        assert self._executor is not None
        try:
            future: Future[Answer] = self._executor.submit(call)
        except BrokenExecutor:
            if self._executor is self._given:
                raise
            self.close_executor(self._executor, [])
            self._executor = self.make_executor()
            future = self._executor.submit(call)
        return future


def _not_again(engine: Engine, attempt: Attempt) -> str:
    if engine.scheduler.steps[attempt.index].idempotent is not False:
        return ""
    return "; it may have done its work, and is not tried again: it is `idempotent: false`"


def _is_over(future: Future[Answer]) -> bool:
    return future.done() or future.cancel()


def _as_failure(step_id: str, error: BaseException) -> Failure:
    """A failure, with the words of the innermost error that says what cannot be pickled, if that is the reason."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, NotPicklableError):
            return not_picklable(step_id, found)
        found = found.__cause__ or found.__context__
    return Failure.of(error)

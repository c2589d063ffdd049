"""Inside a worker process: read a request, call the tool, write the result.

Rules of this module:
- One step at a time, in the order of the requests. A result is on its way before the next request is read, so that the
  parent knows what ran when a worker dies.
- Whatever a step raises is its failure: the worker lives on. Only a step that ends the process ends the worker.
- A process that a step forked never comes back into this loop.
"""

from __future__ import annotations

import os
import pickle
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from executor.backends.attempt_timing import CpuClock, TimedAttempt
from executor.backends.own_environment import own_environment
from executor.backends.pickling import PROTOCOL, NotPicklableError, dumps, failure_of, not_picklable
from executor.backends.processes.frames import (
    BODY_LIMIT_BYTES,
    FAILED,
    GOODBYE,
    HAS_FACTS,
    IS_NONE,
    NOTHING,
    PACKET_BYTES,
    READY,
    REFUSED,
    REQUEST,
    SETUP,
    SUCCEEDED,
    TOOLS,
    pack_result,
    read_rest,
    shared_page,
    write_all,
)
from executor.backends.processes.polling import Polling
from executor.backends.processes.worker_child_steps import ChildStepChannel
from executor.backends.worker_output import write_line_by_line
from executor.child_steps.step_context import Place, RunningStep, enter_place
from executor.record.outcomes import Failure
from executor.record.timeline import NANOSECONDS, AttemptOutcome
from executor.tools.tool import RunContext, Tool, ToolContext, ToolError, run_call
from executor.tracing.hooks import worker_tracing

if TYPE_CHECKING:
    import asyncio


class Ending(Protocol):
    """Whether the process was asked to end."""

    asked: bool


def serve(requests: int, results: int, outcomes: int, page: int, ending: type[Ending]) -> bool:
    """Get ready, then serve requests until there are no more. Returns whether the parent said goodbye; else it is
    gone.
    """
    first = os.read(requests, PACKET_BYTES)
    if not first:
        return False
    setup: dict[str, bytes] = pickle.loads(read_rest(requests, first, REQUEST.unpack_from(first)[4]))  # noqa: S301  # the parent's words
    run, tools, complaint = _unpack(setup)
    if complaint:
        write_all(results, pack_result(REFUSED, 0, 0, 0, NOTHING, NOTHING, len(complaint)), complaint)
        return True
    write_line_by_line()
    write_all(results, pack_result(READY, 0, 0, 0, NOTHING, NOTHING, 0), b"")
    loop = _EventLoop()
    server = _Server(requests, results, outcomes, shared_page(page), run, tools, loop.run, ending)
    try:
        return server.serve()
    finally:
        server.close_tools()
        loop.close()


class _EventLoop:
    """Made by its first coroutine and not before: most workers never need one, and its import takes as long as the rest
    of their start.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, awaitable: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        if self._runner is None:
            import asyncio  # noqa: PLC0415  # as the class says

            self._runner = asyncio.Runner()
        # By itself a runner keeps the context of its first coroutine.
        return self._runner.run(awaitable, context=copy_context())

    def close(self) -> None:
        """Close the loop, if there is one."""
        if self._runner is not None:
            self._runner.close()


def _unpack(setup: dict[str, bytes]) -> tuple[RunContext, dict[str, Tool], bytes]:
    """What all steps share; what cannot be had here is named in the last part."""
    run = RunContext()
    tools: dict[str, Tool] = {}
    what = "the inputs of the run"
    try:
        for name, data in setup.items():
            what = f"tool {name!r}" if name else "the inputs of the run"
            if name:
                tools[name] = pickle.loads(data)  # noqa: S301  # the parent's own words
            else:
                run = pickle.loads(data)  # noqa: S301  # the parent's own words
    except BaseException as error:  # noqa: BLE001  # importing the user's modules may raise anything
        return run, tools, f"{what} cannot be had in a worker process: {_describe(error)}".encode()
    # These imports are part of the start, and not of the first step.
    if any(tool.call is None and tool.call_async is not None for tool in tools.values()):
        import asyncio  # noqa: F401, PLC0415  # see above
    if run.trace is not None:
        import executor.tracing.worker_spans  # noqa: F401, PLC0415  # see above
    for tool in tools.values():
        # It saves time and nothing else: what is wrong shows again at the first call, as that call's failure.
        with suppress(Exception):
            tool.prepare()
    return run, tools, b""


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _close(tool: Tool, run_async: Callable[[Any], Any]) -> None:
    try:
        if type(tool).close_async is not Tool.close_async:
            run_async(tool.close_async())
        tool.close()
    except Exception:  # noqa: BLE001  # the run is over: reported, and no reason to leave the others open
        traceback.print_exc()


class _Server:
    """The loop over requests."""

    def __init__(
        self,
        requests: int,
        results: int,
        outcomes: int,
        page: memoryview,
        run: RunContext,
        tools: dict[str, Tool],
        run_async: Callable[[Any], Any],
        ending: type[Ending],
    ) -> None:
        self._requests = requests
        self._results = results
        self._page = page
        self._run = run
        self._tools = tools
        # Why those of the tools are not there that came later.
        self._lacking: dict[str, str] = {}
        self._run_async = run_async
        self._ending = ending
        self._pid = os.getpid()
        self._cpu = CpuClock()
        # Threads of a step that makes calls write, too.
        self._writing = threading.Lock()
        self._place = Place(caller=ChildStepChannel(self._write_frame, outcomes))
        self._tracing = worker_tracing(run.trace)
        self._polling = Polling()
        self._channel = select.poll()
        self._channel.register(requests, select.POLLIN)

    def serve(self) -> bool:
        requests = self._requests
        enter_place(self._place)
        if self._tracing is not None:
            self._tracing.enter(self._place)
        while first := os.read(requests, PACKET_BYTES):
            kind, polls, _, attempt, size = REQUEST.unpack_from(first)
            if kind == GOODBYE:
                return True
            try:
                body = read_rest(requests, first, size)
            except EOFError:
                return False
            if kind == TOOLS:
                self._take_tools(body)
            elif kind == SETUP:
                self._begin_again(body)
            else:
                self._serve_one(attempt, body)
                if polls:
                    self._polling.wait(self._channel)
        return False

    def _serve_one(self, attempt: int, body: bytes | memoryview) -> None:
        clock = time.perf_counter_ns
        try:
            tool_name, prompt, args, step_id, expected, timeout, devices = _arguments(body)
        except NotPicklableError as error:
            now = clock()
            self._fail(None, now, now, None, ("failed", failure_of(error)))
            return
        context = ToolContext(self._run, step_id, attempt, expected, timeout, devices)
        self._place.running = RunningStep(step_id, attempt, devices)
        if timeout is not None:
            self._page[0] = clock()
        with TimedAttempt(clock, self._cpu, failure_of) as run:
            tool = self._tools.get(tool_name) or self._no_tool(tool_name)
            if devices is None:
                run.value = run_call(tool, context, prompt, args, self._run_async)
            else:
                with own_environment(devices):
                    run.value = run_call(tool, context, prompt, args, self._run_async)
        value = run.value
        if run.outcome != "succeeded":
            self._leave_if_not_ours(value)
            self._fail(context, run.started, run.ended, run.cpu_seconds, (run.outcome, value))
            return
        if os.getpid() != self._pid:
            os._exit(0)
        flags = 0
        data = b""
        if facts := self._facts(context):
            flags = HAS_FACTS
            value = (value, facts)
        if value is None:
            flags = IS_NONE
        else:
            try:
                data = result_bytes(value)
            except NotPicklableError as error:
                self._fail(context, run.started, run.ended, run.cpu_seconds, ("failed", not_picklable(step_id, error)))
                return
        self._write(SUCCEEDED, flags, run.started, run.ended, run.cpu_seconds, context.tokens_used, data)

    def close_tools(self) -> None:
        """Let go of what the tools hold."""
        for tool in self._tools.values():
            _close(tool, self._run_async)

    def _begin_again(self, body: bytes | memoryview) -> None:
        """Another run begins, with its own context and tools."""
        self.close_tools()
        self._lacking.clear()
        self._run, self._tools, complaint = _unpack(_arguments(body))
        kind = REFUSED if complaint else READY
        self._tracing = None if complaint else worker_tracing(self._run.trace)
        if self._tracing is not None:
            self._tracing.enter(self._place)
        self._write_frame(pack_result(kind, 0, 0, 0, NOTHING, NOTHING, len(complaint)), complaint)

    def _take_tools(self, body: bytes | memoryview) -> None:
        """Tools that are called, and that no step of the file names. What is wrong with one is its first call's end."""
        for name, data in _arguments(body).items():
            try:
                self._tools[name] = tool = pickle.loads(data)  # noqa: S301  # the parent's own words
                tool.prepare()
            except BaseException as error:  # noqa: BLE001  # importing the user's modules may raise anything
                self._lacking[name] = f"tool {name!r} cannot be had in a worker process: {_describe(error)}"

    def _no_tool(self, name: str) -> NoReturn:
        raise ToolError(self._lacking.get(name, f"there is no tool {name!r}"), retryable=False)

    def _leave_if_not_ours(self, failure: Failure) -> None:
        """A forked process of the step's, or a worker that was asked to end, reports nothing."""
        if os.getpid() != self._pid:
            sys.stderr.write(failure.traceback)
            sys.stderr.flush()
            os._exit(1)
        if self._ending.asked:
            raise SystemExit(1)

    def _fail(
        self,
        context: ToolContext | None,
        started: int,
        ended: int,
        cpu_seconds: float | None,
        what: tuple[AttemptOutcome, Failure],
    ) -> None:
        tokens = None if context is None else context.tokens_used
        facts = self._facts(context)
        body = pickle.dumps((what, facts) if facts else what, PROTOCOL)
        self._write(FAILED, HAS_FACTS if facts else 0, started, ended, cpu_seconds, tokens, body)

    def _facts(self, context: ToolContext | None) -> dict[str, Any] | None:
        """What the tool said of its call, and the spans that its code opened."""
        facts = None if context is None else context.facts
        return facts if self._tracing is None else self._tracing.facts(self._place.running, facts)

    def _write(
        self,
        kind: int,
        flags: int,
        started: int,
        ended: int,
        cpu_seconds: float | None,
        tokens: int | None,
        body: bytes = b"",
    ) -> None:
        cpu = NOTHING if cpu_seconds is None else round(cpu_seconds * NANOSECONDS)
        head = pack_result(kind, flags, started, ended, cpu, NOTHING if tokens is None else tokens, len(body))
        self._write_frame(head, body)

    def _write_frame(self, head: bytes, body: bytes) -> None:
        with self._writing:
            write_all(self._results, head, body)


def result_bytes(value: Any) -> bytes:
    """What a step returned, as it is sent.

    Raises:
        NotPicklableError: it cannot be pickled, or is too large to be sent.
    """
    data = dumps(value, "its result")
    if len(data) > BODY_LIMIT_BYTES:
        raise NotPicklableError(f"its result has {len(data):,} bytes; at most {BODY_LIMIT_BYTES:,} can be sent")
    return data


def _arguments(body: bytes | memoryview) -> Any:
    try:
        return pickle.loads(body)  # noqa: S301  # the parent's own words
    except Exception as error:
        raise NotPicklableError(f"the arguments cannot be read in a worker process: {_describe(error)}") from error

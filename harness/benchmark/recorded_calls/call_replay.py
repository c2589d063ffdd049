"""Playing recorded calls: tools that wait as long as the recorded calls took, and end as they did.

Rules of this module:
- A caller is played without its code. It waits for its own running time and asks its calls in the same order, as many
  at once. It ends as recorded, whatever the results of these calls are. So its calls are steps like any other:
  scheduled, limited, tried again, traced, and their caller is blocked meanwhile.
- A played caller says which recorded call it asks for. Code that really runs (of tools that compute in Python) cannot:
  its calls are found by step, attempt and what it asks.
- Tools that really run in a replay are really asked, with the recorded arguments. Where JSON could not hold these, the
  call is played like that of any other tool.
- Each tool carries its own calls alone: worker processes get a copy of every tool.
- Nearly every wait is for calls that were asked together; that is asked in the shortest way. Where an attempt waited in
  several places, or gave up waiting, each place is asked, and withdrawn, in its time.
- What one wait for own time took too long is taken off the next: clocks wake a little late, event loops by a
  millisecond.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

from executor.child_steps.child_request import ChildRequest, Done, Outcomes, Withdraw
from executor.child_steps.step_context import current_place
from executor.model.workflow import Step, ToolDeclaration
from executor.node_runtime import StepOverError, call_tools_parallel, call_tools_parallel_async
from executor.tools.registry import Declared, resolve_tool, tool_kind_names
from executor.tools.tool import Tool, ToolContext, ToolError, ToolOptionsError, ToolTimeoutError
from executor.tools.toolbox import declarations_for
from harness.benchmark.recorded_calls.call_reading import RecordedRun
from harness.benchmark.recorded_calls.recorded_call import (
    Ask,
    Plan,
    RecordedCall,
    RecordingError,
    call_key,
    called_key,
    is_recorded,
)

Pause = Callable[[float], None]
# The one argument with which a played caller asks for a recorded call.
RECORDED_CALL: Final = "makespan.recorded_call"
_PLAYED: Final = "{} (as recorded)"
Calls = Mapping[str, Sequence[RecordedCall]]


def play(plan: Plan, asked: Mapping[str, ChildRequest], pause: Pause) -> None:
    """Play an attempt to its end in this thread. ``asked``: how each call is asked for. ``pause`` waits for so many
    seconds, and raises if the step is cancelled.

    Raises:
        StepOverError: the step is over.

    """
    late = 0.0
    for own_seconds, asks in zip(plan.own_seconds, (*plan.waits, ()), strict=True):
        began = time.perf_counter()
        pause(max(0.0, own_seconds - late))
        late = max(0.0, late + time.perf_counter() - began - own_seconds)
        if asks:
            _ask(asks, asked, pause)


async def play_async(plan: Plan, asked: Mapping[str, ChildRequest]) -> None:
    """The same for coroutines."""
    late = 0.0
    for own_seconds, asks in zip(plan.own_seconds, (*plan.waits, ()), strict=True):
        began = time.perf_counter()
        await asyncio.sleep(max(0.0, own_seconds - late))
        late = max(0.0, late + time.perf_counter() - began - own_seconds)
        if asks:
            await _ask_async(asks, asked)


def _ask(asks: Sequence[Ask], asked: Mapping[str, ChildRequest], pause: Pause) -> None:
    if _is_plain(asks):
        call_tools_parallel(_calls(asks[0], asked), asks[0].at_once, return_exceptions=True)
        return
    place = current_place()
    if place is None or place.caller is None:
        # It says why there is no way.
        call_tools_parallel(_calls(asks[0], asked), return_exceptions=True)
        return

    def begin(one: Ask, done: Done) -> Withdraw:
        withdraw: Withdraw = place.caller.begin(place.running, _calls(one, asked), one.at_once, done)
        return withdraw

    _Places(asks).play(begin, pause)


async def _ask_async(asks: Sequence[Ask], asked: Mapping[str, ChildRequest]) -> None:
    if _is_plain(asks):
        await call_tools_parallel_async(_calls(asks[0], asked), asks[0].at_once, return_exceptions=True)
        return
    ends = await asyncio.gather(*(_ask_in_time(one, asked) for one in asks), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _ask_in_time(one: Ask, asked: Mapping[str, ChildRequest]) -> None:
    await asyncio.sleep(one.after_seconds)
    try:
        async with asyncio.timeout(one.withdrawn_after_seconds):
            await call_tools_parallel_async(_calls(one, asked), one.at_once, return_exceptions=True)
    except TimeoutError:
        # It was withdrawn, as it was when it was recorded.
        return


def _is_plain(asks: Sequence[Ask]) -> bool:
    return len(asks) == 1 and not asks[0].after_seconds and asks[0].withdrawn_after_seconds is None


def _calls(one: Ask, asked: Mapping[str, ChildRequest]) -> list[ChildRequest]:
    return [asked[step_id] for step_id in one.calls]


class _Places:
    """The places in which one thread waits at once. ``begin`` asks and returns what withdraws."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self._asks = asks
        self._arrived: set[int] = set()
        self._withdrawn: set[int] = set()
        self._is_over = False
        self._news = threading.Condition()

    def play(self, begin: Callable[[Ask, Done], Withdraw], pause: Pause) -> None:
        """Ask each place in its time, withdraw what was withdrawn, and wait for all."""
        began = time.monotonic()
        withdraws: dict[int, Withdraw] = {}
        for at, is_withdrawal, place in self._agenda():
            if is_withdrawal:
                self._wait_for(partial(self._arrived.__contains__, place), began + at)
                if place not in self._arrived:
                    self._withdrawn.add(place)
                    withdraws[place]()
                continue
            pause(max(0.0, began + at - time.monotonic()))
            withdraws[place] = begin(self._asks[place], partial(self._arrive, place))
        self._wait_for(lambda: len(self._arrived) == len(self._asks), None)
        if self._is_over:
            raise StepOverError("the step was cancelled, timed out or has ended: its calls are cancelled")

    def _agenda(self) -> list[tuple[float, bool, int]]:
        agenda = [(one.after_seconds, False, place) for place, one in enumerate(self._asks)]
        for place, one in enumerate(self._asks):
            if one.withdrawn_after_seconds is not None:
                agenda.append((one.after_seconds + one.withdrawn_after_seconds, True, place))
        return sorted(agenda)

    def _arrive(self, place: int, outcomes: Outcomes) -> None:
        with self._news:
            self._arrived.add(place)
            # Calls that are withdrawn before they were made come to nothing either.
            self._is_over |= outcomes is None and place not in self._withdrawn
            self._news.notify_all()

    def _wait_for(self, happened: Callable[[], bool], until: float | None) -> None:
        """Wait until it happened, or it is time, or the step is over."""
        with self._news:
            left = None if until is None else max(0.0, until - time.monotonic())
            self._news.wait_for(lambda: self._is_over or happened(), left)


def with_replay(tools: Mapping[str, Declared], steps: Sequence[Step], run: RecordedRun) -> dict[str, Declared]:
    """The tools, of which those that cost something answer as they did. ``steps`` are those of the file.

    Raises:
        RecordingError: recorded code called a tool that is not there any more.

    """
    of_steps = {step.step_id: step.tool for step in steps}
    by_tool: dict[str, dict[str, Sequence[RecordedCall]]] = {}
    for step_id, attempts in run.calls.items():
        # Older files do not say whose calls they are.
        name = attempts[0].tool or of_steps.get(step_id)
        if name is not None:
            by_tool.setdefault(name, {})[step_id] = attempts
    # Code that really runs may call any of them, recorded or not.
    names = {*tools, *tool_kind_names(), *by_tool, *(name for name in of_steps.values() if name is not None)}
    declarations = declarations_for(names, tools)
    really_run = {name for name in names if not _is_played(name, tools)}
    called = {step_id: attempts[0] for step_id, attempts in run.calls.items() if attempts[0].called}
    for call in called.values():
        if call.tool not in declarations:
            raise RecordingError(
                f"the recorded code of step {call.parent!r} called the tool {call.tool!r}, which is not there any "
                "more: declare it, or record again"
            )
    asked = {step_id: _asked(call, really_run) for step_id, call in called.items()}
    found = dict(tools)
    for name in declarations.keys() - really_run:
        found[name] = ReplayTool(name, by_tool.get(name, {}), asked, declarations[name])
    for name in really_run & by_tool.keys():
        calls = by_tool[name]
        if any(asked[step_id].tool != name for step_id in calls if step_id in asked):
            found[_PLAYED.format(name)] = ReplayTool(_PLAYED.format(name), calls, asked, declarations[name])
    return found


def _is_played(name: str, tools: Mapping[str, Declared]) -> bool:
    try:
        return is_recorded(resolve_tool(name, tools))
    except ToolOptionsError:
        # It cannot be called.
        return False


def _asked(call: RecordedCall, really_run: set[str]) -> ChildRequest:
    """How a played caller asks for a call."""
    assert call.tool is not None
    if call.tool in really_run and call.args is not None:
        return ChildRequest(call.tool, call.prompt, call.args)
    name = _PLAYED.format(call.tool) if call.tool in really_run else call.tool
    return ChildRequest(name, None, {RECORDED_CALL: call.step_id})


class ReplayTool(Tool):
    """Waits as long as the recorded call took, asks what it asked, and ends as it did. ``asked``: how the calls of a
    run are asked for, by id.
    """

    kind = "replay"
    may_call = True

    def __init__(
        self, name: str, calls: Calls, asked: Mapping[str, ChildRequest], declaration: ToolDeclaration
    ) -> None:
        super().__init__(name)
        self.declaration = declaration
        self.calls = calls
        plans = [call.plan for attempts in calls.values() for call in attempts if call.plan is not None]
        needed = {step_id for plan in plans for wait in plan.waits for one in wait for step_id in one.calls}
        self.asked = {step_id: asked[step_id] for step_id in needed}

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Play it, then end as recorded."""
        found, known = self._found(context, prompt, args)
        cancelled = threading.Event()
        context.on_cancel(cancelled.set)

        def pause(seconds: float) -> None:
            if cancelled.wait(min(seconds, threading.TIMEOUT_MAX)):
                raise ToolError(f"tool {self.name!r}: cancelled", retryable=False)

        if found.plan is None:
            pause(found.seconds)
        else:
            play(found.plan, self.asked, pause)
        if known and found.outcome == "cancelled":
            # The step that asked for it withdraws it in its time.
            pause(threading.TIMEOUT_MAX)
        return self._end(context, found)

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Play it without a thread, then end as recorded."""
        found, known = self._found(context, prompt, args)
        if found.plan is None:
            await asyncio.sleep(found.seconds)
        else:
            await play_async(found.plan, self.asked)
        if known and found.outcome == "cancelled":
            await asyncio.get_running_loop().create_future()
        return self._end(context, found)

    # ------------------------------------------------------------------ which call

    def _found(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> tuple[RecordedCall, bool]:
        """The recorded attempt, and whether a played caller named it. Where there were fewer attempts, it is the last:
        a timeout may come a little sooner today.
        """
        named = args.get(RECORDED_CALL)
        step_id = context.step_id if named is None else named
        attempts = self.calls.get(step_id, ())
        if named is None and not (attempts and _is_same(attempts[0], prompt, args)):
            attempts = self._sibling(step_id, prompt, args)
        if not attempts:
            self._refuse(context)
        return attempts[min(context.attempt, len(attempts)) - 1], named is not None

    def _sibling(self, step_id: str, prompt: str | None, args: Mapping[str, Any]) -> Sequence[RecordedCall]:
        """Code that calls from several places at once, or was cut short elsewhere, makes its calls in another order."""
        parent, key = step_id.rpartition("/")[0], called_key(prompt, args)
        return next(
            (
                attempts for attempts in self.calls.values()
                if attempts[0].called and attempts[0].parent == parent and attempts[0].key == key
            ),
            (),
        )  # fmt: skip

    def _refuse(self, context: ToolContext) -> NoReturn:
        raise ToolError(
            f"tool {self.name!r}: the recording holds no attempt {context.attempt} of step {context.step_id!r} "
            "with this prompt and these arguments: record it again",
            retryable=False,
        )

    # ------------------------------------------------------------------ its end

    def _end(self, context: ToolContext, found: RecordedCall) -> Any:
        if found.tokens_used is not None:
            context.record_tokens(found.tokens_used)
        if found.outcome == "succeeded":
            return found.output
        message = f"tool {self.name!r}: {found.outcome}, as recorded" if found.error is None else found.error
        if found.outcome == "timed_out":
            raise ToolTimeoutError(message)
        retryable = not found.last and found.outcome != "cancelled"
        raise _error_named(found.error_type)(message, retryable=retryable)


def _error_named(name: str | None) -> Callable[..., ToolError]:
    """A kind of error by the recorded name: that is what reports, and code that catches it, know of an error."""
    return ToolError if name is None else type(name, (ToolError,), {})


def _is_same(call: RecordedCall, prompt: str | None, args: Mapping[str, Any]) -> bool:
    return call.key == (called_key if call.called else call_key)(prompt, args)

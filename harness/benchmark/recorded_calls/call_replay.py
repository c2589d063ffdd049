"""Playing recorded calls: tools that wait as long as the recorded calls took, and end as they did.

Rules of this module:
- A caller is played without its code: it waits for its own running time, asks its calls in the same order and as many
  at once, and ends as recorded, whatever these calls come to. So they are steps like any other call: scheduled,
  limited, tried again, traced, and their caller is blocked meanwhile.
- A played caller says which recorded call it asks for. Code that really runs (of tools that compute in Python) cannot:
  its calls are found by step, attempt and what it asks.
- Tools that really run in a replay are really asked, with the recorded arguments. Where JSON could not hold these, the
  call is played like that of any other tool.
- Each tool carries its own calls alone: worker processes get a copy of every tool.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from executor.child_steps.child_request import ChildRequest
from executor.model.workflow import Step, ToolDeclaration
from executor.tools.registry import Declared, resolve_tool, tool_kind_names
from executor.tools.tool import Tool, ToolContext, ToolError, ToolOptionsError, ToolTimeoutError
from executor.tools.toolbox import declarations_for
from harness.benchmark.recorded_calls.call_reading import RecordedRun
from harness.benchmark.recorded_calls.playing_callers import play, play_async
from harness.benchmark.recorded_calls.recorded_call import (
    RecordedCall,
    RecordingError,
    call_key,
    called_key,
    is_recorded,
)

# The one argument with which a played caller asks for a recorded call.
RECORDED_CALL: Final = "makespan.recorded_call"
_PLAYED: Final = "{} (as recorded)"

Calls = Mapping[str, Sequence[RecordedCall]]


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
        # Nobody can call it.
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
            # Whoever asked for it withdraws it in its time.
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

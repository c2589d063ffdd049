"""Calling tools from code that a step runs: one after the other, or several in parallel. The calls are steps, too.

>>> from executor import Step, Workflow, run
>>> def shout(text): return text.upper()
>>> def both(): return call_tools_parallel([("shout", "a", {}), ("shout", "b", {})])
>>> run(Workflow(steps=(Step(step_id="x", tool="both"),)), tools={"shout": shout, "both": both}).outputs
{'x/1': 'A', 'x/2': 'B', 'x': ['A', 'B']}

In a node, and in scripts that stay free of this package's name, it is imported as ``node_runtime``.

Rules of this module:
- The tools that can be called are those of the run: declared ones and built-in kinds, with their limits and retries.
- While it waits, the calling step holds neither worker nor limits.
- Results come in the order of the calls. A call that fails is a :class:`CallError` that names it and keeps the rest.
- Outside of any run calls go to a small engine of the script's own, so that such code can be tried by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from executor.child_steps.child_request import ChildRequest, Outcome, Outcomes
from executor.child_steps.step_context import Place, current_place, current_step, runs_somewhere
from executor.record.outcomes import Failure
from executor.tools.node_path import node_calls
from executor.tools.node_path.node_calls import (
    CallError,
    StepOverError,
    call_llm,
    call_llm_async,
    call_tool,
    call_tool_async,
    call_tool_resilient,
    call_tool_resilient_async,
    call_tools_parallel,
    call_tools_parallel_async,
    step_devices,
)

if TYPE_CHECKING:
    from executor.model.workflow import Resource
    from executor.tools.node_path.node_calls import Ended, Made
    from executor.tools.registry import Declared

__all__ = [
    "CallError", "StepOverError", "call_llm", "call_llm_async", "call_tool", "call_tool_async", "call_tool_resilient",
    "call_tool_resilient_async", "call_tools_parallel", "call_tools_parallel_async", "declare_tools",
    "step_devices",
]  # fmt: skip

# The one step of a run that is made for a script.
SCRIPT = "script"

_declared: dict[str, Any] = {}
_resources: dict[str, Any] = {}


def declare_tools(tools: Mapping[str, Declared], resources: Mapping[str, Resource] | None = None) -> None:
    """Say which tools a script run by hand may call, as :func:`executor.run` takes them. In a run it does nothing:
    there the run's tools hold.
    """
    _declared.update(tools)
    _resources.update(resources or {})


class _PlaceTransport(node_calls.Transport):
    """Calls of code that knows its place: see :class:`executor.tools.node_path.node_calls.Transport`."""

    def call(self, calls: list[Made], at_once: int | None) -> list[Ended] | None:
        asked = [ChildRequest(*call) for call in calls]
        place = _place()
        if place is None:
            return _ended(_by_own_engine(asked, at_once))
        return _ended(place.caller.call(place.running, asked, at_once))

    async def call_async(self, calls: list[Made], at_once: int | None) -> list[Ended] | None:
        asked = [ChildRequest(*call) for call in calls]
        place = _place()
        if place is None:
            return _ended(await asyncio.to_thread(_by_own_engine, asked, at_once))
        return _ended(await place.caller.call_async(place.running, asked, at_once))


def _devices() -> dict[str, tuple[str, ...]]:
    running = current_step()
    if running is None:
        return node_calls.devices_of_environment()
    return {kind: tuple(ids) for kind, ids in (running.devices or {}).items()}


def _ended(outcomes: Outcomes) -> list[Ended] | None:
    return None if outcomes is None else [(step_id, output, _told(failure)) for step_id, output, failure in outcomes]


def _told(failure: Failure | None) -> tuple[str, str, str, bool] | None:
    return None if failure is None else (failure.error_type, failure.message, failure.traceback, failure.retryable)


def _place() -> Place | None:
    """Where the calls are made from; None outside of any run."""
    place = current_place()
    if place is None or place.running is None:
        if runs_somewhere():
            raise RuntimeError(
                "this thread does not know which step it works for: start it with asyncio.to_thread, or with "
                "contextvars.copy_context().run, so that its calls can be scheduled"
            )
        return None
    if place.caller is None:
        raise RuntimeError(
            "steps cannot call tools on this executor: there is no way back from its workers. Use threads, asyncio, "
            "processes or serial"
        )
    return place


def _by_own_engine(calls: list[ChildRequest], at_once: int | None) -> Outcomes:
    """No run is under way: make one, of a single step that makes the calls."""
    from executor.model.workflow import Step, Workflow  # noqa: PLC0415  # as above
    from executor.running import run  # noqa: PLC0415  # only scripts that are run by hand need it

    found: list[Outcomes] = []

    def script() -> None:
        place = current_place()
        assert place is not None
        found.append(place.caller.call(place.running, calls, at_once))

    run(
        Workflow(workflow_id=SCRIPT, steps=(Step(step_id=SCRIPT, tool=SCRIPT),)),
        tools={**_declared, SCRIPT: script},
        resources=_resources,
    )
    return [_explained(outcome) for outcome in found[0] or ()] if found else None


def _explained(outcome: Outcome) -> Outcome:
    failure = outcome.failure
    if failure is None or failure.error_type != "UnknownTool":
        return outcome
    hint = f"{failure.message} (no run is under way: say what it is with node_runtime.declare_tools, or run a scenario)"
    return Outcome(None, None, Failure(failure.error_type, hint, retryable=False))


node_calls.transport = _PlaceTransport()
node_calls.find_devices = _devices
# A function that travels to another process takes these along by name: with this one, the transport is there too.
for _name in node_calls.PUBLIC:
    getattr(node_calls, _name).__module__ = __name__

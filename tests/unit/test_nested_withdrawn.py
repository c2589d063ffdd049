"""Calls that their step gives up: none of them is made afterwards."""

from __future__ import annotations

import asyncio

from executor import Resource, Step, Workflow, run
from executor.model.workflow import ToolDeclaration
from executor.node_runtime import call_tool_async

BEGAN: list[str] = []


async def nap() -> None:
    BEGAN.append("nap")


async def turns(count: int = 10) -> None:
    """Let the others of the event loop have their turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_calls_given_up_while_their_step_waits_to_resume_are_not_made() -> None:
    BEGAN.clear()
    both_hold, leave = asyncio.Event(), asyncio.Event()

    async def hold(name: str) -> None:
        BEGAN.append(name)
        if len(BEGAN) == 2:
            both_hold.set()
        await leave.wait()

    async def gives_up() -> str:
        first = asyncio.ensure_future(call_tool_async("nap"))
        # It waits for the limit that one holds, so that the other gets the slot of this step.
        await both_hold.wait()
        first.cancel()
        await turns()
        # This step has no call any more, and no slot to go on with.
        second = asyncio.ensure_future(call_tool_async("nap"))
        await turns()
        second.cancel()
        await turns()
        leave.set()
        await asyncio.wait([first, second])
        return "gave up"

    steps = (
        Step(step_id="limit", tool="hold", args={"name": "limit"}, needs={"llm": 1}, priority=2),
        Step(step_id="x", tool="gives_up", priority=1),
        Step(step_id="slot", tool="hold", args={"name": "slot"}),
    )
    nap_tool = ToolDeclaration.model_validate({"kind": "python", "callable": f"{__name__}:nap", "needs": {"llm": 1}})
    done = run(
        Workflow(steps=steps),
        tools={"hold": hold, "gives_up": gives_up, "nap": nap_tool},
        resources={"llm": Resource(capacity=1)},
        backend="asyncio",
        workers=2,
    )
    assert BEGAN == ["limit", "slot"]
    assert done.statuses == {"limit": "succeeded", "x": "succeeded", "slot": "succeeded", "x/1": "cancelled"}

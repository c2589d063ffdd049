"""What drawn steps do where they are really run: wait, call others, fail or not, and note what they see.

Rules of this module:
- A called step is a step of the run like any other, with the limits, retries and timeouts that were drawn for it. What
  it is to do is under a key, which its call carries.
- A step's output shows which prompt it saw and what its calls gave: it shows whether all arrived.
- Whatever can be written in more than one way is: plain functions and coroutines, with and without a context, calls
  one by one, in a batch, from several places at once. Which way is decided by the run's seed, workers and policy, and
  the step's key.
- Every step notes when it began, called, went on and ended, from whatever process it is in: a witness of the record.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from executor.child_steps.child_request import ChildRequest
from executor.child_steps.child_step import ChildStep
from executor.child_steps.step_context import current_step
from executor.node_runtime import (
    CallError,
    call_tool,
    call_tool_async,
    call_tools_parallel,
    call_tools_parallel_async,
)
from executor.record.outcomes import Failure
from executor.record.timeline import NANOSECONDS, AttemptOutcome
from executor.tools.tool import Tool, ToolContext
from executor.tools.toolbox import Toolbox
from harness.testing.drawing.behaviour import AttemptPlan, Behaviour, Child, StepPlan, output_of

DEATH_STATUS = 13
GIVEN_UP = "given up"
PATIENCE_SECONDS = 0.0004
_NO_CHILD = ChildStep(step_id="call")


class Batch(NamedTuple):
    """Calls made together: (tool, key) each. ``at_once``: so many of them; ``apart``: each from a place of its own;
    ``patience``: after so many seconds a coroutine waits for them no more.
    """

    calls: tuple[tuple[str, str], ...]
    at_once: int | None = None
    apart: bool = False
    patience: float | None = None


class Doing(NamedTuple):
    """One attempt: how long it waits before each of its batches, and at last before its end."""

    waits: tuple[float, ...]
    batches: tuple[Batch, ...]
    outcome: AttemptOutcome
    tokens: int | None


class Drawn(NamedTuple):
    """All that is done in a run, by key, and the words of the called steps; ``tools`` by key. The key of a step of the
    workflow is its id.
    """

    doings: dict[str, tuple[Doing, ...]]
    words: dict[str, ChildStep]
    tools: dict[str, str]


def drawn_steps(behaviour: Behaviour, *, steady: bool) -> Drawn:
    """What the steps of a run do. ``steady``: no attempt ends before its plan does, so calls need not be made in one
    batch to be identified afterwards; else their callers give some up.
    """
    drawn = Drawn({}, {}, {})
    salt = f"{behaviour.seed} {behaviour.workers} {behaviour.policy}"
    turn = _chance(salt, len(FOLLOWING))
    ways = [*list(FOLLOWING)[turn:], *list(FOLLOWING)[:turn]]
    # Where all do it in one way, steps of one tool follow one another.
    if _chance(f"{salt} only", 2):
        ways = ways[:1]
    todo: list[tuple[str, StepPlan, Child | None]] = [(name, plan, None) for name, plan in behaviour.steps.items()]
    while todo:
        key, plan, child = todo.pop()
        drawn.tools[key] = tool = _tool_for(key, plan, ways)
        if child is not None:
            drawn.words[key] = _NO_CHILD.model_copy(update={**child.step.__dict__, "tool": tool})
        # The items of a mapped step have its tool, and no key but their ids.
        for name, part in (*((f"{key}/{place}", item) for place, item in enumerate(plan.items, 1)), (key, plan)):
            children = dict(_children(name, part))
            todo += [(other, one.plan, one) for other, one in children.items()]
            tools = {other: _tool_for(other, one.plan, ways) for other, one in children.items()}
            drawn.doings[name] = tuple(
                _doing(f"{name}:{number}", one, tools, steady) for number, one in enumerate(part.attempts)
            )
    return drawn


def _children(key: str, plan: StepPlan) -> Iterator[tuple[str, Child]]:
    for number, attempt in enumerate(plan.attempts):
        for place, call in enumerate(attempt.calls):
            for which, child in enumerate(call.children):
                yield f"{key}:{number}.{place}.{which}", child


def _doing(key: str, plan: AttemptPlan, tools: Mapping[str, str], steady: bool) -> Doing:
    waits = []
    batches = []
    at = 0
    for place, call in enumerate(plan.calls):
        waits.append((call.offset_ns - at) / NANOSECONDS)
        at = call.offset_ns
        keys = [f"{key}.{place}.{which}" for which in range(len(call.children))]
        # Those that depend on each other have to come together.
        free = not any(child.step.depends_on for child in call.children)
        batches.append(_batch(f"{key}.{place}", tuple((tools[one], one) for one in keys), free, steady))
    waits.append((plan.duration_ns - at) / NANOSECONDS)
    return Doing(tuple(waits), tuple(batches), plan.outcome, plan.tokens_used)


def _batch(key: str, calls: tuple[tuple[str, str], ...], free: bool, steady: bool) -> Batch:
    way = _chance(f"{key} way", 4)
    if not steady:
        return Batch(calls, patience=PATIENCE_SECONDS * (1 + _chance(f"{key} patience", 8)) if way < 3 else None)
    if not free or len(calls) == 1 or way > 1:
        return Batch(calls)
    return Batch(calls, apart=True) if way else Batch(calls, at_once=1 + _chance(f"{key} at once", len(calls)))


def _chance(text: str, sides: int) -> int:
    return zlib.crc32(text.encode()) % sides


def _tool_for(key: str, plan: StepPlan, ways: Sequence[str]) -> str:
    """The tool that does it. Only those with a context can report how many tokens they used."""
    reports = any(attempt.tokens_used is not None for part in (plan, *plan.items) for attempt in part.attempts)
    names = [name for name in ways if not (reports and FOLLOWING[name].alone)] or ["either_way"]
    return names[_chance(key, len(names))]


class DrawnToolbox(Toolbox):
    """The toolbox of a drawn run: a call is the step that was drawn for its key."""

    def __init__(self, drawn: Drawn, declared: Mapping[str, Tool], tools: Mapping[str, Tool]) -> None:
        super().__init__(declared, None, tools)
        self._words = drawn.words

    def step(self, call: ChildRequest) -> ChildStep | Failure:
        """The drawn step; its tool is made as for any call."""
        made = super().step(call)
        return made if isinstance(made, Failure) else self._words[call.args["key"]].with_request(call.prompt, call.args)


# ------------------------------------------------------------------ the tools


class Following(Tool):
    """Does what was drawn. ``alone``: it is called without a context. ``notes``: the file of what the steps saw."""

    kind = "drawn"
    summary = "waits, calls and fails as drawn"
    alone = False

    def __init__(self, name: str, doings: Mapping[str, Sequence[Doing]], notes: str) -> None:
        super().__init__(name)
        self._doings = doings
        self._notes = notes

    def follow(self, key: str | None, prompt: str | None, context: ToolContext | None = None) -> Any:
        """Do it in this thread."""
        doing, seen = self._begin(key, context)
        results: list[Any] = []
        for wait, batch in zip(doing.waits, doing.batches, strict=False):
            if wait:
                time.sleep(wait)
            seen.note("called")
            results += _call(batch)
            seen.note("resumed")
        if doing.waits[-1]:
            time.sleep(doing.waits[-1])
        return self._end(doing, seen, prompt, results, context)

    async def follow_async(self, key: str | None, prompt: str | None, context: ToolContext | None = None) -> Any:
        """The same without a thread."""
        doing, seen = self._begin(key, context)
        results: list[Any] = []
        for wait, batch in zip(doing.waits, doing.batches, strict=False):
            if wait:
                await asyncio.sleep(wait)
            seen.note("called")
            try:
                async with asyncio.timeout(batch.patience):
                    found = await _call_async(batch)
            except TimeoutError:
                seen.note("gave_up")
                found = [GIVEN_UP] * len(batch.calls)
            seen.note("resumed")
            results += found
        if doing.waits[-1]:
            await asyncio.sleep(doing.waits[-1])
        return self._end(doing, seen, prompt, results, context)

    def _begin(self, key: str | None, context: ToolContext | None) -> tuple[Doing, _Witness]:
        running = current_step()
        if running is None:
            raise LookupError("this code does not know which step it works for")
        if context is not None and (context.step_id, context.attempt) != (running.step_id, running.attempt):
            raise LookupError(f"the code of step {context.step_id!r} takes itself for step {running.step_id!r}")
        attempts = self._doings[running.step_id if key is None else key]
        seen = _Witness(self._notes, running.step_id, running.attempt)
        seen.note("began")
        return attempts[min(running.attempt, len(attempts)) - 1], seen

    def _end(
        self, doing: Doing, seen: _Witness, prompt: str | None, results: list[Any], context: ToolContext | None
    ) -> Any:
        if doing.tokens is not None and context is not None:
            context.record_tokens(doing.tokens)
        seen.note("ended")
        if doing.outcome == "worker_died":
            os._exit(DEATH_STATUS)
        if doing.outcome != "succeeded":
            raise RuntimeError("this attempt was drawn to fail")
        return output_of(seen.step_id, [prompt, *results])


class InThread(Following):
    """A plain function that knows its context."""

    def call(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait in this thread."""
        return self.follow(args.get("key"), prompt, context)


class AsCoroutine(Following):
    """A coroutine function that knows its context."""

    async def call_async(self, context: ToolContext, prompt: str | None, args: Mapping[str, Any]) -> Any:
        """Wait without a thread."""
        return await self.follow_async(args.get("key"), prompt, context)


class EitherWay(InThread, AsCoroutine):
    """Both: the backend has the choice."""


class Alone(InThread):
    """A plain function and nothing else."""

    alone = True

    def direct(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Any]:
        """Without a context."""
        return partial(self.follow, args.get("key"), prompt)


class CoroutineAlone(AsCoroutine):
    """A coroutine function and nothing else."""

    alone = True

    def direct(self, prompt: str | None, args: Mapping[str, Any]) -> Callable[[], Any]:
        """Without a context."""
        return partial(self.follow_async, args.get("key"), prompt)


FOLLOWING: Mapping[str, type[Following]] = {
    "in_thread": InThread, "as_coroutine": AsCoroutine, "either_way": EitherWay, "alone": Alone,
    "coroutine_alone": CoroutineAlone,
}  # fmt: skip
"""The tools by name."""


# ------------------------------------------------------------------ calls


def result_of(found: Any) -> Any:
    """What of a call's result enters the caller's output: the output, or what kind of error it was."""
    return f"{found.step_id} {found.error_type}" if isinstance(found, CallError) else found


def _asked(batch: Batch) -> list[tuple[str, None, dict[str, str]]]:
    return [(tool, None, {"key": key}) for tool, key in batch.calls]


def _call(batch: Batch) -> list[Any]:
    if batch.apart:
        # In a loop of its own: threads would come in any order, and ids go by it.
        return asyncio.run(_call_async(batch))
    if len(batch.calls) == 1:
        return [_call_one(*batch.calls[0])]
    found = call_tools_parallel(_asked(batch), max_workers=batch.at_once, return_exceptions=True)
    return [result_of(one) for one in found]


def _call_one(tool: str, key: str) -> Any:
    try:
        return call_tool(tool, key=key)
    except CallError as error:
        return result_of(error)


async def _call_async(batch: Batch) -> list[Any]:
    if batch.apart:
        return await asyncio.gather(*(_call_one_async(tool, key) for tool, key in batch.calls))
    if len(batch.calls) == 1:
        return [await _call_one_async(*batch.calls[0])]
    found = await call_tools_parallel_async(_asked(batch), max_workers=batch.at_once, return_exceptions=True)
    return [result_of(one) for one in found]


async def _call_one_async(tool: str, key: str) -> Any:
    try:
        return await call_tool_async(tool, key=key)
    except CallError as error:
        return result_of(error)


# ------------------------------------------------------------------ what they saw


class Seen(NamedTuple):
    """One note: ``began``, ``called``, ``gave_up``, ``resumed`` or ``ended``, by the clock that all processes share."""

    what: str
    step_id: str
    attempt: int
    time_ns: int


class _Witness:
    """Writes the notes of one attempt."""

    def __init__(self, path: str, step_id: str, attempt: int) -> None:
        self._path = path
        self.step_id = step_id
        self._attempt = attempt

    def note(self, what: str) -> None:
        """A line at once, whole, from any process. One that goes on when all is over has no listener."""
        line = f"{what} {self._attempt} {time.perf_counter_ns()} {self.step_id}\n"
        try:
            place = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return
        try:
            os.write(place, line.encode())
        finally:
            os.close(place)


def read_notes(path: str) -> list[Seen]:
    """All notes of a run, in the order in which they were written."""
    lines = [line.split(" ", 3) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Seen(what, step_id, int(attempt), int(time_ns)) for what, attempt, time_ns, step_id in lines]

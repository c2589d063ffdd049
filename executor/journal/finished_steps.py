"""Gives the results of an earlier run to a later one: an :class:`executor.engine.keeping.EarlierResults`.

Rules of this module:
- A result is given only for the same call: tool by name, declaration and code, prompt, arguments.
- Each result of a call or item is given once: what a step asks for five times was done five times.
- A step that must not be done twice, and of which nobody knows, is left to the person: it runs, or is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from executor.engine.keeping import Asked, Found
from executor.journal.earlier_run import CallKey, EarlierRun, Finished
from executor.model.workflow import Step
from executor.tools.identity import CallIdentity, ToolIdentity, call_identity, tool_identity
from executor.tools.tool import Tool

Unsure = Literal["rerun", "skip"]


class FinishedSteps:
    """The results of one journal. ``rerun``: steps that are done again with all below them; ``skipped``: ids of steps
    that are left out.
    """

    def __init__(self, earlier: EarlierRun, rerun: Collection[str] = (), skipped: Collection[str] = ()) -> None:
        self.earlier = earlier
        self.reused: dict[str, Finished] = {}
        self._rerun = set(rerun)
        self._below_rerun = tuple(f"{step_id}/" for step_id in rerun)
        self._calls = {key: list(calls) for key, calls in earlier.calls.items()}
        self._tools: dict[int, ToolIdentity] = {}
        self._skipped, self._skipped_calls = self._left_out(skipped)
        self._parents = {key.parent for key in (*self._calls, *self._skipped_calls)}

    def _left_out(self, skipped: Collection[str]) -> tuple[set[str], dict[CallKey, int]]:
        steps: set[str] = set()
        calls: dict[CallKey, int] = {}
        for step_id in skipped:
            told = self.earlier.last[step_id]
            parent = told.more.get("parent")
            if parent is None:
                steps.add(step_id)
            else:
                key = CallKey(parent, told.tool, told.prompt, told.args)
                calls[key] = calls.get(key, 0) + 1
        return steps, calls

    def may_know(self, step: Step, step_id: str, parent: str | None) -> bool:
        """See :class:`.EarlierResults`."""
        if parent is None:
            return (step_id in self.earlier.steps and step_id not in self._rerun) or step_id in self._skipped
        return parent in self._parents and parent not in self._rerun and not step_id.startswith(self._below_rerun)

    def find(self, asked: Asked) -> Found | None:
        """See :class:`.EarlierResults`."""
        finished = self._find(asked)
        if finished is None or isinstance(finished, Found):
            return finished
        output = self.earlier.outputs.read(dict(finished.end.more))
        self.reused[asked.step_id] = finished
        return Found("reused", output)

    def _find(self, asked: Asked) -> Finished | Found | None:
        if asked.parent is None:
            if asked.step_id in self._skipped:
                return Found("left_out")
            finished = self.earlier.steps.get(asked.step_id)
            return None if finished is None or next(self.differences(finished, asked), None) else finished
        identity = call_identity(asked.tool, asked.prompt, asked.args)
        key = CallKey(asked.parent, asked.step.tool, *identity)
        if self._skipped_calls.get(key):
            self._skipped_calls[key] -= 1
            return Found("left_out")
        calls = self._calls.get(key)
        if not calls or next(self.differences(calls[-1], asked, identity), None):
            return None
        return calls.pop()

    def differences(self, finished: Finished, asked: Asked, identity: CallIdentity | None = None) -> Iterator[str]:
        """What keeps a result from being used, in words that go on behind the name of the step and a colon."""
        end = finished.end
        if "lost" in end.more:
            yield f"its output could not be kept: {end.more['lost']}"
        if end.tool != asked.step.tool:
            yield f"its tool was {end.tool!r} and is {asked.step.tool!r}"
            return
        now = self._identity(asked.tool)
        then = finished.tool or ToolIdentity(None, None)
        if then.declaration is None or then.declaration != now.declaration:
            yield f"the declaration of its tool {end.tool!r} has changed"
        if then.code is None or then.code != now.code:
            yield f"the code of its tool {end.tool!r} has changed"
        prompt, args = identity or call_identity(asked.tool, asked.prompt, asked.args)
        if end.prompt is None or end.prompt != prompt:
            yield "its prompt has changed"
        if end.args is None or args is None:
            yield "its arguments cannot be compared: JSON cannot hold them"
        elif end.args != args:
            yield "its arguments have changed"
        if asked.ran_before:
            yield f"it comes after {asked.ran_before[0]!r}, which runs again"

    def _identity(self, tool: Tool) -> ToolIdentity:
        found = self._tools.get(id(tool))
        if found is None:
            found = self._tools[id(tool)] = tool_identity(tool)
        return found

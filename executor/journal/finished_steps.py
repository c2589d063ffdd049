"""Gives the results of an earlier run to a later one: an :class:`executor.engine.keeping.EarlierResults`.

Rules of this module:
- A result is given only for the same call: tool by name, declaration and code, prompt, arguments.
- Each result of a call or item is given once: what a step asks for five times was done five times.
- Of a step that must not be done twice it may be unknown whether it was done. The person decides: it runs, or is left
  out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
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
        # Made when the first of them is asked for.
        self._calls: dict[CallKey, _SameCalls] = {}
        self._tools: dict[int, ToolIdentity] = {}
        self._skipped, self._skipped_calls = self._left_out(skipped)
        self._parents = {key.parent for key in (*earlier.calls, *self._skipped_calls)}

    def _left_out(self, skipped: Collection[str]) -> tuple[set[str], dict[CallKey, int]]:
        steps: set[str] = set()
        calls: dict[CallKey, int] = {}
        for step_id in skipped:
            row = self.earlier.last[step_id]
            parent = row.more.get("parent")
            if parent is None:
                steps.add(step_id)
            else:
                key = CallKey(parent, row.tool, row.prompt, row.args)
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
        if calls is None:
            results = self.earlier.calls.get(key)
            if results is None:
                return None
            calls = self._calls[key] = _SameCalls(results)
        return calls.take(asked.step_id, lambda one: next(self.differences(one, asked, identity), None) is None)

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
        for step_id in asked.builds_upon:
            if self.earlier.ran_in.get(step_id, -1) > finished.session:
                yield f"it comes after {step_id!r}, which ran again since"

    def _identity(self, tool: Tool) -> ToolIdentity:
        found = self._tools.get(id(tool))
        if found is None:
            found = self._tools[id(tool)] = tool_identity(tool)
        return found


class _SameCalls:
    """The results of one call that was made several times, each to be used once.

    In front are those of the latest attempt of who made them, and of these the asker's own. What another one left may
    be older than what the asker builds upon: all sessions are tried.
    """

    def __init__(self, calls: Sequence[Finished]) -> None:
        # By place, the latest last. No search may be as long as the list: there may be 100,000 items that are alike.
        self._left = dict(enumerate(calls))
        self._of_session = Counter(one.session for one in calls)
        self._own: dict[str, list[int]] = {}
        for place, one in enumerate(calls):
            self._own.setdefault(one.end.step_id, []).append(place)

    def take(self, step_id: str, fits: Callable[[Finished], bool]) -> Finished | None:
        """The result to be used; None: none of them can be."""
        refused: set[int] = set()
        for place in self._places(step_id):
            finished = self._left[place]
            if finished.session in refused:
                continue
            if fits(finished):
                if place == next(reversed(self._left)):
                    # A dictionary forgets its last entry for good: the next one is found at once.
                    self._left.popitem()
                else:
                    del self._left[place]
                self._of_session -= Counter({finished.session: 1})
                return finished
            # What it is compared by is the same in all of a session, but for an output that could not be kept.
            if "lost" not in finished.end.more:
                refused.add(finished.session)
                if refused.issuperset(self._of_session):
                    break
        return None

    def _places(self, step_id: str) -> Iterator[int]:
        if not self._left:
            return
        latest = _attempt_above(self._left[next(reversed(self._left))])
        own = [place for place in self._own.get(step_id, ()) if place in self._left]
        yield from (place for place in reversed(own) if _attempt_above(self._left[place]) >= latest)
        yield from reversed(self._left)


def _attempt_above(finished: Finished) -> int:
    attempt: int = finished.end.more.get("parent_attempt", 1)
    return attempt

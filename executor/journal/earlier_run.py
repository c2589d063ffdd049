"""What a journal says of each step: whether it is finished, was running, or failed, and with which call.

Rules of this module:
- Of a step the last that is known counts: one that began again after it had finished is not finished.
- Calls of steps, and items of mapped ones, are distinguished by what they were given, not by their number. The code
  that makes them may make them in another order. Where several are the same, those of the latest attempt come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from executor.journal.journal_file import Session
from executor.journal.output_files import OutputFiles
from executor.journal.rows import End, Start, end_of, start_of
from executor.tools.identity import ToolIdentity

# After these a step may have been done, or not.
_UNSURE_OUTCOMES = frozenset({"worker_died", "cancelled", "timed_out"})


class CallKey(NamedTuple):
    """What distinguishes calls of a step, or items of a mapped one."""

    parent: str
    tool: str | None
    prompt: str | None
    args: str | None


class Finished(NamedTuple):
    """A step that succeeded: its row, its session, and its tool as it was then."""

    end: End
    session: int
    tool: ToolIdentity | None


@dataclass(slots=True)
class EarlierRun:
    """All sessions of a journal, taken together. ``last`` is the last row of each step. ``steps`` are finished
    steps of the workflow by id, ``calls`` those below others.
    """

    heads: Sequence[Mapping[str, Any]]
    outputs: OutputFiles
    steps: dict[str, Finished] = field(default_factory=dict)
    calls: dict[CallKey, list[Finished]] = field(default_factory=dict)
    last: dict[str, Start | End] = field(default_factory=dict)
    closed: str | None = None
    # The instant t = 0 of each session, nanoseconds since 1970; None where it was ended before.
    zeros: list[int | None] = field(default_factory=list)
    # By step, the last session in which it, or a step below it, had an attempt.
    ran_in: dict[str, int] = field(default_factory=dict)
    ends: list[list[End]] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        """Of the latest session."""
        return str(self.heads[-1].get("run_id", ""))

    @property
    def workflow_id(self) -> str:
        """Of which workflow the journal is."""
        return str(self.heads[-1].get("workflow_id", ""))

    def finished(self) -> Iterator[Finished]:
        """Every finished step and call."""
        yield from self.steps.values()
        for calls in self.calls.values():
            yield from calls

    def unsure(self) -> list[Start | End]:
        """The steps that must not be done twice, and of which it is unknown whether they were done."""
        return [
            row
            for row in self.last.values()
            if row.more.get("once")
            and (isinstance(row, Start) or row.outcome in _UNSURE_OUTCOMES)
            and not self._is_settled(row)
        ]

    def _is_settled(self, row: Start | End) -> bool:
        """Whether a step above it is finished: then it is over, however it ended."""
        above = row.more.get("parent")
        while above is not None:
            if above in self.steps:
                return True
            parent = self.last.get(above)
            # A mapped step is never reused as a whole: its items are asked for one by one.
            if isinstance(parent, End) and parent.outcome == "succeeded" and "mapped" not in parent.more:
                return True
            above = None if parent is None else parent.more.get("parent")
        return False

    def note_ran(self, row: Start | End, session: int) -> None:
        """The step had an attempt in this session: so had those that call it."""
        step_id, parent = row.step_id, row.more.get("parent")
        self.ran_in[step_id] = session
        while parent is not None:
            self.ran_in[parent] = session
            above = self.last.get(parent)
            parent = None if above is None else above.more.get("parent")

    def void(self, step_ids: Sequence[str]) -> None:
        """Forget that these steps, and what is below them, are finished: they were to be done again."""
        for step_id in step_ids:
            self.steps.pop(step_id, None)
            self.last.pop(step_id, None)
        below = tuple(f"{step_id}/" for step_id in step_ids)
        wanted = set(step_ids)
        for key in [key for key in self.calls if key.parent in wanted or f"{key.parent}/".startswith(below)]:
            del self.calls[key]


def read_earlier_run(sessions: Sequence[Session], outputs: OutputFiles) -> EarlierRun:
    """What the sessions say, in order."""
    run = EarlierRun([session.head for session in sessions], outputs)
    for number, session in enumerate(sessions):
        again = session.head.get("rerun") or ()
        if again:
            run.void(again)
        run.closed = None
        zero = None
        tools: dict[str, ToolIdentity] = {}
        ends: list[End] = []
        for batch in session.batches:
            for name, digests in (batch.get("tools") or {}).items():
                tools[name] = ToolIdentity(*digests)
            zero = batch.get("zero", zero)
            _take_ends(run, batch.get("ends") or (), number, tools, ends)
            for row in batch.get("starts") or ():
                start = start_of(row)
                run.last[start.step_id] = start
                run.steps.pop(start.step_id, None)
                run.note_ran(start, number)
            run.closed = batch.get("closed", run.closed)
        run.zeros.append(zero)
        run.ends.append(ends)
    for calls in run.calls.values():
        # The last of them is taken first.
        calls.sort(key=lambda one: (one.session, one.end.more.get("parent_attempt", 1)), reverse=True)
        calls.reverse()
    return run


def _take_ends(
    run: EarlierRun, rows: Sequence[list[Any]], session: int, tools: Mapping[str, ToolIdentity], ends: list[End]
) -> None:
    steps, last, ran_in = run.steps, run.last, run.ran_in
    for row in rows:
        end = end_of(row)
        ends.append(end)
        step_id, more = end.step_id, end.more
        last[step_id] = end
        # A mapped step runs where one of its items does.
        if "mapped" not in more:
            ran_in[step_id] = session
        if more and "parent" in more:
            run.note_ran(end, session)
        if end.outcome != "succeeded":
            steps.pop(step_id, None)
        elif not more or "parent" not in more:
            if "mapped" not in more:
                steps[step_id] = Finished(end, session, tools.get(end.tool or ""))
        else:
            key = CallKey(more["parent"], end.tool, end.prompt, end.args)
            run.calls.setdefault(key, []).append(Finished(end, session, tools.get(end.tool or "")))


__all__ = ["CallKey", "EarlierRun", "Finished", "read_earlier_run"]

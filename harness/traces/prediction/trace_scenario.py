"""A scenario that does what a trace shows: its graph and its durations, with steps that sleep.

Rules of this module:
- A span without children is a step. One with children is a step for its time before them (where that is any), and one
  for the rest of its own time, after them.
- Of our own traces limits and needs are known, and stand in it.
- What began late, for no reason that the trace shows, is held back by a step of its own.
- Every edge becomes a ``depends_on``; those that are only assumed are marked, so that a reader can strike them out.
- Several attempts become one step that takes as long as all of them and the waits between.
- It is a file that ``makespan run`` takes, whatever the trace holds: names are quoted, ids unique.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from executor.record.timeline import NANOSECONDS
from harness.analysis import AttemptIndex
from harness.analysis.attempt_index import started_of
from harness.traces.trace_model import ASSUMED, ForeignRun

_LATER: Final = " (after its calls)"
_HELD: Final = " (held back)"
_FEWEST_NANOSECONDS: Final = 1_000


@dataclass(slots=True)
class _Written:
    step_id: str
    nanoseconds: int
    after: dict[str, bool] = field(default_factory=dict)  # the step before → whether that is only assumed
    needs: Mapping[str, float] | None = None  # units of resources


def scenario_text(run: ForeignRun) -> str:
    """The file, as YAML."""
    steps = _Steps(run)
    lines = [
        f"# What the trace {_comment(run.trace_id) or 'of ' + _comment(run.source)} shows, as steps that sleep.",
        f"scenario: {json.dumps(_name(run))}",
        *_resources(run),
        "tools:",
        "  span: {kind: sleep}",
        "steps:",
    ]
    for step in steps.written:
        lines += _lines(step)
    return "\n".join(lines) + "\n"


def _lines(step: _Written) -> Iterator[str]:
    seconds = f"{step.nanoseconds / NANOSECONDS:.9f}".rstrip("0").rstrip(".")
    yield f"  - step_id: {json.dumps(step.step_id)}"
    yield "    tool: span"
    yield f"    args: {{seconds: {seconds}}}"
    yield f"    expected_seconds: {seconds}"
    if step.needs:
        yield f"    needs: {json.dumps(dict(step.needs))}"
    if step.after:
        yield "    depends_on:"
        for before, assumed in step.after.items():
            yield f"      - {json.dumps(before)}{'  # assumed: from the observed order alone' if assumed else ''}"


def _resources(run: ForeignRun) -> Iterator[str]:
    """The limits that held: of our own traces they are known."""
    limits = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in run.timeline.resources.items()}
    if limits:
        yield f"resources: {json.dumps(limits)}"


def _comment(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)[:100]


def _name(run: ForeignRun) -> str:
    name = "".join(sign for sign in run.workflow if sign.isprintable()).strip()
    return f"{name[:80]} (from a trace)" if name else "from a trace"


class _Steps:
    """The steps in an order in which each follows what it needs."""

    def __init__(self, run: ForeignRun) -> None:
        self.run = run
        timeline = run.timeline
        self.index = AttemptIndex(timeline)
        self.used: set[str] = set()
        self.children: dict[int, list[int]] = {}
        for step, parent in enumerate(self.index.nested_in):
            self.children.setdefault(parent, []).append(step)
        self.edges_to: dict[int, list[tuple[int, bool]]] = {}
        for edge in run.edges:
            self.edges_to.setdefault(edge.after, []).append((edge.before, edge.label == ASSUMED))
        self.written: list[_Written] = []
        # By step: what a follower depends on.
        self.ends: dict[int, Sequence[str]] = {}
        # By step: what it needs, and how long after that it began.
        self.entries: dict[int, tuple[dict[str, bool], int]] = {}
        self._write_all()

    def _write_all(self) -> None:
        """Depth first, callers before their calls and once more after them; the depth is the trace's choice."""
        # A frame: a step, what it inherits from its caller (ids of steps), and whether its calls are written.
        stack: list[tuple[int, Sequence[str], bool]] = [(step, (), False) for step in reversed(self._calls(-1))]
        opened: dict[int, tuple[_Written | None, Mapping[str, bool]]] = {}
        while stack:
            step, inherited, done = stack.pop()
            children = self.children.get(step)
            if done:
                self._close(step, *opened.pop(step))
                continue
            needs = self._held_back(step, self._needs(step, inherited))
            if not children:
                holds = self.run.timeline.needs[step] if self.run.timeline.needs else None
                written = self._add(self.run.timeline.step_ids[step], self._whole(step), needs, holds)
                self.ends[step] = (written.step_id,)
                continue
            before, _ = self._own(step)
            head = None
            if before >= _FEWEST_NANOSECONDS:
                head = self._add(self.run.timeline.step_ids[step], before, needs)
            opened[step] = head, needs
            stack.append((step, inherited, True))
            passed_on: Sequence[str] = (head.step_id,) if head is not None else tuple(needs)
            stack += [(child, passed_on, False) for child in reversed(self._calls(step))]

    def _calls(self, step: int) -> list[int]:
        return self.children.get(step, [])

    def _close(self, step: int, head: _Written | None, needs: Mapping[str, bool]) -> None:
        """What a caller does after its calls; nothing where that takes no time."""
        _, after = self._own(step)
        ends = dict.fromkeys(self._leaves(step), False)
        if after < _FEWEST_NANOSECONDS:
            self.ends[step] = tuple(ends) or ((head.step_id,) if head is not None else tuple(needs))
            return
        name = self.run.timeline.step_ids[step]
        written = self._add(name if head is None else name + _LATER, after, ends or needs)
        self.ends[step] = (written.step_id,)

    def _leaves(self, step: int) -> list[str]:
        """The ends of those calls that no other call waits for."""
        calls = self._calls(step)
        followed = {before for call in calls for before, _ in self.edges_to.get(call, ())}
        return [end for call in calls if call not in followed for end in self.ends.get(call, ())]

    def _needs(self, step: int, inherited: Sequence[str]) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for before, assumed in self.edges_to.get(step, ()):
            for end in self.ends.get(before, ()):
                found[end] = assumed
        return found or dict.fromkeys(inherited, False)

    def _held_back(self, step: int, needs: dict[str, bool]) -> dict[str, bool]:
        """What a step that began late needs: a step that takes as long as it was held back."""
        delay = self.run.delays.get(step, 0)
        holder = self.run.begun_in.get(step)
        if holder in self.entries:
            needs, delay = self.entries[holder]
            delay += self._start(step) - self._start(holder)
        self.entries[step] = needs, delay
        if delay < _FEWEST_NANOSECONDS:
            return needs
        held = self._add(f"{self.run.timeline.step_ids[step]}{_HELD}", delay, needs)
        return {held.step_id: False}

    def _start(self, step: int) -> int:
        tries = self.index.tries[step]
        return started_of(tries[0]) if tries else 0

    def _add(
        self, name: str, nanoseconds: int, needs: Mapping[str, bool], holds: Mapping[str, float] | None = None
    ) -> _Written:
        step_id, number = name, 1
        while step_id in self.used:
            number += 1
            step_id = f"{name} [{number}]"
        self.used.add(step_id)
        written = _Written(step_id, nanoseconds, dict(needs), holds)
        self.written.append(written)
        return written

    def _whole(self, step: int) -> int:
        """All attempts, and the waits between them."""
        tries = self.index.tries[step]
        ran = sum(self.index.run_nanoseconds(attempt) for attempt in tries)
        return ran + sum(end - start for one in tries[1:] for _, start, end in one.waits)

    def _own(self, step: int) -> tuple[int, int]:
        """Nanoseconds of the step's own before its first call, and after that."""
        tries = self.index.tries[step]
        if not tries:
            return 0, 0
        first = next(iter(self.index.pauses(tries[0])), None)
        started = tries[0].started or tries[0].granted
        before = max(0, first.start - started) if first is not None else 0
        return before, max(0, self._whole(step) - before)

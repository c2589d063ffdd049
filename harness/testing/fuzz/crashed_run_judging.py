"""What is wrong with a run that died and was resumed: its end as any run's, what was done twice, what came of it.

Rules of this module:
- It keeps its own books of what is durable: from the attempts that had ended at each commit that is left, never from
  what the journal's reader says.
- What may be done again: what began again and has no durable end, and what now sees other outputs. Also a step that
  builds upon another without reading its output, where that ran since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.testing.drawing.behaviour import graph_of_run
from harness.testing.fuzz.crashed_runs import CrashedPlay, Part, play_undisturbed
from harness.testing.fuzz.faulty_run_judging import HARMLESS, depends_on_order, judge_played, with_reused
from harness.testing.oracle.description import references
from harness.testing.oracle.judge import Violation, outputs_equal
from harness.testing.oracle.plain_graph import PlainGraph, PlainStep


@dataclass
class _Books:
    """What the parts so far left. ``done``: of steps of the workflow, in which part each succeeded, and what it had
    seen. ``calls``: how many results there are of each call. ``ran``: the parts in which a step, or an item of it, had
    an attempt, and those of which that is durable. ``open``: what must not be done twice and may have been done.
    ``succeeded``: steps and calls of which a success is durable. ``began_after``: those that began since.
    """

    done: dict[str, tuple[int, tuple[Any, ...]]] = field(default_factory=dict)
    calls: Counter[tuple[str, Any]] = field(default_factory=Counter)
    ran: dict[str, list[int]] = field(default_factory=dict)
    surely_ran: dict[str, list[int]] = field(default_factory=dict)
    began_after: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    succeeded: set[str] = field(default_factory=set)

    def forget(self, step_id: str) -> None:
        """It is to be done again, with all below it."""
        self.done.pop(step_id, None)
        self.succeeded = {other for other in self.succeeded if not f"{other}/".startswith(f"{step_id}/")}
        self.open = {other for other in self.open if not f"{other}/".startswith(f"{step_id}/")}
        for key in [key for key in self.calls if f"{key[0]}/".startswith(f"{step_id}/")]:
            del self.calls[key]


def judge_crashed(played: CrashedPlay, *, compares: bool = True) -> list[Violation]:
    """All that is wrong with it. ``compares``: with the undisturbed run, too."""
    if played.refusal is not None:
        return [Violation("ends", f"the resume was refused: {played.refusal}")]
    for part in played.parts:
        if part.crashed:
            continue
        found = judge_played(part.played)
        if found:
            return found
    found = []
    books = _Books()
    for number in range(len(played.parts)):
        if number:
            found += _PartJudge(played, number, books).judge()
        _take_in(books, played, number)
    if compares and not found:
        found += _compared(played)
    return found


class _PartJudge:
    """One resume against the books of what came before it."""

    def __init__(self, played: CrashedPlay, number: int, books: _Books) -> None:
        assert played.faults.crash is not None
        self.crash = played.faults.crash
        self.part = played.parts[number]
        self.number = number
        self.books = books
        self.words = {step.step_id: step for step in played.run.workflow.steps}
        self.rerun = self.crash.rerun if number == 1 else ()
        for step_id in self.rerun:
            books.forget(step_id)
        workflow, behaviour = played.run
        scheduler = self.part.played.scheduler
        self.ids = scheduler.step_ids
        self.reused = {self.ids[index] for index in scheduler.reused_at if scheduler.status(index) == "succeeded"}
        self.ran = _ran_in(self.part)
        self.graph: PlainGraph | None = None
        if not self.part.crashed:
            timeline = self.part.played.timeline
            self.graph = with_reused(graph_of_run(workflow, behaviour, timeline), self.part.played)
        else:
            self.graph = behaviour.describe(workflow)

    def judge(self) -> Iterator[Violation]:
        yield from self._asked()
        for step_id, words in self.words.items():
            if words.for_each is None:
                yield from self._step(step_id)
        if not self.part.crashed:
            yield from self._calls()
        yield from self._shown()

    def _asked(self) -> Iterator[Violation]:
        unsure = {step_id for step_id in self.books.open if not self._is_settled(step_id)}
        if unsure and not self.part.refused:
            yield _once(
                f"{_named(unsure)} may have been done and must not be done twice: the resume did not ask", unsure
            )
        if self.crash.unsure == "skip":
            for step_id in sorted(unsure):
                if "/" not in step_id and step_id in self.ran and step_id not in self.rerun:
                    yield _once(
                        f"step {step_id!r} may have been done, and runs although it was to be left out", [step_id]
                    )

    def _is_settled(self, step_id: str) -> bool:
        above = step_id
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in self.books.succeeded:
                return True
        return False

    def _step(self, step_id: str) -> Iterator[Violation]:
        done = self.books.done.get(step_id)
        if step_id in self.reused:
            if done is None:
                yield _once(
                    f"step {step_id!r} is taken for done in part {self.number}; no end of it is durable", [step_id]
                )
            else:
                why = self._stale(step_id, done, surely=True)
                if why is not None:
                    yield _once(f"step {step_id!r} is taken for done in part {self.number}, although {why}", [step_id])
        elif done is not None and step_id in self.ran:
            if step_id in self.books.began_after or self._stale(step_id, done, surely=False) is not None:
                return
            yield _once(
                f"step {step_id!r} is done again in part {self.number}; its end in part {done[0]} is durable", [step_id]
            )

    def _stale(self, step_id: str, done: tuple[int, tuple[Any, ...]], *, surely: bool) -> str | None:
        """Why a result must not be used (``surely``), or need not be."""
        assert self.graph is not None
        part, seen = done
        ran_before = self.books.surely_ran if surely else self.books.ran
        for other in self.builds_upon(self.graph.by_id[step_id]):
            if other in self.ran or any(later > part for later in ran_before.get(other, ())):
                return f"{other!r}, upon which it builds, ran since"
        read = references(self.words[step_id])
        outputs = self.part.played.engine.outputs
        if read and tuple(outputs.get(other) for other in read) != seen:
            return "it would see other outputs"
        return None

    def builds_upon(self, step: PlainStep) -> Iterator[str]:
        """The steps that it comes after without reading their outputs."""
        assert self.graph is not None
        words = self.words.get(step.step_id)
        read = () if words is None else references(words)
        yield from (other for other in step.data if other not in read)
        used = {*step.reads, *step.writes}
        for other in self.graph.order_parents[step.step_id]:
            if used.intersection(self.graph.by_id[other].writes):
                yield other

    def _calls(self) -> Iterator[Violation]:
        """Calls and items, identified by what they were given: each result is used once, and before anything runs."""
        assert self.graph is not None
        scheduler = self.part.played.scheduler
        groups: dict[tuple[str, Any], list[str]] = {}
        for index, step_id in enumerate(self.ids):
            parent = self.graph.by_id[step_id].parent
            if parent is None:
                continue
            ended_unrun = index in scheduler.reused_at
            key = self.part.digests[step_id]
            if ended_unrun or step_id in self.ran:
                groups.setdefault(key, []).append(step_id)
        for key, members in groups.items():
            for step_id in members:
                since = self._ran_before(step_id) if step_id in self.reused else None
                if since is not None:
                    claim = f"{step_id!r} is taken for done in part {self.number}"
                    yield _once(f"{claim}, although {since!r}, upon which it builds, runs again", [step_id])
            reused = [step_id for step_id in members if step_id in self.reused]
            there = self.books.calls[key]
            if len(reused) > there:
                yield _once(
                    f"{len(reused)} calls of {key[0]!r} with {key[1]} are taken for done; {there} are durable", reused
                )
            again = [step_id for step_id in members if step_id in self.ran and not self._may_run(step_id)]
            if again and len(reused) < there:
                yield _once(
                    f"{again[0]!r} is done in part {self.number}, although {there} results of such calls of {key[0]!r} "
                    f"are durable and only {len(reused)} are used",
                    again,
                )

    def _ran_before(self, step_id: str) -> str | None:
        """A step that ran in this part, and that it or one of its callers builds upon."""
        assert self.graph is not None
        for one in (step_id, *self.graph.ancestors(step_id)):
            for other in self.builds_upon(self.graph.by_id[one]):
                if other in self.ran:
                    return other
        return None

    def _may_run(self, step_id: str) -> bool:
        """Whether it may be done although there is a result: it, or one of its callers, builds upon what ran."""
        assert self.graph is not None
        for one in (step_id, *self.graph.ancestors(step_id)):
            if any(self._has_changed(other) for other in self.builds_upon(self.graph.by_id[one])):
                return True
        return False

    def _has_changed(self, step_id: str) -> bool:
        return step_id in self.ran or any(later > 0 for later in self.books.ran.get(step_id, ()))

    def _shown(self) -> Iterator[Violation]:
        if self.part.shown is None or self.part.crashed:
            return
        for shown in self.part.shown.steps:
            if shown.fate == "reused" and shown.step_id in self.ran:
                yield Violation("shown_resume", f"step {shown.step_id!r} was to be reused, and runs", (shown.step_id,))
            # What it comes after may not run after all: that is known only then.
            if shown.fate == "runs" and not shown.reason.startswith("it comes after") and shown.step_id in self.reused:
                yield Violation("shown_resume", f"step {shown.step_id!r} was to run, and is reused", (shown.step_id,))


def _take_in(books: _Books, played: CrashedPlay, number: int) -> None:
    """What this part leaves."""
    part = played.parts[number]
    words = {step.step_id: step for step in played.run.workflow.steps}
    scheduler = part.played.scheduler
    durable = part.watch.ended[: part.kept_ends]
    for step_id in _ran_in(part):
        books.ran.setdefault(step_id, []).append(number)
    for attempt in part.watch.granted:
        books.began_after.add(attempt.step_id)
    for attempt in durable:
        for step_id in _with_callers(attempt.step_id):
            books.surely_ran.setdefault(step_id, []).append(number)
    began = {attempt.step_id: attempt for attempt in part.watch.began}
    ends = {(attempt.step_id, attempt.attempt): attempt for attempt in durable}
    for step_id, last in began.items():
        once = scheduler.steps[last.index].idempotent is False
        end = ends.get((step_id, last.attempt))
        known = end is not None and end.outcome in ("succeeded", "failed")
        books.open.discard(step_id)
        if once and not known:
            books.open.add(step_id)
    for attempt in durable:
        step_id = attempt.step_id
        if attempt.outcome != "succeeded":
            books.succeeded.discard(step_id)
            continue
        books.succeeded.add(step_id)
        if attempt.parent is not None:
            books.calls[part.digests[step_id]] += 1
        elif words[step_id].for_each is None:
            seen = tuple(part.played.engine.outputs.get(other) for other in references(words[step_id]))
            books.done[step_id] = (number, seen)
            books.began_after.discard(step_id)


def _ran_in(part: Part) -> set[str]:
    """The steps that had an attempt, and those that called such a one."""
    return {step_id for attempt in part.watch.granted for step_id in _with_callers(attempt.step_id)}


def _with_callers(step_id: str) -> Iterator[str]:
    yield step_id
    while "/" in step_id:
        step_id = step_id.rpartition("/")[0]
        yield step_id


def _once(message: str, steps: Sequence[str] | set[str]) -> Violation:
    return Violation("finished_once", message, tuple(sorted(steps)))


def _named(steps: set[str]) -> str:
    return ", ".join(map(repr, sorted(steps)))


def _compared(played: CrashedPlay) -> Iterator[Violation]:
    """Against the undisturbed run, as far as its end does not depend on which step comes first."""
    last = played.last.played
    if depends_on_order(played.run):
        return
    harmless = set(HARMLESS)
    if not any(step.timeout is not None for step in played.run.workflow.steps):
        harmless.add("held")
    if not played.faults.kinds() <= harmless | {"crash"}:
        return
    left_out = [last.scheduler.step_ids[index] for index in last.scheduler.reused_at if _is_left_out(played, index)]
    if any("/" in step_id for step_id in left_out):
        # The other run has no way to leave out a call.
        return
    other = play_undisturbed(played, left_out)
    if other.error is not None:
        yield Violation("resumed_equals_undisturbed", f"the undisturbed run broke: {other.error}")
        return
    ids = [step.step_id for step in played.run.workflow.steps]
    mine, theirs = (dict(zip(one.timeline.step_ids, one.timeline.statuses, strict=True)) for one in (last, other))
    for step_id in ids:
        if mine[step_id] != theirs[step_id]:
            yield Violation(
                "resumed_equals_undisturbed",
                f"step {step_id!r} is {mine[step_id]}, and {theirs[step_id]} in the undisturbed run",
                (step_id,),
            )
    outputs = [
        {step_id: one.engine.outputs[step_id] for step_id in ids if step_id in one.engine.outputs}
        for one in (last, other)
    ]
    for message in outputs_equal(*outputs):
        yield Violation("resumed_equals_undisturbed", message)


def _is_left_out(played: CrashedPlay, index: int) -> bool:
    return played.last.played.scheduler.status(index) == "skipped"

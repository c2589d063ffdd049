"""Child steps of one run: which step waits for which of them, and how it hears of their end.

Used under the engine's lock.

Rules of this module:
- A step that waits for child steps is blocked: it holds neither slot nor limits. When the last of them is final, it
  comes back through the scheduler, which grants both again.
- A step may wait in several places at once (coroutines, threads of its own): it comes back when all its child steps are
  final. It cannot be known whether it still has something to do besides, and a slot that it kept could be the one that
  they need.
- Each wait ends exactly once: with True if the child steps are final and the step goes on, with False if the step was
  cancelled, timed out or died meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

from executor.engine.driver import Answer, Request
from executor.model.workflow import Step
from executor.record.timeline import Attempt
from executor.scheduler import Scheduler, SchedulerError

Resume: TypeAlias = Callable[[bool], None]


class _Group:
    """Child steps asked for together. ``ids`` grows as those of ``later`` are added, ``at_once`` of them at a time."""

    __slots__ = ("at_once", "ids", "later", "pending", "resume")

    def __init__(
        self, pending: list[int], ids: list[str], later: Sequence[Step], at_once: int | None, resume: Resume
    ) -> None:
        self.pending = pending
        self.ids = ids
        self.later = deque(later)
        self.at_once = at_once
        self.resume = resume


class ChildSteps:
    """The blocked steps of one run."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: dict[Attempt, list[_Group]] = {}
        self._resuming: dict[Attempt, list[Resume]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting or self._resuming)

    def request(
        self,
        attempt: Attempt,
        steps: Sequence[Step],
        resume: Resume | None,
        answer: Answer,
        at_once: int | None,
        again: Resume | None,
    ) -> Request:
        """What the engine does for a running step that asks for child steps and, with ``resume``, waits for their end.

        ``answer(ids, blocked)`` is called at once, or ``answer(error, False)`` if a step breaks a rule and nothing was
        added. If ``blocked``, the step has given back slot and limits, and ``resume(True)`` follows when it has both
        again, ``resume(False)`` if it was cancelled meanwhile; from any thread. With ``at_once`` (and ``resume``) no
        more than so many of the steps are added at a time; ``ids`` grows as they are. If the step is about to resume
        from earlier ones, only ``again`` is called, when it has: ask anew then.
        """

        def request(now: int) -> None:
            if again is not None and self._wait_to_resume(attempt, again):
                return
            if self._scheduler.live_attempt(attempt.index) is not attempt:
                answer(SchedulerError(f"attempt {attempt.attempt} of step {attempt.step_id!r} is over"), False)
                return
            split = len(steps) if at_once is None or resume is None else at_once
            try:
                ids = self._scheduler.add(steps[:split], now, parent=attempt.step_id)
            except SchedulerError as error:
                answer(error, False)
                return
            answer(ids, resume is not None and self.block(attempt, ids, now, resume, steps[split:], at_once))

        return request

    def block(
        self,
        attempt: Attempt,
        ids: list[str],
        now: int,
        resume: Resume,
        later: Sequence[Step] = (),
        at_once: int | None = None,
    ) -> bool:
        """Block an attempt until these steps are final, and those of ``later``, which are added as those before them
        end. False: they are already, and ``resume`` will not be called.

        Raises:
            SchedulerError: the attempt does not run.
        """
        scheduler = self._scheduler
        pending = [scheduler.index[step_id] for step_id in ids]
        pending = [index for index in pending if not scheduler.is_final(index)]
        if not (pending or later):
            return False
        group = _Group(pending, ids, later, at_once, resume)
        groups = self._waiting.get(attempt)
        if groups is None:
            scheduler.block(attempt, now)
            self._waiting[attempt] = [group]
        else:
            groups.append(group)
        return True

    def wait_for_one(self, attempt: Attempt, child: Attempt, resume: Resume) -> None:
        """The attempt is blocked until this child step is final: a note of what the scheduler knows already."""
        self._waiting[attempt] = [_Group([child.index], [child.step_id], (), None, resume)]

    def after_success(self, child: Attempt, parent: Attempt | None) -> Literal["unchanged", "comes_back", "unclear"]:
        """What the success of a child step changes for its parent, whose live attempt is ``parent``."""
        groups = None if parent is None else self._waiting.get(parent)
        if groups is None:
            return "unchanged"
        if len(groups) > 1 or groups[0].later:
            return "unclear"
        index, pending, is_final = child.index, groups[0].pending, self._scheduler.is_final
        # From the end, as far as it shrinks: child steps end in about the order in which they were added.
        while pending and pending[-1] != index and is_final(pending[-1]):
            pending.pop()
        if pending and pending[-1] != index:
            return "unchanged"
        while len(pending) > 1 and is_final(pending[-2]):
            del pending[-2]
        return "unchanged" if len(pending) > 1 else "comes_back" if pending else "unclear"

    def came_back(self, attempt: Attempt) -> Sequence[Resume]:
        """The callbacks of an attempt that has its slot again, since its only group of child steps is final."""
        return [group.resume for group in self._waiting.pop(attempt)]

    def _wait_to_resume(self, attempt: Attempt, resume: Resume) -> bool:
        """If the attempt's child steps are final and it has no slot yet, call ``resume`` when it has. Else False."""
        waiting = self._resuming.get(attempt)
        if waiting is None:
            return False
        waiting.append(resume)
        return True

    def unblock_finished(self, now: int) -> None:
        """Let those come back whose child steps are all final."""
        scheduler = self._scheduler
        for attempt in list(self._waiting):
            if attempt.outcome is not None:
                continue
            groups = self._waiting[attempt]
            pending = False
            for group in groups:
                pending = self._is_pending(attempt, group, now) or pending
            if not pending:
                del self._waiting[attempt]
                scheduler.unblock(attempt, now)
                self._resuming[attempt] = [group.resume for group in groups]

    def _is_pending(self, attempt: Attempt, group: _Group, now: int) -> bool:
        scheduler = self._scheduler
        pending = group.pending
        if not group.later:
            is_final = scheduler.is_final
            while pending and is_final(pending[-1]):
                pending.pop()
            return bool(pending)
        pending[:] = [index for index in pending if not scheduler.is_final(index)]
        while group.later and (group.at_once is None or len(pending) < group.at_once):
            try:
                (step_id,) = scheduler.add([group.later.popleft()], now, parent=attempt.step_id)
            except SchedulerError:
                # The parent finds fewer steps than it asked for: the rest was never added.
                group.later.clear()
                break
            group.ids.append(step_id)
            pending.append(scheduler.index[step_id])
        return bool(pending)

    def withdraw(self, attempt: Attempt, ids: list[str], now: int) -> None:
        """Their step no longer waits for these child steps: cancel those that are not final."""
        for group in self._waiting.get(attempt, ()):
            if group.ids is ids:
                group.later.clear()
        scheduler = self._scheduler
        scheduler.cancel(now, [step_id for step_id in ids if not scheduler.is_final(scheduler.index[step_id])])

    def resumed(self, attempt: Attempt) -> Sequence[Resume]:
        """The callbacks of an attempt that has slot and limits again; none if the attempt starts afresh."""
        return self._resuming.pop(attempt, ())

    def abandoned(self) -> list[Resume]:
        """The callbacks of a step that does not go on."""
        found: list[Resume] = []
        gone = _over(self._waiting) if self._waiting else ()
        for attempt in gone:
            found += [group.resume for group in self._waiting.pop(attempt)]
        gone = _over(self._resuming) if self._resuming else ()
        for attempt in gone:
            found += self._resuming.pop(attempt)
        return found


def _over(attempts: Iterable[Attempt]) -> Sequence[Attempt]:
    return [attempt for attempt in attempts if attempt.outcome is not None]

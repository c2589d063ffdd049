"""Properties of the policies with barriers, and the form of the record.

Rules of this module:
- Barriers concern top-level steps; calls belong to their parent's level or batch and pass.
- The batches of ``barrier`` are found by logic alone (what is final after which batch), never by comparing times. So
  steps of no duration are judged as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.testing.oracle.devices import wanted_devices
from harness.testing.oracle.events import Key, Try
from harness.testing.oracle.finality import View, Violation
from harness.testing.oracle.plain_graph import PlainStep


def barriers(view: View) -> Iterator[Violation]:
    """``levels``: no top-level step is granted before all of lower levels are final. ``barrier``: the batches are those
    of the rule: the earliest-listed ready ungrouped step alone, else all ready members of the earliest group.
    """
    if view.added_late:
        return
    if view.graph.policy == "levels":
        yield from _levels(view)
    elif view.graph.policy == "barrier":
        yield from _replayed(view)[1]


def openings(view: View) -> dict[str, Key]:
    """The latest at which each top-level step's barrier opened; absent where there is none."""
    if view.graph.policy == "levels":
        over = _levels_over(view, view.latest)
        return {step_id: over[level] for step_id, level in view.graph.levels.items()}
    if view.graph.policy == "barrier":
        return _replayed(view)[0]
    return {}


def _replayed(view: View) -> tuple[dict[str, Key], list[Violation]]:
    """:func:`batches`, once for all callers."""
    if view.batches is None:
        view.batches = batches(view)
    return view.batches


def _levels_over(view: View, finals: dict[str, Key]) -> list[Key]:
    """When all levels below each level are final."""
    over: list[Key] = [(0, 0)] * (max(view.graph.levels.values(), default=0) + 2)
    for step_id, level in view.graph.levels.items():
        over[level + 1] = max(over[level + 1], finals[step_id])
    for level in range(1, len(over)):
        over[level] = max(over[level], over[level - 1])
    return over


def _levels(view: View) -> Iterator[Violation]:
    levels = view.graph.levels
    over = _levels_over(view, view.earliest)
    deepest: Try | None = None
    for one in view.record.tries:
        level = levels.get(one.step_id)
        if level is None or one.number > 1:
            continue
        why = None
        if over[level][0] > one.granted:
            why = f"before all of the levels below were final, at {over[level][0]} ns"
        elif deepest is not None and levels[deepest.step_id] > level:
            why = f"after {deepest.step_id!r} of level {levels[deepest.step_id]}"
        if why is not None:
            yield Violation(
                "barriers",
                f"step {one.step_id!r} of level {level} was granted at {one.granted} ns, {why}",
                (one.step_id,),
                one.granted,
            )
        if deepest is None or level > levels[deepest.step_id]:
            deepest = one


def batches(view: View) -> tuple[dict[str, Key], list[Violation]]:
    """Replay the batches of ``barrier``: the time from which each step may go, and what went out of turn."""
    waiting = [step for step in view.top_level if view.record.ran(step.step_id)]
    first = {step.step_id: view.record.by_step[step.step_id][0] for step in waiting}
    turns = sorted(waiting, key=lambda step: first[step.step_id].position)
    opened: dict[str, Key] = {}
    over_early: Key = (0, 0)
    over_late: Key = (0, 0)
    untold = bool(view.record.cancels) or view.options.unlisted_cancellations
    # One that was cancelled before its turn may have let others go any time before.
    unsure = untold and any(
        view.statuses.get(step.step_id) == "cancelled" and not view.record.ran(step.step_id) for step in view.top_level
    )
    front = _Front(view)
    while turns:
        if untold and any(step.step_id not in first for step in front.ready()):
            return opened, []  # a cancelled step may or may not have had its turn
        turn = turns[0]
        choices = front.choices()
        batch = next((choice for choice in choices if any(step is turn for step in choice)), None)
        if batch is None and unsure:
            return opened, []
        if batch is None:
            due = sorted({step.step_id for choice in choices for step in choice})
            return opened, [
                Violation(
                    "barriers",
                    f"step {turn.step_id!r} was granted at {first[turn.step_id].granted} ns, but the batch to run then "
                    f"is {', '.join(map(repr, due)) or 'empty'}",
                    (turn.step_id, *due),
                    first[turn.step_id].granted,
                )
            ]
        for step in batch:
            one = first.get(step.step_id)
            opened[step.step_id] = over_late
            if one is not None and one.granted < over_early[0]:
                return opened, [
                    Violation(
                        "barriers",
                        f"step {step.step_id!r} was granted at {one.granted} ns, before the batch ahead of it was over "
                        f"at {over_early[0]} ns",
                        (step.step_id,),
                        one.granted,
                    )
                ]
        members = {step.step_id for step in batch}
        count = sum(step_id in first for step_id in members)
        # All of the batch go before any other does.
        late = next((step for step in turns[:count] if step.step_id not in members), None)
        if late is not None and unsure:
            return opened, []
        if late is not None:
            return opened, [
                Violation(
                    "barriers",
                    f"step {late.step_id!r} was granted at {first[late.step_id].granted} ns, in the middle of the "
                    f"batch {', '.join(repr(step.step_id) for step in batch)}",
                    (late.step_id,),
                    first[late.step_id].granted,
                )
            ]
        front.end(batch)
        del turns[:count]
        over_early = max([over_early, *(view.earliest[step.step_id] for step in batch)])
        over_late = max([over_late, *(view.latest[step.step_id] for step in batch)])
    return opened, []


class _Front:
    """The top-level steps that could start after the batches so far: data and order edges satisfied, fate open."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.done: set[str] = set()
        self.final: set[str] = set()
        self.free: set[str] = set()
        self._ready: dict[int, PlainStep] = {}  # by place
        self._behind: dict[str, list[PlainStep]] = {}
        for step in view.top_level:
            for other in view.graph.parents[step.step_id]:
                self._behind.setdefault(other, []).append(step)
        self._look_at(reversed(view.top_level))

    def ready(self) -> list[PlainStep]:
        """They in file order."""
        return [self._ready[place] for place in sorted(self._ready)]

    def end(self, batch: Iterable[PlainStep]) -> None:
        """A batch is over."""
        for step in batch:
            self.done.add(step.step_id)
            self._ready.pop(self.view.graph.places[step.step_id], None)
        self._look_at(batch)

    def _look_at(self, steps: Iterable[PlainStep]) -> None:
        """See what these are now, and with them those behind them, as far as anything has changed."""
        view, final, free = self.view, self.final, self.free
        open_steps = list(steps)
        while open_steps:
            step = open_steps.pop()
            step_id = step.step_id
            if step_id in free:
                continue
            was_final = step_id in final
            decided = final.issuperset(step.data)
            open_order = free.issuperset(view.graph.order_parents[step_id])
            if view.record.ran(step_id):
                is_final = is_free = step_id in self.done
            else:
                skipped = step.when is False or not all(view.fulfils(other) for other in step.data)
                is_final = decided and (skipped or step_id in self.done)
                is_free = is_final and open_order
            if is_final:
                final.add(step_id)
            elif decided and open_order:
                self._ready[view.graph.places[step_id]] = step
            if is_free:
                free.add(step_id)
            if is_free or is_final != was_final:
                open_steps += self._behind.get(step_id, ())

    def choices(self) -> list[list[PlainStep]]:
        """The batches that may come next. "The earliest group" may be read in two ways: by its first ready member, or
        by its first member in the file.
        """
        ready = self.ready()
        alone = next((step for step in ready if step.group is None), None)
        if alone is not None:
            return [[alone]]
        if not ready:
            return []
        names = [(type(step.group), step.group) for step in ready]
        listed = [(type(step.group), step.group) for step in self.view.graph.steps]
        earliest = min(set(names), key=listed.index)
        return [
            [step for step, name in zip(ready, names, strict=True) if name == chosen]
            for chosen in dict.fromkeys([names[0], earliest])
        ]


def record_order(view: View) -> Iterator[Violation]:
    """``ready ≤ granted ≤ started ≤ ended ≤ known``, blocked intervals lie within, and what is reported makes sense."""
    for step_id, fault in view.record.faults:
        yield Violation("record_order", fault, (step_id,))
    for one in view.record.tries:
        if not one.ready <= one.granted <= one.started <= one.ended <= one.known:
            yield Violation("record_order", f"times out of order: {one.times()}", (one.step_id,), one.granted)
        edges = [one.started]
        for index, blocked in enumerate(one.blocked_at):
            edges += [blocked, one.unblocked_at[index], one.resumed_at[index]]
        edges.append(one.known)
        if edges != sorted(edges):
            yield Violation(
                "record_order",
                f"{one.name} was blocked out of order, or outside [started, known]: {edges}",
                (one.step_id,),
                one.granted,
            )


def waits(view: View) -> Iterator[Violation]:
    """Waits tile [ready, granted] exactly, and each has a reason that its step can have. On a real clock the end of a
    backoff may be noticed late: there may be a gap after it.
    """
    if "wait" not in view.record.reports and not view.options.exact:
        return
    for one in view.record.tries:
        if "ready" not in one.seen or "granted" not in one.seen:
            continue
        if not one.waits and one.ready == one.granted:
            continue
        before = sorted([wait for wait in one.waits if wait[1] < one.granted], key=lambda wait: wait[1])
        at = one.ready
        late = False
        for reason, start, end in before:
            if not (start == at or (late and start > at)) or end < start:
                break
            at = end
            late = reason == "backoff" and not view.options.exact
        if at != one.granted and not (late and at < one.granted):
            tiles = ", ".join(f"{reason} [{start}, {end}]" for reason, start, end in before) or "nothing"
            yield Violation(
                "waits",
                f"{one.name} waited in [{one.ready}, {one.granted}], but its waits are {tiles}",
                (one.step_id,),
                one.granted,
            )
        resuming = list(zip(one.unblocked_at, one.resumed_at, strict=True)) if one.blocked_at else []
        for reason, start, end in one.waits:
            if end <= one.granted:
                legal = _legal(view, one, reason)
            else:
                inside = any(left <= start and end <= right for left, right in resuming)
                legal = reason == "transfer" or (
                    inside and (reason in ("worker", "resuming") or _needs(view, one, reason, "resource"))
                )
            if not legal:
                yield Violation(
                    "waits",
                    f"{one.name} waited for {reason} in [{start}, {end}], which it cannot wait for then",
                    (one.step_id,),
                    start,
                )


def _needs(view: View, one: Try, reason: str, kind: str) -> bool:
    """Whether the reason is a limit of this kind that the step is subject to."""
    if not reason.startswith(kind + "."):
        return False
    name = reason[len(kind) + 1 :]
    limit = view.graph.resources.get(name)
    if kind == "resource" and name in wanted_devices(one.needs, view.graph.resources):
        return True
    if limit is None or name not in dict(one.needs):
        return False
    if kind == "resource":
        return limit.capacity is not None
    return limit.rate_per_minute is not None or limit.tokens_per_minute is not None


def _legal(view: View, one: Try, reason: str) -> bool:
    step = view.graph.by_id[one.step_id]
    if reason == "worker":
        return True
    if reason == "backoff":
        return one.number > 1
    if reason == "barrier":
        return step.parent is None and view.graph.policy in ("levels", "barrier")
    if reason.startswith("lock."):
        return reason[5:] in {state for _, state in view.graph.order_edges[one.step_id]}
    return _needs(view, one, reason, "resource") or _needs(view, one, reason, "rate")

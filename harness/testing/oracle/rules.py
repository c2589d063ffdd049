"""Properties of order, fate, attempts and the record: what can be judged step by step.

Rules of this module:
- One function is one named property; it yields a :class:`Violation` for each breach, with a message.
- A mapped step is judged by its items, which are judged like all other steps.
- Each function reads the :class:`View` alone and represents a sentence of the semantics of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.testing.oracle.events import FAILURES, FINAL, UNKNOWN, Key, Try
from harness.testing.oracle.finality import View, Violation
from harness.testing.oracle.plain_graph import PlainStep

ROUNDING_NS = 2
"""Seconds become nanoseconds in more than one way; two nanoseconds are not a fault."""
DEPTH_LIMIT = 32


def data_edges(view: View) -> Iterator[Violation]:
    """No step starts before all its data dependencies ended well: succeeded, or skipped by a false condition."""
    for step in view.graph.steps:
        tries = view.record.by_step.get(step.step_id)
        if not tries or not step.data:
            continue
        first = min(tries, key=lambda one: one.position) if len(tries) > 1 else tries[0]
        for other in step.data:
            before = view.record.by_step.get(other)
            if not view.fulfils(other):
                state = view.statuses.get(other) or "in no final state"
                why = f"its data dependency {other!r}, which is {state}, did not end well"
            elif view.earliest[other][0] > first.granted:
                why = f"its data dependency {other!r} ended only at {view.earliest[other][0]} ns"
            elif before and before[-1].position > first.position:
                why = f"its data dependency {other!r} was granted only after it, in the same instant"
            else:
                continue
            granted = f"step {step.step_id!r} was granted at {first.granted} ns"
            yield Violation("data_edges", f"{granted}, but {why}", (step.step_id, other), first.granted)


def order_edges(view: View) -> Iterator[Violation]:
    """No step starts before its order edges are satisfied. An edge to a step that ran is satisfied when that step is
    final; one to a step that never ran when it is final and its own order edges are satisfied.
    """
    for step_id, edges in view.graph.order_edges.items() if view.locks else ():
        tries = view.record.by_step.get(step_id)
        if not tries or not edges:
            continue
        first = min(tries, key=lambda one: one.position)
        for other, state in edges:
            before = view.record.by_step.get(other)
            free: Key = view.earliest[other]
            if not before:
                free = max(free, view.order_earliest[other])
            if free[0] > first.granted or (before and before[-1].position > first.position):
                ran = "was not yet final" if before else "never ran, and what it waited for itself was not final"
                yield Violation(
                    "order_edges",
                    f"step {step_id!r} was granted at {first.granted} ns, before {other!r}, which comes first on "
                    f"state {state!r} and {ran} (free at {free[0]} ns)",
                    (step_id, other),
                    first.granted,
                )


def conflicting_states(view: View) -> Iterator[Violation]:
    """Never two conflicting states held at once (one writes what the other reads or writes), but by a step and one that
    it calls.
    """
    holders: dict[str, list[Try]] = {}
    graph = view.graph
    for one in view.record.tries:
        step = graph.by_id[one.step_id]
        for state in {*step.reads, *step.writes} if step.reads or step.writes else ():
            holders.setdefault(state, []).append(one)
    for state, tries in holders.items():
        open_tries: list[Try] = []
        for one in tries:
            open_tries = [other for other in open_tries if other.known > one.granted]
            writes = state in graph.by_id[one.step_id].writes
            for other in open_tries:
                if other.step_id == one.step_id or not (writes or state in graph.by_id[other.step_id].writes):
                    continue
                if graph.children and (
                    other.step_id in graph.ancestors(one.step_id) or one.step_id in graph.ancestors(other.step_id)
                ):
                    continue
                yield Violation(
                    "conflicting_states",
                    f"{one.name} was granted at {one.granted} ns while {other.name} held state {state!r} "
                    f"(until {other.known} ns), and at least one of the two writes it",
                    (one.step_id, other.step_id),
                    one.granted,
                )
            open_tries.append(one)


def final_states(view: View) -> Iterator[Violation]:
    """Every step ends in exactly one final state, and the right one."""
    reports_final = "final" in view.record.reports
    for step in view.graph.steps:
        reported = view.record.statuses.get(step.step_id, [])
        if reports_final and (len(reported) != 1 or reported[0] not in FINAL):
            ended = f"reported {', '.join(reported)}" if reported else "in no final state"
            yield Violation(
                "final_states", f"step {step.step_id!r} ends {ended}; it must end in one final state", (step.step_id,)
            )
            continue
        if step.data and not FINAL.issuperset([view.statuses.get(other) for other in step.data]):
            continue
        allowed = view.allowed(step)
        status = view.statuses[step.step_id]
        tries = view.record.by_step.get(step.step_id)
        if tries and step.when is False:
            yield Violation(
                "final_states",
                f"step {step.step_id!r} ran at {tries[0].granted} ns, though its condition is false",
                (step.step_id,),
                tries[0].granted,
            )
        elif reports_final and status not in allowed:
            yield Violation("final_states", _fate_message(view, step, status, allowed), (step.step_id, *step.data))
        elif not reports_final and not tries and not allowed:
            yield Violation("final_states", _fate_message(view, step, None, allowed), (step.step_id, *step.data))


def _fate_message(view: View, step: PlainStep, status: str | None, allowed: Sequence[str]) -> str:
    tries = view.record.by_step.get(step.step_id)
    parts = [f"its dependency {other!r} is {view.statuses.get(other)}" for other in step.data]
    if step.when is not None:
        parts.append(f"its condition is {str(step.when).lower()}")
    if view.stop is not None and view.graph.counts_as_top(step):
        parts.append(f"the run stopped at {view.stop[0]} ns")
    if tries:
        parts.append(
            f"its last attempt, {tries[-1].number} of {step.retry.limit(tries[-1].outcome)}, {tries[-1].outcome}"
        )
    else:
        parts.append("it never ran")
    may = " or ".join(allowed) if allowed else "run" if not tries else "be tried again, or say who cancelled it"
    return f"step {step.step_id!r} ended as {status}, but must {'be ' if allowed else ''}{may}: {'; '.join(parts)}"


def attempts(view: View) -> Iterator[Violation]:
    """Attempts are numbered from 1, no more than asked for, one after another, and only a failure is tried again."""
    for step_id, tries in view.record.by_step.items():
        step = view.graph.by_id[step_id]
        numbers = [one.number for one in tries]
        if numbers != list(range(1, len(tries) + 1)):
            yield Violation("attempts", f"step {step_id!r} has attempts {numbers}; they count from 1", (step_id,))
            continue
        for before, after in pairwise(tries):
            again = f"{after.name} was granted at {after.granted} ns"
            if before.outcome not in FAILURES:
                yield Violation("attempts", f"{again}, though attempt {before.number} {before.outcome}", (step_id,))
            elif before.number >= step.retry.limit(before.outcome):
                yield Violation(
                    "attempts", f"{again}; after one that {before.outcome} there may be {before.number}", (step_id,)
                )
            elif before.outcome == "worker_died" and not step.idempotent:
                yield Violation("attempts", f"{again}, though its worker died and it is not idempotent", (step_id,))
            if after.granted < before.known or after.position < before.position:
                yield Violation(
                    "attempts", f"{again}, before attempt {before.number} was known at {before.known} ns", (step_id,)
                )
            if "ready" in after.seen and after.ready != before.known:
                yield Violation(
                    "attempts",
                    f"{after.name} is ready at {after.ready} ns; a retry is ready when attempt {before.number} is "
                    f"known, at {before.known} ns",
                    (step_id,),
                )


def backoffs(view: View) -> Iterator[Violation]:
    """A retry waits as asked: the whole backoff (``jitter: none``), or at most that (``full``)."""
    waits_told = "wait" in view.record.reports
    for step_id, tries in view.record.by_step.items():
        step = view.graph.by_id[step_id]
        for before, after in pairwise(tries):
            if before.outcome == "worker_died":
                continue
            asked = step.retry.wait_ns(before.number)
            served = after.granted - before.known
            if step.retry.jitter == "none" and served + ROUNDING_NS < asked:
                yield Violation(
                    "backoffs",
                    f"{after.name} was granted {served} ns after attempt {before.number} was known; its backoff is "
                    f"{asked} ns",
                    (step_id,),
                    after.granted,
                )
            if not (view.options.exact and waits_told):
                continue
            recorded = sum(end - start for reason, start, end in after.waits if reason == "backoff")
            calls = view.graph.descendants(step_id)
            abandoned = [one.known - before.known for other in calls for one in view.record.by_step.get(other, ())]
            longest = max(asked, *abandoned, 0)
            wrong = recorded > longest + ROUNDING_NS
            wrong |= step.retry.jitter == "none" and recorded + ROUNDING_NS < asked
            if wrong:
                yield Violation(
                    "backoffs",
                    f"{after.name} records a backoff of {recorded} ns; asked for are "
                    f"{'at most ' if step.retry.jitter == 'full' else ''}{asked} ns",
                    (step_id,),
                    after.ready,
                )


def timeouts(view: View) -> Iterator[Violation]:
    """On an exact clock an attempt never outlives its timeout, counted from ``started``, blocked time included."""
    for one in view.record.tries:
        limit = view.graph.by_id[one.step_id].timeout_ns
        lasted = one.ended - one.started
        if one.outcome == "timed_out" and limit is None:
            yield Violation("timeouts", f"{one.name} timed out, but its step has no timeout", (one.step_id,))
        elif limit is None or not view.options.exact:
            continue
        elif lasted > limit + ROUNDING_NS:
            yield Violation("timeouts", f"{one.name} lasted {lasted} ns; its timeout is {limit} ns", (one.step_id,))
        elif one.outcome == "timed_out" and lasted + ROUNDING_NS < limit:
            yield Violation(
                "timeouts", f"{one.name} timed out after {lasted} ns; its timeout is {limit} ns", (one.step_id,)
            )


def outcomes(view: View) -> Iterator[Violation]:
    """Each attempt is recorded as it ended, unless a timeout or a cancellation came before."""
    if view.options.outcomes is None:
        return
    for one in view.record.tries:
        expected = view.options.outcomes(one.step_id, one.number)
        if expected is None or one.outcome in (expected, "cancelled"):
            continue
        if one.outcome == "timed_out" and view.graph.by_id[one.step_id].timeout_ns is not None:
            continue
        yield Violation(
            "outcomes", f"{one.name} {expected}, but is recorded as {one.outcome}", (one.step_id,), one.known
        )


def stopping(view: View) -> Iterator[Violation]:
    """Once a step with ``on_failure: stop`` has failed, no top-level step is granted; once a step or the run was
    cancelled, it is not granted either.
    """
    stop = view.stop
    for one in view.record.tries if stop is not None or view.record.cancels else ():
        step = view.graph.by_id[one.step_id]
        if stop is not None and view.graph.counts_as_top(step):
            sure = stop[0] < one.granted or (view.options.exact and stop == (one.granted, 0))
            if sure:
                yield Violation(
                    "stopping",
                    f"{one.name} was granted at {one.granted} ns, though the run stopped at {stop[0]} ns",
                    (one.step_id,),
                    one.granted,
                )
        for time, step_id in view.record.cancels:
            if time < one.granted and step_id in (None, one.step_id):
                target = "the run" if step_id is None else "it"
                yield Violation(
                    "stopping",
                    f"{one.name} was granted at {one.granted} ns, though {target} was cancelled at {time} ns",
                    (one.step_id,),
                    one.granted,
                )


def readiness(view: View) -> Iterator[Violation]:
    """``ready`` is when all data dependencies are final: never before, and on an exact clock that very instant."""
    for step_id, tries in view.record.by_step.items():
        first = tries[0]
        step = view.graph.by_id[step_id]
        if "ready" not in first.seen or first.number != 1:
            continue
        (early, _), (late, _) = view.decided[step_id]
        if first.ready < early:
            yield Violation(
                "readiness",
                f"step {step_id!r} is recorded as ready at {first.ready} ns; what it depends on was final only at "
                f"{early} ns",
                (step_id, *step.data),
                first.ready,
            )
        elif view.options.exact and not (step.parent is None and step.call) and first.ready > late:
            yield Violation(
                "readiness",
                f"step {step_id!r} is recorded as ready at {first.ready} ns; all that it depends on was final at "
                f"{late} ns already",
                (step_id, *step.data),
                first.ready,
            )


def reuse(view: View) -> Iterator[Violation]:
    """A step whose result an earlier run left ends when it would start, and has no attempt: all that it depends on is
    final, its order edges are satisfied, and on an exact clock it does not wait for anything else.
    """
    for step in view.graph.steps:
        if step.reused is None:
            continue
        ended = f"step {step.step_id!r} ended by reuse at {step.reused_ns} ns"
        if view.record.ran(step.step_id):
            yield Violation("reuse", f"{ended}, and has an attempt", (step.step_id,))
        early, late = view.decided[step.step_id]
        early, late = max(early, view.order_earliest[step.step_id]), max(late, view.order_latest[step.step_id])
        if step.reused_ns < early[0]:
            yield Violation("reuse", f"{ended}; what it comes after was final only at {early[0]} ns", (step.step_id,))
        waits = view.graph.policy in ("levels", "barrier") and step.parent is None
        if view.options.exact and not waits and step.reused_ns > late[0]:
            yield Violation("reuse", f"{ended}; what it comes after was final at {late[0]} ns already", (step.step_id,))


def released_by(view: View) -> Iterator[Violation]:
    """``released_by`` names the step whose end made the attempt ready (through skipped steps), the parent for a
    call that waited for no other, or no step.
    """
    for step_id, tries in view.record.by_step.items():
        first = tries[0]
        if first.number != 1 or first.released_by is UNKNOWN:
            continue
        step = view.graph.by_id[step_id]
        named = first.released_by
        if isinstance(named, str) and named in step.data and view.record.ran(named):
            fits = view.earliest[named][0] == first.ready
        else:
            fits = named is None and step.parent is None and first.ready == 0
        if fits:
            continue  # it is one of those that fit, whatever the others are
        ends, reused = _releasing(view, step)
        if any(view.options.unlisted_cancellations or view.earliest[other] != view.latest[other] for other in ends):
            continue
        fitting: set[object] = {other for other in ends if view.earliest[other][0] == first.ready}
        if reused:
            # A reused step may have waited for a lock or a barrier: its own end is no one's end in the record.
            fitting |= {*ends, None}
        added = view.added(step)
        if step.parent is not None:
            fitting = fitting | {step.parent} if first.ready == added else fitting
        elif not any(view.earliest[other][0] > 0 for other in ends) or step.call or first.ready == 0:
            fitting.add(None)
        if not fitting and not view.options.exact:
            continue
        if named not in fitting:
            possible = ", ".join(sorted(map(repr, fitting))) or "no step that ended then"
            yield Violation(
                "released_by",
                f"step {step_id!r} became ready at {first.ready} ns, by its record through {named!r}; "
                f"possible is {possible}",
                (step_id,),
                first.ready,
            )


def _releasing(view: View, step: PlainStep) -> tuple[set[str], bool]:
    """The steps that ran and whose end can have made this one ready, directly or through steps that never ran; and
    whether one of these was reused.
    """
    found: set[str] = set()
    reused = False
    seen: set[str] = set()
    open_ids = list(step.data)
    while open_ids:
        other = open_ids.pop()
        if other in seen:
            continue
        seen.add(other)
        if view.record.ran(other):
            found.add(other)
        else:
            reused |= view.graph.by_id[other].reused is not None
            open_ids += view.graph.by_id[other].data
    return found, reused


def nested_calls(view: View) -> Iterator[Violation]:
    """A call belongs to its parent: it runs while the parent is blocked, touches only the parent's states (writes only
    what the parent writes), depends on siblings or on steps already final, and is not nested too deep.
    """
    graph = view.graph
    for step_id, tries in view.record.by_step.items():
        step = graph.by_id[step_id]
        if step.parent is None:
            continue
        parent = graph.by_id[step.parent]
        callers = view.record.by_step.get(step.parent, ())
        first, last = tries[0], tries[-1]
        ran = f"call {step_id!r} ran"
        faults = []
        if not set(step.reads) <= {*parent.reads, *parent.writes} or not set(step.writes) <= set(parent.writes):
            faults.append("though it touches states that its parent does not hold")
        if graph.depths[step_id] > DEPTH_LIMIT:
            faults.append(f"at depth {graph.depths[step_id]}; the limit is {DEPTH_LIMIT}")
        faults += [
            f"depending on {other!r}, which is no sibling and was not final"
            for other in step.data
            if graph.by_id[other].parent != step.parent and view.earliest[other][0] > first.ready
        ]
        within = [
            (blocked, unblocked, one)
            for one in callers
            for blocked, unblocked in zip(one.blocked_at, one.unblocked_at, strict=True)
            if blocked <= first.granted and last.ended <= unblocked
        ]
        dead = [one for one in callers if one.outcome not in ("succeeded", None) and first.granted <= one.known]
        if "blocked" in view.record.reports and not within and not dead:
            faults.append(f"from {first.granted} to {last.ended} ns, while its parent was not blocked on it throughout")
        elif not callers:
            faults.append("though its parent never ran")
        for fault in faults:
            yield Violation("nested_calls", f"{ran} {fault}", (step_id, step.parent), first.granted)


def mapped_steps(view: View) -> Iterator[Violation]:
    """A mapped step has one attempt, which ends when its last item is final: failed if an item failed, else cancelled
    if one was cancelled, else succeeded; unless it was cancelled before.
    """
    for step in view.graph.steps:
        tries = view.record.by_step.get(step.step_id, ()) if step.mapped else ()
        for one in tries:
            fault = _fault(view, step, one)
            if fault is not None:
                yield Violation("mapped_steps", f"{one.name} {fault}", (step.step_id,), one.known)


def _fault(view: View, step: PlainStep, one: Try) -> str | None:
    items = view.graph.children.get(step.step_id, ())
    states = [view.statuses.get(item) for item in items]
    expected = "failed" if "failed" in states else "cancelled" if "cancelled" in states else "succeeded"
    if one.number > 1:
        return "is a second one; items are tried again, not their step"
    if one.outcome == "cancelled" and view.cancel_times(step):
        return None
    if one.outcome != expected:
        return f"{one.outcome}, but must be {expected}: its items are {', '.join(map(str, states)) or 'none'}"
    early = max((view.earliest[item] for item in items), default=(one.granted, 0))[0]
    late = max((view.latest[item] for item in items), default=(one.granted, 0))[0]
    if one.known < early:
        return f"was known at {one.known} ns; its last item was final only at {early} ns"
    if view.options.exact and one.known > late:
        return f"was known at {one.known} ns; its last item was final at {late} ns already"
    return None

"""What is wrong with a run that was played for real: the oracle's properties, and what the steps themselves saw. The
names of properties are those of :mod:`harness.testing.fuzz.faulty_run_judging`.

Rules of this module:
- What depends on the machine (whether a timeout of a millisecond comes before the end) is left open.
- The steps' own notes are a second witness: the keeper of the record knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from executor.record.timeline import Attempt
from harness.testing.drawing.behaviour import AttemptPlan, StepPlan, graph_of_run, output_of, plans_of_run
from harness.testing.fuzz.real_runs import RealRun
from harness.testing.fuzz.real_steps import GIVEN_UP, Seen
from harness.testing.fuzz.transition_coverage import WatchedScheduler
from harness.testing.oracle.judge import OPT_IN, PROPERTIES, Violation, check_timeline
from harness.testing.oracle.plain_graph import PlainGraph

# How late a thread may be woken on a busy machine.
TOLERANCE_NS = 50_000_000
_ERRORS = {"failed": "RuntimeError", "timed_out": "Timeout", "worker_died": "WorkerDied"}


def judge_real(played: RealRun) -> list[Violation]:
    """All that is wrong with a real run."""
    if played.hang is not None:
        return [Violation("ends", played.hang)]
    if played.error is not None:
        return [Violation("ends", f"{type(played.error).__name__}: {played.error}")]
    workflow, behaviour = played.run
    try:
        graph = graph_of_run(workflow, behaviour, played.timeline, complete=played.steady)
        plans = plans_of_run(behaviour, played.timeline, complete=played.steady)
    except ValueError as error:
        return [Violation("calls", str(error))]
    found = check_timeline(
        graph,
        played.timeline,
        exact=False,
        properties=_applicable(played),
        outcomes=lambda step_id, number: plans[step_id].attempt(number).outcome if plans[step_id].attempts else None,
        handed_out_ahead=played.backend in ("processes", "dask", "ray"),
        # A step that gives up a call cancels it.
        unlisted_cancellations=bool(played.cancellations)
        or (any(seen.what == "gave_up" for seen in played.notes) and "calls"),
        tolerance_ns=TOLERANCE_NS,
    )
    scheduler = played.engine.scheduler
    if isinstance(scheduler, WatchedScheduler):
        scheduler.reached()
        found += [Violation("transitions", message) for message in scheduler.illegal]
    found += _outputs(played, graph, plans)
    found += _witnesses(played, {step_id for step_id, plan in plans.items() if plan.attempts})
    return found


def _applicable(played: RealRun) -> set[str]:
    """The oracle's properties that such a run must have."""
    wanted = set(PROPERTIES) - OPT_IN
    if not played.steady:
        # Which step a batch must take next depends on locks that a call past its end holds; the record has none.
        wanted.discard("barriers")
    return wanted


# ------------------------------------------------------------------ outputs


def _outputs(played: RealRun, graph: PlainGraph, plans: Mapping[str, StepPlan]) -> Iterator[Violation]:
    """What each step's output must be follows from its words, its plan and how its calls ended."""
    outputs, timeline = played.engine.outputs, played.timeline
    last = {attempt.step_id: attempt for attempt in timeline.attempts}
    words = {step.step_id: step for step in played.run.workflow.steps}
    given_up = _given_up(played.notes)
    results = {call: _result(call, status, outputs, last) for call, status in played.statuses.items()}
    for step_id, status in played.statuses.items():
        if (status == "succeeded") != (step_id in outputs):
            there = "an" if step_id in outputs else "no"
            yield Violation("outputs", f"step {step_id!r} is {status}, and has {there} output", (step_id,))
        if status != "succeeded" or step_id not in outputs:
            continue
        step = words.get(step_id)
        called = graph.children.get(step_id, ())
        if step is not None and step.for_each is not None:
            expected: object = [outputs.get(item) for item in called]
        else:
            # The items of a mapped step see its prompt.
            asks = words.get(graph.by_id[step_id].parent or "") if step is None else step
            prompt = None
            if asks is not None and asks.prompt is not None and (step is not None or asks.for_each is not None):
                prompt = "".join(str(outputs.get(other)) for other in graph.by_id[asks.step_id].data)
            number = last[step_id].attempt
            found = _found(plans[step_id].attempt(number), given_up.get((step_id, number), []), called, results)
            expected = output_of(step_id, [prompt, *found])
        if outputs[step_id] != expected:
            message = (
                f"step {step_id!r} gave {outputs[step_id]!r}; from what it depends on and calls it must be {expected!r}"
            )
            yield Violation("outputs", message, (step_id,))


def _given_up(notes: Sequence[Seen]) -> dict[tuple[str, int], list[bool]]:
    """By attempt: of each of its batches of calls, whether it was given up."""
    found: dict[tuple[str, int], list[bool]] = {}
    for seen in notes:
        batches = found.setdefault((seen.step_id, seen.attempt), [])
        if seen.what == "called":
            batches.append(False)
        elif seen.what == "gave_up":
            batches[-1] = True
    return found


def _found(plan: AttemptPlan, given_up: Sequence[bool], called: Sequence[str], results: Mapping[str, Any]) -> list[Any]:
    """What the calls of a step's last attempt gave: those of the attempts before it come first."""
    sizes = [len(call.children) for call in plan.calls]
    mine = iter(called[len(called) - sum(sizes) :])
    found = []
    for size, gone in zip(sizes, given_up, strict=False):
        for _ in range(size):
            result = results[next(mine)]
            found.append(GIVEN_UP if gone else result)
    return found


def _result(call: str, status: str, outputs: Mapping[str, Any], last: Mapping[str, Attempt]) -> Any:
    if status == "succeeded":
        return outputs.get(call)
    return f"{call} {_ERRORS[str(last[call].outcome)] if status == 'failed' and call in last else 'Cancelled'}"


# ------------------------------------------------------------------ what the steps saw


def _witnesses(played: RealRun, doing: Container[str]) -> Iterator[Violation]:
    """``doing``: the steps that do something themselves; mapped ones do not."""
    attempts = {(one.step_id, one.attempt): one for one in played.timeline.attempts if one.step_id in doing}
    notes: dict[tuple[str, int], list[Seen]] = {}
    for seen in played.notes:
        notes.setdefault((seen.step_id, seen.attempt), []).append(seen)
    for key, one in attempts.items():
        yield from _agrees(one, notes.get(key, []), played.engine.origin)
    for (step_id, number), _ in sorted(notes.items()):
        if (step_id, number) not in attempts:
            message = f"step {step_id!r} attempt {number} began, but the record has no such attempt: it is {{}}"
            yield Violation("witnesses", message.format(played.statuses.get(step_id)), (step_id,))
    yield from _really_running(played, attempts, notes)


def _agrees(one: Attempt, notes: list[Seen], origin: int) -> Iterator[Violation]:
    """One attempt and its own notes."""
    name = f"{one.step_id!r} attempt {one.attempt}"
    began = sum(seen.what == "began" for seen in notes)
    ran = one.outcome in ("succeeded", "failed")
    if began > 1 or (ran and not began):
        yield Violation("witnesses", f"{name} {one.outcome}, and began {began} times", (one.step_id,))
        return
    back = [seen for seen in notes if seen.what == "resumed"]
    if not ran:
        return
    # In the last place of those where it waited, it goes on when the record says so, and not before.
    for seen, (_, until) in zip(back[::-1], list(one.blocked)[::-1], strict=False):
        resumed = max([until, *(end for _, start, end in one.waits if start == until)])
        if seen.time_ns - origin < resumed:
            message = f"{name} went on at {seen.time_ns - origin} ns, but by the record only at {resumed} ns"
            yield Violation("witnesses", message, (one.step_id,))
        if len(back) != len(one.blocked):
            break
    over = [seen for seen in notes if seen.what == "ended"]
    if not over or (one.ended is not None and over[0].time_ns - origin > one.ended):
        yield Violation(
            "witnesses", f"{name} is recorded as ended at {one.ended} ns, before its own end", (one.step_id,)
        )


def _really_running(
    played: RealRun, attempts: Mapping[tuple[str, int], Attempt], notes: Mapping[tuple[str, int], list[Seen]]
) -> Iterator[Violation]:
    """How many steps really ran at once; one that was given up counts no more."""
    origin = played.engine.origin
    workers = 1 if played.run.behaviour.policy == "serial" else played.run.behaviour.workers
    changes: list[tuple[int, int, str]] = []
    for key, seen in notes.items():
        one = attempts.get(key)
        if one is None or one.known is None:
            continue
        until = one.known
        closing = Seen("ended", *key, until + origin)
        for start, end in pairwise([*seen, closing]):
            if start.what in ("began", "resumed") and start.time_ns - origin < until:
                changes += [
                    (start.time_ns - origin, 1, one.step_id),
                    (min(end.time_ns - origin, until), -1, one.step_id),
                ]
    running = 0
    for time, change, step_id in sorted(changes):
        running += change
        if running > workers:
            message = f"step {step_id!r} ran at {time} ns; then {running} steps really run on {workers} workers"
            yield Violation("witnesses", message, (step_id,), time)
            return

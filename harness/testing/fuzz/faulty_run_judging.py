"""What is wrong with a run that was played with faults: the oracle's properties, and some that only a simulation knows.

Rules of this module:
- A fault that was injected is never itself a finding; what the run made of it may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from executor.dependencies import Graph
from harness.testing.drawing.behaviour import called_by, graph_of_run, output_of
from harness.testing.drawing.generator import DrawnRun
from harness.testing.fuzz.faults import NO_FAULTS
from harness.testing.fuzz.faulty_simulation import Played, play, reserving_after
from harness.testing.oracle.judge import OPT_IN, PROPERTIES, Violation, check_timeline, outputs_equal, same_schedule
from harness.testing.oracle.plain_graph import PlainGraph

OWN_PROPERTIES = {
    "ends": "The run ends: it does not break, and it does not go round in circles.",
    "transitions": "Every change of a step's state is in the table.",
    "invariants": "The scheduler's books agree with the states, after each turn.",
    "calls": "The steps that were called are those that the running steps asked for.",
    "calls_past_their_end": "A call that goes on past its end keeps its states, and its step is not tried again.",
    "stale_news": "News that comes late or again changes nothing, and is counted.",
    "outputs": "Every step that succeeded saw the outputs of all that it depends on; late news changed none.",
    "instruments": "An instrument that raises is switched off with a warning, and changes nothing else.",
    "determinism": "The same run with the same faults has the same schedule.",
    "serial_outputs": "A run side by side ends as a serial one does, with the same outputs.",
    "finished_once": "A run that died and was resumed ends each step once: what was durable is not done again, nothing "
    "else is taken for done; what must not be done twice and may have been done is asked about, never guessed.",
    "resumed_equals_undisturbed": "It ends with the final states, skips and outputs of an undisturbed run.",
    "shown_resume": "Where a resume says beforehand that a step is reused, or that it runs, it is so.",
    "resizes": "Every change of the number of workers is in the record, and nothing else is taken for one.",
    "witnesses": "What the steps of a real run noted themselves agrees with its record: which began, how often; none "
    "goes on after a call before the record says so; never more of them really run than there are workers.",
}
"""What is checked beside :data:`harness.testing.oracle.judge.PROPERTIES`."""

BY_BATCHES = frozenset({"work_conserving", "blocked_parents_hold_no_slot", "no_starvation"})
"""What is judged by when the batches of ``barrier`` opened."""
HARMLESS = frozenset({"disorder", "repeated", "instruments", "conditions"})
"""Faults that change neither final states nor outputs."""


def judge_played(played: Played) -> list[Violation]:
    """All that is wrong with it."""
    with reserving_after(played.faults.overtakes):
        return _judge(played)


def _judge(played: Played) -> list[Violation]:
    if played.error is not None:
        name = "invariants" if str(played.error).startswith("broken invariant") else "ends"
        return [Violation(name, f"{type(played.error).__name__}: {played.error}")]
    found = [Violation("transitions", message) for message in _illegal(played)]
    found += _recorded(played)
    found += [Violation("calls_past_their_end", message) for message in played.overlaps]
    found += _stale_news(played)
    found += _outputs(played)
    found += _instruments(played)
    found += _resizes(played)
    return found


def judge_again(played: Played, graph: Graph | None = None) -> list[Violation]:
    """Play it once more, and once serially, and compare."""
    found = []
    again = play(played.run, played.faults, graph=graph)
    found += [Violation("determinism", message) for message in same_schedule(played.timeline, again.timeline)]
    found += [
        Violation("determinism", message) for message in outputs_equal(played.engine.outputs, again.engine.outputs)
    ]
    harmless = set(HARMLESS)
    if not any(step.timeout is not None for step in played.run.workflow.steps):
        # With timeouts, news that is held back ends steps.
        harmless.add("held")
    if played.faults.kinds() <= harmless:
        found += compare_with_serial(played, graph)
    return found


def compare_with_serial(played: Played, graph: Graph | None = None) -> list[Violation]:
    """Play it with one worker, one step after the other, and compare final states and outputs, as far as these do not
    depend on which step comes first.
    """
    if depends_on_order(played.run):
        return []
    serial = replace(played.run.behaviour, policy="serial", workers=1)
    faults = replace(NO_FAULTS, conditions=played.faults.conditions)
    other = play(DrawnRun(played.run.workflow, serial), faults, graph=graph)
    mine, theirs = (
        dict(zip(timeline.step_ids, timeline.statuses, strict=True)) for timeline in (played.timeline, other.timeline)
    )
    found = [
        Violation("serial_outputs", f"step {step_id!r} is {mine[step_id]}, in a serial run {theirs.get(step_id)}")
        for step_id in mine
        if mine[step_id] != theirs.get(step_id)
    ]
    return found + [
        Violation("serial_outputs", message) for message in outputs_equal(played.engine.outputs, other.engine.outputs)
    ]


def depends_on_order(run: DrawnRun) -> bool:
    """Whether the steps' final states depend on when things happen: cancellations, a stop, a blocked step's timeout."""
    workflow, behaviour = run
    if behaviour.cancellations or any(step.on_failure == "stop" for step in workflow.steps):
        return True
    calls = [child.step for plan in behaviour.steps.values() for child in called_by(plan)]
    return bool(calls) and any(step.timeout is not None for step in (*workflow.steps, *calls))


def _illegal(played: Played) -> list[str]:
    played.scheduler.reached()
    return played.scheduler.illegal


def _recorded(played: Played) -> Iterator[Violation]:
    workflow, behaviour = played.run
    try:
        graph = graph_of_run(workflow, behaviour, played.timeline)
    except ValueError as error:
        yield Violation("calls", str(error))
        return
    graph = with_reused(graph, played)
    statuses = dict(zip(played.timeline.step_ids, played.timeline.statuses, strict=True))
    ran = {attempt.step_id for attempt in played.timeline.attempts}
    for violation in check_timeline(
        graph,
        played.timeline,
        exact=played.faults.exact,
        properties=_applicable(played),
        cancellations=played.cancellations,
        resizes=played.resizes,
    ):
        broken = violation.property == "final_states" and violation.steps[0] in played.faults.conditions
        if broken and statuses[violation.steps[0]] == "failed" and violation.steps[0] not in ran:
            continue
        yield violation


def with_reused(graph: PlainGraph, played: Played) -> PlainGraph:
    """The graph with the steps that have their result from an earlier run."""
    scheduler = played.scheduler
    if not scheduler.reused_at:
        return graph
    ended = {scheduler.step_ids[index]: time for index, time in scheduler.reused_at.items()}
    left_out = {scheduler.step_ids[index] for index in scheduler.reused_at if scheduler.status(index) == "skipped"}
    return replace(
        graph,
        steps=tuple(
            step._replace(reused="skipped" if step.step_id in left_out else "succeeded", reused_ns=ended[step.step_id])
            if step.step_id in ended
            else step
            for step in graph.steps
        ),
    )


def _applicable(played: Played) -> set[str]:
    """The oracle's properties that such a run must have."""
    faults = played.faults
    wanted = set(PROPERTIES) if faults.exact else set(PROPERTIES) - OPT_IN
    if faults.kinds() & {"held", "lost", "clock"}:
        # The bound is one on schedulers that hear of every end at once.
        wanted.discard("graham_bound")
    if faults.overtakes is not None:
        # The oracle knows that something is reserved, but not the reason that others get for it.
        wanted.discard("wait_reasons")
    if any(amount < 0 for _, amount in faults.clock):
        # While a clock that was set back catches up, one instant has many turns: starts come before ends there.
        wanted.discard("rates")
    if played.scheduler.reused_at and played.run.behaviour.policy == "barrier":
        # A batch of reused steps is over at once: the record says which were, not when it was their turn.
        wanted -= {"barriers", "wait_reasons", *BY_BATCHES}
    if faults.stubborn or faults.conditions:
        # Which step a batch must take next depends on locks that a call past its end holds, and on when a step without
        # attempts failed; the record has neither.
        wanted -= {"barriers", "wait_reasons"}
    return wanted


def _stale_news(played: Played) -> Iterator[Violation]:
    dropped = played.engine.dropped_completions
    # A call that is asked to stop and goes on reports its end late: that is no stale news, the run waits for it.
    if dropped != played.stale_news and not played.faults.stubborn:
        yield Violation("stale_news", f"{played.stale_news} late or repeated completions came, {dropped} were dropped")


def _resizes(played: Played) -> Iterator[Violation]:
    expected: list[tuple[int, int]] = [(0, played.run.behaviour.workers)]
    for time, sizes in played.resizes:
        if sizes.get("workers", expected[-1][1]) != expected[-1][1]:
            expected.append((time, sizes["workers"]))
    recorded = list(played.timeline.worker_changes) or expected[:1]
    if recorded != expected and played.run.behaviour.policy != "serial":
        yield Violation("resizes", f"the workers were {expected} (nanoseconds, workers), the record has {recorded}")


def _outputs(played: Played) -> Iterator[Violation]:
    outputs, graph, ids = played.engine.outputs, played.engine.graph, played.engine.scheduler.step_ids
    for index in range(len(graph.steps)):
        step_id = ids[index]
        succeeded = played.timeline.statuses[index] == "succeeded"
        if succeeded != (step_id in outputs):
            yield Violation(
                "outputs", f"step {step_id!r} {'has no' if succeeded else 'did not succeed and has an'} output"
            )
        elif succeeded:
            seen = [outputs.get(ids[parent]) for parent in graph.data_parents[index]]
            expected: object = output_of(step_id, seen)
            if played.scheduler.is_mapped(index):
                expected = [outputs.get(ids[item]) for item in played.scheduler.family_calls(index)]
            if outputs[step_id] != expected:
                yield Violation(
                    "outputs",
                    f"step {step_id!r} gave {outputs[step_id]!r}; from what it depends on it must be {expected!r}",
                    (step_id,),
                )


def _instruments(played: Played) -> Iterator[Violation]:
    raised = sum(instrument.calls_left <= 0 for instrument in played.instruments)
    warned = len(played.engine.instruments.warnings)
    if raised != warned:
        yield Violation("instruments", f"{raised} instruments raised, and {warned} warnings say so")

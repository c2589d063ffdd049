"""The result document of runs, from their timelines.

Rules of this module:
- The document is plain JSON values, and finite.
- A step's output that JSON cannot hold becomes null, and ``output_error`` says why.
- Fields that describe one run, and ``steps``, come from the repetition with the lower median makespan.
- The field names are those of ``harness/schemas/run.schema.json``, where each is described.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from executor.model.workflow import Step
from executor.record.remote_outputs import OutputGoneError
from executor.record.timeline import NANOSECONDS, Attempt, AttemptFailure, Timeline
from executor.tracing.attribute_names import ERROR_MESSAGE, INPUT_MESSAGES, OUTPUT_MESSAGES
from executor.tracing.span_contents import EVENTS_FACT, SPANS_FACT
from harness.analysis import Summary, summary
from harness.analysis.attempt_index import AttemptIndex
from harness.files.encoded_list import EncodedList
from harness.plain_text import one_line
from harness.result.resumed_document import earlier_attempts, resumed_document

if TYPE_CHECKING:
    from executor.journal.earlier_run import EarlierRun

SCHEMA = "makespan.run/1"
# Deeper values can be written by some JSON libraries and read by none; the document adds a few levels of its own.
DEEPEST_OUTPUT = 200
# Facts that belong to spans alone: spans and events of step code, prompts and answers.
FACTS_LEFT_OUT = frozenset({SPANS_FACT, EVENTS_FACT, INPUT_MESSAGES, OUTPUT_MESSAGES, ERROR_MESSAGE})
# Of larger runs the seconds of every step are given for the shown repetition alone.
STEPS_TOLD_PER_SAMPLE = 1000
# Characters of why an attempt failed; the step's error is whole.
LONGEST_MESSAGE = 500
# Of a capacity that was found out.
CHANGES_TOLD = 1000

Document = dict[str, Any]
Verdict = Literal["faster", "slower", "undecided"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median over repetitions with its 95 % interval (None for one sample)."""

    median: float
    ci95: tuple[float, float] | None = None

    def document(self) -> Document:
        """As it is in the result."""
        return {"median": self.median, "ci95": None if self.ci95 is None else list(self.ci95)}


@dataclass(frozen=True, slots=True)
class Repetition:
    """One run: what happened, what came out (by step id), and how long the paired ``serial`` run took, if any.

    ``errors`` are shown as their text. ``foreign``: the trace was made elsewhere and may lack ``released_by``.
    ``steps`` are the words of the steps by id; ``usage`` are further figures of the sample (CPU time, memory).
    ``started_at``: when t = 0 was, ISO 8601. ``trace_id``: of its trace, 32 hexadecimal digits. ``facts`` are what
    tools noted of their attempts. ``reused``: the steps whose result an earlier run left, and its id; those that are
    ``cached`` in the timeline came from the cache. ``resumed``: the run that this one went on from.
    """

    timeline: Timeline
    outputs: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, object] = field(default_factory=dict)
    baseline_seconds: float | None = None
    usable_cores: int | None = None
    foreign: bool = False
    steps: Mapping[str, Step] = field(default_factory=dict)
    usage: Mapping[str, float | None] = field(default_factory=dict)
    trace_id: str | None = None
    facts: Mapping[Attempt, Mapping[str, Any]] = field(default_factory=dict)
    started_at: str | None = None
    reused: Mapping[str, str] = field(default_factory=dict)
    resumed: EarlierRun | None = None


def run_document(
    *, run_id: str, scenario: str, started_at: str, environment: Mapping[str, Any], results: Sequence[Document]
) -> Document:
    """The whole document. ``started_at`` is ISO 8601; ``results`` come from :func:`result_document`."""
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "scenario": scenario,
        "started_at": started_at,
        "environment": dict(environment),
        "results": list(results),
    }


def result_document(
    repetitions: Sequence[Repetition],
    *,
    executor: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    makespan: Estimate | None = None,
    speedup: Estimate | None = None,
    speedup_verdict: Verdict | None = None,
    scenario: str | None = None,
    summaries: Sequence[Summary] | None = None,
    order: Document | None = None,
    encoded_steps: bool = False,
) -> Document:
    """One entry of ``results``: a cell of the matrix, or the one run of ``makespan run``.

    ``scenario`` is named where the document holds several. ``executor`` defaults to the timeline's backend;
    ``makespan`` to the median without an interval. Speedup is null where no baseline was measured. ``summaries``: of
    the repetitions, where they are at hand. ``order``: how the order of starts was found, under the policy ``best``.
    ``encoded_steps``: ``steps`` is an :class:`.EncodedList`, for a run so large that its document is written and not
    looked at.

    Raises:
        ValueError: there is no repetition, or a timeline's dependencies form a cycle.

    """
    if not repetitions:
        raise ValueError("a result needs at least one repetition")
    if summaries is None:
        summaries = [
            summary(one.timeline, usable_cores=one.usable_cores, foreign=one.foreign) for one in repetitions
        ]  # fmt: skip
    ordered = sorted(range(len(repetitions)), key=lambda number: summaries[number].makespan_seconds)
    chosen = ordered[(len(ordered) - 1) // 2]
    shown, figures = repetitions[chosen], summaries[chosen]
    timeline = shown.timeline
    if makespan is None:
        makespan = Estimate(statistics.median(one.makespan_seconds for one in summaries))
    return {
        **({} if scenario is None else {"scenario": scenario}),
        "executor": executor if executor is not None else timeline.backend,
        "workers": timeline.workers,
        "policy": timeline.policy,
        **({} if order is None else {"order": order}),
        "parameters": dict(parameters or {}),
        "repetitions": len(repetitions),
        "makespan_seconds": makespan.document(),
        "speedup_ratio": None if speedup is None else speedup.document(),
        "speedup_verdict": speedup_verdict,
        "efficiency_ratio": None if speedup is None or timeline.workers < 1 else speedup.median / timeline.workers,
        **_figures(figures),
        **_cautions(figures, shown),
        **({} if shown.trace_id is None else {"trace_id": shown.trace_id}),
        **_states(shown),
        **_resumed(shown),
        **record_document(shown, encoded_steps=encoded_steps),
        "samples": [_sample(one, its) for one, its in zip(repetitions, summaries, strict=True)],
    }


def record_document(repetition: Repetition, *, encoded_steps: bool = False) -> Document:
    """What happened in one run and what came out, without a figure: the fields of a result that
    :func:`harness.result.result_reading.timeline_from_document` reads. ``encoded_steps``: see :func:`result_document`.
    """
    timeline = repetition.timeline
    return {
        "workers": timeline.workers,
        "policy": timeline.policy,
        "startup_seconds": timeline.startup_seconds,
        "backend": timeline.backend,
        "resources": {
            name: resource.model_dump(mode="json", exclude={"auto"}) for name, resource in timeline.resources.items()
        },
        **_capacities(timeline),
        "steps": EncodedList(_steps(repetition)) if encoded_steps else list(_steps(repetition)),
    }


def _capacities(timeline: Timeline) -> Document:
    """What held for a part of the run alone: capacities that were found out, numbers of workers; and their clocks."""
    curves = {
        name: [[_seconds(time), capacity] for time, capacity in _thinned(changes)]
        for name, changes in timeline.capacity_changes.items()
    }
    workers = [[_seconds(time), count] for time, count in _thinned(timeline.worker_changes)]
    clocks = {
        worker: {
            "offset_seconds": _seconds(reading.offset_nanoseconds),
            "error_seconds": _seconds(reading.error_nanoseconds),
            "drift_ratio": reading.drift_ratio,
            "round_trips": reading.round_trips,
            "resets": reading.resets,
        }
        for worker, reading in timeline.clocks.items()
    }
    return {
        **({"capacity_changes": curves} if curves else {}),
        **({"worker_changes": workers} if workers else {}),
        **({"clocks": clocks} if clocks else {}),
    }


def _states(repetition: Repetition) -> Document:
    """What steps could have waited for a lock of, whether or not one did."""
    names = {name for step in repetition.steps.values() for name in (*step.reads, *step.writes)}
    return {"states": sorted(names)} if names else {}


def _cautions(figures: Summary, repetition: Repetition) -> Document:
    """What to know before acting on the figures."""
    found = [str(caution) for caution in figures.cautions]
    steps, cached = len(repetition.timeline.step_ids), len(repetition.timeline.cached)
    reused = len(repetition.reused) - cached
    rest = "the figures are those of the rest alone"
    if reused:
        found.append(f"{reused} of {steps} steps were reused from an earlier run: {rest}")
    if cached:
        found.append(f"{cached} of {steps} steps took their output from the cache: {rest}")
    return {"cautions": found}


def _resumed(repetition: Repetition) -> Document:
    """The run that this one went on from, with what was done in it."""
    if repetition.resumed is None:
        return {}
    attempts = [_attempt(attempt, place, None) for place, attempt in enumerate(earlier_attempts(repetition.resumed))]
    return {"resumed": {**resumed_document(repetition.resumed), "attempts": attempts}}


def _thinned(changes: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """At most so many of them, evenly, and the last one."""
    if len(changes) <= CHANGES_TOLD:
        return changes
    step = -(-len(changes) // CHANGES_TOLD)
    return [*changes[:-1:step], changes[-1]]


def _figures(figures: Summary) -> Document:
    return {
        "work_seconds": figures.work_seconds,
        "cpu_seconds": figures.cpu_seconds,
        "critical_path_seconds": figures.critical_path_seconds,
        "critical_path": [
            {"step_id": part.step_id, "seconds": part.seconds, "share_ratio": part.share_ratio}
            for part in figures.critical_path
        ],
        "lower_bound_seconds": figures.lower_bound_seconds,
        "lower_bound_terms_seconds": dict(figures.lower_bound_terms),
        "binding_bound": figures.binding_bound,
        "schedule_efficiency_ratio": figures.schedule_efficiency_ratio,
        "concurrency": {
            "mean": figures.concurrency_mean,
            "max": figures.concurrency_max,
            "seconds": {str(level): seconds for level, seconds in figures.concurrency_seconds.items()},
        },
        "lost_seconds": dict(figures.lost_seconds),
        "overhead_seconds_per_step": figures.overhead_seconds_per_step,
        **({"failures": [group.document() for group in figures.failures]} if figures.failures else {}),
    }


def _sample(repetition: Repetition, figures: Summary) -> Document:
    return {
        "makespan_seconds": figures.makespan_seconds,
        "baseline_seconds": repetition.baseline_seconds,
        "work_seconds": figures.work_seconds,
        "lower_bound_seconds": figures.lower_bound_seconds,
        "lost_seconds": dict(figures.lost_seconds),
        "errors": sum(status == "failed" for status in repetition.timeline.statuses),
        "step_seconds": step_seconds(repetition.timeline),
        **({} if repetition.started_at is None else {"started_at": repetition.started_at}),
        **({} if repetition.trace_id is None else {"trace_id": repetition.trace_id}),
        **repetition.usage,
    }


def step_seconds(timeline: Timeline) -> dict[str, float]:
    """The run time of each step, all its attempts together; nothing for a run of very many steps."""
    if len(timeline.step_ids) > STEPS_TOLD_PER_SAMPLE:
        return {}
    nanoseconds: dict[str, int] = {}
    index = AttemptIndex(timeline)
    for attempt in index.ended:
        nanoseconds[attempt.step_id] = nanoseconds.get(attempt.step_id, 0) + index.run_nanoseconds(attempt)
    return {step_id: _seconds(spent) for step_id, spent in nanoseconds.items()}


def _steps(repetition: Repetition) -> Iterator[Document]:
    """One after the other: of a large run, no two are there at once."""
    timeline, facts = repetition.timeline, repetition.facts
    places: list[list[int]] = [[] for _ in timeline.step_ids]
    for place, attempt in enumerate(timeline.attempts):
        places[attempt.index].append(place)
    for index, tries in enumerate(places):
        attempts = ((timeline.attempts[place], place) for place in tries)
        yield _step(repetition, index, [_attempt(one, place, facts.get(one)) for one, place in attempts])


def _step(repetition: Repetition, index: int, attempts: list[Document]) -> Document:
    timeline = repetition.timeline
    ids = timeline.step_ids
    step_id = ids[index]
    output, output_error = _output_of(repetition, step_id)
    error = repetition.errors.get(step_id)
    caller = timeline.nested_in[index] if timeline.nested_in else -1
    needs = timeline.needs[index] if timeline.needs else None
    step: Document = {
        "step_id": step_id,
        "status": timeline.statuses[index],
        "output": output,
        "error": None if error is None else str(error),
        "depends_on": [ids[parent] for parent in timeline.data_parents[index]],
        "order_after": [ids[parent] for parent in timeline.order_parents[index]],
        "nested_in": None if caller < 0 else ids[caller],
        "needs": None if needs is None else dict(needs),
        "attempts": attempts,
    }
    words = repetition.steps.get(step_id)
    if words is None and caller >= 0:
        # The words of an item are those of its mapped step.
        calling = repetition.steps.get(ids[caller])
        words = calling if calling is not None and calling.for_each is not None else None
    if words is not None:
        step |= {"description": words.description, "tool": words.tool, "stated": _stated(words)}
    elif index < len(timeline.tools) and timeline.tools[index] is not None:
        step["tool"] = timeline.tools[index]
    if step_id in repetition.reused:
        step["reused_from"] = repetition.reused[step_id]
        if index in timeline.cached:
            step["cached"] = True
    if output_error is not None:
        step["output_error"] = output_error
    return step


def _stated(words: Step) -> Document:
    """What the order of starts knew of a step before it ran."""
    found: Document = {}
    if words.priority:
        found["priority"] = words.priority
    if words.expected_seconds is not None:
        found["expected_seconds"] = words.expected_seconds
    if words.parallel_group is not None:
        found["parallel_group"] = words.parallel_group
    return found


def _attempt(attempt: Attempt, place: int, facts: Mapping[str, Any] | None) -> Document:
    noted = facts and {name: value for name, value in facts.items() if name not in FACTS_LEFT_OUT}
    return {
        "step_id": attempt.step_id,
        "attempt": attempt.attempt,
        "parent": attempt.parent,
        **({} if attempt.devices is None else {"devices": {kind: list(ids) for kind, ids in attempt.devices.items()}}),
        "grant_order": place,
        "ready": _seconds(attempt.ready),
        "granted": _seconds(attempt.granted),
        "started": _seconds_or_null(attempt.started),
        "ended": _seconds_or_null(attempt.ended),
        "known": _seconds_or_null(attempt.known),
        "waits": [
            {"reason": reason, "from": _seconds(start), "to": _seconds(end)} for reason, start, end in attempt.waits
        ],
        "blocked": [{"from": _seconds(start), "to": _seconds(end)} for start, end in attempt.blocked],
        "released_by": attempt.released_by,
        "worker": attempt.worker,
        "cpu_seconds": attempt.cpu_seconds,
        "tokens_reserved": attempt.tokens_reserved,
        "tokens_used": attempt.tokens_used,
        "outcome": attempt.outcome,
        **({} if attempt.failure is None else {"failure": _failure(attempt.failure)}),
        **({"facts": noted} if noted else {}),
    }


def _failure(failure: AttemptFailure) -> Document:
    return {**failure._asdict(), "message": one_line(failure.message, LONGEST_MESSAGE)}


def _output_of(repetition: Repetition, step_id: str) -> tuple[Any, str | None]:
    """A step's output as :func:`_storable`, or why it cannot be had: it stayed on a cluster."""
    try:
        return _storable(repetition.outputs.get(step_id))
    except OutputGoneError as error:
        return None, str(error)


def _storable(output: Any) -> tuple[Any, str | None]:
    """The output as JSON will give it back, or null and why it cannot be stored."""
    if output is None or (type(output) is str and output.isascii()):
        return output, None
    if _is_too_deep(output):
        return None, f"the output cannot be stored as JSON: it is nested deeper than {DEEPEST_OUTPUT} levels"
    try:
        text = json.dumps(output, allow_nan=False, ensure_ascii=False)
        text.encode()  # half a surrogate pair is text in Python, and in no file
        return json.loads(text), None
    except (TypeError, ValueError, OverflowError) as error:
        return None, f"the output cannot be stored as JSON: {error}"


def _is_too_deep(output: Any) -> bool:
    unseen: list[tuple[Any, int]] = [(output, 1)]
    while unseen:
        value, depth = unseen.pop()
        if not isinstance(value, dict | list | tuple):
            continue
        if depth > DEEPEST_OUTPUT:
            return True
        inside = value.values() if isinstance(value, dict) else value
        unseen.extend((inner, depth + 1) for inner in inside if isinstance(inner, dict | list | tuple))
    return False


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / NANOSECONDS


def _seconds_or_null(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / NANOSECONDS

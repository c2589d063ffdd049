"""The timeline of a run of ours, from its trace: the same record, to the nanosecond.

Rules of this module:
- Everything comes from the attributes that :mod:`executor.tracing.attribute_names` lists; the spans' own times are not
  asked.
- Spans that are lost are counted against what the root says there were. What is left is still read: a step that is
  not in the trace is left out, and so are the edges to it.
- An attribute that does not hold what it should is a finding, and the trace is read as a foreign one. So is a record
  that the analyses cannot reckon with: times in disorder, steps that wait for themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from executor.record.timeline import (
    Attempt,
    AttemptFailure,
    AttemptOutcome,
    ClockReading,
    DeviceAttempt,
    Interval,
    StepStatus,
    Timeline,
    Wait,
)
from executor.tracing import attribute_names as names
from harness.traces.trace_model import DECLARED, Edge, ForeignRun, Span, Trace, TraceFinding

if TYPE_CHECKING:
    from executor.model.workflow import Resource

_STATUS_OF_OUTCOME: Final[Mapping[AttemptOutcome | None, StepStatus]] = {
    "succeeded": "succeeded",
    "cancelled": "cancelled",
    None: "running",
}
_OUTCOMES: Final = ("succeeded", "failed", "timed_out", "worker_died", "cancelled")
_STATUSES: Final = (
    "waiting", "ready", "running", "blocked", "resuming", "backing_off", "succeeded", "failed", "skipped", "cancelled",
)  # fmt: skip


class NotOursError(ValueError):
    """The trace says that it is ours, but cannot be read as such; the message says why."""


@dataclass(slots=True)
class _StepSpans:
    """What the spans of one step say."""

    step_id: str
    index: int
    attempts: list[tuple[int, Attempt, Span]] = field(default_factory=list)
    depends_on: Sequence[str] = ()
    order_after: Sequence[str] = ()
    nested_in: str | None = None
    needs: Mapping[str, float] | None = None
    tool: str | None = None
    status: StepStatus | None = None
    span: Span | None = None


def own_root(trace: Trace) -> Span | None:
    """The root of the one run of ours in a trace, or None where there is none, or several."""
    roots = [span for span in trace.spans if names.FORMAT in span.attributes]
    return roots[0] if len({span.span_id for span in roots}) == 1 else None


def own_run(trace: Trace, root: Span) -> ForeignRun:
    """The run that ``root`` and what it holds tell of.

    Raises:
        NotOursError: an attribute is missing or does not hold what it should.

    """
    version = str(root.attributes[names.FORMAT])
    if version != names.FORMAT_VERSION:
        raise NotOursError(f"it is of format {version[:20]!r}, and this version reads {names.FORMAT_VERSION!r}")
    try:
        return _read(trace, root)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0][:200]
        raise NotOursError(what) from None


def _read(trace: Trace, root: Span) -> ForeignRun:
    steps = _steps_of(trace)
    place = {step.step_id: number for number, step in enumerate(steps)}
    findings = [*trace.findings, *_losses(root, steps, place)]
    attempts = sorted(
        (one for step in steps for one in step.attempts), key=lambda one: (one[0], one[1].granted, one[1].index)
    )
    data = [_indices(step.depends_on, place) for step in steps]
    order = [_indices(step.order_after, place) for step in steps]
    timeline = Timeline(
        step_ids=[step.step_id for step in steps],
        data_parents=data,
        order_parents=order,
        statuses=[_status(step) for step in steps],
        attempts=[attempt for _, attempt, _ in attempts],
        workers=int(root.attributes[names.WORKERS]),
        nested_in=[-1 if step.nested_in is None else place.get(step.nested_in, -1) for step in steps],
        needs=[step.needs for step in steps],
        resources=_resources(root.attributes.get(names.RESOURCES)),
        policy=str(root.attributes.get(names.POLICY, "dataflow")),
        backend=str(root.attributes.get(names.EXECUTOR, "")),
        startup_seconds=float(root.attributes.get(names.STARTUP_SECONDS, 0.0)),
        capacity_changes=_capacity_changes(root.attributes.get(names.CAPACITY_CHANGES)),
        worker_changes=_changes(_decoded(root.attributes.get(names.WORKER_CHANGES, "[]"))),
        clocks=_clocks(root.attributes.get(names.CLOCKS)),
        tools=[step.tool for step in steps],
    )
    check_record(timeline)
    edges = [
        Edge(before, after, DECLARED, "makespan")
        for after in range(len(steps))
        for before in sorted({*data[after], *order[after]})
    ]
    return ForeignRun(
        timeline=timeline,
        spans=[
            [one[2] for one in sorted(step.attempts, key=lambda one: one[1].attempt)] or [step.span or root]
            for step in steps
        ],
        names=[step.step_id for step in steps],
        edges=edges,
        findings=findings,
        origin=root.start,
        from_makespan=True,
        waiting=[None] * len(steps),
        envelopes=[root],
        trace_id=trace.trace_id,
        source=trace.source,
        workflow=str(root.attributes.get(names.WORKFLOW_NAME) or root.name),
    )


def _steps_of(trace: Trace) -> list[_StepSpans]:
    """The steps, in the order of the timeline that was written."""
    from executor.model.validation_messages import usable_id  # noqa: PLC0415 - heavy: only a trace of ours needs it

    steps: dict[str, _StepSpans] = {}
    seen: set[str] = set()
    for span in trace.spans:
        attributes = span.attributes
        step_id = attributes.get(names.STEP_ID)
        if step_id is None or names.STEP_INDEX not in attributes or span.span_id in seen:
            continue
        seen.add(span.span_id)
        step = steps.get(step_id)
        if step is None:
            if not usable_id(str(step_id)):
                raise ValueError("the id of a step is empty or has a control character")
            step = steps[step_id] = _StepSpans(str(step_id), int(attributes[names.STEP_INDEX]))
            _read_words(step, attributes)
        step.span = span
        if names.STATUS in attributes:
            step.status = _one_of(_STATUSES, attributes[names.STATUS])
        if names.ATTEMPT in attributes:
            step.attempts.append((int(attributes.get(names.GRANT_ORDER, 0)), _attempt(attributes), span))
    listed = sorted(steps.values(), key=lambda step: step.index)
    for number, step in enumerate(listed):
        for _, attempt, _ in step.attempts:
            attempt.index = number
    return listed


def _read_words(step: _StepSpans, attributes: Mapping[str, Any]) -> None:
    step.depends_on = _texts(attributes.get(names.DEPENDS_ON))
    step.order_after = _texts(attributes.get(names.ORDER_AFTER))
    step.nested_in = attributes.get(names.NESTED_IN)
    step.tool = attributes.get(names.TOOL_NAME)
    needs = attributes.get(names.NEEDS)
    if needs is not None:
        step.needs = {str(name): _amount(units) for name, units in _decoded(needs).items()}


def _amount(value: Any) -> float:
    """Whole units as such; a share or an amount of memory of a device is no whole number."""
    return value if isinstance(value, float) and not value.is_integer() else int(value)


def _attempt(attributes: Mapping[str, Any]) -> Attempt:
    devices = attributes.get(names.DEVICES)
    attempt = (Attempt if devices is None else DeviceAttempt)(
        int(attributes[names.STEP_INDEX]),
        str(attributes[names.STEP_ID]),
        int(attributes[names.ATTEMPT]),
        int(attributes[names.READY]),
        int(attributes[names.GRANTED]),
        attributes.get(names.RELEASED_BY),
        attributes.get(names.NESTED_IN),
    )
    attempt.waits = [_wait(text) for text in _texts(attributes.get(names.WAITS))] or None
    attempt.started = _optional_int(attributes.get(names.STARTED))
    attempt.ended = _optional_int(attributes.get(names.ENDED))
    attempt.known = _optional_int(attributes.get(names.KNOWN))
    if isinstance(attempt, DeviceAttempt):
        attempt.held_devices = {str(kind): tuple(map(str, ids)) for kind, ids in _decoded(devices).items()}
    blocked = attributes.get(names.BLOCKED) or ()
    attempt.blocked = [Interval(int(start), int(end)) for start, end in zip(blocked[::2], blocked[1::2], strict=True)]
    attempt.worker = attributes.get(names.WORKER)
    cpu = attributes.get(names.CPU_SECONDS)
    attempt.cpu_seconds = None if cpu is None else float(cpu)
    if attributes.get(names.OUTCOME) is not None:
        attempt.outcome = _one_of(_OUTCOMES, attributes[names.OUTCOME])
    # Where the cause is unknown, the type is how the attempt ended.
    if attributes.get(names.ERROR_TYPE) not in (None, attempt.outcome):
        after = attributes.get(names.RETRY_AFTER_SECONDS)
        attempt.failure = AttemptFailure(
            str(attributes[names.ERROR_TYPE]),
            str(attributes.get(names.ERROR_MESSAGE) or ""),
            _optional_int(attributes.get(names.HTTP_STATUS_CODE)),
            None if after is None else float(after),
        )
    attempt.tokens_reserved = _optional_int(attributes.get(names.TOKENS_RESERVED))
    attempt.tokens_used = _optional_int(attributes.get(names.TOKENS_USED))
    return attempt


def _wait(text: str) -> Wait:
    start, end, reason = text.split(" ", 2)
    return Wait(reason, int(start), int(end))


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _one_of(allowed: Sequence[str], value: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"{str(value)[:40]!r} is none of {', '.join(allowed)}")
    return value


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else []


def _indices(ids: Sequence[str], place: Mapping[str, int]) -> list[int]:
    return [place[one] for one in ids if one in place]


def _decoded(value: Any) -> Any:
    """What was written as JSON text; MLflow hands such text back as the mapping that it represents."""
    return json.loads(value) if isinstance(value, str) else value


def _resources(text: Any) -> dict[str, Resource]:
    if text is None:
        return {}
    from executor.model.workflow import Resource  # noqa: PLC0415 - heavy: only a trace of ours needs it

    return {str(name): Resource(**words) for name, words in _decoded(text).items()}


def _capacity_changes(text: Any) -> dict[str, list[tuple[int, int]]]:
    if text is None:
        return {}
    return {str(name): _changes(changes) for name, changes in _decoded(text).items()}


def _changes(pairs: Any) -> list[tuple[int, int]]:
    return [(int(time), int(capacity)) for time, capacity in pairs]


def _clocks(text: Any) -> dict[str, ClockReading]:
    return {} if text is None else {str(worker): ClockReading(**words) for worker, words in _decoded(text).items()}


def _status(step: _StepSpans) -> StepStatus:
    if step.status is not None:
        return step.status
    if not step.attempts:
        return "waiting"
    last = max(step.attempts, key=lambda one: one[1].attempt)[1]
    return _STATUS_OF_OUTCOME.get(last.outcome, "failed")


def _losses(root: Span, steps: Sequence[_StepSpans], place: Mapping[str, int]) -> list[TraceFinding]:
    """What the root says that there was, and is not in the trace."""
    findings = []
    lost_steps = int(root.attributes.get(names.STEPS, len(steps))) - len(steps)
    attempts = sum(len(step.attempts) for step in steps)
    lost_attempts = int(root.attributes.get(names.ATTEMPTS, attempts)) - attempts
    if lost_steps > 0:
        effect = "they are left out: work and critical path may be longer than what is said"
        findings.append(TraceFinding("steps_lost", "steps of the run that are not in the trace", effect, lost_steps))
    if lost_attempts > 0:
        effect = "left out: their time is missing in every figure"
        findings.append(TraceFinding("attempts_lost", "attempts that are not in the trace", effect, lost_attempts))
    unknown = sum(
        1
        for step in steps
        for one in (*step.depends_on, *step.order_after)
        if one not in place
    )  # fmt: skip
    if unknown:
        effect = "those edges are left out: more looks able to run side by side than is"
        findings.append(TraceFinding("unknown_dependency", "dependencies on steps not in the trace", effect, unknown))
    return findings


def check_record(timeline: Timeline) -> None:
    """See that times are in order and that nothing waits for itself.

    Raises:
        ValueError: it is no record; the message says why.

    """
    for attempt in timeline.attempts:
        if not _in_order(attempt):
            raise ValueError(f"the times of step {attempt.step_id!r} are not in order")
    numbers = [(one.index, one.attempt) for one in timeline.attempts]
    if len(set(numbers)) < len(numbers):
        raise ValueError("two attempts of a step have the same number")
    stuck = _waits_for_itself(timeline)
    if stuck is not None:
        raise ValueError(f"step {timeline.step_ids[stuck]!r} waits for itself")


def _in_order(attempt: Attempt) -> bool:
    times = [
        time
        for time in (0, attempt.ready, attempt.granted, attempt.started, attempt.ended, attempt.known)
        if time is not None
    ]
    return times == sorted(times) and times[-1] < 1 << 62


def _waits_for_itself(timeline: Timeline) -> int | None:
    """A step on a cycle of edges and calls. A step begins after what it needs and after its caller has begun, and is
    over after its calls are: step i begins at node 2·i and is over at node 2·i + 1.
    """
    steps = len(timeline.step_ids)
    waiting_for = [0, 1] * steps
    following: list[list[int]] = [[] for _ in range(2 * steps)]
    for parents in (timeline.data_parents, timeline.order_parents):
        for step, its_parents in enumerate(parents):
            for parent in its_parents:
                following[2 * parent + 1].append(2 * step)
                waiting_for[2 * step] += 1
    for step, caller in enumerate(timeline.nested_in):
        following[2 * step].append(2 * step + 1)
        if caller >= 0:
            following[2 * caller].append(2 * step)
            following[2 * step + 1].append(2 * caller + 1)
            waiting_for[2 * step] += 1
            waiting_for[2 * caller + 1] += 1
    queue = [node for node, count in enumerate(waiting_for) if not count]
    for node in queue:
        for other in following[node]:
            waiting_for[other] -= 1
            if not waiting_for[other]:
                queue.append(other)
    if len(queue) == 2 * steps:
        return None
    return next(node for node, count in enumerate(waiting_for) if count) // 2

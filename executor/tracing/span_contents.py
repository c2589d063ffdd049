"""What each span of a run says, made from the record: the one table that live and recorded tracing share.

Rules of this module:
- Pure, and without OpenTelemetry: a span is a :class:`SpanWords`, its ids are keys. The exporter makes the rest.
- Every dependency edge is a link, and is in an attribute too: backends drop links, and the SDK keeps 128.
- An error has its type; its message may hold prompts or answers, and is given only where content is asked for.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from executor.record.timeline import Attempt, StepStatus, Timeline
from executor.tracing import attribute_names as names

if TYPE_CHECKING:
    from executor.scheduler import Scheduler

# step id, attempt (0: the step never ran), child (0: the attempt itself, else its waits from 1).
SpanKey: TypeAlias = tuple[str, int, int]
Link: TypeAlias = tuple[SpanKey, Mapping[str, str]]
Attributes: TypeAlias = dict[str, Any]

ROOT_KEY: SpanKey = ("", 0, 0)
# Facts that are no attributes: finished spans of the step's own code on their way home.
SPANS_FACT = "makespan.spans"
# And what that code said of its own step, with an instant: (name, nanoseconds of the wall clock, attributes).
EVENTS_FACT = "makespan.events"

_DATA_LINK = {names.LINK_TYPE: names.LINK_DEPENDS_ON, names.LINK_EDGE: names.EDGE_DATA}
_ORDER_LINK = {names.LINK_TYPE: names.LINK_DEPENDS_ON, names.LINK_EDGE: names.EDGE_ORDER}
_RETRY_LINK = {names.LINK_TYPE: names.LINK_RETRY_OF}
_WAITED_FOR = ("resource", "rate", "lock")
_STATUS_AFTER: dict[str, StepStatus] = {"succeeded": "succeeded", "cancelled": "cancelled"}
_NO_FACTS: Mapping[str, Any] = {}


class SpanWords(NamedTuple):
    """A span. Times are nanoseconds from the run's t = 0; ``error_type`` None: it went well."""

    key: SpanKey
    parent: SpanKey | None
    name: str
    start: int
    end: int
    attributes: Attributes
    links: Sequence[Link] = ()
    error_type: str | None = None
    events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()


def span_id(trace_id: bytes, key: SpanKey) -> int:
    """The id of a span: made from the trace's id and what the span is of, so that worker processes, a second sending
    and the run itself all arrive at the same. 64 bits, never 0.
    """
    step_id, attempt, child = key
    digest = blake2b(b"%d/%d/%b" % (attempt, child, step_id.encode(errors="replace")), digest_size=8, key=trace_id)
    return int.from_bytes(digest.digest(), "big") or 1


def trace_id_of(*parts: object) -> int:
    """A trace id made from what names a run: the same parts give the same id. 128 bits, never 0."""
    digest = blake2b("\0".join(map(str, parts)).encode(errors="replace"), digest_size=16)
    return int.from_bytes(digest.digest(), "big") or 1


class StepTable:
    """What spans say of steps, by index. Lists may grow while the run goes on."""

    def __init__(
        self,
        step_ids: Sequence[str],
        data_parents: Sequence[Sequence[int]],
        order_parents: Sequence[Sequence[int]],
        tool_of: Callable[[int], str | None],
        needs_of: Callable[[int], Mapping[str, float] | None],
    ) -> None:
        self.step_ids = step_ids
        self.data_parents = data_parents
        self.order_parents = order_parents
        self.tool_of = tool_of
        self.needs_of = needs_of

    @classmethod
    def of_scheduler(cls, scheduler: Scheduler) -> StepTable:
        """For a run under way."""
        timeline, steps = scheduler.timeline(), scheduler.steps
        return cls(
            timeline.step_ids, timeline.data_parents, timeline.order_parents,
            lambda index: steps[index].tool, lambda index: steps[index].needs,
        )  # fmt: skip

    @classmethod
    def of_timeline(cls, timeline: Timeline, tool_of: Callable[[int], str | None]) -> StepTable:
        """For a run that is over."""
        needs = timeline.needs
        return cls(
            timeline.step_ids, timeline.data_parents, timeline.order_parents, tool_of,
            lambda index: needs[index] if index < len(needs) else None,
        )  # fmt: skip

    def attributes(self, index: int, nested_in: str | None) -> Attributes:
        """What every span of the step says."""
        ids = self.step_ids
        found: Attributes = {names.STEP_ID: ids[index], names.STEP_INDEX: index}
        tool = self.tool_of(index)
        if tool is not None:
            found[names.TOOL_NAME] = tool
        if data := self.data_parents[index]:
            found[names.DEPENDS_ON] = tuple([ids[parent] for parent in data])
        if order := self.order_parents[index]:
            found[names.ORDER_AFTER] = tuple([ids[parent] for parent in order])
        if nested_in is not None:
            found[names.NESTED_IN] = nested_in
        if needs := self.needs_of(index):
            found[names.NEEDS] = json.dumps(dict(needs))
        return found

    def links(self, index: int, attempt: int, last: Callable[[int], int]) -> list[Link]:
        """The step's edges, and the attempt before. ``last(i)`` is the number of step i's last attempt, or 0."""
        ids = self.step_ids
        found: list[Link] = [((ids[parent], last(parent), 0), _DATA_LINK) for parent in self.data_parents[index]]
        found += [((ids[parent], last(parent), 0), _ORDER_LINK) for parent in self.order_parents[index]]
        if attempt > 1:
            found.append(((ids[index], attempt - 1, 0), _RETRY_LINK))
        return found

    def name(self, index: int, facts: Mapping[str, Any] = _NO_FACTS) -> str:
        """The name of an attempt's span."""
        if facts.get(names.OPERATION) == names.CHAT_SPAN:
            return f"{names.CHAT_SPAN} {facts.get(names.REQUEST_MODEL, '')}".rstrip()
        return f"{names.TOOL_SPAN} {self.tool_of(index) or ''}".rstrip()


def attempt_attributes(attempt: Attempt, order: int, facts: Mapping[str, Any] = _NO_FACTS) -> Attributes:
    """The record of an attempt that is over. ``order``: its place in the timeline's attempts."""
    found: Attributes = {
        names.ATTEMPT: attempt.attempt,
        names.GRANT_ORDER: order,
        names.READY: attempt.ready,
        names.GRANTED: attempt.granted,
        names.OPERATION: names.TOOL_SPAN,
    }
    for name, value in (
        (names.STARTED, attempt.started),
        (names.ENDED, attempt.ended),
        (names.KNOWN, attempt.known),
        (names.OUTCOME, attempt.outcome),
        (names.WORKER, attempt.worker),
        (names.DEVICES, None if attempt.devices is None else json.dumps(dict(attempt.devices))),
        (names.RELEASED_BY, attempt.released_by),
        (names.CPU_SECONDS, attempt.cpu_seconds),
        (names.TOKENS_RESERVED, attempt.tokens_reserved),
        (names.TOKENS_USED, attempt.tokens_used),
    ):
        if value is not None:
            found[name] = value
    if (failure := attempt.failure) is not None:
        if failure.http_status_code is not None:
            found[names.HTTP_STATUS_CODE] = failure.http_status_code
        if failure.retry_after_seconds is not None:
            found[names.RETRY_AFTER_SECONDS] = failure.retry_after_seconds
    if waits := attempt.waits:
        found[names.WAITS] = tuple([f"{start} {end} {reason}" for reason, start, end in waits])
    if attempt.blocked:
        found[names.BLOCKED] = tuple([instant for interval in attempt.blocked for instant in interval])
    if facts:
        found.update((name, value) for name, value in facts.items() if name not in (SPANS_FACT, EVENTS_FACT))
    return found


def end_of_attempt(attempt: Attempt) -> int:
    """Where its span ends."""
    return attempt.granted if attempt.ended is None else max(attempt.ended, attempt.granted)


def error_type_of(attempt: Attempt, facts: Mapping[str, Any] = _NO_FACTS) -> str | None:
    """The type of what went wrong, or None."""
    if attempt.outcome in ("succeeded", "cancelled", None):
        return None
    known = None if attempt.failure is None else attempt.failure.error_type
    return str(facts.get(names.ERROR_TYPE) or known or attempt.outcome)


def wait_words(attempt: Attempt) -> Iterator[SpanWords]:
    """The waits that are spans of their own, below the attempt's."""
    above: SpanKey = (attempt.step_id, attempt.attempt, 0)
    number = 0
    for reason, start, end in attempt.waits:
        kind, _, what = reason.partition(".")
        if reason == "backoff":
            name = names.BACKOFF_SPAN
        elif kind in _WAITED_FOR:
            name = f"{names.RESOURCE_WAIT_SPAN} {what}"
        else:
            continue
        number += 1
        yield SpanWords((*above[:2], number), above, name, start, end, {names.WAIT_REASON: reason})


def root_attributes(timeline: Timeline, workflow: str, facts: Mapping[str, Any] = _NO_FACTS) -> Attributes:
    """Attributes of the root. ``facts``: what only the caller knows (run id, scenario, repetition …), None left out."""
    resources = {name: one.model_dump(mode="json", exclude_none=True) for name, one in timeline.resources.items()}
    changes, resizes = timeline.capacity_changes, timeline.worker_changes
    clocks = {worker: reading._asdict() for worker, reading in timeline.clocks.items()}
    return {
        names.FORMAT: names.FORMAT_VERSION,
        names.OPERATION: names.WORKFLOW_SPAN,
        names.WORKFLOW_NAME: workflow,
        names.EXECUTOR: timeline.backend,
        names.POLICY: timeline.policy,
        names.WORKERS: timeline.workers,
        names.STARTUP_SECONDS: timeline.startup_seconds,
        names.STEPS: len(timeline.step_ids),
        names.ATTEMPTS: len(timeline.attempts),
        **({names.RESOURCES: json.dumps(resources)} if resources else {}),
        **({names.CAPACITY_CHANGES: json.dumps(dict(changes), default=list)} if changes else {}),
        **({names.WORKER_CHANGES: json.dumps(list(resizes))} if resizes else {}),
        **({names.CLOCKS: json.dumps(clocks)} if clocks else {}),
        **{name: value for name, value in facts.items() if value is not None},
    }


def end_of(timeline: Timeline) -> int:
    """When the run was over: the last `known`."""
    return max((attempt.known or attempt.ended or attempt.granted for attempt in timeline.attempts), default=0)


class RunWords:
    """The spans of a run, each as soon as the record has it. ``attempts`` is the timeline's list, and may grow."""

    def __init__(self, table: StepTable, attempts: Sequence[Attempt]) -> None:
        self._table = table
        self._attempts = attempts
        self._seen = 0
        self._order: dict[Attempt, int] = {}
        self._last: dict[int, int] = {}
        self._known: dict[int, int] = {}
        self._indices: dict[str, int] = {}
        # When the attempts of each step were granted.
        self._grants: dict[int, list[int]] = {}
        self._timeline: Timeline | None = None

    def opening(self, attempt: Attempt) -> SpanWords:
        """The span of an attempt that begins; it has no end."""
        self._catch_up()
        table, index, granted = self._table, attempt.index, attempt.granted
        return SpanWords(
            (attempt.step_id, attempt.attempt, 0),
            self._above(attempt.parent, attempt.ready),
            self._table.name(attempt.index),
            granted,
            granted,
            table.attributes(index, attempt.parent),
            table.links(index, attempt.attempt, self._last_number),
        )

    def closing(self, attempt: Attempt, facts: Mapping[str, Any] = _NO_FACTS) -> Attributes:
        """What an attempt that is over says beside that."""
        return attempt_attributes(attempt, self._order_of(attempt), facts)

    def name(self, attempt: Attempt, facts: Mapping[str, Any]) -> str:
        """The name of its span."""
        return self._table.name(attempt.index, facts)

    def of(self, attempt: Attempt, facts: Mapping[str, Any] = _NO_FACTS) -> SpanWords:
        """The span of an attempt that is over."""
        opening = self.opening(attempt)
        opening.attributes.update(self.closing(attempt, facts))
        return opening._replace(
            name=self.name(attempt, facts) if facts else opening.name,
            end=end_of_attempt(attempt),
            error_type=error_type_of(attempt, facts),
            events=facts.get(EVENTS_FACT, ()),
        )

    def finish(self, timeline: Timeline) -> None:
        """The run is over: this is its record. Before :meth:`not_run` and :meth:`root`."""
        self._catch_up()
        self._timeline = timeline
        for attempt in timeline.attempts:
            self._known[attempt.index] = attempt.known or attempt.granted

    def not_run(self) -> Iterator[SpanWords]:
        """A span without length for each step whose status no attempt shows."""
        timeline, table = self._over, self._table
        last = {attempt.index: attempt for attempt in timeline.attempts}
        end = end_of(timeline)
        for index, status in enumerate(timeline.statuses):
            attempt = last.get(index)
            if attempt is not None and status == _STATUS_AFTER.get(attempt.outcome or "", "failed"):
                continue
            caller = timeline.nested_in[index] if index < len(timeline.nested_in) else -1
            nested_in = None if caller < 0 else timeline.step_ids[caller]
            ends = [self._known[parent] for parent in table.data_parents[index] if parent in self._known]
            at = max(ends, default=end)
            attributes = table.attributes(index, nested_in)
            attributes[names.STATUS] = status
            if index in timeline.reused:
                attributes[names.REUSED] = True
            if index in timeline.cached:
                attributes[names.CACHED] = True
            name = f"{names.NOT_RUN_SPAN} {table.tool_of(index) or ''}".rstrip()
            links = table.links(index, 0, self._last_number)
            above = self._above(nested_in, at)
            yield SpanWords((table.step_ids[index], 0, 0), above, name, at, at, attributes, links)

    def root(self, workflow: str, facts: Mapping[str, Any] = _NO_FACTS) -> SpanWords:
        """The run itself; it went well where no step failed."""
        timeline = self._over
        name = f"{names.WORKFLOW_SPAN} {workflow}".rstrip()
        failed = any(status == "failed" for status in timeline.statuses)
        attributes = root_attributes(timeline, workflow, facts)
        error_type = names.STEPS_FAILED if failed else None
        return SpanWords(ROOT_KEY, None, name, 0, end_of(timeline), attributes, (), error_type)

    @property
    def _over(self) -> Timeline:
        assert self._timeline is not None, "the run is not over"
        return self._timeline

    def _catch_up(self) -> None:
        attempts = self._attempts
        while self._seen < len(attempts):
            self._note(attempts[self._seen], self._seen)
            self._seen += 1

    def _note(self, attempt: Attempt, order: int) -> None:
        index = attempt.index
        self._order[attempt] = order
        self._last[index] = attempt.attempt
        if attempt.attempt == 1:
            self._indices[attempt.step_id] = index
            self._grants[index] = [attempt.granted]
        else:
            self._grants.setdefault(index, []).append(attempt.granted)

    def _order_of(self, attempt: Attempt) -> int:
        """Its place; of those that were put in before others meanwhile (handed out ahead), the place they had."""
        if attempt not in self._order:
            self._note(attempt, self._attempts.index(attempt))
        return self._order[attempt]

    def _last_number(self, index: int) -> int:
        return self._last.get(index, 0)

    def _above(self, parent: str | None, ready: int) -> SpanKey:
        """The attempt that made a call: the parent's last one by then."""
        if parent is None:
            return ROOT_KEY
        grants = self._grants.get(self._indices.get(parent, -1), ())
        number = bisect_right(grants, ready)
        return (parent, number, 0) if number else ROOT_KEY


def recorded_words(
    timeline: Timeline,
    *,
    workflow: str,
    tool_of: Callable[[int], str | None],
    facts_of: Callable[[Attempt], Mapping[str, Any]] = lambda _: _NO_FACTS,
    facts: Mapping[str, Any] = _NO_FACTS,
) -> Iterator[SpanWords]:
    """The spans of a run that is over, one after the other: the root last, as in a live trace."""
    words = RunWords(StepTable.of_timeline(timeline, tool_of), timeline.attempts)
    for attempt in timeline.attempts:
        yield words.of(attempt, facts_of(attempt))
        if attempt.waits:
            yield from wait_words(attempt)
    words.finish(timeline)
    yield from words.not_run()
    yield words.root(workflow, facts)

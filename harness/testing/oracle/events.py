"""From events to a record: what each attempt did and when, read from plain tuples.

Rules of this module:
- An event is ``(kind, step_id, attempt, time_ns)`` or ``(kind, step_id, attempt, time_ns, info)``; see :data:`KINDS`.
- The events of one attempt come in the order in which they happened, and ``granted`` events in the order of grants.
  Nothing else is read from the order of events: what happened first follows from the times.
- What a scheduler does not report is filled in with what claims least: ``granted`` is ``started``, ``known`` is
  ``ended``. The checks that need it are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor.record.timeline import Attempt, Timeline
from harness.testing.oracle.plain_graph import PlainGraph

KINDS = {
    "ready": "all data dependencies are final, or the previous attempt is known; info: {released_by: step id or None}",
    "wait": "from this time on the attempt waited; info: {reason, until}",
    "granted": "slot, limits and locks are given; info: {tokens_reserved, devices}",
    "started": "the worker begins",
    "blocked": "the attempt waits for its own calls and gives back slot and limits",
    "unblocked": "its calls are final; it wants slot and limits again",
    "resumed": "it has them again",
    "ended": "the worker is done; info may carry the outcome",
    "known": "the scheduler has the result; info: {outcome, tokens_used}",
    "final": "the step is in a final state (attempt is ignored, time may be None); info: {status}",
    "cancel": "a cancellation of this step was asked for (an empty id: the whole run)",
    "resized": "the limits changed; info: {workers: n, resource name: capacity}",
}
FAILURES = frozenset({"failed", "timed_out", "worker_died"})
FINAL = frozenset({"succeeded", "failed", "skipped", "cancelled"})

Key = tuple[int, int]
"""A time, and 0 if it surely came before every start of that instant, else 1."""

START: Key = (0, 0)
NEVER: Key = (1 << 62, 1)
UNKNOWN = object()
NO_DETAILS: Mapping[str, Any] = {}


class Try:
    """One attempt as the oracle sees it. ``holds`` are the intervals in which it held its slot and its limits;
    ``known_key`` is when its result was there.
    """

    __slots__ = (
        "backoff_end", "blocked_at", "devices", "ended", "granted", "holds", "known", "known_key", "needs", "number",
        "outcome", "place", "position", "ready", "released_by", "resumed_at", "seen", "started", "step_id",
        "tokens_reserved", "tokens_used", "unblocked_at", "waits",
    )  # fmt: skip

    def __init__(self, step_id: str, number: int, place: int, needs: tuple[tuple[str, float], ...]) -> None:
        self.step_id = step_id
        self.number = number
        self.place = place
        self.needs = needs
        self.devices: Mapping[str, Sequence[str]] = NO_DETAILS
        self.position = -1
        self.ready = self.granted = self.started = self.ended = self.known = 0
        self.seen: dict[str, int] = {}
        self.waits: list[tuple[str, int, int]] = []
        self.blocked_at: list[int] = []
        self.unblocked_at: list[int] = []
        self.resumed_at: list[int] = []
        self.holds: list[tuple[int, int]] = []
        self.backoff_end = 0
        self.known_key = START
        self.outcome: str | None = None
        self.released_by: object = UNKNOWN
        self.tokens_reserved: int | None = None
        self.tokens_used: int | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.step_id!r} attempt {self.number}"

    def times(self) -> str:
        """Its times, for messages."""
        names = ("ready", "granted", "started", "ended", "known")
        return f"{self.name}: " + ", ".join(f"{name} {getattr(self, name)}" for name in names) + f", {self.outcome}"


@dataclass
class Record:
    """All attempts of a run in order of grants, the final states, and what was asked from outside."""

    graph: PlainGraph
    tries: list[Try] = field(default_factory=list)
    by_step: dict[str, list[Try]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    final_times: dict[str, int] = field(default_factory=dict)
    cancels: list[tuple[int, str | None]] = field(default_factory=list)
    resizes: list[tuple[int, Mapping[str, int]]] = field(default_factory=list)
    reports: set[str] = field(default_factory=set)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def ran(self, step_id: str) -> bool:
        """Whether any attempt of it was granted."""
        return step_id in self.by_step

    def status(self, step_id: str) -> str | None:
        """Its reported state."""
        found = self.statuses.get(step_id)
        return found[-1] if found else None


def _details(kind: str, info: Any) -> Mapping[str, Any]:
    if info is None:
        return NO_DETAILS
    if type(info) is dict:
        return info
    if isinstance(info, str):
        return {"status" if kind == "final" else "outcome": info}
    return dict(info)


def read_events(graph: PlainGraph, events: Iterable[tuple[Any, ...]]) -> Record:
    """Sort events into a record. Events that make no sense are kept as faults, never raised."""
    reader = _Reader(graph)
    reader.read(events)
    return reader.finished()


def read_timeline(graph: PlainGraph, asked: Iterable[tuple[Any, ...]], timeline: Timeline) -> Record:
    """What :func:`read_events` makes of the events ``asked`` (what came from outside) and of :func:`events_of`."""
    reader = _Reader(graph)
    reader.read(asked)
    for attempt in timeline.attempts:
        reader.read_attempt(attempt)
    reader.read_states(timeline)
    return reader.finished()


class _Reader:
    """Reads events, or attempts of a timeline, into a record. ``order`` counts what was read."""

    def __init__(self, graph: PlainGraph) -> None:
        self.record = Record(graph)
        self.steps = graph.by_id
        self.places = graph.places
        self.tries: dict[tuple[str, int], Try] = {}
        self.order = 0

    def read(self, events: Iterable[tuple[Any, ...]]) -> None:
        """Some more events."""
        record, steps, reports = self.record, self.steps, self.record.reports
        for event in events:
            kind, step_id, number, time = event[:4]
            info = _details(kind, event[4]) if len(event) > 4 else NO_DETAILS
            if kind not in reports:
                if kind not in KINDS:
                    record.faults.append((step_id, f"an event of an unknown kind {kind!r}"))
                    continue
                reports.add(kind)
            if kind == "cancel":
                record.cancels.append((time, step_id or None))
            elif kind == "resized":
                record.resizes.append((time, info))
            elif step_id not in steps:
                record.faults.append((step_id, f"a {kind} event of a step that the graph does not contain"))
            elif kind == "final":
                record.statuses.setdefault(step_id, []).append(str(info.get("status")))
                if time is not None:
                    record.final_times[step_id] = time
            else:
                one = self.tries.get((step_id, number)) or self._new(step_id, number)
                self.order += 1
                _note(record, one, self.order, kind, time, info)

    def read_attempt(self, attempt: Attempt) -> None:
        """An attempt of a timeline. One that came to its end and was never blocked needs no events in between."""
        known, ended, started = attempt.known, attempt.ended, attempt.started
        key = attempt.step_id, attempt.attempt
        is_plain = not attempt.blocked and key[0] in self.steps and key not in self.tries
        if not is_plain or known is None or ended is None or started is None:
            self.read(_events_of_attempt(attempt))
            return
        one = self._new(*key)
        granted = attempt.granted
        one.seen = {"ready": attempt.ready, "granted": granted, "started": started, "ended": ended, "known": known}
        self.record.reports |= one.seen.keys()
        self.order += 1
        one.position = self.order
        one.released_by = attempt.released_by
        one.outcome = attempt.outcome
        one.tokens_reserved, one.tokens_used = attempt.tokens_reserved, attempt.tokens_used
        if attempt.devices is not None:
            one.devices = {kind: tuple(ids) for kind, ids in attempt.devices.items()}
        if waits := attempt.waits:
            self.record.reports.add("wait")
            later = [wait for wait in waits if wait.end > granted]
            one.waits = [*(wait for wait in waits if wait.end <= granted), *sorted(later, key=lambda wait: wait.start)]

    def read_states(self, timeline: Timeline) -> None:
        """The final states of a timeline."""
        for event in _final_events(timeline):
            _, step_id, _, _, status = event
            if step_id in self.steps:
                self.record.reports.add("final")
                self.record.statuses.setdefault(step_id, []).append(status)
            else:
                self.read([event])

    def _new(self, step_id: str, number: int) -> Try:
        one = self.tries[step_id, number] = Try(step_id, number, self.places[step_id], self.steps[step_id].needs)
        return one

    def finished(self) -> Record:
        """The record, when all was read."""
        _complete(self.record, self.tries)
        return self.record


def _note(record: Record, one: Try, order: int, kind: str, time: int, info: Mapping[str, Any]) -> None:
    if kind == "wait":
        one.waits.append((str(info["reason"]), time, info["until"]))
        return
    if kind in ("blocked", "unblocked", "resumed"):
        getattr(one, f"{kind}_at").append(time)
        return
    if kind in one.seen:
        record.faults.append((one.step_id, f"{one.name} was {kind} twice, at {one.seen[kind]} and at {time} ns"))
        return
    one.seen[kind] = time
    if kind == "granted" or (kind == "started" and "granted" not in one.seen):
        one.position = order
    if not info:
        return
    if kind == "ready" and "released_by" in info:
        one.released_by = info["released_by"]
    if info.get("outcome") is not None:
        one.outcome = info["outcome"]
    if info.get("tokens_reserved") is not None:
        one.tokens_reserved = info["tokens_reserved"]
    if info.get("devices") is not None:
        one.devices = info["devices"]
    if info.get("tokens_used") is not None:
        one.tokens_used = info["tokens_used"]


def _complete(record: Record, tries: dict[tuple[str, int], Try]) -> None:
    """Fill in what was not reported and put attempts in order of grants."""
    for one in tries.values():
        seen = one.seen
        if "granted" not in seen and "started" not in seen:
            if "ended" in seen or "known" in seen:
                record.faults.append((one.step_id, f"{one.name} ended without ever starting"))
            continue
        one.granted = seen["granted"] if "granted" in seen else seen["started"]
        one.started = seen.get("started", one.granted)
        if "known" not in seen and "ended" not in seen:
            record.faults.append((one.step_id, f"{one.name} was granted at {one.granted} ns and never ended"))
            # It goes on until after all that is recorded.
            one.ended = 1 + max([max(other.seen.values()) for other in tries.values() if other.seen])
        else:
            one.ended = seen["ended"] if "ended" in seen else seen["known"]
        one.known = seen.get("known", one.ended)
        one.ready = seen.get("ready", one.granted)
        one.backoff_end = one.ready
        if one.waits:
            ends = [end for reason, _, end in one.waits if reason == "backoff" and end <= one.granted]
            one.backoff_end = max(ends, default=one.ready)
        count = len(one.blocked_at)
        if len(one.unblocked_at) > count or len(one.resumed_at) > count:
            record.faults.append((one.step_id, f"{one.name} was unblocked or resumed more often than it was blocked"))
            del one.unblocked_at[count:], one.resumed_at[count:]
        _hold(one)
        # A result of this same instant's start, of a kill or of a resuming of the same instant may have come after
        # other starts.
        sure = one.outcome in ("succeeded", "failed") and one.holds[-1][0] < one.known
        one.known_key = (one.known, 0 if sure else 1)
        record.tries.append(one)
    # Mentions begin with `ready`; grants have an order of their own.
    record.tries.sort(key=lambda one: (one.granted, one.position))
    for position, one in enumerate(record.tries):
        one.position = position
        record.by_step.setdefault(one.step_id, []).append(one)
    for found in record.by_step.values():
        if len(found) > 1:
            found.sort(key=lambda one: one.number)


def _hold(one: Try) -> None:
    """When it held slot and limits: from granted to known, but for the time blocked and resuming."""
    since: int | None = one.granted
    for index, blocked in enumerate(one.blocked_at):
        if since is not None:
            one.holds.append((since, blocked))
        if len(one.unblocked_at) <= index:
            one.unblocked_at.append(one.known)
        if len(one.resumed_at) <= index:
            one.resumed_at.append(one.unblocked_at[index])
        since = one.resumed_at[index]
    if since is not None:
        one.holds.append((since, one.known))


def events_of(timeline: Timeline) -> list[tuple[Any, ...]]:
    """A timeline as events. Final states carry no time, for a timeline has none."""
    events = [event for attempt in timeline.attempts for event in _events_of_attempt(attempt)]
    return events + _final_events(timeline)


def _events_of_attempt(attempt: Attempt) -> list[tuple[Any, ...]]:
    step_id, number = attempt.step_id, attempt.attempt
    events: list[tuple[Any, ...]] = [("ready", step_id, number, attempt.ready, {"released_by": attempt.released_by})]
    later = []
    for reason, start, end in attempt.waits:
        if end <= attempt.granted:
            events.append(("wait", step_id, number, start, {"reason": reason, "until": end}))
        else:
            later.append((reason, start, end))
    granted: dict[str, Any] = {}
    if attempt.tokens_reserved is not None:
        granted["tokens_reserved"] = attempt.tokens_reserved
    if attempt.devices is not None:
        granted["devices"] = {kind: tuple(ids) for kind, ids in attempt.devices.items()}
    events.append(("granted", step_id, number, attempt.granted, granted or None))
    if attempt.started is not None:
        events.append(("started", step_id, number, attempt.started))
    later.sort(key=lambda wait: wait[1])
    for place, (blocked, unblocked) in enumerate(attempt.blocked):
        following = attempt.blocked[place + 1].start if place + 1 < len(attempt.blocked) else attempt.known
        events.append(("blocked", step_id, number, blocked))
        events.append(("unblocked", step_id, number, unblocked))
        resumed = unblocked
        while later and later[0][1] == resumed and (following is None or later[0][2] <= following):
            reason, start, resumed = later.pop(0)
            events.append(("wait", step_id, number, start, {"reason": reason, "until": resumed}))
        events.append(("resumed", step_id, number, resumed))
    events += [("wait", step_id, number, start, {"reason": why, "until": end}) for why, start, end in later]
    if attempt.ended is not None:
        events.append(("ended", step_id, number, attempt.ended))
    if attempt.known is not None:
        info = {"outcome": attempt.outcome, "tokens_used": attempt.tokens_used}
        events.append(("known", step_id, number, attempt.known, info))
    return events


def _final_events(timeline: Timeline) -> list[tuple[Any, ...]]:
    return [
        ("final", step_id, 0, None, status)
        for step_id, status in zip(timeline.step_ids, timeline.statuses, strict=True)
        if status in FINAL
    ]

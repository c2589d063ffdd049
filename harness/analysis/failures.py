"""Why attempts failed: counted by tool, type of error and HTTP status, and what follows from it.

Rules of this module:
- Pure. Advice is given in figures of this very run: how many calls were refused, how many were served at once.
- A group holds no message of its own but the last one, shortened: messages are as long as services write them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from executor.record.timeline import Attempt, AttemptFailure, Timeline
from harness.analysis.attempt_index import AttemptIndex, ended_of, started_of
from harness.plain_text import counted, duration_text, one_line

# Answers that mean "too much at once": RFC 6585 and RFC 9110, and what model services add.
OVERLOADED_STATUSES = frozenset({429, 503, 529})
_NO_ACCESS = "check the key, and what it is allowed to do"
_REMEDIES: Final[dict[str | int, str]] = {
    401: _NO_ACCESS,
    403: _NO_ACCESS,
    404: "check the address; where a model is asked, its name as well",
    "UnreachableError": "start the service, or correct its address",
    "timed_out": "give the step a longer `timeout`, or shorten what it does",
    "worker_died": "its worker process ended: look for what stops it (memory, a crash in native code)",
}
_SERVER_ERROR = 500
_MESSAGE_CHARACTERS = 200
_ENDED = {
    "failed": "failed",
    "timed_out": "timed out",
    "worker_died": "lost their worker",
    "UnreachableError": "found nobody who answers",
}
# Such a part of the calls of a tool has to be refused before the run is advised to ask for less.
WORTH_ADVICE_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Attempts that failed alike: ``attempts`` of the ``calls`` that were made of ``tool`` (all attempts of all its
    steps). ``error_type`` is the kind of error, or how the attempt ended (``timed_out``). ``retry_after_seconds`` is
    the longest wait that was asked for. ``served_at_once``: most calls of the tool that ran at one time and were
    served. ``resource`` is the one limit that all these steps need, ``capacity`` its capacity. ``message`` is the last
    one, of step ``said_by``.
    """

    tool: str | None
    error_type: str
    http_status_code: int | None
    attempts: int
    calls: int
    retry_after_seconds: float | None = None
    served_at_once: int = 0
    resource: str | None = None
    capacity: int | None = None
    step_ids: tuple[str, ...] = ()
    message: str = ""
    said_by: str = ""

    def document(self) -> dict[str, Any]:
        """As it is in a result."""
        return {
            "tool": self.tool,
            "error_type": self.error_type,
            "http_status_code": self.http_status_code,
            "retry_after_seconds": self.retry_after_seconds,
            "attempts": self.attempts,
            "calls": self.calls,
            "message": self.message,
        }

    @property
    def what(self) -> str:
        """The kind of failure in a word or two: ``429``, ``ValueError``, ``timed out``."""
        return self.error_type.replace("_", " ") if self.http_status_code is None else str(self.http_status_code)

    def __str__(self) -> str:
        of = "" if self.tool is None else f" of {one_line(self.tool, 40)}"
        asked = "" if self.retry_after_seconds is None else f" and asked for {duration_text(self.retry_after_seconds)}"
        calls = counted(self.calls, "call")
        if self.http_status_code is not None:
            return f"{self.attempts} of {calls}{of} answered {self.what}{asked}"
        how = _ENDED.get(self.error_type) or f"failed with {one_line(self.what, 60)}"
        return f"{self.attempts} of {calls}{of} {how}{asked}"


def failure_groups(index: AttemptIndex) -> tuple[FailureGroup, ...]:
    """The failed attempts of a run in groups, the largest first."""
    timeline = index.timeline
    kinds: dict[tuple[str | None, str, int | None], list[tuple[Attempt, AttemptFailure]]] = {}
    for attempt in index.ended:
        if attempt.outcome in ("succeeded", "cancelled", None) or _is_mapped(attempt):
            continue
        failure = attempt.failure or AttemptFailure(str(attempt.outcome))
        kind = failure.error_type if attempt.outcome == "failed" else str(attempt.outcome)
        kinds.setdefault((tool_of(timeline, attempt.index), kind, failure.http_status_code), []).append(
            (attempt, failure)
        )
    if not kinds:
        return ()
    calls = _calls_by_tool(index)
    groups = [_group(timeline, *kind, found, calls[kind[0]]) for kind, found in kinds.items()]
    return tuple(sorted(groups, key=lambda one: -one.attempts))


def tool_of(timeline: Timeline, step: int) -> str | None:
    """The tool of a step, as far as the record knows it."""
    return timeline.tools[step] if step < len(timeline.tools) else None


def overload_advice(groups: Iterable[FailureGroup]) -> str | None:
    """What to do where services refused calls because there were too many; None where they did not, or hardly."""
    for group in groups:
        refused = group.http_status_code in OVERLOADED_STATUSES
        if refused and group.attempts >= WORTH_ADVICE_RATIO * group.calls:
            return f"{group}: {_limit_words(group)}."
    return None


def failure_advice(timeline: Timeline, groups: Sequence[FailureGroup]) -> str | None:
    """What went wrong in a run in which steps failed, and what to do; None where none did."""
    count = timeline.statuses.count("failed")
    if not count:
        return None
    statuses = zip(timeline.step_ids, timeline.statuses, strict=True)
    failed = {step_id for step_id, status in statuses if status == "failed"}
    skipped = timeline.statuses.count("skipped")
    after = f", {skipped} {'was' if skipped == 1 else 'were'} skipped" if skipped else ""
    head = f"{count} of {counted(len(timeline.step_ids), 'step')} failed{after}"
    group = next((one for one in groups if failed.intersection(one.step_ids)), None)
    if group is None:
        first = next(step_id for step_id in timeline.step_ids if step_id in failed)
        return f"{head}: see what step {one_line(first, 40)!r} says, and correct that first."
    return f"{head}: {group}: {_remedy_of(group, failed)}."


def _remedy_of(group: FailureGroup, failed: set[str]) -> str:
    status = group.http_status_code
    if status in OVERLOADED_STATUSES:
        return _limit_words(group)
    known = _REMEDIES.get(group.error_type if status is None else status)
    if known is not None:
        return known
    if status is not None and status >= _SERVER_ERROR:
        return "the service itself failed: look there, or let the step try more often (`retry.max_attempts`)"
    if group.said_by not in failed:
        first = next(step_id for step_id in group.step_ids if step_id in failed)
        return f"correct step {one_line(first, 40)!r}"
    said = f" ({group.message})" if group.message else ""
    return f"correct step {one_line(group.said_by, 40)!r}{said}"


def _limit_words(group: FailureGroup) -> str:
    """How to ask for less: by the capacity that was served."""
    served = group.served_at_once
    if group.resource is not None:
        name = f"`{group.resource}`"
        if served and (group.capacity is None or served < group.capacity):
            return f"give {name} capacity {served}, or a rate"
        return f"give {name} a rate (`rate_per_minute`)"
    name = "these steps" if group.tool is None else f"the steps of `{group.tool}`"
    return f"give {name} a resource with capacity {max(1, served)}, or with a rate"


def _group(
    timeline: Timeline,
    tool: str | None,
    error_type: str,
    status: int | None,
    found: Sequence[tuple[Attempt, AttemptFailure]],
    calls: Sequence[Attempt],
) -> FailureGroup:
    waits = [failure.retry_after_seconds for _, failure in found if failure.retry_after_seconds is not None]
    resource = _shared_resource(timeline, [attempt.index for attempt, _ in found])
    limit = None if resource is None else timeline.resources.get(resource)
    return FailureGroup(
        tool,
        error_type,
        status,
        len(found),
        len(calls),
        max(waits, default=None),
        _most_served_at_once(calls),
        resource,
        None if limit is None else limit.capacity,
        tuple(dict.fromkeys(attempt.step_id for attempt, _ in found)),
        one_line(found[-1][1].message, _MESSAGE_CHARACTERS),
        found[-1][0].step_id,
    )


def _calls_by_tool(index: AttemptIndex) -> dict[str | None, list[Attempt]]:
    found: dict[str | None, list[Attempt]] = {}
    for attempt in index.ended:
        if attempt.outcome not in ("cancelled", None) and not _is_mapped(attempt):
            found.setdefault(tool_of(index.timeline, attempt.index), []).append(attempt)
    return found


def _is_mapped(attempt: Attempt) -> bool:
    """A mapped step makes no call itself: it fails with its items. It holds no worker."""
    return attempt.worker is None and bool(attempt.blocked)


def _shared_resource(timeline: Timeline, steps: Sequence[int]) -> str | None:
    """The limit that all of them need: the one that most of the run's steps need where there are several."""
    if not timeline.needs:
        return None
    shared = set(timeline.needs[steps[0]] or ())
    for step in steps[1:]:
        shared &= set(timeline.needs[step] or ())
    users = Counter(name for needs in timeline.needs for name in needs or ())
    return max(sorted(shared), key=lambda name: users[name], default=None)


def _most_served_at_once(calls: Sequence[Attempt]) -> int:
    changes: list[tuple[int, int]] = []
    for attempt in calls:
        if attempt.outcome == "succeeded":
            changes += ((started_of(attempt), 1), (ended_of(attempt), -1))
    most = now = 0
    # At one instant ends come before starts.
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most

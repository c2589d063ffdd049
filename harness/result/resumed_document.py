"""What a result says of the run that it resumed: its attempts, on an axis of their own. Pure.

Rules of this module:
- Several sessions follow each other, without the time between them: it is unknown what that was spent on.
- An attempt that was running when its session ended is cut off there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from executor.journal.rows import End, Start, attempt_of
from executor.record.timeline import NANOSECONDS, Attempt, Interval, Wait

if TYPE_CHECKING:
    from executor.journal.earlier_run import EarlierRun


def resumed_document(earlier: EarlierRun) -> dict[str, Any]:
    """The field ``resumed`` of a result, its attempts left out."""
    head = earlier.heads[-1]
    return {
        "run_id": earlier.run_id,
        "started_at": str(head.get("started_at", "")),
        "trace_id": head.get("trace_id"),
        "seconds": _length(earlier) / NANOSECONDS,
    }


def earlier_attempts(earlier: EarlierRun) -> list[Attempt]:
    """The attempts of all sessions, in order of grant."""
    attempts: list[Attempt] = []
    origin = 0
    for number, ends in enumerate(earlier.ends):
        running = _running(earlier) if number == len(earlier.ends) - 1 else []
        length = _length_of(ends, running)
        of_session = [attempt_of(end, 0) for end in ends] + [_cut_off(start, length) for start in running]
        of_session.sort(key=lambda attempt: attempt.granted)
        attempts += [_moved(attempt, origin) for attempt in of_session]
        origin += length
    return attempts


def _running(earlier: EarlierRun) -> list[Start]:
    return [last for last in earlier.last.values() if isinstance(last, Start)]


def _length(earlier: EarlierRun) -> int:
    last = len(earlier.ends) - 1
    return sum(
        _length_of(ends, _running(earlier) if number == last else []) for number, ends in enumerate(earlier.ends)
    )


def _length_of(ends: list[End], running: list[Start]) -> int:
    """To the last that was heard."""
    heard = [end.known if end.known is not None else end.granted for end in ends]
    return max([*heard, *(start.granted for start in running)], default=0)


def _cut_off(start: Start, at: int) -> Attempt:
    attempt = Attempt(0, start.step_id, start.attempt, start.granted, start.granted, None, start.more.get("parent"))
    attempt.started, attempt.ended, attempt.known = start.granted, max(at, start.granted), max(at, start.granted)
    attempt.outcome = "cancelled"
    return attempt


def _moved(attempt: Attempt, origin: int) -> Attempt:
    """The attempt on an axis that begins so many nanoseconds before its own."""
    if not origin:
        return attempt
    attempt.ready += origin
    attempt.granted += origin
    for name in ("started", "ended", "known"):
        value = getattr(attempt, name)
        setattr(attempt, name, None if value is None else value + origin)
    waits = [Wait(reason, start + origin, end + origin) for reason, start, end in attempt.waits]
    if not isinstance(attempt._waits, str):  # noqa: SLF001  # a bare reason lies between ready and granted
        attempt.waits = waits or None
    attempt.blocked = [Interval(start + origin, end + origin) for start, end in attempt.blocked]
    return attempt


__all__ = ["earlier_attempts", "resumed_document"]

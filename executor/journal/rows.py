"""What a batch of a journal says, as JSON values: the rows of starts and ends. Pure.

A batch is ``{"ends": [...], "starts": [...]}`` and, where it has them, ``"tools"`` (digests by name), ``"zero"`` (the
instant t = 0, nanoseconds since 1970) and ``"closed"`` (how the session ended).

Rules of this module:
- A version of the tables is a version of these rows, too: fields are added under new names in `more`, never changed.
- Times are nanoseconds from the session's t = 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from executor.record.timeline import Attempt, AttemptFailure, Interval, Wait

_NOTHING: Mapping[str, Any] = {}


class Start(NamedTuple):
    """An attempt that was granted and had not ended: ``more`` as in an end."""

    step_id: str
    attempt: int
    tool: str | None
    prompt: str | None
    args: str | None
    granted: int
    more: Mapping[str, Any]


class End(NamedTuple):
    """The end of an attempt. ``prompt`` and ``args`` are digests. ``more``: what few have, by name:

    ``parent`` (the step that calls it), ``parent_attempt``; ``once``: it must not be done twice; ``mapped``: it is
    for its items; ``output``, ``file`` or ``lost`` (:mod:`executor.journal.output_files`); ``error`` (the fields of an
    :class:`executor.record.timeline.AttemptFailure`); ``blocked`` (from, to); ``cpu`` (seconds), ``reserved`` and
    ``used`` (tokens).
    """

    step_id: str
    attempt: int
    outcome: str
    tool: str | None
    prompt: str | None
    args: str | None
    ready: int
    granted: int
    started: int | None
    ended: int | None
    known: int | None
    worker: str | None
    released_by: str | None
    waits: str | Sequence[Sequence[Any]] | None
    more: Mapping[str, Any]


def end_of(row: list[Any]) -> End:
    """The row as it is read; it is changed."""
    if row[-1] is None:
        row[-1] = _NOTHING
    return End._make(row)


def start_of(row: list[Any]) -> Start:
    """The row as it is read; it is changed."""
    if row[-1] is None:
        row[-1] = _NOTHING
    return Start._make(row)


def attempt_of(end: End, index: int) -> Attempt:
    """The attempt as the record of its run had it. ``index``: the step's place in a timeline."""
    waits = end.waits
    attempt = Attempt(
        index,
        end.step_id,
        end.attempt,
        end.ready,
        end.granted,
        end.released_by,
        end.more.get("parent"),
        waits if waits is None or isinstance(waits, str) else [Wait(*wait) for wait in waits],
    )
    attempt.started, attempt.ended, attempt.known, attempt.worker = end.started, end.ended, end.known, end.worker
    attempt.outcome = end.outcome  # type: ignore[assignment]  # a literal, as it was written
    attempt.failure = None if "error" not in end.more else AttemptFailure(*end.more["error"])
    attempt.blocked = [Interval(*interval) for interval in end.more.get("blocked", ())]
    attempt.cpu_seconds = end.more.get("cpu")
    attempt.tokens_reserved, attempt.tokens_used = end.more.get("reserved"), end.more.get("used")
    return attempt

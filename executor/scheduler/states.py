"""The states of a step and the transitions between them: the one table.

Rules of this module:
- Every change of a step's state is in :data:`TRANSITIONS`. The diagram in the docs is drawn from it, and the scheduler
  changes a state only as :data:`MOVES`, the same table by number, allows.
- States and events are small integers inside the scheduler; all other code sees their names.
"""

from __future__ import annotations

from typing import get_args

from executor.record.timeline import StepStatus

WAITING, READY, RUNNING, BLOCKED, RESUMING, BACKING_OFF, SUCCEEDED, FAILED, SKIPPED, CANCELLED = range(10)

STATE_NAMES: tuple[StepStatus, ...] = get_args(StepStatus)

# States from here on are final.
FIRST_FINAL = SUCCEEDED

# state -> event -> the states that the event may lead to.
TRANSITIONS: dict[StepStatus, dict[str, tuple[StepStatus, ...]]] = {
    "waiting": {
        # All data dependencies are final. `failed`: the step's `when` could not be evaluated.
        "decide": ("ready", "skipped", "cancelled", "failed"),
        "cancel": ("cancelled",),
    },
    "ready": {
        "start": ("running",),
        # A mapped step: its list is known (an empty one ends it at once), or cannot be had.
        "expand": ("blocked", "succeeded", "failed"),
        # Its result is there, from an earlier run. `skipped`: it was left out on request.
        "reuse": ("succeeded", "skipped"),
        "stop": ("cancelled",),
        "cancel": ("cancelled",),
    },
    "running": {
        "succeed": ("succeeded",),
        "fail": ("backing_off", "failed"),
        "block": ("blocked",),
        "cancel": ("cancelled",),
    },
    "blocked": {
        "unblock": ("resuming",),
        # It returned without waiting for its calls, timed out, or its worker died; or its last item is final.
        "succeed": ("succeeded",),
        "fail": ("backing_off", "failed"),
        "cancel": ("cancelled",),
    },
    "resuming": {
        "start": ("running",),
        "succeed": ("succeeded",),
        "fail": ("backing_off", "failed"),
        "cancel": ("cancelled",),
    },
    "backing_off": {
        "due": ("ready",),
        "stop": ("failed",),
        "cancel": ("cancelled",),
    },
    "succeeded": {},
    "failed": {},
    "skipped": {},
    "cancelled": {},
}


# The events of the table by number, as the scheduler names them to itself.
EVENT_NAMES = ("decide", "start", "expand", "succeed", "fail", "due", "block", "unblock", "stop", "cancel", "reuse")
DECIDE, START, EXPAND, SUCCEED, FAIL, DUE, BLOCK, UNBLOCK, STOP, CANCEL, REUSE = range(11)

# The table by number: MOVES[event][state] holds the states that the event may lead to; none: it is not allowed there.
MOVES: tuple[tuple[tuple[int, ...], ...], ...] = tuple(
    tuple(tuple(STATE_NAMES.index(after) for after in TRANSITIONS[state].get(event, ())) for state in STATE_NAMES)
    for event in EVENT_NAMES
)


def allows(state: int, event: int) -> bool:
    """Whether the table has ``event`` in ``state``."""
    return bool(MOVES[event][state])

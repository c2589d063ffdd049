"""The error of the scheduler, and the history of a step for its message."""

from __future__ import annotations

from collections.abc import Sequence

from executor.record.timeline import NANOSECONDS, Attempt


class SchedulerError(Exception):
    """The caller broke a rule of the scheduler; nothing was changed. ``history`` is the history of the step."""

    def __init__(self, message: str, history: str = "") -> None:
        super().__init__(f"{message}\n{history}" if history else message)
        self.history = history


def _seconds(nanoseconds: int | None) -> str:
    return "?" if nanoseconds is None else f"{nanoseconds / NANOSECONDS:.6f} s"


def history_of(step_id: str, status: str, attempts: Sequence[Attempt]) -> str:
    """One line a fact: the step's state, and each attempt with its times and waits."""
    lines = [f"step {step_id!r} is {status}"]
    for attempt in attempts:
        lines.append(
            f"  attempt {attempt.attempt}: ready {_seconds(attempt.ready)}, granted {_seconds(attempt.granted)}, "
            f"started {_seconds(attempt.started)}, ended {_seconds(attempt.ended)}, known {_seconds(attempt.known)}, "
            f"outcome {attempt.outcome or 'none yet'}"
        )
        lines.extend(
            f"    waited for {wait.reason} from {_seconds(wait.start)} to {_seconds(wait.end)}"
            for wait in attempt.waits
        )
        lines.extend(f"    blocked from {_seconds(start)} to {_seconds(end)}" for start, end in attempt.blocked)
    return "\n".join(lines)

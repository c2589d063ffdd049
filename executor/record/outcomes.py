"""How an attempt ended, as data that travels from a worker to the engine and on to the person.

Rules of this module:
- Everything here can be pickled whatever a step raised.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, TypeAlias

from executor.record.timeline import Attempt, AttemptOutcome
from executor.tools.tool import ToolError, ToolTimeoutError


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, as it travels from a worker."""

    error_type: str
    message: str
    traceback: str = ""
    retryable: bool = True
    retry_after_seconds: float | None = None
    # Too much was asked of a service at once.
    overloaded: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says, even one that cannot be printed."""
        try:
            message = str(error)
            text = "".join(traceback.format_exception(error))
        except Exception:  # noqa: BLE001  # the exception is a user's; its own methods may raise
            message = f"an exception of type {type(error).__name__} that cannot be printed"
            text = ""
        # Errors of templates say `retryable` too: what was rendered would not be other next time.
        return cls(
            type(error).__name__,
            message,
            text,
            retryable=bool(getattr(error, "retryable", True)),
            retry_after_seconds=error.retry_after_seconds if isinstance(error, ToolError) else None,
            overloaded=getattr(error, "overloaded", False) is True,
        )


def outcome_of(error: BaseException) -> AttemptOutcome:
    """How an attempt that raised ``error`` ended: a tool may have stopped itself at its timeout."""
    return "timed_out" if isinstance(error, ToolTimeoutError) else "failed"


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed: its last attempt's failure. ``outcome`` says how it ended."""

    step_id: str
    attempt: int
    outcome: AttemptOutcome
    error_type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        tries = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        return f"step {self.step_id!r}{tries}: {self.error_type}: {self.message}"


# attempt, started, ended, worker, cpu_seconds, outcome, output or Failure, tokens_used. A bare tuple: it is made for
# every step, and a class would cost a tenth of a step.
Completion: TypeAlias = tuple[Attempt, int, int, str, float | None, AttemptOutcome, Any, int | None]

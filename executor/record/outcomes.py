"""How an attempt ended: the errors by which a tool says so, and the data that travels from a worker to the engine.

Rules of this module:
- Everything here can be pickled whatever a step raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from executor.record.timeline import Attempt, AttemptFailure, AttemptOutcome

# RFC 9110, section 15: what a status code may be.
_LEAST_STATUS = 100
_LARGEST_STATUS = 599


class ToolError(Exception):
    """A failed call. ``retryable`` is False where another attempt cannot help (a refused request);
    ``retry_after_seconds`` is the least wait that the other side asked for; ``overloaded``: it was asked too much at
    once, which a resource with ``capacity: auto`` takes for a sign. ``http_status_code``: what it answered, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        retry_after_seconds: float | None = None,
        overloaded: bool = False,
        http_status_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
        self.overloaded = overloaded
        self.http_status_code = http_status_code

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_tool_error, (
            str(self), self.retryable, self.retry_after_seconds, self.overloaded, self.http_status_code,
        )  # fmt: skip


def _rebuild_tool_error(
    message: str,
    retryable: bool,
    retry_after_seconds: float | None,
    overloaded: bool = False,
    http_status_code: int | None = None,
) -> ToolError:
    return ToolError(
        message,
        retryable=retryable,
        retry_after_seconds=retry_after_seconds,
        overloaded=overloaded,
        http_status_code=http_status_code,
    )


class UnreachableError(ToolError):
    """A call that found nobody at the other end: nothing listens there, or the name leads nowhere."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class ToolTimeoutError(ToolError, TimeoutError):
    """A call that stopped itself because ``context.timeout_seconds`` ran out: the attempt has timed out."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


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
    http_status_code: int | None = None

    @property
    def cause(self) -> AttemptFailure:
        """As the record keeps it."""
        return AttemptFailure(self.error_type, self.message, self.http_status_code, self.retry_after_seconds)

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What an exception says, even one that cannot be printed."""
        import traceback  # noqa: PLC0415  # runs without a fault have no need of it

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
            http_status_code=_http_status_code(error),
        )


def _http_status_code(error: BaseException) -> int | None:
    """The status that a service answered with, where the error has it as clients of HTTP keep it: on itself, or on its
    ``response``.
    """
    try:
        statuses = [getattr(error, name, None) for name in ("http_status_code", "status_code")]
        statuses.append(getattr(getattr(error, "response", None), "status_code", None))
    except Exception:  # noqa: BLE001  # the exception is a user's; its own properties may raise
        return None
    codes = (code for code in statuses if isinstance(code, int) and _LEAST_STATUS <= code <= _LARGEST_STATUS)
    return next(map(int, codes), None)


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

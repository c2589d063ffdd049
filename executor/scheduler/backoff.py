"""Whether a failed attempt is tried again, and after which wait: exponential backoff with seeded jitter.

Source: "Exponential backoff and jitter", AWS Architecture Blog, 2015 (the variant called full jitter).
"""

from __future__ import annotations

from hashlib import blake2b

from executor.model.workflow import Retry, Step
from executor.record.timeline import NANOSECONDS, Attempt, AttemptOutcome

_RANGE = 1 << 64

# What asked many callers at once to come back after one wait cannot serve them all at once then either.
SPREAD_RATIO = 0.5
# Attempts that a step without a `retry` gets when its worker dies: the step is not to blame.
WORKER_DEATH_ATTEMPTS = 3


def retry_wait(
    step: Step,
    attempt: Attempt,
    outcome: AttemptOutcome,
    *,
    seed: int,
    retryable: bool,
    retry_after_seconds: float | None,
) -> int | None:
    """Nanoseconds from the end of ``attempt``, which did not succeed, to the next one, or None if there is none."""
    retry = step.retry
    if outcome == "worker_died":
        if step.idempotent is False:
            return None
        most = WORKER_DEATH_ATTEMPTS if retry is None else retry.max_attempts
    else:
        most = 1 if retry is None or not retryable else retry.max_attempts
    if attempt.attempt >= most:
        return None
    if retry is None:
        return 0
    return backoff_nanoseconds(retry, seed, attempt.step_id, attempt.attempt, retry_after_seconds)


def jitter_ratio(seed: int, step_id: str, attempt: int) -> float:
    """A number in [0, 1) that depends on nothing but the seed, the step and the attempt."""
    digest = blake2b(f"{seed}\0{step_id}\0{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _RANGE


def backoff_nanoseconds(
    retry: Retry, seed: int, step_id: str, attempt: int, retry_after_seconds: float | None = None
) -> int:
    """The wait after failed attempt number ``attempt``, at least ``retry_after_seconds``.

    With full jitter, attempts that were asked to come back at one time are spread behind it: over the wait that they
    would have drawn from, and over no less than :data:`SPREAD_RATIO` of what was asked for.
    """
    try:
        grown = retry.backoff_seconds * retry.multiplier ** (attempt - 1)
    except OverflowError:
        grown = retry.max_backoff_seconds
    seconds = min(retry.max_backoff_seconds, grown)
    if retry.jitter == "none":
        return round(max(seconds, retry_after_seconds or 0.0) * NANOSECONDS)
    asked = retry_after_seconds or 0.0
    seconds = asked + max(seconds, SPREAD_RATIO * asked) * jitter_ratio(seed, step_id, attempt)
    return round(seconds * NANOSECONDS)

"""How long a failed attempt waits before the next: exponential backoff with seeded jitter.

Source: "Exponential backoff and jitter", AWS Architecture Blog, 2015 (the variant called full jitter).
"""

from __future__ import annotations

from hashlib import blake2b

from executor.model.workflow import Retry
from executor.record.timeline import NANOSECONDS

_RANGE = 1 << 64


def jitter_ratio(seed: int, step_id: str, attempt: int) -> float:
    """A number in [0, 1) that depends on nothing but the seed, the step and the attempt."""
    digest = blake2b(f"{seed}\0{step_id}\0{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _RANGE


def backoff_nanoseconds(
    retry: Retry, seed: int, step_id: str, attempt: int, retry_after_seconds: float | None = None
) -> int:
    """The wait after failed attempt number ``attempt``, at least ``retry_after_seconds``."""
    try:
        grown = retry.backoff_seconds * retry.multiplier ** (attempt - 1)
    except OverflowError:
        grown = retry.max_backoff_seconds
    seconds = min(retry.max_backoff_seconds, grown)
    if retry.jitter == "full":
        seconds *= jitter_ratio(seed, step_id, attempt)
    if retry_after_seconds is not None:
        seconds = max(seconds, retry_after_seconds)
    return round(seconds * NANOSECONDS)

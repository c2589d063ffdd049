"""What the stand-in refuses with 429: too many requests at once, too many tokens a minute.

Rules of this module:
- A refusal says after how long another try can succeed.
- The clock comes in as an argument.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not admitted, and when it may be, in seconds from now (None: never)."""

    message: str
    code: str
    retry_after_seconds: float | None


class Limits:
    """Counts requests in flight and tokens. ``concurrency`` and ``tokens_per_minute``: None is without limit."""

    def __init__(self, concurrency: int | None, tokens_per_minute: float | None) -> None:
        self._concurrency = concurrency
        self._tokens_per_minute = tokens_per_minute
        self._tokens = tokens_per_minute or 0.0
        self._filled_at: float | None = None
        self._ends: dict[int, float] = {}
        self._next_ticket = 0
        self._lock = threading.Lock()
        self.most_at_once = 0

    def admit(self, tokens: int, now: float, ends_at: float) -> int | Refusal:
        """A ticket to give back with :meth:`leave`, or a refusal. Times are seconds of one monotonic clock."""
        with self._lock:
            refusal = self._refuse_for_concurrency(now) or self._refuse_for_tokens(tokens, now)
            if refusal is not None:
                return refusal
            self._tokens -= tokens
            ticket = self._next_ticket
            self._next_ticket += 1
            self._ends[ticket] = ends_at
            self.most_at_once = max(self.most_at_once, len(self._ends))
            return ticket

    def leave(self, ticket: int) -> None:
        """The request is over."""
        with self._lock:
            del self._ends[ticket]

    def _refuse_for_concurrency(self, now: float) -> Refusal | None:
        if self._concurrency is None or len(self._ends) < self._concurrency:
            return None
        wait_seconds = max(0.001, min(self._ends.values()) - now)
        return Refusal(
            f"the stand-in answers {self._concurrency} requests at once", "concurrency_limit_exceeded", wait_seconds
        )

    def _refuse_for_tokens(self, tokens: int, now: float) -> Refusal | None:
        limit = self._tokens_per_minute
        if limit is None:
            return None
        if tokens > limit:
            return Refusal(
                f"the request needs about {tokens} tokens, more than the {limit:g} of a whole minute",
                "request_too_large",
                None,
            )
        if self._filled_at is not None:
            self._tokens = min(limit, self._tokens + (now - self._filled_at) * limit / 60)
        self._filled_at = now
        if tokens <= self._tokens:
            return None
        wait_seconds = (tokens - self._tokens) * 60 / limit
        return Refusal(f"the stand-in gives {limit:g} tokens a minute", "tokens_per_minute_exceeded", wait_seconds)

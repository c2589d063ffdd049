"""Token buckets, replayed: attempts per minute and tokens per minute, on `granted`.

Rules of this module:
- A bucket starts full, never holds more than its burst, and pays a grant at once. Overuse becomes debt.
- `high` is the most that a bucket can hold given what is recorded, `low` the least: within one instant the order of
  settlements and grants is not always recorded, and an attempt that reports no usage may or may not be refunded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.testing.oracle.events import Try
from harness.testing.oracle.plain_graph import NANOSECONDS, PlainResource

MINUTE_NS = 60 * NANOSECONDS


class Bucket:
    """One token bucket; ``late`` is what settlements of unknown order still do at the end of the instant."""

    __slots__ = ("burst", "full_at", "high", "late_high", "late_low", "low", "per_ns", "slack", "time")

    def __init__(self, per_minute: float, burst: float) -> None:
        self.per_ns = per_minute / MINUTE_NS
        self.burst = float(burst)
        self.low = self.high = self.burst
        self.late_low = self.late_high = 0.0
        self.time = 0
        self.full_at = -math.inf
        self.slack = 1e-6 + 4 * self.per_ns

    def fill(self, time: int) -> None:
        """Let tokens flow in up to this time."""
        gained = (time - self.time) * self.per_ns
        if self.low < self.burst <= self.low + gained:
            self.full_at = self.time + (self.burst - self.low) / self.per_ns
        self.time = time
        self.low = min(self.burst, self.low + gained)
        self.high = min(self.burst, self.high + gained)

    def settle(self, lows: Iterable[float], highs: Iterable[float]) -> None:
        """Give back (or take, if negative) before any grant of this instant, in an unknown order: what is
        given back to a full bucket is lost, so the least is left if that comes first, and the most if it comes last.
        """
        for low in sorted(lows, reverse=True):
            if self.low < self.burst <= self.low + low:
                self.full_at = self.time
            self.low = min(self.burst, self.low + low)
        for high in sorted(highs):
            self.high = min(self.burst, self.high + high)

    def settle_sometime(self, low: float, high: float) -> None:
        """Give back or take at an unknown moment of this instant."""
        self.high += max(high, 0)
        self.late_high += min(high, 0)
        self.late_low += min(max(low, 0), max(0.0, self.burst - self.low))
        self.low += min(low, 0)

    def end_instant(self) -> None:
        """All grants of the instant are over."""
        if self.low < self.burst <= self.low + self.late_low:
            self.full_at = self.time
        self.low = min(self.burst, self.low + self.late_low)
        self.high = min(self.burst, self.high + self.late_high)
        self.late_low = self.late_high = 0.0

    def open_at(self, amount: float) -> float:
        """The time from which it surely holds this much, if nothing is taken. Minus infinity where it has more than
        enough already; a bucket that must be full to be enough is so from the moment in which it filled.
        """
        if amount + self.slack > self.burst:
            return self.full_at if self.low >= self.burst else self.time + (self.burst - self.low) / self.per_ns
        missing = amount + self.slack - self.low
        return -math.inf if missing <= 0 else self.time + missing / self.per_ns


class Buckets:
    """All buckets of a run."""

    def __init__(self, resources: Mapping[str, PlainResource]) -> None:
        self.rates: dict[str, Bucket] = {}
        self.tokens: dict[str, Bucket] = {}
        for name, limit in resources.items():
            if limit.rate_per_minute is not None:
                self.rates[name] = Bucket(limit.rate_per_minute, limit.burst)
            if limit.tokens_per_minute is not None:
                burst = limit.tokens_per_minute if limit.token_burst is None else limit.token_burst
                self.tokens[name] = Bucket(limit.tokens_per_minute, burst)
        self.every = (*self.rates.values(), *self.tokens.values())

    def fill(self, time: int) -> None:
        """Begin an instant."""
        for bucket in self.every:
            bucket.fill(time)

    def end_instant(self) -> None:
        """End an instant."""
        for bucket in self.every:
            bucket.end_instant()

    def grant(self, one: Try, reserved: int) -> Iterator[str]:
        """Charge a grant; what could not be paid, in words."""
        for name, _ in one.needs:
            rate, tokens = self.rates.get(name), self.tokens.get(name)
            if rate is not None:
                if rate.high + rate.slack < 1:
                    yield f"the rate of {name!r} allowed no more than {rate.high:.6g} of an attempt"
                    rate.high = 1.0
                rate.low -= 1
                rate.high -= 1
            if tokens is not None:
                if reserved > 0 and tokens.high + tokens.slack < reserved:
                    yield f"{name!r} held at most {tokens.high:.6g} of the {reserved} tokens that it reserves"
                    tokens.high = float(reserved)
                self._reserve(one, tokens, reserved)

    @staticmethod
    def _reserve(one: Try, tokens: Bucket, reserved: int) -> None:
        if one.granted < one.known:
            tokens.low -= reserved
            tokens.high -= reserved
            return
        # Granted and settled in one instant: others of it may come before or after the settlement.
        most = reserved if one.tokens_used is None else one.tokens_used
        least = 0 if one.tokens_used is None else one.tokens_used
        tokens.high -= min(reserved, least)
        tokens.late_high -= least - min(reserved, least)
        tokens.low -= max(reserved, most)
        tokens.late_low += max(reserved, most) - most

    def settle(self, attempts: Sequence[tuple[Try, int]], *, sure: bool) -> None:
        """The usage of these attempts is known, each with what it had reserved; ``sure``: before any grant."""
        for name, bucket in self.tokens.items():
            changes = [_given_back(one, reserved) for one, reserved in attempts if _settles(one, name)]
            if sure:
                bucket.settle([low for low, _ in changes], [high for _, high in changes])
                continue
            for low, high in changes:
                bucket.settle_sometime(low, high)

    def open_at(self, one: Try, reserved: int) -> float:
        """From when the buckets surely hold what the attempt takes."""
        opens = -math.inf
        for name, _ in one.needs:
            if name in self.rates:
                opens = max(opens, self.rates[name].open_at(1))
            if name in self.tokens:
                opens = max(opens, self.tokens[name].open_at(reserved))
        return opens


def _settles(one: Try, name: str) -> bool:
    return one.granted < one.known and any(need == name for need, _ in one.needs)


def _given_back(one: Try, reserved: int) -> tuple[int, int]:
    """At least, and at most."""
    if one.tokens_used is None:
        return 0, reserved
    return reserved - one.tokens_used, reserved - one.tokens_used

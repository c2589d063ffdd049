"""Axes for charts: round ticks, and how a tick reads. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple


class Tick(NamedTuple):
    """``place_percent`` from the axis' beginning."""

    place_percent: float
    text: str


def round_step(span: float, wanted: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that makes about ``wanted`` ticks over the span (> 0)."""
    rough = span / max(1, wanted)
    power = float(10 ** math.floor(math.log10(rough)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def values(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round values within [low, high]."""
    if high <= low:
        return [low]
    step = round_step(high - low, wanted)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def time_ticks(low: float, high: float, wanted: int = 6) -> list[Tick]:
    """Ticks in one unit that fits the axis. Seconds."""
    unit, size = time_unit(high)
    return [Tick(100 * (value - low) / (high - low), f"{value / size:g} {unit}") for value in values(low, high, wanted)]


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit for values up to ``seconds``, and its length in seconds."""
    return next(
        ((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if seconds >= size), ("ns", 1e-9)
    )

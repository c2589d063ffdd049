"""Limits of services as a person types them: ``llm=60``."""

from __future__ import annotations

import math
from typing import Literal

from harness.simulation.changes import SimulationError
from harness.traces.prediction.predicted_makespans import Limit

_MOST_UNITS = 1_000_000


def limit_of(typed: str, option: Literal["--rate", "--set-capacity"]) -> Limit:
    """``--rate llm=60``: calls a minute; ``--set-capacity llm=4``: calls at once.

    Raises:
        SimulationError: it does not read so.

    """
    service, equals, text = (part.strip() for part in typed.rpartition("="))
    if not equals or not service:
        raise SimulationError(f"{option} {typed!r} does not read", f"write {option} SERVICE=N, as in llm=60")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise SimulationError(f"{option} {typed!r}: {text!r} is no number greater than 0", "write it as in llm=60")
    if option == "--rate":
        return Limit(service, rate_per_minute=number)
    if number != int(number) or number > _MOST_UNITS:
        raise SimulationError(f"{option} {typed!r}: {text!r} is no whole number", "write it as in llm=4")
    return Limit(service, capacity=int(number))

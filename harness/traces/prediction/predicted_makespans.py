"""How long the same spans would take under ``dataflow``: at several numbers of workers, and under limits (``llm=60``).

Rules of this module:
- Each figure is a run of the production scheduler on the virtual clock
  (:mod:`harness.traces.prediction.trace_what_if`); of a large trace it is one of
  :func:`harness.traces.prediction.list_scheduling.list_schedule`, which does the same without limits.
- The first figure is the one that is sure: assumed edges hold, and what began late begins as late. Beside
  it, where there is any of that, is what it would be if none of it were needed.
- Bounded: of a large trace limits are not tried (of one of ours, fewer numbers of workers), and ``left_out`` says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from executor.record.timeline import NANOSECONDS
from harness.traces.prediction.trace_what_if import WhatIf
from harness.traces.trace_model import ASSUMED

if TYPE_CHECKING:
    from executor.model.workflow import Resource

UNLIMITED: Final = "unlimited"
WORKERS: Final = (2, 4, 8, 16)
DATAFLOW: Final = "dataflow"
# Spans that may be simulated for one trace, all predictions together: some seconds.
_BUDGET_SPANS: Final = 200_000
_USUAL_RATES: Final = (60.0, 300.0)
_LIMITED_WORKERS: Final = 16
_SERVICES_LIMITED: Final = 3
_FEWEST_CALLS: Final = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a service: starts a minute, or calls at once (None: no such limit)."""

    service: str
    rate_per_minute: float | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """``makespan_seconds``: assumed edges hold, and so do late starts; ``without_assumed_seconds``: none is needed
    (None: there are none).
    """

    makespan_seconds: float
    without_assumed_seconds: float | None = None


@dataclass(slots=True)
class Predictions:
    """``by_workers``: keys ``2``, ``4``, …, ``unlimited``. ``limited``: with 16 workers, each limit alone.

    ``serial_seconds``: one span after the other. ``left_out``: predictions that would have taken too long.
    """

    by_workers: dict[str, Predicted] = field(default_factory=dict)
    limited: list[tuple[Limit, Predicted]] = field(default_factory=list)
    services: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0


def predictions(sure: WhatIf, *, workers: Sequence[int] | None = None, limits: Sequence[Limit] = ()) -> Predictions:
    """The predictions of a trace. ``workers`` None: the usual numbers."""
    spans = len(sure.run.timeline.step_ids)
    found = Predictions(services=sure.services)
    if not spans:
        return found
    hopeful = (
        sure.without_assumed() if sure.run.delays or any(edge.label == ASSUMED for edge in sure.run.edges) else None
    )
    counts: list[int | None] = [*(workers if workers is not None else WORKERS), None]
    if sure.run.from_makespan:
        budget = max(2, _BUDGET_SPANS // spans)
        found.left_out = max(0, len(counts) - budget)
        counts = counts[-budget:]
    unlimited = _predicted(sure, hopeful, None, None)
    enough = False
    for count in counts:
        # As short as with a worker for each: still more workers change nothing.
        predicted = unlimited if enough or count is None else _predicted(sure, hopeful, count, None)
        found.by_workers[UNLIMITED if count is None else str(count)] = predicted
        enough = enough or predicted == unlimited
    wanted = list(limits) or _usual_limits(sure)
    if sure.is_large:
        found.left_out += len(wanted)
        wanted = []
    for limit in wanted:
        resources = _limited(sure.services, limit)
        found.limited.append((limit, _predicted(sure, hopeful, _LIMITED_WORKERS, resources)))
    return found


def _limited(services: Iterable[str], limit: Limit) -> dict[str, Resource]:
    from executor.model.workflow import Resource  # noqa: PLC0415 - heavy: only a limit needs it

    limited = Resource(capacity=limit.capacity, rate_per_minute=limit.rate_per_minute)
    return {**{name: Resource() for name in services}, limit.service: limited}


def _predicted(
    sure: WhatIf, hopeful: WhatIf | None, workers: int | None, resources: Mapping[str, Resource] | None
) -> Predicted:
    return Predicted(
        sure.makespan_nanoseconds(workers, resources) / NANOSECONDS,
        None if hopeful is None else hopeful.makespan_nanoseconds(workers, resources) / NANOSECONDS,
    )


def _usual_limits(sure: WhatIf) -> list[Limit]:
    """For the services that are called most: usual rates, and few calls at once. Our own traces have limits already."""
    if sure.run.from_makespan:
        return []
    most = sorted(sure.services.items(), key=lambda item: (-item[1], item[0]))
    found = []
    for name, calls in most[:_SERVICES_LIMITED]:
        if calls >= _FEWEST_CALLS:
            found += [Limit(name, rate_per_minute=rate) for rate in _USUAL_RATES]
            found.append(Limit(name, capacity=2))
    return found


_MOST_UNITS = 1_000_000


def limit_of(typed: str, option: Literal["--rate", "--set-capacity"]) -> Limit:
    """``--rate llm=60``: calls a minute; ``--set-capacity llm=4``: calls at once.

    Raises:
        SimulationError: it does not read so.

    """
    from harness.simulation.changes import SimulationError  # noqa: PLC0415 - heavy: only a limit needs it

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

"""All figures of one run together, in seconds and ratios: data.

Rules of this module:
- Figures come from integer nanoseconds, each divided once. A figure that is not defined is None.
- What needs another run to compare with (speedup, efficiency, slowdown) is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.cautions import Caution
from harness.analysis.failures import FailureGroup


class CriticalStep(NamedTuple):
    """A step's part of the critical path: seconds, and the share of the whole path (None if that has no length)."""

    step_id: str
    seconds: float
    share_ratio: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in figures.

    ``steps_run`` counts steps with at least one attempt. ``concurrency_seconds[n]``: for how long exactly n attempts
    ran. ``binding_bound`` names the largest of ``lower_bound_terms``: ``critical_path``, ``work``, ``resource.X``,
    ``rate.X``, ``tokens.X``. ``lost_seconds`` sum to the makespan, largest first; ``largest_lost_cause`` is the
    largest but ``running``, None where nothing was lost. ``cpu_seconds`` is None where they were not measured.
    ``failures`` are the attempts that failed, in groups.
    """

    makespan_seconds: float
    work_seconds: float
    steps_run: int
    attempts: int
    concurrency_mean: float | None
    concurrency_max: int
    concurrency_seconds: Mapping[int, float]
    critical_path_seconds: float
    critical_path: tuple[CriticalStep, ...]
    lower_bound_seconds: float
    lower_bound_terms: Mapping[str, float]
    binding_bound: str | None
    schedule_efficiency_ratio: float | None
    overhead_seconds_per_step: float | None
    lost_seconds: Mapping[str, float]
    largest_lost_cause: str | None
    cpu_seconds: float | None
    cautions: tuple[Caution, ...]
    failures: tuple[FailureGroup, ...] = ()

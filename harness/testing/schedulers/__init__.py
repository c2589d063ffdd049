"""The conformance suite for schedulers of other projects, as black boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.testing.schedulers.case_play import RULES, Patience
    from harness.testing.schedulers.graph_case import SUPPORTS
    from harness.testing.schedulers.scheduler_suite import (
        BrokenRuleError,
        SchedulerConformance,
        TargetReport,
        fuzz_target,
    )

_NAMES = {
    "harness.testing.schedulers.case_play": ("RULES", "Patience"),
    "harness.testing.schedulers.graph_case": ("SUPPORTS",),
    "harness.testing.schedulers.scheduler_suite": (
        "BrokenRuleError",
        "SchedulerConformance",
        "TargetReport",
        "fuzz_target",
    ),
}

__all__ = ["RULES", "SUPPORTS", "BrokenRuleError", "Patience", "SchedulerConformance", "TargetReport", "fuzz_target"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

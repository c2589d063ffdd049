"""The oracle: judges a run by its record alone. It shares no code with the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from harness.testing.oracle.description import describe
    from harness.testing.oracle.finality import Violation
    from harness.testing.oracle.judge import OPT_IN, PROPERTIES, assert_ok, check_timeline, outputs_equal, same_schedule
    from harness.testing.oracle.plain_graph import PlainGraph, PlainStep

_NAMES = {
    "harness.testing.oracle.description": ("describe",),
    "harness.testing.oracle.finality": ("Violation",),
    "harness.testing.oracle.judge": (
        "OPT_IN",
        "PROPERTIES",
        "assert_ok",
        "check_timeline",
        "outputs_equal",
        "same_schedule",
    ),
    "harness.testing.oracle.plain_graph": ("PlainGraph", "PlainStep"),
}

__all__ = [
    "OPT_IN", "PROPERTIES", "PlainGraph", "PlainStep", "Violation", "assert_ok", "check_timeline", "describe",
    "outputs_equal", "same_schedule",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

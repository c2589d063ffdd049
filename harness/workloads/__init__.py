"""Workloads that others invented: Task Bench's patterns, and how short a step may be on an executor (METG)."""

from __future__ import annotations

from harness.workloads.granularity import Granularity, measure_granularity
from harness.workloads.granularity_document import granularity_document, granularity_schema
from harness.workloads.task_bench import DEFAULT_SHAPE, PATTERNS, PatternError, Shape, scenario_of

__all__ = [
    "DEFAULT_SHAPE",
    "PATTERNS",
    "Granularity",
    "PatternError",
    "Shape",
    "granularity_document",
    "granularity_schema",
    "measure_granularity",
    "scenario_of",
]

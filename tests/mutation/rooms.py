"""What is mutated, and the tests that are asked about it."""

from __future__ import annotations

MODULES = (
    *(
        f"executor.scheduler.{name}"
        for name in (
            "admission", "backoff", "barriers", "call_tree", "constrained_start", "errors", "invariants", "items",
            "locks", "mapped_steps", "prefetch", "ready_queue", "resources", "reuse", "scheduler", "short_way",
            "states", "wait_reasons",
        )
    ),
    *(f"executor.dependencies.{name}" for name in (
            "graph", "graph_building", "hints", "parallel_groups", "shared_state", "step_references",
            "step_requirements",
        )),
    "executor.record.timeline",
)  # fmt: skip
TESTS = (
    "tests/unit/scheduler",
    "tests/unit/dependencies",
    "tests/unit/journal/test_resume.py",
    "tests/unit/test_mapped_steps.py",
    "tests/unit/test_timeline.py",
    "tests/unit/test_dependencies.py",
    "tests/unit/test_devices.py",
    "tests/unit/test_adaptive_limits.py",
    "tests/unit/test_analysis_golden.py",
    "tests/properties/test_dependencies_properties.py",
    "tests/properties/test_scheduler_properties.py",
    "tests/properties/test_scheduler_calls.py",
    "tests/properties/test_mapped_properties.py",
)

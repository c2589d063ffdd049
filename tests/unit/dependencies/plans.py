"""Steps, plans, and what a plan says, for the tests of the rules."""

from __future__ import annotations

from typing import Any

from executor.dependencies import Graph, Plan, plan
from executor.model.workflow import Step, Workflow


def step(step_id: str, *depends_on: str, **fields: Any) -> Step:
    return Step(step_id=step_id, depends_on=depends_on, **fields)


def planned(*steps: Step, inputs: dict[str, Any] | None = None, **options: Any) -> Plan:
    """The plan, without hints unless they are asked for."""
    return plan(Workflow(steps=steps, inputs=inputs or {}), **{"hints": False, **options})


def said(found: Plan) -> list[str]:
    """The findings as a person reads them, line by line."""
    assert (found.graph is None) == any(finding.severity == "error" for finding in found.findings)
    return [line.strip() for finding in found.findings for line in str(finding).splitlines()]


def codes(found: Plan) -> list[tuple[str, str | None]]:
    """(code, step) of each finding."""
    return [(finding.code, finding.step) for finding in found.findings]


def graph_of(*steps: Step, **options: Any) -> Graph:
    """The graph of steps in which nothing is wrong."""
    found = planned(*steps, **options)
    assert found.graph is not None, found.findings
    return found.graph

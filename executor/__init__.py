"""Run workflows, graphs of steps, on interchangeable backends, and keep a record of what happened.

>>> from executor import Step, Workflow, run
>>> steps = (Step(step_id="a", tool="double", args={"value": 4}),
...          Step(step_id="b", tool="double", args={"value": "{{ steps.a.output }}"}))
>>> run(Workflow(steps=steps), tools={"double": lambda value: 2 * value}).outputs
{'a': 8, 'b': 16}

Rules of this module:
- It names what is public; each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executor.backends import Backend, BackendError, backend_names, find_backend
    from executor.engine.engine import StepError
    from executor.engine.instruments import Instrument
    from executor.front_end import StepResult, step, tools_of, workflow_of
    from executor.model.findings import Finding, WorkflowError
    from executor.model.workflow import Resource, Retry, Step, ToolDeclaration, Workflow
    from executor.record.timeline import Attempt, Timeline, Wait
    from executor.running import Interrupted, Run, arun, run
    from executor.tools.tool import Simulation, Tool, ToolContext, ToolError

_HOMES = {
    "executor.backends": ("Backend", "BackendError", "backend_names", "find_backend"),
    "executor.engine.engine": ("StepError",),
    "executor.model.findings": ("Finding", "WorkflowError"),
    "executor.front_end": ("StepResult", "step", "tools_of", "workflow_of"),
    "executor.engine.instruments": ("Instrument",),
    "executor.running": ("Interrupted", "Run", "arun", "run"),
    "executor.record.timeline": ("Attempt", "Timeline", "Wait"),
    "executor.tools.tool": ("Simulation", "Tool", "ToolContext", "ToolError"),
    "executor.model.workflow": ("Resource", "Retry", "Step", "ToolDeclaration", "Workflow"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Attempt", "Backend", "BackendError", "Finding", "Instrument", "Interrupted", "Resource", "Retry", "Run",
    "Simulation", "Step", "StepError", "StepResult", "Timeline", "Tool", "ToolContext", "ToolDeclaration", "ToolError",
    "Wait", "Workflow", "WorkflowError", "arun", "backend_names", "find_backend", "run", "step", "tools_of",
    "workflow_of",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'executor' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)

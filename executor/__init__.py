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

from typing import TYPE_CHECKING

from executor.lazy_names import lazy_names

if TYPE_CHECKING:
    from executor.backends import Backend, BackendError, backend_names, find_backend
    from executor.engine.engine import StepError
    from executor.engine.instruments import Instrument
    from executor.front_end import StepResult, step, tools_of, workflow_of
    from executor.journal.journal_errors import JournalError
    from executor.journal.kept_run import Journal, Resume
    from executor.model.findings import Finding, WorkflowError
    from executor.model.workflow import Devices, Resource, Retry, Step, ToolDeclaration, Workflow
    from executor.node_runtime import step_devices
    from executor.output_cache.cached_outputs import Cache
    from executor.record.timeline import Attempt, Timeline, Wait
    from executor.running import Interrupted, Run, arun, run
    from executor.tools.tool import Simulation, Tool, ToolContext, ToolError

_NAMES = {
    "executor.backends": ("Backend", "BackendError", "backend_names", "find_backend"),
    "executor.engine.engine": ("StepError",),
    "executor.journal.journal_errors": ("JournalError",),
    "executor.journal.kept_run": ("Journal", "Resume"),
    "executor.model.findings": ("Finding", "WorkflowError"),
    "executor.front_end": ("StepResult", "step", "tools_of", "workflow_of"),
    "executor.engine.instruments": ("Instrument",),
    "executor.node_runtime": ("step_devices",),
    "executor.running": ("Interrupted", "Run", "arun", "run"),
    "executor.record.timeline": ("Attempt", "Timeline", "Wait"),
    "executor.tools.tool": ("Simulation", "Tool", "ToolContext", "ToolError"),
    "executor.output_cache.cached_outputs": ("Cache",),
    "executor.model.workflow": ("Devices", "Resource", "Retry", "Step", "ToolDeclaration", "Workflow"),
}

__all__ = [
    "Attempt", "Backend", "BackendError", "Cache", "Devices", "Finding", "Instrument", "Interrupted",
    "Journal", "JournalError", "Resource", "Resume", "Retry", "Run", "Simulation", "Step", "StepError", "StepResult",
    "Timeline", "Tool", "ToolContext", "ToolDeclaration", "ToolError", "Wait", "Workflow", "WorkflowError", "arun",
    "backend_names", "find_backend", "run", "step", "step_devices", "tools_of", "workflow_of",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

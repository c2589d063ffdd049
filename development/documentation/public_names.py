"""The names of Python that are public, with the first sentence of what they say of themselves.

Rules of this module:
- :data:`PUBLIC` is the one list. What is not in it may change at any time, whatever its name begins with.
- Pages import nothing that is not in it; a test holds that.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

from development.documentation.markdown import Parts, table

PUBLIC: Final[Mapping[str, Sequence[str]]] = {
    "executor": tuple(import_module("executor").__all__),
    "executor.backends.submit": ("SubmitBackend",),
    "executor.child_steps.child_request": ("Caller",),
    "executor.backends.child_steps": ("EngineCaller",),
    "executor.node_runtime": tuple(import_module("executor.node_runtime").__all__),
    "executor.tracing.child_programs": ("continue_trace",),
    "harness.analysis": ("remedy", "summary"),
    "harness.planner": ("plan_task",),
    "harness.report.html": ("write_report",),
    "harness.telemetry.telemetry_settings": ("Telemetry",),
    "harness.telemetry.spans.trace_session": ("RunName", "open_tracing"),
    "harness.testing.backends": ("BackendConformance", "CANNOT", "CAPABILITIES", "ProtocolError", "watch"),
    "harness.testing.drawing": ("event_schedules", "judge", "random_workflow", "simulate", "workflows"),
    "harness.testing.fuzz": ("read_replay", "write_replay"),
    "harness.testing.schedulers": ("RULES", "SchedulerConformance", "fuzz_target"),
    "harness.traces": ("foreign_run", "read_traces"),
}
"""By module, the names that are public."""


def summary_of(module: str, name: str) -> str:
    """The first sentence of a name's docstring; for data, which has none, its type.

    Raises:
        ValueError: a function or class says nothing of itself.

    """
    found = getattr(import_module(module), name)
    if not (inspect.isroutine(found) or inspect.isclass(found)):
        return "data: a mapping of names to sentences"
    text = " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split()).replace("``", "`")
    if not text:
        raise ValueError(f"{module}.{name} is public and has no docstring")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.split(r"(?<=[.:]) (?=[A-Z`])", text)[0].rstrip(":")


def _table(module: str) -> Callable[[], str]:
    return lambda: table(("name", "is"), ((f"`{name}`", summary_of(module, name)) for name in PUBLIC[module]))


PARTS: Final[Parts] = {module: _table(module) for module in PUBLIC}

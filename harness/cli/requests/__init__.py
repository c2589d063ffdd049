"""What each command is asked for: a frozen dataclass, whose fields carry their option and its help. ``shared`` what
several commands take · ``completion`` what a shell offers.

Rules of this package:
- Each request is imported when its command is the one that is called: to read the options of all takes nearly half as
  long as to import typer.
- It imports nothing but typer, so no lazy names of the executor's; completions import what they need when a shell asks.
- No ``from __future__ import annotations`` in its modules: options are read from the annotations at each start, and
  text would have to be evaluated first.
- Whether a value makes sense is judged by the configuration and the scenario, which name the command line as its place.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.cli.requests.dashboards import PushRequest, UpRequest, ValidateRequest
    from harness.cli.requests.fuzzing import FuzzRequest
    from harness.cli.requests.kept_runs import CompareRequest, HistoryRequest, ReportRequest
    from harness.cli.requests.local_llm import LlmInstallRequest, LlmServeRequest
    from harness.cli.requests.recording import RecordRequest
    from harness.cli.requests.running import BenchRequest, DoctorRequest, PlanRequest, RunRequest
    from harness.cli.requests.shared import ConfigOnly, NoOptions
    from harness.cli.requests.traces import AnalyzeRequest, SimulateRequest
    from harness.cli.requests.workloads import MakeRequest, MetgRequest

_NAMES = {
    "harness.cli.requests.dashboards": ("PushRequest", "UpRequest", "ValidateRequest"),
    "harness.cli.requests.fuzzing": ("FuzzRequest",),
    "harness.cli.requests.kept_runs": ("CompareRequest", "HistoryRequest", "ReportRequest"),
    "harness.cli.requests.local_llm": ("LlmInstallRequest", "LlmServeRequest"),
    "harness.cli.requests.recording": ("RecordRequest",),
    "harness.cli.requests.running": ("BenchRequest", "DoctorRequest", "PlanRequest", "RunRequest"),
    "harness.cli.requests.shared": ("ConfigOnly", "NoOptions"),
    "harness.cli.requests.traces": ("AnalyzeRequest", "SimulateRequest"),
    "harness.cli.requests.workloads": ("MakeRequest", "MetgRequest"),
}

__all__ = [
    "AnalyzeRequest", "BenchRequest", "CompareRequest", "ConfigOnly", "DoctorRequest", "FuzzRequest",
    "HistoryRequest", "LlmInstallRequest", "LlmServeRequest", "MakeRequest", "MetgRequest", "NoOptions",
    "PlanRequest", "PushRequest", "RecordRequest", "ReportRequest", "RunRequest", "SimulateRequest", "UpRequest",
    "ValidateRequest",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

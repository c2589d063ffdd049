"""``makespan doctor``: the checks of :mod:`harness.doctor` as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.cli.guard import UsageFault
from harness.cli.requests.running import DoctorRequest
from harness.cli.typed_values import read_settings
from harness.config import load_config
from harness.doctor import Check, State, diagnose
from harness.executor_check import diagnose_executor
from harness.exit_codes import ExitCode
from harness.plain_text import one_line
from harness.report.terminal.console import Line, Terminal

_STYLES: Final[dict[State, str]] = {"ok": "green", "missing": "yellow", "broken": "bold red"}
_NAME_WIDTH: Final = 22


def show_diagnosis(request: DoctorRequest) -> ExitCode:
    """One line a check as it is made, and below it what to do where something is missing."""
    terminal = Terminal()
    broken = 0
    for check in _checks(request):
        broken += check.state == "broken"
        lines = [
            Line(f"  {check.state:<8} {check.name:<{_NAME_WIDTH}} {one_line(check.detail, 400)}", _STYLES[check.state])
        ]
        if check.remedy:
            lines.append(Line(f"{'':<{_NAME_WIDTH + 12}}→ {one_line(check.remedy, 400)}"))
        terminal.write(lines)
    terminal.line("All that is needed is there." if not broken else f"{broken} broken: see above.", "bold")
    return ExitCode.FAULT if broken else ExitCode.FINE


def _checks(request: DoctorRequest) -> Iterator[Check]:
    """Those of this machine, or those of the executor that is named.

    Raises:
        UsageFault: an option does not parse, or belongs to no executor.
        WorkflowError: the configuration has faults.
    """
    if request.executor is None:
        if request.backend_options:
            raise UsageFault("--backend-option: name the executor with --executor")
        return diagnose(request.config_path)
    options = read_settings(request.backend_options, "--backend-option")
    config = load_config(request.config_path)
    return diagnose_executor(request.executor, config.options_of(request.executor, options))

"""``makespan doctor``: the checks of :mod:`harness.doctor` as text."""

from __future__ import annotations

from typing import Final

from harness.doctor import State, diagnose
from harness.exit_codes import ExitCode
from harness.plain_text import one_line
from harness.report.terminal.console import Line, Terminal

_STYLES: Final[dict[State, str]] = {"ok": "green", "missing": "yellow", "broken": "bold red"}
_NAME_WIDTH: Final = 22


def show_diagnosis(config_path: str | None = None) -> ExitCode:
    """One line a check as it is made, and below it what to do where something is missing."""
    terminal = Terminal()
    broken = 0
    for check in diagnose(config_path):
        broken += check.state == "broken"
        lines = [
            Line(f"  {check.state:<8} {check.name:<{_NAME_WIDTH}} {one_line(check.detail, 400)}", _STYLES[check.state])
        ]
        if check.remedy:
            lines.append(Line(f"{'':<{_NAME_WIDTH + 12}}→ {one_line(check.remedy, 400)}"))
        terminal.write(lines)
    terminal.line("All that is needed is there." if not broken else f"{broken} broken: see above.", "bold")
    return ExitCode.FAULT if broken else ExitCode.FINE

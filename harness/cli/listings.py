"""``makespan scenarios``, ``tools`` and ``executors``: what there is.

Rules of this module:
- Each list imports what it lists: the scenarios are there without tools, executors and the configuration.
"""
# ruff: noqa: PLC0415 - imports in functions are what keeps the list of scenarios light

from __future__ import annotations

from collections.abc import Sequence

from harness.exit_codes import ExitCode
from harness.files.packaged import shipped_scenarios
from harness.files.strict_file import read_document
from harness.plain_text import columns_of, counted, one_line, padded
from harness.report.terminal.console import Line, Terminal


def list_scenarios() -> ExitCode:
    """Name and description of each shipped scenario."""
    rows: list[tuple[str, str]] = []
    for name, path in shipped_scenarios().items():
        description = read_document(path).data.get("description")
        rows.append((name, description if isinstance(description, str) else ""))
    _write_rows("Scenarios (makespan run NAME):", rows)
    return ExitCode.FINE


def list_tools(config_path: str | None = None) -> ExitCode:
    """Every kind of tool with what it does, and what the configuration declares."""
    from executor.tools.registry import tool_kind, tool_kind_names
    from executor.tools.tool import ToolOptionsError
    from harness.config import load_config

    broken = False
    kinds: list[tuple[str, str]] = []
    for name in tool_kind_names():
        try:
            kinds.append((name, tool_kind(name).summary))
        except ToolOptionsError as error:
            broken = True
            kinds.append((name, f"cannot be used: {error}"))
    _write_rows("Kinds of tools:", kinds)
    declared = load_config(config_path).tools
    rows = [(name, f"{tool.kind}: {tool.description}".rstrip(": ")) for name, tool in declared.items()]
    _write_rows("Declared in the configuration:", rows)
    return ExitCode.FAULT if broken else ExitCode.FINE


def list_executors() -> ExitCode:
    """Every executor with what it is for and how many workers it has by default."""
    from executor.backends import BackendError, backend_names, find_backend

    rows: list[tuple[str, str]] = []
    for name in backend_names():
        try:
            backend = find_backend(name)
        except BackendError as error:
            rows.append((name, f"not available: {error}"))
            continue
        workers = backend.default_workers()
        rows.append((name, f"{backend.summary} (default: {counted(workers, 'worker')})"))
        rows += [("", f"--backend-option {option}={meaning}") for option, meaning in backend.options.items()]
    _write_rows("Executors (makespan run SCENARIO --executor NAME):", rows)
    return ExitCode.FINE


def _write_rows(head: str, rows: Sequence[tuple[str, str]]) -> None:
    terminal = Terminal()
    column = max((columns_of(name) for name, _ in rows), default=0)
    terminal.line(head, "bold")
    lines = [Line(f"  {padded(one_line(name, 60), column)}  {one_line(text, 400)}".rstrip()) for name, text in rows]
    terminal.write(lines or [Line("  none")])

"""Prints the measured table after the benchmarks, and keeps its rows for the table of all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.measure import ROWS, table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rows-file", default=None, help="where measured rows are added, one JSON list a line")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One Markdown table, ready for docs/performance.md."""
    if not ROWS:
        return
    terminalreporter.section("measured, ours ÷ by hand, paired in one run")
    for line in table(ROWS):
        terminalreporter.write_line(line)
    if rows_file := config.getoption("--rows-file"):
        with Path(rows_file).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)

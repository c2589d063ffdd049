"""Prints the measured table after the benchmarks."""

from __future__ import annotations

import pytest

from tests.benchmarks.measure import ROWS

HEAD = ("what", "ours µs a step", "by hand", "ratio (median)", "quartiles", "at most")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One Markdown table, ready for docs/performance.md."""
    if not ROWS:
        return
    terminalreporter.section("measured, ours ÷ by hand, paired in one run")
    for row in (HEAD, ("---",) * len(HEAD), *ROWS):
        terminalreporter.write_line("| " + " | ".join(row) + " |")

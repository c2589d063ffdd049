"""A benchmark while it goes on: which run, how many there are, how much time is left.

Rules of this module:
- Nothing is written while a run is measured, and no thread draws: the status is rewritten between two runs.
- Without a terminal: plain lines, one a round, and never many a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.live import Live
from rich.text import Text

from harness.benchmark.matrix import MatrixCell
from harness.benchmark.runner import Measured
from harness.benchmark.session import Listener
from harness.plain_text import counted, one_line, remaining_text
from harness.report.terminal.console import Terminal

_LIVE_EVERY_SECONDS: Final = 0.1
_PLAIN_EVERY_SECONDS: Final = 2.0


class BenchProgress(Listener):
    """``with BenchProgress(terminal) as progress: …``."""

    def __init__(self, terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._runs: int | None = None
        self._done = 0
        self._repetition = -1
        self._said_at = -_PLAIN_EVERY_SECONDS
        self._live: Live | None = None

    def __enter__(self) -> Self:
        console = self._terminal.console
        if console is not None:
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def planned(self, runs: int | None) -> None:
        """Remember how many there are."""
        self._runs = runs

    def begins(self, cell: MatrixCell, repetition: int, seconds_left: float | None) -> None:
        """Show the run that begins, unless something was shown a moment ago."""
        now = self._clock()
        if self._live is not None:
            if now - self._said_at >= _LIVE_EVERY_SECONDS:
                self._said_at = now
                text = f"{self._head(repetition, seconds_left)}: {one_line(str(cell.key), 80)}"
                self._live.update(Text(text, "bold", no_wrap=True, overflow="ellipsis"), refresh=True)
            return
        if repetition != self._repetition and now - self._said_at >= _PLAIN_EVERY_SECONDS:
            self._said_at, self._repetition = now, repetition
            self._terminal.line(self._head(repetition, seconds_left))

    def measured(self, measured: Measured) -> None:
        """Count it."""
        self._done += 1

    def _head(self, repetition: int, seconds_left: float | None) -> str:
        what = f"repetition {repetition}" if repetition else "warm-up"
        runs = f"{self._done} of {counted(self._runs, 'run')}" if self._runs else counted(self._done, "run")
        left = "" if seconds_left is None else f", {remaining_text(seconds_left)} left"
        return f"{what}, {runs} done{left}"

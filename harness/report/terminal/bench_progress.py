"""A benchmark while it goes on: which run, how many there are, how much time is left, and figures so far.

::

    repetition 3  ━━━━━━━━━╸━━━━━━━━━━  77 of 234 runs, 3 min 52 s left
    joke threads@8/dataflow
        so far: threads@4/dataflow 808 ms, 1.38×

Rules of this module:
- Nothing is written while a run is measured, and no thread draws: the status is rewritten between two runs.
- Without a terminal: plain lines, one a round, and never many a second.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.benchmark.matrix import MatrixCell
from harness.benchmark.runner import Measured
from harness.benchmark.session import Listener, Sample
from harness.plain_text import counted, duration_text, one_line, remaining_text
from harness.report.terminal.console import Terminal

_LIVE_EVERY_SECONDS: Final = 0.1
_PLAIN_EVERY_SECONDS: Final = 2.0
_BAR_COLUMNS: Final = 24
_LEAST_BAR_COLUMNS: Final = 5
_CELLS_SHOWN: Final = 8


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
        self._makespans: dict[MatrixCell, list[float]] = {}
        self._speedups: dict[MatrixCell, list[float]] = {}

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
                self._live.update(Group(*self._block(cell, repetition, seconds_left)), refresh=True)
            return
        if repetition != self._repetition and now - self._said_at >= _PLAIN_EVERY_SECONDS:
            self._said_at, self._repetition = now, repetition
            self._terminal.line(f"{_round(repetition)}, {self._runs_done()}{_left(seconds_left)}")
            for text in self._figures(cell.case.scenario):
                self._terminal.line(f"  so far: {text}")

    def measured(self, measured: Measured) -> None:
        """Count it."""
        self._done += 1

    def analysed(self, sample: Sample) -> None:
        """Take its figures into those so far."""
        makespan = sample.makespan_seconds
        self._makespans.setdefault(sample.cell, []).append(makespan)
        if sample.baseline_seconds is not None and makespan > 0:
            self._speedups.setdefault(sample.cell, []).append(sample.baseline_seconds / makespan)

    def _block(self, cell: MatrixCell, repetition: int, seconds_left: float | None) -> Iterator[RenderableType]:
        """What is drawn on a terminal: the bar, the cell, and the figures so far."""
        what, done = _round(repetition), f"{self._runs_done()}{_left(seconds_left)}"
        columns = min(_BAR_COLUMNS, self._terminal.width - len(what) - len(done) - 3)
        head = Table.grid(padding=(0, 1))
        parts: list[RenderableType] = [Text(what, "bold"), Text(done)]
        if self._runs and columns >= _LEAST_BAR_COLUMNS:
            parts.insert(1, ProgressBar(total=self._runs, completed=self._done, width=columns))
        head.add_row(*parts)
        yield head
        yield Text(f"  {one_line(str(cell.key), 80)}", "bold", no_wrap=True, overflow="ellipsis")
        for text in self._figures(cell.case.scenario):
            yield Text(f"    so far: {text}", "dim", no_wrap=True, overflow="ellipsis")

    def _figures(self, scenario: str) -> Iterator[str]:
        """The fastest cells of a scenario so far, by their medians, each with its speedup."""
        medians = {
            cell: statistics.median(found)
            for cell, found in self._makespans.items() if cell.case.scenario == scenario
        }  # fmt: skip
        for cell, median in sorted(medians.items(), key=lambda one: one[1])[:_CELLS_SHOWN]:
            ratios = self._speedups.get(cell)
            speedup = "" if ratios is None else f", {statistics.median(ratios):.2f}×"
            yield f"{one_line(cell.key.label, 60)} {duration_text(median)}{speedup}"

    def _runs_done(self) -> str:
        return (
            f"{self._done} of {counted(self._runs, 'run')} done" if self._runs else f"{counted(self._done, 'run')} done"
        )


def _round(repetition: int) -> str:
    return f"repetition {repetition}" if repetition else "warm-up"


def _left(seconds_left: float | None) -> str:
    return "" if seconds_left is None else f", {remaining_text(seconds_left)} left"

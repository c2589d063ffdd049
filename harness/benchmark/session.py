"""The session: rounds of runs in seeded order, until there are enough of them or something ends it.

Rules of this module:
- In a round every cell that still wants a repetition runs once. Warm-up rounds come first and do not count.
- A run is taken once its baseline of the same round is there, between two runs, and given to the listeners at once. Its
  figures are made when somebody asks for one.
- Whatever ends the session, every finished run is in the outcome.
- Repetitions of an earlier session (:meth:`Session.restore`) count as if they had been measured in this one: what is
  computed of them is computed again from their timelines.
- Whether intervals are narrow enough is asked rarely: one that is asked again and again is a little too narrow when the
  answer turns to yes.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Literal

from executor.garbage_collection import rare_collections
from executor.record.timeline import Attempt, Timeline
from harness.analysis import RunAnalysis, Summary, in_seconds
from harness.analysis.slowdown import (
    SlowdownCaution,
    slowdown_cautions,
    split_running,
)
from harness.benchmark.budget import Budget, Spending, estimate
from harness.benchmark.matrix import Case, Matrix, MatrixCell
from harness.benchmark.meter import Usage
from harness.benchmark.runner import Measured, Runner
from harness.statistics import enough, interval

StopReason = Literal["repetitions", "width", "time", "calls", "tokens", "interrupted", "failed"]

# Where intervals decide: the first look, how much later each next one is, and the most repetitions by default.
FIRST_LOOK_REPETITIONS: Final = 10
_LOOK_GROWTH: Final = 1.5
MOST_REPETITIONS: Final = 100


@dataclass(frozen=True, eq=False)
class Sample:
    """One repetition. ``paired`` is the serial run of the same round, None where there is none and in a serial run.
    ``errors`` counts failed steps. ``wall_seconds``, ``calls`` and ``tokens`` are those of :class:`.Measured`.

    Its figures are made when one is asked for, after the runs as a rule, and kept.
    """

    cell: MatrixCell
    repetition: int
    seed: int
    timeline: Timeline
    outputs: Mapping[str, Any]
    step_errors: Mapping[str, object]
    warnings: tuple[str, ...]
    usage: Usage
    usable_cores: int | None
    paired: Sample | None = field(repr=False)
    started_at: str | None = None
    facts: Mapping[Attempt, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    cold_startup_seconds: float = 0.0
    wall_seconds: float = 0.0
    calls: int = 0
    tokens: int = 0

    @property
    def errors(self) -> int:
        """Failed steps."""
        return sum(1 for status in self.timeline.statuses if status == "failed")

    @cached_property
    def makespan_seconds(self) -> float:
        """Without any other figure."""
        return self.timeline.makespan_seconds

    @property
    def baseline_seconds(self) -> float | None:
        """The makespan of the serial run of the same round."""
        return None if self._serial is None else self._serial.makespan_seconds

    @property
    def baseline(self) -> Timeline | None:
        """The serial run of the same round."""
        return None if self._serial is None else self._serial.timeline

    @property
    def figures(self) -> Summary:
        """Those of the run alone."""
        return self._analysed.figures

    @property
    def lost_nanoseconds(self) -> Mapping[str, int]:
        """The makespan by cause, split by the paired serial run where there is one."""
        return self._analysed.lost_nanoseconds

    @property
    def cautions(self) -> tuple[SlowdownCaution, ...]:
        """What to know before acting on the figures."""
        return self._analysed.cautions

    @property
    def _serial(self) -> Sample | None:
        return self if self.cell.baseline is None else self.paired

    @cached_property
    def _analysed(self) -> _Analysed:
        analysis = RunAnalysis(self.timeline, usable_cores=self.usable_cores)
        figures, lost = analysis.summary, analysis.lost_nanoseconds
        if self.cell.baseline is None or self.paired is None:
            return _Analysed(figures, lost, figures.cautions)
        lost = split_running(analysis, self.paired.run_nanoseconds)
        cautions = slowdown_cautions(
            self.timeline, figures, in_seconds(lost), self.paired.figures, usable_cores=self.usable_cores
        )
        return _Analysed(figures, lost, cautions)

    @cached_property
    def run_nanoseconds(self) -> Mapping[tuple[str, int], int]:
        """The run time of each attempt, by step id and attempt."""
        return RunAnalysis(self.timeline).run_nanoseconds


@dataclass(frozen=True, slots=True)
class _Analysed:
    """What one look at a run gives."""

    figures: Summary
    lost_nanoseconds: Mapping[str, int]
    cautions: tuple[SlowdownCaution, ...]


@dataclass(slots=True)
class Series:
    """A cell and its repetitions, in order of time."""

    cell: MatrixCell
    samples: list[Sample] = field(default_factory=list)

    @property
    def makespans_seconds(self) -> list[float]:
        """Of each repetition."""
        return [sample.makespan_seconds for sample in self.samples]


class Listener:
    """Is called between runs. What it does not override does nothing."""

    def planned(self, runs: int | None) -> None:
        """How many runs there will be, warm-up included; None where that depends on what is measured."""

    def begins(self, cell: MatrixCell, repetition: int, seconds_left: float | None) -> None:
        """A run begins; ``repetition`` 0 is warm-up. ``seconds_left``: for all runs, None while it is unknown."""

    def measured(self, measured: Measured) -> None:
        """A run is over (warm-up too)."""

    def analysed(self, sample: Sample) -> None:
        """A repetition, and its serial run, are there: it can be asked for its figures."""


@dataclass(slots=True)
class Outcome:
    """What a session left. ``rounds`` were begun. ``too_wide``: cells whose interval stayed wider than asked.
    ``failure``: what broke it, to be raised once the rest is safe.
    """

    series: list[Series]
    stopped_by: StopReason
    rounds: int
    calls: int
    tokens: int
    too_wide: list[MatrixCell] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def interrupted(self) -> bool:
        """Ctrl-C came."""
        return self.stopped_by == "interrupted"


def round_order(cells: Sequence[MatrixCell], seed: int, round_number: int) -> list[MatrixCell]:
    """The cells in the order of a round: the same for the same arguments."""
    order = list(cells)
    random.Random(f"{seed}/{round_number}").shuffle(order)  # noqa: S311 - repeatable, not secret
    return order


class Session:
    """One benchmark. ``until_width_ratio``: repeat until the interval of every cell's makespan, end to end, is at most
    that share of its median.
    """

    def __init__(
        self,
        matrix: Matrix,
        runner: Runner,
        *,
        seed: int = 0,
        until_width_ratio: float | None = None,
        budget: Budget | None = None,
        usable_cores: int | None = None,
        listeners: Sequence[Listener] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.matrix = matrix
        self.runner = runner
        self.seed = seed
        self.until_width_ratio = until_width_ratio
        self.budget = budget or Budget()
        self.usable_cores = usable_cores
        self.listeners = listeners
        self.series = {cell: Series(cell) for cell in matrix.cells}
        self._spending = Spending(self.budget, estimate(matrix, runner))
        self._clock = clock
        self._began = clock()
        self._pending: list[Measured] = []
        self._baselines: dict[MatrixCell, Sample] = {}
        # The round that these are of.
        self._paired_round = 0
        # Of each cell that ran: how often, and the seconds of all.
        self._walls: dict[MatrixCell, tuple[int, float]] = {}
        self._next_look = FIRST_LOOK_REPETITIONS
        self._rounds = 0
        self._confirming = False
        # Of an earlier session: which repetitions there are, and the last round that has one.
        self._there: set[tuple[MatrixCell, int]] = set()
        self._last_there = 0
        self._restoring = False

    def restore(self, kept: Sequence[Measured]) -> None:
        """Before :meth:`run`: take these repetitions as measured; those that are missing are measured then. One whose
        serial run is missing in the last round waits for it.
        """
        self._restoring = True
        rounds: dict[int, list[Measured]] = {}
        for one in kept:
            rounds.setdefault(one.repetition, []).append(one)
        for number in sorted(rounds):
            self._analyse_pending(all_of_them=True)
            self._rounds = self._last_there = self._paired_round = number
            self._baselines.clear()
            for one in rounds[number]:
                self._count_wall(one)
                self._spending.add(one)
                self._there.add((one.cell, number))
                self._pending.append(one)
            self._analyse_pending()
        self._restoring = False

    def run(self) -> Outcome:
        """Measure. Ctrl-C ends it like any other end."""
        self._began = self._clock()
        self._tell("planned", self._runs_planned())
        return self._measured(lambda: self._warm_up() or self._repeat(), list(self.series.values()))

    def confirm(self, cells: Collection[MatrixCell], rounds: int) -> Outcome:
        """After :meth:`run`: measure some cells again, so many rounds, with the serial runs that they are compared
        with. The outcome holds the new repetitions alone; the session's series hold all.
        """
        again = [cell for cell in self.matrix.cells if cell in cells or any(cell is one.baseline for one in cells)]
        before = {cell: len(self.series[cell].samples) for cell in again}
        self._confirming = True
        self._tell("planned", sum(count for count, _ in self._walls.values()) + rounds * len(again))
        outcome = self._measured(lambda: self._rounds_of(again, rounds), [])
        series = [Series(cell, self.series[cell].samples[before[cell] :]) for cell in again]
        return replace(outcome, series=series)

    def _measured(self, measure: Callable[[], StopReason], series: list[Series]) -> Outcome:
        stopped: StopReason
        failure: Exception | None = None
        try:
            # The runner looks for garbage between runs.
            with rare_collections():
                stopped = measure()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except Exception as error:  # noqa: BLE001 - what was measured before it has to be kept
            stopped, failure = "failed", error
        self._analyse_pending(all_of_them=True)
        wide = [] if self.until_width_ratio is None else self._too_wide()
        return Outcome(
            series=series,
            stopped_by=stopped,
            rounds=self._rounds,
            calls=self._spending.calls,
            tokens=self._spending.tokens,
            too_wide=wide,
            failure=failure,
        )

    # ------------------------------------------------------------------ rounds

    def _warm_up(self) -> StopReason | None:
        for number in range(max(case.warmup for case in self.matrix.cases)):
            cells = [
                cell for cell in self.matrix.cells
                if number < cell.case.warmup and not cell.simulated and self._missing(cell)
            ]  # fmt: skip
            for cell in round_order(cells, self.seed, -1 - number):
                stop = self._measure(cell, 0)
                if stop is not None:
                    return stop
        return None

    def _repeat(self) -> StopReason:
        number = 0
        while True:
            cells = [cell for cell in self.matrix.cells if number < self._wanted(cell.case)]
            if not cells:
                return "repetitions"
            missing = [cell for cell in cells if (cell, number + 1) not in self._there]
            if number and self.budget.max_seconds is not None and self._round_seconds(missing) > self._seconds_left():
                return "time"
            number += 1
            stop = self._round(cells, number) if missing else None
            if stop is not None:
                return stop
            if self.until_width_ratio is not None and number >= self._next_look:
                # Before the end of what was there, the answer was no.
                if number >= self._last_there and not self._too_wide():
                    return "width"
                self._next_look = math.ceil(number * _LOOK_GROWTH)

    def _rounds_of(self, cells: Sequence[MatrixCell], rounds: int) -> StopReason:
        for _ in range(rounds):
            stop = self._round(cells, self._rounds + 1)
            if stop is not None:
                return stop
        return "repetitions"

    def _round(self, cells: Sequence[MatrixCell], number: int) -> StopReason | None:
        if number != self._paired_round:
            self._baselines.clear()
        self._paired_round = number
        self._rounds = max(self._rounds, number)
        for cell in round_order(cells, self.seed, number):
            if (cell, number) in self._there:
                continue
            stop = self._measure(cell, number)
            if stop is not None:
                return stop
        return None

    def _missing(self, cell: MatrixCell) -> int:
        """How many repetitions of the cell an earlier session did not leave, at most."""
        there = sum((cell, number) in self._there for number in range(1, self._wanted(cell.case) + 1))
        return self._wanted(cell.case) - there

    def _wanted(self, case: Case) -> int:
        return case.repetitions

    def _too_wide(self) -> list[MatrixCell]:
        width = self.until_width_ratio or 0.0
        return [
            cell for cell, series in self.series.items()
            if not series.samples or not enough(interval(series.makespans_seconds), width)
        ]  # fmt: skip

    def _seconds_left(self) -> float:
        most = self.budget.max_seconds
        return math.inf if most is None else most - (self._clock() - self._began)

    # ------------------------------------------------------------------ a run

    def _measure(self, cell: MatrixCell, repetition: int) -> StopReason | None:
        if self._seconds_left() <= 0:
            return "time"
        refused = self._spending.refuses(cell)
        if refused is not None:
            return "calls" if refused == "calls" else "tokens"
        self._tell("begins", cell, repetition, self._forecast_seconds(repetition))
        measured = self.runner.run(cell, repetition)
        self._count_wall(measured)
        self._spending.add(measured)
        if repetition > 0:
            self._pending.append(measured)
        self._tell("measured", measured)
        self._analyse_pending()
        return None

    def _tell(self, what: str, *words: Any) -> None:
        for listener in self.listeners:
            getattr(listener, what)(*words)

    def _analyse_pending(self, *, all_of_them: bool = False) -> None:
        """Look at the runs whose baseline is there (at the end: at all of them)."""
        for one in sorted(self._pending, key=lambda one: one.cell.baseline is not None):
            baseline = one.cell.baseline
            if baseline is None or baseline in self._baselines or all_of_them:
                # Ctrl-C may come at any place: what is not taken out yet is looked at again at the end.
                self._keep(one)
                self._pending.remove(one)

    def _keep(self, measured: Measured) -> None:
        cell, run = measured.cell, measured.run
        samples = self.series[cell].samples
        if samples and samples[-1].repetition == measured.repetition:
            return
        sample = Sample(
            cell=cell,
            repetition=measured.repetition,
            seed=measured.seed,
            timeline=run.timeline,
            outputs=run.outputs,
            step_errors=run.errors,
            warnings=tuple(run.warnings),
            usage=measured.usage,
            usable_cores=self.usable_cores,
            paired=None if cell.baseline is None else self._baselines.get(cell.baseline),
            started_at=measured.started_at,
            facts=run.facts,
            cold_startup_seconds=measured.cold_startup_seconds,
            wall_seconds=measured.wall_seconds,
            calls=measured.calls,
            tokens=measured.tokens,
        )
        if cell.baseline is None:
            self._baselines[cell] = sample
        samples.append(sample)
        if not self._restoring:
            self._tell("analysed", sample)

    # ------------------------------------------------------------------ how long

    def _runs_planned(self) -> int | None:
        if self.until_width_ratio is not None:
            return None
        wanted = [(cell, self._missing(cell)) for cell in self.matrix.cells]
        return sum(missing + (0 if cell.simulated or not missing else cell.case.warmup) for cell, missing in wanted)

    def _round_seconds(self, cells: Sequence[MatrixCell]) -> float:
        return math.fsum(self._mean_wall(cell) for cell in cells)

    def _mean_wall(self, cell: MatrixCell) -> float:
        count, seconds = self._walls.get(cell, (0, 0.0))
        return seconds / count if count else 0.0

    def _count_wall(self, measured: Measured) -> None:
        count, seconds = self._walls.get(measured.cell, (0, 0.0))
        self._walls[measured.cell] = count + 1, seconds + measured.wall_seconds

    def _forecast_seconds(self, repetition: int) -> float | None:
        """For all runs that are left, from those that were; None until each cell ran once."""
        if self._confirming or self.until_width_ratio is not None or len(self._walls) < len(self.matrix.cells):
            return None if self.budget.max_seconds is None else max(0.0, self._seconds_left())
        left = math.fsum(
            self._mean_wall(cell) * (self._wanted(cell.case) - len(self.series[cell].samples))
            for cell in self.matrix.cells
        )
        pending = math.fsum(self._mean_wall(one.cell) for one in self._pending)
        return min(max(0.0, left - pending), max(0.0, self._seconds_left()))

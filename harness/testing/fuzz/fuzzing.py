"""Random workflows with random faults against scheduler, engine and backends, judged by the oracle.

::

    seed ─▶ draw a run ─▶ draw its faults ─▶ play ─▶ judge ─▶ nothing, or: shrink ─▶ replay file, scenario file

On `virtual` the production scheduler and engine play thousands of runs in a minute, each exactly repeatable; on any
other backend runs are played for real, in milliseconds each.

Rules of this module:
- Same seed, same runs, whatever the number of jobs.
- A failure is reported once for each property; a run that hangs is one too, and the others go on.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from executor.engine.instruments import LOGGER_NAME as INSTRUMENTS
from executor.garbage_collection import rare_collections
from harness.testing.drawing.generator import FEATURES, DrawnRun, random_workflow
from harness.testing.fuzz.crashed_run_judging import judge_crashed
from harness.testing.fuzz.crashed_runs import play_with_crashes
from harness.testing.fuzz.faults import NO_FAULTS, FaultPlan, draw_faults
from harness.testing.fuzz.faulty_run_judging import judge_again, judge_played
from harness.testing.fuzz.faulty_simulation import Played, play
from harness.testing.fuzz.real_run_judging import judge_real
from harness.testing.fuzz.real_runs import has_way_back, play_for_real, real_features, scaled
from harness.testing.fuzz.replay_files import read_replay, run_to_data, scenario_of
from harness.testing.fuzz.shrinking import Candidate, shrink
from harness.testing.fuzz.transition_coverage import ALL_TRANSITIONS, Transition, WatchedScheduler, missing_transitions
from harness.testing.fuzz.watchdog import HangError, time_limit
from harness.testing.oracle.judge import Violation

DEFAULT_DAGS = 1000
DEFAULT_SIZE = 20
# The bookkeeping is checked after each turn, and the run is played again and serially, in every so manieth run.
SAMPLE = 10
CHUNK = 200
REAL_CHUNK = 10
# Failures that are shrunk and reported in full; the others are counted.
MOST_FAILURES = 5
SIMULATION_LIMIT_SECONDS = 20.0
SHRINK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is played. ``patience_seconds``: how long a real run may take before it counts as hanging."""

    seed: int = 0
    size: int = DEFAULT_SIZE
    backend: str = "virtual"
    features: tuple[str, ...] | None = None
    faults: bool = True
    patience_seconds: float = 20.0
    shrink_seconds: float = SHRINK_SECONDS

    @property
    def leaves_calls_out(self) -> bool:
        """Steps of the backend cannot call others."""
        return self.backend != "virtual" and not self.features and not has_way_back(self.backend)

    def draw(self, number: int) -> Candidate:
        """Run ``number`` (from 0), with its faults."""
        seed = (self.seed << 40) + number
        if self.backend == "virtual":
            run = random_workflow(seed, self.size, self.features or FEATURES)
            return Candidate(run, draw_faults(seed, run) if self.faults else NO_FAULTS)
        features = self.features or real_features(self.backend)
        return Candidate(scaled(random_workflow(seed, self.size, features)), NO_FAULTS)


@dataclass(slots=True)
class FuzzFailure:
    """A run with something wrong: run ``number`` of its seed, what was found in it, and the smallest run with the same
    fault, as replay and as scenario (plain data). ``steps`` of the smallest.
    """

    number: int
    property: str
    messages: tuple[str, ...]
    smallest_messages: tuple[str, ...]
    steps: int
    replay: dict[str, Any]
    scenario: dict[str, Any]


@dataclass(slots=True)
class FuzzReport:
    """What came of it. Seconds are wall time; those of the parts are sums over all jobs. ``without_calls``: nothing was
    drawn that calls others, since the backend has no way back for them. ``interrupted``: Ctrl-C ended it.
    """

    backend: str
    seed: int
    without_calls: bool = False
    interrupted: bool = False
    dags: int = 0
    steps: int = 0
    attempts: int = 0
    seconds: float = 0.0
    drawing_seconds: float = 0.0
    playing_seconds: float = 0.0
    judging_seconds: float = 0.0
    transitions: Counter[Transition] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    failures: list[FuzzFailure] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.found

    @property
    def missing(self) -> list[Transition]:
        """The transitions of the table that no run went through."""
        return missing_transitions(self.transitions)

    @property
    def reached(self) -> int:
        """How many transitions of the table were gone through."""
        return len(ALL_TRANSITIONS) - len(self.missing)

    @property
    def dags_per_second(self) -> float:
        """Runs by wall time."""
        return self.dags / self.seconds if self.seconds else 0.0

    def add(self, other: FuzzReport) -> None:
        """Take in what a part of the runs gave; wall time stays."""
        for name in ("dags", "steps", "attempts", "drawing_seconds", "playing_seconds", "judging_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.transitions += other.transitions
        self.faults += other.faults
        self.found += other.found
        known = {failure.property for failure in self.failures}
        new = [failure for failure in other.failures if failure.property not in known]
        self.failures = [*self.failures, *new][:MOST_FAILURES]
        self.interrupted = self.interrupted or other.interrupted


def fuzz(
    dags: int | None = None,
    *,
    minutes: float | None = None,
    seed: int = 0,
    backend: str = "virtual",
    jobs: int = 1,
    size: int = DEFAULT_SIZE,
    features: Sequence[str] | None = None,
    faults: bool = True,
    patience_seconds: float = 20.0,
    shrink_seconds: float = SHRINK_SECONDS,
    progress: Callable[[FuzzReport], None] | None = None,
) -> FuzzReport:
    """Play random runs: so many ``dags`` (default 1,000), or for so many ``minutes``.

    ``size`` is the most top-level steps of a run. ``features``: see :data:`harness.testing.drawing.generator.FEATURES`;
    by default all that the backend can show. ``faults``: inject some (on `virtual`). ``jobs``: processes that play side
    by side. ``progress`` is called with the report so far, every now and then. Ctrl-C ends it, and the report has what
    was found until then.

    Raises:
        BackendError: the backend cannot be had.
        ValueError: a feature is unknown, or a number makes no sense.

    """
    if size < 1 or jobs < 1 or (dags is not None and dags < 1) or (minutes is not None and minutes <= 0):
        raise ValueError("numbers of workflows, steps, jobs and minutes are positive")
    settings = Settings(
        seed, size, backend, None if features is None else tuple(features), faults, patience_seconds, shrink_seconds
    )
    most = (DEFAULT_DAGS if minutes is None else 1 << 39) if dags is None else dags
    until = None if minutes is None else time.monotonic() + minutes * 60
    report = FuzzReport(backend, seed, without_calls=settings.leaves_calls_out)
    began = time.monotonic()
    try:
        for part in _parts(settings, most, until, jobs):
            report.add(part)
            report.seconds = time.monotonic() - began
            if progress is not None:
                progress(report)
            if report.interrupted:
                break
    except KeyboardInterrupt:
        report.interrupted = True
    report.seconds = time.monotonic() - began
    return report


def replay(path: str) -> FuzzReport:
    """Play a replay file once more, on `virtual`.

    Raises:
        ReplayError: it is no replay file.

    """
    report = FuzzReport("virtual", 0)
    began = time.monotonic()
    candidate = Candidate(*read_replay(path))
    found = examine(candidate, report, thorough=True)
    _note(report, Settings(), 0, candidate, found, shrinks=False)
    report.seconds = time.monotonic() - began
    return report


def play_part(settings: Settings, first: int, count: int, until: float | None = None) -> FuzzReport:
    """Play the runs ``first`` to ``first + count``, as far as time (``time.monotonic``) and Ctrl-C allow."""
    report = FuzzReport(settings.backend, settings.seed)
    with quiet_instruments(), rare_collections(without_end=True):
        try:
            for number in range(first, first + count):
                if until is not None and time.monotonic() > until:
                    break
                _play_one(settings, number, report)
        except KeyboardInterrupt:
            report.interrupted = True
    return report


def _play_one(settings: Settings, number: int, report: FuzzReport) -> None:
    began = time.perf_counter()
    candidate = settings.draw(number)
    report.drawing_seconds += time.perf_counter() - began
    if settings.backend == "virtual":
        found = examine(candidate, report, thorough=number % SAMPLE == 0)
    else:
        found = examine_for_real(candidate, settings, report)
    _note(report, settings, number, candidate, found)


def examine(candidate: Candidate, report: FuzzReport | None = None, *, thorough: bool = True) -> list[Violation]:
    """Play a run on `virtual` and say all that is wrong. ``thorough``: the scheduler's books after each turn too, and
    the run again, and serially.
    """
    report = report or FuzzReport("virtual", 0)
    parts: list[Played] = []
    look = _look_at if candidate.faults.crash is None else _look_at_crashed
    try:
        with time_limit(SIMULATION_LIMIT_SECONDS):
            found = look(candidate, report, parts, thorough=thorough)
    except HangError as error:
        found = [Violation("ends", str(error))]
    except Exception as error:  # noqa: BLE001 - what breaks the judge is a finding too, of another kind
        found = [Violation("judging", f"{type(error).__name__}: {error}")]
    report.dags += 1
    report.faults += Counter(candidate.faults.kinds())
    for played in parts:
        report.steps += len(played.timeline.step_ids)
        report.attempts += len(played.timeline.attempts)
        report.transitions += played.scheduler.reached()
    return found


def _look_at(candidate: Candidate, report: FuzzReport, parts: list[Played], *, thorough: bool) -> list[Violation]:
    began = time.perf_counter()
    played = play(*candidate, check_every_turn=thorough)
    parts.append(played)
    judging = time.perf_counter()
    report.playing_seconds += judging - began
    found = judge_played(played)
    report.judging_seconds += time.perf_counter() - judging
    if thorough and not found:
        found = judge_again(played)
    return found


def _look_at_crashed(
    candidate: Candidate, report: FuzzReport, parts: list[Played], *, thorough: bool
) -> list[Violation]:
    began = time.perf_counter()
    crashed = play_with_crashes(*candidate, check_every_turn=thorough)
    parts += [part.played for part in crashed.parts]
    judging = time.perf_counter()
    report.playing_seconds += judging - began
    found = judge_crashed(crashed)
    report.judging_seconds += time.perf_counter() - judging
    return found


def examine_for_real(candidate: Candidate, settings: Settings, report: FuzzReport | None = None) -> list[Violation]:
    """Play a run on a real backend and say all that is wrong."""
    report = report or FuzzReport(settings.backend, settings.seed)
    began = time.perf_counter()
    played = play_for_real(candidate.run, settings.backend, patience_seconds=settings.patience_seconds)
    judging = time.perf_counter()
    found = judge_real(played)
    report.playing_seconds += judging - began
    report.judging_seconds += time.perf_counter() - judging
    report.dags += 1
    report.steps += len(played.timeline.step_ids)
    report.attempts += len(played.timeline.attempts)
    scheduler = played.engine.scheduler
    if isinstance(scheduler, WatchedScheduler):
        report.transitions += scheduler.reached()
    return found


@contextmanager
def quiet_instruments() -> Iterator[None]:
    """Instruments that are drawn to raise log nothing: thousands do."""
    logger = logging.getLogger(INSTRUMENTS)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _note(
    report: FuzzReport,
    settings: Settings,
    number: int,
    candidate: Candidate,
    found: Sequence[Violation],
    *,
    shrinks: bool = True,
) -> None:
    """Keep what was found in a run; make it small, once for each property."""
    for name in dict.fromkeys(violation.property for violation in found):
        report.found[name] += 1
        if any(failure.property == name for failure in report.failures) or len(report.failures) >= MOST_FAILURES:
            continue
        smallest, rest = candidate, list(found)
        try:
            if shrinks:
                smallest, rest = _smallest(candidate, name, settings, found)
        finally:
            # Where Ctrl-C comes before it is small, it is kept as it was found.
            label = f"fuzz-{name.replace('_', '-')}-{settings.seed}-{number}"
            report.failures.append(
                FuzzFailure(
                    number,
                    name,
                    _messages(found, name),
                    _messages(rest, name),
                    len(smallest.run.workflow.steps),
                    {**run_to_data(*smallest), "found": list(_messages(rest, name))},
                    scenario_of(smallest.run, label),
                )
            )


def _smallest(
    candidate: Candidate, name: str, settings: Settings, found: Sequence[Violation]
) -> tuple[Candidate, list[Violation]]:
    """The smallest run with a violation of the property, and what is wrong with it."""
    last = list(found)

    def fails(simpler: Candidate) -> bool:
        nonlocal last
        if settings.backend == "virtual":
            now = examine(simpler)
        else:
            try:
                now = examine_for_real(simpler, settings)
            except Exception:  # noqa: BLE001 - a candidate may be no valid workflow
                return False
        if any(violation.property == name for violation in now):
            last = now
            return True
        return False

    # Each try of a hang takes as long as patience does.
    hangs = any("no end after" in violation.message for violation in found)
    if hangs or not fails(candidate):
        return candidate, last
    return shrink(candidate, fails, seconds=settings.shrink_seconds), last


def _messages(found: Sequence[Violation], name: str) -> tuple[str, ...]:
    return tuple(violation.message for violation in found if violation.property == name)


def _parts(settings: Settings, most: int, until: float | None, jobs: int) -> Iterator[FuzzReport]:
    size = CHUNK if settings.backend == "virtual" else REAL_CHUNK
    chunks = ((first, min(size, most - first)) for first in range(0, most, size))
    if jobs == 1:
        for first, count in chunks:
            yield play_part(settings, first, count, until)
            if until is not None and time.monotonic() > until:
                return
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: set[Future[FuzzReport]] = set()
        more = True
        while True:
            while more and len(running) < 2 * jobs:
                chunk = next(chunks, None)
                more = chunk is not None and (until is None or time.monotonic() < until)
                if chunk is not None and more:
                    left = None if until is None else until - time.monotonic()
                    running.add(pool.submit(_play_part_within, settings, *chunk, left))
            if not running:
                return
            try:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
            except (KeyboardInterrupt, GeneratorExit):
                pool.shutdown(cancel_futures=True)
                raise


def _play_part_within(settings: Settings, first: int, count: int, seconds: float | None) -> FuzzReport:
    """In another process: its clock has another zero."""
    return play_part(settings, first, count, None if seconds is None else time.monotonic() + seconds)


__all__ = [
    "DrawnRun", "FaultPlan", "FuzzFailure", "FuzzReport", "Settings", "examine", "examine_for_real", "fuzz",
    "play_part", "replay",
]  # fmt: skip

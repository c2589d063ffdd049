"""Many random programs against the analysis: how often it is right, by how much it is wrong, and the smallest faults.

Rules of this module:
- Same seed, same programs, whatever the number of jobs.
- An analysis that raises, or does not end, is a fault like any other; the programs behind it go on.
- The goals are those of :data:`GOALS`; a report that misses one is not fine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from harness.testing.fuzz.watchdog import HangError, time_limit
from harness.testing.programs.known_truth import Truth
from harness.testing.programs.program import Program
from harness.testing.programs.program_drawing import PATTERNS, draw_program
from harness.testing.programs.program_shrinking import shrink_program
from harness.testing.programs.scoring import Claim, Fault, Score, Tally, score, sum_of

DEFAULT_PROGRAMS: Final = 1000
CHUNK: Final = 50
# What the analysis is held to: shares of programs, and of edges that it calls declared or inferred; the median error of
# the sure gains that name a change.
GOALS: Final = {"sure_claims": 0.99, "known_edges": 0.995, "sure_error": 0.01}
MOST_FAILURES: Final = 8
_LIMIT_SECONDS: Final = 10.0
BREAKS: Final = "the analysis breaks"
HANGS: Final = "the analysis does not end"
PERCENTILES: Final = (0.01, 0.05, 0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class ProgramFailure:
    """A program that the analysis is wrong about: its number, what is wrong, and the smallest that shows it."""

    kind: str
    number: int
    messages: tuple[str, ...]
    smallest: Program


@dataclass(slots=True, kw_only=True)
class ProgramReport(Tally):
    """What came of many programs. ``too_high``: those of which a sure gain is not there; ``with_sure_gain``: those of
    which any gain is reported as sure.
    """

    seed: int
    programs: int = 0
    seconds: float = 0.0
    too_high: int = 0
    with_sure_gain: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    failures: list[ProgramFailure] = field(default_factory=list)

    def add(self, number: int, one: Score) -> None:
        """Count one program."""
        self.programs += 1
        self.too_high += any(claim.sure and claim.is_too_high for claim in one.claims)
        self.with_sure_gain += any(claim.is_sure_gain for claim in one.claims)
        self.include(one)
        for kind in sorted({fault.kind for fault in one.faults}):
            self.faults[kind] += 1
            messages = tuple(fault.message for fault in one.faults if fault.kind == kind)
            self.first.setdefault(kind, (number, messages))

    @property
    def known_edges(self) -> tuple[int, int]:
        """Of the edges called declared or inferred, how many are true."""
        found = (0, 0)
        for label, pair in self.edges.items():
            if not label.startswith("assumed"):
                found = sum_of(found, pair)
        return found

    @property
    def sure_error(self) -> float | None:
        """The median error of the sure gains that name a change. What is gained by beginning everything as soon as it
        can is no such gain: a trace cannot show which order is not needed, so the sure figure is the least there is.
        """
        errors = [abs(1 - one.ratio) for one in self.claims if one.is_sure_gain and one.kind != "dataflow"]
        return median(errors) if errors else None

    @property
    def missed(self) -> list[str]:
        """The goals that are missed, as sentences."""
        found = []
        right, total = self.known_edges
        if total and right < GOALS["known_edges"] * total:
            found.append(
                f"of the edges called declared or inferred, {100 * right / total:.1f} % are true, "
                f"not {100 * GOALS['known_edges']:.1f} %"
            )
        if self.programs and self.too_high > (1 - GOALS["sure_claims"]) * self.programs:
            found.append(
                f"in {100 * self.too_high / self.programs:.1f} % of the programs a gain reported as sure is not there, "
                f"and it may be {100 * (1 - GOALS['sure_claims']):.0f} %"
            )
        error = self.sure_error
        if error is not None and error > GOALS["sure_error"]:
            found.append(
                f"the median error of sure gains is {100 * error:.1f} %, not {100 * GOALS['sure_error']:.0f} %"
            )
        found += [f"{kind}, in {self.faults[kind]} programs" for kind in (BREAKS, HANGS) if self.faults[kind]]
        return found

    @property
    def ok(self) -> bool:
        """Whether no goal is missed."""
        return not self.missed


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """What is played."""

    seed: int = 0
    size: int = 24
    patterns: tuple[str, ...] = PATTERNS

    def draw(self, number: int) -> Program:
        """Program ``number`` (from 0)."""
        return draw_program((self.seed << 40) + number, patterns=self.patterns, size=self.size)


def fuzz_programs(
    programs: int | None = None,
    *,
    minutes: float | None = None,
    seed: int = 0,
    size: int = 24,
    patterns: Sequence[str] | None = None,
    jobs: int = 1,
    shrink_seconds: float = 5.0,
    progress: Callable[[ProgramReport], None] | None = None,
) -> ProgramReport:
    """Play random programs and score the analysis of their traces; shrink the first fault of each kind.

    Raises:
        ValueError: there is no such pattern.

    """
    unknown = set(patterns or ()) - set(PATTERNS)
    if unknown:
        raise ValueError(f"no such pattern: {', '.join(sorted(unknown))}; there are {', '.join(PATTERNS)}")
    settings = ProgramSettings(seed, size, tuple(patterns or PATTERNS))
    report = ProgramReport(seed=seed)
    begun = time.monotonic()
    until = None if minutes is None else begun + 60 * minutes
    count = programs if programs is not None else (None if until else DEFAULT_PROGRAMS)
    for number, one in _scores(settings, count, until, jobs):
        report.add(number, one)
        report.seconds = time.monotonic() - begun
        if progress is not None:
            progress(report)
    report.seconds = time.monotonic() - begun
    for kind, _ in report.faults.most_common(MOST_FAILURES):
        number, messages = report.first[kind]
        smallest = shrink_program(settings.draw(number), _fails(kind), seconds=shrink_seconds)
        report.failures.append(ProgramFailure(kind, number, messages, smallest))
    return report


def _fails(kind: str) -> Callable[[Program], bool]:
    def fails(program: Program) -> bool:
        return any(fault.kind == kind for fault in examine_program(program).faults)

    return fails


def examine_program(program: Program) -> Score:
    """The score of a program; that the analysis breaks or does not end is a fault of it."""
    try:
        with time_limit(_LIMIT_SECONDS):
            return score(program)
    except HangError as error:
        return Score(faults=[Fault(HANGS, str(error))])
    except Exception as error:  # noqa: BLE001 - whatever the analysis raises is what is looked for
        return Score(faults=[Fault(BREAKS, f"{type(error).__name__}: {error}")])


def _part(settings: ProgramSettings, first: int, count: int) -> list[Score]:
    return [examine_program(settings.draw(number)) for number in range(first, first + count)]


def _scores(
    settings: ProgramSettings, count: int | None, until: float | None, jobs: int
) -> Iterator[tuple[int, Score]]:
    """The scores in the order of the programs, whatever the number of jobs."""
    if jobs <= 1:
        number = 0
        while (count is None or number < count) and (until is None or time.monotonic() < until):
            yield number, examine_program(settings.draw(number))
            number += 1
        return
    first = 0
    with ProcessPoolExecutor(jobs) as pool:
        while (count is None or first < count) and (until is None or time.monotonic() < until):
            parts = []
            for _ in range(2 * jobs):
                size = CHUNK if count is None else min(CHUNK, count - first)
                if size > 0:
                    parts.append((first, pool.submit(_part, settings, first, size)))
                    first += size
            for begin, part in parts:
                yield from enumerate(part.result(), begin)


def replay_program(program: Program) -> ProgramReport:
    """One program again."""
    report = ProgramReport(seed=0)
    report.add(0, examine_program(program))
    report.failures = [
        ProgramFailure(kind, number, messages, program) for kind, (number, messages) in report.first.items()
    ]
    return report


def report_lines(report: ProgramReport) -> Iterator[str]:
    """What was played and how the analysis did."""
    yield (
        f"{report.programs:,} programs in {report.seconds:.1f} s "
        f"({report.spans:,} spans; seed {report.seed}), each analysed from its trace alone"
    )
    yield "  edges that are true, by what they are called and where they come from:"
    for label, pair in sorted(report.edges.items()):
        yield f"    {label}: {_share(pair)}"
    yield f"  uses of values between siblings, found as known edges: {_share(report.needs_known)}"
    yield f"  the same, found as edges of any kind: {_share(report.needs_any)}"
    yield f"  steps named on the critical path that are critical: {_share(report.critical_named)}"
    yield f"  critical steps that are named: {_share(report.critical_found)}"
    yield f"  gaps in which unseen code ran: {_share(report.gaps)}"
    yield f"  limits that held, and are named: {_share(report.limits_found)}"
    yield f"  limits named that held: {_share(report.limits_named)}"
    yield "  foretold ÷ true makespan of the changed program (below 1: the gain is said too large):"
    for kind, sure in sorted({(claim.kind, claim.sure) for claim in report.claims}):
        yield _claim_line(kind, sure, [one for one in report.claims if (one.kind, one.sure) == (kind, sure)])
    yield f"  programs with a sure gain that is more than 5 % too large: {_share((report.too_high, report.programs))}"
    yield f"  programs with a sure gain of more than 2 %: {_share((report.with_sure_gain, report.programs))}"
    if report.sure_error is not None:
        yield f"  median error of the sure gains that name a change: {100 * report.sure_error:.1f} %"
    if report.faults:
        yield "  FOUND, in so many programs: " + ", ".join(
            f"{kind} {count:,}" for kind, count in report.faults.most_common()
        )
    yield from (f"  GOAL MISSED: {sentence}" for sentence in report.missed)


def _claim_line(kind: str, sure: bool, claims: Sequence[Claim]) -> str:
    ratios = sorted(claim.ratio for claim in claims)
    shown = "  ".join(f"p{round(100 * part)} {ratios[round(part * (len(ratios) - 1))]:.3f}" for part in PERCENTILES)
    error = median(abs(1 - ratio) for ratio in ratios)
    high = sum(claim.is_too_high for claim in claims)
    label = f"{kind}, {'sure' if sure else 'assumed'}"
    return f"    {label}: {len(claims):,} claims, median error {100 * error:.1f} %, too high {high:,}; {shown}"


def _share(pair: tuple[int, int]) -> str:
    right, total = pair
    return f"{right:,} of {total:,}" + (f" ({100 * right / total:.1f} %)" if total else "")


def truth_lines(program: Program) -> Iterator[str]:
    """What is so of a program: its statements, when its spans ran, and its limits."""
    truth = Truth(program)
    for span in truth.played.spans:
        statement = truth.statements[span.statement]
        uses = f", uses {', '.join(map(str, statement.uses))}" if statement.uses else ""
        when = f"{span.start / 1e6:.1f} to {span.end / 1e6:.1f} ms"
        yield f"    [{statement.key}] {statement.kind} {span.name}: {when}{uses}"

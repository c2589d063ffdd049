"""What goes wrong around a run: workers die, news is lost, late or repeated, clocks jump, instruments raise.

Rules of this module:
- A plan of faults is plain data, written out in full: what is not in it does not happen, so that it can be kept
  in a file and made smaller fault by fault.
- Of the kinds of faults each run gets its own random part, many get none (see
  :mod:`harness.testing.drawing.generator`).
- Times are integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

from executor.engine.instruments import HOOKS
from harness.testing.drawing.behaviour import StepPlan
from harness.testing.drawing.generator import DrawnRun
from harness.testing.drawing.shapes import RandomSource
from harness.testing.oracle.plain_graph import EXACT_UNIT_NANOSECONDS

MishapKind = Literal[
    "held", "lost", "repeated", "dies", "returns", "late", "dies_resuming", "returns_resuming", "cancelled_resuming"
]

MISHAPS: dict[MishapKind, str] = {
    "held": "the news of its end arrives later",
    "lost": "the news of its end never arrives; later a watchdog takes its worker for dead",
    "repeated": "the news of its end arrives, and later again",
    "dies": "its worker dies so long after its start, whatever it does then: run, be blocked, resume",
    "returns": "so long after its start, if it is blocked or resumes then, it returns without waiting for its calls",
    "late": "asked to stop, it reports its end only later",
    "dies_resuming": "its worker dies while it waits to go on after its calls",
    "returns_resuming": "it returns while it waits to go on after its calls",
    "cancelled_resuming": "it is cancelled while it waits to go on after its calls",
}
FAULT_KINDS: tuple[str, ...] = (
    *get_args(MishapKind), "disorder", "clock", "instruments", "conditions", "cancellations", "resizes", "stubborn",
    "impatience", "crash",
)  # fmt: skip
"""What can be injected, the mishaps of attempts first. ``disorder``: news of one instant comes in any order.
``stubborn``: a call that is asked to stop goes on for a while and keeps its limits and locks. ``impatience``: steps
reserve what they need after a few overtakings instead of a thousand, which no small run would reach. ``crash``: the
run dies, once or again while it is resumed, and what was not durable is lost.
"""

Key: TypeAlias = tuple[str, int]
"""A step and the number of its attempt."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happens to an attempt or to the news of its end; ``after_ns`` as :data:`MISHAPS` says."""

    kind: MishapKind
    after_ns: int


Stage = Literal["before", "granted", "begun"]


@dataclass(frozen=True, slots=True)
class Crash:
    """The run dies in its ``turn``-th turn: before the engine hears its news, after that (half of what starts then has
    begun), or after all has begun. Of the writes that no thread waited for, the last ``lost_writes`` are lost.
    """

    turn: int
    stage: Stage
    lost_writes: int


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """A run that is kept, dies and is resumed.

    ``crashes``: of the run, then of each resume; the last resume comes to its end. The journal is written every
    ``write_period_ns``, or (``each``) at the end of each attempt. ``unsure``: what the person says of steps that must
    not be done twice and may have been done. ``rerun``: steps that the first resume does again.
    """

    crashes: tuple[Crash, ...]
    write_period_ns: int = 0
    each: bool = False
    unsure: Literal["rerun", "skip"] = "rerun"
    rerun: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All faults of a run.

    ``clock``: (turn of the engine, nanoseconds): positive, the clock has jumped forward by so much when the turn comes;
    negative, for this turn it shows so much less. ``instruments``: (hook, number of the call that raises).
    ``conditions``: steps whose ``when`` or ``for_each`` cannot be evaluated. ``cancellations``: (time, step ids or None
    for the run). ``resizes``: (time, {"workers" or a resource: its new size}). ``overtakes``: after how many a step
    reserves. With ``crash`` the other faults come in each part of the run.
    """

    mishaps: Mapping[Key, Mishap] = field(default_factory=dict)
    disorder: int | None = None
    clock: tuple[tuple[int, int], ...] = ()
    instruments: tuple[tuple[str, int], ...] = ()
    conditions: tuple[str, ...] = ()
    cancellations: tuple[tuple[int, tuple[str, ...] | None], ...] = ()
    resizes: tuple[tuple[int, tuple[tuple[str, int], ...]], ...] = ()
    stubborn: bool = False
    overtakes: int | None = None
    crash: CrashPlan | None = None

    @property
    def exact(self) -> bool:
        """Whether the run can still be judged as one on an exact clock, whose record shows all that is held."""
        return not (self.clock or self.stubborn)

    def kinds(self) -> set[str]:
        """The kinds of faults in the plan."""
        others = {
            "disorder": self.disorder is not None,
            "clock": bool(self.clock),
            "instruments": bool(self.instruments),
            "conditions": bool(self.conditions),
            "cancellations": bool(self.cancellations),
            "resizes": bool(self.resizes),
            "stubborn": self.stubborn,
            "impatience": self.overtakes is not None,
            "crash": self.crash is not None,
        }
        return {mishap.kind for mishap in self.mishaps.values()} | {
            kind for kind, is_there in others.items() if is_there
        }


NO_FAULTS = FaultPlan()
# A run that dies is played three times or more.
CRASH_PERCENT = 8


def draw_faults(seed: int, run: DrawnRun, kinds: tuple[str, ...] = FAULT_KINDS) -> FaultPlan:
    """Faults that fit a drawn run, of these kinds; the same for the same arguments."""
    source = RandomSource(seed)
    crashes = "crash" in kinds
    if source.chance(25):
        return replace(NO_FAULTS, crash=_crash(source, run)) if crashes and source.chance(CRASH_PERCENT) else NO_FAULTS
    active = {kind for kind in kinds if kind != "crash" and source.chance(30)}
    size = len(run.workflow.steps)
    last_unit = 8 * size + 8
    faults = FaultPlan(
        mishaps=_mishaps(source, run, tuple(kind for kind in MISHAPS if kind in active)),
        disorder=source.integer(0, 1 << 30) if "disorder" in active else None,
        clock=tuple(_clock(source, size)) if "clock" in active else (),
        instruments=_instruments(source) if "instruments" in active else (),
        conditions=_conditions(source, run) if "conditions" in active else (),
        cancellations=tuple(_cancellations(source, run, last_unit)) if "cancellations" in active else (),
        resizes=tuple(_resizes(source, run, last_unit)) if "resizes" in active else (),
        stubborn="stubborn" in active and source.chance(50),
        overtakes=source.choice([1, 2, 3, 5]) if "impatience" in active else None,
    )
    if "conditions" in active:
        # Drawn last, so that a seed from before there were lists still gives what it gave.
        faults = replace(faults, conditions=(*faults.conditions, *_lists(source, run)))
    if crashes and source.chance(CRASH_PERCENT):
        # As lists are: drawn after all else.
        faults = replace(faults, crash=_crash(source, run))
    return faults


def draw_crash(seed: int, run: DrawnRun) -> CrashPlan:
    """How a drawn run dies and is resumed; the same for the same arguments."""
    return _crash(RandomSource(seed), run)


def _crash(source: RandomSource, run: DrawnRun) -> CrashPlan:
    ids = [step.step_id for step in run.workflow.steps]
    crashes = tuple(
        Crash(
            source.integer(1, len(ids) + 2),
            source.choice(["before", "granted", "begun"]),
            0 if source.chance(50) else source.integer(1, 4),
        )
        for _ in range(source.choice([1, 1, 2, 3]))
    )
    return CrashPlan(
        crashes,
        0 if source.chance(50) else _units(source, 1, 64),
        each=source.chance(20),
        unsure=source.choice(["rerun", "skip"]),
        rerun=(source.choice(ids),) if ids and source.chance(15) else (),
    )


def _units(source: RandomSource, low: int, high: int) -> int:
    return source.integer(low, high) * EXACT_UNIT_NANOSECONDS


def _mishaps(source: RandomSource, run: DrawnRun, kinds: tuple[MishapKind, ...]) -> dict[Key, Mishap]:
    if not kinds:
        return {}
    percent = source.choice([5, 15, 40])
    # Steps that make calls are few, and what can happen to them is much.
    return {
        (step_id, attempt): Mishap(source.choice(kinds), _units(source, 0, 16))
        for step_id, makes_calls in _all_ids(run)
        for attempt in (1, 2)
        if source.chance(60 if makes_calls else percent)
    }


def _all_ids(run: DrawnRun) -> Iterator[tuple[str, bool]]:
    """The ids of all steps that may run, calls among them, each before its calls, and whether it makes any."""
    for step in run.workflow.steps:
        yield from _ids_of(step.step_id, run.behaviour.steps[step.step_id])


def _ids_of(step_id: str, plan: StepPlan) -> Iterator[tuple[str, bool]]:
    # Depth is that of what was drawn (two calls deep): the stack stays small.
    children = [child.plan for attempt in plan.attempts for call in attempt.calls for child in call.children]
    children += plan.items
    yield step_id, bool(children)
    for number, child in enumerate(children, start=1):
        yield from _ids_of(f"{step_id}/{number}", child)


def _clock(source: RandomSource, size: int) -> Iterator[tuple[int, int]]:
    for _ in range(source.integer(1, 3)):
        back = source.chance(50)
        amount = _units(source, 1, 64)
        yield source.integer(1, 3 * size + 3), -amount if back else amount


def _instruments(source: RandomSource) -> tuple[tuple[str, int], ...]:
    return tuple((source.choice(HOOKS), source.integer(1, 5)) for _ in range(source.integer(1, 3)))


def _conditions(source: RandomSource, run: DrawnRun) -> tuple[str, ...]:
    """Steps of which others may go on: what a stop by such a step does is read from its attempts, and it has none."""
    return tuple(
        step.step_id
        for step in run.workflow.steps
        if step.when is not None and step.on_failure == "continue" and source.chance(40)
    )


def _lists(source: RandomSource, run: DrawnRun) -> tuple[str, ...]:
    """The same of mapped steps whose list cannot be had."""
    return tuple(
        step.step_id
        for step in run.workflow.steps
        if step.for_each is not None and step.when is None and step.on_failure == "continue" and source.chance(15)
    )


def _cancellations(source: RandomSource, run: DrawnRun, last_unit: int) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    ids = [step_id for step_id, _ in _all_ids(run)]
    for _ in range(source.integer(1, 3)):
        time = _units(source, 0, last_unit)
        yield time, None if source.chance(20) else (source.choice(ids),)


def _resizes(source: RandomSource, run: DrawnRun, last_unit: int) -> Iterator[tuple[int, tuple[tuple[str, int], ...]]]:
    """New sizes at which every step can still start."""
    resources = run.behaviour.resources
    for _ in range(source.integer(1, 2)):
        time = _units(source, 0, last_unit)
        sizes = [("workers", source.choice([1, 2, 3, 8]))]
        for name, resource in resources.items():
            if resource.capacity is not None and source.chance(50):
                # A need is never above the first capacity.
                sizes.append((name, resource.capacity + source.integer(0, 3)))
        yield time, tuple(sizes[: source.integer(1, len(sizes))])

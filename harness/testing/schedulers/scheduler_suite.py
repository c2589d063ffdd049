"""The suite for schedulers of other people, as black boxes::

    class TestMine(SchedulerConformance):
        supports = {"failures"}

        def run(self, graph, call, workers):      # or async def
            my_scheduler(graph, call, workers)

``graph`` maps each step to the steps that it depends on; ``call(step)`` runs a step, and waits at our gate (it is a
coroutine function where ``run`` is one). Hypothesis draws which of the running calls ends next and how, so that
failures replay and shrink, on real threads or a real event loop. Nothing else of ours is needed.

Rules of this module:
- A case that failed fails again with the same message: threads never make a finding "flaky".
- It runs under pytest, and without it (:func:`fuzz_target`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.database import ExampleDatabase

from harness.testing.schedulers.case_files import read_case
from harness.testing.schedulers.case_play import RULES, Patience, Played, play
from harness.testing.schedulers.case_shrinking import shrink
from harness.testing.schedulers.graph_case import SUPPORTS, Case, cases, step_name

__all__ = ["RULES", "SUPPORTS", "BrokenRuleError", "SchedulerConformance", "TargetReport", "fuzz_target"]

SHRINKING_SECONDS = 20.0
# Seconds of patience for smaller cases: once there is something to shrink, less certainty will do. (That too little is
# called is seen sooner; that too much is called is waited for longer, so that it is not missed.)
IDLE = 0.2
STANDSTILL = 0.4
_NEEDED_BY = {"test_failures": ("failures", "fail_fast"), "test_retries": ("retries",), "test_limits": ("limits",),
              "test_cancellation": ("cancellation",)}  # fmt: skip


class BrokenRuleError(AssertionError):
    """A scheduler broke a rule. ``played`` is the smallest case found."""

    def __init__(self, played: Played) -> None:
        super().__init__(played.message())
        self.played = played


class SchedulerConformance:
    """Subclass it and write ``run``.

    ``supports`` (:data:`SUPPORTS`) says what is drawn beyond plain graphs; ``excused`` names rules (:data:`RULES`) that
    are not kept, with the reason; ``max_examples`` is the number of cases that a test draws, ``max_steps`` their size;
    ``patience`` is how long a scheduler is waited for; ``pinned`` are files of cases that were found once
    (``makespan fuzz --target``) and are played in every run.
    """

    supports: ClassVar[Collection[str]] = frozenset()
    excused: ClassVar[Mapping[str, str]] = {}
    max_examples: ClassVar[int] = 100
    max_steps: ClassVar[int] = 8
    patience: ClassVar[Patience] = Patience()
    pinned: ClassVar[Sequence[str | Path]] = ()
    database: ClassVar[ExampleDatabase | None] = settings.default.database if settings.default else None
    run: Callable[..., Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _check(cls.supports, cls.excused)
        for name, wanted in _NEEDED_BY.items():
            if not set(wanted) & set(cls.supports):
                setattr(cls, name, None)
        if not cls.pinned:
            cls.test_pinned_cases = None  # type: ignore[assignment,method-assign]  # pytest leaves it out
        if len(cls.supports) < 2:
            # It would be one of the others.
            cls.test_everything_together = None  # type: ignore[assignment,method-assign]  # pytest leaves it out

    def test_order(self) -> None:
        """Dependencies and the number of workers are kept, every step is called once, no worker idles needlessly."""
        self._search(())

    def test_failures(self) -> None:
        """The same where calls fail."""
        self._search({"failures", "fail_fast", "states"})

    def test_retries(self) -> None:
        """The same where failed calls are tried again."""
        self._search({"failures", "fail_fast", "retries", "states"})

    def test_limits(self) -> None:
        """The same with limits."""
        self._search({"limits"})

    def test_cancellation(self) -> None:
        """The same where the run is cancelled."""
        self._search({"cancellation", "states"})

    def test_everything_together(self) -> None:
        """The same with all that is supported."""
        self._search(self.supports)

    def test_pinned_cases(self) -> None:
        """What was found once stays found."""
        for path in self.pinned:
            found = read_case(path)
            played = play(self.run, found.case, found.supports, excused=self.excused, patience=self.patience)
            if played.faults:
                raise BrokenRuleError(played)

    def test_a_long_chain(self) -> None:
        """Sixty steps, one after another."""
        names = [step_name(number) for number in range(60)]
        self._play(tuple((name, tuple(names[place - 1 : place])) for place, name in enumerate(names)))

    def test_a_wide_graph(self) -> None:
        """One step, sixty that depend on it, one that depends on them all."""
        names = [step_name(number) for number in range(62)]
        middle = tuple(names[1:-1])
        self._play(((names[0], ()), *((name, (names[0],)) for name in middle), (names[-1], middle)))

    def _play(self, steps: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
        __tracebackhide__ = True  # pytest shows what happened, and no code of the kit
        played = play(self.run, Case(steps, 4), excused=self.excused, patience=self.patience)
        if played.faults:
            raise BrokenRuleError(played)

    def _search(self, supports: Collection[str]) -> None:
        __tracebackhide__ = True  # pytest shows what happened, and no code of the kit
        _search(
            self.run,
            set(supports) & set(self.supports),
            excused=self.excused,
            examples=self.max_examples,
            max_steps=self.max_steps,
            patience=self.patience,
            database=self.database,
        )


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What :func:`fuzz_target` found: ``fault`` is None, or the smallest case found. ``dags`` were played in
    ``seconds``, shrinking included.
    """

    reference: str
    seed: int
    dags: int
    seconds: float
    fault: Played | None
    supports: tuple[str, ...] = ()

    def message(self) -> str:
        """For people: the history of the fault, or that there is none."""
        if self.fault is None:
            return f"{self.reference}: no fault in {self.dags} graphs (seed {self.seed})"
        return f"{self.reference}: found among {self.dags} graphs (seed {self.seed})\n{self.fault.message()}"


def fuzz_target(
    reference: str | Callable[..., Any],
    dags: int = 200,
    seed_value: int = 0,
    *,
    supports: Collection[str] | None = None,
    excused: Collection[str] | None = None,
    max_steps: int = 10,
    patience: Patience | None = None,
) -> TargetReport:
    """Play random graphs through a scheduler, without pytest; the same for the same seed.

    ``reference`` is a function ``run(graph, call, workers)``, a subclass of :class:`SchedulerConformance`, or where
    either is to be found, ``module:name``. ``supports`` and ``excused`` are by default the target's own attributes.

    Raises:
        ValueError: there is no such target, or no such feature or rule.
    """
    name, target = _find(reference)
    if isinstance(target, type):
        target = target()
    run = getattr(target, "run", target)
    features = getattr(target, "supports", ()) if supports is None else supports
    excuses = getattr(target, "excused", ()) if excused is None else excused
    _check(features, excuses)
    began = time.monotonic()
    played: list[int] = [0]
    fault: Played | None = None
    try:
        _search(
            run,
            set(features),
            excused=excuses,
            examples=dags,
            max_steps=max_steps,
            patience=patience or getattr(target, "patience", None) or Patience(),
            database=None,
            seed_value=seed_value,
            played=played,
        )
    except BrokenRuleError as found:
        fault = found.played
    return TargetReport(name, seed_value, played[0], time.monotonic() - began, fault, tuple(sorted(features)))


def replay_target(
    reference: str | Callable[..., Any], case: Case, supports: Collection[str] = (), *, patience: Patience | None = None
) -> Played:
    """Play one case through a scheduler; ``reference`` as for :func:`fuzz_target`.

    Raises:
        ValueError: there is no such target.
    """
    _, target = _find(reference)
    if isinstance(target, type):
        target = target()
    excused = getattr(target, "excused", ())
    return play(getattr(target, "run", target), case, supports, excused=excused, patience=patience)


def _search(
    run: Callable[..., Any],
    supports: Collection[str],
    *,
    excused: Collection[str],
    examples: int,
    max_steps: int,
    patience: Patience,
    database: ExampleDatabase | None,
    seed_value: int | None = None,
    played: list[int] | None = None,
) -> None:
    """Draw cases until one fails, then make it smaller. Raises :class:`BrokenRuleError`."""
    __tracebackhide__ = True  # pytest shows what happened, and no code of the kit
    careful = replace(patience, settle=3 * patience.settle, idle=IDLE, standstill=STANDSTILL)

    def again(case: Case) -> Played:
        return play(run, case, supports, excused=excused, patience=careful)

    found = first_fault(
        run, supports, excused=excused, examples=examples, max_steps=max_steps, patience=patience, database=database,
        seed_value=seed_value, played=played,
    )  # fmt: skip
    if found is not None:
        raise BrokenRuleError(shrink(found, again, SHRINKING_SECONDS)) from None


def first_fault(
    run: Callable[..., Any],
    supports: Collection[str],
    *,
    excused: Collection[str] = (),
    examples: int = SchedulerConformance.max_examples,
    max_steps: int = SchedulerConformance.max_steps,
    patience: Patience | None = None,
    database: ExampleDatabase | None = None,
    seed_value: int | None = None,
    played: list[int] | None = None,
) -> Played | None:
    """The first case of so many that breaks a rule, as it was drawn; None where none does. ``played`` counts them."""
    faults: dict[str, Played] = {}
    count = played if played is not None else [0]

    def one(case: Case) -> None:
        # A case that has failed fails again, whatever the threads do this time.
        key = repr(case)
        if key not in faults:
            count[0] += 1
            found = play(run, case, supports, excused=excused, patience=patience)
            if not found.faults:
                return
            faults[key] = found
        raise BrokenRuleError(faults[key])

    test = settings(
        max_examples=examples,
        deadline=None,
        database=database,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        print_blob=False,
    )(given(case=cases(supports, max_steps=max_steps))(one))
    if seed_value is not None:
        test = seed(seed_value)(test)
    try:
        test()
    except BrokenRuleError as error:
        return error.played
    return None


def _check(supports: Collection[str], excused: Collection[str]) -> None:
    cases(supports)
    unknown = sorted(set(excused) - set(RULES))
    if unknown:
        raise ValueError(f"excused: there is no rule {', '.join(unknown)}; there are {', '.join(RULES)}")


def _find(reference: str | Callable[..., Any]) -> tuple[str, Any]:
    if not isinstance(reference, str):
        return getattr(reference, "__qualname__", repr(reference)), reference
    module_name, _, path = reference.partition(":")
    if not module_name or not path:
        raise ValueError(f"{reference!r} is not of the form module:function")
    try:
        target: Any = import_module(module_name)
        for part in path.split("."):
            target = getattr(target, part)
    except ModuleNotFoundError as error:
        raise ValueError(f"{reference!r}: there is no module {error.name!r} on the Python path") from error
    except AttributeError as error:
        raise ValueError(f"{reference!r}: {error}") from error
    return reference, target

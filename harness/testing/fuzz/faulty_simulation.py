"""Plays a drawn run with its faults through the production scheduler and engine on the virtual clock.

Rules of this module:
- Faults are made where they are made in life: in the backend, its clock, the instruments, the conditions and the lists.
  Engine and scheduler are those of every run.
- Same run, same faults, same schedule.
- What was asked from outside is noted with the time at which the scheduler heard of it: the oracle needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from executor.backends.virtual import Simulated
from executor.dependencies import Graph
from executor.engine.engine import Request
from executor.engine.instruments import Instrument
from executor.engine.keeping import EarlierResults
from executor.engine.mapped_items import MappedItems
from executor.model.workflow import Step
from executor.record.timeline import Attempt, Timeline
from executor.scheduler import ready_queue
from harness.testing.drawing.behaviour import output_of
from harness.testing.drawing.generator import DrawnRun
from harness.testing.drawing.simulated_run import SimulatedEngine, Simulation
from harness.testing.fuzz.faults import FaultPlan
from harness.testing.fuzz.faulty_backend import FaultyBackend, latest_heard
from harness.testing.fuzz.transition_coverage import WatchedScheduler
from harness.testing.oracle import starvation as oracle_starvation


class FuzzedItems(MappedItems):
    """The lists of mapped steps; those of the steps named in ``broken`` cannot be had."""

    broken: frozenset[str] = frozenset()

    def _read(self, step: Step) -> list[Any]:
        break_if_drawn(step.step_id, "list", self.broken)
        return super()._read(step)


class FuzzedEngine(SimulatedEngine):
    """The engine with a watched scheduler; conditions and lists of the steps in ``broken`` cannot be evaluated."""

    scheduler_class: ClassVar[type[WatchedScheduler]] = WatchedScheduler
    items_class: ClassVar[type[MappedItems]] = FuzzedItems
    broken: frozenset[str] = frozenset()

    def break_steps(self, broken: frozenset[str]) -> None:
        """From now on neither the conditions nor the lists of these steps can be evaluated."""
        assert isinstance(self.items, FuzzedItems)
        self.broken = self.items.broken = broken

    def _condition(self, index: int) -> bool:
        break_if_drawn(self.scheduler.step_ids[index], "condition", self.broken)
        return super()._condition(index)


def break_if_drawn(step_id: str, what: str, broken: frozenset[str]) -> None:
    """Raise an error if it was drawn that this step's condition or list cannot be evaluated."""
    if step_id in broken:
        raise ValueError(f"the {what} of {step_id!r} was drawn to break")


class RaisingInstrument(Instrument):
    """Raises in the n-th call of one hook."""

    def __init__(self, number: int) -> None:
        self.calls_left = number

    def count(self) -> None:
        """One call more."""
        self.calls_left -= 1
        if not self.calls_left:
            raise RuntimeError("this instrument was drawn to raise")


def raising_instrument(hook: str, number: int) -> RaisingInstrument:
    """An instrument that watches ``hook`` alone and raises when it is called for the ``number``-th time."""

    def method(self: RaisingInstrument, *_: object) -> None:
        self.count()

    made: RaisingInstrument = type(f"Raises_{hook}", (RaisingInstrument,), {hook: method})(number)
    return made


@dataclass
class Played:
    """A run that was played: its record, and what was asked from outside when. ``error``: it broke or stuck."""

    run: DrawnRun
    faults: FaultPlan
    timeline: Timeline
    engine: FuzzedEngine
    cancellations: list[tuple[int, Sequence[str] | None]] = field(default_factory=list)
    resizes: list[tuple[int, Mapping[str, int]]] = field(default_factory=list)
    stale_news: int = 0
    overlaps: Sequence[str] = ()
    instruments: Sequence[RaisingInstrument] = ()
    error: Exception | None = None

    @property
    def scheduler(self) -> WatchedScheduler:
        """The scheduler that ran it."""
        assert isinstance(self.engine.scheduler, WatchedScheduler)
        return self.engine.scheduler


class FaultySimulation(Simulation):
    """One drawn run with its faults; see :func:`play`."""

    engine_class = FuzzedEngine
    backend_class: ClassVar[type[FaultyBackend]] = FaultyBackend
    engine: FuzzedEngine
    backend: FaultyBackend

    def __init__(
        self,
        run: DrawnRun,
        faults: FaultPlan,
        *,
        check_every_turn: bool = False,
        graph: Graph | None = None,
        earlier: EarlierResults | None = None,
    ) -> None:
        self.faults = faults
        self.check_every_turn = check_every_turn
        self.cancellations: list[tuple[int, Sequence[str] | None]] = []
        self.resizes: list[tuple[int, Mapping[str, int]]] = []
        self._all_instruments = [raising_instrument(hook, number) for hook, number in faults.instruments]
        super().__init__(run.workflow, run.behaviour, instruments=self._all_instruments, graph=graph, earlier=earlier)

    def make_backend(self) -> FaultyBackend:
        """The backend that makes the faults."""
        cancellations = (*self.behaviour.cancellations, *self.faults.cancellations)
        planned = [(time, self._cancellation(ids)) for time, ids in cancellations]
        planned += [(time, self._resize(dict(sizes))) for time, sizes in self.faults.resizes]
        return self.backend_class(
            self.behaviour.workers,
            self.faults,
            check_every_turn=self.check_every_turn,
            behaviour=self.attempt,
            planned=planned,
        )

    def make_engine(self, graph: Graph, instruments: Sequence[Instrument]) -> FuzzedEngine:
        """The engine; its scheduler is watched."""
        engine = super().make_engine(graph, instruments)
        assert isinstance(engine, FuzzedEngine)
        engine.break_steps(frozenset(self.faults.conditions))
        return engine

    def attempt(self, attempt: Attempt) -> Simulated:
        """What the behaviour says of an attempt; its output shows which outputs it saw."""
        simulated = super().attempt(attempt)
        scheduler = self.engine.scheduler
        if simulated.outcome != "succeeded" or attempt.parent is not None:
            return simulated
        parents = self.engine.graph.data_parents[attempt.index]
        seen = [self.engine.outputs.get(scheduler.step_ids[parent]) for parent in parents]
        return simulated._replace(value=output_of(attempt.step_id, seen))

    def play(self) -> Played:
        """Play it to its end, or to where it breaks."""
        error: Exception | None = None
        try:
            self.backend.drive(self.engine)
        except Exception as raised:  # noqa: BLE001 - whatever breaks is what is looked for
            error = raised
        asked = [*self.cancellations, *((time, ids) for time, ids in self.backend.asked if ids)]
        return Played(
            DrawnRun(self.workflow, self.behaviour),
            self.faults,
            self.engine.scheduler.timeline(backend="virtual"),
            self.engine,
            asked,
            self.resizes,
            self.backend.stale_news,
            self.backend.overlaps,
            self._all_instruments,
            error,
        )

    def _cancellation(self, step_ids: Sequence[str] | None) -> Request:
        def cancel(now: int) -> None:
            scheduler = self.engine.scheduler
            known = None if step_ids is None else [step_id for step_id in step_ids if step_id in scheduler.index]
            if known != []:
                self.cancellations.append((max(now, latest_heard(scheduler)), known))
            scheduler.cancel(now, known)

        return cancel

    def _resize(self, sizes: Mapping[str, int]) -> Request:
        def resize(now: int) -> None:
            scheduler = self.engine.scheduler
            if self.behaviour.policy == "serial" and "workers" in sizes:
                return
            self.resizes.append((max(now, latest_heard(scheduler)), sizes))
            capacities = {name: size for name, size in sizes.items() if name != "workers"}
            scheduler.resize(now, sizes.get("workers"), capacities)

        return resize


def play(run: DrawnRun, faults: FaultPlan, *, check_every_turn: bool = False, graph: Graph | None = None) -> Played:
    """Play a drawn run with these faults. ``check_every_turn``: the scheduler's invariants too, after each turn."""
    with reserving_after(faults.overtakes):
        simulation = FaultySimulation(run, faults, check_every_turn=check_every_turn, graph=graph)
        played = simulation.play()
    simulation.take_apart()
    return played


@contextmanager
def reserving_after(overtakes: int | None) -> Iterator[None]:
    """Steps reserve what they need after so many overtakings, and twice as many at once (None: as always), in the
    scheduler and for the oracle.
    """
    if overtakes is None:
        yield
        return
    before = ready_queue.OVERTAKES_UNTIL_RESERVED, ready_queue.RESERVED_AT_ONCE
    _reserve(overtakes, 2 * overtakes)
    try:
        yield
    finally:
        _reserve(*before)


def _reserve(overtakes: int, at_once: int) -> None:
    ready_queue.OVERTAKES_UNTIL_RESERVED = oracle_starvation.OVERTAKEN_LIMIT = overtakes
    ready_queue.RESERVED_AT_ONCE = oracle_starvation.RESERVED_AT_ONCE = at_once

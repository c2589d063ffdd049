"""One run of one cell, measured.

Rules of this module:
- All runs share one stand-in: requests say their seed and scale themselves, and the scenario's limits are kept by its
  scheduler. It is up before the first run.
- What a run needs (declarations, graph) is made once for each case; tools are made anew, and made ready before t = 0.
  Those that replay are made once for each recorded run.
- Workers that can be kept are kept over all runs of cells with as many: what their start took is reported separately.
- Garbage of earlier runs is collected between runs and never during one because of them. Short runs leave theirs for a
  few more: to look for it takes a tenth of such a run.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from executor.backends import make_backend
from executor.backends.base import Backend
from executor.engine.instruments import Instrument, WatchedRun
from executor.garbage_collection import COLLECT_AFTER_OBJECTS
from executor.model.workflow import Step, ToolDeclaration
from executor.running import Run, run
from executor.tools.registry import Declared
from harness.benchmark.caching import CacheMode, with_nonce
from harness.benchmark.matrix import Case, Matrix, MatrixCell
from harness.benchmark.meter import Meter, Usage
from harness.benchmark.recorded_calls.call_reading import RecordedRuns
from harness.benchmark.recorded_calls.call_replay import with_replay
from harness.config import LanguageModel
from harness.execution import current_folder_kept, scheduled, with_endpoint
from harness.standin import StandIn
from harness.standin.declarations import names_called, needs_stand_in, points_at_stand_in, with_stand_in
from harness.start_clock import StartClock

# Kinds of tools whose attempts are calls to a service: they are counted, and may cost something.
CALLING_KINDS = frozenset({"llm", "http"})
# A small part of what a run may make before the collector looks.
_OBJECTS_LEFT: Final = COLLECT_AFTER_OBJECTS // 50


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of a cell. ``wall_seconds``: all of it, start and end of the workers included. ``calls`` are attempts of
    tools that ask a service, called by any step, ``tokens`` what these said they used. ``started_at``: when t = 0
    was, ISO 8601. ``steps``: those of the file, then items and calls of the run.
    """

    cell: MatrixCell
    repetition: int
    seed: int
    run: Run
    usage: Usage
    wall_seconds: float
    calls: int
    tokens: int
    started_at: str | None = None
    steps: Sequence[Step] = ()
    # How long it took to bring the workers up, before the first run that used them.
    cold_startup_seconds: float = 0.0


class _StepsAndStart(StartClock):
    """Keeps the steps of a run, those that came up in it too, and when it began: one instrument costs less than two."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: Sequence[Step] = ()

    def run_finished(self, engine: WatchedRun) -> None:
        self.steps = engine.scheduler.steps


class Runner:
    """Runs cells. A context manager: the stand-in lives as long. ``instruments`` watch all runs, those that
    ``instruments_for`` gives, by its cell and repetition (0: warm-up), one run.
    """

    def __init__(
        self,
        matrix: Matrix,
        *,
        llm: LanguageModel | None = None,
        cache: CacheMode = "unique",
        replay: RecordedRuns | None = None,
        instruments: Sequence[Instrument] = (),
        instruments_for: Callable[[MatrixCell, int], Sequence[Instrument]] | None = None,
    ) -> None:
        self._cache = cache
        self._instruments = instruments
        self._instruments_for = instruments_for
        self._declared: dict[Case, dict[str, ToolDeclaration]] = {}
        self._used: dict[Case, set[str]] = {}
        for case in matrix.cases:
            steps = case.loaded.graph.steps
            self._used[case] = names_called(case.loaded.tools, {step.tool for step in steps if step.tool is not None})
            self._declared[case] = with_endpoint(case.loaded.tools, self._used[case], llm or LanguageModel())
        # The tools of each recorded run.
        self._replayed: dict[Case, Sequence[dict[str, Declared]]] = {}
        if replay is not None:
            self._replayed = {
                case: [with_replay(self._declared[case], case.loaded.graph.steps, run) for run in replay.runs_for(case)]
                for case in matrix.cases
            }
        # By case, the steps of its file whose attempts are counted as calls.
        self._calling = {
            case: {
                place for place, step in enumerate(case.loaded.graph.steps)
                if step.for_each is None and self.is_call(case, place)
            }
            for case in matrix.cases
        }  # fmt: skip
        self._real = any(not cell.simulated for cell in matrix.cells)
        self._standin: StandIn | None = None
        self._open = ExitStack()
        # Executors whose workers are kept over the repetitions, and how long it took to bring these up.
        self._kept: dict[tuple[str, int | None, str], Backend] = {}
        self._cold_seconds: dict[Backend, float] = {}

    @property
    def stand_in(self) -> bool:
        """Whether the stand-in answers steps, or has answered code of one so far."""
        return self._standin is not None and (
            self._standin.asked
            or any(
                points_at_stand_in(tools, [step.tool for step in case.loaded.graph.steps])
                for case, tools in self._declared.items()
            )
        )

    def _asks_a_service(self, case: Case, step: Step) -> bool:
        declaration = self._declared[case].get(step.tool or "")
        return (step.tool if declaration is None else declaration.kind) in CALLING_KINDS

    def __enter__(self) -> Self:
        needing = [
            case for case, tools in self._declared.items()
            if case not in self._replayed and needs_stand_in(tools, self._used[case])
        ]  # fmt: skip
        if self._real and needing:
            self._standin = self._open.enter_context(StandIn())
            for case in needing:
                self._declared[case] = with_stand_in(self._declared[case], self._used[case], self._standin.base_url)
        gc.collect()
        # What is here now stays: collections need not look at it again and again.
        gc.freeze()
        self._open.callback(gc.unfreeze)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def is_call(self, case: Case, step: int) -> bool:
        """Whether attempts of the step ask a service."""
        return case not in self._replayed and self._asks_a_service(case, case.loaded.graph.steps[step])

    @current_folder_kept()
    def run(self, cell: MatrixCell, repetition: int) -> Measured:
        """Run a cell once. ``repetition`` counts from 1; warm-up runs are 0.

        Raises:
            Interrupted: Ctrl-C; the run is not whole.

        """
        case = cell.case
        seed = case.seed + max(0, repetition - 1)
        backend = self._backend(cell)
        if gc.get_count()[0] > _OBJECTS_LEFT:
            gc.collect()
            gc.freeze()
        kept = _StepsAndStart()
        its_own = () if self._instruments_for is None else self._instruments_for(cell, repetition)
        meter = Meter(lambda: getattr(backend, "worker_pids", ()))
        began = time.perf_counter()
        done = run(
            case.loaded.workflow,
            backend=backend,
            policy=scheduled(cell.policy),
            tools=self._tools(case, repetition),
            resources=case.loaded.resources,
            seed=seed,
            instruments=[*self._instruments, *its_own, kept],
            scale=case.loaded.scenario.scale,
            graph=cell.graph,
        )
        wall = time.perf_counter() - began
        done.timeline.policy = cell.policy
        usage = meter.stop()
        calls, tokens = (0, 0) if cell.simulated or case in self._replayed else self._spent(case, kept.steps, done)
        cold = done.startup_seconds
        if backend.keeps_workers:
            cold = self._cold_seconds.setdefault(backend, cold)
        return Measured(cell, repetition, seed, done, usage, wall, calls, tokens, kept.started_at, kept.steps, cold)

    def _backend(self, cell: MatrixCell) -> Backend:
        """A new one, or the one whose workers were kept."""
        key = cell.executor, cell.workers, repr(sorted(cell.backend_options.items()))
        kept = self._kept.get(key)
        if kept is None:
            kept = make_backend(cell.executor, cell.workers, cell.backend_options)
            if kept.keeps_workers:
                self._kept[key] = self._open.enter_context(kept)
        return kept

    def _spent(self, case: Case, steps: Sequence[Step], run: Run) -> tuple[int, int]:
        """How many attempts asked a service, and their tokens. A mapped step asks none: its items do."""
        calling = self._calling[case].copy()
        # Items and calls came up in the run.
        for index in range(len(case.loaded.graph.steps), len(steps)):
            if steps[index].for_each is None and self._asks_a_service(case, steps[index]):
                calling.add(index)
        if not calling:
            return 0, 0
        attempts = [attempt for attempt in run.timeline.attempts if attempt.index in calling]
        return len(attempts), sum(attempt.tokens_used or 0 for attempt in attempts)

    def _tools(self, case: Case, repetition: int) -> dict[str, Declared]:
        if case in self._replayed:
            runs = self._replayed[case]
            return runs[max(0, repetition - 1) % len(runs)]
        declared = self._declared[case]
        return with_nonce(declared) if self._cache == "unique" else dict(declared)

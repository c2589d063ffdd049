"""When the repetitions of a benchmark are stored: short ones together, and all of them where it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.benchmark import MatrixRequest, Runner, Session, bench_document, build_matrix
from harness.benchmark.listeners import HELD_BACK_SECONDS, StoreKeeper
from harness.config import Config
from harness.result import run_document
from harness.store.recording import Recording
from harness.store.run_store import Store

REPETITIONS = 4
CELLS = 2


class Clock:
    """Stands still unless a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def measured(folder: Path, clock: Clock) -> Iterator[tuple[Store, Recording, Session]]:
    """A benchmark of steps that do nothing, its head stored, not begun."""
    path = folder / "nothing.yaml"
    path.write_text("steps: [{step_id: a, tool: noop}]", encoding="utf-8")
    wishes = MatrixRequest(executors=("threads",), workers=(2,), repetitions=REPETITIONS, warmup=0)
    matrix = build_matrix([path], wishes, Config())
    head = run_document(run_id="x", scenario="nothing", started_at="2026-01-01", environment={}, results=[])
    with Store.open(folder / "runs.sqlite") as store, Runner(matrix) as runner:
        recording = Recording(store, head, warn=pytest.fail, started_as={})
        keeper = StoreKeeper(recording, matrix, clock=clock)
        yield store, recording, Session(matrix, runner, listeners=[keeper])


def test_short_repetitions_are_held_back_and_all_stored_by_an_interrupt(tmp_path: Path) -> None:
    with measured(tmp_path, Clock()) as (store, recording, session):
        session.run()
        before = len(store.repetitions("x"))
        recording.interrupt()
        # The first run of each cell may be long, for all that is known: before it everything is stored.
        assert before < CELLS * REPETITIONS
        assert len(store.repetitions("x")) == CELLS * REPETITIONS


def test_what_is_held_back_for_long_is_stored_before_the_next_run(tmp_path: Path) -> None:
    clock = Clock()
    with measured(tmp_path, clock) as (store, _, session):
        runner_run = session.runner.run

        def late(cell: object, repetition: int) -> object:
            clock.now += HELD_BACK_SECONDS
            return runner_run(cell, repetition)  # type: ignore[arg-type]  # a cell

        session.runner.run = late  # type: ignore[method-assign,assignment]  # the very run, later
        session.run()
        # All but what the last round left.
        assert len(store.repetitions("x")) >= CELLS * (REPETITIONS - 1)


def test_a_finished_run_holds_nothing_back(tmp_path: Path) -> None:
    with measured(tmp_path, Clock()) as (store, recording, session):
        outcome = session.run()
        document = bench_document(outcome, {**store.bench("x").head, "results": []}, seed=0)
        assert recording.finish(document) is None
        assert not recording.holds
        assert store.repetitions("x") == []
        assert store.document("x")["results"][0]["repetitions"] == REPETITIONS

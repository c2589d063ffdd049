"""What `makespan bench` adds to a repetition of a scenario that does nothing, against the bare run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from executor.backends import find_backend
from executor.running import run
from harness.benchmark import MatrixRequest, Runner, Session, build_matrix
from harness.benchmark.listeners import StoreKeeper
from harness.benchmark.meter import machine_facts
from harness.config import Config
from harness.result import run_document
from harness.store.recording import Recording
from harness.store.run_store import Store
from tests.benchmarks.measure import paired, report

REPETITIONS = 100


@pytest.mark.parametrize("steps", [3, 200])
def test_overhead_of_a_repetition(benchmark: BenchmarkFixture, tmp_path: Path, steps: int) -> None:
    path = tmp_path / "nothing.yaml"
    path.write_text(f'steps: [{{step_id: "s{{{{ copy }}}}", copies: {steps}, tool: noop}}]', encoding="utf-8")
    wishes = MatrixRequest(executors=("threads",), workers=(2,), repetitions=REPETITIONS, warmup=0)
    matrix = build_matrix([path], wishes, Config())
    head = run_document(run_id="0", scenario="nothing", started_at="", environment=machine_facts(), results=[])

    def bare() -> float:
        loaded = matrix.cases[0].loaded
        began = time.perf_counter()
        for _ in range(REPETITIONS):
            for cell in matrix.cells:
                backend = find_backend(cell.executor)(cell.workers)
                run(loaded.workflow, backend=backend, tools=loaded.tools, graph=loaded.graph)
        return time.perf_counter() - began

    with Store.open(tmp_path / "runs.sqlite") as store, Runner(matrix) as runner:
        numbers = iter(range(1000))

        def ours() -> float:
            recording = Recording(store, {**head, "run_id": str(next(numbers))}, warn=pytest.fail)
            session = Session(matrix, runner, listeners=[StoreKeeper(recording, matrix)], usable_cores=2)
            began = time.perf_counter()
            outcome = session.run()
            taken = time.perf_counter() - began
            assert outcome.stopped_by == "repetitions"
            return taken

        found = paired(ours, bare, 7)
        benchmark.extra_info["ratio"] = found.ratio
        benchmark.pedantic(ours, rounds=1)
    report(f"bench, a repetition of {steps} no-op steps", found, REPETITIONS * len(matrix.cells), "1.3")

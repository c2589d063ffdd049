"""How often `compare` cries wolf: one thing measured again and again on this machine, each run compared with the next.

Simulated noise is a test (`tests/properties/test_false_alarms.py`); this is the noise that the machine makes.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from harness.benchmark import MatrixRequest, Runner, Session, bench_document, build_matrix
from harness.benchmark.meter import machine_facts
from harness.compare import compare, fail_if
from harness.config import Config
from harness.result import Document, run_document
from tests.benchmarks.measure import ROWS

RUNS = 61
SCENARIO = """
scenario: wolf
steps:
  - {step_id: first, tool: sleep, args: {seconds: 0.004}}
  - {step_id: compute, tool: busy, depends_on: [first], args: {seconds: 0.004}}
  - {step_id: wait, tool: sleep, depends_on: [first], args: {seconds: 0.006}}
benchmark: {executors: [threads], workers: [2], repetitions: 10, warmup: 1}
"""


def test_false_alarms_of_a_comparison(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    path = tmp_path / "wolf.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    matrix = build_matrix([path], MatrixRequest(), Config())
    environment = machine_facts()

    def measured(number: int) -> Document:
        head = run_document(
            run_id=str(number), scenario="wolf", started_at=f"2024-01-01T00:00:{number:02}+00:00",
            environment=environment, results=[],
        )  # fmt: skip
        with Runner(matrix) as runner:
            outcome = Session(matrix, runner, seed=number).run()
        return bench_document(outcome, head, seed=number, predictions=False)

    documents = [measured(number) for number in range(RUNS)]
    limit = fail_if("makespan +5%")
    comparisons = [compare(before, after) for before, after in pairwise(documents)]
    cells = [cell for comparison in comparisons for cell in comparison.cells]
    alarms = sum(1 for cell in cells if cell.verdict != "undecided")
    failed = sum(1 for comparison in comparisons if not limit.judge(comparison).met)
    benchmark.extra_info.update(alarms=alarms, cells=len(cells), failed=failed)
    for name, count, whole in (
        ("called real, of cells", alarms, len(cells)),
        ('failed `--fail-if "makespan +5%"`, of runs', failed, len(comparisons)),
    ):
        ROWS.append(
            (f"one thing compared with itself: {name}", str(count), str(whole), f"{count / whole:.1%}", "", "5%")
        )
    benchmark.pedantic(lambda: compare(documents[0], documents[1]), rounds=1)

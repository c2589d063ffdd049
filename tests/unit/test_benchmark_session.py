"""A session: rounds, pairs, ends and what is kept. Cells that take no time, or virtual time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.benchmark import (
    Budget,
    MatrixRequest,
    Measured,
    Outcome,
    Runner,
    Sample,
    Session,
    bench_document,
    build_matrix,
)
from harness.benchmark.meter import machine_facts
from harness.config import Config
from harness.result import run_document, run_schema

LAYERS = """
scenario: layers
scale: 0.001
steps:
  - {step_id: a, tool: sleep, args: {seconds: 1}}
  - {step_id: b, tool: sleep, args: {seconds: 1}, depends_on: [a]}
  - {step_id: c, tool: sleep, args: {seconds: 1}, depends_on: [a]}
benchmark: {executors: [threads], workers: [2], repetitions: 4, warmup: 1}
"""


class Heard:
    """Every call of a listener. ``stop_after``: Ctrl-C comes at the end of that run."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.begun: list[tuple[str, int]] = []
        self.runs: list[Measured] = []
        self.samples: list[Sample] = []
        self.planned_runs: int | None = -1
        self.stop_after = stop_after

    def planned(self, runs: int | None) -> None:
        self.planned_runs = runs

    def begins(self, cell: Any, repetition: int, seconds_left: float | None) -> None:
        if len(self.runs) == self.stop_after:
            raise KeyboardInterrupt
        self.begun.append((cell.label, repetition))

    def measured(self, measured: Measured) -> None:
        self.runs.append(measured)

    def analysed(self, sample: Sample) -> None:
        self.samples.append(sample)


def session(
    folder: Path, text: str = LAYERS, wishes: MatrixRequest | None = None, heard: Heard | None = None, **options: Any
) -> Outcome:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    matrix = build_matrix([path], wishes or MatrixRequest(), Config())
    with Runner(matrix) as runner:
        return Session(matrix, runner, listeners=[heard or Heard()], usable_cores=2, **options).run()


def document(outcome: Outcome) -> dict[str, Any]:
    head = run_document(
        run_id="r", scenario="layers", started_at="2024-01-01T00:00:00+00:00", environment=machine_facts(), results=[]
    )  # fmt: skip
    made = bench_document(outcome, head, seed=0, usable_cores=2)
    jsonschema.validate(made, run_schema(), cls=jsonschema.Draft202012Validator)
    return made


def test_every_cell_runs_once_a_round_and_warm_up_does_not_count(tmp_path: Path) -> None:
    heard = Heard()
    outcome = session(tmp_path, heard=heard)
    assert outcome.stopped_by == "repetitions"
    assert heard.planned_runs == len(heard.runs) == 10
    for repetition in range(5):
        cells = sorted(label for label, number in heard.begun if number == repetition)
        assert cells == ["serial@1/dataflow", "threads@2/dataflow"]
    assert [len(series.samples) for series in outcome.series] == [4, 4]
    assert heard.begun == sorted(heard.begun, key=lambda pair: pair[1])


def test_a_repetition_is_paired_with_the_serial_run_of_its_round_and_seed(tmp_path: Path) -> None:
    serial, threads = session(tmp_path).series
    for one, other in zip(serial.samples, threads.samples, strict=True):
        assert (one.repetition, one.seed) == (other.repetition, other.seed)
        assert other.baseline_seconds == one.baseline_seconds == one.figures.makespan_seconds
    assert [sample.seed for sample in serial.samples] == [0, 1, 2, 3]


def test_all_cells_of_a_round_draw_the_same_failures(tmp_path: Path) -> None:
    text = """
scenario: dice
steps: [{step_id: "s{{ copy }}", copies: 20, tool: flaky, args: {fail_ratio: 0.5}, retry: {max_attempts: 1}}]
benchmark: {executors: [threads, asyncio], workers: [4], repetitions: 3, warmup: 0}
"""
    outcome = session(tmp_path, text)
    drawn = [[tuple(sample.timeline.statuses) for sample in series.samples] for series in outcome.series]
    assert drawn[1:] == drawn[:1] * 2
    assert len(set(drawn[0])) == 3


def test_a_repetition_that_was_long_since_attempts_failed_is_said_to_be_that(tmp_path: Path) -> None:
    text = """
scenario: dice
scale: 0.01
seed: 4
steps:
  - {step_id: "s{{ copy }}", copies: 2, tool: flaky, args: {fail_ratio: 0.08, seconds: 2},
     retry: {max_attempts: 5, backoff_seconds: 0.3, jitter: none}}
benchmark: {executors: [threads], workers: [2], repetitions: 8, warmup: 0}
"""
    outcome = session(tmp_path, text)
    failed = [place for place, sample in enumerate(outcome.series[1].samples, 1) if sample.figures.failures]
    assert 0 < len(failed) < 4
    _, result = document(outcome)["results"]
    named = [one for one in result["cautions"] if "attempts failed in" in one]
    assert len(named) == 1
    assert all(str(number) in named[0] for number in failed)


def test_the_parts_of_lost_time_sum_to_the_makespan_in_every_cell(tmp_path: Path) -> None:
    made = document(
        session(tmp_path, wishes=MatrixRequest(executors=("threads", "asyncio", "virtual"), workers=(1, 2)))
    )
    assert len(made["results"]) == 7
    for result in made["results"]:
        for sample in result["samples"]:
            assert sum(sample["lost_seconds"].values()) == pytest.approx(sample["makespan_seconds"], abs=1e-6)
        shown = sorted(sample["makespan_seconds"] for sample in result["samples"])[1]
        assert sum(result["lost_seconds"].values()) == pytest.approx(shown, abs=1e-6)


def test_a_simulated_cell_has_the_speedup_that_one_can_compute_by_hand(tmp_path: Path) -> None:
    made = document(session(tmp_path, wishes=MatrixRequest(executors=("virtual",), workers=(2,))))
    baseline, two = made["results"]
    assert baseline["makespan_seconds"]["median"] == pytest.approx(0.003)
    assert two["makespan_seconds"] == {"median": 0.002, "ci95": [0.002, 0.002]}
    assert two["speedup_ratio"]["median"] == pytest.approx(1.5)
    assert two["speedup_verdict"] == "faster"
    assert two["efficiency_ratio"] == pytest.approx(0.75)
    assert two["schedule_efficiency_ratio"] == 1.0
    assert two["simulated"] is True
    assert two["slack_seconds"] == {"a": 0, "b": 0, "c": 0}
    gains = two["predicted_gains"]
    assert gains["steps"][0] == {
        "step_id": "a", "half_seconds": pytest.approx(0.0005), "whole_seconds": pytest.approx(0.001),
    }  # fmt: skip


def test_ctrl_c_keeps_every_finished_repetition(tmp_path: Path) -> None:
    heard = Heard(stop_after=7)
    outcome = session(tmp_path, heard=heard)
    assert outcome.interrupted
    assert sum(len(series.samples) for series in outcome.series) == 5
    made = document(outcome)
    assert sum(result["repetitions"] for result in made["results"]) == 5
    assert made["benchmark"]["stopped_by"] == "interrupted"


def test_a_repetition_without_its_serial_run_counts_for_the_makespan_alone(tmp_path: Path) -> None:
    for stop_after in (3, 5, 7, 9):
        outcome = session(tmp_path, heard=Heard(stop_after=stop_after))
        serial, threads = outcome.series
        if len(threads.samples) > len(serial.samples):
            break
    else:
        pytest.fail("in no round did threads run first: choose another seed")
    assert threads.samples[-1].baseline_seconds is None
    result = document(outcome)["results"][-1]
    assert result["samples"][-1]["baseline_seconds"] is None
    assert any("no serial run beside them" in text for text in result["cautions"])


def test_what_breaks_a_run_is_told_once_the_others_are_safe(tmp_path: Path) -> None:
    class Broken(Heard):
        def begins(self, cell: Any, repetition: int, seconds_left: float | None) -> None:
            if len(self.runs) == 6:
                raise OSError("no more")

    outcome = session(tmp_path, heard=Broken())
    assert outcome.stopped_by == "failed"
    assert isinstance(outcome.failure, OSError)
    assert sum(len(series.samples) for series in outcome.series) == 4


def test_the_time_budget_ends_it_between_rounds(tmp_path: Path) -> None:
    now = [0.0]

    class Clocked(Heard):
        def measured(self, measured: Measured) -> None:
            now[0] += 1
            super().measured(measured)

    heard = Clocked()
    outcome = session(tmp_path, heard=heard, budget=Budget(max_seconds=6.0), clock=lambda: now[0])
    assert outcome.stopped_by == "time"
    assert len(heard.runs) == 6


def test_repetitions_end_once_every_interval_is_narrow_enough(tmp_path: Path) -> None:
    wishes = MatrixRequest(executors=("virtual",), workers=(2,), repetitions=100)
    outcome = session(tmp_path, wishes=wishes, until_width_ratio=0.05)
    assert outcome.stopped_by == "width"
    assert outcome.rounds == 10
    assert outcome.too_wide == []


def test_what_stays_too_wide_is_named(tmp_path: Path) -> None:
    outcome = session(tmp_path, until_width_ratio=1e-9)
    assert outcome.stopped_by == "repetitions"
    assert {cell.label for cell in outcome.too_wide} == {"serial@1/dataflow", "threads@2/dataflow"}


def test_a_run_that_takes_no_time_has_no_speedup(tmp_path: Path) -> None:
    text = "steps: [{step_id: a, tool: noop}]\nbenchmark: {executors: [virtual], workers: [2], repetitions: 2}"
    for result in document(session(tmp_path, text))["results"]:
        assert result["makespan_seconds"]["median"] == 0
        assert result["speedup_ratio"] is None
        assert result["speedup_verdict"] is None


def test_with_six_numbers_of_workers_the_law_is_fitted_and_with_fewer_it_is_not(tmp_path: Path) -> None:
    text = """
scenario: wide
steps: [{step_id: "s{{ copy }}", copies: 24, tool: sleep, args: {seconds: 1}}]
benchmark: {executors: [virtual], repetitions: 1, warmup: 0}
"""
    fitted = document(session(tmp_path, text, MatrixRequest(workers=(1, 2, 3, 4, 6, 8, 12))))["benchmark"][
        "scalability"
    ]
    assert [(law["executor"], law["is_good"]) for law in fitted] == [("virtual", True)]
    assert fitted[0]["contention"] == pytest.approx(0, abs=0.01)
    assert document(session(tmp_path, text, MatrixRequest(workers=(1, 2, 3, 4, 5))))["benchmark"]["scalability"] == []


def test_usage_is_measured_for_each_run(tmp_path: Path) -> None:
    text = """
scenario: busy
scale: 0.05
steps: [{step_id: a, tool: busy, args: {seconds: 1}}]
benchmark: {executors: [processes], workers: [1], repetitions: 1, warmup: 0}
"""
    for series in session(tmp_path, text).series:
        usage = series.samples[0].usage
        assert usage.cpu_seconds >= 0.05
        assert usage.voluntary_context_switches > 0
        assert usage.peak_memory_bytes is not None
        assert usage.peak_memory_bytes > 1_000_000


CHILDREN_OF_A_LARGE_PROCESS = """
import subprocess, sys
from harness.benchmark.meter import Meter

held = bytearray(b"1") * 150_000_000
del held
meter = Meter()
subprocess.run([sys.executable, "-I", "-S", "-c", sys.argv[1]], check=True)
print(meter.stop().children_peak_memory_bytes)
"""


@pytest.mark.parametrize(("child", "least", "most"), [("pass", None, None), ("b'1' * 300_000_000", 300e6, 400e6)])
def test_the_peak_that_a_child_inherits_from_this_process_is_not_its_own(
    child: str, least: float | None, most: float | None
) -> None:
    # As a program that was started by one with a higher peak.
    held = bytearray(b"1") * 350_000_000
    del held
    printed = subprocess.run(
        [sys.executable, "-c", CHILDREN_OF_A_LARGE_PROCESS, child], check=True, capture_output=True, text=True
    ).stdout
    if least is None or most is None:
        assert printed == "None\n"
    else:
        assert least < int(printed) < most


def test_the_machine_is_told_with_all_that_a_result_may_depend_on() -> None:
    facts = machine_facts()
    for name in ("cores", "usable_cores", "affinity", "cpu_limit_cores", "load_average_at_start", "cpu_governor",
                 "python_build", "packages", "revision", "python_version"):  # fmt: skip
        assert name in facts

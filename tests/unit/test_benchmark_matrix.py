"""The matrix of a benchmark: what is in it, what is refused, and in which order it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.model.findings import WorkflowError
from harness.benchmark.matrix import Matrix, MatrixRequest, build_matrix
from harness.benchmark.session import round_order
from harness.config import Config

STEPS = """
inputs: {n: 1, name: a}
steps:
  - {step_id: a, tool: noop}
  - {step_id: b, tool: noop, depends_on: [a]}
"""


def matrix_of(folder: Path, block: str, wishes: MatrixRequest | None = None, *, name: str = "one") -> Matrix:
    path = folder / f"{name}.yaml"
    path.write_text(f"scenario: {name}\n{STEPS}{block}\n", encoding="utf-8")
    return build_matrix([path], wishes or MatrixRequest(), Config())


def labels(matrix: Matrix) -> list[str]:
    return [cell.label for cell in matrix.cells]


def test_the_block_of_the_file_is_laid_out_with_one_serial_baseline(tmp_path: Path) -> None:
    block = "benchmark: {executors: [serial, threads, asyncio], workers: [2, 4], policies: [dataflow, barrier]}"
    matrix = matrix_of(tmp_path, block)
    assert labels(matrix) == [
        "serial@1/dataflow",
        *(f"{name}@{workers}/{policy}" for name in ("threads", "asyncio") for policy in ("dataflow", "barrier")
          for workers in (2, 4)),
    ]  # fmt: skip
    serial, *others = matrix.cells
    assert serial.baseline is None
    assert {cell.baseline for cell in others} == {serial}


def test_the_baseline_is_there_when_nobody_asks_for_it(tmp_path: Path) -> None:
    assert labels(matrix_of(tmp_path, "", MatrixRequest(executors=("threads",), workers=(3,)))) == [
        "serial@1/dataflow",
        "threads@3/dataflow",
    ]


def test_simulated_cells_are_compared_with_a_simulated_one_and_no_other(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, "", MatrixRequest(executors=("virtual",), workers=(1, 4)))
    assert labels(matrix) == ["virtual@1/dataflow", "virtual@4/dataflow"]
    assert all(cell.simulated for cell in matrix.cells)
    assert matrix.cells[1].baseline is matrix.cells[0]


def test_parameters_make_cases_and_a_setting_takes_the_place_of_an_axis(tmp_path: Path) -> None:
    block = "benchmark: {executors: [threads], workers: [2], parameters: {n: [1, 2]}}"
    assert labels(matrix_of(tmp_path, block)) == [
        "serial@1/dataflow{n=1}",
        "threads@2/dataflow{n=1}",
        "serial@1/dataflow{n=2}",
        "threads@2/dataflow{n=2}",
    ]
    assert len(matrix_of(tmp_path, block, MatrixRequest(settings={"n": "5"})).cases) == 1
    typed = matrix_of(tmp_path, block, MatrixRequest(parameters={"n": ("7", "8", "9")}))
    assert [case.loaded.parameters for case in typed.cases] == [{"n": 7}, {"n": 8}, {"n": 9}]


def test_a_file_without_a_block_is_measured_on_what_suits_its_steps(tmp_path: Path) -> None:
    assert {cell.executor for cell in matrix_of(tmp_path, "").cells} == {"serial", "threads", "asyncio"}
    path = tmp_path / "busy.yaml"
    path.write_text("steps: [{step_id: a, tool: busy, args: {seconds: 0}}]", encoding="utf-8")
    computing = build_matrix([path], MatrixRequest(), Config())
    assert {cell.executor for cell in computing.cells} == {"serial", "threads", "processes"}


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (MatrixRequest(executors=("thread",)), ("no executor 'thread'", "'threads'")),
        (MatrixRequest(policies=("dataflaw",)), ("no policy 'dataflaw'", "'dataflow'")),
        (MatrixRequest(parameters={"m": ("1",)}), ("no input 'm'",)),
        (MatrixRequest(parameters={"n": ("1", "x")}), ("n is text", "a number")),
        (MatrixRequest(parameters={"n": ("1",)}, settings={"n": "1"}), ("'n' is set to one value",)),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_fix(
    tmp_path: Path, wishes: MatrixRequest, words: tuple[str, ...]
) -> None:
    with pytest.raises(WorkflowError) as caught:
        matrix_of(tmp_path, "", wishes)
    assert all(finding.file == "command line" and finding.fix for finding in caught.value.findings)
    for word in words:
        assert word in str(caught.value)


def test_faults_of_several_files_are_told_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(
            f"scenario: {name}\nsteps: [{{step_id: a, tool: nop}}]", encoding="utf-8"
        )
    with pytest.raises(WorkflowError) as caught:
        build_matrix([tmp_path / "one.yaml", tmp_path / "two.yaml"], MatrixRequest(), Config())
    assert len({finding.file for finding in caught.value.findings}) == 2


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("scenario: same\nsteps: [{step_id: a, tool: noop}]", encoding="utf-8")
    with pytest.raises(WorkflowError, match="two files are named 'same'"):
        build_matrix([tmp_path / "one.yaml", tmp_path / "two.yaml"], MatrixRequest(), Config())


def test_an_expectation_that_does_not_parse_points_at_its_line_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError) as caught:
        matrix_of(tmp_path, 'expect:\n  - "errors == 0"\n  - "speedup >= "')
    (finding,) = caught.value.findings
    assert finding.line is not None
    assert "column" in finding.message


def test_the_order_of_a_round_comes_from_the_seed_and_differs_from_round_to_round(tmp_path: Path) -> None:
    cells = matrix_of(tmp_path, "", MatrixRequest(workers=(1, 2, 3, 4))).cells
    orders = [round_order(cells, 7, number) for number in range(1, 6)]
    assert orders == [round_order(cells, 7, number) for number in range(1, 6)]
    assert len({tuple(order) for order in orders}) > 1
    assert all(set(order) == set(cells) for order in orders)

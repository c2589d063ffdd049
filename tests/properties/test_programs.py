"""What the analysis says of random programs, and of those that it was once wrong about."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.testing.programs.program import read_program
from harness.testing.programs.program_fuzzing import examine_program, fuzz_programs

KEPT = sorted((Path(__file__).parent / "programs").glob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_a_program_that_the_analysis_was_wrong_about_is_read_right(path: Path) -> None:
    assert examine_program(read_program(path)).faults == []


def test_what_is_called_known_is_true_and_what_is_called_sure_is_there() -> None:
    report = fuzz_programs(80, seed=11, shrink_seconds=0.01)
    right, claimed = report.known_edges
    assert claimed > 50
    assert right == claimed
    assert report.missed == []
    assert report.with_sure_gain > 0.5 * report.programs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_many_programs_known_edges_are_true_and_sure_gains_are_there() -> None:
    report = fuzz_programs(700, seed=12, shrink_seconds=0.01)
    assert report.missed == []
    assert report.with_sure_gain > 0.75 * report.programs

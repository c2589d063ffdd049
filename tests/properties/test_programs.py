"""What the analysis says of random programs, and of those that it was once wrong about."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.model.workflow import Resource
from harness.analysis import AttemptIndex
from harness.simulation.what_if import Rerun
from harness.testing.programs.playing import play
from harness.testing.programs.program import read_program
from harness.testing.programs.program_drawing import draw_program
from harness.testing.programs.program_fuzzing import examine_program, fuzz_programs
from harness.testing.programs.span_emission import emitted
from harness.traces import foreign_run
from harness.traces.prediction.flat_graph import WORKER, Flat, flat_graph, flat_timeline, layout_of, longest_chain
from harness.traces.prediction.list_scheduling import list_schedule

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


def graphs_of(number: int) -> list[Flat]:
    """The units of a program, with the assumed edges and without them."""
    program = draw_program(number)
    run = foreign_run(emitted(program, play(program)))
    index = AttemptIndex(run.timeline)
    layout = layout_of(run, [None] * len(run.names), index)
    return [flat_graph(run, layout, index, assumed=assumed) for assumed in (True, False)]


def test_the_quick_schedule_of_a_program_is_that_of_the_production_scheduler() -> None:
    graphs = [flat for number in range(80) for flat in graphs_of(number)]
    without_joints = [flat for flat in graphs if flat.lengths and 0 not in flat.lengths]
    assert len(without_joints) > 50
    for flat in without_joints:
        again = Rerun(flat_timeline(flat))
        many = 2 * len(flat.lengths) + 1
        for workers in (1, 2, 3, many):
            limited = (many, {WORKER: Resource(capacity=workers)}) if flat.delays else (workers, {})
            expected = again.run(workers=limited[0], policy="dataflow", resources=limited[1]).makespan_nanoseconds
            assert list_schedule(flat, workers) == expected
        assert longest_chain(flat) == expected


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_many_programs_known_edges_are_true_and_sure_gains_are_there() -> None:
    report = fuzz_programs(700, seed=12, shrink_seconds=0.01)
    assert report.missed == []
    assert report.with_sure_gain > 0.75 * report.programs

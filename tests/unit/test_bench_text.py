"""A benchmark as text: what fits beside each other, which cell is recommended, warnings once, a busy machine."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from harness.benchmark import MatrixRequest, Runner, Session, build_matrix
from harness.config import Config
from harness.report.terminal.bench_progress import BenchProgress
from harness.report.terminal.bench_text import bench_lines
from harness.report.terminal.console import Terminal
from tests.unit.run_documents import document, result


def cell(workers: int, times: list[float], **more: Any) -> dict[str, Any]:
    """A cell beside a serial run of 2 s, with a remedy and nothing lost."""
    found = result(times, baselines=[2.0] * len(times), workers=workers)
    lost = {"lost_seconds": {"running": times[0]}, "largest_lost_cause": None, "remedy": "nothing.", "cautions": []}
    return {**found, **lost, "speedup_verdict": "faster", "scenario": "jokes", **more}


def text(*results: dict[str, Any], width: int | None = None, **environment: Any) -> str:
    lines = bench_lines(document(*results, environment=environment), width=width)
    return "\n".join(line.text for line in lines)


EIGHT = [1.0, 1.02, 0.99, 1.01, 0.98, 1.0]
FOUR = [1.01, 1.02, 0.99, 1.01, 1.03, 1.0]
TWO = [1.5, 1.52, 1.49, 1.51, 1.53, 1.5]


def test_the_cheapest_of_the_fastest_is_recommended() -> None:
    said = text(cell(8, EIGHT), cell(4, FOUR), cell(2, TWO))
    assert "  recommended: threads@4/dataflow, 1.98×; not surely faster: threads@8/dataflow\n" in said


def test_of_equals_with_as_many_workers_one_that_starts_soon_is_recommended() -> None:
    slow_start = cell(4, EIGHT, executor="processes", cold_startup_seconds=2.5)
    said = text(slow_start, cell(4, FOUR, cold_startup_seconds=0.01))
    assert "  recommended: threads@4/dataflow, 1.98×; not surely faster: processes@4/dataflow\n" in said


def test_nothing_is_recommended_where_nothing_is_faster_for_certain() -> None:
    slow = [{**one, "speedup_verdict": "undecided"} for one in (cell(8, EIGHT), cell(4, FOUR))]
    assert "recommended" not in text(*slow)
    assert "recommended" not in text(cell(8, EIGHT))


def test_warnings_that_differ_in_their_figures_alone_become_one() -> None:
    said = text(
        cell(8, EIGHT, cautions=["repetition 6 took much longer than the others (1.2 × the median): close programs"]),
        cell(
            4,
            FOUR,
            cautions=["repetitions 5, 6 took much longer than the others (up to 1.31 × the median): close programs"],
        ),
        cell(2, TWO, cautions=["steps failed in 2 of 6 repetitions"]),
    )
    assert said.count("took much longer") == 1
    first = "repetition 6 took much longer than the others (1.2 × the median): close programs"
    assert (
        f"  warning: threads@8/dataflow, threads@4/dataflow: {first} (the figures are those of threads@8/dataflow)\n"
        in said
    )
    assert "  warning: threads@2/dataflow: steps failed in 2 of 6 repetitions\n" in said


def test_a_warning_of_all_cells_is_one_about_every_cell() -> None:
    same = ["use more repetitions"]
    assert "  warning: every cell: use more repetitions\n" in text(
        cell(8, EIGHT, cautions=same), cell(4, FOUR, cautions=same)
    )


@pytest.mark.parametrize(("load", "warned"), [(10.0, True), (3.0, True), (2.4, False), (0.1, False)])
def test_a_busy_machine_is_a_warning(load: float, warned: bool) -> None:
    said = text(cell(4, FOUR), usable_cores=2, load_average_at_start=[load, 1.0, 1.0])
    assert ("the machine was busy" in said) is warned
    if warned:
        assert f"load {load:.1f} on 2 cores" in said


def test_a_simulation_is_never_disturbed_by_other_programs() -> None:
    assert "busy" not in text(cell(4, FOUR, simulated=True), usable_cores=2, load_average_at_start=[10.0, 1.0, 1.0])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_columns_that_do_not_fit_go_below_their_row(width: int) -> None:
    lines = text(cell(8, EIGHT), cell(4, FOUR), width=width).splitlines()
    head = next(line for line in lines if "makespan" in line)
    assert len(head) <= width
    assert not head.endswith("speedup")  # an interval stays beside what it belongs to
    for one in ("efficiency", "lower bound"):
        assert sum(one in line for line in lines) == (1 if one in head else 2)


def test_progress_shows_a_bar_the_cell_and_figures_so_far(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeTerminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "w.yaml"
    path.write_text("scenario: w\nsteps: [{step_id: a, tool: sleep, args: {seconds: 0.01}}]\n", encoding="utf-8")
    wishes = MatrixRequest(executors=("threads",), workers=(2,), repetitions=3)
    matrix = build_matrix([path], wishes, Config())
    stream, clock = FakeTerminal(), iter(range(1_000))
    terminal = Terminal(stream, environment={"TERM": "xterm"})
    with Runner(matrix) as runner, BenchProgress(terminal, lambda: next(clock)) as progress:
        Session(matrix, runner, listeners=[progress], usable_cores=2).run()
    drawn = stream.getvalue()
    assert "━" in drawn
    assert "w threads@2/dataflow" in drawn
    assert re.search(r"so far: threads@2/dataflow [\d.]+ m?s, [\d.]+×", drawn)
    assert "repetition 3" in drawn

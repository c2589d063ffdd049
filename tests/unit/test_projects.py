"""PSPLIB's and Patterson's projects as scenarios: activities, resources and schedules come back; faults have lines."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from executor.model.findings import Finding, WorkflowError
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Loaded
from harness.simulation import subject_of_scenario
from tests.integration.calling import called, folder
from tests.unit.project_documents import KnownProject, known_project, patterson, psplib

__all__ = ["folder"]

WRITERS: dict[str, Callable[[KnownProject], str]] = {".sm": psplib, ".rcp": patterson}


def written(folder: Path, suffix: str, text: str) -> Loaded:
    path = folder / f"made{suffix}"
    path.write_text(text, encoding="utf-8")
    return load(path)


def faults(folder: Path, suffix: str, text: str) -> list[Finding]:
    with pytest.raises(WorkflowError) as raised:
        written(folder, suffix, text)
    return [finding for finding in raised.value.findings if finding.severity == "error"]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("seed", range(20))
def test_a_random_project_comes_back(tmp_path: Path, seed: int, suffix: str) -> None:
    project = known_project(seed)
    found = written(tmp_path, suffix, WRITERS[suffix](project))
    steps = found.graph.steps
    assert [step.expected_seconds for step in steps] == project.durations
    edges = {
        (int(steps[parent].step_id), int(step.step_id))
        for step, parents in zip(steps, found.graph.data_parents, strict=True)
        for parent in parents
    }
    assert edges == {(number, one) for number, after in enumerate(project.successors, 1) for one in after}
    assert [[(step.needs or {}).get(name, 0) for name in ("R1", "R2")] for step in steps] == project.needs
    assert [found.resources[name].capacity for name in ("R1", "R2")] == project.capacities
    assert found.recorded_workers == len(project.durations)


@pytest.mark.parametrize("seed", range(20))
def test_its_schedule_never_uses_more_than_there_is(tmp_path: Path, seed: int) -> None:
    project = known_project(seed)
    found = written(tmp_path, ".sm", psplib(project))
    timeline = subject_of_scenario(found, workers=found.recorded_workers).timeline
    ran = [(one.started or 0, one.ended or 0, found.graph.steps[place].needs or {})
           for place, one in enumerate(sorted(timeline.attempts, key=lambda one: int(one.step_id)))]  # fmt: skip
    for start, _, _ in ran:
        for name, capacity in zip(("R1", "R2"), project.capacities, strict=True):
            assert sum(needs.get(name, 0) for begin, end, needs in ran if begin <= start < end) <= capacity


BAD_PSPLIB = {
    "no section": (lambda text: text.replace("REQUESTS/DURATIONS:", ""), "missing-section"),
    "cut short": (lambda text: text[: text.index("RESOURCEAVAIL")], "missing-section"),
    "a word": (lambda text: text.replace("\n  2  1  ", "\n  2  x  ", 1), "not-a-number"),
    "a negative number": (lambda text: text.replace("\n  2  1  ", "\n  2  -1  ", 1), "not-a-number"),
    "several modes": (lambda text: text.replace("\n  2  1  ", "\n  2  3  ", 1), "several-modes"),
    "a job twice": (lambda text: text.replace("\n  3  1  ", "\n  2  1  ", 1), "duplicate-job"),
    "nonrenewable resources": (lambda text: text.replace("nonrenewable              :  0", "nonrenewable : 2"),
                               "other-resources"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_PSPLIB)
def test_a_bad_psplib_file_is_a_finding_with_its_line(tmp_path: Path, fault: str) -> None:
    change, code = BAD_PSPLIB[fault]
    text = psplib(known_project(3))
    assert change(text) != text
    (finding,) = faults(tmp_path, ".sm", change(text))
    assert (finding.code, finding.file) == (code, str(tmp_path / "made.sm"))
    assert finding.line
    assert finding.fix


def test_a_successor_that_is_not_there_and_a_need_beyond_the_capacity_are_named(tmp_path: Path) -> None:
    project = known_project(3)
    project.successors[1][0] = 99
    project.needs[1][0] = 50
    found = faults(tmp_path, ".sm", psplib(project))
    assert {finding.code for finding in found} == {"unknown-successor", "too-little"}
    assert {finding.line for finding in found} == {14}


def test_a_cycle_names_the_line_of_an_activity(tmp_path: Path) -> None:
    project = KnownProject([1, 1], [[0], [0]], [[2], [1]], [1])
    (finding,) = faults(tmp_path, ".sm", psplib(project))
    assert finding.code == "cycle"
    assert finding.line in {13, 14}


@pytest.mark.parametrize(("text", "code"), [("", "missing-number"), ("2 1 4 0 0 1 2", "missing-number"),
                                            ("1 0 5 0 7", "too-many-numbers"), ("1 x", "not-a-number"),
                                            ("0 0", "no-activities")])  # fmt: skip
def test_a_bad_patterson_file_is_a_finding(tmp_path: Path, text: str, code: str) -> None:
    assert [finding.code for finding in faults(tmp_path, ".rcp", text)] == [code]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_changed_in_a_file_it_is_read_or_refused_with_lines(tmp_path: Path, seed: int, suffix: str) -> None:
    draw = random.Random(seed)
    text = WRITERS[suffix](known_project(seed % 7, activities=4))
    for _ in range(draw.randrange(1, 4)):
        place = draw.randrange(len(text))
        text = (
            text[:place] + draw.choice(["", "\n", "7", "-", "x", "*" * 4, "9" * 40]) + text[place + draw.randrange(9) :]
        )
    try:
        written(tmp_path, suffix, text)
    except WorkflowError as error:
        found = error.findings
    else:
        found = []
    assert all(finding.line for finding in found)


def test_simulate_gives_a_project_as_many_workers_as_activities(folder: Path) -> None:
    project = known_project(5)
    (folder / "made.sm").write_text(psplib(project), encoding="utf-8")
    done = called("simulate", "made.sm")
    assert done.exit_code == 0
    assert f"({len(project.durations)} workers, policy dataflow)" in done.stdout
    (folder / "made.rcp").write_text("1 0", encoding="utf-8")
    assert called("simulate", "made.rcp").exit_code == 2


def test_a_project_is_measured_like_any_scenario(folder: Path) -> None:
    (folder / "made.sm").write_text(psplib(known_project(5)), encoding="utf-8")
    done = called("bench", "made.sm", "-e", "virtual", "-n", "1", "--warmup", "0", "--no-store", "--set", "scale=2")
    assert done.exit_code == 0, done.stderr
    assert "made" in done.stdout

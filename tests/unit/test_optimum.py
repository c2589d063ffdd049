"""The best schedule: equal to brute force on small graphs, never worse than the run, and what is said of it."""

from __future__ import annotations

import builtins
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from executor.record.timeline import NANOSECONDS
from harness.report.terminal.simulation_text import simulation_lines
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Loaded
from harness.simulation import Optimum, SimulationError, best_schedule, simulate, subject_of_scenario
from harness.simulation.schedule_problem import ScheduleProblem, problem_of
from harness.simulation.simulation_document import simulation_document, simulation_schema
from tests.integration.calling import called, folder
from tests.unit.project_documents import known_project, psplib

__all__ = ["folder"]


def brute_force(problem: ScheduleProblem) -> int:
    """The shortest makespan in ticks: each step as early as it can, in every order that dependencies allow. One of
    these schedules is optimal (Sprecher, Kolisch and Drexl 1995).
    """
    lasting = [parts[0].ticks for parts in problem.parts]
    shortest = problem.known_ticks
    for order in itertools.permutations(range(len(lasting))):
        place = {step: number for number, step in enumerate(order)}
        if any(place[parent] > place[step] for step in order for parent in problem.parents[step]):
            continue
        starts: dict[int, int] = {}
        for step in order:
            start = max((starts[parent] + lasting[parent] for parent in problem.parents[step]), default=0)
            while not fits(problem, starts, lasting, step, start):
                start += 1
            starts[step] = start
        shortest = min(shortest, max(starts[step] + lasting[step] for step in order))
    return shortest


def fits(problem: ScheduleProblem, starts: dict[int, int], lasting: Sequence[int], step: int, start: int) -> bool:
    for tick in range(start, start + lasting[step]):
        running = [one for one, began in starts.items() if began <= tick < began + lasting[one]]
        if len(running) >= problem.workers:
            return False
        for name, units in problem.needs[step].items():
            if sum(problem.needs[one].get(name, 0) for one in running) + units > problem.capacities[name]:
                return False
    return True


def random_scenario(folder: Path, seed: int) -> Loaded:
    """At most six steps with dependencies, needs and shared states."""
    draw = random.Random(seed)
    count = draw.randrange(3, 7)
    steps: list[dict[str, Any]] = []
    for number in range(count):
        step: dict[str, Any] = {
            "step_id": f"s{number}", "tool": "sleep", "args": {"seconds": draw.randrange(1, 7) / 10},
            "depends_on": [f"s{one}" for one in range(number) if draw.random() < 0.25],
        }  # fmt: skip
        if draw.random() < 0.6:
            step["needs"] = {"units": draw.randrange(1, 4)}
        if draw.random() < 0.3:
            step["writes"] = ["state"]
        steps.append(step)
    data = {"scenario": "small", "resources": {"units": {"capacity": 3}}, "steps": steps}
    path = folder / f"small{seed}.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("seed", range(30))
def test_the_optimum_of_a_small_graph_is_that_of_brute_force(tmp_path: Path, seed: int) -> None:
    timeline = subject_of_scenario(random_scenario(tmp_path, seed), workers=1 + seed % 3).timeline
    problem = problem_of(timeline)
    found = best_schedule(timeline, max_seconds=20, threads=1)
    assert found.is_proven
    assert round(found.best_seconds * NANOSECONDS) == brute_force(problem) * problem.tick_nanoseconds


def test_some_of_these_graphs_are_better_than_dataflow(tmp_path: Path) -> None:
    better = 0
    for seed in range(30):
        timeline = subject_of_scenario(random_scenario(tmp_path, seed), workers=1 + seed % 3).timeline
        better += best_schedule(timeline, max_seconds=20, threads=1).best_seconds < timeline.makespan_seconds - 1e-9
    assert better > 0


@pytest.mark.parametrize("seed", range(6))
def test_a_project_is_never_worse_than_its_run_and_never_better_than_its_bound(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "made.sm"
    path.write_text(psplib(known_project(seed, activities=15)), encoding="utf-8")
    timeline = subject_of_scenario(load(path), workers=30).timeline
    found = best_schedule(timeline, max_seconds=20, threads=1)
    assert found.bound_seconds <= found.best_seconds <= timeline.makespan_seconds


@pytest.mark.parametrize("tenths", [1, 3, 7, 11, 29])
def test_a_run_that_cannot_be_shorter_is_above_by_exactly_nothing(tmp_path: Path, tenths: int) -> None:
    steps = [{"step_id": f"s{number}", "tool": "sleep", "args": {"seconds": tenths / 10}} for number in range(3)]
    path = tmp_path / "row.json"
    path.write_text(json.dumps({"scenario": "row", "steps": steps}), encoding="utf-8")
    timeline = subject_of_scenario(load(path), workers=1).timeline
    found = best_schedule(timeline, max_seconds=1)
    assert found.best_seconds == timeline.makespan_seconds
    assert (found.above_best_ratio(timeline.makespan_seconds), found.is_proven) == (0.0, True)


def hard(folder: Path) -> Loaded:
    """A packing that takes long to prove."""
    draw = random.Random(4)
    steps = [{"step_id": f"s{number}", "tool": "sleep", "args": {"seconds": draw.randrange(100, 999) / 1000},
              "needs": {"units": draw.randrange(2, 8)}} for number in range(60)]  # fmt: skip
    (folder / "hard.json").write_text(
        json.dumps({"scenario": "hard", "resources": {"units": {"capacity": 10}}, "steps": steps}), encoding="utf-8"
    )
    return load(folder / "hard.json")


def test_when_the_time_is_up_the_best_so_far_and_the_bound_are_told(tmp_path: Path) -> None:
    subject = subject_of_scenario(hard(tmp_path), workers=60)
    found = best_schedule(subject.timeline, max_seconds=0.01, threads=1)
    assert not found.is_proven
    assert 0 < found.bound_seconds < found.best_seconds <= subject.timeline.makespan_seconds
    text = "\n".join(line.text for line in simulation_lines(simulate(subject, workers=[60]), [None], [found]))
    assert "is the best found in" in text
    assert "no schedule is shorter than" in text
    assert "above any" in text


def test_retries_keep_their_backoffs(tmp_path: Path) -> None:
    steps = [
        {"step_id": "again", "tool": "flaky", "args": {"fail_times": 1, "seconds": 1},
         "retry": {"max_attempts": 2, "backoff_seconds": 3, "jitter": "none"}},
        {"step_id": "other", "tool": "sleep", "args": {"seconds": 2}},
    ]  # fmt: skip
    path = tmp_path / "retried.json"
    path.write_text(json.dumps({"scenario": "retried", "steps": steps}), encoding="utf-8")
    found = best_schedule(subject_of_scenario(load(path), workers=1).timeline, max_seconds=20, threads=1)
    assert found.is_proven
    assert found.best_seconds == pytest.approx(5)


REFUSED = {
    "a rate": ({"resources": {"llm": {"rate_per_minute": 60}}}, {"needs": {"llm": 1}}, "has a rate"),
    "a found capacity": ({"resources": {"llm": {"capacity": "auto"}}}, {"needs": {"llm": 1}}, "is found out"),
    "mapped steps": ({}, {"for_each": [1, 2]}, "mapped steps"),
    "a step that does not run": ({}, {"when": "false"}, "did not"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_exact_form_is_named(tmp_path: Path, what: str) -> None:
    top, words, said = REFUSED[what]
    step = {"step_id": "a", "tool": "sleep", "args": {"seconds": 1}, **words}
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"scenario": "other", **top, "steps": [step]}), encoding="utf-8")
    timeline = subject_of_scenario(load(path)).timeline
    with pytest.raises(SimulationError, match=said):
        best_schedule(timeline, max_seconds=1)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = subject_of_scenario(hard(tmp_path), workers=60).timeline
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("ortools"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SimulationError) as raised:
        best_schedule(timeline, max_seconds=1)
    assert "makespan[optimum]" in raised.value.fix


@pytest.mark.parametrize(
    ("best", "bound", "said"),
    [(10.0, 10.0, "12.0 % above the optimum"), (11.0, 10.86, "1.8 % above the best known, at most 3.1 % above any"),
     (11.2, 11.0, "as short as the best known, at most 1.8 % above any"), (11.2, 11.2, "as short as any schedule")],
)  # fmt: skip
def test_the_distance_is_said_in_words(tmp_path: Path, best: float, bound: float, said: str) -> None:
    for line in texts(tmp_path, Optimum(best, bound, 1.0)):
        if said in line:
            return
    pytest.fail(f"nothing says {said!r}")


def texts(folder: Path, optimum: Optimum) -> Iterator[str]:
    path = folder / "one.json"
    step = {"step_id": "a", "tool": "sleep", "args": {"seconds": 11.2}}
    path.write_text(json.dumps({"scenario": "one", "steps": [step]}), encoding="utf-8")
    found = simulate(subject_of_scenario(load(path)))
    document = simulation_document(found, [None], [optimum])
    assert document["cells"][0]["optimum"]["above_best_known_ratio"] == pytest.approx(11.2 / optimum.best_seconds - 1)
    return (line.text for line in simulation_lines(found, [None], [optimum]))


def test_the_command_says_it_for_each_number_of_workers(folder: Path) -> None:
    (folder / "made.sm").write_text(psplib(known_project(2)), encoding="utf-8")
    done = called("simulate", "made.sm", "--workers", "1,3", "--optimum", "10s", "--json", "found.json")
    assert done.exit_code == 0, done.stderr
    assert "best schedule on 1 worker: " in done.stdout
    document = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, simulation_schema(), cls=jsonschema.Draft202012Validator)
    cells = document["cells"]
    assert [cell["optimum"]["is_proven"] for cell in cells] == [True, True]
    assert called("simulate", "made.sm", "--optimum", "soon").exit_code == 2

"""The policy ``best``: each rule's order, the choice among them, its budget, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.report.terminal.simulation_text import simulation_lines
from harness.scenario.scenario_file import load
from harness.simulation import Change, Subject, best_priorities, best_schedule, simulate, subject_of_scenario
from harness.simulation.changes import policies
from harness.simulation.priority_rules import RULES, Weighed, load_parts, places
from harness.simulation.simulation_document import simulation_document, simulation_schema
from harness.traces.prediction.trace_subject import subject_of_trace
from tests.integration.calling import called, folder
from tests.unit.traces_by_hand import run_of, span

__all__ = ["folder"]

# On two workers dataflow starts both long steps, and `after` comes last: 6 s. With `first` at the beginning it is 5 s.
GAINS: list[dict[str, Any]] = [
    {"step_id": "first", "tool": "noop", "expected_seconds": 1},
    {"step_id": "long", "tool": "noop", "expected_seconds": 4},
    {"step_id": "after", "tool": "noop", "expected_seconds": 1, "depends_on": ["first"]},
    {"step_id": "longer", "tool": "noop", "expected_seconds": 4},
]


def scenario(folder: Path, steps: list[dict[str, Any]] = GAINS, *, workers: int = 2) -> Subject:
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump({"scenario": "made", "steps": steps}), encoding="utf-8")
    return subject_of_scenario(load(path), workers=workers)


def text_of(subject: Subject) -> str:
    found = simulate(subject, policies=["best"])
    return "\n".join(line.text for line in simulation_lines(found, [None] * len(found.cells)))


def test_an_order_that_dataflow_does_not_take_is_found(folder: Path) -> None:
    dataflow, best = simulate(scenario(folder), policies=["dataflow", "best"]).cells
    assert (dataflow.makespan_seconds, best.makespan_seconds, best.lower_bound_seconds) == (6.0, 5.0, 5.0)
    assert best.best is not None
    assert best.best.rule == "latest finish"
    assert best.best.makespans_seconds["dataflow"] == 6.0


def test_stated_in_the_file_its_priorities_give_dataflow_the_same_makespan(folder: Path) -> None:
    found, _ = best_priorities(scenario(folder), Change(""))
    steps = [{**step, "priority": found.priorities[step["step_id"]]} for step in GAINS]
    assert scenario(folder, steps).timeline.makespan_seconds == 5.0


def test_the_own_order_of_dataflow_is_kept_where_no_rule_is_shorter(folder: Path) -> None:
    found, change = best_priorities(scenario(folder, workers=4), Change(""))
    assert (found.rule, dict(found.priorities), change.ranks) == ("dataflow", {}, None)
    assert "none of 9 rules is shorter than dataflow's own order" in text_of(scenario(folder, workers=4))


def test_a_priority_that_a_person_stated_is_kept_before_every_rule(folder: Path) -> None:
    steps = [{**step, "priority": 5 if step["step_id"] in {"long", "longer"} else 0} for step in GAINS]
    found, _ = best_priorities(scenario(folder, steps), Change(""))
    assert set(found.makespans_seconds.values()) == {6.0}


def test_a_large_run_is_tried_with_fewer_rules_and_that_is_said(folder: Path) -> None:
    subject = scenario(folder)
    found, _ = best_priorities(subject, Change(""), budget_attempts=3 * len(GAINS))
    assert list(found.makespans_seconds) == ["dataflow", *list(RULES)[:2]]
    assert list(found.left_out) == list(RULES)[2:]
    found, _ = best_priorities(subject, Change(""), budget_attempts=1)
    assert (found.rule, list(found.left_out)) == ("dataflow", list(RULES))


def test_the_rules_left_out_are_in_the_text(folder: Path) -> None:
    subject = scenario(folder)
    found = simulate(subject, policies=["best"])
    best, _ = best_priorities(subject, Change(""), budget_attempts=3 * len(GAINS))
    found = replace(found, cells=tuple(replace(cell, best=best) for cell in found.cells))
    text = "\n".join(line.text for line in simulation_lines(found, [None]))
    assert "latest finish, of 2 rules" in text
    assert "not tried, since the run is large: resource-aware upward rank, most total successors" in text


def test_steps_without_a_duration_are_said(folder: Path) -> None:
    steps = [{key: value for key, value in step.items() if key != "expected_seconds"} for step in GAINS]
    steps = [{**step, "tool": "llm", "prompt": "Say something"} for step in steps]
    assert "1 s was assumed" in text_of(scenario(folder, steps))


def test_other_changes_count_in_the_search(folder: Path) -> None:
    (cell,) = simulate(scenario(folder), [Change("faster", {"long": 4.0})], policies=["best"]).cells
    assert cell.best is not None
    assert cell.best.makespans_seconds["longest first"] == 4.0


def test_an_order_that_cuts_more_short_is_not_taken(folder: Path) -> None:
    steps: list[dict[str, Any]] = [*GAINS, {"step_id": "fails", "tool": "flaky", "args": {"fail_times": 9}}]
    subject = scenario(folder, steps)
    own = dict(zip(subject.timeline.step_ids, subject.timeline.statuses, strict=True))
    _, change = best_priorities(subject, Change(""))
    again = subject.run(change)
    assert dict(zip(again.step_ids, again.statuses, strict=True)) == own


def weighed(**more: Any) -> Weighed:
    """``0 → 1 → 3`` and ``0 → 2 → 3``, and ``4`` alone."""
    figures: dict[str, Any] = {
        "parents": [(), (0,), (0,), (1, 2), ()],
        "order": [0, 1, 2, 3, 4],
        "nanoseconds": [1, 5, 2, 4, 3],
        "load_parts": [1, 1, 10, 1, 1],
        "priorities": [0] * 5,
    }
    return Weighed(**(figures | more))


# The steps, the first to start first. What the rule leaves equal goes by upward rank: 10, 9, 6, 4, 3.
ORDERS = {
    "upward rank": [0, 1, 2, 3, 4],
    "latest finish": [0, 1, 2, 3, 4],  # 9, 4, 4, 0, 0 come after them
    "resource-aware upward rank": [0, 2, 1, 3, 4],  # 25, 9, 24, 4, 3
    "most total successors": [0, 1, 2, 3, 4],  # 3, 1, 1, 0, 0
    "shortest first": [0, 2, 4, 3, 1],
    "rank positional weight": [1, 0, 2, 3, 4],  # 8, 9, 6, 4, 3
    "most immediate successors": [0, 1, 2, 3, 4],  # 2, 1, 1, 0, 0
    "longest first": [1, 3, 4, 2, 0],
    "least slack": [0, 1, 3, 2, 4],  # 0, 0, 3, 0, 7
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_orders_the_steps_as_its_definition_says(rule: str) -> None:
    found = places(weighed(), rule)
    assert sorted(range(5), key=lambda step: -found[step]) == ORDERS[rule]


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_compares_stated_priorities_first(rule: str) -> None:
    found = places(weighed(priorities=[0, 0, 0, -1, 7]), rule)
    assert (found[4], found[3]) == (4, 0)


def test_steps_that_nothing_tells_apart_start_as_they_are_listed() -> None:
    same = Weighed([()] * 3, [0, 1, 2], [1] * 3, [1] * 3, [0] * 3)
    assert {tuple(places(same, rule)) for rule in RULES} == {(2, 1, 0)}


def test_the_scarcest_of_what_a_step_takes_is_its_load() -> None:
    capacities = {"llm": 4, "disk": 10}
    assert load_parts({"llm": 1, "disk": 5}, capacities, workers=8) == 500_000
    assert load_parts({}, capacities, workers=8) == 125_000
    assert load_parts({"unlimited": 3}, capacities, workers=1) == 1_000_000


def test_of_a_trace_that_leaves_open_what_steps_waited_for_no_gain_of_another_order_is_sure() -> None:
    spans = [
        span("run", 0, 300),
        span("one", 0, 100, "run"),
        span("two", 0, 200, "run"),
        span("three", 200, 300, "run"),
    ]
    subject = subject_of_trace(run_of(*spans))
    assert subject.sure_gain_nanoseconds is not None
    assert subject.sure_gain_nanoseconds(Change("", workers=1)) < 0
    assert subject.sure_gain_nanoseconds(Change("", workers=1, ranks=(0, 1))) == 0


def test_best_is_one_of_the_policies() -> None:
    assert policies(["best,levels"]) == ["best", "levels"]


def test_the_document_has_rule_makespans_and_priorities(folder: Path) -> None:
    scenario(folder)
    done = called("simulate", "made.yaml", "--workers", "2", "--policy", "dataflow,best", "--json", "-")
    assert "best on 2 workers: latest finish, of 9 rules" in done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, simulation_schema(), cls=jsonschema.Draft202012Validator)
    assert document["cells"][0]["best"] is None
    best = document["cells"][1]["best"]
    assert (best["rule"], best["not_tried"], set(best["priorities"])) == (
        "latest finish", [], {"first", "long", "after", "longer"},
    )  # fmt: skip


def test_what_is_saved_runs_under_dataflow_in_the_best_order(folder: Path) -> None:
    scenario(folder)
    done = called("simulate", "made.yaml", "--workers", "2", "--policy", "best", "--save", "saved.yaml")
    assert done.exit_code == 0
    saved = load(folder / "saved.yaml")
    assert subject_of_scenario(saved, workers=2).timeline.makespan_seconds == 5.0
    done = called("run", "saved.yaml", "--executor", "virtual", "--workers", "2", "--json", "-")
    assert json.loads(done.stdout)["results"][0]["makespan_seconds"]["median"] == 5.0


def test_saved_where_no_order_is_shorter_the_scenario_keeps_its_own(folder: Path) -> None:
    scenario(folder)
    done = called("simulate", "made.yaml", "--workers", "4", "--policy", "best", "--save", "-")
    assert [step.get("priority") for step in yaml.safe_load(done.stdout)["steps"]] == [None] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["made.yaml"], "give --policy best and one number of --workers"),
        (["made.yaml", "--policy", "best", "--workers", "2,4"], "give --policy best and one number of --workers"),
        (["run.json", "--policy", "best"], "--save writes a scenario, and this is a run"),
        (["made.yaml", "--policy", "best", "--json", "-"], "cannot both write to stdout"),
    ],
)
def test_what_cannot_be_saved_is_said(folder: Path, arguments: list[str], said: str) -> None:
    scenario(folder)
    called("run", "made.yaml", "--executor", "virtual", "--json", "run.json")
    done = called("simulate", *arguments, "--save", "-")
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_the_solver_begins_with_the_best_order(folder: Path) -> None:
    subject = scenario(folder)
    (cell,) = simulate(subject, policies=["best"]).cells
    optimum = best_schedule(subject.run(cell.change), max_seconds=1)
    assert (optimum.best_seconds, optimum.is_proven) == (5.0, True)
    document = simulation_document(simulate(subject, policies=["best"]), [None], [optimum])
    assert document["cells"][0]["optimum"]["above_best_known_ratio"] == 0.0

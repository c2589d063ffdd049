"""WfCommons' WfFormat, 1.4 and 1.5, as scenarios: the graph comes back, and bad documents are findings with places."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from executor.model.findings import Finding, WorkflowError
from harness.analysis import RunAnalysis
from harness.files.strict_file import parse_document
from harness.scenario.imported_form import FINDINGS_SHOWN
from harness.scenario.scenario_file import load_document
from harness.scenario.scenario_model import Loaded
from harness.scenario.wfformat import import_wfformat, is_wfformat
from harness.simulation import subject_of_scenario
from tests.integration.calling import called, folder
from tests.unit.wfformat_documents import Known, document_1_4, document_1_5, known

__all__ = ["folder"]

Document = dict[str, Any]
WRITERS: dict[str, Callable[[Known, int], Document]] = {"1.4": document_1_4, "1.5": document_1_5}
SEEDS = range(25)


def loaded(document: Document) -> Loaded:
    return load_document(parse_document(json.dumps(document, indent=1), source="made.json", format="json"))


def findings(document: Document) -> list[Finding]:
    with pytest.raises(WorkflowError) as raised:
        loaded(document)
    return [finding for finding in raised.value.findings if finding.severity == "error"]


def edges_of(document: Loaded) -> set[tuple[str, str]]:
    graph = document.graph
    return {
        (graph.steps[parent].step_id, step.step_id)
        for step, parents in zip(graph.steps, graph.data_parents, strict=True)
        for parent in parents
    }


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_graph_comes_back_with_its_run_times_cores_and_machines(seed: int, version: str) -> None:
    truth = known(seed, several_cores=seed % 2 == 1)
    found = loaded(WRITERS[version](truth, seed))
    assert edges_of(found) == truth.edges
    assert {step.step_id: step.expected_seconds for step in found.graph.steps} == truth.seconds
    assert found.recorded_workers == sum(truth.machines.values())
    if any(cores > 1 for cores in truth.cores.values()):
        assert {step.step_id: (step.needs or {})["cores"] for step in found.graph.steps} == truth.cores
        assert found.resources["cores"].capacity == sum(truth.machines.values())
    else:
        assert "cores" not in found.resources


@pytest.mark.parametrize("seed", SEEDS)
def test_the_critical_path_is_that_of_the_documents_own_figures(seed: int) -> None:
    truth = known(seed)
    found = loaded(document_1_5(truth, seed))
    path = RunAnalysis(subject_of_scenario(found, workers=found.recorded_workers).timeline).critical_path
    assert path.nanoseconds == round(truth.critical_path_seconds * 1e9)


def test_both_versions_of_one_workflow_have_the_same_makespan() -> None:
    truth = known(7, tasks=30)
    made = [loaded(write(truth, 3)) for write in WRITERS.values()]
    makespans = {subject_of_scenario(one, workers=4).timeline.makespan_seconds for one in made}
    assert len(makespans) == 1


def test_a_specification_without_an_execution_takes_no_time_and_says_so() -> None:
    document = document_1_5(known(3))
    del document["workflow"]["execution"]
    found = loaded(document)
    assert found.recorded_workers is None
    assert [finding.code for finding in found.findings if finding.severity == "warning"] == ["missing-runtime"]


def test_a_machine_that_does_not_say_its_cores_is_a_warning() -> None:
    document = document_1_5(known(3))
    del document["workflow"]["execution"]["machines"][0]["cpu"]
    assert "missing-cores" in {finding.code for finding in loaded(document).findings}


@pytest.mark.parametrize(
    "data",
    [{"steps": []}, {"workflow": "name"}, {"workflow": {"steps": []}}, {"workflow": {}, "steps": []}, {}],
)
def test_other_files_are_not_taken_for_wfformat(data: Document) -> None:
    assert not is_wfformat(data)


# Bad documents


def task(document: Document, place: int = 0) -> Document:
    found: Document = document["workflow"]["specification"]["tasks"][place]
    return found


def execution(document: Document) -> Document:
    found: Document = document["workflow"]["execution"]
    return found


def in_a_circle(document: Document) -> None:
    first, second = (task(document, place) for place in (0, 1))
    first["parents"], second["parents"] = [second["id"]], [first["id"]]


BAD: dict[str, tuple[Callable[[Document], Any], str, str]] = {
    "another version": (lambda it: it.update(schemaVersion="1.3"), "unknown-version", "schemaVersion"),
    "a version of the future": (lambda it: it.update(schemaVersion="2.0"), "unknown-version", "schemaVersion"),
    "no version": (lambda it: it.pop("schemaVersion"), "missing-field", "schemaVersion"),
    "no name": (lambda it: it.pop("name"), "missing-field", "name"),
    "no specification": (lambda it: it["workflow"].pop("specification"), "missing-field", "workflow.specification"),
    "no tasks": (
        lambda it: it["workflow"]["specification"].update(tasks=[]), "wrong-type", "workflow.specification.tasks",
    ),
    "a task that is a text": (
        lambda it: it["workflow"]["specification"]["tasks"].insert(1, "b"),
        "wrong-type", "workflow.specification.tasks[1]",
    ),
    "a task without parents": (
        lambda it: task(it, 1).pop("parents"), "missing-field", "workflow.specification.tasks[1].parents",
    ),
    "a parent that is not there": (
        lambda it: task(it, 2).update(parents=["nobody"]), "unknown-task", "workflow.specification.tasks[2].parents[0]",
    ),
    "a child that is not there": (
        lambda it: task(it, 2).update(children=["x"]), "unknown-task", "workflow.specification.tasks[2].children[0]",
    ),
    "a task twice": (
        lambda it: task(it, 1).update(id=task(it, 0)["id"]), "duplicate-task", "workflow.specification.tasks[1]",
    ),
    "a circle": (in_a_circle, "cycle", "workflow.specification.tasks"),
    "a machine that is not there": (
        lambda it: execution(it)["tasks"][1].update(machines=["worker-x"]),
        "unknown-machine", "workflow.execution.tasks[1].machines[0]",
    ),
    "no machines at all": (
        lambda it: execution(it).pop("machines"), "unknown-machine", "workflow.execution.tasks[0].machines[0]",
    ),
    "an executed task that is not there": (
        lambda it: execution(it)["tasks"][0].update(id="ghost"), "unknown-task", "workflow.execution.tasks[0].id",
    ),
    "a negative run time": (
        lambda it: execution(it)["tasks"][0].update(runtimeInSeconds=-1),
        "wrong-type", "workflow.execution.tasks[0].runtimeInSeconds",
    ),
    "a run time in words": (
        lambda it: execution(it)["tasks"][0].update(runtimeInSeconds="3 s"),
        "wrong-type", "workflow.execution.tasks[0].runtimeInSeconds",
    ),
    "half a core": (
        lambda it: execution(it)["tasks"][0].update(coreCount=0.5),
        "wrong-type", "workflow.execution.tasks[0].coreCount",
    ),
    "more cores than the largest machine has": (
        lambda it: execution(it)["tasks"][0].update(coreCount=100), "too-few-cores", "workflow.specification.tasks",
    ),
    "a machine twice": (
        lambda it: execution(it)["machines"].append(execution(it)["machines"][0]),
        "duplicate-machine", "workflow.execution.machines",
    ),
    "a task executed twice": (
        lambda it: execution(it)["tasks"].append(execution(it)["tasks"][0]), "duplicate-task", "workflow.execution",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_document_is_a_finding_with_its_place(fault: str) -> None:
    change, code, place = BAD[fault]
    document = document_1_5(known(11))
    assert len(document["workflow"]["specification"]["tasks"]) > 3
    change(document)
    first = findings(document)[0]
    assert (first.code, first.field[: len(place)]) == (code, place)
    assert first.line is not None
    assert first.line > (0 if code in {"missing-field", "unknown-version"} else 1)
    assert first.fix


def test_a_name_that_means_two_tasks_is_refused_in_1_4() -> None:
    document = document_1_4(known(11), seed=0)
    tasks = document["workflow"]["tasks"]
    for each in tasks:
        each["parents"] = []
    tasks[0]["name"] = tasks[1]["name"] = "same"
    assert {step.step_id for step in loaded(document).graph.steps} >= {tasks[0]["id"], tasks[1]["id"]}
    tasks[2]["parents"] = ["same"]
    (finding,) = findings(document)
    assert (finding.code, finding.field) == ("ambiguous-task", "workflow.tasks[2].parents[0]")


def test_a_file_whose_every_task_is_wrong_is_told_in_some_findings() -> None:
    document = document_1_5(known(11))
    execution(document)["tasks"] = [{"id": f"ghost{number}", "runtimeInSeconds": 1} for number in range(1000)]
    assert [finding.code for finding in findings(document)][-2:] == ["unknown-task", "more-faults"]


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_changed_in_a_document_it_is_read_or_its_faults_are_named(seed: int, version: str) -> None:
    draw = random.Random(seed)
    document = WRITERS[version](known(seed % 9, tasks=5), seed)
    form = import_wfformat(mutated(document, draw))
    for finding in form.findings:
        assert finding.path
        assert finding.message
    refused: list[Finding] = []
    try:
        loaded(mutated(document, random.Random(seed)))
    except WorkflowError as error:
        refused = error.findings
    assert all(finding.file == "made.json" and finding.line for finding in refused)


def mutated(document: Document, draw: random.Random) -> Document:
    """A copy with one value somewhere in it replaced, left out, or doubled."""
    made = copy.deepcopy(document)
    here: Any = made
    while True:
        keys = list(here) if isinstance(here, dict) else range(len(here))
        key = draw.choice(list(keys))
        if isinstance(here[key], dict | list) and here[key] and draw.random() < 0.8:
            here = here[key]
            continue
        if draw.random() < 0.3:
            del here[key]
        elif isinstance(here, list) and draw.random() < 0.3:
            here.append(here[key])
        else:
            here[key] = draw.choice([None, -1, 0.5, 10**400, "", "x", [], {}, [1], {"a": 1}, True, "\u202e"])
        return made


# The commands


def test_simulate_takes_the_recorded_machines_and_exits_with_2_for_a_circle(folder: Path) -> None:
    truth = known(7, tasks=30)
    document = document_1_5(truth)
    (folder / "made.json").write_text(json.dumps(document), encoding="utf-8")
    done = called("simulate", "made.json")
    assert done.exit_code == 0
    assert f"({sum(truth.machines.values())} workers, policy dataflow)" in done.stdout
    in_a_circle(document)
    (folder / "made.json").write_text(json.dumps(document), encoding="utf-8")
    refused = called("simulate", "made.json")
    assert refused.exit_code == 2
    assert "error[cycle] made.json:1, " in refused.stderr


@pytest.mark.parametrize("command", [("plan",), ("run", "-e", "virtual", "--no-store")])
def test_plan_and_run_take_a_document(folder: Path, command: tuple[str, ...]) -> None:
    (folder / "made.json").write_text(json.dumps(document_1_4(known(5))), encoding="utf-8")
    done = called(*command, "made.json")
    assert done.exit_code == 0, done.stderr
    assert "made" in done.stdout


def test_a_document_is_measured_like_any_scenario(folder: Path) -> None:
    (folder / "made.json").write_text(json.dumps(document_1_5(known(5))), encoding="utf-8")
    arguments = ("-e", "virtual", "-n", "1", "--warmup", "0", "--no-store", "--parameter", "scale=1,2")
    done = called("bench", "made.json", *arguments)
    assert done.exit_code == 0, done.stderr


def test_names_are_suggested_for_the_findings_that_are_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
        asked.append(name)
        return otherwise

    monkeypatch.setattr("harness.scenario.imported_form.did_you_mean", nearest)
    document = document_1_5(known(3))
    tasks = [
        {"name": f"t{number}", "id": f"t{number}", "parents": [f"x{number}"], "children": []} for number in range(200)
    ]
    document["workflow"]["specification"]["tasks"] = tasks
    document["workflow"]["execution"]["tasks"] = [{"id": task["id"], "runtimeInSeconds": 1} for task in tasks]
    form = import_wfformat(document)
    assert (len(asked), len(form.findings)) == (FINDINGS_SHOWN, FINDINGS_SHOWN + 1)

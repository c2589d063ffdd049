"""The policy ``best`` of runs and benchmarks: the order is found before the run, from what is known of durations."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.report.terminal.order_text import order_lines
from harness.result import run_schema
from harness.scenario.scenario_file import load
from harness.scenario.scenario_model import Loaded
from harness.simulation import BestOrder, best_order, subject_of_scenario
from harness.store.learned_durations import learned_seconds
from harness.store.run_store import Store
from tests.integration.calling import called, folder
from tests.unit.test_best_priorities import GAINS

__all__ = ["folder"]

SECONDS = {step["step_id"]: float(step["expected_seconds"]) for step in GAINS}
# The same steps, whose duration neither they nor their tool say.
UNKNOWN: list[dict[str, Any]] = [
    {key: value for key, value in step.items() if key != "expected_seconds"} | {"tool": "llm", "prompt": "Say it"}
    for step in GAINS
]
ON_TWO = ("--executor", "virtual", "--workers", "2")


def scenario(steps: list[dict[str, Any]] = GAINS, name: str = "made.yaml", **more: Any) -> Loaded:
    Path(name).write_text(yaml.safe_dump({"scenario": "made", "steps": steps, **more}), encoding="utf-8")
    return load(name)


def said(order: BestOrder) -> str:
    return "\n".join(line.text for line in order_lines(order))


def results(*arguments: str) -> list[dict[str, Any]]:
    done = called(*arguments, "--no-store", "--json", "-")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, run_schema(), cls=jsonschema.Draft202012Validator)
    return list(document["results"])


@pytest.mark.usefixtures("folder")
def test_a_run_under_best_takes_the_shortest_order_and_says_why() -> None:
    scenario()
    done = called("run", "made.yaml", *ON_TWO, "--policy", "best", "--no-store")
    assert (
        "Order of starts: latest finish, 5 s on 2 workers of the virtual clock against 6 s; the best of 9"
        in done.stdout
    )
    assert "durations: 4 stated" in done.stdout
    assert "2 workers, policy best" in done.stdout
    (found,) = results("run", "made.yaml", *ON_TWO, "--policy", "best")
    assert (found["policy"], found["makespan_seconds"]["median"]) == ("best", 5.0)
    assert (found["order"]["rule"], found["order"]["makespans_seconds"]["dataflow"]) == ("latest finish", 6.0)
    assert found["order"]["durations"] == {"stated": 4, "tool": 0, "learned": 0, "assumed": 0}
    stated = {step["step_id"]: step["stated"].get("priority", 0) for step in found["steps"]}
    assert max(stated, key=lambda step_id: stated[step_id]) == "first"


@pytest.mark.usefixtures("folder")
def test_other_policies_have_no_order_in_their_document() -> None:
    scenario()
    (found,) = results("run", "made.yaml", *ON_TWO)
    assert "order" not in found


@pytest.mark.usefixtures("folder")
def test_a_benchmark_has_best_as_a_policy_beside_the_others() -> None:
    scenario()
    found = results("bench", "made.yaml", *ON_TWO, "--policy", "dataflow,best", "-n", "1")
    makespans = {(one["workers"], one["policy"]): one["makespan_seconds"]["median"] for one in found}
    assert makespans == {(1, "dataflow"): 10.0, (2, "dataflow"): 6.0, (2, "best"): 5.0}
    assert [one.get("order", {}).get("rule") for one in found] == [None, None, "latest finish"]


@pytest.mark.usefixtures("folder")
def test_the_configuration_and_the_scenario_may_ask_for_best() -> None:
    scenario(benchmark={"executors": ["virtual"], "workers": [2], "policies": ["best"], "repetitions": 1})
    assert {one["policy"] for one in results("bench", "made.yaml")} == {"dataflow", "best"}
    Path("config.yaml").write_text("policy: best\n", encoding="utf-8")
    assert results("run", "made.yaml", *ON_TWO)[0]["policy"] == "best"
    assert called("simulate", "made.yaml").exit_code == 0


@pytest.mark.usefixtures("folder")
def test_where_nothing_is_known_of_durations_the_order_is_that_of_dataflow() -> None:
    order = best_order(scenario(UNKNOWN), workers=2)
    assert (order.rule, order.found, dict(order.known)) == (
        "dataflow", None, {"stated": 0, "tool": 0, "learned": 0, "assumed": 4},
    )  # fmt: skip
    assert "that of dataflow, since nothing is known of how long the steps run" in said(order)
    (found,) = results("run", "made.yaml", *ON_TWO, "--policy", "best")
    assert (found["order"]["rule"], found["order"]["makespans_seconds"]) == ("dataflow", {})


@pytest.mark.usefixtures("folder")
def test_what_earlier_runs_took_counts_for_steps_that_state_nothing() -> None:
    order = best_order(scenario(UNKNOWN), workers=2, learned=lambda _: SECONDS)
    assert (order.rule, order.known["learned"]) == ("latest finish", 4)
    assert order.found is not None
    assert order.found.makespans_seconds["dataflow"] == 6.0
    assert "durations: 4 learned from earlier runs" in said(order)


@pytest.mark.usefixtures("folder")
def test_earlier_runs_are_not_asked_where_every_duration_is_known() -> None:
    def asked(_: Loaded) -> dict[str, float]:
        raise AssertionError("the history was read")

    sleeps = [{"step_id": step_id, "tool": "sleep", "args": {"seconds": took}} for step_id, took in SECONDS.items()]
    order = best_order(scenario(sleeps), workers=2, learned=asked)
    assert dict(order.known) == {"stated": 0, "tool": 4, "learned": 0, "assumed": 0}


@pytest.mark.usefixtures("folder")
def test_the_items_of_a_mapped_step_are_as_long_as_its_items_were() -> None:
    mapped = {"step_id": "each", "tool": "llm", "prompt": "{{ item }}", "for_each": [1, 2, 3]}
    order = best_order(scenario([mapped]), workers=1, learned=lambda _: {"each": 2.0})
    assert order.known["learned"] == 1
    assert order.found is not None
    assert order.found.makespans_seconds["dataflow"] == 6.0


@pytest.mark.usefixtures("folder")
def test_learned_seconds_count_as_they_are_whatever_the_scale() -> None:
    order = best_order(scenario(UNKNOWN, scale=0.1), workers=2, learned=lambda _: SECONDS)
    assert order.found is not None
    assert order.found.makespans_seconds["dataflow"] == 6.0


@pytest.mark.usefixtures("folder")
def test_what_is_too_large_to_be_tried_runs_in_the_order_of_dataflow() -> None:
    order = best_order(scenario(), workers=2, most_steps=3)
    assert (order.rule, order.found) == ("dataflow", None)
    assert "that of dataflow, since with more than 3 steps none is tried" in said(order)


@pytest.mark.usefixtures("folder")
def test_the_order_that_is_stated_gives_the_makespan_that_was_found() -> None:
    loaded = scenario()
    loaded.graph = best_order(loaded, workers=2).applied(loaded.graph)
    assert subject_of_scenario(loaded, workers=2).timeline.makespan_seconds == 5.0


def measured(step_seconds: dict[str, float], run_id: str) -> dict[str, Any]:
    """The document of a run that took so long, made from a real one."""
    document = json.loads(called("run", "made.yaml", "--no-store", "--json", "-", "--quiet").stdout)
    document["run_id"] = run_id
    for step in document["results"][0]["steps"]:
        for attempt in step["attempts"]:
            attempt["ended"] = attempt["started"] + step_seconds[step["step_id"]]
    return dict(document)


@pytest.mark.usefixtures("folder")
def test_the_history_has_the_median_of_what_the_newest_runs_took() -> None:
    noops = [{"step_id": step_id, "tool": "noop"} for step_id in SECONDS]
    scenario(noops)
    runs = [measured({name: factor * took for name, took in SECONDS.items()}, f"{factor}" * 32) for factor in (1, 2, 9)]
    simulated, other = deepcopy(runs[0]), deepcopy(runs[0])
    simulated["environment"]["simulated"], simulated["run_id"] = True, "a" * 32
    other["results"][0]["parameters"], other["run_id"] = {"n": 4}, "b" * 32
    with Store.open("runs.sqlite") as store:
        for document in (*runs, simulated, other):
            store.save(document)
        found = learned_seconds(store, "made", {}, steps=4)
        assert found == pytest.approx({name: 2 * took for name, took in SECONDS.items()})
        assert learned_seconds(store, "made", {}, steps=4, before="2" * 32) == pytest.approx(SECONDS)
        assert learned_seconds(store, "made", {"n": 5}, steps=4) == {}


@pytest.mark.usefixtures("folder")
def test_a_run_learns_from_the_store() -> None:
    noops = [{"step_id": step_id, "tool": "noop"} for step_id in SECONDS]
    scenario(noops)
    with Store.open("runs.sqlite") as store:
        store.save(measured(SECONDS, "1" * 32))
    scenario(UNKNOWN)
    done = called("run", "made.yaml", *ON_TWO, "--policy", "best", "--store", "runs.sqlite")
    assert "latest finish, 5 s on 2 workers of the virtual clock against 6 s" in done.stdout
    assert "durations: 4 learned from earlier runs" in done.stdout


@pytest.mark.usefixtures("folder")
def test_the_items_of_a_run_in_the_store_give_their_time_to_their_step() -> None:
    scenario(
        [
            {"step_id": "each", "tool": "sleep", "for_each": [0.01, 0.03, 0.02], "args": {"seconds": "{{ item }}"}},
            {"step_id": "last", "tool": "noop", "depends_on": ["each"]},
        ]
    )
    assert called("run", "made.yaml", "--store", "runs.sqlite").exit_code == 0
    with Store.open("runs.sqlite") as store:
        seconds = learned_seconds(store, "made", {}, steps=2)
    assert set(seconds) == {"each", "last"}
    assert seconds["each"] >= 0.02

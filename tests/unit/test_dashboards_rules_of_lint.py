"""What is wrong with a dashboard is found: each rule of the linter, the model, and queries edited by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Any

import pytest

from development.dashboards.generation import generated
from harness.dashboards.validation.dashboard_checks import static_faults
from tests.integration.damaged_files import damaged_fields

GOOD = generated("own")["one-run"]
Dashboard = dict[str, Any]
CURVES = 8  # a panel with curves and a legend; 0 is the row above all


def panel(dashboard: Dashboard, place: int = CURVES) -> dict[str, Any]:
    found: dict[str, Any] = dashboard["panels"][place]
    return found


def defaults(dashboard: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = panel(dashboard)["fieldConfig"]["defaults"]
    return found


def without_variable(dashboard: Dashboard, name: str) -> None:
    listed = dashboard["templating"]["list"]
    dashboard["templating"]["list"] = [one for one in listed if one["name"] != name]


def target(dashboard: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = panel(dashboard)["targets"][0]
    return found


FAULTS: dict[str, tuple[Callable[[Dashboard], Any], str]] = {
    "a title that is no question": (lambda d: panel(d).update(title="Concurrency"), "its title is no question"),
    "no description": (lambda d: panel(d).update(description=" "), "it has no description"),
    "no unit": (lambda d: defaults(d).pop("unit"), "it has no unit"),
    "a fixed data source": (lambda d: panel(d)["datasource"].update(uid="abc"), "it asks a fixed data source"),
    "a query of a fixed one": (lambda d: target(d)["datasource"].update(uid="abc"), "it asks a fixed data source"),
    "no legend": (lambda d: panel(d)["options"]["legend"].update(showLegend=False), "it shows no legend"),
    "series without a name": (lambda d: target(d).pop("legendFormat"), "names its series by all their labels"),
    "no query": (lambda d: panel(d).update(targets=[]), "it asks nothing"),
    "an empty query": (lambda d: target(d).update(expr=" "), "query A is empty"),
    "one letter twice": (lambda d: panel(d)["targets"][1].update(refId="A"), "2 queries have the refId A"),
    "one id twice": (lambda d: panel(d).update(id=1), "2 panels have the id 1"),
    "no id": (lambda d: panel(d).pop("id"), "1 of its panels have no id"),
    "no place": (lambda d: panel(d).pop("gridPos"), "has no place"),
    "an overlap": (lambda d: panel(d)["gridPos"].update(x=1), "overlap: move one"),
    "beyond the page": (lambda d: panel(d)["gridPos"].update(x=20, y=90), "reaches beyond the 24 columns"),
    "no variable for the source": (lambda d: without_variable(d, "datasource"), "no variable `datasource`"),
    "no variable for a label": (lambda d: without_variable(d, "policy"), "no variable `policy`"),
    "a variable of a fixed source": (
        lambda d: d["templating"]["list"][2]["datasource"].update(uid="abc"), "the variable `scenario` asks a fixed",
    ),
    "no uid": (lambda d: d.update(uid=""), "it has no uid"),
    "thresholds out of order": (
        lambda d: defaults(d).update(thresholds={"mode": "absolute", "steps": [
            {"value": None, "color": "green"}, {"value": 2, "color": "red"}, {"value": 1, "color": "red"}]}),
        "its thresholds are not in order",
    ),
    "a first threshold with a value": (
        lambda d: defaults(d).update(thresholds={"mode": "absolute", "steps": [{"value": 1, "color": "red"}]}),
        "the first threshold, and it alone, has no value",
    ),
    "a misspelt field": (lambda d: panel(d).update(desciption="x"), "knows no `panels[8].desciption`"),
    "a setting that is none": (lambda d: defaults(d).update(decimal=1), "no `panels[8].fieldConfig.defaults.decimal`"),
    "a shape that is none": (lambda d: d.update(panels=3), "does not fit Grafana's model"),
    "a renamed metric": (
        lambda d: target(d).update(expr=target(d)["expr"].replace("steps_running", "steps_runing")),
        "there is no metric makespan_steps_runing: did you mean 'makespan_steps_running'?",
    ),
    "broken promql": (lambda d: target(d).update(expr="sum by (makespan_workers"), "it is no PromQL"),
    "a variable's metric renamed": (
        lambda d: d["templating"]["list"][2].update(query="label_values(makespan_run_makespan, scenario)"),
        "there is no metric makespan_run_makespan",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_dashboard_is_told_to_have(name: str) -> None:
    spoil, message = FAULTS[name]
    spoiled = copy.deepcopy(GOOD)
    spoil(spoiled)
    assert any(message in str(fault) for fault in static_faults({"one-run.json": spoiled}))


def test_a_good_dashboard_is_told_nothing() -> None:
    assert static_faults({"one-run.json": copy.deepcopy(GOOD)}) == []


def test_a_fault_names_the_file_and_the_panel() -> None:
    spoiled = copy.deepcopy(GOOD)
    panel(spoiled).update(description="")
    (fault,) = static_faults({"one-run.json": spoiled})
    assert fault.where == f"one-run.json, panel 9 {panel(GOOD)['title']!r}"


@pytest.mark.parametrize("name", sorted(generated("own")))
def test_a_field_of_a_kind_that_it_cannot_have_is_no_end_of_the_checks(name: str) -> None:
    random = Random(name)
    good = generated("own")[name]
    for damage, _, damaged in islice(damaged_fields(good, random), 60):
        try:
            static_faults({name: damaged})
        except Exception as error:
            raise AssertionError(damage) from error
    for damage, change in NO_KINDS.items():
        damaged = copy.deepcopy(GOOD)
        change(damaged)
        assert static_faults({"one-run": damaged}), damage


NO_KINDS: dict[str, Callable[[Dashboard], Any]] = {
    "a list as a kind of panel": lambda d: panel(d).update(type=[{}]),
    "a list as an id": lambda d: panel(d).update(id=[]),
    "a number as panels of a row": lambda d: panel(d, 0).update(panels=True, id=None),
    "a list as a threshold": lambda d: defaults(d).update(thresholds={"steps": [{"value": None}, {"value": []}]}),
    "thresholds without a mapping": lambda d: defaults(d).update(thresholds={"steps": [1]}),
}

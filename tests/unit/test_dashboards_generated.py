"""The dashboards as they are made and committed: what is in them, and that the files are what the code makes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from development.dashboards.generation import all_files, generated
from development.dashboards.links import UIDS
from development.dashboards.panels import DATA_SOURCE
from harness.dashboards.grafana.dashboard_files import (
    annotations_of,
    panels_of,
    queries_of,
    read_dashboards,
    variables_of,
)
from harness.dashboards.grafana.grafana_model import model_faults
from harness.dashboards.grafana.profiles import DIALECTS
from harness.dashboards.grafana.provisioning import PROMETHEUS_UID, TRACES_UID
from harness.dashboards.validation.dashboard_checks import static_faults
from harness.dashboards.validation.lint import lint_faults
from harness.dashboards.validation.promql import metric_names, unknown_metrics
from harness.dashboards.validation.substitution import filled, time_words
from harness.telemetry.metrics.metric_table import CELL_LABELS
from harness.telemetry.prometheus.server_flags import prometheus_arguments

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "dashboards"
MADE = {profile: generated(profile) for profile in DIALECTS}
WORDS = {**dict.fromkeys(CELL_LABELS, ".*"), **time_words(0, 60, 1, 1)}


def expressions(profile: str, name: str) -> list[str]:
    return [filled(query.expression, WORDS) for query in queries_of(MADE[profile][name])]


@pytest.mark.parametrize("name", all_files())
def test_each_committed_file_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == all_files()[name], "run `make dashboards`"


def test_no_dashboard_lies_there_that_the_code_does_not_make() -> None:
    made = {name for name in all_files() if name.endswith(".json")}
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.json")} == made


@pytest.mark.parametrize("profile", DIALECTS)
@pytest.mark.parametrize("name", UIDS)
def test_each_dashboard_fits_grafanas_model_and_the_linter(profile: str, name: str) -> None:
    assert model_faults(MADE[profile][name], name) == []
    assert lint_faults(MADE[profile][name], name) == []


@pytest.mark.parametrize("profile", DIALECTS)
def test_every_query_is_promql_and_asks_for_metrics_of_the_table(profile: str) -> None:
    assert static_faults(MADE[profile]) == []
    for name in UIDS:
        for expression in expressions(profile, name):
            assert metric_names(expression)
            assert unknown_metrics(expression) == []


@pytest.mark.parametrize("profile", DIALECTS)
def test_no_total_of_a_run_is_extrapolated(profile: str) -> None:
    for name in UIDS:
        for expression in expressions(profile, name):
            assert not re.search(r"\b(increase|rate|irate|delta)\(", expression)


def test_no_window_is_rounded_to_seconds_since_a_run_may_take_less() -> None:
    for dashboards in MADE.values():
        for dashboard in dashboards.values():
            assert not re.search(r"\$__range(?!_ms)", json.dumps([query.expression for query in queries_of(dashboard)]))


@pytest.mark.parametrize("profile", DIALECTS)
@pytest.mark.parametrize("name", UIDS)
def test_every_dashboard_offers_the_labels_of_a_cell_and_both_data_sources(profile: str, name: str) -> None:
    variables = {one["name"]: one for one in variables_of(MADE[profile][name])}
    assert set(variables) == {"datasource", "traces", *CELL_LABELS}
    assert {variables[label]["multi"] for label in CELL_LABELS} == {name != "one-run"}


def test_each_question_is_asked_once_in_a_dashboard() -> None:
    for dashboard in MADE["own"].values():
        titles = [panel["title"] for panel in panels_of(dashboard)]
        assert len(set(titles)) == len(titles)


def test_exemplars_are_asked_of_ones_own_server_alone() -> None:
    asked = {
        profile: [query for one in dashboards.values() for query in queries_of(one) if query.target["exemplar"]]
        for profile, dashboards in MADE.items()
    }
    assert [query.panel["type"] for query in asked["own"]] == ["heatmap"]
    assert asked["shared"] == []


def test_one_run_matches_each_label_exactly_since_one_value_is_chosen() -> None:
    for profile in DIALECTS:
        for query in queries_of(MADE[profile]["one-run"]):
            assert '=~"$' not in query.expression
            assert 'scenario="$scenario"' in query.expression


@pytest.mark.parametrize("profile", DIALECTS)
@pytest.mark.parametrize("name", ["one-run", "trends"])
def test_a_table_of_runs_opens_their_traces_without_exemplars(profile: str, name: str) -> None:
    (table,) = [panel for panel in panels_of(MADE[profile][name]) if "makespan_run_info" in str(panel["targets"])]
    links = [
        link
        for override in table["fieldConfig"]["overrides"] if override["matcher"]["options"] == "trace_id"
        for one in override["properties"] for link in one["value"]
    ]  # fmt: skip
    assert [link["title"] for link in links] == ["Open the trace"]
    assert "${traces}" in links[0]["url"]
    assert "${__value.raw}" in links[0]["url"]


def test_an_exemplar_opens_its_trace_through_the_provisioned_data_source() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/makespan.yaml").read_text("utf-8"))["datasources"]
    prometheus, traces = sources
    assert prometheus["uid"] == PROMETHEUS_UID
    assert prometheus["jsonData"]["exemplarTraceIdDestinations"] == [
        {"name": "trace_id", "datasourceUid": TRACES_UID}
    ]  # fmt: skip
    assert traces["uid"] == TRACES_UID


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    return found


def test_the_compose_file_opens_ports_on_loopback_alone() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_compose_file_starts_prometheus_with_the_documented_flags() -> None:
    def flags(arguments: list[str]) -> set[str]:
        moved = ("--config.file", "--storage.tsdb.path", "--web.listen-address")
        return {one for one in arguments if not one.startswith(moved)}

    command = compose()["services"]["prometheus"]["command"]
    assert flags(command) == flags(prometheus_arguments("prometheus.yml", "data"))


def test_the_compose_file_mounts_what_is_there() -> None:
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            place = volume.split(":")[0]
            assert not place.startswith("./") or (FOLDER / place).is_dir(), place


def test_the_dashboards_travel_in_the_wheel() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["dashboards"] == "harness/_data/dashboards"


def test_a_folder_without_dashboards_and_a_file_that_is_none_are_told(tmp_path: Path) -> None:
    assert "there is no dashboard" in str(read_dashboards(tmp_path)[1][0])
    (tmp_path / "broken.json").write_text("{", "utf-8")
    (tmp_path / "list.json").write_text("[]", "utf-8")
    messages = [fault.what for fault in read_dashboards(tmp_path)[1]]
    assert messages[0].startswith("it cannot be read: ")
    assert messages[1] == "it is no dashboard: not an object"


def test_the_json_is_the_same_each_time_it_is_made() -> None:
    assert json.dumps(generated("own")) == json.dumps(MADE["own"])
    assert DATA_SOURCE.uid == "${datasource}"


def _luminance(colour: str) -> float:
    """Of a colour such as ``#3f8a5f``, after WCAG 2.2."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#181b1f"])
def test_every_fixed_colour_stands_out_from_grafanas_light_and_dark_ground(ground: str) -> None:
    found = set(re.findall(r'"(?:fixedColor|iconColor)": "(#\w{6})"', "".join(all_files().values())))
    assert len(found) > 8
    assert {colour for colour in found if _contrast(colour, ground) < 3} == set()


@pytest.mark.parametrize("profile", DIALECTS)
def test_what_a_curve_is_judged_by_is_a_named_dashed_curve(profile: str) -> None:
    panels = {panel["title"]: panel for panel in panels_of(MADE[profile]["trends"])}
    for title, names in (
        ("Did the schedule get worse?", ["good from 90 %", "poor below 70 %"]),
        ("Does running side by side still buy as much?", ["as fast as serial"]),
    ):
        panel = panels[title]
        assert [target["legendFormat"] for target in panel["targets"]][1:] == names
        dashed = {
            one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]
            if any(each["id"] == "custom.lineStyle" for each in one["properties"])
        }  # fmt: skip
        assert dashed == set(names)


@pytest.mark.parametrize("profile", DIALECTS)
def test_revisions_are_short_wherever_they_are_shown(profile: str) -> None:
    shown = [(name, text) for name in UIDS for text in expressions(profile, name) if "makespan_run_info" in text]
    marks = [str(mark["expr"]) for mark in annotations_of(MADE[profile]["trends"])]
    assert {name for name, _ in shown} == {"one-run", "trends"}
    for text in (*(text for _, text in shown), *marks):
        assert text.startswith("label_replace(")
        assert text.endswith(', "revision", "$1", "revision", "(.{10}).*")')

"""Which run a number on a dashboard is from, where a server holds several runs of several scenarios."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from development.dashboards.generation import generated
from harness.dashboards.grafana.dashboard_files import panels_of
from tests.integration.dashboards_runs import pushed
from tests.integration.prometheus_server import PrometheusServer, running_prometheus
from tests.integration.runs_of_scenarios import TWO_SCENARIOS, Planned, documents, end_of

# Each asks a real server.
pytestmark = pytest.mark.slow

NEWEST = {one.scenario: one for one in TWO_SCENARIOS if one.compared}
# Its scenario had a limit that the newest run's has not.
OLDER = "orders-2"
WEEK_MILLISECONDS = 7 * 86_400_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        pushed(running.url, [_waiting_for_a_limit(one) if one["run_id"] == OLDER else one for one in documents()])
        yield running


def _waiting_for_a_limit(document: dict[str, Any]) -> dict[str, Any]:
    for result in document["results"]:
        lost = result["lost_seconds"]
        lost["resource.api"] = lost["running"] / 2
        lost["running"] -= lost["resource.api"]
        result["resources"] = {"api": {"capacity": 1}}
    return document


def asked(server: PrometheusServer, panel: dict[str, Any], place: int = 0) -> list[dict[str, Any]]:
    """What a panel's query answers where everything is chosen."""
    query = panel["targets"][place]["expr"].replace("${__range_ms}", str(WEEK_MILLISECONDS))
    for label in ("scenario", "executor", "workers", "policy", "variant"):
        query = query.replace(f"${label}", ".*")
    return server.query(query, at=max(map(end_of, TWO_SCENARIOS)) + 1)


def panel(question: str) -> dict[str, Any]:
    (found,) = [one for one in panels_of(generated("own")["executors-compared"]) if one["title"] == question]
    return dict(found)


def place(labels: dict[str, str]) -> tuple[str, str, str]:
    return labels["scenario"], labels["executor"], labels["workers"]


def cells(plan: Planned) -> set[tuple[str, str, str]]:
    return {(plan.scenario, "serial", "1"), (plan.scenario, "threads", str(plan.workers))}


def test_the_largest_speedup_is_one_of_the_newest_benchmarks(server: PrometheusServer) -> None:
    (best,) = asked(server, panel("What is the largest speedup?"))
    wanted = max(NEWEST.values(), key=lambda one: one.speedup)
    assert (best["metric"]["scenario"], float(best["value"][1])) == (wanted.scenario, wanted.speedup)


@pytest.mark.parametrize(
    "question", ["How much faster is each executor than one step at a time?", "How much of each worker is used?"]
)
def test_a_curve_holds_the_workers_of_one_run(server: PrometheusServer, question: str) -> None:
    found = {place(one["metric"]) for one in asked(server, panel(question)) if "scenario" in one["metric"]}
    assert found == set().union(*map(cells, NEWEST.values()))


def test_the_table_states_no_cell_twice_and_none_of_another_day(server: PrometheusServer) -> None:
    table = panel("What are the figures of each cell?")
    speedups = {place(one["metric"]): float(one["value"][1]) for one in asked(server, table, 2)}
    assert speedups == {
        ("orders", "serial", "1"): 1.0, ("orders", "threads", "4"): NEWEST["orders"].speedup,
        ("letters", "serial", "1"): 1.0, ("letters", "threads", "8"): NEWEST["letters"].speedup,
    }  # fmt: skip


def test_a_cell_that_ran_by_itself_since_is_not_put_beside_older_ones(server: PrometheusServer) -> None:
    table = panel("What are the figures of each cell?")
    makespans = {place(one["metric"]) for one in asked(server, table)}
    assert makespans == cells(NEWEST["orders"]) | {("letters", "serial", "1")}


def test_the_causes_of_lost_time_are_those_of_the_newest_run_and_sum_to_its_makespan(server: PrometheusServer) -> None:
    assert server.query('makespan_run_lost_seconds{cause="resource.api"}[7d]', at=max(map(end_of, TWO_SCENARIOS)) + 1)
    lost: Counter[tuple[str, str, str]] = Counter()
    for one in asked(server, panel("Where does the time go?")):
        assert one["metric"]["cause"] != "resource.api"
        lost[place(one["metric"])] += float(one["value"][1])
    bounds = asked(server, panel("How far is each makespan from its lower bound?"))
    makespans = {place(one["metric"]): float(one["value"][1]) for one in bounds if one["metric"]["what"] == "makespan"}
    assert lost == pytest.approx(makespans)

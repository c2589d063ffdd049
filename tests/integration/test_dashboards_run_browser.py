"""The preview of *One run* in a real browser, where a server holds several runs of several scenarios.

Each run is opened: its curves show that run, all of it and no other, and its figures are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from development.dashboards.generation import generated
from harness.dashboards.preview.preview_page import Preview
from tests.integration.browsing import browser
from tests.integration.dashboards_runs import pushed
from tests.integration.prometheus_server import PrometheusServer, running_prometheus
from tests.integration.runs_of_scenarios import TWO_SCENARIOS, Planned, documents, end_of

__all__ = ["browser"]

# A browser of Debian is needed, as for the report.
pytestmark = pytest.mark.slow

SHOWN = "body[data-state=shown]"
CONCURRENCY = "How many steps ran at each moment, and how many could have?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        pushed(running.url, list(documents()))
        yield running


@pytest.fixture
def page(server: PrometheusServer, browser: Browser) -> Iterator[Page]:
    with Preview(generated("own"), server.url, "own") as preview:
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, base_url=preview.url)
        yield context.new_page()
        context.close()


def shown(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(SHOWN, timeout=60_000)
    assert page.text_content("#message") == ""


def curve(page: Page, question: str, name: str) -> list[tuple[float, float]]:
    """The points of a curve: seconds since 1970, and the value."""
    drawn: list[dict[str, Any]] = page.locator(f"section[aria-label='{question}'] .js-plotly-plot").evaluate(
        "chart => chart.data.map(({ name, x, y }) => ({ name, x: x.map((one) => new Date(one).getTime()), y: [...y] }))"
    )
    (found,) = [one for one in drawn if one["name"] == name]
    return [(at / 1000, value) for at, value in zip(found["x"], found["y"], strict=True)]


def is_shown(page: Page, run: Planned) -> None:
    """That the page shows this run."""
    states = {one.get_attribute("data-state") for one in page.locator("section.panel").all()}
    assert states == {"drawn"}
    running = curve(page, CONCURRENCY, "running")
    end = end_of(run)
    assert max(value for _, value in running) == run.wide
    assert min(at for at, _ in running) >= end - run.seconds - 0.1
    assert max(at for at, _ in running) <= end + 0.1
    # As many points as a curve of some seconds can have a shape from.
    assert len(running) >= 20
    makespan = page.locator("section[aria-label='How long did it take?'] b").inner_text()
    assert float(makespan.removesuffix(" s")) == pytest.approx(run.seconds, abs=0.01)


def address_of(run: Planned) -> str:
    cell = f"var-scenario={run.scenario}&var-executor=threads&var-workers={run.workers}"
    return f"?dashboard=one-run&{cell}&run={run.run_id}"


def test_it_opens_on_the_newest_run_of_all(page: Page) -> None:
    shown(page, "?dashboard=one-run")
    is_shown(page, max(TWO_SCENARIOS, key=end_of))


@pytest.mark.parametrize("run", TWO_SCENARIOS, ids=lambda run: run.run_id)
def test_each_run_is_shown_with_its_own_curves_and_figures(page: Page, run: Planned) -> None:
    shown(page, address_of(run))
    is_shown(page, run)


def test_the_newest_run_of_a_scenario_is_shown_though_another_ran_since(page: Page) -> None:
    orders = max((one for one in TWO_SCENARIOS if one.scenario == "orders"), key=end_of)
    shown(page, f"?dashboard=one-run&var-scenario=orders&var-executor=threads&var-workers={orders.workers}")
    is_shown(page, orders)


def test_an_older_run_is_chosen_from_the_list(page: Page) -> None:
    (newest, older, *_) = sorted(
        (one for one in TWO_SCENARIOS if one.scenario == "letters" and one.workers == 8), key=end_of, reverse=True
    )
    shown(page, f"?dashboard=one-run&var-scenario=letters&var-executor=threads&var-workers={newest.workers}")
    page.select_option("select[name=run]", older.run_id)
    page.wait_for_url(f"**run={older.run_id}*")
    page.wait_for_selector(SHOWN)
    is_shown(page, older)


def test_a_run_in_the_table_of_runs_leads_to_that_run(page: Page) -> None:
    older = TWO_SCENARIOS[0]
    shown(page, "?dashboard=trends&last=30d")
    page.locator(f"section[aria-label='Which runs are these?'] td a:text-is('{older.run_id}')").last.click()
    page.wait_for_selector("nav a[aria-current]:has-text('One run')")
    page.wait_for_selector(SHOWN)
    assert f"run={older.run_id}" in page.url
    makespan = page.locator("section[aria-label='How long did it take?'] b").inner_text()
    assert float(makespan.removesuffix(" s")) in (older.seconds, older.seconds * older.wide)

"""The preview page in a real browser: every panel of every dashboard, drawn with data of real runs.

Debian's Chromium, driven by Playwright. Without Chromium these tests fail: what a test needs is in the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from development.dashboards.generation import generated
from development.dashboards.links import UIDS
from harness.dashboards.grafana.dashboard_files import panels_of
from harness.dashboards.preview.preview_page import Preview
from tests.integration.browsing import browser
from tests.integration.dashboards_runs import bench_folder, pushed, stored
from tests.integration.prometheus_server import PrometheusServer, running_prometheus
from tests.integration.test_report_browser import HOSTILE

__all__ = ["bench_folder", "browser"]

# A browser of Debian is needed, as for the report.
pytestmark = pytest.mark.slow

SHOWN = "body[data-state=shown]"


@pytest.fixture(scope="module")
def server(bench_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        documents = stored(bench_folder)
        # With a trace, so that there are exemplars and something to open.
        for document in documents:
            for number, result in enumerate(document["results"]):
                result["trace_id"] = f"{number + 1:032x}"
        pushed(running.url, documents)
        yield running


@pytest.fixture
def page(server: PrometheusServer, browser: Browser) -> Iterator[Page]:
    """A page of the preview of that server; at the end the browser has complained about nothing, and asked no other."""
    complaints: list[str] = []
    requests: list[str] = []
    with Preview(generated("own"), server.url, "own") as preview:
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, base_url=preview.url)
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda request: requests.append(request.url))
        yield opened
        assert complaints == []
        assert [url for url in requests if not url.startswith((preview.url, "data:", "blob:"))] == []
        context.close()


def shown(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(SHOWN, timeout=60_000)
    assert page.text_content("#message") == ""


def panels(page: Page) -> dict[str, tuple[str, int]]:
    """What became of each panel by its question, and how many values it drew."""
    return {
        str(one.get_attribute("aria-label")): (
            str(one.get_attribute("data-state")), int(one.get_attribute("data-values") or 0),
        )
        for one in page.locator("section.panel").all()
    }  # fmt: skip


@pytest.mark.parametrize("name", UIDS)
def test_every_panel_is_drawn_with_data_and_the_browser_complains_of_nothing(page: Page, name: str) -> None:
    shown(page, f"?dashboard={name}")
    found = panels(page)
    assert list(found) == [panel["title"] for panel in panels_of(generated("own")[name])]
    assert {title: state for title, (state, _) in found.items() if state != "drawn"} == {}
    assert all(values > 0 for _, values in found.values())
    # A chart is more than its axes, and lies within its panel.
    for chart in page.locator(".js-plotly-plot").all():
        assert chart.locator(".scatterlayer .trace, .barlayer .trace, .heatmaplayer image").count() > 0
        box, body = chart.bounding_box(), chart.locator("xpath=..").bounding_box()
        assert box is not None
        assert body is not None
        assert box["height"] > 60
        assert box["y"] + box["height"] <= body["y"] + body["height"] + 1


def test_the_page_says_that_it_is_a_preview(page: Page) -> None:
    shown(page, "?")
    assert str(page.text_content("header")).strip().startswith("Executors compared")
    assert "Preview" in str(page.text_content("header"))


def test_figures_are_those_of_the_json(page: Page, bench_folder: Path) -> None:
    *_, newest = stored(bench_folder)
    (result,) = [
        one for one in newest["results"]
        if (one["executor"], one["workers"], one["policy"], one["parameters"]) == ("threads", 2, "barrier", {"n": 2})
    ]  # fmt: skip
    cell = "var-executor=threads&var-workers=2&var-policy=barrier&var-variant=n%3D2"
    shown(page, f"?dashboard=one-run&{cell}")
    makespan = page.locator("section[aria-label='How long did it take?'] b").inner_text()
    milliseconds = result["makespan_seconds"]["median"] * 1000
    assert float(makespan.removesuffix(" ms")) == pytest.approx(milliseconds, abs=0.6)
    failed = page.locator("section[aria-label='Did attempts fail?'] b").inner_text()
    assert failed == "1"


def test_a_chosen_cell_stands_in_the_address_and_each_choice_offers_what_there_is(page: Page) -> None:
    shown(page, "?dashboard=one-run")
    assert page.input_value("select[name=var-executor]") == "threads"
    page.select_option("select[name=var-executor]", "serial")
    page.wait_for_selector(f"{SHOWN} select[name=var-workers] option[value='1']", state="attached")
    assert "var-executor=serial" in page.url
    offered = page.locator("select[name=var-workers] option").all_inner_texts()
    assert offered == ["1"]


def test_choosing_one_executor_leaves_the_others_out(page: Page) -> None:
    shown(page, "?dashboard=executors-compared")
    everything = panels(page)["What are the figures of each cell?"][1]
    page.select_option("select[name=var-executor]", "serial")
    page.wait_for_selector("section[aria-label='How many cells were measured?'] b:has-text('3')")
    page.wait_for_selector(SHOWN)
    assert panels(page)["What are the figures of each cell?"][1] == 2 < everything == 6


def test_a_time_range_without_runs_says_so_in_each_panel(page: Page) -> None:
    page.goto("?dashboard=trends&from=1000000000000&to=1000000060000")
    page.wait_for_selector(SHOWN)
    assert {state for state, _ in panels(page).values()} == {"empty"}
    assert page.locator("text=No data in this time range").count() == len(panels(page))


def test_a_run_in_the_table_leads_to_what_happened_in_it(page: Page) -> None:
    shown(page, "?dashboard=trends")
    page.locator("section[aria-label='Which runs are these?'] td a").first.click()
    page.wait_for_selector("nav a[aria-current]:has-text('One run')")
    page.wait_for_selector(SHOWN)
    assert {state for state, _ in panels(page).values()} == {"drawn"}


def test_each_cell_of_each_run_is_in_the_table_once(page: Page, bench_folder: Path) -> None:
    shown(page, "?dashboard=trends")
    rows = page.locator("section[aria-label='Which runs are these?'] tbody tr").all_inner_texts()
    assert len(rows) == len(set(rows)) == sum(len(document["results"]) for document in stored(bench_folder))


def test_no_cause_has_the_colour_of_another_one(page: Page) -> None:
    shown(page, "?dashboard=executors-compared")
    fixed = [
        override["properties"][0]["value"]["fixedColor"]
        for panel in panels_of(generated("own")["executors-compared"]) if panel["title"] == "Where does the time go?"
        for override in panel["fieldConfig"]["overrides"]
    ]  # fmt: skip
    # As many limits, rates and locks as a run of several scenarios has, before and after the causes of each run.
    series = [*[None] * 3, *fixed, *[None] * 3]
    colours = page.evaluate("(series) => import('./numbers.js').then((all) => all.coloursOf(series))", series)
    assert [colour for colour, own in zip(colours, series, strict=True) if own] == fixed
    alike = [
        (one, other)
        for place, one in enumerate(colours) for other in colours[:place]
        if one not in fixed or other not in fixed
        if sum((int(one[n : n + 2], 16) - int(other[n : n + 2], 16)) ** 2 for n in (1, 3, 5)) < 40**2
    ]  # fmt: skip
    assert alike == []


def test_exemplars_are_dots_that_name_their_trace(page: Page) -> None:
    shown(page, "?dashboard=one-run")
    chart = page.locator("section[aria-label='How long did steps take?'] .js-plotly-plot")
    assert chart.locator(".scatterlayer .point").count() > 0


def test_text_of_a_run_stays_text(browser: Browser, bench_folder: Path, tmp_path: Path) -> None:
    (document, *_) = stored(bench_folder)
    document["scenario"] = HOSTILE
    for result in document["results"]:
        result.pop("scenario", None)
    with running_prometheus(tmp_path) as server, Preview(generated("own"), server.url, "own") as preview:
        pushed(server.url, [document])
        page = browser.new_page()
        for name in UIDS:
            page.goto(f"{preview.url}?dashboard={name}")
            page.wait_for_selector(SHOWN)
            assert {state for state, _ in panels(page).values()} == {"drawn"}
            assert page.evaluate("() => window.pwned") is None
            assert page.locator("main img").count() == 0
        page.close()


def test_a_server_without_runs_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    with running_prometheus(tmp_path) as server, Preview(generated("own"), server.url, "own") as preview:
        page = browser.new_page()
        page.goto(preview.url)
        page.wait_for_selector("#message.fault")
        assert "holds no run yet. Run `makespan bench SCENARIO`" in str(page.text_content("#message"))
        page.close()

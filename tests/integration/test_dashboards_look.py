"""The look of the preview in a real browser, over two scenarios and several runs: nothing cut, overlapping or faint, at
two widths, in light and dark.

Debian's Chromium, driven by Playwright. Without Chromium these tests fail: what a test needs is in the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from development.dashboards.generation import generated
from development.dashboards.links import UIDS
from harness.dashboards.preview.preview_page import Preview
from tests.integration.browsing import browser
from tests.integration.dashboards_runs import pushed
from tests.integration.prometheus_server import running_prometheus
from tests.integration.runs_of_scenarios import documents, many_cells

__all__ = ["browser"]

# A browser of Debian is needed, as for the report.
pytestmark = pytest.mark.slow

FAULTS = Path(__file__).with_name("page_faults.js").read_text("utf-8")
SHOWN = "body[data-state=shown]"
# What may be wider than its place, since it scrolls by itself.
SCROLLS = ".body.table, .legend, .scrolled"
REVISIONS = ("1a2b3c4d5e" + "6" * 30, "f0e1d2c3b4" + "a" * 30)
SCHEDULE = "Did the schedule get worse?"


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preview]:
    runs = list(documents())
    for number, run in enumerate(runs):
        run["environment"]["revision"] = REVISIONS[number * 2 // len(runs)]
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        pushed(server.url, runs)
        with Preview(generated("own"), server.url, "own") as started:
            yield started


@pytest.fixture
def page(browser: Browser, preview: Preview) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=preview.url)
    yield context.new_page()
    context.close()


def shown(page: Page, name: str) -> None:
    page.goto(f"?dashboard={name}{'' if name == 'one-run' else '&last=7d'}")
    page.wait_for_selector(SHOWN, timeout=60_000)


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("name", UIDS)
def test_nothing_is_cut_overlapping_or_faint(page: Page, name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        shown(page, name)
        assert {one.get_attribute("data-state") for one in page.locator("section.panel").all()} == {"drawn"}
        assert page.evaluate(f"({FAULTS})", {"scrolls": SCROLLS}) == [], scheme


def test_fifty_cells_have_a_place_each_and_the_shortest_time_that_holds_them(browser: Browser, tmp_path: Path) -> None:
    with running_prometheus(tmp_path) as server:
        pushed(server.url, [many_cells(50)])
        with Preview(generated("own"), server.url, "own") as started:
            context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=started.url)
            page = context.new_page()
            for name in ("executors-compared", "trends"):
                page.goto(f"?dashboard={name}")
                page.wait_for_selector(SHOWN, timeout=60_000)
                assert page.locator("select[name=last]").input_value() == "5m"
                if name == "executors-compared":
                    assert page.evaluate(f"({FAULTS})", {"scrolls": SCROLLS}) == []
            chart = page.locator(f"section[aria-label='{SCHEDULE}'] .js-plotly-plot")
            assert chart.evaluate("chart => chart.data.every((one) => one.cliponaxis === false)")
            context.close()


def test_charts_follow_the_theme_of_the_system(page: Page) -> None:
    shown(page, "trends")
    tick, ground = "text.xtitle, .xtick text", "getComputedStyle(document.body).backgroundColor"
    light = page.locator(tick).first.evaluate("one => getComputedStyle(one).fill"), page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector(SHOWN)
    page.wait_for_timeout(100)
    page.wait_for_selector(SHOWN)
    dark = page.locator(tick).first.evaluate("one => getComputedStyle(one).fill"), page.evaluate(ground)
    assert all(one != other for one, other in zip(light, dark, strict=True))


def test_legends_name_every_curve_below_the_chart_and_what_it_is_judged_by_first(page: Page) -> None:
    shown(page, "trends")
    panel = page.locator(f"section[aria-label='{SCHEDULE}']")
    names = panel.locator(".legend li").all_inner_texts()
    drawn = panel.locator(".js-plotly-plot").evaluate("chart => chart.data.length")
    assert len(names) == drawn
    assert names[:2] == ["good from 90 %", "poor below 70 %"]
    chart, legend = panel.locator(".chart").bounding_box(), panel.locator(".legend").bounding_box()
    whole = panel.bounding_box()
    assert chart is not None
    assert legend is not None
    assert whole is not None
    assert chart["y"] + chart["height"] <= legend["y"] + 1
    assert legend["y"] + legend["height"] <= whole["y"] + whole["height"] + 1


def test_revisions_are_short_in_tables_and_at_marks(page: Page) -> None:
    shown(page, "trends")
    table = page.locator("section[aria-label='Which runs are these?'] table")
    place = table.locator("th").all_inner_texts().index("revision") + 1
    assert set(table.locator(f"td:nth-child({place})").all_inner_texts()) == {one[:10] for one in REVISIONS}
    marks = page.locator(f"section[aria-label='{SCHEDULE}'] .annotation-text").all_text_contents()
    assert marks == [f"revision {one[:10]}" for one in REVISIONS]

"""The look of reports in a real browser, over random ones: nothing cut, overlapping, faint or empty, at two widths, in
light and dark.

Debian's Chromium, driven by Playwright. Without Chromium these tests fail: what a test needs is in the environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from harness.report.html.page import report_html
from tests.integration.browsing import browser
from tests.integration.random_reports import random_report
from tests.unit.reporting import Drawing, document, found_out, matrix, result

__all__ = ["browser"]

pytestmark = pytest.mark.slow

FAULTS = Path(__file__).with_name("page_faults.js").read_text("utf-8")
NARROW, WIDE = 420, 1280
# What may be wider than the page, since it scrolls by itself: the plan, and on a wide screen tables.
SCROLLS = {NARROW: ".graph", WIDE: ".graph, .scroll"}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    return browser.new_page()


def opened(page: Page, path: Path, documents: Sequence[Any], analyses: Sequence[Any] = (), *, width: int) -> None:
    path.write_text(report_html(documents, analyses), encoding="utf-8")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())


def faults(page: Page, width: int) -> list[str]:
    """In both themes, with everything open."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate("window.makespan.showCells(window.makespan.cells.map((_, number) => number))")
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found += [f"{scheme}: {fault}" for fault in page.evaluate(f"({FAULTS})", {"scrolls": SCROLLS[width]})]
    return found


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("seed", range(10))
def test_a_random_report_has_nothing_cut_overlapping_faint_or_empty(
    page: Page, tmp_path: Path, seed: int, width: int
) -> None:
    documents, analyses = random_report(seed)
    opened(page, tmp_path / "report.html", documents, analyses, width=width)
    assert faults(page, width) == []


def test_the_first_screen_holds_headline_notes_figures_and_table(page: Page, tmp_path: Path) -> None:
    whole = matrix()
    for one in whole["results"]:
        one["cautions"] = [f"what to know {number}" for number in range(12)]
    opened(page, tmp_path / "report.html", [whole], width=WIDE)
    for part in (".verdict", ".notes summary", ".figures", "#cells tbody tr:last-child"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900, part
    assert page.locator(".notes summary").inner_text() == "12 notes to read before believing a figure"
    assert page.locator(".notes li").count() == 12
    assert not page.locator(".notes li").first.is_visible()
    page.click(".notes summary")
    assert page.locator(".notes li").first.is_visible()


def test_the_charts_of_cells_are_chosen_in_a_list_and_opened_by_their_names(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path / "report.html", [matrix()], width=WIDE)

    def shown() -> list[str]:
        return [one.inner_text().split("\n")[0].split(" ")[0] for one in page.locator(".panel:visible h3").all()]

    assert shown() == ["serial@1", "threads@4"]
    page.check("#cell-list label:has-text('asyncio@2') input")
    assert shown() == ["serial@1", "threads@4", "asyncio@2"]
    page.click("#cells-none")
    assert shown() == []
    page.click("#cells a:has-text('asyncio@4')")
    page.wait_for_selector("#cell-4:visible")
    assert shown() == ["asyncio@4"]
    assert page.is_checked("#cell-list label:has-text('asyncio@4') input")
    page.click("#cells-all")
    assert len(shown()) == 5


def test_a_table_is_cards_on_a_narrow_screen(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path / "report.html", [matrix()], width=NARROW)
    first, second = (page.locator("#cells tbody tr").nth(number).bounding_box() for number in (0, 1))
    assert first is not None
    assert second is not None
    assert first["y"] + first["height"] <= second["y"]
    values = page.locator("#cells tbody tr").nth(2).locator("td").all()
    tops = [box["y"] for one in values if (box := one.bounding_box())]
    assert tops == sorted(set(tops))
    name = "one => getComputedStyle(one, '::before').content"
    assert values[1].evaluate(name) == '"makespan (95 %)"'
    assert page.locator("#cells thead").is_hidden()


def test_a_part_without_anything_to_say_is_left_out(page: Page, tmp_path: Path) -> None:
    alone = Drawing().step("outer").step("inner", nested_in="outer").run("outer", 0, 0, 6, blocked=[(1, 5)])
    alone = alone.run("inner", 1, 1, 5, by="outer").timeline()
    opened(page, tmp_path / "report.html", [document(result(alone), environment={})], width=WIDE)
    assert page.locator("#cells, #distributions, #scaling, .notes").count() == 0
    heads = page.locator("#attempts-table thead th").all_inner_texts()
    assert "waits" not in heads
    assert "blocked" in heads
    assert page.locator("#about dt").all_inner_texts()[-1] == "overhead"


def test_what_a_reader_of_the_code_drew_has_no_faults_either(page: Page, tmp_path: Path) -> None:
    for width in (NARROW, WIDE):
        opened(page, tmp_path / "report.html", [matrix(), document(result(found_out()))], width=width)
        assert faults(page, width) == []

"""The report in a real browser: Debian's Chromium, driven by Playwright. One browser for the module.

Without Chromium these tests fail: what a test needs is in the environment.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata

import pytest
from playwright.sync_api import Page
from pypdf import PdfReader

from executor import Step, Workflow, run
from executor.model.workflow import Retry
from harness.report.html import write_report
from harness.result import Repetition, result_document
from tests.integration.browsing import browser
from tests.unit.reporting import Drawing, document, fork_join, found_out, matrix, nested, result, simulated

__all__ = ["browser"]

pytestmark = pytest.mark.slow

HOSTILE = "<script>window.pwned = 1</script></script><img src=x onerror='window.pwned = 2'><!--"

# The colour of the canvas at a place in CSS pixels, as [red, green, blue, alpha]; from a copy, since the browser
# complains about canvases that are read often.
PIXEL = """([selector, number, x, y]) => {
  const canvas = document.querySelectorAll(selector)[number];
  const ratio = canvas.width / canvas.getBoundingClientRect().width;
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, -Math.round(x * ratio), -Math.round(y * ratio));
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""


class Report:
    """An opened report, and what the browser complained about."""

    def __init__(self, page: Page):
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def rect(self, step_id, **options):
        return self.page.evaluate("([id, options]) => window.makespan.barRect(id, options)", [step_id, options])

    def window(self):
        return self.page.evaluate("window.makespan.window()")

    def pixel(self, x, y, number=0):
        return self.page.evaluate(PIXEL, ["canvas.gantt", number, x, y])

    def middle(self, step_id, **options):
        box = self.rect(step_id, **options)
        return self.pixel(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2, options.get("cell", 0))

    def frame(self):
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def opened(browser, tmp_path):
    contexts, reports = [], []

    def open_report(*documents, width=1200, height=900, scheme="light"):
        write_report(documents, tmp_path / "report.html")
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        report = Report(context.new_page())
        reports.append(report)
        report.page.goto((tmp_path / "report.html").as_uri())
        report.frame()
        return report

    yield open_report
    for report in reports:
        assert report.complaints == []
        assert [address for address in report.requests if not address.startswith("file:")] == []
        assert len(report.requests) == 1
    for context in contexts:
        context.close()


def one(timeline, **more):
    return document(result(timeline, **more))


def test_bars_stand_at_the_pixels_of_their_times(opened):
    report = opened(one(fork_join()))
    a, b, c, again, d = (
        report.rect(step, attempt=number) for step, number in (("a", 1), ("b", 1), ("c", 1), ("c", 2), ("d", 1))
    )
    second = a["width"] / 2
    for box, start, length in ((a, 0, 2), (b, 2, 4), (c, 2.5, 0.5), (again, 4, 1), (d, 6, 2)):
        assert box["x"] == pytest.approx(a["x"] + start * second, abs=0.01)
        assert box["width"] == pytest.approx(length * second, abs=0.01)
        middle = box["y"] + box["height"] / 2
        inside, after = report.pixel(box["x"] + 1.5, middle), report.pixel(box["x"] + box["width"] + 1.5, middle)
        assert inside[3] == 255
        assert inside != after
    assert again["y"] == c["y"]
    assert a["y"] < b["y"] < c["y"] < d["y"]


def test_the_wait_stands_before_the_bar_in_a_pattern_of_its_own(opened):
    report = opened(one(fork_join()))
    wait, backoff = report.rect("c", attempt=1), report.rect("c", attempt=2)
    second = backoff["width"]
    middle = wait["y"] + wait["height"] / 2
    ink = {tuple(report.pixel(wait["x"] - 0.4 * second + step, middle)) for step in range(16)}
    assert len(ink) > 1
    later = {tuple(report.pixel(backoff["x"] - 0.8 * second, wait["y"] + step)) for step in range(4, 12)}
    assert len(later) > 1
    assert ink.isdisjoint(later)


def test_the_critical_path_has_its_own_colour_and_a_stripe(opened):
    report = opened(one(fork_join()))
    on_path, beside = report.middle("b"), report.middle("c", attempt=2)
    assert on_path == report.middle("a") == report.middle("d")
    assert on_path != beside
    box = report.rect("b")
    stripe = report.pixel(box["x"] + 5, box["y"] + box["height"] - 1.5)
    assert stripe[:3] == [0x1A, 0x1D, 0x21]
    other = report.rect("c", attempt=2)
    assert report.pixel(other["x"] + 5, other["y"] + other["height"] - 1.5) == beside
    report.page.check("#critical")
    report.frame()
    assert report.middle("b") == on_path
    assert report.middle("c", attempt=2) != beside


def test_zoom_buttons_and_keys_change_the_window_and_fit_brings_it_back(opened):
    report = opened(one(fork_join()))
    whole, width = report.window(), report.rect("b")["width"]
    report.page.click("#zoom-in")
    closer = report.window()
    assert closer["to"] - closer["from"] == pytest.approx((whole["to"] - whole["from"]) / 1.6)
    assert report.rect("b")["width"] == pytest.approx(1.6 * width)
    report.page.click("#pan-right")
    assert report.window()["from"] > closer["from"]
    report.page.focus("canvas.gantt")
    report.page.keyboard.press("-")
    report.page.keyboard.press("0")
    assert report.window() == whole


def test_the_wheel_zooms_around_the_pointer_and_a_plain_wheel_scrolls(opened):
    report = opened(one(fork_join()))
    report.page.locator("canvas.gantt").scroll_into_view_if_needed()
    before, canvas = report.rect("d"), report.page.locator("canvas.gantt").bounding_box()
    report.page.mouse.move(canvas["x"] + before["x"], canvas["y"] + before["y"] + 5)
    report.page.keyboard.down("Control")
    report.page.mouse.wheel(0, -200)
    report.page.keyboard.up("Control")
    report.page.wait_for_function("window.makespan.window().from > 0")
    assert report.rect("d")["width"] > before["width"]
    assert report.rect("d")["x"] == pytest.approx(before["x"], abs=1)
    window = report.window()
    report.page.mouse.wheel(0, 100)
    report.page.wait_for_function("window.scrollY > 0")
    assert report.window() == window


def test_dragging_pans_and_all_cells_share_one_axis(opened):
    report = opened(matrix())
    report.page.click("#cells-all")
    assert len({json.dumps([report.rect("b", cell=cell)[side] for side in ("x", "width")]) for cell in range(5)}) == 1
    report.page.click("#zoom-in")
    report.page.locator("canvas.gantt").first.scroll_into_view_if_needed()
    canvas = report.page.locator("canvas.gantt").first.bounding_box()
    before = [report.rect("b", cell=cell)["x"] for cell in range(5)]
    report.page.mouse.move(canvas["x"] + 500, canvas["y"] + 60)
    report.page.mouse.down()
    report.page.mouse.move(canvas["x"] + 600, canvas["y"] + 60, steps=4)
    report.page.mouse.up()
    after = [report.rect("b", cell=cell)["x"] for cell in range(5)]
    assert after == pytest.approx([x + 100 for x in before], abs=1)
    assert report.page.locator("#details").is_hidden()


def test_search_counts_dims_and_selects(opened):
    documents = one(fork_join())
    documents["results"][0]["steps"][3]["description"] = "Send it off"
    report = opened(documents)
    bright = report.middle("b")
    report.page.keyboard.press("/")
    report.page.keyboard.type("SEND it")
    assert report.page.text_content("#found") == "1 of 4 steps"
    report.frame()
    assert report.middle("b") != bright
    assert report.middle("d") == bright
    report.page.keyboard.press("Enter")
    assert report.page.text_content("#details h3") == "d"
    assert "Send it off" in report.page.text_content("#details dl")
    report.page.keyboard.press("Escape")
    report.frame()
    assert report.middle("b") == bright


def test_script_in_any_text_of_a_run_stays_text(opened):
    workflow = Workflow(
        steps=(
            Step(step_id=HOSTILE, tool="echo", args={"text": HOSTILE}),
            Step(step_id="fails", tool="refuse", args={"text": HOSTILE}, retry=Retry(max_attempts=2)),
        )
    )

    def refuse(text):
        raise ValueError(text)

    done = run(workflow, backend="threads", workers=2, tools={"echo": lambda text: text, "refuse": refuse})
    entry = result_document([Repetition(done.timeline, done.outputs, done.errors)], parameters={"x": HOSTILE})
    entry["steps"][0]["description"] = HOSTILE
    report = opened(document(entry, scenario=HOSTILE, environment={"machine": HOSTILE, HOSTILE: HOSTILE}))
    assert report.page.text_content("h1") == HOSTILE
    report.page.evaluate("(id) => window.makespan.select(id)", HOSTILE)
    assert report.page.text_content("#details h3") == HOSTILE
    assert report.page.text_content("#details dl").count(HOSTILE) == 2
    assert report.page.text_content("#steps-table tbody th") == HOSTILE
    assert HOSTILE in report.page.text_content("#steps-table tbody tr:nth-child(2)")
    report.page.locator("canvas.gantt").scroll_into_view_if_needed()
    box, canvas = report.rect(HOSTILE), report.page.locator("canvas.gantt").bounding_box()
    report.page.mouse.move(canvas["x"] + box["x"], canvas["y"] + box["y"] + 4)
    assert HOSTILE in report.page.text_content("#tip")
    assert report.page.evaluate("window.pwned") is None
    assert report.page.locator("img").count() == 0


def test_dark_follows_the_system_and_can_be_switched(opened):
    report = opened(one(fork_join()))
    background = "getComputedStyle(document.body).backgroundColor"
    light, bar = report.page.evaluate(background), report.middle("c", attempt=2)
    report.page.click("#theme")
    report.frame()
    assert report.page.evaluate(background) != light
    assert report.middle("c", attempt=2) != bar
    assert report.page.text_content("#theme") == "Light"
    dark = opened(one(fork_join()), scheme="dark")
    assert dark.page.evaluate(background) == report.page.evaluate(background)
    dark.page.click("#theme")
    assert dark.page.evaluate(background) == light


def test_the_keyboard_walks_from_bar_to_bar_and_says_each(opened):
    report = opened(one(fork_join()))
    report.page.focus("canvas.gantt")
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight", "c", "End"):
        report.page.keyboard.press(key)
        said.append(report.page.text_content("#announcement").split(":")[0])
    assert said == ["a", "b", "c", "c (attempt 2)", "a", "d"]
    assert "on the critical path" in report.page.text_content("#announcement")
    report.page.keyboard.press("Enter")
    assert report.window()["from"] > 0
    report.page.keyboard.press("Escape")
    assert report.page.locator("#details").is_hidden()


def test_rows_by_worker_put_each_attempt_on_its_lane(opened):
    report = opened(one(fork_join()))
    report.page.select_option("#rows", "worker")
    a, b, c, d = (report.rect(step) for step in "abcd")
    assert a["y"] == b["y"] == d["y"] < c["y"]
    assert report.pixel(b["x"] + 5, b["y"] + 4)[3] == 255


def test_a_call_stands_below_its_caller_which_is_drawn_as_blocked(opened):
    report = opened(one(nested()))
    outer, inner = report.rect("outer"), report.rect("outer/1")
    assert outer["y"] < inner["y"]
    middle = outer["y"] + outer["height"] / 2
    running = report.pixel(outer["x"] + outer["width"] - 5, middle)
    blocked = {tuple(report.pixel(outer["x"] + outer["width"] / 2 + step, middle)) for step in range(9)}
    assert tuple(running) not in blocked


def test_the_concurrency_curve_is_higher_where_more_runs(opened):
    report = opened(one(fork_join()))
    second, left = report.rect("a")["width"] / 2, report.rect("a")["x"]
    top = 14
    alone, two = (report.page.evaluate(PIXEL, ["canvas.curves", 0, left + time * second, top]) for time in (1, 4.5))
    assert alone[3] == 0
    assert two[3] == 255


def test_a_capacity_that_was_found_out_is_a_step_line_on_the_axis_of_the_bars(opened):
    report = opened(one(fork_join()), one(found_out()))
    assert report.page.locator("canvas.capacities").count() == 1

    def inked(time):
        # The rows of pixels that the line takes at a time: 40 px mean a capacity of 6, from 10 px down.
        first = report.rect("a", cell=1)
        x = first["x"] + time * first["width"] / 2
        return [
            y for y in range(58) if report.page.evaluate(PIXEL, ["canvas.capacities", 0, x, y])[3] > 200 and y != 50
        ]

    def height_of(capacity):
        return 10 + 40 * (1 - capacity / 6)

    for time, capacity in ((1, 4), (3.5, 6), (7, 3)):
        assert inked(time)
        assert all(abs(y - height_of(capacity)) <= 2 for y in inked(time)), time
    assert len(inked(2)) > 10  # it rises at once
    report.page.evaluate("window.makespan.show(4, 6)")
    report.frame()
    assert all(abs(y - height_of(6)) <= 2 for y in inked(4.5))
    assert all(abs(y - height_of(3)) <= 2 for y in inked(5.5))
    report.page.click("summary:has-text('capacities of')")
    assert report.page.locator("table.capacity tbody tr:visible").count() == 3
    assert "llm 4 at first, 3 to 6, 3 at the end" in report.page.get_attribute("canvas.capacities", "aria-label")


def test_a_printed_capacity_is_light_and_said_in_words(opened):
    report = opened(one(found_out()), scheme="dark", width=760)
    assert report.page.evaluate("document.documentElement.scrollWidth") <= 760
    first = report.rect("a")
    place = ["canvas.capacities", 0, first["x"] + first["width"] / 4, 10 + 40 * (1 - 4 / 6)]
    dark = report.page.evaluate(PIXEL, place)
    report.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert report.page.evaluate(PIXEL, place)[:3] == [0x00, 0x72, 0xB2]
    report.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    report.frame()
    assert report.page.evaluate(PIXEL, place) == dark
    pages = PdfReader(io.BytesIO(report.page.pdf(format="A4", print_background=True))).pages
    # A font may draw two letters as one sign.
    printed = unicodedata.normalize("NFKC", " ".join(" ".join(page.extract_text() for page in pages).split()))
    assert "Capacity of llm, found out while it ran: 4 at first, 3 to 6, 3 at the end." in printed


def test_a_click_on_the_plan_or_a_row_selects_the_step_in_the_timeline(opened):
    report = opened(one(fork_join()))
    report.page.click(".node[data-step='2']")
    assert report.page.text_content("#details h3") == "c (attempt 2)"
    assert report.page.locator(".node.selected").get_attribute("data-step") == "2"
    report.page.click("#details-close")
    report.page.click("#steps-table tbody tr:nth-child(4)")
    assert report.page.text_content("#details h3") == "d"
    report.page.click("#details-show")
    assert report.page.evaluate("document.activeElement.className") == "gantt"


def test_tables_sort_filter_and_turn_pages(opened):
    report = opened(simulated(120))
    rows = report.page.locator("#steps-table tbody tr")
    assert rows.count() == 50
    report.page.click("#steps-table .pager button:has-text('Next')")
    assert "page 2 of 3" in report.page.text_content("#steps-table .pager")
    report.page.click("#steps-table thead button:has-text('run time')")
    head = report.page.locator("#steps-table th[aria-sort='descending']")
    assert head.count() == 1
    assert "70 ms" in rows.first.text_content()
    report.page.fill("#table-filter", "document_00042")
    assert report.page.text_content("#steps-table caption") == "Steps (2)"


def test_every_drawing_has_a_role_a_name_and_a_table(opened):
    report = opened(matrix())
    unnamed = """() => [...document.querySelectorAll("svg, canvas")].filter((one) =>
      !one.closest("[aria-hidden=true]") && !(one.getAttribute("role") && one.getAttribute("aria-label"))).length"""
    assert report.page.evaluate(unnamed) == 0
    without = (
        """() => [...document.querySelectorAll("figure, .panel")].filter((one) => !one.querySelector("table")).length"""
    )
    assert report.page.evaluate(without) == 0
    headings = report.page.locator("table th:not([scope])").count()
    assert headings == 0


@pytest.mark.parametrize("width", [360, 760, 1600])
def test_no_page_is_wider_than_its_window(opened, width):
    report = opened(matrix(), width=width)
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width


def test_five_thousand_steps_open_and_each_row_can_be_reached(opened):
    report = opened(simulated(5000))
    assert report.page.input_value("#rows") == "worker"
    assert report.rect("fetch_and_summarise_document_04999")["width"] > 0
    report.page.select_option("#rows", "step")
    report.page.evaluate("window.makespan.select('fetch_and_summarise_document_04999')")
    report.frame()
    box, canvas = report.rect("fetch_and_summarise_document_04999"), report.page.locator("canvas.gantt").bounding_box()
    assert 0 < box["y"] < canvas["height"]
    assert report.middle("fetch_and_summarise_document_04999")[3] == 255


def test_the_printed_page_is_light_and_holds_the_charts(opened):
    report = opened(one(fork_join()), scheme="dark")
    pages = report.page.pdf(format="A4", print_background=True)
    assert pages.startswith(b"%PDF")
    assert re.search(rb"/Subtype\s*/Image", pages)
    assert report.page.evaluate("document.documentElement.dataset.theme") is None


def test_an_empty_run_opens(opened):
    report = opened(one(Drawing().timeline()))
    report.page.keyboard.press("/")
    report.page.keyboard.type("nothing")
    assert report.page.text_content("#found") == "0 of 0 steps"
    assert report.rect("a") is None

"""The documentation site: built as `make site` builds it, and opened in Debian's Chromium by a server on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from development.diagrams import diagrams, drawn_from
from development.site import DOCS, PAGES_OUTSIDE, copy_of
from tests.pages import ROOT

# The first build makes the environment of the generator.
pytestmark = pytest.mark.timeout(600)

CHROMIUM = "/usr/bin/chromium"
SITE = ROOT / "build" / "site"
CONFIGURATION: dict[str, Any] = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]


def places_in(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for inner in entry.values():
            yield from places_in(inner)
    else:
        for inner in entry:
            yield from places_in(inner)


def test_every_page_stands_once_in_the_navigation() -> None:
    pages = [copy_of(page).as_posix() for page in DOCS.rglob("*.md")] + [f"project/{name}" for name in PAGES_OUTSIDE]
    assert sorted(places_in(CONFIGURATION["nav"])) == sorted(pages)


def test_the_picture_of_a_diagram_was_drawn_from_its_text() -> None:
    for picture, text in diagrams():
        assert drawn_from(picture) == text, f"{picture.name} is out of date: run `make diagrams`"


def test_the_pages_are_prepared_without_what_the_generator_does_not_know(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "development.site", str(tmp_path / "pages")], cwd=ROOT, check=True)
    for page in (tmp_path / "pages").rglob("*.md"):
        marks = re.findall(r"^```([^\n`]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert [mark for mark in marks if not re.fullmatch(r'[a-z]+( title="[\w.-]+")?', mark)] == [], page
    first = (tmp_path / "pages" / "index.md").read_text(encoding="utf-8")
    assert first.count("<div") == first.count("</div>") == 2
    states = (tmp_path / "pages" / "reference" / "states.md").read_text(encoding="utf-8")
    assert "(../images/diagram-states.svg)" in states
    api = (tmp_path / "pages" / "reference" / "public-api.md").read_text(encoding="utf-8")
    assert "\n::: executor.run\n" in api


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    done = subprocess.run(
        ["make", "site"], cwd=ROOT, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=SITE)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page of the site, what it asked for, and what the browser complained about."""

    def __init__(self, page: Page, address: str):
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.note(request.url))

    def note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(url)

    def go(self, place: str) -> Page:
        self.page.goto(f"{self.address}/{place}")
        self.page.wait_for_load_state("networkidle")
        return self.page


@pytest.fixture
def opened(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    scheme = getattr(request, "param", "light")
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page = Opened(context.new_page(), address)
    yield page
    context.close()
    assert page.elsewhere == []
    assert page.complaints == []


@pytest.mark.slow
def test_the_first_page_answers_in_one_screen(opened: Opened) -> None:
    page = opened.go("index.html")
    article = page.locator("article")
    for seen in (
        article.get_by_role("img").first,
        article.get_by_text("make demo"),
        article.get_by_text("makespan bench headlines"),
        article.get_by_role("listitem").nth(2),
    ):
        box = seen.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 800
    assert page.evaluate("document.querySelector('article img').naturalWidth") > 0


@pytest.mark.slow
@pytest.mark.parametrize("opened", ["light", "dark"], indirect=True)
def test_the_page_takes_the_brightness_that_the_reader_has_set(opened: Opened, request: pytest.FixtureRequest) -> None:
    page = opened.go("concepts.html")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert (brightness > 128) == (request.node.callspec.params["opened"] == "light")


@pytest.mark.slow
def test_the_search_finds_a_page_and_leads_to_it(opened: Opened) -> None:
    page = opened.go("index.html")
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("upward rank")
    page.get_by_text(re.compile(r"[1-9]\d* results?")).wait_for()
    # The list follows the typing: a result for the first letters alone leads elsewhere.
    page.locator("a[href*='h=upward+rank'][href*='semantics']").first.click()
    page.wait_for_url(re.compile(r"/semantics\.html"))
    assert "upward rank" in page.locator("article").inner_text()


@pytest.mark.slow
def test_public_names_are_described_from_their_docstrings(opened: Opened) -> None:
    page = opened.go("reference/public-api.html#executor.run")
    assert page.locator("[id='executor.run']").count() == 1
    described = page.locator("article").inner_text()
    assert "the workflow must not run; it carries every finding" in described
    assert ":func:" not in described
    assert ":class:" not in described


@pytest.mark.slow
def test_no_file_of_the_site_loads_anything_from_elsewhere(address: str) -> None:
    loads = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"' >]+)""")
    pages = list(SITE.rglob("*.html"))
    assert len(pages) > 30
    assert {found for page in pages for found in loads.findall(page.read_text(encoding="utf-8"))} == set()
    styles = [style.read_text(encoding="utf-8") for style in SITE.rglob("*.css")]
    assert [style for style in styles if re.search(r"url\([\"']?(?:https?:)?//", style)] == []

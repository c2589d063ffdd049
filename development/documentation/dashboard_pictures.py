"""The pictures of the dashboards: real runs, sent to a real Prometheus, the preview opened in Chromium.

``python -m development.documentation.dashboard_pictures FOLDER [STORE]`` writes ``dashboard-NAME.png`` (usually into
docs/images). Without a store of runs it makes some first, which takes minutes. It needs Prometheus, Debian's chromium
and Playwright.

Rules of this module:
- What is shown was measured; only what is chosen above the dashboards is set.
- The documents name the figures of these very pictures.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from development.documentation.picture_words import describe
from harness.dashboards.preview.up import Ports, RunningPreview, preview_up
from harness.exit_codes import ExitCode
from harness.store.run_store import Store
from harness.telemetry.prometheus.prometheus_push import Prometheus, push_runs

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Page

CHROMIUM: Final = "/usr/bin/chromium"
SCENARIOS: Final = ("limited", "three_jokes")
BENCHES: Final = 4
# The address of each picture, and how high it is: the rest of the page is for those who look at it themselves.
VIEWS: Final = {
    "executors-compared": ("var-scenario=limited", 1280),
    "one-run": ("var-scenario=limited&var-executor=threads&var-workers=4&var-policy=dataflow", 1020),
    "trends": ("last=15m&var-scenario=limited&var-executor=threads", 840),
}
_WIDTH: Final = 1280
_QUESTIONS_NAMED: Final = 4
_MARGIN: Final = 8
_PATIENCE_MILLISECONDS: Final = 60_000


def photograph(page_url: str, folder: Path) -> list[Path]:
    """Take each dashboard as PNG. Answers the files."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only a drawing needs it

    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            for name, (choices, height) in VIEWS.items():
                opened = browser.new_page(viewport={"width": _WIDTH, "height": height})
                opened.goto(f"{page_url}?dashboard={name}&{choices}")
                opened.wait_for_selector("body[data-state=shown]", timeout=_PATIENCE_MILLISECONDS)
                taken.append(folder / f"dashboard-{name}.png")
                opened.screenshot(path=taken[-1], full_page=True, clip=whole_panels(opened, height))
                describe(taken[-1], words_shown(opened))
                opened.close()
        finally:
            browser.close()
    return taken


def whole_panels(page: Page, height: int) -> FloatRect:
    """The part of the page from its top that ends below the panels that are within the height: none is cut."""
    boxes = [box for panel in page.locator("section.panel").all() if (box := panel.bounding_box())]
    cut = min((box["y"] for box in boxes if box["y"] + box["height"] > height), default=float(height))
    ends = [end for box in boxes if (end := box["y"] + box["height"]) <= min(cut, height)]
    return {"x": 0, "y": 0, "width": _WIDTH, "height": max(ends, default=float(height)) + _MARGIN}


def words_shown(page: Page) -> str:
    """The dashboard's name and the answers that are numbers; the questions of the charts where there is none."""
    title = page.locator("nav a[aria-current]").inner_text()
    answers = [
        f"{panel.locator('h3').inner_text()} {panel.locator('b').first.inner_text()}"
        f" ({panel.locator('.figure span').first.inner_text()})"
        for panel in page.locator("section.panel:has(.figures)").all()
    ]
    questions = page.locator("section.panel h3").all_inner_texts()
    return f"The dashboard {title}. {'; '.join(answers) or ' '.join(questions[:_QUESTIONS_NAMED])}"


@contextmanager
def shown(store: Path) -> Iterator[RunningPreview]:
    """The preview of all runs in a store, for a while."""
    with tempfile.TemporaryDirectory(prefix="makespan-") as data:
        ports = Ports(prometheus=_free_port(), page=0, grafana=_free_port())
        with preview_up(Path(data), ports) as preview:
            with Store.open(store, read_only=True) as opened, Prometheus(preview.prometheus_url) as server:
                documents = (opened.document(run.run_id) for run in reversed(opened.history()))
                faults = [answer for answer in push_runs(documents, server) if isinstance(answer, str)]
            if faults:
                raise RuntimeError(faults[0])
            yield preview


def measured(store: Path) -> None:
    """Some runs into a store."""
    command = [sys.executable, "-m", "harness.cli", "bench", *SCENARIOS, "--repetitions", "2", "--quiet"]
    for _ in range(BENCHES):
        done = subprocess.run([*command, "--no-progress", "--store", str(store)], check=False)
        # On a busy machine a run may be slower than its scenario expects; it was measured all the same.
        if done.returncode not in {ExitCode.FINE, ExitCode.EXPECTATION}:
            done.check_returncode()


def main(arguments: list[str]) -> int:
    """Take the pictures; the exit status is 2 where no folder is named."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write(
            "usage: python -m development.documentation.dashboard_pictures FOLDER [STORE] (usually docs/images)\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="makespan-") as folder:
        store = Path(arguments[1]) if len(arguments) > 1 else Path(folder, "runs.sqlite")
        if len(arguments) == 1:
            measured(store)
        with shown(store) as preview:
            for picture in photograph(preview.page_url, Path(arguments[0])):
                sys.stdout.write(f"{picture}\n")
    return 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

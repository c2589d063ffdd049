"""The picture of a report in the README: a benchmark is run, its report opened in Chromium, and the top of it taken.

``python -m development.documentation.report_picture FILE`` needs Debian's chromium and Playwright (the extra `dev`).

Rules of this module:
- What is shown is a real report on a benchmark that ran a moment ago.
- The README names the figures of this very picture.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from development.documentation.picture_words import describe
from development.documentation.run_picture import environment_of

BENCH: Final = (
    "makespan", "bench", "article_pipeline", "--executor", "threads,asyncio", "--workers", "2,4", "--repetitions", "6",
    "--no-progress", "--quiet",
)  # fmt: skip
REPORT: Final = ("makespan", "report", "@last", "--output", "report.html")
CHROMIUM: Final = "/usr/bin/chromium"
_WIDTH: Final = 1180
_HEIGHT: Final = 1400
_MARGIN: Final = 14


def photograph(page: Path, target: Path) -> str:
    """Take the top of a page as PNG. Answers what it says."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only a drawing needs it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            opened = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
            opened.goto(page.resolve().as_uri())
            opened.wait_for_selector("canvas.gantt")
            # To the end of the last chart that is open: nothing is cut.
            last = opened.locator(".panel:visible").last.bounding_box()
            height = _HEIGHT if last is None else last["y"] + last["height"] + _MARGIN
            opened.screenshot(path=target, full_page=True, clip={"x": 0, "y": 0, "width": _WIDTH, "height": height})
            headline, held_back = opened.locator(".verdict p").all_inner_texts()
            return f"The report on a benchmark of article_pipeline. {headline} {held_back}"
        finally:
            browser.close()


def main(arguments: list[str]) -> int:
    """Draw the picture; the exit status is 2 where no file is named."""
    if len(arguments) != 1:
        sys.stderr.write(
            "usage: python -m development.documentation.report_picture FILE (usually docs/images/report.png)\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="makespan-") as folder:
        for command in (BENCH, REPORT):
            subprocess.run(command, cwd=folder, env=environment_of(folder), check=True)
        words = photograph(Path(folder, "report.html"), Path(arguments[0]))
    describe(Path(arguments[0]), words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m development.diagrams`` draws the Mermaid diagrams of ``docs/`` as pictures, for the site.

Code hosts draw such blocks themselves; on the site a browser would have to fetch a script from elsewhere. Each block is
drawn once, by Mermaid (from npm) in Debian's Chromium, into ``docs/images/diagram-PAGE.svg``. The picture carries the
text that it was drawn from, and a test compares the two. A page has at most one.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, unescape

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MERMAID = "mermaid@11.17.2"
CHROMIUM = "/usr/bin/chromium"
BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DRAWN_FROM = re.compile(r"<metadata>(.*?)</metadata>", re.DOTALL)
# Labels as text of the SVG: a picture in an <img> shows no HTML.
DRAW = """async (text) => {
  mermaid.initialize({ startOnLoad: false, theme: "neutral", htmlLabels: false, flowchart: { htmlLabels: false } });
  return (await mermaid.render("diagram", text)).svg;
}"""


def diagrams() -> Iterator[tuple[Path, str]]:
    """The picture and the text of each diagram."""
    for page in sorted(DOCS.rglob("*.md")):
        for text in BLOCK.findall(page.read_text(encoding="utf-8")):
            yield picture_of(page), text


def picture_of(page: Path) -> Path:
    """Where the picture of a page's diagram is kept."""
    return DOCS / "images" / f"diagram-{page.stem}.svg"


def drawn_from(picture: Path) -> str:
    """The text that a picture was drawn from."""
    found = DRAWN_FROM.search(picture.read_text(encoding="utf-8"))
    return unescape(found[1]) if found else ""


def main() -> int:
    """Draw all diagrams."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # the site reads this module without it

    with tempfile.TemporaryDirectory(prefix="makespan-") as folder, sync_playwright() as playwright:
        subprocess.run(["npm", "pack", MERMAID, "--silent"], cwd=folder, check=True)
        (package,) = Path(folder).glob("*.tgz")
        with tarfile.open(package) as archive:
            archive.extract("package/dist/mermaid.min.js", folder, filter="data")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(path=Path(folder) / "package" / "dist" / "mermaid.min.js")
        for picture, text in diagrams():
            svg = page.evaluate(DRAW, text)
            head, _, rest = svg.partition(">")
            ground = (
                f'<metadata>{escape(text)}</metadata><rect x="-10%" y="-10%" width="120%" height="120%" fill="#fff"/>'
            )
            picture.write_text(f"{head}>{ground}{rest}\n", encoding="utf-8")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m development.site FOLDER`` makes of ``docs/`` the pages of the site, which ``make site`` then builds.

The pages stay readable on their own, so what only the site needs is added here:

- The head of the first page is laid out in two columns; README files become the index of their folder.
- Pages and files outside of ``docs/`` that a page links to come along, and the links lead to the copies.
- The table of public names is followed by what they say of themselves (``::: module.name``, for mkdocstrings).
- Of the mark of a fenced block the language is left, and the name of its file. For a diagram is its picture
  (:mod:`development.diagrams`): a browser would fetch from elsewhere what draws it.

Rules of this module:
- A link that leads nowhere is left as it is: the build is strict, and stops at it.
- The navigation is in ``zensical.toml``; a test holds that every page is in it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from development.diagrams import BLOCK as DIAGRAM
from development.diagrams import DOCS, ROOT, picture_of

# Outside of docs/, and pages of the site nevertheless.
PAGES_OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(?P<indent> *)```(?P<mark>[^\n`]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
# A list right below a paragraph: a list for readers of Markdown, and not for Python-Markdown.
LIST_BELOW = re.compile(r"^(?P<above>(?![-*|#>] |\d+\. | )\S.*)\n(?=(?:[-*]|\d+\.) )", re.MULTILINE)
MADE = re.compile(r"<!-- made: (?P<module>[\w.]+) -->\n(?P<table>.*?)<!-- end -->", re.DOTALL)
STYLE = """
.front { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.5rem; align-items: start; }
.front > p:has(img) { margin: 0; }
.front img { width: 100%; }
@media (max-width: 60em) { .front { display: block; } }
"""


def main(arguments: Sequence[str]) -> int:
    """Write the pages; the exit status is 2 where no folder is named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m development.site FOLDER (usually build/site-pages)\n")
        return 2
    folder = ROOT / arguments[0]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("__pycache__", "README.md"))
    for page in sorted(DOCS.rglob("*.md")):
        write(folder, page, copy_of(page))
    for name in PAGES_OUTSIDE:
        write(folder, ROOT / name, Path("project", name))
    (folder / "assets").mkdir()
    (folder / "assets" / "site.css").write_text(STYLE, encoding="utf-8")
    return 0


def copy_of(page: Path) -> Path:
    """Where a page of ``docs/`` is in the site."""
    place = page.relative_to(DOCS)
    return place.with_name("index.md") if place.name == "README.md" else place


def write(folder: Path, page: Path, place: Path) -> None:
    """Write one page of the site."""
    text = page.read_text(encoding="utf-8")

    def prose_of(prose: str) -> str:
        linked = LINK.sub(lambda link: f"]({followed(folder, page, place, link)})", prose)
        return LIST_BELOW.sub(r"\g<above>\n\n", linked)

    drawn = os.path.relpath(Path("images", picture_of(page).name), place.parent)
    text = DIAGRAM.sub(f"[![The diagram of this page]({drawn})]({drawn})", text)
    text = rewritten(text, prose_of)
    if place == Path("index.md"):
        text = first_page(text)
    if place.name == "public-api.md":
        text = MADE.sub(with_docstrings, text)
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def rewritten(text: str, prose_of: Callable[[str], str]) -> str:
    """The text with a change made outside of fenced blocks; a block keeps of its mark the language and the file."""
    pieces, end = [], 0
    for fence in FENCE.finditer(text):
        language, *options = fence["mark"].split() or ["text"]
        title = next((f' title="{option[5:]}"' for option in options if option.startswith("file=")), "")
        block = f"{fence['indent']}```{language}{title}\n{fence['body']}{fence['indent']}```"
        pieces += [prose_of(text[end : fence.start()]), block]
        end = fence.end()
    return "".join([*pieces, prose_of(text[end:])])


def followed(folder: Path, page: Path, place: Path, link: re.Match[str]) -> str:
    """The target of a link as it has to be from where the page now is; a file outside of ``docs/`` is copied."""
    name, mark, fragment = link["target"].partition("#")
    found = (page.parent / name).resolve()
    if not name or "://" in name or name.startswith("mailto:") or not found.exists():
        return link["target"]
    if found.is_relative_to(DOCS):
        target = copy_of(found)
    elif found.parent == ROOT and found.name in PAGES_OUTSIDE:
        target = Path("project", found.name)
    elif found == ROOT / "README.md":
        target = Path("index.md")
    else:
        target = copied(folder, found)
    return os.path.relpath(target, place.parent) + mark + fragment


def copied(folder: Path, found: Path) -> Path:
    """The place of a copy of a file (with ``.txt``, so that browsers show it), or of a list of a folder's files."""
    place = Path("files", found.relative_to(ROOT))
    if found.is_file():
        place = place.with_name(f"{place.name}.txt") if found.suffix in (".yaml", ".toml", "") else place
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, folder / place)
        return place
    files = sorted(one for one in found.iterdir() if one.is_file())
    lines = [f"- [{one.name}]({copied(folder, one).name})" for one in files]
    page = place / "index.md"
    (folder / page).write_text("\n".join([f"# {found.relative_to(ROOT)}/", "", *lines, ""]), encoding="utf-8")
    return page


def first_page(text: str) -> str:
    """The page with what comes before its first section in two columns: words, and the picture, which opens in full."""
    title, _, rest = text.partition("\n\n")
    head, section, others = rest.partition("\n## ")
    picture = re.search(r"^!\[.*\]\((?P<file>.*)\)\n\n", head, re.MULTILINE)
    if picture is None:
        raise ValueError("docs/README.md has no picture before its first section")
    words = head.replace(picture[0], "")
    columns = f"<div markdown>\n\n{words}\n</div>\n\n[{picture[0].strip()}]({picture['file']})\n"
    return f"---\nhide: [toc]\n---\n\n{title}\n\n<div class='front' markdown>\n{columns}\n</div>\n{section}{others}"


def with_docstrings(made: re.Match[str]) -> str:
    """A table of public names, and below it what each name says of itself."""
    names = re.findall(r"^\| `(\w+)` \| (?!data:)", made["table"], re.MULTILINE)
    shown = "\n".join(f"::: {made['module']}.{name}\n    options:\n      heading_level: 4\n" for name in names)
    return f"{made['table']}\n{shown}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

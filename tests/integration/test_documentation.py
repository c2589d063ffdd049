"""What the documents show works: their examples run, print what they show, and their links lead somewhere.

:mod:`tests.pages` says how a fenced block is marked. ``test_documentation_installed.py`` runs what is marked ``slow``.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.pages import (
    BLOCK,
    PAGES,
    ROOT,
    Example,
    examples,
    examples_in,
    is_what_was_printed,
    link_the_checkout,
    run_in,
)

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<words>.+?) *$", re.MULTILINE)
TARGET = re.compile(r"`make (?P<name>[a-z][a-z-]*)")


@pytest.mark.parametrize("example", examples())
def test_an_example_runs_and_prints_what_is_shown(example: Example, tmp_path: Path) -> None:
    link_the_checkout(tmp_path)
    printed = run_in(tmp_path, example)
    if example.shown is not None and not is_what_was_printed(example.shown, printed, exact=example.exact):
        pytest.fail(f"shown:\n{example.shown}\nprinted:\n{printed}", pytrace=False)


def test_figures_and_white_space_may_differ_words_and_lines_may_not() -> None:
    shown = "makespan  806 ms (73% busy)\nrun 4f9d2c81aa\n"
    assert is_what_was_printed(shown, "makespan 1.2 s (9% busy)\nrun 00d2c81bbb\n", exact=False)
    assert not is_what_was_printed(shown, "makespan 1.2 s (9% idle)\nrun 00d2c81bbb\n", exact=False)
    assert not is_what_was_printed(shown, shown + "and more\n", exact=False)
    assert not is_what_was_printed(shown, "run 4f9d2c81aa\n", exact=False)


def test_an_exact_example_is_compared_to_the_last_figure() -> None:
    assert is_what_was_printed("806 ms\n", "806 ms\n", exact=True)
    assert not is_what_was_printed("806 ms\n", "807 ms\n", exact=True)


def test_three_dots_stand_for_any_lines_or_for_any_part_of_one() -> None:
    printed = "one\ntwo\nthree and four\n"
    assert is_what_was_printed("…\nthree…\n", printed, exact=False)
    assert is_what_was_printed("one\n…\n", printed, exact=False)
    assert not is_what_was_printed("one\n…\nfour\n", printed, exact=False)


def test_what_stands_below_a_command_or_a_script_is_its_output() -> None:
    text = (
        "```yaml file=a.yaml\nsteps: []\n```\n"
        "```console status=2\n$ makespan run a.yaml\nerror\n$ makespan tools\n$ ls\n```\n"
        "```python\nprint(1)\n```\n\n```text output exact\n1\n```\n"
        "```python no-run\nraise\n```\n"
    )
    files = {"a.yaml": "steps: []\n"}
    assert [example for _, example in examples_in(text)] == [
        Example("console", "makespan run a.yaml", "error\n", 2, files=files),
        Example("console", "makespan tools", None, 2, files=files),
        Example("python", "print(1)\n", "1\n", exact=True, files=files),
    ]


def links_of(page: Path) -> list[tuple[Path, str]]:
    """File and fragment of each link that stays in the project."""
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = [match["target"] for match in LINK.finditer(prose)]
    inside = [target.partition("#") for target in targets if "://" not in target and not target.startswith("mailto:")]
    return [(page.parent / file if file else page, fragment) for file, _, fragment in inside]


def anchors_of(page: Path) -> set[str]:
    """What the headings of a page can be linked by: lower case, no punctuation, hyphens for spaces."""
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", match["words"].lower()).replace(" ", "-") for match in HEADING.finditer(prose)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    assert [str(file) for file, _ in links_of(page) if not file.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    linked = [(file, fragment) for file, fragment in links_of(page) if fragment and file.suffix == ".md"]
    missing = [(str(file), fragment) for file, fragment in linked if file.exists() and fragment not in anchors_of(file)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    lines = [f"`{line.removeprefix('$ ')}" for block in BLOCK.finditer(text) for line in block["body"].splitlines()]
    named = {match["name"] for match in TARGET.finditer("\n".join([text, *lines]))}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_rows_of_a_table_have_as_many_cells_as_its_head(page: Path) -> None:
    uneven, cells_of_head = [], 0
    for line in BLOCK.sub("", page.read_text(encoding="utf-8")).splitlines():
        if not line.lstrip().startswith("|"):
            cells_of_head = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        cells_of_head = cells_of_head or cells
        if cells != cells_of_head:
            uneven.append(line)
    assert uneven == []


@pytest.mark.parametrize("package", ["executor", "harness"])
def test_the_architecture_names_every_module_and_room(package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition(f"## {package}/")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w*]+(?:\.py|/))`", section)
    found = [path.name for path in (ROOT / package).glob("*.py")]
    found += [f"{path.parent.name}/" for path in (ROOT / package).glob("*/*.py")]
    missing = {name for name in found if not any(fnmatch(name, one) for one in named)} - {"__init__.py"}
    assert missing == set()


def test_every_page_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    records = {page for page in pages if re.fullmatch(r"decisions/\d{4}-.*", page)}
    assert [page for page in pages if page not in {"README.md", *records} and page not in index] == []


def test_every_decision_stands_in_their_index_and_says_why_what_and_what_follows() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert [path.name for path in records if f"({path.name})" not in index] == []
    for path in records:
        headings = re.findall(r"^## (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert {"Context", "Decision"} < set(headings), path.name
        assert headings[-1].startswith("Consequence"), path.name

"""The shipped document converts for real, and what was written opens in other libraries than wrote it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import docx
import pypdf
import pytest

from executor.tools.tool import ToolError
from harness.scenario_tools import documents

SOURCE = "documents/critical_paths.md"
TITLE = "Critical paths and makespan"
HEADINGS = [
    "Why this guide",
    "The words",
    "An example",
    "Finding the critical path",
    "Slack",
    "Two floors under the makespan",
    "How near does a simple scheduler come?",
    "What else takes time",
    "The barrier, in numbers",
    "More workers can hurt",
    "Amdahl and Gustafson",
    "What to do first",
    "A checklist for steps that use language models",
    "Further reading",
]


class Page(HTMLParser):
    """Collects headings, table rows, link targets and the number of unclosed tags."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input", "col"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.rows = 0
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in {"h1", "h2"}:
            self.headings.append("")
        self.rows += tag == "tr"
        self.targets += [value for name, value in attributes if name in {"href", "src"} and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:  # `<br />` comes by here too
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"h1", "h2"} & set(self.open):
            self.headings[-1] += data


def test_the_pdf_has_pages_with_the_text_in_them(tmp_path: Path) -> None:
    result = documents.to_pdf(SOURCE, str(tmp_path))
    reader = pypdf.PdfReader(result["path"])
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert len(reader.pages) >= 2
    assert TITLE in text
    for word in ("outline", "article", "Gustafson", "Bell System Technical Journal"):
        assert word in text
    assert result["size_bytes"] == (tmp_path / "critical_paths.pdf").stat().st_size


def test_the_docx_has_every_heading_and_table(tmp_path: Path) -> None:
    result = documents.to_docx(SOURCE, str(tmp_path))
    document = docx.Document(result["path"])
    headings = [p.text for p in document.paragraphs if p.style is not None and p.style.name.startswith("Heading")]
    assert headings == HEADINGS
    assert [len(table.rows) for table in document.tables] == [8, 8, 4]
    assert result["size_bytes"] == (tmp_path / "critical_paths.docx").stat().st_size


def test_the_html_is_well_formed_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    result = documents.to_html(SOURCE, str(tmp_path))
    page = Page()
    page.feed(Path(result["path"]).read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    assert [heading.replace("\n", " ") for heading in page.headings[1 : 1 + len(HEADINGS)]] == HEADINGS
    assert page.rows == 8 + 8 + 4
    outside = [target for target in page.targets if not target.startswith("#")]
    assert outside
    assert all(target.startswith("https://en.wikipedia.org/wiki/") for target in outside)


def test_the_three_conversions_run_side_by_side(tmp_path: Path) -> None:
    writers = (documents.to_pdf, documents.to_docx, documents.to_html)
    with ThreadPoolExecutor(len(writers)) as pool:
        results = [future.result() for future in [pool.submit(write, SOURCE, str(tmp_path)) for write in writers]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(Path(result["path"]).name for result in results)


def test_a_document_of_ones_own_is_taken_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / SOURCE
    own.parent.mkdir()
    own.write_text("# Mine\n\nOnly this.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = documents.to_html(SOURCE, "out")
    assert "Only this." in Path(result["path"]).read_text(encoding="utf-8")


def test_a_missing_document_is_named_with_the_places_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"no document 'nowhere\.md' \(looked at .*scenarios/nowhere\.md\)") as caught:
        documents.to_html("nowhere.md", str(tmp_path))
    assert not caught.value.retryable


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ToolError, match=r"cannot write .*taken/critical_paths\.html"):
        documents.to_html(SOURCE, str(tmp_path / "taken"))


@pytest.mark.parametrize("module", ["typst", "pypandoc"])
def test_a_converter_that_is_not_installed_names_the_extra(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolError, match=rf"needs {module}.*makespan\[documents\]"):
        documents.to_pdf(SOURCE, str(tmp_path))
    assert list(tmp_path.iterdir()) == []

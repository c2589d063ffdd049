"""Turn a Markdown document into PDF, DOCX and HTML: the work of ``multi_format_export``.

Rules of this module:
- The converters (pandoc, Typst) come with the extra ``makespan[documents]`` and are imported on first use.
- Nothing is fetched: pandoc runs sandboxed, Typst brings its fonts along.
- A file appears whole or not at all, since two repetitions may write it at once.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from executor.tools.tool import ToolError
from harness.files.packaged import scenarios_folder

MARKDOWN = "markdown"
# Suffix and pandoc's name of every format that :func:`convert` writes.
FORMATS = {
    "pdf": "typst", "docx": "docx", "html": "html5", "epub": "epub", "odt": "odt", "rtf": "rtf", "latex": "latex",
    "rst": "rst", "txt": "plain", "md": "markdown", "pptx": "pptx",
}  # fmt: skip


def to_pdf(source: str, output_folder: str) -> dict[str, Any]:
    """Write ``<output_folder>/<name>.pdf``, by way of Typst.

    Args:
        source: the Markdown file, as :func:`find_document` finds it.
        output_folder: made if it is not there; relative to the current folder.

    Returns:
        ``{"path": str, "size_bytes": int}``.

    Raises:
        ToolError: no such document, a converter is not installed, or the document does not convert.

    """
    document = find_document(source)
    typst = _import("typst")
    markup = _pandoc(document, "typst")
    try:
        pdf = typst.compile(markup.encode())
    except RuntimeError as error:
        raise ToolError(f"Typst cannot set {document}: {error}", retryable=False) from error
    return _written(document, output_folder, ".pdf", pdf)


def to_docx(source: str, output_folder: str) -> dict[str, Any]:
    """Write ``<output_folder>/<name>.docx``; arguments, result and errors as for :func:`to_pdf`."""
    document = find_document(source)
    with tempfile.TemporaryDirectory(prefix="makespan-") as folder:
        target = Path(folder) / "document.docx"
        _pandoc(document, "docx", target)
        return _written(document, output_folder, ".docx", target.read_bytes())


def to_html(source: str, output_folder: str) -> dict[str, Any]:
    """Write ``<output_folder>/<name>.html``, one self-contained file; the rest as for :func:`to_pdf`."""
    document = find_document(source)
    page = _pandoc(document, "html5")
    return _written(document, output_folder, ".html", page.encode())


def convert(
    to: str, output_folder: str, source: str | None = None, text: str | None = None, name: str = "document"
) -> dict[str, Any]:
    """Write a document in the format ``to``, one of :data:`FORMATS`: a file, or Markdown that a step before wrote.

    Args:
        to: the format, which is also the suffix of the file.
        output_folder: as for :func:`to_pdf`.
        source: the Markdown file, as :func:`find_document` finds it.
        text: Markdown, instead of ``source``.
        name: what the file is called that is made of ``text``.

    Returns:
        ``{"path": str, "size_bytes": int}``.

    Raises:
        ToolError: as for :func:`to_pdf`; the format is unknown; or not exactly one of source and text is given.

    """
    if to not in FORMATS:
        raise ToolError(f"cannot convert to {to!r}: known formats are {', '.join(FORMATS)}", retryable=False)
    if (source is None) == (text is None):
        raise ToolError("give either a source file or a text", retryable=False)
    with tempfile.TemporaryDirectory(prefix="makespan-") as folder:
        document = Path(folder) / f"{Path(name).name or 'document'}.md"
        if text is not None:
            document.write_text(text, encoding="utf-8")
        elif source is not None:
            document = find_document(source)
        whole = {"pdf": to_pdf, "docx": to_docx, "html": to_html}.get(to)
        if whole is not None:
            return whole(str(document), output_folder)
        target = Path(folder) / f"converted.{to}"
        _pandoc(document, FORMATS[to], target)
        return _written(document, output_folder, f".{to}", target.read_bytes())


def find_document(source: str) -> Path:
    """The document ``source``: a path from the current folder, else one among the shipped scenarios.

    Raises:
        ToolError: neither is there; the message names both places.

    """
    places = [Path(source), scenarios_folder() / source]
    for place in places:
        if place.is_file():
            return place
    looked_at = ", ".join(str(place) for place in places)
    raise ToolError(f"there is no document {source!r} (looked at {looked_at})", retryable=False)


def _pandoc(document: Path, target_format: str, target: Path | None = None) -> str:
    """Convert by pandoc: the text, or an empty one where a ``target`` is written."""
    pypandoc = _import("pypandoc")
    try:
        text = pypandoc.convert_file(
            str(document),
            target_format,
            format=MARKDOWN,
            extra_args=["--standalone", "--mathml"] if target_format == "html5" else ["--standalone"],
            outputfile=None if target is None else str(target),
            sandbox=True,
        )
    except (RuntimeError, OSError) as error:
        raise ToolError(f"pandoc cannot convert {document} to {target_format}: {error}", retryable=False) from error
    return str(text)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ToolError(
            f"converting documents needs {name}, which is not installed: pip install 'makespan[documents]'",
            retryable=False,
        ) from error


def _written(document: Path, output_folder: str, suffix: str, content: bytes) -> dict[str, Any]:
    """Put the content in its place at one stroke."""
    folder = Path(output_folder)
    path = folder / f"{document.stem}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{document.stem}-", suffix=suffix, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ToolError(f"cannot write {path}: {error.strerror or error}", retryable=False) from error
    return {"path": str(path), "size_bytes": len(content)}

"""The parts of ``docs/reference`` that are made from code: options, fields and schemas are there as they are here.

A page is written by hand; between ``<!-- made: NAME -->`` and ``<!-- end -->`` is what code says. ``python -m
development.documentation docs/reference`` fills these places in, and a test keeps pages and code the same. A file each
for what is described; :mod:`development.documentation.run_picture` draws the picture of a run.

Rules of this package:
- Names, types, defaults and limits come from the code. What a thing is good for is written by hand, in one table beside
  it; a name without a meaning, and a meaning without a name, is an error.
- Nothing of the machine that a page was made on is on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from development.documentation import command_line_page as command_line
from development.documentation import document_pages as documents
from development.documentation import import_drawing, peers_page, public_names
from development.documentation import metrics_page as metrics
from development.documentation import tools_page as tools
from development.documentation import workflow_files_page as workflow_files
from development.documentation.markdown import Parts, filled

PAGES: Final[Mapping[str, Parts]] = {
    "../architecture.md": import_drawing.PARTS,
    "../performance.md": peers_page.PARTS,
    "analysis-document.md": documents.ANALYSIS,
    "command-line.md": command_line.PARTS,
    "granularity-document.md": documents.GRANULARITY,
    "metrics.md": metrics.PARTS,
    "public-api.md": public_names.PARTS,
    "result-document.md": documents.RUN,
    "simulation-document.md": documents.SIMULATION,
    "tools.md": tools.PARTS,
    "workflow-files.md": workflow_files.PARTS,
}

__all__ = ["PAGES", "filled"]

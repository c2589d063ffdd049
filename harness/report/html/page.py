"""Puts the report together: one HTML text from documents, and the file that holds it.

Rules of this module:
- The page's own policy allows its one style sheet and its one script by their hashes, and nothing else: no network,
  no script that came in with data.
- The template escapes every text; data for the script cannot end its element.
- A file appears whole or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from harness.files.json_output import write_whole
from harness.report.html.charts import (
    CHART_HEIGHT,
    CHART_WIDTH,
    family_strips,
    lost_time,
    makespan_strips,
    scaling_charts,
)
from harness.report.html.head import head_of, machine_line
from harness.report.html.outlook import outlooks_of
from harness.report.html.palette import HATCHES, KINDS
from harness.report.html.payload import payload
from harness.report.html.plan_section import NODE_HEIGHT, NODE_WIDTH, plans_of
from harness.report.html.report_cells import cells_of, cells_shown, headline, headlines
from harness.report.html.safe_text import script_json
from harness.result import DocumentError

SCRIPTS: Final = (
    "data.js",
    "view.js",
    "marks.js",
    "gantt.js",
    "curves.js",
    "capacity.js",
    "details.js",
    "tables.js",
    "main.js",
)
STYLES: Final = ("report.css", "charts.css")


def report_html(documents: Sequence[Mapping[str, Any]], analyses: Sequence[Mapping[str, Any]] = ()) -> str:
    """The report on one or several ``makespan.run/1`` documents as one self-contained HTML text.

    ``analyses``: what ``makespan.analysis/1`` documents say of the same traces; their predictions are shown, too.

    Raises:
        DocumentError: there is no document, one is no ``makespan.run/1`` result, or its dependencies form a cycle.

    """
    cells = cells_of(documents)
    script, style = _script(), _joined(STYLES)
    chosen = headline(cells)
    try:
        head = head_of(documents, cells, analyses)
    except (KeyError, TypeError, AttributeError) as error:
        raise DocumentError(f"not a makespan.run/1 document: {error} is missing or of another kind") from error
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            policy=_policy(script, style),
            script=Markup(script),  # noqa: S704 - ours, from the package
            style=Markup(style),  # noqa: S704 - ours, from the package
            data=Markup(script_json(payload(cells))),  # noqa: S704 - cannot end its element: holds no <, > or &
            head=head,
            machine=machine_line(documents),
            cells=cells,
            has_devices=any(
                resource.devices is not None for cell in cells for resource in cell.drawn.resources.values()
            ),
            chosen=cells.index(chosen),
            shown=cells_shown(cells),
            lost=lost_time(cells),
            scaling=scaling_charts(cells),
            repetitions=makespan_strips(cells),
            families=family_strips(cells),
            outlooks=outlooks_of(analyses),
            plans=plans_of(cells, headlines(cells)),
            kinds=KINDS,
            hatches=HATCHES,
            chart=(CHART_WIDTH, CHART_HEIGHT),
            node=(NODE_WIDTH, NODE_HEIGHT),
        )
    )


def write_report(documents: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write the report to a file, which appears whole or not at all.

    Raises:
        DocumentError: as :func:`report_html` does.
        OSError: it cannot be written there.

    """
    write_whole(Path(path), report_html(documents))


def _policy(script: str, style: str) -> str:
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _package_text(name: str) -> str:
    return files("harness.report.html").joinpath(name).read_text("utf-8")


@cache
def _joined(names: tuple[str, ...]) -> str:
    return "\n" + "".join(_package_text(name) for name in names)


@cache
def _script() -> str:
    return '\n(() => {\n"use strict";\n' + _joined(SCRIPTS) + "})();\n"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_package_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

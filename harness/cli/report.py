"""``makespan report``: runs as a page to read, or as a file that other programs read.

Rules of this module:
- A folder of ``--json`` files represents all runs in it.
- With ``-o -`` stdout holds the report alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from harness.cli.guard import UsageFault
from harness.cli.requests.kept_runs import ReportRequest
from harness.cli.stores import store_to_read
from harness.cli.typed_values import one_of
from harness.config import load_config
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_text
from harness.plain_text import counted, one_line
from harness.report.export import FORMATS, Table, csv_text
from harness.report.html import report_html
from harness.report.terminal.console import Terminal
from harness.store.run_references import load_all

HTML: Final = "html"
_ENDINGS: Final = {"html": "html", "perfetto": "json", "csv": "csv", "markdown": "md"}
_KILOBYTE: Final = 1000


def write_report_of(request: ReportRequest) -> ExitCode:
    """Write it.

    Raises:
        UsageFault: there is no such format, or it takes one run alone.
        StoreError: a run cannot be found or read.
        DocumentError: a document is of another kind.
        OutputError: the report cannot be written.

    """
    known = (HTML, *FORMATS)
    one_of("--format", request.format, known)
    table = _table(request)
    target = request.output if request.output is not None else f"report.{_ENDINGS[request.format]}"
    check_writable(target, "the report")
    config = load_config(request.config_path)
    with store_to_read(request.store, config) as store:
        documents = [document for run in request.runs for document in load_all(run, store)]
    text = _text(documents, request.format, table)
    write_text(text, target, "the report")
    if target != STDOUT:
        size = f"{max(1, round(len(text.encode()) / _KILOBYTE)):,} kB"
        what = f"{counted(len(documents), 'run')}, {counted(_results(documents), 'cell')}, {size}"
        Terminal().line(f"{one_line(str(Path(target)), 200)}: {what}")
    else:
        sys.stdout.flush()
    return ExitCode.FINE


def _table(request: ReportRequest) -> Table | None:
    if request.table is None:
        return None
    for table in get_args(Table):
        if table == request.table and request.format == "csv":
            found: Table = table
            return found
    raise UsageFault(f"--table {request.table!r}: it is for --format csv, and one of {', '.join(get_args(Table))}")


def _text(documents: Sequence[Mapping[str, Any]], name: str, table: Table | None) -> str:
    if name == HTML:
        return report_html(documents)
    if len(documents) > 1:
        raise UsageFault(f"--format {name} holds one run, and {len(documents)} are named; html takes several")
    return csv_text(documents[0], table) if table is not None else FORMATS[name](documents[0])


def _results(documents: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(document["results"]) for document in documents)

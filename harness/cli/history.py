"""``makespan history``: the runs that were kept, and what a person thinks of them.

Rules of this module:
- To look, the store is opened to read; only saying what one thinks of a run writes to it.
- Times are shown, and read, in the zone of the reader; the document has them in UTC.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from harness.cli.guard import UsageFault
from harness.cli.requests.kept_runs import HistoryRequest
from harness.cli.stores import history_path, store_at
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json
from harness.plain_text import aligned, one_line
from harness.report.terminal.console import Line, Terminal
from harness.store.run_store import Store
from harness.store.stored_run import StoredRun

SCHEMA: Final = "makespan.history/1"
_HEAD: Final = ("run", "started", "scenario", "cells", "repetitions", "status", "verdict", "revision", "machine")
_NUMBERS: Final = (3, 4)
_STYLES: Final = {"accepted": "green", "rejected": "red"}
_AGO: Final = re.compile(r"(\d{1,6})\s*([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def show_history(request: HistoryRequest) -> ExitCode:
    """List the runs, newest first; or accept and reject some.

    Raises:
        UsageFault: an option makes no sense.
        StoreError: the store cannot be used, or no run is meant.
        OutputError: the list cannot be written.

    """
    since = read_since(request.since)
    if request.json_target is not None:
        check_writable(request.json_target)
    path = history_path(request.store, request.config_path)
    if request.accept or request.reject:
        return _set_verdicts(request, path)
    with store_at(path, request.store) as store:
        runs = [] if store is None else list(_chosen(store, request, since))
    if request.json_target is not None:
        write_json({"schema": SCHEMA, "runs": [asdict(run) for run in runs]}, request.json_target)
    terminal = Terminal(sys.stderr) if request.json_target == STDOUT else Terminal()
    terminal.write(_lines(runs, request, str(path)))
    return ExitCode.FINE


def read_since(typed: str | None) -> str | None:
    """``2026-03-01``, ``2026-03-01T12:00``, ``24h``, ``7d`` or ``2w`` as the ISO 8601 time in UTC that runs are kept
    under.

    Raises:
        UsageFault: it is none of these.

    """
    if typed is None:
        return None
    text = typed.strip()
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            moment = datetime.now(UTC) - timedelta(hours=int(ago.group(1)) * _HOURS[ago.group(2)])
        else:
            moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageFault(f"--since {typed!r} is no time: write it like 2026-03-01, 24h, 7d or 2w") from None
    return moment.isoformat(timespec="milliseconds")


def _set_verdicts(request: HistoryRequest, path: Path) -> ExitCode:
    terminal = Terminal()
    if not path.exists():
        raise UsageFault(f"there is no store at {str(path)!r}: nothing was kept there yet")
    with Store.open(path) as store:
        for verdict, references, say in (
            ("accepted", request.accept, store.accept), ("rejected", request.reject, store.reject)
        ):  # fmt: skip
            for reference in references:
                terminal.line(f"run {say(reference)} is {verdict}", _STYLES[verdict])
    return ExitCode.FINE


def _chosen(store: Store, request: HistoryRequest, since: str | None) -> Iterator[StoredRun]:
    # Executors stand in the documents alone: as many are looked into as it takes.
    limit = request.limit if request.executor is None else None
    found = 0
    for run in store.history(scenario=request.scenario, since=since, limit=limit):
        if found == request.limit:
            return
        if request.executor is None or request.executor in _executors(store.document(run.run_id)):
            found += 1
            yield run


def _executors(document: dict[str, Any]) -> set[str]:
    return {str(result["executor"]) for result in document["results"]}


def _lines(runs: Sequence[StoredRun], request: HistoryRequest, path: str) -> Iterator[Line]:
    if not runs:
        asked = request.scenario is not None or request.executor is not None or request.since is not None
        yield Line(f"No runs{' like that' if asked else ''} in {one_line(path, 200)}.")
        return
    head, *rows = aligned([_HEAD, *(_row(run) for run in runs)], right=_NUMBERS)
    yield Line(head, "bold")
    for run, row in zip(runs, rows, strict=True):
        yield Line(row, _STYLES.get(run.verdict or "", ""))
    if len(runs) == request.limit:
        yield Line(f"The newest {len(runs)}; --limit shows more.", "dim")


def _row(run: StoredRun) -> tuple[str, ...]:
    return (
        run.run_id[:12],
        _moment(run.started_at),
        one_line(run.scenario, 40),
        str(run.cells),
        str(run.repetitions),
        run.status,
        run.verdict or "–",
        (run.revision or "–")[:8],
        one_line(run.machine or "–", 24),
    )


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return one_line(text, 16)

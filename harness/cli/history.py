"""``makespan history``: the runs that were kept, and what a person thinks of them.

Rules of this module:
- To look, the store is opened to read; only saying what one thinks of a run, or dropping what is old, writes to it.
- A run that was killed is no result, and known from its journal alone: it is listed, so that it can be resumed.
- Times are shown, and read, in the zone of the reader; the document has them in UTC.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from executor.journal.run_lock import is_held
from harness.cli.guard import UsageFault
from harness.cli.requests.kept_runs import HistoryRequest
from harness.cli.stores import history_path, store_at
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json
from harness.plain_text import aligned, counted, one_line, some_of
from harness.report.terminal.console import Line, Terminal
from harness.store.journals import FoundJournal, Journals
from harness.store.run_store import Store
from harness.store.stored_run import StoredRun

SCHEMA: Final = "makespan.history/1"
_HEAD: Final = ("run", "started", "scenario", "cells", "repetitions", "status", "verdict", "revision", "machine")
_NUMBERS: Final = (3, 4)
_STYLES: Final = {"accepted": "green", "rejected": "red"}
_AGO: Final = re.compile(r"(\d{1,6})\s*([hdw])")
_ID_SHOWN: Final = 12
_NAMED: Final = 5
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
    if request.prune is not None or request.prune_unfinished:
        return _prune(request, path)
    # To open a journal takes a millisecond. Each of those that are newer than the last one shown is a run of its own.
    filtered = (request.scenario, request.executor, since) != (None, None, None)
    journals = list(Journals(path).latest(None if filtered else request.limit))
    # A run that was killed before any other had ended leaves a journal and no store.
    with nullcontext() if journals and not path.exists() else store_at(path, request.store) as store:
        runs = [] if store is None else list(_chosen(store, request, since))
        runs = _with_unfinished(runs, journals, store, path, request, since)
    if request.json_target is not None:
        write_json({"schema": SCHEMA, "runs": [asdict(run) for run in runs]}, request.json_target)
    terminal = Terminal(sys.stderr) if request.json_target == STDOUT else Terminal()
    terminal.write(_lines(runs, request, str(path)))
    return ExitCode.FINE


def read_since(typed: str | None, name: str = "--since") -> str | None:
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
        raise UsageFault(f"{name} {typed!r} is no time: write it like 2026-03-01, 24h, 7d or 2w") from None
    return moment.isoformat(timespec="milliseconds")


def _prune(request: HistoryRequest, path: Path) -> ExitCode:
    from harness.store.pruning import prune  # noqa: PLC0415 - reads whole journals, and with them all of the executor

    if request.prune is None:
        raise UsageFault("--prune-unfinished goes with --prune TIME")
    moment = read_since(request.prune, "--prune")
    assert moment is not None
    found = prune(path, datetime.fromisoformat(moment).timestamp(), unfinished=request.prune_unfinished)
    terminal = Terminal()
    terminal.line(
        f"Dropped {counted(found.journals, 'journal')} ({found.dropped_bytes / 1e6:.1f} MB), "
        f"{counted(found.cached_outputs, 'cached output')}"
        + (f", what {counted(found.benchmarks, 'benchmark')} could go on from" if found.benchmarks else "")
        + "."
    )
    if found.resumable:
        names = some_of([run_id[:_ID_SHOWN] for run_id in found.resumable], _NAMED)
        terminal.line(f"Kept what can be resumed: {names}. --prune-unfinished drops that, too.")
    for fault in found.faults:
        terminal.line(f"warning: {one_line(fault, 500)}", "yellow")
    return ExitCode.FAULT if found.faults else ExitCode.FINE


def _with_unfinished(
    runs: Sequence[StoredRun],
    journals: Sequence[FoundJournal],
    store: Store | None,
    path: Path,
    request: HistoryRequest,
    since: str | None,
) -> list[StoredRun]:
    """The runs, with those of which there is a journal alone, and with what became of those that are not finished."""
    folder = Journals(path)
    begun = [] if store is None else store.begun_benchmarks()
    settled = [
        replace(run, status="killed")
        if run.status == "unfinished" and not is_held(folder.bench_path(run.run_id))
        else run
        for run in [*runs, *(one for one in begun if request.executor is None and _fits(one, request, since))]
    ]
    unlisted = [
        run
        for run in map(_of_journal, journals)
        if (store is None or not store.matching("id", run.run_id)) and _fits(run, request, since)
    ]
    if request.executor is not None:
        executors = {one.run_id: one.about.get("executor") for one in journals}
        unlisted = [run for run in unlisted if executors[run.run_id] == request.executor]
    if not unlisted and not begun:
        return settled
    return sorted([*settled, *unlisted], key=lambda run: run.started_at, reverse=True)[: request.limit]


def _fits(run: StoredRun, request: HistoryRequest, since: str | None) -> bool:
    return request.scenario in (None, run.scenario) and (since is None or run.started_at >= since)


def _of_journal(journal: FoundJournal) -> StoredRun:
    started = str(journal.head.get("started_at", ""))
    return StoredRun(
        run_id=journal.run_id, scenario=journal.workflow_id, started_at=started, revision=None, machine=None,
        machine_class="", status="unfinished" if journal.goes_on else "killed", verdict=None, cells=1, repetitions=0,
    )  # fmt: skip


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
    # Only the documents name executors: as many are looked into as it takes.
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
    # Few workflows cache anything.
    shows_cached = any(run.cached_steps for run in runs)
    table = [_HEAD, *(_row(run) for run in runs)]
    if shows_cached:
        cached = ["cached steps", *(str(run.cached_steps) for run in runs)]
        table = [(*row[:5], number, *row[5:]) for row, number in zip(table, cached, strict=True)]
    head, *rows = aligned(table, right=(*_NUMBERS, 5) if shows_cached else _NUMBERS)
    yield Line(head, "bold")
    for run, row in zip(runs, rows, strict=True):
        yield Line(row, _STYLES.get(run.verdict or "", ""))
    killed = next((run for run in runs if run.status == "killed"), None)
    if killed is not None:
        command = "run" if killed.machine_class == "" else "bench"
        yield Line(f"What is missing can be done: makespan {command} --resume {killed.run_id[:_ID_SHOWN]}", "dim")
    if len(runs) == request.limit:
        yield Line(f"The newest {len(runs)}; --limit shows more.", "dim")


def _row(run: StoredRun) -> tuple[str, ...]:
    return (
        run.run_id[:_ID_SHOWN],
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

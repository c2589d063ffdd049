"""``makespan analyze``: what traces show of the runs that made them, and what another schedule would buy.

Rules of this module:
- One trace is diagnosed; several are grouped by the shape of their workflow. ``--trace`` picks one of several.
- A file that cannot be read is reported and left out where others can be; if none can, it is the fault.
- With ``--json -`` stdout holds the document alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from executor.garbage_collection import paused_collector
from executor.model.findings import nearest
from harness.cli.guard import UsageFault
from harness.cli.requests.traces import AnalyzeRequest
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, check_writable, write_json, write_text
from harness.plain_text import counted, one_line, some_of
from harness.report.terminal.analysis_text import analysis_lines, many_lines
from harness.report.terminal.console import Line, Terminal
from harness.traces import ForeignRun, Trace, TraceError, foreign_run, read_traces
from harness.traces.diagnosis.diagnosis import Diagnosis, diagnose
from harness.traces.diagnosis.trace_groups import Digest, Group, digest_of, groups_of
from harness.traces.prediction.predicted_makespans import Limit, limit_of
from harness.traces.prediction.trace_scenario import scenario_text

# Spans of many traces that are kept beside their digests, so that a typical one can be diagnosed.
_SPANS_KEPT: Final = 300_000
_TYPICAL: Final = 8
_FAULTS_SHOWN: Final = 10
_SHORTEST_ID: Final = 4
_IDS_SHOWN: Final = 5
_FILES_NAMED: Final = 3


def analyze_traces(request: AnalyzeRequest, terminal: Terminal | None = None, *, origin: str | None = None) -> ExitCode:
    """Analyse them. ``terminal``: where the text goes (default: stdout, unless a document goes there). ``origin``:
    where the traces come from, in words, if the names of their files say nothing.

    Raises:
        UsageFault: options do not fit together, or name what is not there.
        TraceError: no file can be read as traces.
        OutputError: something cannot be written.

    """
    _check(request)
    with paused_collector():  # each part pauses it, too; between them it would look at all spans
        return _analyze(request, terminal, origin)


def _analyze(request: AnalyzeRequest, terminal: Terminal | None, origin: str | None) -> ExitCode:
    faults: list[TraceError] = []
    others: list[str] = []
    traces = _chosen(request, _sources(request), faults.append, others, origin)
    first = next(traces, None)
    if first is None:
        raise faults[0] if faults else TraceError(_nothing_found(request, others))
    second = next(traces, None)
    workers, limits = _changes(request)
    if terminal is None:
        terminal = Terminal(sys.stderr) if _takes_stdout(request) else Terminal()
    if second is None:
        run = foreign_run(first, edges_file=request.edges)
        _tell(faults)
        _one(request, run, workers, limits, terminal)
    else:
        _many(request, [first, second], traces, faults, workers, limits, terminal)
    return ExitCode.FINE


def _changes(request: AnalyzeRequest) -> tuple[list[int] | None, list[Limit]]:
    """The numbers of workers and the limits that are asked for."""
    if not (request.workers or request.rates or request.capacities):
        return None, []
    from harness.simulation.changes import SimulationError, worker_counts  # noqa: PLC0415 - heavy: only a change needs it

    try:
        return worker_counts(request.workers) or None, [
            *(limit_of(typed, "--rate") for typed in request.rates),
            *(limit_of(typed, "--set-capacity") for typed in request.capacities),
        ]
    except SimulationError as error:
        raise UsageFault(f"{error}\n    fix: {error.fix}") from error


def _check(request: AnalyzeRequest) -> None:
    if not request.files and request.folder is None:
        raise UsageFault("name a file of traces, `-` for stdin, or a folder with --from-dir DIR")
    targets = (
        (request.json_target, "JSON"), (request.html_target, "HTML"), (request.scenario_target, "the scenario")
    )  # fmt: skip
    for target, what in targets:
        if target is not None:
            check_writable(target, what)
    if sum(target == STDOUT for target, _ in targets) > 1:
        raise UsageFault("only one of --json, --html and --scenario can go to stdout")


def _takes_stdout(request: AnalyzeRequest) -> bool:
    return STDOUT in (request.json_target, request.html_target, request.scenario_target)


def _sources(request: AnalyzeRequest) -> list[str]:
    found = list(request.files)
    if request.folder is not None:
        folder = Path(request.folder)
        try:
            if not folder.is_dir():
                raise UsageFault(f"--from-dir {request.folder!r}: there is no such folder")
            found += [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path, folder)]
        except (OSError, ValueError) as error:
            raise UsageFault(f"--from-dir {request.folder!r}: {error}") from error
        if not found:
            raise UsageFault(f"--from-dir {request.folder!r}: there is no file in that folder")
    return found


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _chosen(
    request: AnalyzeRequest,
    sources: Sequence[str],
    fault: Callable[[TraceError], None],
    others: list[str],
    origin: str | None,
) -> Iterator[Trace]:
    """The traces that are meant, one after the other. ``others`` gets the ids of those that are not."""
    wanted = request.trace
    for trace in read_traces(sources, on_error=fault if len(sources) > 1 else None):
        if origin is not None:
            trace.source = origin
        if (
            wanted is None
            or trace.trace_id == wanted
            or (len(wanted) >= _SHORTEST_ID and trace.trace_id.startswith(wanted))
        ):
            yield trace
        else:
            others.append(trace.trace_id)


def _nothing_found(request: AnalyzeRequest, ids: Sequence[str]) -> str:
    if request.trace is None:
        return "there are no traces in what was named"
    shown = some_of([one_line(one, 40) for one in ids], _IDS_SHOWN)
    return f"there is no trace {request.trace!r} in what was named, but {shown}"


def _tell(faults: Sequence[TraceError]) -> None:
    terminal = Terminal(sys.stderr)
    for fault in faults[:_FAULTS_SHOWN]:
        terminal.line(f"warning: left out: {one_line(str(fault), 400)}", "yellow")
    if len(faults) > _FAULTS_SHOWN:
        terminal.line(f"warning: and {counted(len(faults) - _FAULTS_SHOWN, 'more file')} left out", "yellow")


def _diagnosed(run: ForeignRun, workers: list[int] | None, limits: Sequence[Limit]) -> Diagnosis:
    diagnosis = diagnose(run, workers=workers, limits=limits)
    known = diagnosis.predictions.services
    for limit in limits:
        if limit.service not in known:
            if run.from_makespan:
                fix = "its own limits are part of it: simulate it (makespan simulate FILE --rate llm=60)"
            else:
                near = nearest(limit.service, known)
                fix = f"did you mean {near!r}?" if near else f"it calls: {', '.join(known) or 'none that is known'}"
            raise UsageFault(f"no span of the trace calls a service {limit.service!r}: {fix}")
    return diagnosis


def _one(
    request: AnalyzeRequest, run: ForeignRun, workers: list[int] | None, limits: Sequence[Limit], terminal: Terminal
) -> None:
    diagnosis = _diagnosed(run, workers, limits)
    if not request.quiet:
        terminal.write(analysis_lines(diagnosis))
    if request.json_target is not None:
        from harness.traces.diagnosis.analysis_document import analysis_document  # noqa: PLC0415 - only a document pays

        write_json(analysis_document(diagnosis), request.json_target)
    _write_html(request, [diagnosis])
    if request.scenario_target is not None:
        write_text(scenario_text(run), request.scenario_target, "the scenario")


def _write_html(request: AnalyzeRequest, diagnoses: Sequence[Diagnosis]) -> None:
    if request.html_target is None:
        return
    from harness.report.html import report_html  # noqa: PLC0415 - heavy: only a page pays for it
    from harness.traces.diagnosis.analysis_document import run_documents, trace_document  # noqa: PLC0415 - as above

    page = report_html(run_documents(diagnoses), [trace_document(one) for one in diagnoses])
    write_text(page, request.html_target, "HTML")


def _many(
    request: AnalyzeRequest,
    firsts: Sequence[Trace],
    rest: Iterator[Trace],
    faults: Sequence[TraceError],
    workers: list[int] | None,
    limits: Sequence[Limit],
    terminal: Terminal,
) -> None:
    if request.scenario_target is not None:
        raise UsageFault(
            f"--scenario makes a file of one trace, and there are several in {some_of(request.files, _FILES_NAMED)}: "
            "pick one with --trace ID"
        )
    if request.edges is not None:
        raise UsageFault(
            f"--edges speaks of one trace, and there are several in {some_of(request.files, _FILES_NAMED)}: "
            "pick one with --trace ID"
        )
    kept: dict[tuple[str, str], ForeignRun] = {}
    digests: list[Digest] = []
    spans = 0
    for trace in (*firsts, *rest):
        run = foreign_run(trace)
        digests.append(digest_of(run))
        spans += len(trace.spans)
        if spans <= _SPANS_KEPT:
            kept[run.trace_id, run.source] = run
    _tell(faults)
    groups = groups_of(digests)
    typical = _typical(groups, kept, workers, limits)
    if not request.quiet:
        terminal.write(many_lines(groups, typical))
        if spans > _SPANS_KEPT:
            terminal.write([Line(f"note: of more than {_SPANS_KEPT:,} spans, the later traces are in the sums alone")])
    if request.json_target is not None:
        from harness.traces.diagnosis.analysis_document import many_document  # noqa: PLC0415 - only a document pays

        write_json(many_document(groups, typical, [str(fault) for fault in faults]), request.json_target)
    _write_html(request, list(typical.values()))


def _typical(
    groups: Sequence[Group],
    kept: dict[tuple[str, str], ForeignRun],
    workers: list[int] | None,
    limits: Sequence[Limit],
) -> dict[str, Diagnosis]:
    found = {}
    for group in groups[:_TYPICAL]:
        run = kept.get((group.typical.trace_id, group.typical.source))
        if run is not None:
            found[group.shape] = diagnose(run, workers=workers, limits=limits)
    return found

"""``makespan record``: a program's spans, received while it runs in this terminal, then analysed and kept.

Rules of this module:
- The program's exit status is the command's, whatever the analysis finds: only what is asked for wrongly ends before.
- stdout is the program's: everything that is said here goes to stderr.
- For a program that emits nothing, the command says how to emit. One that fails is not run again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import typer

from executor.interrupts import Interrupts, wait_for
from harness.cli.analyze import analyze_traces
from harness.cli.guard import UsageFault
from harness.cli.requests.recording import RecordRequest
from harness.cli.requests.traces import AnalyzeRequest
from harness.cli.signals import terminated_as_interrupted
from harness.cli.stores import check_store, keep_run, rescue
from harness.config import Config, load_config
from harness.exit_codes import ExitCode
from harness.files.json_output import STDOUT, OutputError, check_writable
from harness.plain_text import counted, one_line
from harness.recording.child_environment import GRPC, HTTP, child_environment, exporter_variables, wants_grpc
from harness.recording.child_process import CommandError, run_child
from harness.recording.grpc_receiver import GrpcMissingError, GrpcReceiver
from harness.recording.http_receiver import HttpReceiver, PortTakenError
from harness.recording.received_spans import ReceivedSpans
from harness.recording.recorded_document import recorded_document
from harness.report.terminal.console import Terminal
from harness.traces import ForeignRun, foreign_run, read_traces
from harness.traces.diagnosis.trace_groups import digest_of

_USUAL_PORT: Final = 4318
_LATE_SECONDS: Final = 2.0
_INTERRUPTED: Final = (130, 143, 129)
# A larger program is analysed, and not kept.
_SPANS_KEPT: Final = 200_000
_TRACES_KEPT: Final = 1_000
_SHAPES_KEPT: Final = 20
_SHAPE_SHOWN: Final = 6
_ID_SHOWN: Final = 12
_HOW_TO_EMIT: Final = """\
No spans came. What makes a program emit them:
  Python    pip install 'makespan[record]' into the program's environment: it is instrumented without a change;
            or set up the OpenTelemetry SDK in it (opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http)
  Node      npm install @opentelemetry/auto-instrumentations-node in the program's folder
  others    the OpenTelemetry SDK or agent of the language, with its OTLP exporter: it reads the OTEL_* variables
A program that exports to an address of its own has to export to the one in OTEL_EXPORTER_OTLP_ENDPOINT instead, or
`--port 4318` receives where SDKs send by default."""


def record_program(request: RecordRequest) -> ExitCode:
    """Record it.

    Raises:
        UsageFault: options do not fit together, a port is taken, or the program cannot be started.
        OutputError: something cannot be written where it is asked for.
        TraceError: the file of edges cannot be read, or names a span that is not there.

    """
    _check(request)
    config = load_config(request.config_path)
    name = request.name or _name_of(request.command)
    terminal = Terminal(sys.stderr)
    with ExitStack() as open_things:
        interrupts = open_things.enter_context(terminated_as_interrupted())
        folder = Path(open_things.enter_context(tempfile.TemporaryDirectory(prefix="makespan-record-")))
        received = ReceivedSpans(folder)
        with ExitStack() as receivers:
            http, grpc = _receivers(request, received, receivers)
            if request.listen:
                _listen(request, http, grpc, received, terminal)
                status = 0
            else:
                status = _run(request, name, http, grpc, interrupts)
            received.wait_until_quiet(_LATE_SECONDS)
        files = [str(path) for path in received.close()]
        for fault in received.faults():
            terminal.line(f"warning: {fault}", "yellow")
        if not received.spans:
            if not request.quiet:
                terminal.line(_nothing_came(received), "yellow")
        else:
            _tell(request, files, received, terminal, name)
            _keep(request, config, name, files, received, terminal, interrupted=status in _INTERRUPTED)
    if status:
        raise typer.Exit(status)
    return ExitCode.FINE


def _check(request: RecordRequest) -> None:
    if request.listen == bool(request.command):
        raise UsageFault(
            "--listen starts no program: leave the command out"
            if request.listen
            else "name a program behind --: makespan record -- python my_agent.py; or receive with --listen"
        )
    for target, what in ((request.json_target, "JSON"), (request.html_target, "HTML")):
        if target == STDOUT:
            raise UsageFault("stdout is the program's: name a file")
        if target is not None:
            check_writable(target, what)
    if not request.no_store:
        check_store(request.store)


def _name_of(command: Sequence[str]) -> str:
    """The script that an interpreter is given, else the program."""
    if not command:
        return "recorded"
    words = [Path(word).name for word in command]
    if words[0].startswith(("python", "node", "uv")) or words[0] in ("bash", "sh", "ruby", "java", "deno", "bun"):
        given = [word for word in words[1:] if word and not word.startswith("-")]
        if "-m" in command[1:-1]:
            given = [command[list(command).index("-m") + 1]]
        if "-c" not in command and given:
            return one_line(given[-1 if words[0] == "uv" else 0], 60)
    return one_line(words[0], 60)


def _receivers(
    request: RecordRequest, received: ReceivedSpans, receivers: ExitStack
) -> tuple[HttpReceiver, GrpcReceiver | None]:
    port = request.port if request.port is not None else (_USUAL_PORT if request.listen else 0)
    grpc_port = request.grpc_port
    if grpc_port is None and not request.listen and wants_grpc(os.environ):
        grpc_port = 0
    try:
        http = receivers.enter_context(HttpReceiver(received, port))
        grpc = None if grpc_port is None else receivers.enter_context(GrpcReceiver(received, grpc_port))
    except PortTakenError as error:
        raise UsageFault(f"{error}\n    fix: name another with --port or --grpc-port; 0 takes a free one") from error
    except GrpcMissingError as error:
        raise UsageFault(str(error)) from error
    return http, grpc


def _run(
    request: RecordRequest, name: str, http: HttpReceiver, grpc: GrpcReceiver | None, interrupts: Interrupts
) -> int:
    by_grpc = grpc is not None and wants_grpc(os.environ)
    environment = child_environment(
        os.environ,
        name,
        grpc.endpoint if grpc is not None and by_grpc else http.endpoint,
        GRPC if by_grpc else HTTP,
        instrument=not request.no_instrumentation,
        one_trace=not request.separate,
    )
    try:
        for _ in range(request.runs):
            status = run_child(request.command, environment, on_signal=interrupts.note)
            if status:
                return status
    except CommandError as error:
        raise UsageFault(str(error)) from error
    return 0


def _listen(
    request: RecordRequest, http: HttpReceiver, grpc: GrpcReceiver | None, received: ReceivedSpans, terminal: Terminal
) -> None:
    """Receive until it is interrupted."""
    with suppress(KeyboardInterrupt):
        if not request.quiet:
            also = "" if grpc is None else f", and over gRPC at {grpc.endpoint}"
            terminal.line(f"Receiving OTLP over HTTP at {http.endpoint}{also}. Start the services with:", "bold")
            for variable, value in exporter_variables(http.endpoint).items():
                terminal.line(f"  export {variable}={value}")
            terminal.line("Ctrl-C ends it, and shows what came.")
        wait_for(threading.Event())
    if not request.quiet:
        terminal.line(f"{counted(received.spans, 'span')} came.")


def _nothing_came(received: ReceivedSpans) -> str:
    if received.other_signals:
        return f"{counted(received.other_signals, 'request')} with metrics or logs came, and no spans.\n{_HOW_TO_EMIT}"
    return _HOW_TO_EMIT


def _tell(request: RecordRequest, files: Sequence[str], received: ReceivedSpans, terminal: Terminal, name: str) -> None:
    if request.spans_target is not None:
        _copy(files, request.spans_target)
    asked = AnalyzeRequest(
        files=tuple(files),
        edges=request.edges,
        json_target=request.json_target,
        html_target=request.html_target,
        quiet=request.quiet,
    )
    if not request.quiet:
        terminal.line()
        terminal.line(f"{counted(received.spans, 'span')} received", "dim")
    analyze_traces(asked, terminal, origin=f"record of {name}")


def _copy(files: Sequence[str], folder: str) -> None:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, folder)
    except OSError as error:
        raise OutputError(f"the spans cannot be written to {folder!r}: {error.strerror or error}") from error


def _keep(
    request: RecordRequest,
    config: Config,
    name: str,
    files: Sequence[str],
    received: ReceivedSpans,
    terminal: Terminal,
    *,
    interrupted: bool,
) -> None:
    """Into the history of runs."""
    if request.no_store:
        return
    if received.spans > _SPANS_KEPT:
        terminal.line(f"warning: more than {_SPANS_KEPT:,} spans: kept nowhere but with --spans FOLDER", "yellow")
        return
    shapes, left_out = _shapes(files, request.edges)
    document = recorded_document(name, shapes)
    for what in left_out:
        terminal.line(f"warning: not kept: {what}; --spans FOLDER keeps all of them", "yellow")
    if not document["results"]:
        terminal.line("warning: no span of them worked: nothing is kept", "yellow")
        return
    fault = keep_run(document, request.store, config, status="interrupted" if interrupted else "finished")
    if fault is not None:
        warning = f"{fault}; {rescue(document)}" if request.store is not None else fault
        terminal.line(f"warning: {one_line(warning, 1000)}", "yellow")
    elif not request.quiet:
        run_id = str(document["run_id"])[:_ID_SHOWN]
        terminal.line(f"Kept as run {run_id}, {name}: makespan history, makespan compare @last~1 @last", "dim")


def _shapes(files: Sequence[str], edges: str | None) -> tuple[list[tuple[str, list[ForeignRun]]], list[str]]:
    """The runs by the shape of their trace, the most frequent first, each with a name that no other has; and what is
    left out, as a person says it.
    """
    runs: dict[str, list[ForeignRun]] = {}
    traces = list(read_traces(files, on_error=lambda _: None))
    for trace in traces[:_TRACES_KEPT]:
        run = foreign_run(trace, edges_file=edges if len(traces) == 1 else None)
        if run.timeline.attempts:
            runs.setdefault(digest_of(run).shape, []).append(run)
    left_out = []
    if len(traces) > _TRACES_KEPT:
        left_out.append(f"{len(traces) - _TRACES_KEPT:,} of {len(traces):,} traces, the later ones")
    by_shape = sorted(runs.items(), key=lambda item: -len(item[1]))
    kept, rare = by_shape[:_SHAPES_KEPT], by_shape[_SHAPES_KEPT:]
    if rare:
        traces_left = counted(sum(len(members) for _, members in rare), "trace")
        left_out.append(f"{traces_left} of the {counted(len(rare), 'rarest shape')} of {len(by_shape):,}")
    workflows = [members[0].workflow for _, members in kept]
    return [
        (workflow if workflows.count(workflow) == 1 else f"{workflow} {shape[:_SHAPE_SHOWN]}", members)
        for workflow, (shape, members) in zip(workflows, kept, strict=True)
    ], left_out

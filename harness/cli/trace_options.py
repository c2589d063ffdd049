"""The options about traces, and what is said of their sending; shared by the commands that run something.

Rules of this module:
- All that can be wrong with them is found before the first run.
- Whatever becomes of the spans is a warning: results and exit status are those of the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from executor.engine.instruments import Instrument, Untraced
from harness.cli.guard import UsageFault
from harness.cli.typed_values import one_of
from harness.config import Config
from harness.files.json_output import STDOUT, check_writable
from harness.plain_text import counted, one_line
from harness.report.terminal.console import Terminal
from harness.result import DocumentError
from harness.telemetry.spans.trace_session import Mode, Tracing, open_tracing
from harness.telemetry.telemetry_settings import Telemetry, shown


def tracing_for(config: Config, mode: str | None, trace_file: str | None) -> Tracing | None:
    """Tracing as configuration and options say; None: nothing is traced.

    Raises:
        UsageFault: an option makes no sense, or the protocol needs what is not installed.
        OutputError: the file cannot be written.

    """
    asked = _mode(mode)
    if trace_file is not None:
        if trace_file == STDOUT:
            raise UsageFault("--trace-file needs the name of a file; /dev/stdout is one")
        if (asked or config.telemetry.mode) == "off":
            raise UsageFault("--trace-file and tracing that is off: leave one of them out, or add --trace recorded")
        check_writable(trace_file, "traces")
    try:
        return open_tracing(config.telemetry, mode=asked, trace_file=trace_file)
    except ImportError as error:
        raise UsageFault(str(error)) from error


def untraced(config: Config, mode: str | None) -> Sequence[Instrument]:
    """What keeps runs from being traced where tracing is off."""
    return [Untraced()] if (_mode(mode) or config.telemetry.mode) == "off" else []


def send_traces(tracing: Tracing | None, faults: Terminal) -> None:
    """Send what there is, and warn of what did not get through."""
    if tracing is None:
        return
    tracing.finish()
    for warning in tracing.warnings:
        faults.line(f"warning: {one_line(warning, 1000)}", "yellow")


@contextlib.contextmanager
def traces_sent_on_error(tracing: Tracing | None, faults: Terminal) -> Iterator[None]:
    """Send what there is where the block ends by an error; an interrupt that comes twice leaves at once."""
    try:
        yield
    except Exception:
        send_traces(tracing, faults)
        raise


def traces_sent(
    documents: Iterable[Mapping[str, Any]], settings: Telemetry, terminal: Terminal, faults: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Stored runs on their way to somewhere else: where an OTLP endpoint is configured, the traces of each are sent
    again. What cannot be sent is a fault; after one where nothing got through, no other is tried.
    """
    from harness.telemetry.spans.resending import resend  # noqa: PLC0415  # the SDK, only where something is sent

    wanted = settings.endpoint is not None and settings.mode != "off"
    sent = spans = 0
    for document in documents:
        if wanted:
            try:
                delivery = resend(document, settings)
            except (DocumentError, ImportError) as error:
                faults.append(f"traces: {error}")
                wanted = not isinstance(error, ImportError)
            else:
                spans += delivery.sent
                sent += bool(delivery.sent)
                wanted = not delivery.lost or bool(delivery.sent)
                if delivery.lost:
                    faults.append(f"traces: {delivery.sentence()}")
        yield document
    if sent:
        terminal.line(f"traces of {counted(sent, 'run')} sent: {spans:,} spans to {shown(str(settings.endpoint))}")


def _mode(typed: str | None) -> Mode | None:
    found: Mode | None = None if typed is None else one_of("--trace", typed, get_args(Mode))
    return found

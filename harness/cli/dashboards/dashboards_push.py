"""``makespan dashboards push``: stored runs to a Prometheus, or to the text file that one reads.

Rules of this module:
- The oldest run first, one in memory at a time.
- A run that cannot be sent does not keep the others from being sent; what failed is reported at the end.
- Where an OTLP endpoint is configured, the traces of the runs are sent there too.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from harness.cli.guard import UsageFault
from harness.cli.requests.dashboards import PushRequest
from harness.cli.stores import store_path, store_to_read
from harness.cli.trace_options import traces_sent
from harness.cli.typed_values import one_of
from harness.config import Config, load_config
from harness.exit_codes import ExitCode
from harness.plain_text import counted, one_line
from harness.report.terminal.console import Terminal
from harness.store.run_references import load_all
from harness.store.run_store import Store
from harness.store.store_errors import StoreError
from harness.telemetry.prometheus.prometheus_push import Prometheus, Pushed, PushError, push_runs
from harness.telemetry.prometheus.textfile import TextfileError, write_textfile
from harness.telemetry.telemetry_settings import Profile

_ID_SHOWN: Final = 12


def push_stored_runs(request: PushRequest) -> ExitCode:
    """Send them.

    Raises:
        UsageFault: an option makes no sense, there is no run, or something could not be sent.
        StoreError: a run cannot be found or read.

    """
    profile = None if request.profile is None else one_of("--profile", request.profile, get_args(Profile))
    config = load_config(
        request.config_path,
        overrides={
            "telemetry": {
                "prometheus": {
                    "url": request.url, "profile": profile, "textfile": request.textfile,
                }
            }
        },
    )  # fmt: skip
    if not request.runs and not request.all_runs:
        raise UsageFault("name the runs to send (`makespan history` lists them), or send --all")
    if request.runs and request.all_runs:
        raise UsageFault("--all sends every run: name none beside it")
    settings = config.telemetry.prometheus
    if request.textfile is not None and settings.profile != "shared":
        raise UsageFault("--textfile is for --profile shared: a Prometheus of your own is written to directly")
    terminal = Terminal()
    with store_to_read(request.store, config) as store:
        faults: list[str] = []
        said = Terminal(io.StringIO()) if request.quiet else terminal
        documents = traces_sent(_documents(request, config, store, faults), config.telemetry, said, faults)
        if settings.profile == "own":
            _send(documents, config, terminal, faults, quiet=request.quiet)
        else:
            _write(documents, config, terminal, faults, quiet=request.quiet)
    if faults:
        raise UsageFault("\n".join(faults))
    return ExitCode.FINE


def _documents(
    request: PushRequest, config: Config, store: Store | None, faults: list[str]
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    """The runs that are meant, oldest first. Of all runs those that cannot be read are faults."""
    if not request.all_runs:
        found = {str(one["run_id"]): one for run in request.runs for one in load_all(run, store)}
        return iter(sorted(found.values(), key=lambda one: str(one["started_at"])))
    runs = [] if store is None else store.history()
    if store is None or not runs:
        path = str(store_path(request.store, config))
        raise UsageFault(f"there are no runs in {path!r}: `makespan bench` makes some")
    return _stored(store, [run.run_id for run in reversed(runs)], faults)


def _stored(store: Store, run_ids: Sequence[str], faults: list[str]) -> Iterator[Mapping[str, Any]]:
    for run_id in run_ids:
        try:
            yield store.document(run_id)
        except StoreError as error:
            faults.append(str(error))


def _send(
    documents: Iterator[Mapping[str, Any]], config: Config, terminal: Terminal, faults: list[str], *, quiet: bool
) -> None:
    settings = config.telemetry.prometheus
    sent = 0
    try:
        with Prometheus(settings.url, timeout_seconds=config.telemetry.timeout_seconds) as server:
            for answer in push_runs(documents, server, run_info=settings.run_info):
                if isinstance(answer, str):
                    faults.append(answer)
                    continue
                sent += 1
                if not quiet:
                    terminal.line(_pushed_line(answer))
            if not quiet:
                terminal.line(f"{counted(sent, 'run')} sent to {one_line(server.shown_url, 200)}")
    except PushError as error:
        faults.append(str(error))
        # Traces go somewhere else: a Prometheus that is not there does not keep them from being sent.
        if config.telemetry.endpoint is not None:
            deque(documents, maxlen=0)


def _pushed_line(pushed: Pushed) -> str:
    name = one_line(pushed.scenario, 60)
    return f"run {pushed.run_id[:_ID_SHOWN]} {name}: {pushed.samples:,} samples in {pushed.series:,} series"


def _write(
    documents: Iterator[Mapping[str, Any]], config: Config, terminal: Terminal, faults: list[str], *, quiet: bool
) -> None:
    settings = config.telemetry.prometheus
    if settings.textfile is None:
        raise UsageFault(
            "--profile shared writes a text file for the node exporter: name it with --textfile FILE, or set "
            "telemetry.prometheus.textfile"
        )
    try:
        cells = write_textfile(documents, settings.textfile, run_info=settings.run_info, skipped=faults.append)
    except TextfileError as error:
        raise UsageFault(str(error)) from error
    if not quiet:
        terminal.line(f"{one_line(settings.textfile, 200)}: {counted(cells, 'cell')}")

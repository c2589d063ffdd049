"""Metrics of a command's runs: served while it goes on, sent after it; as options and configuration say.

Rules of this module:
- Whatever goes wrong is a warning: results and exit status are those of the run.
- A command without any of it imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from executor.engine.instruments import Instrument
from harness.config import Config
from harness.plain_text import one_line
from harness.report.terminal.console import Terminal
from harness.telemetry.prometheus.delivery import deliver_metrics, delivers_metrics, with_lost_spans

if TYPE_CHECKING:
    from harness.benchmark.session import Listener
    from harness.telemetry.prometheus.metrics_service import MetricService
    from harness.telemetry.spans.trace_session import Tracing


class Metrics:
    """A context manager around the runs of one command. ``port``: what the command line said, None for nothing."""

    def __init__(self, config: Config, port: int | None, faults: Terminal, *, quiet: bool = False) -> None:
        self._telemetry = config.telemetry
        self._faults = faults
        self._quiet = quiet
        self._service: MetricService | None = None
        self._document: Mapping[str, Any] | None = None
        # Where the command's traces go: what is lost there is a metric.
        self.tracing: Tracing | None = None
        settings = config.telemetry.prometheus
        port = settings.metrics_port if port is None else port
        if port is not None:
            from harness.telemetry.prometheus.metrics_service import MetricService  # noqa: PLC0415 - only a server pays

            self._service = MetricService(port, run_info=settings.run_info, warn=self._warn)

    def __enter__(self) -> Self:
        if self._service is not None:
            self._service.__enter__()
            if self._service.url is not None and not self._quiet:
                self._faults.line(f"Metrics: {self._service.url}", "dim")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._document is not None and not isinstance(error, KeyboardInterrupt):
                self._deliver(self._document)
        finally:
            if self._service is not None:
                self._service.__exit__(kind, error, trace)

    @property
    def wants_document(self) -> bool:
        """Whether something is done with the result document."""
        return self._service is not None or delivers_metrics(self._telemetry)

    @property
    def instruments(self) -> Sequence[Instrument]:
        """For every run."""
        return [] if self._service is None else [self._service.live]

    @property
    def listeners(self) -> Sequence[Listener]:
        """For a benchmark."""
        if self._service is None:
            return []
        from harness.benchmark.listeners import MetricsKeeper  # noqa: PLC0415 - only a server pays

        return [MetricsKeeper(self._service.live)]

    def begin_run(self, scenario: str, executor: str, parameters: Mapping[str, Any], policy: str) -> None:
        """The one run of the command is of this cell."""
        if self._service is not None:
            self._service.live.begin_cell(scenario, executor, parameters, policy)

    def finish(self, document: Mapping[str, Any]) -> None:
        """This came of it: it is shown and sent when the block ends, by when traces are where they go."""
        self._document = document

    def _deliver(self, document: Mapping[str, Any]) -> None:
        lost_spans = 0 if self.tracing is None else self.tracing.lost_spans
        whole = with_lost_spans(document, lost_spans)
        if self._service is not None:
            self._service.publish(whole)
        for fault in deliver_metrics(whole, self._telemetry):
            self._warn(fault)
        if self._service is not None:
            self._service.linger()

    def _warn(self, text: str) -> None:
        self._faults.line(f"warning: {one_line(text, 1000)}", "yellow")

"""``--metrics-port``: metrics of a command's runs while it goes on, from the first run to a little after the last.

Rules of this module:
- A port that cannot be had is a warning that names it; runs go on without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from harness.telemetry.metrics.live_metrics import LiveMetrics
from harness.telemetry.prometheus.endpoint import HOST, Endpoint


class MetricService:
    """A context manager. ``live`` is the instrument of the runs. ``warn`` is called with what went wrong."""

    def __init__(self, port: int, *, run_info: bool, warn: Callable[[str], None]) -> None:
        self.live = LiveMetrics(run_info=run_info)
        self._port = port
        self._warn = warn
        self._endpoint: Endpoint | None = None
        self._open = ExitStack()

    @property
    def url(self) -> str | None:
        """Where the metrics are; None where the port could not be had."""
        return None if self._endpoint is None else self._endpoint.url

    def __enter__(self) -> Self:
        try:
            self._endpoint = self._open.enter_context(Endpoint(self._port, self.live.samples))
        except OSError as error:
            self._warn(
                f"metrics are not served: port {self._port} on {HOST} cannot be had ({error.strerror or error}); "
                "another one can be given with --metrics-port"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def publish(self, document: Mapping[str, Any]) -> None:
        """From now on show what came of the runs."""
        if self._endpoint is not None:
            self.live.publish(document)
            self._endpoint.changed()

    def linger(self) -> None:
        """Stay until the last metrics were read, or a little while is over."""
        endpoint = self._endpoint
        if endpoint is None:
            return
        scraped = endpoint.scrapes > 0
        if not endpoint.linger() and scraped:
            self._warn(
                "the last metrics of this run were not read: scrape more often than every 1.5 s, or send them with "
                "`makespan dashboards push`"
            )

"""Asks a Prometheus: the few questions that the dashboards ask, through its HTTP interface.

Rules of this module:
- A server that cannot be asked is an :class:`NoPrometheusError` that says what to do; a query that it refuses is a
  :class:`RefusedError` with what it said.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from harness.telemetry.prometheus.http_api import Connection, answered

_TIMEOUT_SECONDS: Final = 30.0
# Range queries answer with every point.
_ANSWER_LIMIT_BYTES: Final = 64_000_000

Series = dict[str, Any]


class NoPrometheusError(Exception):
    """There is no server that answers."""


class RefusedError(Exception):
    """The server does not answer this question; the message is what it says."""


class PrometheusQueries:
    """A server that is asked. A context manager: connections live as long."""

    def __init__(self, url: str) -> None:
        """Raises NoPrometheusError where the address is none."""
        self._connection = Connection(
            url.rstrip("/"),
            timeout_seconds=_TIMEOUT_SECONDS,
            unreachable=NoPrometheusError,
            when_slow="see whether it is well",
            limit_bytes=_ANSWER_LIMIT_BYTES,
        )
        self.shown_url = self._connection.shown_url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def now(self, expression: str, at: float) -> list[Series]:
        """An instant query at that time, seconds since 1970.

        Raises:
            NoPrometheusError: there is no answer.
            RefusedError: the query is refused.

        """
        return self._asked("query", query=expression, time=f"{at:.3f}")["result"]  # type: ignore[no-any-return]  # JSON

    def over(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """A range query; all in seconds.

        Raises:
            NoPrometheusError: there is no answer.
            RefusedError: the query is refused.

        """
        words = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return self._asked("query_range", query=expression, **words)["result"]  # type: ignore[no-any-return]  # JSON

    def flags(self) -> dict[str, str]:
        """What it was started with.

        Raises:
            NoPrometheusError: there is no answer.
            RefusedError: it does not say.

        """
        found: dict[str, str] = self._asked("status/flags")
        return found

    def _asked(self, path: str, **words: str) -> Any:
        # Queries are long: some servers refuse them in an address.
        answer = self._connection.request("POST" if words else "GET", f"/api/v1/{path}", form=words or None)
        found = answered(answer)
        if found is None:
            raise NoPrometheusError(
                f"what answers at {self.shown_url} is no Prometheus ({answer.status_code}): name another with --url"
            )
        if found.get("status") != "success":
            raise RefusedError(str(found.get("error") or f"status {answer.status_code}"))
        return found["data"]

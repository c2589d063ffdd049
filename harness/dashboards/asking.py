"""Asks a Prometheus: the few questions that the dashboards ask, through its HTTP interface.

Rules of this module:
- A server that cannot be asked is an :class:`AskingError` that says what to do; a query that it refuses is a
  :class:`RefusedError` with what it said.
- User and password in an address stand in no message.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Final, Self

import httpx

_USER: Final = re.compile(r"(?<=://)[^/@\s]+@")
_TIMEOUT_SECONDS: Final = 30.0

Series = dict[str, Any]


class AskingError(Exception):
    """There is no server that answers."""


class RefusedError(Exception):
    """The server does not answer this question; the message is what it says."""


class Asking:
    """A server that is asked. A context manager: connections live as long."""

    def __init__(self, url: str) -> None:
        self._base = url.rstrip("/")
        self.shown_url = _USER.sub("***@", self._base)
        local = httpx.URL(self._base).host in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=not local)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def now(self, expression: str, at: float) -> list[Series]:
        """An instant query at that time, seconds since 1970.

        Raises:
            AskingError: there is no answer.
            RefusedError: the query is refused.

        """
        return self._asked("query", query=expression, time=f"{at:.3f}")["result"]  # type: ignore[no-any-return]  # JSON

    def over(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """A range query; all in seconds.

        Raises:
            AskingError: there is no answer.
            RefusedError: the query is refused.

        """
        words = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return self._asked("query_range", query=expression, **words)["result"]  # type: ignore[no-any-return]  # JSON

    def flags(self) -> dict[str, str]:
        """What it was started with.

        Raises:
            AskingError: there is no answer.
            RefusedError: it does not say.

        """
        found: dict[str, str] = self._asked("status/flags")
        return found

    def _asked(self, path: str, **words: str) -> Any:
        try:
            # Queries are long: some servers refuse them in an address.
            method = "GET" if not words else "POST"
            answer = self._client.request(method, f"{self._base}/api/v1/{path}", data=words or None)
        except httpx.TimeoutException:
            raise AskingError(
                f"the Prometheus at {self.shown_url} did not answer within {_TIMEOUT_SECONDS:g} s: see whether it is "
                "well"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AskingError(
                f"there is no Prometheus at {self.shown_url} ({_USER.sub('***@', str(error))}): start one "
                "(`makespan dashboards up`), or name another with --url"
            ) from None
        try:
            found = answer.json()
        except ValueError:
            raise AskingError(
                f"what answers at {self.shown_url} is no Prometheus ({answer.status_code}): name another with --url"
            ) from None
        if not isinstance(found, dict) or found.get("status") != "success":
            said = found.get("error") if isinstance(found, dict) else None
            raise RefusedError(str(said or f"status {answer.status_code}"))
        return found["data"]

"""Talking to a Prometheus over HTTP: one place for its address, its time limit, and what to say without an answer.

Rules of this module:
- User and password in an address stand in no message.
- Every answer has a total time and a size limit (:mod:`harness.bounded_http`).
- No proxy lies between this program and a server on loopback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from harness.bounded_http import ANSWER_LIMIT_BYTES, AnswerTooLargeError, BoundedClient
from harness.telemetry.telemetry_settings import shown

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Connection:
    """A Prometheus that is asked.

    ``unreachable`` makes the exception that says that no server answers, or that the address is none; ``when_slow`` is
    what to do where the server takes too long. ``timeout_seconds``: of a whole answer.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        unreachable: Callable[[str], Exception],
        when_slow: str,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> None:
        self._base = url
        self.shown_url = shown(url)
        self._timeout_seconds = timeout_seconds
        self._unreachable = unreachable
        self._when_slow = when_slow
        try:
            local = httpx.URL(url).host in LOOPBACK
        except httpx.InvalidURL as error:
            raise unreachable(f"{self.shown_url!r} is no address ({error}): name another with --url") from None
        self._client = BoundedClient(limit_bytes=limit_bytes, trust_env=not local)

    def close(self) -> None:
        """Let its connections go."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer, whatever its status. ``path`` begins with a slash.

        Raises:
            Exception: what ``unreachable`` makes, where there is none.

        """
        try:
            return self._client.request(
                method,
                self._base + path,
                timeout_seconds=self._timeout_seconds,
                data=form,
                content=body,
                headers=headers,
            )
        except httpx.TimeoutException:
            raise self._unreachable(
                f"the Prometheus at {self.shown_url} did not answer within {self._timeout_seconds:g} s: "
                f"{self._when_slow}"
            ) from None
        except (AnswerTooLargeError, httpx.DecodingError) as error:
            raise self._unreachable(f"what answers at {self.shown_url} is no Prometheus: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(
                f"there is no Prometheus at {self.shown_url} ({shown(str(error))}): start one "
                "(`makespan dashboards up`), or name another with --url"
            ) from None


def answered(answer: httpx.Response) -> dict[str, Any] | None:
    """The JSON mapping of an answer, or None where it is none."""
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

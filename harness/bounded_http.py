"""Requests to servers that are not trusted: each answer has a total time and a size limit.

Rules of this module:
- The time runs from the request to the last byte of the answer. A server that drips, its headers too, gets no more:
  the socket is shut down then, whatever is waited for on it.
- No more than the limit is read, and nothing is decompressed: a small answer could hide a large one.
- What goes wrong is an ``httpx.HTTPError``, as with any request.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import httpx

ANSWER_LIMIT_BYTES: Final = 1_000_000


class AnswerTooLargeError(httpx.RequestError):
    """There is more than was asked for."""


class BoundedClient:
    """A client for one thread at a time. ``limit_bytes``: of the body of an answer."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
        trust_env: bool = True,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._client = httpx.Client(headers={**(headers or {}), "Accept-Encoding": "identity"}, trust_env=trust_env)
        self._late = False
        # Of the connection that was opened last: a client for one thread has no other.
        self._stream: Any = None

    def close(self) -> None:
        """Let its connections go."""
        self._client.close()

    def request(self, method: str, url: str, *, timeout_seconds: float, **what: Any) -> httpx.Response:
        """The whole answer, whatever its status. ``what`` is as for ``httpx.Client.build_request``.

        Raises:
            httpx.TimeoutException: there was no whole answer within ``timeout_seconds``.
            AnswerTooLargeError: it is larger than the limit.
            httpx.HTTPError, httpx.InvalidURL: there is no answer.

        """
        asked = self._client.build_request(
            method, url, timeout=timeout_seconds, extensions={"trace": self._see}, **what
        )
        self._late = False
        timer = threading.Timer(timeout_seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            response, body = self._answer(asked)
        except httpx.HTTPError as error:
            if not self._late:
                raise
            raise httpx.ReadTimeout(f"no whole answer within {timeout_seconds:g} s", request=asked) from error
        finally:
            timer.cancel()
        if self._late:
            # Where the answer has no length its end may be the one that was made here.
            raise httpx.ReadTimeout(f"no whole answer within {timeout_seconds:g} s", request=asked)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx.DecodingError("the answer is compressed, which it was asked not to be", request=asked)
        headers = [(name, value) for name, value in response.headers.multi_items() if name != "transfer-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=body, request=asked)

    def _answer(self, asked: httpx.Request) -> tuple[httpx.Response, bytes]:
        response = self._client.send(asked, stream=True)
        try:
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if len(body) > self._limit_bytes:
                    raise AnswerTooLargeError(f"the answer is larger than {self._limit_bytes:,} bytes", request=asked)
            return response, bytes(body)
        finally:
            response.close()

    def _see(self, event: str, info: Mapping[str, Any]) -> None:
        """What the client does next; see the ``trace`` extension of httpx."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = info["return_value"]
            if self._late:
                self._cut()

    def _cut(self) -> None:
        self._late = True
        found = None if self._stream is None else self._stream.get_extra_info("socket")
        if found is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

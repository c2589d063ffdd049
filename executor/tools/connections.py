"""What the tools that speak HTTP share: clients, limits, and errors that say whether to try again.

Rules of this module:
- httpx is imported at the first call (or by ``prepare``), never before.
- One client per tool and process, and one per event loop; opened on first use, never pickled, not shared over a fork.
- 429, 408, 425 and 5xx may be tried again, after what ``Retry-After`` asks for, if that is an hour at most; any other
  refusal may not.
- A message holds scheme, host and path: no query, no user name, no header, nothing that a library says about headers.
- Loopback addresses are never reached through a proxy.
- Through :func:`answered`, a request that meets a kept connection just as the server closes it is sent again at once,
  and is no failed attempt: for requests that may be repeated.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import ssl
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from executor.record.outcomes import UnreachableError
from executor.secret_names import SECRET_CHARACTERS
from executor.tools.tool import ToolContext, ToolError, ToolTimeoutError

if TYPE_CHECKING:
    import asyncio

    import httpx

RESPONSE_LIMIT_BYTES = 10_000_000
ERROR_BODY_LIMIT_BYTES = 16_384
RESENDS = 2
CONNECT_TIMEOUT_SECONDS = 10.0
_RETRYABLE_STATUSES = {408, 425, 429}
# Who asks for more, as for a quota of the day, refuses: a step that waited would hold up its run without a word.
LONGEST_RETRY_AFTER_SECONDS = 3_600
# 529 is what some model services say.
_OVERLOADED_STATUSES = {429, 503, 529}
_EXCERPT_CHARACTERS = 300
_HARMLESS_HEADERS = {"accept", "accept-language", "content-type", "user-agent"}


class Deadline:
    """A limit in wall time for a whole call: ``context.timeout_seconds`` from now."""

    def __init__(self, name: str, context: ToolContext) -> None:
        self._name = name
        self._context = context
        self._end = None if context.timeout_seconds is None else time.monotonic() + context.timeout_seconds

    def left_seconds(self, at_most: float) -> float:
        """What may still be waited, at most ``at_most``."""
        return at_most if self._end is None else max(0.001, min(at_most, self._end - time.monotonic()))

    def passed(self) -> bool:
        """Whether the time is up."""
        return self._end is not None and time.monotonic() >= self._end

    def check(self) -> None:
        """Between two pieces of an answer.

        Raises:
            ToolTimeoutError: the time is up.
            ToolError: the call was cancelled.

        """
        if self.passed():
            self.fail()
        if self._context.cancelled:
            raise ToolError(f"tool {self._name!r}: cancelled", retryable=False)

    def fail(self) -> NoReturn:
        """Raise ToolTimeoutError."""
        raise ToolTimeoutError(f"tool {self._name!r}: no whole answer within {self._context.timeout_seconds:g} s")


class Connections:
    """The clients of one tool. ``read_timeout_seconds`` is the longest silence of the other side."""

    def __init__(
        self, *, base_url: str | None, max_connections: int, read_timeout_seconds: float, follow_redirects: bool = False
    ) -> None:
        self._base_url = base_url
        self._max_connections = max_connections
        self._read_timeout_seconds = read_timeout_seconds
        self._follow_redirects = follow_redirects
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._async_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )
        self._verify: ssl.SSLContext | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in self.__dict__ if key not in _NOT_PICKLED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def prepare(self) -> None:
        """Import what is needed and load the certificates, before the time of an attempt runs."""
        self.client()
        # What httpx imports at its first connection from an event loop. Only a warm-up: without it nothing is lost.
        with suppress(ImportError):
            importlib.import_module("anyio._backends._asyncio")

    def client(self) -> httpx.Client:
        """The client of this process."""
        if self._client is None or self._pid != os.getpid():
            import httpx  # noqa: PLC0415 - see the module's rules

            if self._pid != os.getpid():
                self._forget()
            settings = self._settings()
            with self._lock:
                if self._client is None:
                    self._client = httpx.Client(mounts=dict.fromkeys(_LOOPBACK), **settings)
        return self._client

    def async_client(self) -> httpx.AsyncClient:
        """The client of the event loop that runs."""
        if self._pid != os.getpid():
            self._forget()
        loop = _running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            import httpx  # noqa: PLC0415 - see the module's rules

            client = httpx.AsyncClient(mounts=dict.fromkeys(_LOOPBACK), **self._settings())
            self._async_clients[loop] = client
        return client

    def timeout(self, deadline: Deadline) -> httpx.Timeout:
        """The limits of one request."""
        import httpx  # noqa: PLC0415 - see the module's rules

        whole = deadline.left_seconds(self._read_timeout_seconds)
        return httpx.Timeout(whole, connect=deadline.left_seconds(CONNECT_TIMEOUT_SECONDS))

    def close(self) -> None:
        """Close the client of this process, and forget those of event loops."""
        if self._pid == os.getpid() and self._client is not None:
            self._client.close()
        self._forget()

    async def close_async(self) -> None:
        """Close the client of the event loop that runs."""
        client = self._async_clients.pop(_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _settings(self) -> dict[str, Any]:
        import httpx  # noqa: PLC0415 - see the module's rules

        with self._lock:
            if self._verify is None:
                plain = self._base_url is not None and self._base_url.startswith("http://")
                # Loading the certificate store costs more than a call. A plain address needs none; should something
                # lead from it to TLS all the same, an empty store trusts no server.
                only_plain = plain and not self._follow_redirects
                self._verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if only_plain else httpx.create_ssl_context()
        return {
            "base_url": self._base_url or "",
            "verify": self._verify,
            "follow_redirects": self._follow_redirects,
            "limits": httpx.Limits(
                max_connections=self._max_connections, max_keepalive_connections=self._max_connections
            ),
            "headers": {"User-Agent": "makespan"},
        }


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415  # who runs no coroutine does not pay for its import

    return asyncio.get_running_loop()


_NOT_PICKLED = {"_pid", "_lock", "_client", "_async_clients", "_verify"}
# A mount without a transport is httpx's own, which knows no proxy.
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class _Connecting:
    """Watches whether a request opened a connection of its own."""

    def __init__(self) -> None:
        self.opened = False

    def see(self, event: str, _info: Mapping[str, Any]) -> None:
        """An event of the transport."""
        self.opened = self.opened or event.endswith("connect_tcp.started")

    async def see_async(self, event: str, info: Mapping[str, Any]) -> None:
        """The same for an event loop."""
        self.see(event, info)


@contextmanager
def answered(client: httpx.Client, request: httpx.Request) -> Iterator[httpx.Response]:
    """The answer to a request, its body still to be read.

    A server may close a connection that it kept while the next request is on its way. Nothing of it was answered then,
    so it is sent again, at most ``RESENDS`` times; a failure on a connection of its own is one. Source: RFC 9112,
    section 9.3.1; only for requests that may be repeated.
    """
    import httpx  # noqa: PLC0415 - see the module's rules

    for left in range(RESENDS, -1, -1):
        connecting = _Connecting()
        request.extensions["trace"] = connecting.see
        try:
            response = client.send(request, stream=True)
            break
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if connecting.opened or not left:
                raise
    try:
        yield response
    finally:
        response.close()


@asynccontextmanager
async def answered_async(client: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    """As :func:`answered`, without a thread."""
    import httpx  # noqa: PLC0415 - see the module's rules

    for left in range(RESENDS, -1, -1):
        connecting = _Connecting()
        request.extensions["trace"] = connecting.see_async
        try:
            response = await client.send(request, stream=True)
            break
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if connecting.opened or not left:
                raise
    try:
        yield response
    finally:
        await response.aclose()


@contextmanager
def speaking_errors(name: str, url: str, deadline: Deadline) -> Iterator[None]:
    """Turn what httpx raises into a :class:`ToolError` that says what happened, and whether to try again."""
    import httpx  # noqa: PLC0415 - see the module's rules

    place = safe_url(url)
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise ToolError(f"tool {name!r}: {place} is not an http or https address", retryable=False) from None
    except httpx.LocalProtocolError:
        # httpx quotes the header that it refuses, which may be the key.
        raise ToolError(
            f"tool {name!r}: a header holds a character that HTTP does not allow", retryable=False
        ) from None
    except httpx.TooManyRedirects:
        raise ToolError(f"tool {name!r}: {place} redirects without end", retryable=False) from None
    except httpx.ConnectTimeout:
        if deadline.passed():
            deadline.fail()
        raise UnreachableError(f"tool {name!r}: {place} could not be reached in time") from None
    except httpx.TimeoutException:
        if deadline.passed():
            deadline.fail()
        raise ToolError(f"tool {name!r}: {place} was silent for too long (read_timeout_seconds)") from None
    except httpx.ConnectError as error:
        raise UnreachableError(f"tool {name!r}: cannot connect to {place}: {error}") from error
    except httpx.DecodingError as error:
        raise ToolError(f"tool {name!r}: {place} sent data that its Content-Encoding does not describe") from error
    except httpx.TransportError as error:
        raise ToolError(f"tool {name!r}: {place} broke off ({type(error).__name__})") from error


def status_error(
    name: str, url: str, status: int, headers: Mapping[str, str], body: bytes, sent: Mapping[str, str]
) -> ToolError:
    """What a refusal means, with the server's own words if it has some, less any echo of the headers ``sent``."""
    if 300 <= status < 400:
        return ToolError(
            f"tool {name!r}: {safe_url(url)} redirects (status {status}); use the final address, or declare "
            "follow_redirects: true",
            retryable=False,
            http_status_code=status,
        )
    retryable = status >= 500 or status in _RETRYABLE_STATUSES
    wait = retry_after_seconds(headers) if retryable else None
    words = _server_words(_without(body, sent))
    message = f"tool {name!r}: {safe_url(url)} answered {status}{words and ': ' + words}"
    if wait is not None and wait > LONGEST_RETRY_AFTER_SECONDS:
        retryable = False
        message += f" (it asks to come back in {wait:,.0f} s; no more than {LONGEST_RETRY_AFTER_SECONDS} s are waited)"
    return ToolError(
        message,
        retryable=retryable,
        retry_after_seconds=wait,
        overloaded=status in _OVERLOADED_STATUSES,
        http_status_code=status,
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The wait that a server asks for: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date; None if it
    asks for none or what it says makes no sense. Source: RFC 9110, section 10.2.3.
    """
    for name, unit_seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit_seconds
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


_LONGEST_PATH = 200


def record_server(context: ToolContext, url: str, *, path: bool = False) -> None:
    """Keep whom a call asks: ``server.address``, ``server.port`` and ``url.path``, as OpenTelemetry names them."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return
    if host:
        context.record("server.address", host)
        if port is not None:
            context.record("server.port", port)
        if path and parts.path:
            context.record("url.path", parts.path[:_LONGEST_PATH])


def safe_url(url: str) -> str:
    """Scheme, host, port and path: what a message may contain."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        return "the address"
    shown = f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path
    return "".join(character for character in shown if character.isprintable())[:200]


def read_json(name: str, url: str, body: bytes) -> Any:
    """Strict JSON.

    Raises:
        ToolError: retryable; it is something else.

    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ToolError(f"tool {name!r}: the answer of {safe_url(url)} is not JSON: {reason}") from None


def too_large(name: str, url: str, limit_bytes: int) -> ToolError:
    """The answer is longer than we are ready to hold."""
    return ToolError(
        f"tool {name!r}: the answer of {safe_url(url)} is larger than {limit_bytes:,} bytes (response_limit_bytes)",
        retryable=False,
    )


def _without(body: bytes, sent: Mapping[str, str]) -> bytes:
    """The text with every value of a header masked, whole and without its scheme (``Bearer``)."""
    for header, value in sent.items():
        if header.lower() not in _HARMLESS_HEADERS:
            for secret in (value, value.rpartition(" ")[2]):
                if len(secret) >= SECRET_CHARACTERS:
                    body = body.replace(secret.encode(), b"***")
    return body


def _server_words(body: bytes) -> str:
    """The message of an error in the shape that OpenAI uses, else the start of the text, in one line."""
    text = body.decode(errors="replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        error = parsed.get("error", parsed)
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            text = message
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= _EXCERPT_CHARACTERS else text[:_EXCERPT_CHARACTERS] + " …"


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

"""OTLP over HTTP on loopback: protobuf and JSON, plain or compressed, with a length or in chunks.

Rules of this module:
- Nothing is read beyond :data:`LARGEST_BODY_BYTES`, compressed or not; a connection that says nothing is closed.
- A page in a browser cannot send: a request that names an origin is refused.
- Metrics and logs are answered as if they were kept, so that no exporter tries again.

Source: OTLP/HTTP, https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

from harness.recording.received_spans import ReceivedSpans, UnreadableError

LOOPBACK: Final = "127.0.0.1"
LARGEST_BODY_BYTES: Final = 64 * 1024 * 1024
_TRACES: Final = "/v1/traces"
_OTHERS: Final = ("/v1/metrics", "/v1/logs", "/v1development/profiles")
_SILENCE_SECONDS: Final = 30.0
_LONGEST_LINE: Final = 1_000
# zlib: with a header of gzip or of zlib, whichever is there.
_ANY_HEADER: Final = 47


class PortTakenError(OSError):
    """Another program listens on that port already."""


class _BrokenOffError(Exception):
    """The body ends before its end."""


class _TooLargeError(Exception):
    """The body is too large."""


class HttpReceiver:
    """``with HttpReceiver(received) as receiver: … receiver.endpoint``. ``port`` 0: a free one."""

    def __init__(self, received: ReceivedSpans, port: int = 0) -> None:
        """Raises :class:`PortTakenError`."""
        handler = type("Handler", (_Handler,), {"received": received})
        try:
            self._server = _Server((LOOPBACK, port), handler)
        except OSError as error:
            raise PortTakenError(f"port {port} of {LOOPBACK} cannot be had: {error.strerror or error}") from None
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        """Its base address."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Two receivers on one port would each get some of the spans; newer Pythons share it by default.
    allow_reuse_port = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is counted where its body is read."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _SILENCE_SECONDS
    received: ReceivedSpans

    def do_POST(self) -> None:
        self.received.begin_request()
        try:
            self._answer_post()
        finally:
            self.received.end_request()

    def do_GET(self) -> None:
        self._send(405, b"this is a receiver of OTLP: send spans with POST to /v1/traces\n", "text/plain")

    def log_message(self, *_: Any) -> None:
        """The terminal is the program's."""

    def _answer_post(self) -> None:
        kind = self.headers.get_content_type()
        try:
            body = self._body()
        except (_BrokenOffError, TimeoutError, ConnectionError):
            self.received.note("broken_off")
            self.close_connection = True
            return
        except _TooLargeError:
            self._refuse("too_large", 413, f"a body may hold {LARGEST_BODY_BYTES >> 20} MiB")
            return
        path = self.path.partition("?")[0].rstrip("/")
        if "Origin" in self.headers or path not in (_TRACES, *_OTHERS):
            self._refuse("refused", 403 if "Origin" in self.headers else 404, "send spans to /v1/traces")
            return
        if path != _TRACES:
            self.received.note("other_signals")
            self._send(200, b"{}" if kind == "application/json" else b"", kind)
            return
        try:
            self._take(kind, _decompressed(body, self.headers.get("Content-Encoding", "identity")))
        except UnreadableError as error:
            self._refuse("unreadable", 400, str(error))
        except _TooLargeError:
            self._refuse("too_large", 413, f"a body may hold {LARGEST_BODY_BYTES >> 20} MiB")

    def _take(self, kind: str, body: bytes) -> None:
        if kind == "application/json":
            self.received.add_json(body)
            self._send(200, b"{}", kind)
        elif kind == "application/x-protobuf":
            self.received.add_protobuf(body)
            self._send(200, b"", kind)
        else:
            self._refuse("unreadable", 415, "send application/x-protobuf or application/json")

    def _refuse(self, what: str, status: int, why: str) -> None:
        self.received.note(what)
        self.close_connection = True
        self._send(status, why.encode() + b"\n", "text/plain; charset=utf-8")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            raise _BrokenOffError from None
        if length > LARGEST_BODY_BYTES:
            raise _TooLargeError
        return self._exactly(max(0, length))

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            line = self.rfile.readline(_LONGEST_LINE)
            try:
                length = int(line.partition(b";")[0], 16)
            except ValueError:
                raise _BrokenOffError from None
            size += length
            if size > LARGEST_BODY_BYTES:
                raise _TooLargeError
            if not length:
                break
            parts.append(self._exactly(length))
            self._exactly(2)
        while self.rfile.readline(_LONGEST_LINE).strip():
            """What follows the last chunk says nothing here."""
        return b"".join(parts)

    def _exactly(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise _BrokenOffError
        return body


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "deflate"):
        raise UnreadableError(f"it is compressed with {encoding!r}; gzip and deflate are read")
    reader = zlib.decompressobj(wbits=_ANY_HEADER)
    try:
        plain = reader.decompress(body, LARGEST_BODY_BYTES + 1)
    except zlib.error as error:
        raise UnreadableError(f"it does not decompress: {error}") from None
    if len(plain) > LARGEST_BODY_BYTES:
        raise _TooLargeError
    if not reader.eof:
        raise UnreadableError("it does not decompress: it breaks off")
    return plain

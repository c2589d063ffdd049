"""The stand-in's HTTP server: in this process, on loopback, a thread for each connection.

Rules of this module:
- An answer is due at a moment counted from the arrival of its request: the server's own work is inside that time.
- A place under the limits is free before the last byte is sent, so that a reader may ask again at once, and as
  soon as a client goes away. ``close`` ends every connection and every thread.
- An error of the server itself is answered with 500, logged, and kept in ``StandIn.faults``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, TypeAlias

from harness.standin import answers, chat_request, latency
from harness.standin.chat_request import Answer, ChatRequest, RequestError
from harness.standin.standin_limits import Limits, Refusal

BODY_LIMIT_BYTES = 10_000_000
# Enough to see a text grow, few enough that a hundred streams do not fill a processor.
_PIECES_LIMIT = 12
# A plan is read as it comes: the finer the better.
_SCRIPTED_PIECES_LIMIT = 200
# `poll` counts in milliseconds; the rest of a wait is slept.
_LAST_SECONDS = 0.003
_IDLE_SECONDS = 60.0

_log = logging.getLogger(__name__)

# What is to be answered to a request; None: what the stand-in makes up.
Script: TypeAlias = Callable[[ChatRequest], str | None]


class StandIn:
    """A model service for laptops. ``with StandIn(seed=1) as standin: … standin.base_url``.

    ``concurrency``: requests answered at once; ``tokens_per_minute``: a bucket that starts full, of real minutes;
    either answers 429 with ``Retry-After`` beyond. ``scale`` multiplies modelled durations where a request does not
    say it itself. ``script`` answers instead of the stand-in where it returns text. ``faults`` holds errors of the
    server itself: none, unless it is broken.

    Raises:
        ValueError: a limit or the scale makes no sense.

    """

    def __init__(
        self,
        *,
        seed: int = 0,
        concurrency: int | None = None,
        tokens_per_minute: float | None = None,
        scale: float = 1.0,
        script: Script | None = None,
    ) -> None:
        if concurrency is not None and concurrency < 1:
            raise ValueError("concurrency must be 1 or more")
        if tokens_per_minute is not None and not (tokens_per_minute > 0 and math.isfinite(tokens_per_minute)):
            raise ValueError("tokens_per_minute must be a number above 0")
        if not (scale >= 0 and math.isfinite(scale)):
            raise ValueError("scale must be a number of 0 or more")
        self.seed = seed
        self.scale = scale
        self.script = script
        self.limits = Limits(concurrency, tokens_per_minute)
        self.faults: list[BaseException] = []
        # Whether anyone wanted an answer: code that may ask a model need not do so.
        self.asked = False
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:<port>/v1``, once it is started."""
        if self._server is None:
            raise RuntimeError("the stand-in is not running: use it as a context manager, or call start()")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/v1"

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1. Does nothing when it runs already."""
        if self._server is None:
            self._server = _Server(self)
            self._thread = threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="stand-in", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End all connections and threads. Harmless when it is not running."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join()
            server.end_connections()
            server.server_close()

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """Knows its connections and their threads, so that it can end them."""

    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = False

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="stand-in connection", daemon=True
        )
        with self._guard:
            self._connections[thread] = request
        thread.start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._guard:
                del self._connections[threading.current_thread()]

    def end_connections(self) -> None:
        with self._guard:
            connections = dict(self._connections)
        for connection in connections.values():
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Called where an exception is being handled. A connection that breaks is the client's affair.
        import sys  # noqa: PLC0415 - only here

        error = sys.exception()
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            self.standin.faults.append(error)
            _log.error("the stand-in failed", exc_info=error)


class _GoneError(ConnectionError):
    """The client went away, or the server is closing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "makespan-stand-in"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 65_536
    timeout = _IDLE_SECONDS
    server: _Server
    _arrived = 0.0

    def parse_request(self) -> bool:
        self._arrived = time.monotonic()
        self._answered = False
        return super().parse_request()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        with self._refusals():
            if path == "/v1/models":
                self._send_json(chat_request.models())
            elif path.startswith("/v1/models/"):
                if path.removeprefix("/v1/models/") != chat_request.MODEL:
                    raise RequestError("there is no such model", status=404, code="model_not_found")
                self._send_json(chat_request.model_card())
            elif path == "/v1/chat/completions":
                raise RequestError("use POST", status=405)
            else:
                raise RequestError("the stand-in has /v1/chat/completions and /v1/models", status=404)

    def do_POST(self) -> None:
        with self._refusals():
            body = self._read_body()
            if self.path.partition("?")[0].rstrip("/") != "/v1/chat/completions":
                raise RequestError("the stand-in has /v1/chat/completions and /v1/models", status=404)
            standin = self.server.standin
            standin.asked = True
            request = chat_request.read_request(body, self.headers, seed=standin.seed, scale=standin.scale)
            scripted = standin.script(request) if standin.script is not None else None
            self._chat(request, chat_request.write_answer(request, scripted), is_scripted=scripted is not None)

    def _chat(self, request: ChatRequest, answer: Answer, *, is_scripted: bool = False) -> None:
        pieces = answers.pieces_of(answer.text, _SCRIPTED_PIECES_LIMIT if is_scripted else _PIECES_LIMIT)
        if request.expected_seconds is not None:
            offsets = latency.stated_offsets(request.expected_seconds, len(pieces))
        else:
            seed = f"{request.seed}\x00{request.step or request.identity()}"
            offsets = latency.modelled_offsets(seed, [answers.tokens_in(piece) for piece in pieces], request.scale)
        dues = [self._arrived + offset for offset in offsets]
        limits = self.server.standin.limits
        tokens = request.prompt_tokens + answer.completion_tokens
        ticket = limits.admit(tokens, time.monotonic(), dues[-1])
        if isinstance(ticket, Refusal):
            self._refuse(ticket)
            return
        created = int(time.time())
        try:
            if request.stream:
                self._stream_all_but_last(request, pieces, dues, created)
            self._wait_until(dues[-1])
        finally:
            limits.leave(ticket)
        if request.stream:
            self._stream_last(request, answer, pieces, created)
        else:
            self._send_json(chat_request.completion(request, answer, created))

    def _stream_all_but_last(self, request: ChatRequest, pieces: list[str], dues: list[float], created: int) -> None:
        for place, (piece, due) in enumerate(zip(pieces[:-1], dues, strict=False)):
            self._wait_until(due)
            if place == 0:
                self._begin_stream()
            delta = {"role": "assistant", "content": piece} if place == 0 else {"content": piece}
            self._event(chat_request.chunk(request, created, delta))

    def _stream_last(self, request: ChatRequest, answer: Answer, pieces: list[str], created: int) -> None:
        if len(pieces) == 1:
            self._begin_stream()
        delta = {"role": "assistant", "content": pieces[-1]} if len(pieces) == 1 else {"content": pieces[-1]}
        self._event(chat_request.chunk(request, created, delta, answer.finish_reason))
        if request.include_usage:
            self._event(
                {**chat_request.chunk(request, created, None), "usage": chat_request.usage(request, answer)},
            )
        self._write_chunk(b"data: [DONE]\n\n")
        self._end_stream()

    def _refuse(self, refusal: Refusal) -> None:
        seconds = refusal.retry_after_seconds
        if seconds is None:
            raise RequestError(refusal.message, code=refusal.code)
        error = RequestError(refusal.message, status=429, code=refusal.code)
        # Retry-After knows whole seconds only; retry-after-ms is what OpenAI's service adds.
        headers = {"Retry-After": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}
        self._send_json(error.body(), status=429, headers=headers)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except RequestError as error:
            self._send_json(error.body(), status=error.status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            raise
        except Exception:
            self.close_connection = True
            if not self._answered:
                self._send_json({"error": {"message": "the stand-in failed", "type": "server_error"}}, status=500)
            raise

    def _read_body(self) -> bytes:
        text = self.headers.get("Content-Length")
        if text is None or not text.isdecimal():
            self.close_connection = True
            raise RequestError("Content-Length is missing", status=411 if text is None else 400)
        length = int(text)
        if length > BODY_LIMIT_BYTES:
            self.close_connection = True
            raise RequestError(f"the body is larger than {BODY_LIMIT_BYTES:,} bytes", status=413)
        body = self.rfile.read(length)
        if len(body) < length:
            raise _GoneError
        return body

    def _wait_until(self, due: float) -> None:
        """Wait for a moment of the monotonic clock, unless the client goes away before."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        while (left := due - time.monotonic()) > 0:
            if left < _LAST_SECONDS:
                time.sleep(left)
            elif poll.poll((left - _LAST_SECONDS / 2) * 1000):
                raise _GoneError

    def _send_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        self._answered = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _begin_stream(self) -> None:
        self._answered = True
        self._chunked = self.request_version != "HTTP/1.0"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        if self._chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()

    def _event(self, event: dict[str, Any]) -> None:
        self._write_chunk(b"data: " + json.dumps(event, ensure_ascii=False).encode(errors="replace") + b"\n\n")
        self.wfile.flush()

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def _end_stream(self) -> None:
        self._write_chunk(b"") if self._chunked else None
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is not HTTP, in the same JSON shape."""
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            self._send_json(RequestError(message or HTTPStatus(code).phrase, status=code).body(), status=code)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class gives it
        """Say nothing: the terminal belongs to the run."""

"""The address at which a Prometheus reads the metrics of runs that go on: http://127.0.0.1:PORT/metrics.

Rules of this module:
- Loopback alone, nothing but reading, one registry of its own.
- It stays a little after the end, so that a scrape of every second sees how it ended: until one has, and
  :data:`LINGER_SECONDS` at the most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from harness.telemetry.metrics.samples import Sample
from harness.telemetry.prometheus.exposition import choose_encoder, registry_of

HOST: Final = "127.0.0.1"
PATH: Final = "/metrics"
# Measured: with a scrape a second, a shorter time loses the end of a quarter of all runs of 2.5 s.
LINGER_SECONDS: Final = 1.6
_REQUEST_SECONDS: Final = 10.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Another program's port is not to be shared with it.
    allow_reuse_port = False

    def __init__(self, port: int, samples: Callable[[], Iterable[Sample]]) -> None:
        self.registry = registry_of(samples)
        self.scraped = threading.Condition()
        # How many began, how many ended, and the number of the latest beginning that ended.
        self.begun = 0
        self.scrapes = 0
        self.latest = 0
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no matter."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else each answer waits 40 ms for a delayed acknowledgement.
    disable_nagle_algorithm = True
    timeout = _REQUEST_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, b"The metrics are at /metrics.\n", "text/plain; charset=utf-8")
            return
        with self.server.scraped:
            self.server.begun += 1
            number = self.server.begun
        encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, encoder(self.server.registry), content_type)
        with self.server.scraped:
            self.server.scrapes += 1
            self.server.latest = max(self.server.latest, number)
            self.server.scraped.notify_all()

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """A line for every scrape would be noise."""


class Endpoint:
    """Serves samples in threads of its own. A context manager.

    Raises:
        OSError: the port is in use.

    """

    def __init__(self, port: int, samples: Callable[[], Iterable[Sample]]) -> None:
        self._server = _Server(port, samples)
        self.port = int(self._server.server_address[1])
        self._missed = 0
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="makespan-metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}{PATH}"

    @property
    def scrapes(self) -> int:
        """How often it was read."""
        return self._server.scrapes

    def changed(self) -> None:
        """From now on there is something that has to be read: a scrape that goes on may have missed it."""
        with self._server.scraped:
            self._missed = self._server.begun

    def linger(self, seconds: float = LINGER_SECONDS) -> bool:
        """Wait until it is read by a scrape that began after the last change, for at most so long. Answers whether it
        was.
        """
        until = time.monotonic() + seconds
        with self._server.scraped:
            while self._server.latest <= self._missed:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._server.scraped.wait(left)
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""The preview: one local page that draws the dashboards' JSON, for those who have no Grafana.

Rules of this module:
- It listens on loopback alone, and answers only who names it by a loopback name: no page of another site can read it.
- The page gets nothing from elsewhere: the charting library is the one of the installed plotly package.
- To Prometheus only questions are passed on, never anything that changes it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from harness.dashboards.grafana.dashboard_files import Dashboard
from harness.dashboards.validation.dashboard_checks import SCRAPE_SECONDS
from harness.telemetry.telemetry_settings import Profile

_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "json": "application/json"}
_PAGE_FILES: Final = ("page.html", "preview.css", "preview.js", "asking.js", "draw.js", "frames.js", "numbers.js")
_QUESTION: Final = re.compile(r"/api/v1/(query|query_range|query_exemplars|series)")
_LARGEST_QUESTION_BYTES: Final = 1_000_000
_TIMEOUT_SECONDS: Final = 60.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})
_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class Preview:
    """The page's server. ``port`` 0: any free one. A context manager: it serves meanwhile.

    Raises:
        OSError: the port is in use.

    """

    def __init__(
        self, dashboards: Mapping[str, Dashboard], prometheus_url: str, profile: Profile, *, port: int = 0
    ) -> None:
        self._server = _Server(dashboards, prometheus_url, profile, port)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="makespan-preview", daemon=True)

    def __enter__(self) -> Preview:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.client.close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # Another program's listener on the same port is a fault, and not to be shared.
    allow_reuse_port = False

    def __init__(self, dashboards: Mapping[str, Dashboard], prometheus_url: str, profile: Profile, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        self.prometheus_url = prometheus_url.rstrip("/")
        self.client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)
        names = {name.removesuffix(".json"): one for name, one in dashboards.items()}
        index = {
            "dashboards": [{"name": name, "title": one["title"], "uid": one["uid"]} for name, one in names.items()],
            "scrape_milliseconds": round(SCRAPE_SECONDS[profile] * 1000),
        }
        self.documents = {f"/dashboards/{name}.json": one for name, one in names.items()}
        self.documents["/dashboards/index.json"] = index


class _Answers(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # The standard library waits for more to send before it sends the end of an answer.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_for_us():
            return
        if path in self.server.documents:
            self._send(HTTPStatus.OK, json.dumps(self.server.documents[path]).encode(), "json")
            return
        name = "page.html" if path == "/" else path.removeprefix("/")
        body = page_file(name)
        if body is None:
            self._send(HTTPStatus.NOT_FOUND, b"not found\n", "html")
        else:
            self._send(HTTPStatus.OK, body, name.rpartition(".")[2])

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_for_us():
            return
        length = int(self.headers.get("Content-Length") or 0)
        if not _QUESTION.fullmatch(path) or length > _LARGEST_QUESTION_BYTES:
            self.close_connection = True
            self._send(HTTPStatus.NOT_FOUND, b"not found\n", "html")
            return
        question = self.rfile.read(length)
        status, answer = self._passed_on(path, question)
        self._send(status, answer, "json")

    def _passed_on(self, path: str, question: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            found = self.server.client.post(self.server.prometheus_url + path, content=question, headers=headers)
        except httpx.HTTPError as error:
            said = {"status": "error", "error": f"Prometheus does not answer: {error}"}
            return HTTPStatus.BAD_GATEWAY, json.dumps(said).encode()
        return found.status_code, found.content

    def _is_for_us(self) -> bool:
        """A page of another site that made its name point here still sends that name."""
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname in _LOOPBACK:
            return True
        self.close_connection = True
        self._send(HTTPStatus.FORBIDDEN, b"this page answers to 127.0.0.1 alone\n", "html")
        return False

    def _send(self, status: int, body: bytes, ending: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{_TYPES.get(ending, 'text/plain')}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the standard library gives
        """Who looked at which panel is of no interest."""


@cache
def page_file(name: str) -> bytes | None:
    """A file of the page, or the charting library; None where it is neither."""
    if name == "plotly.min.js":
        return files("plotly").joinpath("package_data", name).read_bytes()
    return files("harness.dashboards.preview").joinpath("page", name).read_bytes() if name in _PAGE_FILES else None

"""A proxy on this machine that counts the bytes that come back through it: what a command fetches, whichever program
of it does the fetching.

Rules: it listens on the loopback alone, tunnels (CONNECT) without looking into them, and goes on through the proxy
that ``HTTPS_PROXY`` names, if any. It knows no plain HTTP: package indexes are asked by HTTPS.
"""

from __future__ import annotations

import os
import select
import socket
import socketserver
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

__all__ = ["CountingProxy"]

_CHUNK_BYTES = 1 << 16
_CONNECT_SECONDS = 30.0
_LONGEST_HEAD_BYTES = 1 << 16


class CountingProxy:
    """Listens while it is entered; ``fetched_bytes`` is what came back so far, handshakes included."""

    def __init__(self) -> None:
        self.fetched_bytes = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy.tunnel(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="counting-proxy", daemon=True)

    @property
    def url(self) -> str:
        """For ``HTTPS_PROXY``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def tunnel(self, client: socket.socket) -> None:
        """Serve one connection: read its ``CONNECT host:port``, connect, and pass bytes on until one side ends."""
        head = _read_head(client)
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].decode("ascii", "replace")
        if method != b"CONNECT":
            client.sendall(b"HTTP/1.1 405 only CONNECT is known here\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            server = _connect(target, head)
        except OSError as error:
            client.sendall(f"HTTP/1.1 502 cannot reach {target}: {error}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with server:
            if _upstream() is None:
                client.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        try:
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(_CHUNK_BYTES)
                    if not data:
                        return
                    if ready is server:
                        with self._lock:
                            self.fetched_bytes += len(data)
                    other[ready].sendall(data)
        except OSError:
            # One side went away in the middle: the other sees its connection closed.
            return


def _read_head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD_BYTES:
        data = client.recv(_CHUNK_BYTES)
        if not data:
            break
        head += data
    return head


def _upstream() -> tuple[str, int] | None:
    named = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if not named:
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    return (parts.hostname or "", parts.port or 80)


def _connect(target: str, head: bytes) -> socket.socket:
    """Connect to the target, or to the proxy before it, which is then asked the same."""
    upstream = _upstream()
    host, _, port = target.rpartition(":")
    server = socket.create_connection(upstream or (host.strip("[]"), int(port or 443)), _CONNECT_SECONDS)
    server.settimeout(None)
    if upstream is not None:
        server.sendall(head)
    return server

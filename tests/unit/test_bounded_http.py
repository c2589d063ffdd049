"""Servers that want to hold a client up, or to fill its memory: each is given up within its time, by all who ask."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from harness.bounded_http import AnswerTooLargeError, BoundedClient
from harness.config import Config
from harness.doctor import _endpoint
from harness.telemetry.prometheus.http_api import Connection
from harness.telemetry.spans.transports import HttpTransport, TransportError

SECONDS = 0.5
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece
        time.sleep(SECONDS / 10)


def silent() -> Iterator[bytes]:
    yield from drip(b"")


def drips_its_headers() -> Iterator[bytes]:
    yield HEAD
    yield from drip(b"X: y\r\n")


def drips_its_body() -> Iterator[bytes]:
    yield HEAD + b"Content-Length: 100000\r\n\r\n"
    yield from drip(b" ")


def drips_a_body_without_length() -> Iterator[bytes]:
    yield HEAD + b"Connection: close\r\n\r\n{}"
    yield from drip(b" ")


def drips_chunks() -> Iterator[bytes]:
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from drip(b"1\r\n \r\n")


def never_ends() -> Iterator[bytes]:
    yield HEAD + b"Connection: close\r\n\r\n"
    yield from itertools.repeat(b" " * 65_536)


def hides_much_in_little() -> Iterator[bytes]:
    body = gzip.compress(b" " * 50_000_000)
    yield HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


HOSTILE: list[Callable[[], Iterator[bytes]]] = [
    silent, drips_its_headers, drips_its_body, drips_a_body_without_length, drips_chunks, never_ends,
    hides_much_in_little,
]  # fmt: skip


@contextmanager
def serving(answer: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """A server that answers every request so; its address."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            for piece in answer():
                if over.is_set():
                    return
                connection.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(params=HOSTILE, ids=lambda answer: answer.__name__)
def hostile(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(request.param) as url:
        yield url


@pytest.fixture
def client() -> Iterator[BoundedClient]:
    client = BoundedClient()
    yield client
    client.close()


def test_an_answer_that_does_not_end_or_is_too_large_is_an_error(hostile: str, client: BoundedClient) -> None:
    with pytest.raises((httpx.TimeoutException, AnswerTooLargeError, httpx.DecodingError)):
        client.request("GET", hostile, timeout_seconds=SECONDS)


def test_a_receiver_of_traces_holds_nothing_up(hostile: str) -> None:
    transport = HttpTransport(hostile, {})
    with pytest.raises(TransportError):
        transport.send([], SECONDS)
    transport.close()


def test_a_prometheus_holds_nothing_up(hostile: str) -> None:
    connection = Connection(hostile, timeout_seconds=SECONDS, unreachable=LookupError, when_slow="wait")
    with pytest.raises(LookupError):
        connection.request("POST", "/api/v1/write", body=b"x")
    connection.close()


def test_a_model_endpoint_does_not_hold_up_the_doctor(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.model_endpoint._SECONDS", SECONDS)
    config = Config.model_validate({"llm": {"base_url": hostile}})
    assert _endpoint(config).state == "broken"


def honest(body: bytes) -> Callable[[], Iterator[bytes]]:
    def answer() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
        for place in range(0, len(body), 1000):
            yield body[place : place + 1000]

    return answer


def test_a_whole_answer_comes_as_it_is(client: BoundedClient) -> None:
    with serving(honest(b'{"a": "%s"}' % (b"x" * 900_000))) as url:
        found: Any = client.request("GET", url, timeout_seconds=30.0)
    assert found.status_code == 200
    assert found.json() == {"a": "x" * 900_000}


def test_a_whole_answer_over_the_limit_says_what_the_limit_is(client: BoundedClient) -> None:
    with (
        serving(honest(b" " * 1_000_001)) as url,
        pytest.raises(AnswerTooLargeError, match="larger than 1,000,000 bytes"),
    ):
        client.request("GET", url, timeout_seconds=30.0)

"""A small OTLP receiver on loopback: keeps every span that it is sent, or misbehaves as asked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def value_of(value: Any) -> Any:
    """A protobuf AnyValue as a Python value; lists are tuples."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(value_of(item) for item in value.array_value.values)
    return None if kind is None else getattr(value, kind)


def attributes_of(thing: Any) -> dict[str, Any]:
    """The attributes of a span, an event, a link or a resource."""
    return {one.key: value_of(one.value) for one in thing.attributes}


class Received:
    """What came. ``answer`` decides about each request: an HTTP status, or None for fine."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.attempts = 0
        self.answer: Callable[[int], int | None] = lambda number: None
        self.delay_seconds = 0.0
        self.rejected_spans = 0
        self.lock = threading.Lock()

    @property
    def spans(self) -> list[Span]:
        """All spans, in order of arrival."""
        with self.lock:
            return [
                span
                for request in self.requests
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def named(self, beginning: str) -> list[Span]:
        """Those whose name begins so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def wait_for(self, count: int, seconds: float = 20.0) -> None:
        """Until so many spans are there."""
        deadline = time.monotonic() + seconds
        while len(self.spans) < count:
            assert time.monotonic() < deadline, f"{len(self.spans)} of {count} spans came"
            time.sleep(0.02)


class OtlpReceiver:
    """OTLP/HTTP on a free loopback port: ``with OtlpReceiver() as receiver: … receiver.endpoint``."""

    def __init__(self, port: int = 0) -> None:
        self.received = received = Received()
        self._connections = connections = list[socket.socket]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with received.lock:
                    received.attempts += 1
                    number = received.attempts
                if received.delay_seconds:
                    time.sleep(received.delay_seconds)
                status = (404 if self.path != "/v1/traces" else None) or received.answer(number)
                if status is not None and status != 200:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                response = ExportTraceServiceResponse()
                response.partial_success.rejected_spans = received.rejected_spans
                answer = response.SerializeToString()
                with received.lock:
                    received.requests.append(ExportTraceServiceRequest.FromString(body))
                    received.headers.append({name.lower(): value for name, value in self.headers.items()})
                    received.bodies.append(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is no news."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        """For the configuration."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Span]:
        """All spans that came."""
        return self.received.spans

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Be gone; what came stays readable."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class OtlpGrpcReceiver:
    """OTLP/gRPC on a free loopback port."""

    def __init__(self) -> None:
        import grpc
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

        self.received = received = Received()

        class Service(trace_service_pb2_grpc.TraceServiceServicer):
            def Export(self, request: Any, context: Any) -> Any:
                with received.lock:
                    received.attempts += 1
                    received.requests.append(request)
                    received.headers.append({one.key: str(one.value) for one in context.invocation_metadata()})
                return ExportTraceServiceResponse()

        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def endpoint(self) -> str:
        """For the configuration."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

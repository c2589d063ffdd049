"""OTLP over gRPC on loopback, where the extra `grpc` is installed.

Rules of this module:
- Bodies are taken as bytes: the generated service is not needed.
- Metrics and logs are answered as if they were kept.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from harness.recording.http_receiver import LARGEST_BODY_BYTES, LOOPBACK, PortTakenError
from harness.recording.received_spans import ReceivedSpans, UnreadableError

_TRACES: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_WORKERS: Final = 4
_GRACE_SECONDS: Final = 2.0


class GrpcMissingError(ImportError):
    """gRPC is asked for, and not installed."""


class GrpcReceiver:
    """``with GrpcReceiver(received) as receiver: … receiver.endpoint``. ``port`` 0: a free one."""

    def __init__(self, received: ReceivedSpans, port: int = 0) -> None:
        """Raises :class:`GrpcMissingError` and :class:`.PortTakenError`."""
        try:
            import grpc  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, and heavy
        except ImportError:
            raise GrpcMissingError("OTLP over gRPC needs the extra grpc: pip install 'makespan[grpc]'") from None

        class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
            """Takes every export."""

            def service(self, details: Any) -> Any:
                """The method that is called."""
                if not details.method.endswith("/Export"):
                    return None
                take = _take_spans if details.method == _TRACES else _take_others
                return grpc.unary_unary_rpc_method_handler(lambda body, context: take(received, body, context, grpc))

        options = [("grpc.max_receive_message_length", LARGEST_BODY_BYTES), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(_WORKERS), handlers=(Handler(),), options=options)
        try:
            self.port = int(self._server.add_insecure_port(f"{LOOPBACK}:{port}"))
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise PortTakenError(f"port {port} of {LOOPBACK} cannot be had: another program listens there already")

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(_GRACE_SECONDS).wait()


def _take_spans(received: ReceivedSpans, body: bytes, context: Any, grpc: Any) -> bytes:
    received.begin_request()
    try:
        received.add_protobuf(body)
    except UnreadableError as error:
        received.note("unreadable")
        context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
        context.set_details(str(error))
    finally:
        received.end_request()
    return b""


def _take_others(received: ReceivedSpans, _body: bytes, _context: Any, _grpc: Any) -> bytes:
    received.note("other_signals")
    return b""

"""One batch of spans over OTLP, by HTTP or gRPC: sent whole, or an error that says whether another try makes sense.

Rules of this module:
- No retries and no waiting here: :mod:`harness.telemetry.spans.span_sending` decides.
- What a receiver refuses of a batch that it accepts (partial success) is counted.
- Every answer has a total time and a size limit (:mod:`harness.bounded_http`; gRPC has its own, 4 MB).
- Keys in headers stand in no message, and neither does the user's part of an address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan

from executor.tracing.step_spans import RunIds
from harness.telemetry.spans.span_building import Maker, SpanMaker
from harness.telemetry.telemetry_settings import Telemetry, shown
from harness.version import package_version

_PATH: Final = "/v1/traces"
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
# gRPC's codes after which OTLP says to try again; for a batch that is too large there is another way.
_AGAIN_GRPC: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS", "RESOURCE_EXHAUSTED"}
)
_TOO_LARGE: Final = 413
# Characters of an answer that are looked at, and shown.
_ANSWER_READ: Final = 2_000
_ANSWER_SHOWN: Final = 200
# Shorter values of headers are words, and masking them would make the answer unreadable.
_SECRET_CHARACTERS = 6


class TransportError(Exception):
    """A batch did not get through. ``again``: another try may help; ``too_large``: a smaller one may.
    ``retry_after_seconds`` is what the receiver asked for. ``for_all``: no other batch will get through either.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        too_large: bool = False,
        retry_after_seconds: float | None = None,
        for_all: bool = False,
    ) -> None:
        super().__init__(message)
        self.again = again
        self.too_large = too_large
        self.retry_after_seconds = retry_after_seconds
        self.for_all = for_all


class MissingExtraError(ImportError):
    """What the configuration asks for is not installed; the message names the extra."""


class Transport(Protocol):
    """Where batches go."""

    name: str

    def maker(self, ids: RunIds, origin: int) -> Maker:
        """What makes the spans of a run as :meth:`send` takes them. ``origin``: t = 0 in nanoseconds since 1970."""

    def send(self, spans: Sequence[Any], timeout_seconds: float) -> int:
        """Send a batch; returns how many spans of it the receiver refused. Raises TransportError."""

    def close(self) -> None:
        """No more follow."""


def transport_for(settings: Telemetry) -> Transport:
    """The transport to the configured endpoint.

    Raises:
        MissingExtraError: it needs a package that is not installed.

    """
    assert settings.endpoint is not None
    headers = {name: secret.get_secret_value() for name, secret in settings.headers.items()}
    if settings.protocol == "grpc":
        return GrpcTransport(settings.endpoint, headers)
    return HttpTransport(settings.endpoint, headers)


class HttpTransport:
    """OTLP/HTTP with protobuf bodies. ``endpoint`` is the receiver's base address, or that of its traces."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        import httpx  # noqa: PLC0415  # only where something is sent

        from harness.bounded_http import AnswerTooLargeError, BoundedClient  # noqa: PLC0415  # as above

        base = endpoint.rstrip("/")
        self._url = base if base.endswith(_PATH) else base + _PATH
        self.name = shown(self._url)
        own = {"Content-Type": "application/x-protobuf", "User-Agent": f"makespan/{package_version()}"}
        self._client = BoundedClient(headers={**own, **headers})
        self._secrets = _secrets_of(headers)
        self._errors = httpx.HTTPError
        # It would answer so again.
        self._final_errors = (AnswerTooLargeError, httpx.DecodingError)

    def maker(self, ids: RunIds, origin: int) -> Maker:
        return SpanMaker(ids, origin)

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> int:
        body = encode_spans(spans).SerializeToString()
        try:
            response = self._client.request("POST", self._url, content=body, timeout_seconds=timeout_seconds)
        except self._errors as error:
            raise TransportError(_words(error), again=not isinstance(error, self._final_errors)) from error
        status = response.status_code
        if 200 <= status < 300:
            return _refused(response.content)
        raise TransportError(
            f"it answered {status} {response.reason_phrase}".rstrip() + self._said(response),
            again=status in _AGAIN,
            too_large=status == _TOO_LARGE,
            retry_after_seconds=_seconds(response.headers.get("retry-after")),
            for_all=status not in (400, _TOO_LARGE),
        )

    def _said(self, response: Any) -> str:
        """What the receiver says of it, if it does in text, without the keys that it was sent."""
        if not response.headers.get("content-type", "").startswith(("text/plain", "application/json")):
            return ""
        said = " ".join(response.text[:_ANSWER_READ].split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return f": {said[:_ANSWER_SHOWN]}" if said else ""

    def close(self) -> None:
        self._client.close()


def _secrets_of(headers: Mapping[str, str]) -> list[str]:
    """What must not be shown of the headers: whole values first, and of ``Bearer KEY`` the key alone, too."""
    whole = [value for value in headers.values() if len(value) >= _SECRET_CHARACTERS]
    keys = [value.rpartition(" ")[2] for name, value in headers.items() if name.lower() == "authorization"]
    return [*whole, *(key for key in keys if key)]


class GrpcTransport:
    """OTLP/gRPC. ``http://`` is in the clear, ``https://`` over TLS.

    Raises:
        MissingExtraError: there is no gRPC.

    """

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        try:
            import grpc  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra without types
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (  # noqa: PLC0415  # needs it
                TraceServiceStub,
            )
        except ImportError as error:
            raise MissingExtraError(
                "telemetry.protocol grpc needs gRPC: install makespan[grpc], or use protocol http"
            ) from error
        scheme, _, rest = endpoint.partition("://")
        target = rest.rstrip("/").rpartition("@")[2]
        self.name = f"{target} (gRPC)"
        self._error: Any = grpc.RpcError
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials())
            if scheme == "https"
            else grpc.insecure_channel(target)
        )
        stub: Any = TraceServiceStub
        self._stub = stub(self._channel)
        self._metadata = [(name.lower(), value) for name, value in headers.items()]

    def maker(self, ids: RunIds, origin: int) -> Maker:
        return SpanMaker(ids, origin)

    def send(self, spans: Sequence[ReadableSpan], timeout_seconds: float) -> int:
        try:
            response = self._stub.Export(encode_spans(spans), timeout=timeout_seconds, metadata=self._metadata)
        except self._error as error:
            code = error.code().name
            details = str(error.details() or "")
            too_large = code == "RESOURCE_EXHAUSTED" and "larger than max" in details
            raise TransportError(
                f"{code} {details}".rstrip(),
                again=code in _AGAIN_GRPC and not too_large,
                too_large=too_large,
                for_all=code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"),
            ) from error
        return int(response.partial_success.rejected_spans)

    def close(self) -> None:
        self._channel.close()


def _refused(body: bytes) -> int:
    try:
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except Exception:  # noqa: BLE001  # some receivers answer JSON or text; the status says that they took it all
        return 0


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None


def _words(error: Exception) -> str:
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text and "timed out" not in text else "no answer in time" if "Timeout" in name else name

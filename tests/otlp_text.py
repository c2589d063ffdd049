"""OTLP JSON of the SDK's spans, by the SDK's own encoder and protobuf's own JSON: nothing of it is ours but the ids."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]  # protobuf has no types
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan

_IDS = ("traceId", "spanId", "parentSpanId")


def request_text(spans: Iterable[ReadableSpan]) -> str:
    """An `ExportTraceServiceRequest` of these spans, as JSON on one line."""
    found = MessageToDict(encode_spans(list(spans)), use_integers_for_enums=True)
    return json.dumps(_with_ids(found, lambda text: base64.b64decode(text).hex()))


def request_of(text: str) -> ExportTraceServiceRequest:
    """The request that a line of OTLP JSON says, without the trace flags of W3C: the SDK leaves them out, which the
    specification puts into the low byte of ``flags``.
    """
    request = ExportTraceServiceRequest()
    ParseDict(_with_ids(json.loads(text), lambda text: base64.b64encode(bytes.fromhex(text)).decode()), request)
    for scope in (scope for resource in request.resource_spans for scope in resource.scope_spans):
        for span in scope.spans:
            for one in (span, *span.links):
                one.flags &= ~0xFF
    return request


def _with_ids(part: Any, changed: Callable[[str], str]) -> Any:
    """The ids of OTLP's JSON are hexadecimal, those of protobuf's are in base64."""
    if isinstance(part, list):
        return [_with_ids(one, changed) for one in part]
    if isinstance(part, dict):
        return {key: changed(one) if key in _IDS else _with_ids(one, changed) for key, one in part.items()}
    return part

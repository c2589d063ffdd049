"""What a receiver was sent: spans in two files that :func:`harness.traces.read_traces` reads, and what was wrong.

Rules of this module:
- From any thread. A body is looked at before it is kept: what cannot be read is counted, and never written.
- Kept as it came, one message behind the other, so that the memory used does not grow with the program.
"""

from __future__ import annotations

import json
from pathlib import Path
from threading import Condition
from typing import BinaryIO, Final

PROTOBUF_FILE: Final = "spans.pb"
JSON_FILE: Final = "spans.jsonl"
_LENGTH_BYTES: Final = 4


class UnreadableError(ValueError):
    """A body is no OTLP request; the message says what is wrong with it."""


class ReceivedSpans:
    """``spans``, ``requests``: how much came. ``other_signals``: requests with metrics or logs, which are not kept.
    ``broken_off``, ``unreadable``, ``too_large``: requests whose spans are missing. ``refused``: from a browser, or to
    no address of OTLP.
    """

    def __init__(self, folder: Path) -> None:
        self.spans = 0
        self.requests = 0
        self.other_signals = 0
        self.broken_off = 0
        self.unreadable = 0
        self.too_large = 0
        self.refused = 0
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._changed = Condition()
        self._open_requests = 0

    def add_protobuf(self, body: bytes) -> None:
        """Keep an ``ExportTraceServiceRequest``.

        Raises:
            UnreadableError: it is none.

        """
        # Heavy, and only needed once something comes. The package has no types.
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # noqa: PLC0415
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
            ExportTraceServiceRequest,
        )

        try:
            message = ExportTraceServiceRequest.FromString(body)
        except DecodeError as error:
            raise UnreadableError(f"it is no OTLP protobuf: {error}") from None
        spans = sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)
        self._keep(PROTOBUF_FILE, len(body).to_bytes(_LENGTH_BYTES, "big") + body, spans)

    def add_json(self, body: bytes) -> None:
        """Keep a request of OTLP's JSON.

        Raises:
            UnreadableError: it is none.

        """
        try:
            document = json.loads(body)
            spans = sum(
                len(scope["spans"]) for resource in document["resourceSpans"] for scope in resource["scopeSpans"]
            )
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise UnreadableError(f"it is no OTLP JSON: {type(error).__name__}: {error}") from None
        self._keep(JSON_FILE, json.dumps(document).encode() + b"\n", spans)

    def _keep(self, name: str, content: bytes, spans: int) -> None:
        with self._changed:
            self.requests += 1
            if not spans:
                return
            self.spans += spans
            if name not in self._files:
                self._files[name] = (self._folder / name).open("wb")
            self._files[name].write(content)

    def note(self, what: str) -> None:
        """Count a request whose spans are not kept: ``other_signals``, ``broken_off``, …"""
        with self._changed:
            setattr(self, what, getattr(self, what) + 1)

    def begin_request(self) -> None:
        """A request is being read."""
        with self._changed:
            self._open_requests += 1

    def end_request(self) -> None:
        """It was answered, or broke off."""
        with self._changed:
            self._open_requests -= 1
            self._changed.notify_all()

    def wait_until_quiet(self, seconds: float) -> None:
        """Until no request is being read, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open_requests, seconds)

    def close(self) -> list[Path]:
        """Write out what came; the files that hold it."""
        with self._changed:
            for file in self._files.values():
                file.close()
            return [self._folder / name for name in self._files]

    def faults(self) -> list[str]:
        """What was wrong with what came, as sentences."""
        return [
            sentence
            for count, sentence in (
                (self.broken_off, f"{self.broken_off} requests broke off before their end: their spans are missing"),
                (self.unreadable, f"{self.unreadable} requests were no OTLP: nothing of them is kept"),
                (self.too_large, f"{self.too_large} requests were too large, and were refused"),
                (self.refused, f"{self.refused} requests were refused: to no address of OTLP, or from a browser"),
            )
            if count
        ]

"""Reads OTLP's protobuf: one message, messages with their length before them, or a large one part by part.

Rules of this module:
- A file is read one ``ResourceSpans`` at a time, never parsed as a whole.
- The generated classes are imported when a file needs them.

Source of the framing: the file exporter of the OpenTelemetry collector writes each message after its length, four
bytes, big-endian; protobuf's own delimited form writes the length as a varint.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Any, BinaryIO, Final

from harness.traces.formats.otlp import Defects, Origin
from harness.traces.formats.otlp_values import kind_of, nanoseconds
from harness.traces.trace_model import Event, Link, Span, StatusCode, TraceError

_RESOURCE_SPANS_TAG: Final = 0x0A
_LARGEST_PART_BYTES: Final = 1 << 31
_STATUSES: Final[tuple[StatusCode, ...]] = ("unset", "ok", "error")


def raw_spans(file: BinaryIO, name: str) -> Iterator[tuple[Origin, list[Any]]]:
    """The spans of a file, scope by scope. Reading begins where the file is, which must be its beginning.

    Raises:
        TraceError: it is no OTLP protobuf, or breaks off before the first span.

    """
    try:
        # Heavy, and most files are JSON. The package has no types.
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # noqa: PLC0415
        from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans  # noqa: PLC0415
    except ImportError:
        raise TraceError(
            f"{name}: looks like protobuf, and reading that needs the package opentelemetry-proto; "
            "install it, or export OTLP JSON"
        ) from None
    read = 0
    try:
        for part in _parts(file):
            message = ResourceSpans.FromString(part)
            resource = {intern(one.key): _value(one.value) for one in message.resource.attributes}
            for scope in message.scope_spans:
                read += len(scope.spans)
                yield Origin(resource, scope.scope.name), list(scope.spans)
    except (DecodeError, EOFError, ValueError) as error:
        if not read:
            raise TraceError(f"{name}: is neither JSON nor OTLP protobuf ({str(error) or 'it breaks off'})") from None
        raise BrokenOffError from None


class BrokenOffError(Exception):
    """The file breaks off, or goes wrong, after some spans."""


def _parts(file: BinaryIO) -> Iterator[bytes]:
    """The ``ResourceSpans`` of a file, each as its bytes."""
    head = file.read(5)
    if len(head) == 5 and head[0] != _RESOURCE_SPANS_TAG and head[4] == _RESOURCE_SPANS_TAG:
        # The length of a message in four bytes, and the message's first byte.
        length = int.from_bytes(head[:4], "big")
        while True:
            yield from _fields(head[4:] + _exactly(file, length - 1))
            head = file.read(5)
            if not head:
                return
            if len(head) < 5:
                raise EOFError
            length = int.from_bytes(head[:4], "big")
    source = _Bytes(head, file)
    while True:
        tag = source.byte()
        if tag is None:
            return
        if tag == _RESOURCE_SPANS_TAG:
            yield source.exactly(source.varint())
        else:  # the length of a whole message
            yield from _fields(source.exactly(source.varint(tag)))


def _fields(message: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(message):
        tag = message[place]
        place += 1
        length = shift = 0
        while True:
            if place >= len(message) or shift > 63:
                raise EOFError
            byte = message[place]
            place += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag != _RESOURCE_SPANS_TAG or place + length > len(message):
            raise ValueError(f"field {tag >> 3} where resource spans should stand")
        yield message[place : place + length]
        place += length


def _exactly(file: BinaryIO, count: int) -> bytes:
    if not 0 <= count <= _LARGEST_PART_BYTES:
        raise ValueError(f"a part of {count} bytes")
    found = file.read(count)
    if len(found) < count:
        raise EOFError
    return found


class _Bytes:
    """A file, with the bytes that were taken from it already before it."""

    def __init__(self, taken: bytes, file: BinaryIO) -> None:
        self._taken = taken
        self._file = file

    def byte(self) -> int | None:
        """The next byte, or None at the end."""
        found = self._read(1)
        return found[0] if found else None

    def _read(self, count: int) -> bytes:
        if self._taken:
            found, self._taken = self._taken[:count], self._taken[count:]
            return found if len(found) == count else found + self._file.read(count - len(found))
        return self._file.read(count)

    def exactly(self, count: int) -> bytes:
        """So many bytes, or EOFError."""
        if not 0 <= count <= _LARGEST_PART_BYTES:
            raise ValueError(f"a part of {count} bytes")
        found = self._read(count)
        if len(found) < count:
            raise EOFError
        return found

    def varint(self, first: int | None = None) -> int:
        """A number in protobuf's variable length."""
        value = shift = 0
        byte = self.byte() if first is None else first
        while True:
            if byte is None or shift > 63:
                raise EOFError
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            byte = self.byte()


def span_of(raw: Any, origin: Origin, defects: Defects) -> Span | None:
    """A span, or None where it cannot be read (counted)."""
    start = nanoseconds(raw.start_time_unix_nano)
    if not any(raw.span_id) or start is None:
        defects.note("no_start" if any(raw.span_id) else "no_span_id")
        return None
    parent = raw.parent_span_id
    code = raw.status.code
    return Span(
        raw.trace_id.hex(),
        raw.span_id.hex(),
        parent.hex() if any(parent) else None,
        intern(raw.name),
        start,
        nanoseconds(raw.end_time_unix_nano),
        kind_of(raw.kind),
        _STATUSES[code] if 0 <= code < len(_STATUSES) else "unset",
        raw.status.message,
        origin.service,
        origin.scope,
        {intern(one.key): _value(one.value) for one in raw.attributes},
        tuple(
            Link(one.trace_id.hex(), one.span_id.hex(), {pair.key: _value(pair.value) for pair in one.attributes})
            for one in raw.links
        ),
        tuple(
            Event(one.name, one.time_unix_nano or start, {pair.key: _value(pair.value) for pair in one.attributes})
            for one in raw.events
        ),
        origin.resource,
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _value(one.value) for one in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)

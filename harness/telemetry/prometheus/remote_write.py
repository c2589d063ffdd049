"""Prometheus' remote write, version 1: time series as snappy-compressed protocol buffers. Pure.

::

    WriteRequest { repeated TimeSeries timeseries = 1; }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; repeated Exemplar exemplars = 3; }
    Label        { string name = 1; string value = 2; }
    Sample       { double value = 1; int64 timestamp = 2; }
    Exemplar     { repeated Label labels = 1; double value = 2; int64 timestamp = 3; }

Rules of this module:
- Labels stand in order of their names, points in order of time, as the specification wants it
  (prometheus.io/docs/concepts/remote_write_spec).
- Written by hand, since five messages of strings and numbers are less than a generated module and its runtime.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from harness.telemetry.metrics.labels import Labels
from harness.telemetry.metrics.time_series import Point, TimedExemplar, TimeSeries

HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
# Small enough that a request is answered within a moment.
POINTS_PER_REQUEST: Final = 20_000
NAME_LABEL: Final = "__name__"

# Wire types, in the lowest bits of a field's key.
_VARINT: Final = 0
_DOUBLE: Final = 1
_BYTES: Final = 2
_MASK_64: Final = (1 << 64) - 1


def requests(series: Iterable[TimeSeries]) -> Iterator[bytes]:
    """The bodies of the requests that send all series, each of at most :data:`POINTS_PER_REQUEST` points."""
    parts: list[bytes] = []
    points = 0
    for one in series:
        for start in range(0, len(one.points), POINTS_PER_REQUEST):
            some = one.points[start : start + POINTS_PER_REQUEST]
            if points and points + len(some) > POINTS_PER_REQUEST:
                yield compressed(b"".join(parts))
                parts, points = [], 0
            is_last = start + len(some) == len(one.points)
            parts.append(_field(1, _time_series(one, some, one.exemplars if is_last else ())))
            points += len(some)
    if parts:
        yield compressed(b"".join(parts))


def compressed(body: bytes) -> bytes:
    """The body in snappy's block format."""
    import cramjam  # noqa: PLC0415 - only a push pays for it

    return bytes(cramjam.snappy.compress_raw(body))


def _time_series(series: TimeSeries, points: Iterable[Point], exemplars: Iterable[TimedExemplar]) -> bytes:
    parts = [_labels(1, (*series.labels, (NAME_LABEL, series.name)))]
    parts += [_field(2, _double(1, value) + _integer(2, at)) for at, value in points]
    parts += [_field(3, _labels(1, labels) + _double(2, value) + _integer(3, at)) for at, value, labels in exemplars]
    return b"".join(parts)


def _labels(number: int, labels: Labels) -> bytes:
    # An empty value is the same as no label, and is not allowed on the wire.
    return b"".join(
        _field(number, _text(1, name) + _text(2, value)) for name, value in sorted(labels) if value
    )  # fmt: skip


def _text(number: int, text: str) -> bytes:
    # Half a surrogate pair has no UTF-8; no reader could show it anyway.
    return _field(number, text.encode("utf-8", "replace"))


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _double(number: int, value: float) -> bytes:
    return _key(number, _DOUBLE) + struct.pack("<d", value)


def _integer(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value & _MASK_64)


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)

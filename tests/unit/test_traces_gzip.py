"""Compressed traces: whole, cut off, damaged, in several members; what is there is read, and what is lost is said."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from typing import Any

import pytest

from harness.traces import Trace, TraceError, read_traces
from harness.traces.reading.gzip_stream import Unpacked
from tests.unit.trace_making import otlp_text, trace

SPANS = 400
LIMITS = [1 << 24, 10]
# Not to be packed well: a cut shall hit some line in the middle of the file.
NOISE = random.Random(6)


def as_lines() -> bytes:
    return b"".join(
        otlp_text(
            trace({f"step {number}": (number, number + 1)}, attributes={f"step {number}": {"text": noise()}})
        ).encode()
        + b"\n"
        for number in range(SPANS)
    )


def noise() -> str:
    return NOISE.randbytes(60).hex()


LINES = as_lines()
DOCUMENT = otlp_text(
    trace(
        {f"step {number}": (number, number + 1) for number in range(SPANS)},
        attributes={f"step {number}": {"text": noise()} for number in range(SPANS)},
    )
).encode()


def read(content: bytes, **options: Any) -> list[Trace]:
    return list(read_traces("-", stdin=io.BytesIO(content), **options))


def codes(made: Trace) -> list[str]:
    return [finding.code for finding in made.findings]


def unpacked(content: bytes, size: int = 1 << 16) -> tuple[bytes, str | None]:
    file = io.BytesIO(content)
    stream = Unpacked(iter(lambda: file.read(size), b""))
    return b"".join(stream), stream.damage


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("content", [LINES, DOCUMENT], ids=["lines", "document"])
def test_a_whole_file_is_read_without_a_remark(content: bytes, limit: int) -> None:
    [made] = read(gzip.compress(content), buffer_bytes=limit)
    assert codes(made) == []
    assert len({span.name for span in made.spans}) == SPANS + 1


@pytest.mark.parametrize("limit", LIMITS)
def test_lines_of_a_file_that_breaks_off_are_read_up_to_the_one_that_is_cut(limit: int) -> None:
    packed = gzip.compress(LINES)
    [made] = read(packed[: len(packed) // 2], buffer_bytes=limit)
    there, _ = unpacked(packed[: len(packed) // 2])
    assert len(made.spans) == 2 * there.count(b"\n")  # a root and a step in each line
    assert 0.4 * SPANS < there.count(b"\n") < 0.6 * SPANS
    assert sorted(codes(made)) == ["broken_line", "damaged_compression"]
    [damaged] = [finding for finding in made.findings if finding.code == "damaged_compression"]
    assert f"breaks off where it is compressed, after {len(packed) // 2:,} bytes" in damaged.message
    assert f"unpacked are {len(there):,} bytes" in damaged.message
    assert "may be too small" in damaged.effect


@pytest.mark.parametrize("limit", LIMITS)
def test_a_document_that_breaks_off_gives_its_whole_spans(limit: int) -> None:
    packed = gzip.compress(DOCUMENT)
    [made] = read(packed[: len(packed) // 2], buffer_bytes=limit)
    assert 0.4 * SPANS < len(made.spans) < 0.6 * SPANS
    assert sorted(codes(made)) == ["damaged_compression", "truncated_file"]


@pytest.mark.parametrize("limit", LIMITS)
def test_of_damage_in_the_middle_the_bytes_behind_it_are_counted(limit: int) -> None:
    half = LINES.find(b"\n", len(LINES) // 2) + 1
    packer = zlib.compressobj(wbits=31)
    before = packer.compress(LINES[:half]) + packer.flush(zlib.Z_FULL_FLUSH)
    behind = packer.compress(LINES[half:]) + packer.flush()
    no_block = b"\xff" * 3
    [made] = read(before + no_block + behind, buffer_bytes=limit)
    assert len(made.spans) == 2 * LINES[:half].count(b"\n")
    [damaged] = made.findings
    lost, whole = len(behind) + len(no_block), len(before) + len(no_block) + len(behind)
    assert f"(invalid block type): {lost:,} of {whole:,} bytes are lost" in damaged.message
    assert f"unpacked are {half:,} bytes" in damaged.message


def test_damage_that_shows_only_in_the_checksum_leaves_the_lines_that_are_still_json() -> None:
    packed = bytearray(gzip.compress(LINES))
    at = len(packed) // 2
    packed[at : at + 400] = b"\xff" * 400
    traces = read(bytes(packed))
    assert sum(len(made.spans) for made in traces) > 0.8 * SPANS
    found = {finding.code for finding in traces[0].findings}
    assert found >= {"broken_line", "damaged_compression"}


def test_a_wrong_checksum_costs_no_span() -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[-8] ^= 0xFF
    [made] = read(bytes(packed))
    assert len(made.spans) == 2 * SPANS
    assert codes(made) == ["damaged_compression"]
    assert "incorrect data check" in made.findings[0].message


def test_members_follow_each_other_with_or_without_padding() -> None:
    half = LINES.find(b"\n", len(LINES) // 2) + 1
    for between in (b"", b"\0" * 100_000):
        content = gzip.compress(LINES[:half]) + between + gzip.compress(LINES[half:]) + between
        assert unpacked(content) == (LINES, None)
    [made] = read(gzip.compress(LINES[:half]) + gzip.compress(LINES[half:])[:-20])
    assert len(made.spans) >= 2 * (SPANS - 2)
    assert "damaged_compression" in codes(made)


def test_what_stands_behind_the_compressed_part_is_named() -> None:
    [made] = read(gzip.compress(LINES) + b"not gzip at all")
    assert len(made.spans) == 2 * SPANS
    assert "holds 15 bytes behind its compressed part that are no gzip" in made.findings[0].message


def test_what_else_is_wrong_with_a_damaged_file_is_told_too() -> None:
    with pytest.raises(TraceError, match=r"behind its compressed part.*: holds results of a search in Tempo"):
        read(gzip.compress(b'{"traces":[],"metrics":{}}') + b"more")


@pytest.mark.parametrize("length", [2, 5, 12, 20, 40])
def test_a_file_of_which_nothing_is_left_is_refused_with_the_reason(length: int) -> None:
    with pytest.raises(TraceError, match=r"breaks off where it is compressed.*no whole span is among them"):
        read(gzip.compress(DOCUMENT)[:length])


def test_a_file_that_only_begins_like_gzip_is_refused_with_the_reason() -> None:
    with pytest.raises(TraceError, match="damaged where it is compressed"):
        read(b"\x1f\x8b" + b"x" * 100)


def test_an_empty_compressed_file_is_called_empty() -> None:
    with pytest.raises(TraceError, match="is empty"):
        read(gzip.compress(b""))


def test_a_file_that_is_whole_but_no_trace_is_refused_for_what_it_is() -> None:
    with pytest.raises(TraceError, match="OTLP metrics, not traces"):
        read(gzip.compress(json.dumps({"resourceMetrics": []}).encode()))


def test_a_small_file_that_unpacks_to_a_huge_one_is_unpacked_as_far_as_it_is_read() -> None:
    stream = Unpacked([gzip.compress(b"\0" * (64 << 20))])
    assert next(iter(stream)).startswith(b"\0" * 5000)
    assert stream.given_bytes < 1 << 20


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_it_unpacks_as_the_standard_library_does_in_pieces_of_any_size(size: int) -> None:
    content = LINES[:5000] + b"\0" * 5000 + LINES[:100]
    assert unpacked(gzip.compress(content, 1), size) == (content, None)


def test_every_cut_gives_the_beginning_of_what_was_packed() -> None:
    packed = gzip.compress(LINES[:3000])
    lengths = []
    for length in range(len(packed)):
        there, damage = unpacked(packed[:length])
        assert LINES[:3000].startswith(there)
        assert (damage is None) == (length == 0)
        lengths.append(len(there))
    assert lengths == sorted(lengths)
    assert zlib.decompressobj(31).decompress(packed[:-8]) == unpacked(packed[:-8])[0]


def test_every_damaged_byte_gives_at_least_what_stands_before_it() -> None:
    packed = gzip.compress(LINES[:3000])
    for place in range(20, len(packed), 7):
        broken = bytearray(packed)
        broken[place] ^= 0x55
        there, damage = unpacked(bytes(broken))
        before, _ = unpacked(packed[: place - 10])
        assert there.startswith(before[: len(before) - 300])
        assert damage is not None

"""Files of traces of every format: what was written is read, at any size of the buffer, and damage invents nothing."""

from __future__ import annotations

import gzip
import io
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.traces import Span, TraceError, read_traces
from tests.properties.drawn_trace_files import DAMAGES, FORMATS, Written, damaged, draw_spans, packed, written_as
from tests.properties.effort import examples

SEEDS = st.integers(0, 2**32)
BUFFERS = st.sampled_from([10, 100, 1000, 1 << 16])


def read(content: bytes, buffer_bytes: int = 1 << 16) -> list[Span]:
    traces = read_traces("-", stdin=io.BytesIO(content), buffer_bytes=buffer_bytes)
    return [span for trace in traces for span in trace.spans]


def read_or_refused(content: bytes) -> list[Span]:
    try:
        return read(content)
    except TraceError:
        return []


def facts(span: Span) -> Written:
    assert span.end is not None
    return Written(span.trace_id, span.span_id, span.parent_id, span.name, span.start, span.end, span.service)


def expected(form: str, span: Written) -> Written:
    return Written(**{**vars(span), "service": ""}) if form == "bare" else span


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(60), deadline=None, database=None)
@given(seed=SEEDS, buffer_bytes=BUFFERS)
def test_what_was_written_is_read_at_any_size_of_the_buffer(form: str, seed: int, buffer_bytes: int) -> None:
    random = Random(seed)
    spans = draw_spans(random)
    content = packed(written_as(form, spans, random), random)
    found = [facts(one) for one in read(content, buffer_bytes)]
    assert sorted(found, key=repr) == sorted((expected(form, one) for one in spans), key=repr)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(10), deadline=None, database=None)
@given(seed=SEEDS, is_packed=st.booleans())
def test_a_file_that_breaks_off_gives_whole_spans_alone_and_more_the_later_it_breaks(
    form: str, seed: int, is_packed: bool
) -> None:
    random = Random(seed)
    spans = draw_spans(random)
    content = written_as(form, spans, random)
    content = gzip.compress(content) if is_packed else content
    identities = {(one.trace_id, one.span_id, one.name, one.start, one.end) for one in spans}
    counts = []
    for cut in range(0, len(content), 1 + len(content) // 40):
        found = read_or_refused(content[:cut])
        assert {(one.trace_id, one.span_id, one.name, one.start, one.end) for one in found} <= identities
        counts.append(len(found))
    assert counts == sorted(counts)


@pytest.mark.parametrize("damage", DAMAGES)
@settings(max_examples=examples(100), deadline=None, database=None)
@given(seed=SEEDS)
def test_a_damaged_file_is_read_or_refused_and_its_damage_is_named(damage: str, seed: int) -> None:
    random = Random(seed)
    content = damaged(damage, written_as(random.choice(FORMATS), draw_spans(random), random), random)
    try:
        traces = list(read_traces("-", stdin=io.BytesIO(content)))
    except TraceError as error:
        assert str(error).startswith("stdin: ")  # noqa: PT017 - most files are read
        return
    assert traces
    for trace in traces:
        assert all(one.code in CODES for one in trace.findings)
    if damage == "not UTF-8":
        assert "not_utf8" in {one.code for one in traces[0].findings}


CODES = {"truncated_file", "broken_line", "not_utf8", "not_a_span", "no_span_id", "no_start"}

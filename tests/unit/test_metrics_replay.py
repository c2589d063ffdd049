"""A finished run as time series, and how they travel."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import cramjam
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from executor import Step, Workflow
from harness.result import timeline_from_document
from harness.telemetry.metrics.run_metrics import step_totals
from harness.telemetry.metrics.time_series import STALE, Point, TimedExemplar, TimeSeries, end_of, series_of
from harness.telemetry.prometheus.remote_write import POINTS_PER_REQUEST, requests
from tests.unit.metric_documents import TRACE_ID, is_stale, run_document_of, workflow
from tests.unit.run_documents import document, result

BEGIN = 1_767_323_045_000


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return run_document_of()


def by_name(series: list[TimeSeries]) -> dict[str, list[TimeSeries]]:
    found: dict[str, list[TimeSeries]] = {}
    for one in series:
        found.setdefault(one.name, []).append(one)
    return found


def test_the_same_document_gives_the_same_series(whole: dict[str, Any]) -> None:
    assert [repr(one) for one in series_of(whole)] == [repr(one) for one in series_of(whole)]


def test_no_two_series_have_the_same_name_and_labels_and_each_is_in_order_of_time(whole: dict[str, Any]) -> None:
    series = series_of(whole)
    assert len({(one.name, one.labels) for one in series}) == len(series)
    for one in series:
        times = [at for at, _ in one.points]
        assert times == sorted(set(times)), one.name


def test_a_gauge_of_the_run_is_one_sample_at_its_end(whole: dict[str, Any]) -> None:
    for name, members in by_name(series_of(whole)).items():
        if name.startswith("makespan_run_"):
            assert all([at for at, _ in one.points] == [end_of(whole)] for one in members)


def test_counters_begin_with_0_and_end_with_the_totals_and_then_the_series_ends(whole: dict[str, Any]) -> None:
    cell = whole["results"][0]
    series = series_of(whole)
    for one in series:
        if one.name.endswith(("_total", "_bucket", "_count", "_sum")):
            assert one.points[0] == (BEGIN, 0.0), one.name
            assert is_stale(one.points[-1].value)
            values = [value for _, value in one.points[:-1]]
            assert values == sorted(values)
    last = {(one.name, one.labels): one.points[-2].value for one in series if len(one.points) > 1}
    totals = step_totals(cell, timeline_from_document(cell))
    labels = series[0].labels[:5]
    for sample in totals.samples(labels):
        assert last[sample.name, sample.labels] == sample.value


def test_what_nobody_waited_for_is_a_sum_of_0_where_somebody_could_have(whole: dict[str, Any]) -> None:
    sums = {
        dict(one.labels)["reason"]: one.points[-2].value
        for one in by_name(series_of(whole))["makespan_step_wait_seconds_sum"]
    }
    assert sums["barrier"] == 0.0
    assert {"worker", "backoff", "resource.llm", "rate.llm"} <= set(sums)


def test_runs_of_all_repetitions_are_counted_by_result() -> None:
    cell = result([1.0, 2.0, 3.0])
    cell["samples"][0]["errors"] = 1
    counted = {
        dict(one.labels)["result"]: one.points[-2].value
        for one in by_name(series_of(document(cell)))["makespan_runs_total"]
    }
    assert counted == {"succeeded": 2.0, "failed": 1.0, "interrupted": 0.0}


def test_a_curve_of_a_long_run_has_no_gap_longer_than_a_second() -> None:
    whole = document(result([90.0]))
    (running,) = by_name(series_of(whole))["makespan_steps_running"]
    gaps = [later.at - earlier.at for earlier, later in pairwise(running.points)]
    assert max(gaps) <= 1_000
    assert running.points[0].value == 1.0
    assert running.points[-2].value == 0.0
    assert is_stale(running.points[-1].value)


def test_a_simulated_run_has_its_numbers_and_no_curve() -> None:
    cell = result([3_600.0])
    simulated = document({**cell, "simulated": True})
    names = set(by_name(series_of(simulated)))
    assert "makespan_run_makespan_seconds" in names
    assert all(name.startswith("makespan_run_") for name in names)
    # An hour that never passed is not put into the future.
    assert end_of(simulated) == BEGIN


def test_run_info_can_be_left_out(whole: dict[str, Any]) -> None:
    assert "makespan_run_info" in by_name(series_of(whole))
    assert "makespan_run_info" not in by_name(series_of(whole, run_info=False))


def test_exemplars_carry_the_trace_of_the_run_and_nothing_else(whole: dict[str, Any]) -> None:
    exemplars = [one for series in series_of(whole) for one in series.exemplars]
    assert exemplars
    assert {one.labels for one in exemplars} == {(("trace_id", TRACE_ID),)}
    assert all(BEGIN <= one.at <= end_of(whole) + 1 for one in exemplars)
    untraced = run_document_of(trace_id=None)
    assert not [one for series in series_of(untraced) for one in series.exemplars]


def test_ten_thousand_steps_have_as_many_series_as_ten() -> None:
    def shape(steps: int) -> set[tuple[str, tuple[str, ...]]]:
        made = tuple(Step(step_id=f"step-{number}", tool="noop", writes=("x",)) for number in range(steps))
        flow = Workflow(workflow_id="many", steps=made)
        return {(one.name, one.labels) for one in series_of(run_document_of(flow))}

    few, many = shape(10), shape(10_000)
    assert many == few
    assert not any("step-" in value for _, labels in many for _, value in labels)


def test_states_by_the_thousand_do_not_make_labels_by_the_thousand() -> None:
    waits = [
        one for one in series_of(run_document_of(workflow(400, seconds=0.0, states=200)))
        if one.name == "makespan_step_wait_seconds_count"
    ]  # fmt: skip
    assert len(waits) < 40


# ---------------------------------------------------------------------- on the wire


def write_request() -> Any:
    """The messages of the specification, made with the reference implementation of protocol buffers."""
    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="test", syntax="proto3")
    kinds = {"string": 9, "double": 1, "int64": 3}
    words = {
        "Label": [("name", 1, "string", False), ("value", 2, "string", False)],
        "Sample": [("value", 1, "double", False), ("timestamp", 2, "int64", False)],
        "Exemplar": [("labels", 1, "Label", True), ("value", 2, "double", False), ("timestamp", 3, "int64", False)],
        "TimeSeries": [
            ("labels", 1, "Label", True),
            ("samples", 2, "Sample", True),
            ("exemplars", 3, "Exemplar", True),
        ],
        "WriteRequest": [("timeseries", 1, "TimeSeries", True)],
    }
    for name, fields in words.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            added.type = kinds.get(kind, 11)
            if kind not in kinds:
                added.type_name = f".test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.WriteRequest"))


def decoded(bodies: list[bytes]) -> list[Any]:
    kind = write_request()
    return [kind.FromString(bytes(cramjam.snappy.decompress_raw(body))) for body in bodies]


def test_a_request_is_read_by_the_reference_implementation() -> None:
    series = TimeSeries(
        "makespan_workers", (("workers", "4"), ("scenario", "jokes – ünï"), ("trace_id", "")),
        [Point(-5, 1.5), Point(1_767_323_045_000, -2.0), Point(1_767_323_046_000, STALE)],
        [TimedExemplar(1_767_323_045_000, 0.25, (("trace_id", TRACE_ID),))],
    )  # fmt: skip
    ((read,),) = ([*request.timeseries] for request in decoded(list(requests([series]))))
    # In order of names; an empty value is no label.
    assert [(one.name, one.value) for one in read.labels] == [
        ("__name__", "makespan_workers"), ("scenario", "jokes – ünï"), ("workers", "4"),
    ]  # fmt: skip
    assert [(one.timestamp, one.value) for one in read.samples[:2]] == [(-5, 1.5), (1_767_323_045_000, -2.0)]
    assert struct.pack("<d", read.samples[2].value) == bytes.fromhex("020000000000f07f")
    (exemplar,) = read.exemplars
    assert (exemplar.timestamp, exemplar.value, exemplar.labels[0].value) == (1_767_323_045_000, 0.25, TRACE_ID)


def test_a_long_series_is_sent_in_parts_and_nothing_is_lost() -> None:
    series = [
        TimeSeries(f"s{number}", (), [Point(at, float(at)) for at in range(count)])
        for number, count in enumerate([3, POINTS_PER_REQUEST * 2 + 7, 5, POINTS_PER_REQUEST - 4, 9])
    ]
    read = decoded(list(requests(series)))
    sizes = [sum(len(one.samples) for one in request.timeseries) for request in read]
    assert max(sizes) <= POINTS_PER_REQUEST
    found: dict[str, list[int]] = {}
    for request in read:
        for one in request.timeseries:
            found.setdefault(one.labels[0].value, []).extend(sample.timestamp for sample in one.samples)
    assert found == {one.name: [at for at, _ in one.points] for one in series}

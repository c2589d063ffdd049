"""The table of metrics, labels, and the numbers of a run as samples."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from executor.record.timeline import NANOSECONDS
from harness.analysis.attempt_index import AttemptIndex
from harness.result import timeline_from_document
from harness.telemetry.metrics import metric_table as table
from harness.telemetry.metrics.labels import REASONS_TOLD_APART, Reasons, result_labels, variant, with_others_summed
from harness.telemetry.metrics.run_metrics import (
    completed_at,
    info_sample,
    repetition_begins,
    run_samples,
    shown_repetition,
    step_totals,
)
from harness.telemetry.metrics.samples import Sample
from harness.telemetry.metrics.time_series import curves_of, values_at
from harness.telemetry.prometheus.exposition import registry_of, text_of
from harness.telemetry.prometheus.server_flags import REMOTE_WRITE_FLAG, prometheus_arguments, prometheus_config
from tests.unit.metric_documents import STARTED_AT, TRACE_ID, run_document_of
from tests.unit.run_documents import document, result

# SEMANTICS: what has to be there, under exactly these names.
FIXED_NAMES = re.findall(
    r"\w+",
    """
run_info run_speedup_ratio run_efficiency_ratio run_makespan_seconds run_critical_path_seconds run_lower_bound_seconds
run_schedule_efficiency_ratio run_lost_seconds run_completed_timestamp_seconds steps_running steps_ready workers
resource_in_use runs_total step_attempts_total step_retries_total busy_worker_seconds_total telemetry_lost_total
step_duration_seconds step_wait_seconds
""",
)


def test_every_metric_that_is_fixed_stands_in_the_table_once() -> None:
    names = [family.name for family in table.FAMILIES]
    assert len(names) == len(set(names))
    assert {f"makespan_{name}" for name in FIXED_NAMES} <= set(names)


@pytest.mark.parametrize("family", table.FAMILIES, ids=lambda family: family.name)
def test_a_name_says_type_and_unit(family: table.MetricFamily) -> None:
    assert re.fullmatch(r"makespan_[a-z_]+", family.name)
    assert (family.type == "counter") == family.name.endswith("_total")
    assert (family.unit == "ratio") == family.name.endswith("_ratio")
    assert (family.unit == "seconds") == bool(re.search(r"_seconds(_total)?$", family.name))
    assert family.help.endswith(".")
    assert bool(family.buckets) == (family.type == "histogram")


def test_no_metric_is_labelled_by_step_and_only_run_info_by_run_or_trace() -> None:
    for family in table.FAMILIES:
        labels = {*table.CELL_LABELS, *family.labels}
        assert not {"step", "step_id"} & labels
        assert family is table.RUN_INFO or not {"run_id", "trace_id", "revision", "machine"} & labels


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "default"),
        ({"n": 4}, "n=4"),
        ({"topic": "cats", "n": 4}, "n=4,topic=cats"),
        ({"topic": "two words"}, 'topic="two words"'),
        ({"api_key": "abcdef"}, "api_key=***"),
        ({"url": "https://me:secret@host/"}, "url=https://***@host/"),
    ],
)
def test_a_variant_is_a_short_name_of_the_parameter_values(parameters: dict[str, object], expected: str) -> None:
    assert variant(parameters) == expected


def test_a_long_variant_is_cut_and_stays_unique_and_the_same() -> None:
    one, other = ({"topic": "cats " * 100 + end} for end in "ab")
    assert variant(one) == variant(dict(one)) != variant(other)
    assert len(variant(one)) < 100


def test_reasons_of_ten_thousand_states_share_few_labels() -> None:
    reasons = Reasons()
    labels = {reasons.label(f"lock.{number}") for number in range(10_000)} | {reasons.label("worker")}
    assert len(labels) == REASONS_TOLD_APART + 2
    assert {"lock.other", "worker"} <= labels
    assert reasons.label("lock.3") == "lock.3"


def test_losses_that_share_a_label_still_sum_to_the_same() -> None:
    lost = {f"lock.{number}": float(number) for number in range(1_000)} | {"running": 5.0, "slowdown": -1.0}
    summed = with_others_summed(lost)
    assert len(summed) == REASONS_TOLD_APART + 3
    assert summed["lock.999"] == 999.0
    assert sum(summed.values()) == pytest.approx(sum(lost.values()))


def test_the_gauges_of_a_run_are_the_numbers_of_its_document() -> None:
    cell = result([1.0, 2.0, 4.0], baselines=[4.0, 4.0, 4.0], parameters={"n": 4})
    whole = document(cell)
    labels = result_labels(cell, "jokes")
    assert labels == (
        ("scenario", "jokes"), ("executor", "threads"), ("workers", "4"), ("policy", "dataflow"), ("variant", "n=4"),
    )  # fmt: skip
    found = {sample.name: sample.value for sample in run_samples(cell, labels, completed_seconds=7.0)}
    assert found["makespan_run_speedup_ratio"] == cell["speedup_ratio"]["median"] == 2.0
    assert found["makespan_run_efficiency_ratio"] == cell["efficiency_ratio"]
    assert found["makespan_run_makespan_seconds"] == 2.0
    assert found["makespan_run_completed_timestamp_seconds"] == 7.0
    info = dict(info_sample(whole, cell, labels).labels)
    assert info["run_id"] == "run-1"
    assert info["machine"] == "builder"
    assert info["trace_id"] == ""


def test_what_nobody_measured_is_no_sample() -> None:
    cell = result([1.0])
    names = {sample.name for sample in run_samples(cell, result_labels(cell, "jokes"), completed_seconds=1.0)}
    assert "makespan_run_speedup_ratio" not in names
    assert "makespan_run_makespan_seconds" in names


def test_a_cause_that_cost_nothing_is_0_and_does_not_leave_the_place_to_an_earlier_run() -> None:
    cell = result([1.0])
    cell["resources"] = {"llm": {"capacity": 2, "rate_per_minute": 60.0, "burst": 1}}
    cell["states"] = ["notebook"]
    labels = result_labels(cell, "jokes")
    lost = {
        dict(one.labels)["cause"]: one.value
        for one in run_samples(cell, labels, completed_seconds=1.0) if one.name == "makespan_run_lost_seconds"
    }  # fmt: skip
    assert {cause: seconds for cause, seconds in lost.items() if seconds} == cell["lost_seconds"]
    assert lost["resource.llm"] == lost["rate.llm"] == lost["lock.notebook"] == lost["backoff"] == 0.0


def test_the_time_of_a_repetition_is_what_it_says_and_else_follows_the_one_before() -> None:
    cell = result([1.0, 2.0])
    whole = document(cell, started_at=STARTED_AT)
    first = repetition_begins(whole, cell)[0]
    assert repetition_begins(whole, cell) == [first, first + NANOSECONDS]
    # The clock was set back by an hour between the two.
    cell["samples"][1]["started_at"] = "2026-01-02T02:04:05.500000+00:00"
    begins = repetition_begins(whole, cell)
    assert begins[1] == first - 3_600 * NANOSECONDS + NANOSECONDS // 2
    assert completed_at(whole, cell) == first + NANOSECONDS


def test_totals_count_what_stands_in_the_record() -> None:
    whole = run_document_of()
    cell = whole["results"][0]
    timeline = timeline_from_document(cell)
    totals = step_totals(cell, timeline)
    outcomes = Counter((cell["steps"][one.index]["tool"], one.outcome) for one in timeline.attempts)
    assert {key: count for key, count in totals.attempts.items() if count} == outcomes
    assert totals.retries == {"failed": 1, "timed_out": 0, "worker_died": 0}
    assert totals.busy / NANOSECONDS == pytest.approx(cell["work_seconds"], abs=1e-9)
    assert sum(totals.durations.counts) == len(timeline.attempts)
    waited = sum(wait.end - wait.start for one in timeline.attempts for wait in one.waits)
    assert sum(histogram.total for histogram in totals.waits.values()) == waited


def test_the_curves_hold_the_work_and_never_exceed_what_there_is() -> None:
    cell = run_document_of()["results"][0]
    timeline = timeline_from_document(cell)
    curves = curves_of(timeline)
    index = AttemptIndex(timeline)
    work = sum(
        value * (end - start) for (start, value), (end, _) in zip(curves.running, curves.running[1:], strict=False)
    )
    assert work == sum(index.run_nanoseconds(one) for one in index.ended)
    assert max(value for _, value in curves.in_use["llm"]) == 2
    assert max(value for _, value in curves.running) <= cell["workers"]
    for curve in (curves.running, curves.ready, curves.in_use["llm"]):
        assert curve[0][0] == 0
        assert curve[-1] == (curves.end, 0)
        assert min(value for _, value in curve) >= 0
    assert values_at([(0, 1), (5, 3)], [0, 4, 5, 9]) == [1, 1, 3, 3]


def test_openmetrics_carries_the_trace_of_each_bucket_and_is_read_back() -> None:
    whole = run_document_of()
    cell = whole["results"][0]
    labels = result_labels(cell, "jokes")
    begin = repetition_begins(whole, cell)[shown_repetition(cell)]
    samples = list(step_totals(cell, timeline_from_document(cell), begin=begin).samples(labels))
    text = generate_latest(registry_of(lambda: samples)).decode()
    read = {family.name: family for family in text_string_to_metric_families(text)}
    duration = read["makespan_step_duration_seconds"]
    assert duration.unit == "seconds"
    exemplars = [one.exemplar for one in duration.samples if one.exemplar is not None]
    assert exemplars
    assert all(one.labels == {"trace_id": TRACE_ID} for one in exemplars)
    (count,) = [one.value for one in duration.samples if one.name.endswith("_count")]
    assert count == len(timeline_from_document(cell).attempts)


def test_a_name_that_is_no_text_is_shown_all_the_same() -> None:
    sample = Sample(table.WORKERS, (("scenario", 'half \ud800 "quoted"\n'),), 1.0)
    assert 'scenario="half ? \\"quoted\\"\\n"' in text_of([sample])


@pytest.mark.parametrize(
    "module",
    [
        "harness.telemetry.metrics.metric_table", "harness.telemetry.prometheus.server_flags",
        "harness.telemetry.prometheus.delivery",
        "harness.cli.metrics_option", "harness.cli.app",
    ],
)  # fmt: skip
def test_who_sends_nothing_imports_nothing_that_sends(module: str) -> None:
    heavy = (
        "{'prometheus_client', 'cramjam', 'httpx', 'opentelemetry.sdk', 'harness.telemetry.prometheus.prometheus_push'}"
    )
    code = f"import sys, {module}; found = {heavy} & set(sys.modules); assert not found, found"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_prometheus_of_ones_own_listens_on_loopback_alone_and_takes_remote_write() -> None:
    flags = prometheus_arguments("p.yml", "data", port=9191)
    assert "--web.listen-address=127.0.0.1:9191" in flags
    assert REMOTE_WRITE_FLAG in flags
    config = yaml.safe_load(prometheus_config(scrape_port=9464, rule_files=["rules.yml"]))
    assert config["storage"]["tsdb"]["out_of_order_time_window"] == "2y"
    assert config["rule_files"] == ["rules.yml"]
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]

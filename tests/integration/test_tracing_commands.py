"""Traces of `run` and `bench` as a user asks for them: options, configuration, what is kept, and exit statuses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.telemetry.spans.resending import resend, stored_traces
from harness.telemetry.telemetry_settings import Telemetry
from tests.integration.calling import called as call
from tests.integration.otlp_receiver import OtlpReceiver, attributes_of

SCENARIO = """
scenario: small
inputs: {api_key: sk-hush-hush, topic: cats}
steps:
  - {step_id: a, tool: sleep, args: {seconds: 0.002}}
  - {step_id: b, tool: sleep, args: {seconds: 0.002}, depends_on: [a]}
  - {step_id: c, tool: flaky, args: {fail_times: 1, seconds: 0.001}, retry: {max_attempts: 2, backoff_seconds: 0.001}}
  - {step_id: never, tool: noop, when: "{{ inputs.topic == 'dogs' }}"}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return str(path)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("MAKESPAN_TELEMETRY__ENDPOINT", receiver.endpoint)
        yield receiver


def written(path: Path) -> list[Mapping[str, Any]]:
    return [
        span
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def test_a_configured_endpoint_gets_the_trace_whose_id_the_document_names(
    scenario: str, tmp_path: Path, receiver: OtlpReceiver
) -> None:
    document = tmp_path / "run.json"
    done = call("run", scenario, "--json", str(document), "--no-store", "--quiet")
    assert done.exit_code == 0, done.output
    said = json.loads(document.read_text())
    assert {span.trace_id.hex() for span in receiver.spans} == {said["results"][0]["trace_id"]}
    root = next(span for span in receiver.spans if not span.parent_span_id)
    assert attributes_of(root)["makespan.run.id"] == said["run_id"]
    assert attributes_of(root)["makespan.run.scenario"] == "small"


def test_without_endpoint_and_file_nothing_is_traced(scenario: str, tmp_path: Path) -> None:
    document = tmp_path / "run.json"
    assert call("run", scenario, "--json", str(document), "--no-store", "--quiet").exit_code == 0
    assert "trace_id" not in json.loads(document.read_text())["results"][0]


def test_trace_off_sends_nothing(scenario: str, receiver: OtlpReceiver) -> None:
    assert call("run", scenario, "--trace", "off", "--no-store", "--quiet").exit_code == 0
    assert receiver.received.attempts == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trace", "lively"], "did you mean 'live'?"),
        (["--trace-file", "-"], "needs the name of a file"),
        (["--trace", "off", "--trace-file", "t.jsonl"], "leave one of them out"),
        (["--trace-file", "/no/such/folder/t.jsonl"], "there is no folder"),
    ],
)
def test_options_that_make_no_sense_are_named_before_anything_runs(
    scenario: str, options: list[str], words: str
) -> None:
    done = call("run", scenario, "--no-store", *options)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert "Executing" not in done.output


def test_a_dead_endpoint_is_a_warning_and_the_exit_status_is_the_runs(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpReceiver() as gone:
        endpoint = gone.endpoint
    monkeypatch.setenv("MAKESPAN_TELEMETRY__ENDPOINT", endpoint)
    monkeypatch.setenv("MAKESPAN_TELEMETRY__TIMEOUT_SECONDS", "0.3")
    document = tmp_path / "run.json"
    done = call("run", scenario, "--json", str(document), "--no-store", "--quiet")
    assert done.exit_code == 0
    assert "spans were not delivered" in done.output
    assert "Traceback" not in done.output
    assert len(json.loads(document.read_text())["results"][0]["steps"]) == 4


def test_a_disk_that_is_full_is_a_warning_too(scenario: str) -> None:
    done = call("run", scenario, "--trace-file", "/dev/full", "--no-store", "--quiet")
    assert done.exit_code == 0
    assert "No space left on device" in done.output


def test_a_bench_makes_one_trace_of_each_repetition(scenario: str, tmp_path: Path) -> None:
    document, path = tmp_path / "bench.json", tmp_path / "traces.jsonl"
    done = call(
        "bench", scenario, "--executor", "threads", "-n", "3", "--warmup", "1", "--json", str(document),
        "--trace-file", str(path), "--no-store", "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(document.read_text())
    ids = [sample["trace_id"] for result in said["results"] for sample in result["samples"]]
    assert len(set(ids)) == 2 * 3
    roots = [span for span in written(path) if "parentSpanId" not in span]
    assert Counter(span["traceId"] for span in roots) == Counter(ids)
    for result in said["results"]:
        makespans = sorted((sample["makespan_seconds"], sample["trace_id"]) for sample in result["samples"])
        assert result["trace_id"] == makespans[1][1]


def test_of_a_bench_the_median_and_the_slowest_repetition_can_be_kept(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKESPAN_TELEMETRY__KEEP", "median_and_slowest")
    document, path = tmp_path / "bench.json", tmp_path / "traces.jsonl"
    done = call(
        "bench", scenario, "--executor", "threads", "-n", "5", "--json", str(document), "--trace-file", str(path),
        "--no-store", "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for result in json.loads(document.read_text())["results"]:
        ordered = sorted(result["samples"], key=lambda sample: sample["makespan_seconds"])
        assert ["trace_id" in sample for sample in ordered] == [False, False, True, False, True]
    assert len({span["traceId"] for span in written(path)}) == 2 * 2


def test_the_stored_run_gives_the_same_trace_again(scenario: str, tmp_path: Path, receiver: OtlpReceiver) -> None:
    document = tmp_path / "run.json"
    call("run", scenario, "--json", str(document), "--no-store", "--quiet")
    first = receiver.spans
    said = json.loads(document.read_text())
    with OtlpReceiver() as second:
        delivery = resend(said, Telemetry(endpoint=second.endpoint))
        again = second.spans
    assert (delivery.sent, delivery.lost) == (len(first), 0)

    def shape(spans: Any) -> Any:
        return sorted(
            (
                span.span_id, span.parent_span_id, span.trace_id, span.name, span.status.code,
                repr(sorted(attributes_of(span).items())), repr([link.span_id for link in span.links]),
            )
            for span in spans
        )  # fmt: skip

    assert shape(again) == shape(first)
    apart = {span.span_id: span.start_time_unix_nano for span in again}
    assert all(abs(apart[span.span_id] - span.start_time_unix_nano) < 100_000_000 for span in first)


def test_a_run_that_was_not_traced_can_be_sent_all_the_same_and_has_one_id(scenario: str, tmp_path: Path) -> None:
    document = tmp_path / "run.json"
    call("run", scenario, "--json", str(document), "--no-store", "--quiet")
    said = json.loads(document.read_text())
    ids = {trace.trace_id for _ in range(2) for trace in stored_traces(said)}
    assert len(ids) == 1


CHAT = """
scenario: chat
tools: {model: {kind: llm}}
steps: [{step_id: ask, tool: model, prompt: "Tell me of the zebra", expected_seconds: 0.01}]
"""


@pytest.mark.parametrize("captured", [False, True])
def test_prompts_and_answers_stand_in_spans_only_where_they_are_asked_for(
    tmp_path: Path, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, captured: bool
) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(CHAT)
    monkeypatch.setenv("MAKESPAN_TELEMETRY__CAPTURE_CONTENT", str(captured).lower())
    assert call("run", str(path), "--no-store", "--quiet").exit_code == 0
    (chat,) = [span for span in receiver.spans if span.name.startswith("chat ")]
    said = attributes_of(chat)
    assert said["gen_ai.usage.input_tokens"] > 0
    assert any("zebra" in repr(value) for value in said.values()) is captured
    if captured:
        (message,) = json.loads(said["gen_ai.input.messages"])
        assert message == {"role": "user", "parts": [{"type": "text", "content": "Tell me of the zebra"}]}
        assert json.loads(said["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


def test_secrets_stand_in_no_span_and_no_file(scenario: str, tmp_path: Path, receiver: OtlpReceiver) -> None:
    path = tmp_path / "t.jsonl"
    done = call(
        "bench", scenario, "--executor", "threads", "--parameter", "api_key=sk-hush-1,sk-hush-2", "-n", "1",
        "--trace-file", str(path), "--no-store", "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert receiver.spans
    assert not any(b"hush" in body for body in receiver.received.bodies)
    assert "hush" not in path.read_text()


def push(store: Path, tmp_path: Path, *more: str) -> Any:
    return call(
        "dashboards", "push", "--all", "--profile", "shared", "--textfile", str(tmp_path / "runs.prom"),
        "--store", str(store), *more,
    )  # fmt: skip


def test_push_sends_what_a_dead_endpoint_did_not_take(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, document = tmp_path / "runs.sqlite", tmp_path / "run.json"
    with OtlpReceiver() as gone:
        endpoint = gone.endpoint
    monkeypatch.setenv("MAKESPAN_TELEMETRY__ENDPOINT", endpoint)
    monkeypatch.setenv("MAKESPAN_TELEMETRY__TIMEOUT_SECONDS", "0.3")
    call("run", scenario, "--store", str(store), "--json", str(document), "--quiet")
    failed = push(store, tmp_path)
    assert failed.exit_code == 2
    assert "spans were not delivered" in failed.output
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("MAKESPAN_TELEMETRY__ENDPOINT", receiver.endpoint)
        done = push(store, tmp_path)
        assert done.exit_code == 0, done.output
        assert "traces of 1 run sent" in done.output
        ids = {span.trace_id.hex() for span in receiver.spans}
    assert ids == {json.loads(document.read_text())["results"][0]["trace_id"]}

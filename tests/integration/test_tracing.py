"""Traces of real runs at a real receiver: the tree, step code's own spans, both modes, faults of the endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from executor.model.workflow import Resource, Retry, Step, Workflow
from executor.running import Interrupted, Run, run
from executor.scheduler import Scheduler
from harness.telemetry.spans.trace_session import Mode, RunName, TracedRun, Tracing, open_tracing
from harness.telemetry.telemetry_settings import Telemetry
from tests.integration.otlp_receiver import OtlpGrpcReceiver, OtlpReceiver, attributes_of
from tests.integration.prometheus_server import free_port

MODES: tuple[Mode, ...] = ("recorded", "live")


def settings(endpoint: str | None, **words: Any) -> Telemetry:
    return Telemetry.model_validate({"endpoint": endpoint, **words})


def traced_run(
    endpoint: str | None,
    workflow: Workflow,
    *,
    mode: Mode = "recorded",
    run_id: str = "a-run",
    trace_file: Path | None = None,
    words: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> tuple[Run, TracedRun, Tracing]:
    """Run a workflow as the commands do, and send its trace."""
    tracing = open_tracing(
        settings(endpoint, **(words or {})), mode=mode, trace_file=None if trace_file is None else str(trace_file)
    )
    assert tracing is not None
    traced = tracing.begin(RunName(run_id, "scenario"))
    try:
        done = run(workflow, instruments=[traced.instrument], **arguments)
    except Interrupted as interruption:
        done = interruption.run
    tracing.add(traced, done.timeline)
    tracing.finish()
    return done, traced, tracing


def by_id(spans: Iterable[Span]) -> dict[bytes, Span]:
    return {span.span_id: span for span in spans}


def step_spans(spans: Iterable[Span]) -> dict[tuple[str, int], Span]:
    found = {}
    for span in spans:
        attributes = attributes_of(span)
        if "makespan.step.id" in attributes:
            found[attributes["makespan.step.id"], attributes.get("makespan.attempt.number", 0)] = span
    return found


def tree(spans: Iterable[Span], *, without: Iterable[str] = ()) -> Counter[Any]:
    """What a trace says, ids apart: for each span its path of names, attributes, links and status."""
    all_spans = by_id(spans)

    def label(span: Span) -> Any:
        attributes = {name: value for name, value in attributes_of(span).items() if name not in without}
        return span.name, tuple(sorted((name, repr(value)) for name, value in attributes.items()))

    def path(span: Span) -> Any:
        found = []
        while span is not None:
            found.append(label(span))
            span = all_spans.get(span.parent_span_id)
        return tuple(found)

    return Counter(
        (
            path(span),
            tuple(sorted((label(all_spans[link.span_id]), repr(attributes_of(link))) for link in span.links)),
            span.status.code,
            span.start_time_unix_nano - min(one.start_time_unix_nano for one in all_spans.values()),
            span.end_time_unix_nano - min(one.start_time_unix_nano for one in all_spans.values()),
        )
        for span in all_spans.values()
    )


def rich_workflow() -> Workflow:
    """Data and order edges, a limit, a retry, a failure with what it skips, and a false condition."""
    return Workflow(
        workflow_id="rich",
        steps=(
            Step(step_id="a", tool="sleep", expected_seconds=1, writes=("page",)),
            Step(step_id="b", tool="sleep", expected_seconds=2, depends_on=("a",), needs={"desk": 1}),
            Step(step_id="c", tool="sleep", expected_seconds=3, depends_on=("a",), needs={"desk": 1}),
            Step(step_id="d", tool="sleep", expected_seconds=1, reads=("page",)),
            Step(step_id="never", tool="sleep", when="{{ false }}", expected_seconds=1, depends_on=("b",)),
            Step(
                step_id="broken", tool="flaky", expected_seconds=1, args={"fail_times": 5, "seconds": 1},
                retry=Retry(max_attempts=2, backoff_seconds=0.5),
            ),
            Step(step_id="after", tool="sleep", depends_on=("broken",), expected_seconds=1),
        ),
    )  # fmt: skip


def test_a_run_is_a_tree_with_a_root_a_span_for_each_attempt_and_its_waits() -> None:
    with OtlpReceiver() as receiver:
        done, traced, tracing = traced_run(
            receiver.endpoint, rich_workflow(), backend="virtual", workers=4, resources={"desk": Resource(capacity=1)}
        )
        spans = receiver.spans
    assert tracing.warnings == []
    root = next(span for span in spans if not span.parent_span_id)
    assert root.name == "invoke_workflow rich"
    assert root.trace_id.hex() == traced.trace_id
    assert {span.trace_id.hex() for span in spans} == {traced.trace_id}
    said = attributes_of(root)
    assert (said["makespan.run.workers"], said["makespan.run.policy"]) == (4, "dataflow")
    assert (said["makespan.run.steps"], said["makespan.run.attempts"]) == (7, len(done.timeline.attempts))
    steps = step_spans(spans)
    for attempt in done.timeline.attempts:
        span = steps[attempt.step_id, attempt.attempt]
        said = attributes_of(span)
        assert [said[f"makespan.attempt.{name}"] for name in ("ready", "granted", "started", "ended", "known")] == [
            attempt.ready, attempt.granted, attempt.started, attempt.ended, attempt.known,
        ]  # fmt: skip
        assert span.start_time_unix_nano - root.start_time_unix_nano == attempt.granted
        assert span.end_time_unix_nano - root.start_time_unix_nano == attempt.ended
        assert span.parent_span_id == root.span_id
    waits = sorted(span.name for span in spans if span.name.startswith("resource_wait"))
    assert waits == ["resource_wait desk", "resource_wait page"]
    wait = next(span for span in spans if span.name == "resource_wait desk")
    assert wait.parent_span_id in {steps["b", 1].span_id, steps["c", 1].span_id}
    backoff = next(span for span in spans if span.name == "retry_backoff")
    assert backoff.parent_span_id == steps["broken", 2].span_id
    assert steps["broken", 2].status.code == 2


def test_every_edge_is_a_link_and_an_attribute_and_says_what_kind_it_is() -> None:
    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, rich_workflow(), backend="virtual", resources={"desk": Resource(capacity=1)})
        spans = receiver.spans
    steps = step_spans(spans)
    ids = {span.span_id: key for key, span in steps.items()}
    links = {
        key: [(ids[link.span_id], attributes_of(link)) for link in span.links] for key, span in steps.items()
    }  # fmt: skip
    data = {"makespan.link.type": "depends_on", "makespan.link.edge": "data"}
    order = {"makespan.link.type": "depends_on", "makespan.link.edge": "order"}
    assert links["b", 1] == [(("a", 1), data)]
    assert links["d", 1] == [(("a", 1), order)]
    assert links["broken", 2] == [(("broken", 1), {"makespan.link.type": "retry_of"})]
    assert attributes_of(steps["b", 1])["makespan.step.depends_on"] == ("a",)
    assert attributes_of(steps["d", 1])["makespan.step.order_after"] == ("a",)


def test_steps_that_never_ran_have_a_span_without_length_that_says_why() -> None:
    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, rich_workflow(), backend="virtual", resources={"desk": Resource(capacity=1)})
        steps = step_spans(receiver.spans)
    for step_id in ("never", "after"):
        span = steps[step_id, 0]
        assert span.name == "step_not_run sleep"
        assert span.start_time_unix_nano == span.end_time_unix_nano
        assert attributes_of(span)["makespan.step.status"] == "skipped"


def test_live_and_recorded_say_the_same_of_the_same_run() -> None:
    trees = []
    for mode in MODES:
        with OtlpReceiver() as receiver:
            traced_run(
                receiver.endpoint, rich_workflow(), mode=mode, backend="virtual", workers=2, seed=3,
                resources={"desk": Resource(capacity=1)},
            )  # fmt: skip
            trees.append(tree(receiver.spans, without=["makespan.run.startup_seconds"]))
    assert trees[0] == trees[1]


# ---------------------------------------------------------------------- spans of step code


def opens_spans(prompt: str = "") -> str:
    from opentelemetry import trace

    tracer = trace.get_tracer("of.the.step", "2.0")
    trace.get_current_span().set_attribute("said.by", prompt)
    with tracer.start_as_current_span(f"outer of {prompt}", attributes={"n": 1}) as outer:
        outer.add_event("halfway", {"at": 2})
        with tracer.start_as_current_span(f"inner of {prompt}"):
            pass
    return prompt


async def opens_spans_async(prompt: str = "") -> str:
    return opens_spans(prompt)


def prompted(count: int, tool: str = "own") -> Workflow:
    return Workflow(steps=tuple(Step(step_id=f"s{n}", tool=tool, prompt=f"s{n}") for n in range(count)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["serial", "threads", "processes", "asyncio"])
def test_spans_that_step_code_opens_come_home_under_their_step(backend: str, mode: Mode) -> None:
    call = opens_spans_async if backend == "asyncio" else opens_spans
    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, prompted(6), mode=mode, backend=backend, workers=None, tools={"own": call})
        spans = receiver.spans
    steps = step_spans(spans)
    found = {span.name: span for span in spans}
    assert len(found) == 1 + 1 + 12  # the root, `execute_tool own`, and two of each step
    for (step_id, _), step in steps.items():
        outer, inner = found[f"outer of {step_id}"], found[f"inner of {step_id}"]
        assert outer.parent_span_id == step.span_id
        assert inner.parent_span_id == outer.span_id
        assert step.start_time_unix_nano <= outer.start_time_unix_nano <= outer.end_time_unix_nano
        assert outer.end_time_unix_nano <= step.end_time_unix_nano
        assert attributes_of(outer) == {"n": 1}
        assert [(event.name, attributes_of(event)) for event in outer.events] == [("halfway", {"at": 2})]
        assert attributes_of(step)["said.by"] == step_id


def test_a_span_that_ends_by_an_exception_says_so_and_its_step_too() -> None:
    def fails(prompt: str) -> None:
        from opentelemetry import trace

        with trace.get_tracer("t").start_as_current_span("inside"):
            raise ValueError("no such page")

    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, prompted(1), backend="threads", tools={"own": fails})
        spans = receiver.spans
    inside = next(span for span in spans if span.name == "inside")
    assert inside.status.code == 2
    assert [event.name for event in inside.events] == ["exception"]
    (step,) = step_spans(spans).values()
    assert step.status.code == 2
    assert attributes_of(step)["error.type"] == "ValueError"


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_a_thread_of_the_step_makes_is_not_lost(mode: Mode) -> None:
    def in_a_thread(prompt: str) -> None:
        thread = threading.Thread(target=opens_spans, args=("elsewhere",))
        thread.start()
        thread.join()

    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, prompted(1), mode=mode, backend="threads", tools={"own": in_a_thread})
        spans = receiver.spans
    found = by_id(spans)
    outer = next(span for span in spans if span.name == "outer of elsewhere")
    # A plain new thread has no context: the span belongs to the run that is under way.
    assert found[outer.parent_span_id].name == "invoke_workflow workflow"


def test_spans_keep_steady_times_when_the_wall_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns
    hour = 3_600_000_000_000

    def steps_back(prompt: str) -> str:
        monkeypatch.setattr(time, "time_ns", lambda: real() - hour)
        return opens_spans(prompt)

    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, prompted(3), backend="serial", workers=1, tools={"own": steps_back})
        spans = receiver.spans
    root = next(span for span in spans if not span.parent_span_id)
    for span in spans:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano


# ---------------------------------------------------------------------- nothing is lost


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["threads", "processes"])
@pytest.mark.parametrize("steps", [5_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_as_many_step_spans_arrive_as_there_are_steps(backend: str, mode: Mode, steps: int) -> None:
    workflow = Workflow(steps=tuple(Step(step_id=f"s{n}", tool="own") for n in range(steps)))
    with OtlpReceiver() as receiver:
        _, _, tracing = traced_run(
            receiver.endpoint, workflow, mode=mode, backend=backend, workers=2, tools={"own": int},
            words={"max_trace_bytes": 10**12, "timeout_seconds": 60},
        )  # fmt: skip
        spans = receiver.spans
    assert tracing.warnings == []
    assert len(step_spans(spans)) == steps
    assert len({span.span_id for span in spans}) == steps + 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_breaks_sends_what_there_was(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenError(Exception):
        pass

    def breaks(*_: Any, **__: Any) -> None:
        raise BrokenError

    with OtlpReceiver() as receiver:
        tracing = open_tracing(settings(receiver.endpoint), mode=mode)
        assert tracing is not None
        traced = tracing.begin(RunName("r", "s"))
        seen: list[str] = []

        def work(prompt: str) -> str:
            seen.append(prompt)
            if len(seen) == 30:
                monkeypatch.setattr(Scheduler, "succeed", breaks)
                monkeypatch.setattr(Scheduler, "finish", breaks)
            return prompt

        with pytest.raises(BrokenError):
            run(prompted(60), backend="serial", tools={"own": work}, instruments=[traced.instrument])
        tracing.add(traced)
        tracing.finish()
        spans = receiver.spans
    assert len(step_spans(spans)) >= 29
    assert sum(span.name.startswith("invoke_workflow") for span in spans) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_an_interrupted_run_sends_every_step_that_ended(tmp_path: Path, backend: str, mode: Mode) -> None:
    scenario = tmp_path / "long.yaml"
    under_way = tmp_path / "under-way"
    scenario.write_text(
        f"""
steps:
- {{step_id: s, copies: 20, tool: sleep, args: {{seconds: 0.01}}}}
- {{step_id: mark, tool: command, args: {{argv: [touch, {under_way}]}}, depends_on: [s]}}
- {{step_id: long, copies: 2000, tool: sleep, args: {{seconds: 0.1}}, depends_on: [mark]}}
"""
    )
    document = tmp_path / "run.json"
    with OtlpReceiver() as receiver:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "harness.cli", "run", str(scenario), "--executor", backend, "--workers", "2",
                "--trace", mode, "--json", str(document), "--no-store", "--quiet",
            ],
            env={"MAKESPAN_TELEMETRY__ENDPOINT": receiver.endpoint, "PATH": "/usr/bin:/bin"},
            stderr=subprocess.PIPE,
        )  # fmt: skip
        until = time.monotonic() + 60
        while not under_way.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(2)
        _, errors = process.communicate(timeout=60)
        spans = receiver.spans
    assert process.returncode == 130, errors
    result = json.loads(document.read_text())["results"][0]
    attempts = {(step["step_id"], one["attempt"]) for step in result["steps"] for one in step["attempts"]}
    assert len(attempts) > 10
    assert attempts <= set(step_spans(spans))
    assert {span.trace_id.hex() for span in spans} == {result["trace_id"]}


# ---------------------------------------------------------------------- the endpoint


@pytest.mark.parametrize("mode", MODES)
def test_a_dead_endpoint_costs_a_warning_and_bounded_time(mode: Mode) -> None:
    began = time.monotonic()
    done, _, tracing = traced_run(
        f"http://127.0.0.1:{free_port()}", prompted(100), mode=mode, backend="threads", tools={"own": str},
        words={"timeout_seconds": 0.5},
    )  # fmt: skip
    assert done.ok
    assert time.monotonic() - began < 10
    (warning,) = tracing.warnings
    assert "101 of 101 spans were not delivered" in warning
    assert "dashboards push" in warning


def test_an_endpoint_that_never_answers_costs_bounded_time() -> None:
    with OtlpReceiver() as receiver:
        receiver.received.delay_seconds = 30
        began = time.monotonic()
        _, _, tracing = traced_run(
            receiver.endpoint, prompted(10), backend="threads", tools={"own": str}, words={"timeout_seconds": 0.5}
        )
        assert time.monotonic() - began < 10
    assert "11 of 11 spans were not delivered" in tracing.warnings[0]


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_not_tried_again_and_is_named(status: int) -> None:
    with OtlpReceiver() as receiver:
        receiver.received.answer = lambda number: status
        _, _, tracing = traced_run(receiver.endpoint, prompted(10), backend="threads", tools={"own": str})
    assert receiver.received.attempts == 1
    assert f"answered {status}" in tracing.warnings[0]


def test_a_receiver_that_is_busy_for_a_moment_gets_everything() -> None:
    with OtlpReceiver() as receiver:
        receiver.received.answer = lambda number: 503 if number < 3 else None
        _, _, tracing = traced_run(receiver.endpoint, prompted(2000), backend="threads", tools={"own": str})
        assert len(step_spans(receiver.spans)) == 2000
    assert tracing.warnings == []


def test_a_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    with OtlpReceiver() as receiver:
        _, _, tracing = traced_run(receiver.endpoint, prompted(700), backend="threads", tools={"own": str})
        largest = max(len(body) for body in receiver.received.bodies)
    with OtlpReceiver() as receiver:
        sizes: list[int] = []
        receiver.received.answer = lambda number: 413 if number in (1, 2) else None
        _, _, tracing = traced_run(receiver.endpoint, prompted(700), backend="threads", tools={"own": str})
        sizes = [len(body) for body in receiver.received.bodies]
        assert len(step_spans(receiver.spans)) == 700
    assert tracing.warnings == []
    assert sizes[0] < largest / 2


def test_an_endpoint_that_is_gone_in_mid_run_and_comes_back_gets_everything_live() -> None:
    gate = threading.Event()

    def waits(prompt: str) -> str:
        if prompt == "s50":
            assert gate.wait(30)
        return prompt

    port = free_port()
    with OtlpReceiver(port) as first:
        tracing = open_tracing(settings(first.endpoint, timeout_seconds=20), mode="live")
        assert tracing is not None
        traced = tracing.begin(RunName("r", "s"))
        thread = threading.Thread(
            target=lambda: tracing.add(
                traced,
                run(prompted(100), backend="serial", tools={"own": waits}, instruments=[traced.instrument]).timeline,
            )
        )
        thread.start()
        first.received.wait_for(20)
        early = len(first.spans)
    gate.set()
    thread.join()
    with OtlpReceiver(port) as second:
        tracing.finish()
        late = len(second.spans)
    assert tracing.warnings == []
    assert early + late == 101


def test_spans_that_the_receiver_refuses_within_a_batch_are_counted() -> None:
    with OtlpReceiver() as receiver:
        receiver.received.rejected_spans = 3
        _, _, tracing = traced_run(receiver.endpoint, prompted(10), backend="threads", tools={"own": str})
    assert "3 of 11 spans were not delivered" in tracing.warnings[0]


def test_grpc_gets_the_same_spans_and_the_headers() -> None:
    with OtlpGrpcReceiver() as receiver:
        _, _, tracing = traced_run(
            receiver.endpoint, prompted(3), backend="threads", tools={"own": str},
            words={"protocol": "grpc", "headers": {"X-Key": "k"}},
        )  # fmt: skip
        assert len(step_spans(receiver.received.spans)) == 3
        assert receiver.received.headers[0]["x-key"] == "k"
    assert tracing.warnings == []


def test_headers_reach_the_receiver_and_no_message() -> None:
    with OtlpReceiver() as receiver:
        _, _, tracing = traced_run(
            receiver.endpoint, prompted(1), backend="threads", tools={"own": str},
            words={"headers": {"Authorization": "Bearer hush"}},
        )  # fmt: skip
        assert receiver.received.headers[0]["authorization"] == "Bearer hush"
        receiver.received.answer = lambda number: 403
        _, _, tracing = traced_run(
            receiver.endpoint, prompted(1), backend="threads", tools={"own": str},
            words={"headers": {"Authorization": "Bearer hush"}},
        )  # fmt: skip
    assert "403" in tracing.warnings[0]
    assert "hush" not in tracing.warnings[0]


def test_a_trace_that_a_store_may_refuse_is_warned_of() -> None:
    with OtlpReceiver() as receiver:
        _, _, tracing = traced_run(
            receiver.endpoint, prompted(200), backend="threads", tools={"own": str}, words={"max_trace_bytes": 50_000}
        )
        sent = sum(len(body) for body in receiver.received.bodies)
    (warning,) = tracing.warnings
    assert "max_trace_bytes" in warning
    estimated = float(warning.split("about ")[1].split(" MB")[0]) * 1e6
    assert 0.6 * sent < estimated < 1.6 * sent


def test_values_that_protobuf_cannot_hold_cost_no_span() -> None:
    def odd(prompt: str) -> None:
        from opentelemetry import trace

        trace.get_current_span().set_attribute("odd", "\ud800")
        trace.get_current_span().set_attribute("huge", 2**80)

    with OtlpReceiver() as receiver:
        _, _, tracing = traced_run(receiver.endpoint, prompted(5), backend="threads", tools={"own": odd})
        (one, *_), count = step_spans(receiver.spans).values(), len(step_spans(receiver.spans))
    assert count == 5
    assert attributes_of(one)["odd"] == "?"
    assert attributes_of(one)["huge"] == str(2**80)
    assert tracing.warnings == []


def test_the_trace_file_says_what_the_receiver_got(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    with OtlpReceiver() as receiver:
        traced_run(
            receiver.endpoint, rich_workflow(), backend="virtual", trace_file=path,
            resources={"desk": Resource(capacity=1)},
        )  # fmt: skip
        spans = receiver.spans
    written = [
        span
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert [(one["spanId"], one.get("parentSpanId", ""), one["name"]) for one in written] == [
        (span.span_id.hex(), span.parent_span_id.hex(), span.name) for span in spans
    ]
    assert [one["startTimeUnixNano"] for one in written] == [str(span.start_time_unix_nano) for span in spans]
    assert [[link["spanId"] for link in one.get("links", [])] for one in written] == [
        [link.span_id.hex() for link in span.links] for span in spans
    ]
    assert [len(one["attributes"]) for one in written] == [len(span.attributes) for span in spans]


# ---------------------------------------------------------------------- programs of steps

NODE = """
from opentelemetry import trace

def main():
    with trace.get_tracer("of.the.node").start_as_current_span("in the node", attributes={"n": 1}) as span:
        span.add_event("here")
        with trace.get_tracer("of.the.node").start_as_current_span("deeper"):
            return "done"
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", ["threads", "asyncio", "processes"])
def test_spans_of_a_node_come_home_under_its_step(backend: str, mode: Mode) -> None:
    workflow = Workflow(steps=(Step(step_id="n", tool="node", args={"source": NODE}),))
    with OtlpReceiver() as receiver:
        done, _, _ = traced_run(receiver.endpoint, workflow, mode=mode, backend=backend)
        spans = receiver.spans
    assert done.outputs == {"n": "done"}
    (step,) = step_spans(spans).values()
    (node,) = [span for span in spans if span.name == "in the node"]
    (deeper,) = [span for span in spans if span.name == "deeper"]
    assert node.parent_span_id == step.span_id
    assert deeper.parent_span_id == node.span_id
    assert step.start_time_unix_nano <= node.start_time_unix_nano <= node.end_time_unix_nano
    assert node.end_time_unix_nano <= step.end_time_unix_nano
    assert attributes_of(node) == {"n": 1}
    assert [event.name for event in node.events] == ["here"]


def test_a_command_is_told_the_trace_and_lines_that_are_no_spans_are_left_out() -> None:
    program = (
        "import os; print(os.environ['TRACEPARENT']); open(os.environ['MAKESPAN_SPANS'], 'w').write('[1]\\nx\\n{}')"
    )
    workflow = Workflow(steps=(Step(step_id="c", tool="command", args={"argv": [sys.executable, "-c", program]}),))
    with OtlpReceiver() as receiver:
        done, traced, _ = traced_run(receiver.endpoint, workflow, backend="threads")
        (step,) = step_spans(receiver.spans).values()
        assert len(receiver.spans) == 2
    assert done.outputs["c"].strip() == f"00-{traced.trace_id}-{step.span_id.hex()}-01"


def test_a_command_of_a_run_that_is_not_traced_is_told_nothing() -> None:
    program = "import os; print('TRACEPARENT' in os.environ or 'MAKESPAN_SPANS' in os.environ)"
    workflow = Workflow(steps=(Step(step_id="c", tool="command", args={"argv": [sys.executable, "-c", program]}),))
    assert run(workflow, backend="threads").outputs["c"].strip() == "False"


def test_what_a_receiver_says_of_a_refusal_is_shown_once_and_without_the_key() -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            _, _, bare = self.headers["authorization"].partition(" ")
            text = f"no experiment\nfor {self.headers['x-key']}, {bare}".encode()
            self.send_response(400)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        _, _, tracing = traced_run(
            endpoint,
            prompted(10),
            backend="threads",
            tools={"own": str},
            words={"headers": {"x-key": "geheim", "authorization": "Bearer sk-1"}},
        )
        server.shutdown()
    (warning,) = tracing.warnings
    assert "it answered 400 Bad Request: no experiment for ***, ***;" in warning
    assert warning.count(endpoint) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_of_a_file_that_is_full_nobody_is_told_to_send_it_later() -> None:
    tracing = open_tracing(Telemetry(), trace_file="/dev/full")
    assert tracing is not None
    traced = tracing.begin(RunName("run", "full"))
    done = run(prompted(3), tools={"own": str}, instruments=[traced.instrument])
    tracing.add(traced, done.timeline)
    tracing.finish()
    (warning,) = tracing.warnings
    assert warning == "telemetry: 4 of 4 spans were not delivered to /dev/full: No space left on device"

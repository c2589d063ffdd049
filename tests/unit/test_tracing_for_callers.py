"""Runs inside a trace of the caller's: with the SDK, without it, in threads, coroutines and processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from executor.engine.instruments import Untraced
from executor.model.workflow import Resource, Retry, Step, Workflow
from executor.running import arun, run
from executor.tracing.live_spans import LiveTracing

PARENT = SpanContext(0x1234, 0x5678, True, TraceFlags(TraceFlags.SAMPLED))


class Spans:
    """A provider of the caller's, and what it was given."""

    def __init__(self, **words: Any) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False, **words)
        self.exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("caller")

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.all if span.name == name]
        return found

    def step(self, step_id: str, attempt: int = 1) -> ReadableSpan:
        (found,) = [
            span
            for span in self.all
            if (span.attributes or {}).get("makespan.step.id") == step_id
            and (span.attributes or {}).get("makespan.attempt.number", 0) == attempt
        ]
        return found


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture(autouse=True)
def fresh_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sets the program's provider anew."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", trace.Once())


def use(spans: Spans) -> None:
    trace.set_tracer_provider(spans.provider)


def own_spans(prompt: str) -> Any:
    with trace.get_tracer("of.the.step").start_as_current_span(f"inside {prompt}"):
        return baggage.get_baggage("tenant")


async def own_spans_async(prompt: str) -> Any:
    return own_spans(prompt)


def prompted(count: int) -> Workflow:
    return Workflow(
        workflow_id="w", steps=tuple(Step(step_id=f"s{n}", tool="own", prompt=f"s{n}") for n in range(count))
    )


# The SDK reads the wall clock, a run the monotonic one from a common start on: they are adjusted apart from each other.
CLOCKS_APART_NANOSECONDS = 1_000_000


@pytest.mark.parametrize("backend", ["serial", "threads", "asyncio", "processes"])
def test_a_run_under_an_active_span_continues_its_trace_and_keeps_baggage(backend: str, spans: Spans) -> None:
    use(spans)
    call = own_spans_async if backend == "asyncio" else own_spans
    with spans.tracer.start_as_current_span("handler") as handler:
        token = context.attach(baggage.set_baggage("tenant", "blue"))
        done = run(prompted(4), backend=backend, tools={"own": call})
        context.detach(token)
    assert set(done.outputs.values()) == {"blue"}
    root = spans.named("invoke_workflow w")
    assert root.parent is not None
    assert root.parent.span_id == handler.get_span_context().span_id
    assert {span.context.trace_id for span in spans.all} == {handler.get_span_context().trace_id}
    for number in range(4):
        step, inside = spans.step(f"s{number}"), spans.named(f"inside s{number}")
        assert step.parent is not None
        assert step.parent.span_id == root.context.span_id
        assert inside.parent is not None
        assert inside.parent.span_id == step.context.span_id
        assert step.start_time - CLOCKS_APART_NANOSECONDS <= inside.start_time
        assert inside.start_time <= inside.end_time <= step.end_time + CLOCKS_APART_NANOSECONDS


def test_arun_in_a_handler_continues_its_trace(spans: Spans) -> None:
    use(spans)

    async def handler() -> None:
        with spans.tracer.start_as_current_span("handler"):
            await arun(prompted(2), tools={"own": own_spans_async})

    asyncio.run(handler())
    handler_span, root = spans.named("handler"), spans.named("invoke_workflow w")
    assert root.parent == handler_span.context
    assert spans.named("inside s1").parent == spans.step("s1").context


def test_an_arun_that_is_cancelled_ends_its_spans(spans: Spans) -> None:
    use(spans)

    async def main() -> None:
        begun = asyncio.Event()

        async def forever(prompt: str) -> None:
            begun.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(arun(prompted(2), tools={"own": forever}))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert spans.named("invoke_workflow w").end_time is not None
    assert spans.step("s0").attributes["makespan.attempt.outcome"] in ("cancelled", "failed")


def test_a_provider_without_an_active_span_makes_the_run_a_trace_of_its_own(spans: Spans) -> None:
    use(spans)
    run(prompted(1), backend="threads", tools={"own": own_spans})
    assert spans.named("invoke_workflow w").parent is None
    assert len(spans.all) == 3


def test_an_untraced_run_opens_no_spans_of_its_own(spans: Spans) -> None:
    use(spans)
    run(prompted(1), backend="threads", tools={"own": own_spans}, instruments=[Untraced()])
    assert [span.name for span in spans.all] == ["inside s0"]


@pytest.mark.parametrize("backend", ["threads", "asyncio", "processes"])
def test_without_a_provider_the_callers_context_still_reaches_the_steps(backend: str) -> None:
    call = context_of_step_async if backend == "asyncio" else context_of_step
    token = context.attach(
        baggage.set_baggage("tenant", "blue", trace.set_span_in_context(NonRecordingSpan(PARENT), context.Context()))
    )
    try:
        done = run(prompted(2), backend=backend, tools={"own": call})
    finally:
        context.detach(token)
    assert done.outputs["s1"] == [0x1234, 0x5678, "blue"]
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def context_of_step(prompt: str) -> list[Any]:
    here = trace.get_current_span().get_span_context()
    return [here.trace_id, here.span_id, baggage.get_baggage("tenant")]


async def context_of_step_async(prompt: str) -> list[Any]:
    return context_of_step(prompt)


def test_a_caller_that_is_not_sampled_gets_no_spans() -> None:
    spans = Spans(sampler=ALWAYS_OFF)
    use(spans)
    with spans.tracer.start_as_current_span("handler"):
        assert run(prompted(3), backend="threads", tools={"own": own_spans}).ok
    assert spans.all == []


def test_links_attributes_waits_and_errors_are_those_of_recorded_runs(spans: Spans) -> None:
    workflow = Workflow(
        workflow_id="w",
        steps=(
            Step(step_id="a", tool="sleep", expected_seconds=1, needs={"desk": 1}),
            Step(step_id="b", tool="sleep", expected_seconds=1, needs={"desk": 1}),
            Step(step_id="c", tool="sleep", expected_seconds=1, depends_on=("a", "b")),
            Step(
                step_id="broken", tool="flaky", args={"fail_times": 5, "seconds": 1},
                retry=Retry(max_attempts=2, backoff_seconds=0.5),
            ),
            Step(step_id="after", tool="sleep", expected_seconds=1, depends_on=("broken",)),
        ),
    )  # fmt: skip
    run(
        workflow, backend="virtual", resources={"desk": Resource(capacity=1)},
        instruments=[LiveTracing(spans.tracer, context=context.Context())],
    )  # fmt: skip
    links = [(link.context.span_id, link.attributes["makespan.link.type"]) for link in spans.step("c").links]
    assert links == [(spans.step(one).context.span_id, "depends_on") for one in "ab"]
    assert spans.step("c").attributes["makespan.step.depends_on"] == ("a", "b")
    wait = spans.named("resource_wait desk")
    assert wait.parent == spans.step("b").context
    assert spans.named("retry_backoff").parent == spans.step("broken", 2).context
    broken = spans.step("broken", 2)
    assert broken.status.status_code is StatusCode.ERROR
    assert broken.attributes["error.type"] == "ToolError"
    (link,) = broken.links
    assert (link.context, link.attributes) == (
        spans.step("broken", 1).context, {"makespan.link.type": "retry_of"},
    )  # fmt: skip
    assert spans.named("step_not_run sleep").attributes["makespan.step.status"] == "skipped"
    assert spans.named("invoke_workflow w").status.status_code is StatusCode.ERROR


def test_a_run_within_a_step_of_a_run_is_below_that_step(spans: Spans) -> None:
    use(spans)
    inner = Workflow(workflow_id="inner", steps=(Step(step_id="leaf", tool="own", prompt="leaf"),))

    def runs_another(prompt: str) -> bool:
        return run(inner, backend="threads", tools={"own": own_spans}).ok

    run(prompted(1), backend="threads", tools={"own": runs_another})
    assert spans.named("invoke_workflow inner").parent == spans.step("s0").context
    assert spans.named("inside leaf").parent == spans.step("leaf").context


def test_a_program_that_does_not_use_opentelemetry_does_not_import_it_by_running() -> None:
    script = (
        "import sys; from executor import Step, Workflow, run\n"
        "run(Workflow(steps=(Step(step_id='a', tool='noop'),)), backend='threads')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NODE = """
from opentelemetry import trace

def main():
    with trace.get_tracer("node").start_as_current_span("in the node"):
        with trace.get_tracer("node").start_as_current_span("deeper"):
            return 1
"""


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_spans_of_a_node_come_home_in_the_callers_trace(backend: str, spans: Spans) -> None:
    use(spans)
    steps = tuple(Step(step_id=f"n{number}", tool="node", args={"source": NODE}) for number in range(2))
    with spans.tracer.start_as_current_span("handler"):
        assert run(Workflow(steps=steps), backend=backend).ok
    nodes = [span for span in spans.all if span.name == "in the node"]
    assert {span.parent.span_id for span in nodes} == {spans.step(f"n{n}").context.span_id for n in range(2)}
    deeper = [span for span in spans.all if span.name == "deeper"]
    assert {span.parent.span_id for span in deeper} == {span.context.span_id for span in nodes}

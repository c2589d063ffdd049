"""What tracing costs the measured part: recorded against untraced, live against untraced and a bare span a step."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from pytest_benchmark.fixture import BenchmarkFixture

from executor.backends import find_backend
from executor.engine.engine import Engine
from executor.engine.instruments import Instrument
from executor.record.timeline import Attempt, StepStatus
from executor.tracing.live_spans import LiveTracing
from executor.tracing.step_spans import RunTracing
from harness.telemetry.spans.trace_session import RunName, Tracing, open_tracing
from harness.telemetry.telemetry_settings import Telemetry
from tests.benchmarks import graphs
from tests.benchmarks.measure import PEAK_BYTES, ROWS, Runner, paired, report, workflow_of
from tests.child_programs import Program
from tests.integration.otlp_receiver import OtlpReceiver

STEPS = 5_000
GRAPH = graphs.layered(10, STEPS // 10)


def noop() -> None:
    """Nothing."""


async def noop_async() -> None:
    """Nothing, as a coroutine."""


CALLS: dict[str, Callable[..., Any]] = {"threads": noop, "asyncio": noop_async, "processes": noop}


class Dropping(SpanExporter):
    """Takes everything and keeps nothing."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def a_provider() -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(Dropping(), max_queue_size=1_000_000, max_export_batch_size=2048)
    )  # fmt: skip
    return provider


class BareSpans(Instrument):
    """The yardstick: one span a step, opened and ended where `live` does, with nothing in it."""

    def __init__(self, provider: TracerProvider) -> None:
        self.tracer = provider.get_tracer("bare")
        self.open: dict[Attempt, Any] = {}

    def attempt_started(self, attempt: Attempt) -> None:
        self.open[attempt] = self.tracer.start_span("step")

    def attempt_finished(self, attempt: Attempt, status: StepStatus) -> None:
        self.open.pop(attempt).end()


def measured(runner: Runner, instruments: list[Instrument]) -> float:
    """Seconds of the measured part; all of `instruments` are called as in a run."""
    backend = find_backend(runner.backend)(runner.workers)
    engine = Engine(
        runner.graph, runner.tools, backend, slots=backend.capacity, policy=runner.policy, instruments=instruments
    )
    for instrument in instruments:
        engine.context.trace = engine.context.trace or instrument.carrier
    backend.open(engine)
    try:
        if runner.backend == "asyncio":
            return asyncio.run(_driven(engine, backend))
        began = time.perf_counter()
        backend.drive(engine)
        return time.perf_counter() - began
    finally:
        backend.close()
        engine.instruments.call("run_finished", engine)
        assert engine.scheduler.done
        assert not engine.instruments.warnings


async def _driven(engine: Engine, backend: Any) -> float:
    began = time.perf_counter()
    await backend.drive_async(engine)
    return time.perf_counter() - began


@pytest.mark.parametrize("backend", list(CALLS))
def test_recorded_tracing(benchmark: BenchmarkFixture, backend: str) -> None:
    runner = Runner(workflow_of(GRAPH), backend, 2, CALLS[backend])
    found = paired(lambda: measured(runner, [RunTracing()]), lambda: measured(runner, []), 15)
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(lambda: measured(runner, [RunTracing()]), rounds=1)
    report(f"recorded tracing, {backend}, ÷ untraced", found, STEPS, "1.05")


@pytest.mark.parametrize("backend", list(CALLS))
def test_live_tracing(benchmark: BenchmarkFixture, backend: str) -> None:
    """`live` as the commands have it, sending while the run goes on, to a receiver in another process."""
    runner = Runner(workflow_of(GRAPH), backend, 2, CALLS[backend])
    provider = a_provider()
    with Program(
        [sys.executable, "-m", "tests.benchmarks.receiver"], stdout=subprocess.PIPE, text=True
    ) as receiver:  # fmt: skip
        assert receiver.stdout is not None
        endpoint = receiver.stdout.readline().strip()
        try:
            found = paired(
                lambda: _live(runner, endpoint),
                lambda: measured(runner, [BareSpans(provider)]),
                9,
            )
        finally:
            receiver.terminate()
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(lambda: None, rounds=1)
    report(f"live tracing, {backend}, ÷ a bare span a step", found, STEPS, "1.25")


def _live(runner: Runner, endpoint: str) -> float:
    tracing = open_tracing(Telemetry(endpoint=endpoint, timeout_seconds=60, max_trace_bytes=10**12), mode="live")
    assert isinstance(tracing, Tracing)
    traced = tracing.begin(RunName("r", "s"))
    taken = measured(runner, [traced.instrument])
    (delivery,) = tracing.finish()
    assert (delivery.sent, delivery.lost) == (STEPS + 1, 0)
    return taken


@pytest.mark.parametrize("backend", list(CALLS))
def test_tracing_with_the_callers_tracer(benchmark: BenchmarkFixture, backend: str) -> None:
    """What `run()` adds by itself under an active span: real spans of the caller's provider."""
    runner = Runner(workflow_of(GRAPH), backend, 2, CALLS[backend])
    provider = a_provider()
    tracer = provider.get_tracer("caller")
    found = paired(
        lambda: measured(runner, [LiveTracing(tracer)]), lambda: measured(runner, [BareSpans(provider)]), 9
    )  # fmt: skip
    benchmark.extra_info["ratio"] = found.ratio
    benchmark.pedantic(lambda: None, rounds=1)
    report(f"the caller's tracer, {backend}, ÷ a bare span a step", found, STEPS, "—")


MEMORY = """
import sys
sys.path.insert(0, {root!r})
from executor import Step, Workflow, run
from harness.telemetry.telemetry_settings import Telemetry
from harness.telemetry.spans.trace_session import RunName, open_tracing
endpoint, mode = sys.argv[1:3]
workflow = Workflow(steps=tuple(Step(step_id=f"s{{n}}", tool="noop") for n in range(100_000)))
if mode == "none":
    run(workflow, backend="threads", workers=2)
else:
    settings = Telemetry(endpoint=endpoint, timeout_seconds=60, max_trace_bytes=10**12)
    tracing = open_tracing(settings, mode=mode)
    traced = tracing.begin(RunName("r", "s"))
    done = run(workflow, backend="threads", workers=2, instruments=[traced.instrument])
    tracing.add(traced, done.timeline)
    (delivery,) = tracing.finish()
    assert (delivery.sent, delivery.lost) == (100_001, 0), delivery
print({peak_bytes})
"""


@pytest.mark.parametrize("mode", ["recorded", "live"])
def test_memory_of_a_traced_run_of_100_000_steps(benchmark: BenchmarkFixture, pytestconfig: Any, mode: str) -> None:
    script = MEMORY.format(root=str(pytestconfig.rootpath), peak_bytes=PEAK_BYTES)

    def peak_bytes(endpoint: str, which: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", script, endpoint, which], capture_output=True, text=True, check=True
        )  # fmt: skip
        return int(done.stdout)

    with OtlpReceiver() as receiver:
        receiver.received.requests = _Nothing()  # type: ignore[assignment]  # it need not keep them here
        above = peak_bytes(receiver.endpoint, mode) - peak_bytes(receiver.endpoint, "none")
    benchmark.extra_info["bytes_above_untraced"] = above
    benchmark.pedantic(lambda: None, rounds=1)
    ROWS.append((f"{mode} tracing of 100,000 steps, MB above untraced", f"{above / 1e6:.0f}", "", "", "", "600"))


class _Nothing(list[Any]):
    def append(self, _: Any) -> None:
        """Keep nothing."""

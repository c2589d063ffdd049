"""What ``makespan record`` costs a program of spans of 1 ms: against one that sends its spans to a receiver that keeps
nothing, and against one that sends none. The program, which sets up the SDK itself, measures itself: wall clock and its
own processor time, from its first span until all are sent. What `record` does before and after that is not in it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.measure import ROWS
from tests.child_programs import Program

SPANS = 1_000
ROUNDS = 4
AT_MOST = 1.05
_CALIBRATED = 1_000_000
# `record` asks for that, too: the comparison is of the receivers.
_DELAY = {"OTEL_BSP_SCHEDULE_DELAY": "500"}
_PROGRAM = """
import json, os, sys, time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
count, additions = int(sys.argv[1]), int(sys.argv[2])
provider = TracerProvider()
if "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in os.environ:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("agent")
began, cpu = time.perf_counter(), time.process_time()
with tracer.start_as_current_span("run"):
    for number in range(count):
        with tracer.start_as_current_span("step", attributes={"number": number}):
            if not additions:
                time.sleep(0.001)
            total = 0
            for one in range(additions):
                total += one
provider.shutdown()
with open(sys.argv[3], "w") as file:
    json.dump([time.perf_counter() - began, time.process_time() - cpu], file)
"""


def additions_of_a_millisecond() -> int:
    """How many additions take one, by processor time."""
    began = time.process_time()
    total = 0
    for one in range(_CALIBRATED):
        total += one
    return round(_CALIBRATED / (time.process_time() - began) / 1_000)


@pytest.fixture
def sink() -> Iterator[str]:
    """The address of a receiver that keeps nothing."""
    with Program([sys.executable, "-m", "tests.benchmarks.receiver"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"{process.stdout.readline().strip()}/v1/traces"
        finally:
            process.kill()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["that sleep", "of processor time"])
def test_recording_a_program_of_spans_of_a_millisecond(
    benchmark: BenchmarkFixture, tmp_path: Path, sink: str, kind: str
) -> None:
    script, measured = tmp_path / "program.py", tmp_path / "measured.json"
    script.write_text(_PROGRAM, encoding="utf-8")
    additions = additions_of_a_millisecond() if kind == "of processor time" else 0
    program = [sys.executable, str(script), str(SPANS), str(additions), str(measured)]
    record = [sys.executable, "-m", "harness.cli", "record", "--quiet", "--no-store", "--", *program]
    ways = {
        "none": (program, {}),
        "sink": (program, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink}),
        "record": (record, {}),
    }
    without = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, (command, variables) in ways.items():
            subprocess.run(command, env={**without, **_DELAY, **variables}, check=True)
            wall, cpu = json.loads(measured.read_text(encoding="utf-8"))
            found[way].append((wall, cpu))
    for place, clock in enumerate(("wall clock", "processor time")):
        if clock == "processor time" and not additions:
            continue  # a program that sleeps has hardly any
        for against, limit in (("sink", f"{AT_MOST}"), ("none", "shown beside")):
            ratios = [one[place] / other[place] for one, other in zip(found["record"], found[against], strict=True)]
            ratio = statistics.median(ratios)
            ours, other = (statistics.median(one[place] for one in found[way]) for way in ("record", against))
            what = "a receiver that keeps nothing" if against == "sink" else "no export"
            ROWS.append(
                (
                    f"record, spans of 1 ms {kind}, {clock}, ÷ {what}", f"{ours / SPANS * 1e6:.0f}",
                    f"{other / SPANS * 1e6:.0f}", f"{ratio:.3f}", f"{min(ratios):.3f} – {max(ratios):.3f}", limit,
                )
            )  # fmt: skip
            benchmark.extra_info[f"{clock} ÷ {what}"] = ratio
    benchmark.pedantic(lambda: None, rounds=1)

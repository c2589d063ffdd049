"""What reading a trace costs a span, at 10,000 and at 100,000 spans and against ``json.loads`` of the same bytes."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.traces import Trace, foreign_run, read_traces
from tests.benchmarks.measure import PEAK_BYTES, Paired, paired, report

SMALL, LARGE = 10_000, 100_000
GROWS_AT_MOST = 1.3
AT_MOST = 3.0
HOLDS_AT_MOST = 3.0
BEGIN = 1_700_000_000_123_456_789
TRACE = "0af7651916cd43dd8448eb211c80319c"
BATCH = 500


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def spans(count: int) -> list[dict[str, Any]]:
    """A run of an agent: nodes one after the other, each with nine calls inside, every second one linked."""
    found = []
    for place in range(count):
        node, call = divmod(place, 10)
        begin = BEGIN + node * 10_000_000 + (call * 900_000 if call else 0)
        words: dict[str, Any] = {
            "traceId": TRACE, "spanId": f"{place + 2:016x}", "name": f"chat model-{place % 7}" if call else "node",
            "parentSpanId": f"{node * 10 + 2:016x}" if call else f"{1:016x}", "kind": 3 if call else 1,
            "startTimeUnixNano": str(begin), "endTimeUnixNano": str(begin + (800_000 if call else 9_500_000)),
            "attributes": [
                attribute("gen_ai.operation.name", "chat"), attribute("gen_ai.request.model", f"model-{place % 7}"),
                attribute("server.address", "127.0.0.1"), attribute("thread.name", f"worker-{place % 4}"),
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": str(place)}},
            ],
            "status": {},
        }  # fmt: skip
        if place % 2 and call > 1:
            words["links"] = [{"traceId": TRACE, "spanId": f"{place + 1:016x}", "attributes": []}]
        found.append(words)
    end = str(BEGIN + count * 1_000_000)
    root = {"traceId": TRACE, "spanId": f"{1:016x}", "name": "agent", "startTimeUnixNano": str(BEGIN)}
    return [{**root, "endTimeUnixNano": end}, *found]


def request(batch: list[dict[str, Any]]) -> dict[str, Any]:
    resource = {"attributes": [attribute("service.name", "agent")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": batch}]}]}


def jaeger(found: list[dict[str, Any]]) -> dict[str, Any]:
    made = [
        {
            "traceID": TRACE, "spanID": one["spanId"], "operationName": one["name"], "processID": "p1",
            "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": one.get("parentSpanId", "")}],
            "startTime": int(one["startTimeUnixNano"]) // 1000,
            "duration": (int(one["endTimeUnixNano"]) - int(one["startTimeUnixNano"])) // 1000,
            "tags": [{"key": pair["key"], "type": "string", "value": "v"} for pair in one.get("attributes", ())],
            "logs": [], "warnings": None,
        }
        for one in found
    ]  # fmt: skip
    return {"data": [{"traceID": TRACE, "spans": made, "processes": {"p1": {"serviceName": "agent", "tags": []}}}]}


def written(form: str, count: int) -> bytes:
    found = spans(count)
    if form == "JSON lines":
        batches = [found[begin : begin + BATCH] for begin in range(0, len(found), BATCH)]
        return b"".join(json.dumps(request(batch)).encode() + b"\n" for batch in batches)
    return json.dumps(request(found) if form == "JSON" else jaeger(found)).encode()


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    held = work()
    taken = time.perf_counter() - began
    del held
    return taken


def trace_of(content: bytes) -> Trace:
    [trace] = read_traces("-", stdin=BytesIO(content))
    return trace


def loaded(content: bytes) -> object:
    """What the standard library needs for the same bytes, and keeps."""
    return [json.loads(line) for line in content.splitlines()] if content.count(b"\n") else json.loads(content)


@pytest.mark.parametrize("form", ["JSON lines", "JSON", "Jaeger"])
def test_reading_takes_at_most_three_times_json_loads(benchmark: BenchmarkFixture, form: str) -> None:
    content = written(form, LARGE)
    found: Paired = benchmark.pedantic(
        paired,
        args=(lambda: seconds(lambda: trace_of(content)), lambda: seconds(lambda: loaded(content)), 3),
        iterations=1,
    )
    report(f"reading a trace ({form}), 100,000 spans, ÷ json.loads", found, LARGE, f"{AT_MOST}")
    assert found.ratio <= AT_MOST


@pytest.mark.parametrize("form", ["JSON lines", "Jaeger"])
def test_reading_grows_in_proportion(benchmark: BenchmarkFixture, form: str) -> None:
    small, large = written(form, SMALL), written(form, LARGE)
    grows(benchmark, f"reading ({form})", lambda: trace_of(small), lambda: trace_of(large))


def test_the_run_of_a_trace_grows_in_proportion(benchmark: BenchmarkFixture) -> None:
    small, large = trace_of(written("JSON lines", SMALL)), trace_of(written("JSON lines", LARGE))
    grows(benchmark, "tree, edges and timeline of a trace", lambda: foreign_run(small), lambda: foreign_run(large))


def grows(benchmark: BenchmarkFixture, name: str, small: Callable[[], object], large: Callable[[], object]) -> None:
    """Per span, 100,000 against 10,000."""
    ten = LARGE // SMALL

    def of_small() -> float:
        return sum(seconds(small) for _ in range(ten))

    found: Paired = benchmark.pedantic(paired, args=(lambda: seconds(large), of_small, 3), iterations=1)
    report(f"{name}: a span at 100,000 ÷ at 10,000", found, LARGE, f"{GROWS_AT_MOST}")
    assert found.ratio <= GROWS_AT_MOST


@pytest.mark.parametrize("form", ["JSON lines", "JSON", "Jaeger"])
def test_reading_holds_at_most_three_times_the_size_of_the_file(
    benchmark: BenchmarkFixture, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(written(form, LARGE))
    held_bytes = benchmark.pedantic(peak_bytes, args=(path,), iterations=1)
    ratio = held_bytes / path.stat().st_size
    benchmark.extra_info["ratio"] = ratio
    assert ratio <= HOLDS_AT_MOST


def peak_bytes(path: Path) -> int:
    """How much more memory a process takes at its peak once it reads the file."""
    script = (
        "import sys\n"
        "from harness.traces import read_traces\n"
        f"peak = lambda: {PEAK_BYTES}\n"
        "before = peak()\n"
        "traces = list(read_traces(sys.argv[1]))\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout)

"""`makespan record`: real programs with the OpenTelemetry SDK, as they are, in this terminal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from tests.child_programs import Program
from tests.integration.prometheus_server import free_port
from tests.missing import program
from tests.unit.test_recording import json_body, trace

COMMAND = [sys.executable, "-m", "harness.cli", "record"]

# A program that sets up the SDK itself.
WITH_SDK = """
import sys, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("agent")
with tracer.start_as_current_span("agent"):
    for _ in range(2):
        with tracer.start_as_current_span("search"):
            time.sleep(0.02)
print("the answer", sys.stdin.read())
sys.exit(7)
"""
# One that only names its spans: another part has to set up the SDK.
WITHOUT_SDK = """
from opentelemetry import trace
tracer = trace.get_tracer("agent")
for name in ("one", "two"):
    with tracer.start_as_current_span(name):
        pass
"""
# No package at all, a trace of its own each time.
POSTER = """
import json, os, time, urllib.request
now = time.time_ns()
span = {"traceId": os.urandom(16).hex(), "spanId": os.urandom(8).hex(), "name": "work", "kind": 1,
        "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 50_000_000)}
body = json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}).encode()
at = os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
urllib.request.urlopen(urllib.request.Request(at, body, {"Content-Type": "application/json"})).read()
"""
# No package at all: what an SDK of any language sends.
OF_NODE = """
const at = process.env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
const id = n => n.toString(16).padStart(16, '0');
const span = (n, parent, name, start, end) => ({
  traceId: 'ab'.repeat(16), spanId: id(n), parentSpanId: parent && id(parent), name, kind: 1,
  startTimeUnixNano: String(BigInt(1.7e18) + BigInt(start) * 1000000n),
  endTimeUnixNano: String(BigInt(1.7e18) + BigInt(end) * 1000000n)});
const spans = [span(1, 0, 'run', 0, 100), span(2, 1, 'fetch', 0, 60), span(3, 1, 'merge', 60, 100)];
const resource = {attributes: [{key: 'service.name', value: {stringValue: process.env.OTEL_SERVICE_NAME}}]};
const body = JSON.stringify({resourceSpans: [{resource, scopeSpans: [{spans}]}]});
const answer = await fetch(at, {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
console.log(answer.status);
"""


def recorded(
    folder: Path, *command: str, options: tuple[str, ...] = (), given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--store", str(folder / "runs.db"), *options, "--", *command],
        cwd=folder, input=given, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_program_with_an_sdk_keeps_its_streams_and_its_exit_status(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(WITH_SDK)
    done = recorded(
        tmp_path, sys.executable, "agent.py", options=("--json", "found.json", "--spans", "kept"), given="to it"
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout == "the answer to it\n"
    document = json.loads((tmp_path / "found.json").read_text())
    names = [part["step_id"] for part in document["critical_path"]]
    assert {"search", "search#2"} <= {name.rpartition(" › ")[2] for name in names}
    assert document["source"] == "record of agent.py"
    assert "search" in done.stderr
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["spans.pb"]
    history = CliRunner().invoke(app, ["history", "--store", str(tmp_path / "runs.db")])
    assert "agent.py" in history.output


def test_a_program_without_an_sdk_is_instrumented_without_a_change_and_is_one_trace(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(WITHOUT_SDK)
    done = recorded(tmp_path, sys.executable, "agent.py", options=("--json", "found.json"))
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "found.json").read_text())
    assert (document["kind"], document["workflow"]) == ("trace", "agent.py")
    assert document["steps"] == 2


def test_a_program_that_is_run_several_times_is_one_cell_with_as_many_repetitions(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(POSTER)
    for _ in range(2):
        done = recorded(
            tmp_path, sys.executable, "-S", "agent.py", options=("--runs", "2", "--quiet", "--no-instrumentation")
        )
        assert (done.returncode, done.stderr) == (0, "")
    compared = CliRunner().invoke(app, ["compare", "@last~1", "@last", "--store", str(tmp_path / "runs.db")])
    assert "recorded@64/dataflow" in compared.output, compared.output
    assert "before:" in compared.output


MANY = """
import json, os, time, urllib.request
at, now = os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], time.time_ns()
def span(trace, number, name, parent=""):
    return {"traceId": f"{trace + 1:032x}", "spanId": f"{number + 1:016x}", "parentSpanId": parent, "name": name,
            "kind": 1, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 50_000_000)}
spans = [span(trace, 2 * trace, f"work of {trace % KINDS}") for trace in range(HOW_MANY)]
body = json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]}).encode()
urllib.request.urlopen(urllib.request.Request(at, body, {"Content-Type": "application/json"})).read()
"""


@pytest.mark.parametrize(
    ("traces", "kinds", "said"),
    [
        (1_003, 1, "warning: not kept: 3 of 1,003 traces, the later ones; --spans FOLDER keeps all of them"),
        (22, 22, "warning: not kept: 2 traces of the 2 rarest shapes of 22; --spans FOLDER keeps all of them"),
    ],
)
def test_traces_that_are_not_kept_are_counted(tmp_path: Path, traces: int, kinds: int, said: str) -> None:
    (tmp_path / "many.py").write_text(MANY.replace("HOW_MANY", str(traces)).replace("KINDS", str(kinds)))
    done = recorded(tmp_path, sys.executable, "many.py", options=("--no-instrumentation", "--quiet"))
    assert done.returncode == 0, done.stderr
    assert said in done.stderr.splitlines()


def test_a_program_that_emits_nothing_is_told_how_to(tmp_path: Path) -> None:
    done = recorded(tmp_path, sys.executable, "-c", "raise SystemExit(3)", options=("--no-instrumentation",))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "No spans came. What makes a program emit them" in done.stderr
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr


def test_a_node_program_is_recorded(tmp_path: Path) -> None:
    node = program("node", "nodejs")
    (tmp_path / "app.mjs").write_text(OF_NODE)
    done = recorded(tmp_path, node, "app.mjs", options=("--json", "found.json"))
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
    document = json.loads((tmp_path / "found.json").read_text())
    assert document["makespan_seconds"] == pytest.approx(0.1)
    assert document["source"] == "record of app.mjs"


def test_what_services_send_is_received_until_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    options = ["--listen", "--port", str(port), "--store", str(tmp_path / "runs.db"), "--name", "shop"]
    with Program([*COMMAND, *options], stderr=subprocess.PIPE, text=True, cwd=tmp_path) as listening:
        assert listening.stderr is not None
        assert listening.stderr.readline().startswith(f"Receiving OTLP over HTTP at http://127.0.0.1:{port}")
        one, other = trace(10, 20), trace(10, 30)
        for span in other.spans:
            span.trace_id = "e" * 32
        for sent in (one, other):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/v1/traces", json_body(sent), {"Content-Type": "application/json"})
            assert connection.getresponse().status == 200
            connection.close()
        time.sleep(0.1)
        # Programs are often signalled by number and by group.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            listening.send_signal(number)
        said = listening.stderr.read()
    assert listening.returncode == 0, said
    assert "6 spans came." in said
    assert "2 traces" in said
    assert "Kept as run" in said


def refused(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["record", *arguments])


def test_what_cannot_be_recorded_is_refused_by_name(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = refused("--port", port, "--no-store", "--", "true")
        assert done.exit_code == 2
        assert f"port {port} of 127.0.0.1 cannot be had" in done.output
        assert "fix: name another with --port" in done.output
    for arguments, says in (
        ((), "name a program behind --"),
        (("--listen", "--", "true"), "leave the command out"),
        (("--no-store", "--", "no-such-program"), "'no-such-program' cannot be started"),
        (("--json", "-", "--", "true"), "stdout is the program's"),
        (("--json", str(tmp_path / "no" / "where" / "x.json"), "--", "true"), "JSON"),
    ):
        done = refused(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert says in done.output


def test_the_environment_of_this_process_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(os.environ)
    CliRunner().invoke(app, ["record", "--no-store", "--", "true"])
    assert dict(os.environ) == before


GRAPH = """
import asyncio, sys, time
from operator import add
from typing import Annotated, TypedDict
from langgraph.graph import END, START, StateGraph

class State(TypedDict):
    notes: Annotated[list, add]

def node(name, *seconds):
    async def run(state):
        for one in seconds:
            await asyncio.sleep(one)
        return {"notes": [f"notes of the node {name}"]}
    return run

def graph_of(nodes, edges):
    graph = StateGraph(State)
    for name, seconds in nodes.items():
        graph.add_node(name, node(name, *seconds))
    for before, after in edges:
        graph.add_edge(before, after)
    return graph.compile()

AS_WRITTEN = graph_of(
    {"plan": [0.2], "fast": [0.2], "slow": [1.0], "after_fast": [0.8], "report": [0.2]},
    [(START, "plan"), ("plan", "fast"), ("plan", "slow"), ("fast", "after_fast"), (["after_fast", "slow"], "report"),
     ("report", END)],
)
WITHOUT_BARRIER = graph_of(
    {"plan": [0.2], "fast": [0.2, 0.8], "slow": [1.0], "report": [0.2]},
    [(START, "plan"), ("plan", "fast"), ("plan", "slow"), (["fast", "slow"], "report"), ("report", END)],
)
begin = time.monotonic()
asyncio.run((WITHOUT_BARRIER if "rewritten" in sys.argv else AS_WRITTEN).ainvoke({"notes": []}))
print(time.monotonic() - begin)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_langgraph_program_is_told_what_its_barrier_costs(tmp_path: Path) -> None:
    """As it is written, without one changed line; the same steps without the barrier say what is true."""
    (tmp_path / "graph.py").write_text(GRAPH)
    predicted, true = [], []
    # The shortest of three, since what else the machine does makes either longer, and never shorter.
    for _ in range(3):
        done = recorded(tmp_path, sys.executable, "graph.py", options=("--json", "found.json"))
        rewritten = recorded(tmp_path, sys.executable, "graph.py", "rewritten")
        assert done.returncode == rewritten.returncode == 0, done.stderr + rewritten.stderr
        (barrier,) = json.loads((tmp_path / "found.json").read_text())["barriers"]
        assert barrier["slowest"].endswith("slow")
        assert [step.rpartition(" › ")[2] for step in barrier["waiting"]] == ["after_fast"]
        predicted.append(float(done.stdout) - barrier["lost_seconds"])
        true.append(float(rewritten.stdout))
    assert min(predicted) / min(true) == pytest.approx(1, abs=0.05)

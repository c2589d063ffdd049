"""Runs inside the traces of other programs: a FastAPI service, a LangGraph node, Dask workers, a pool of processes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from executor.backends.submit import SubmitBackend
from executor.model.workflow import Step, Workflow
from executor.running import run
from harness.telemetry.spans.trace_session import RunName, open_tracing
from harness.telemetry.telemetry_settings import Telemetry
from tests.integration.otlp_receiver import OtlpReceiver
from tests.integration.test_tracing import opens_spans, prompted, step_spans, traced_run

HEAD = """
import asyncio, json
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from executor import Step, Workflow, arun, run

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

def own(prompt):
    with trace.get_tracer("of.the.step").start_as_current_span("inside"):
        return baggage.get_baggage("tenant")

workflow = Workflow(workflow_id="jokes", steps=(Step(step_id="a", tool="own", prompt="x"),))
"""
TAIL = """
by_id = {span.context.span_id: span for span in exporter.get_finished_spans()}
def path(span):
    above = by_id.get(span.parent.span_id) if span.parent else None
    return [*(path(above) if above else []), span.name]
print(json.dumps([path(span) for span in by_id.values()]))
print(json.dumps([f"{span.context.trace_id:032x}" for span in by_id.values()]))
"""
FASTAPI = """
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
import httpx
app = FastAPI()
@app.get("/jokes")
async def jokes():
    return (await arun(workflow, tools={"own": own})).outputs
FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
async def main():
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "baggage": "tenant=blue"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        print((await client.get("/jokes", headers=headers)).text)
asyncio.run(main())
"""
LANGGRAPH = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
class State(TypedDict):
    said: str
def node(state: State) -> State:
    with trace.get_tracer("graph").start_as_current_span("node of the graph"):
        return {"said": str(run(workflow, tools={"own": own}).ok)}
graph = StateGraph(State)
graph.add_node("node", node)
graph.add_edge(START, "node")
graph.add_edge("node", END)
with trace.get_tracer("graph").start_as_current_span("graph"):
    print(graph.compile().invoke({"said": ""}))
"""


def lines_of(script: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(HEAD + script + TAIL)
    done = subprocess.run([sys.executable, str(path)], check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_run_in_a_fastapi_handler_continues_the_trace_of_the_request(tmp_path: Path) -> None:
    answer, paths, traces = lines_of(FASTAPI, tmp_path)
    assert answer == '{"a":"blue"}'
    expected = '["GET /jokes", "invoke_workflow jokes", "execute_tool own", "inside"]'
    assert expected in paths
    assert set(traces.strip('[]"').split('", "')) == {"0af7651916cd43dd8448eb211c80319c"}


@pytest.mark.slow
def test_a_run_in_a_langgraph_node_stands_below_the_node(tmp_path: Path) -> None:
    _, paths, traces = lines_of(LANGGRAPH, tmp_path)
    assert '["graph", "node of the graph", "invoke_workflow jokes", "execute_tool own", "inside"]' in paths
    assert len(set(traces.strip('[]"').split('", "'))) == 1


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_spans_of_step_code_come_home_from_pools(pool: Any) -> None:
    with OtlpReceiver() as receiver, pool(2) as executor:
        traced_run(
            receiver.endpoint, prompted(4), backend=SubmitBackend(2, executor=executor), tools={"own": opens_spans}
        )
        spans = receiver.spans
    assert len({span.span_id for span in spans}) == 1 + 4 + 2 * 4
    for (step_id, _), step in step_spans(spans).items():
        (outer,) = [span for span in spans if span.name == f"outer of {step_id}"]
        assert outer.parent_span_id == step.span_id


@pytest.mark.slow
def test_spans_of_step_code_come_home_from_dask() -> None:
    with OtlpReceiver() as receiver:
        traced_run(receiver.endpoint, prompted(4), backend="dask", workers=2, tools={"own": opens_spans})
        spans = receiver.spans
    assert len({span.span_id for span in spans}) == 1 + 4 + 2 * 4


def test_calls_that_a_step_makes_are_spans_below_it() -> None:
    from executor.node_runtime import call_tools_parallel

    def shout(text: str) -> str:
        return text.upper()

    def both(prompt: str) -> Any:
        return call_tools_parallel([("shout", "a", {}), ("shout", "b", {})])

    workflow = Workflow(steps=(Step(step_id="x", tool="both", prompt="p"),))
    trees = []
    for mode in ("recorded", "live"):
        with OtlpReceiver() as receiver:
            tracing = open_tracing(Telemetry(endpoint=receiver.endpoint), mode=mode)  # type: ignore[arg-type]
            assert tracing is not None
            traced = tracing.begin(RunName("r", "s"))
            done = run(workflow, tools={"shout": shout, "both": both}, instruments=[traced.instrument])
            tracing.add(traced, done.timeline)
            tracing.finish()
            steps = step_spans(receiver.spans)
        assert done.ok
        ids = {span.span_id: key[0] for key, span in steps.items()}
        trees.append({key[0]: ids.get(span.parent_span_id) for key, span in steps.items()})
    assert trees[0] == trees[1] == {"x": None, "x/1": "x", "x/2": "x"}

"""Traces of real instrumented programs, written by the real exporters, and of our own scenarios."""

from __future__ import annotations

import json
import operator
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.analysis import RunAnalysis
from harness.files.packaged import shipped_scenarios
from harness.traces import ForeignRun, foreign_run, read_traces
from tests.integration.calling import called
from tests.otlp_text import request_text
from tests.unit.traces_by_hand import edges_of, read, waits_of

SHIPPED = sorted(shipped_scenarios())


def provider(service: str, exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider(resource=Resource.create({"service.name": service}))
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


# Nanoseconds by which a server may outlast its client.
MOMENT = 2_000_000


def run_of(spans: Sequence[ReadableSpan]) -> ForeignRun:
    [trace] = read(encode_spans(spans).SerializeToString())
    return foreign_run(trace)


def as_written(run: ForeignRun) -> tuple[object, ...]:
    timeline = run.timeline
    return (
        list(timeline.step_ids),
        [(one.step_id, one.ready, one.started, one.ended) for one in timeline.attempts],
        sorted(edges_of(run).items()),
    )


# ---------------------------------------------------------------------- LangGraph


class State(TypedDict):
    topic: str
    plan: str
    fast: str
    slow: str
    after: str
    log: Annotated[list[str], operator.add]


def _node(name: str, seconds: float, prompt: Callable[[State], str]) -> Callable[[State], dict[str, Any]]:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    model = FakeListChatModel(responses=[f"the answer that {name} found out"], sleep=seconds)

    def node(state: State) -> dict[str, Any]:
        return {name: model.invoke(prompt(state)).content, "log": [name]}

    return node


@pytest.fixture(scope="module")
def langgraph_spans() -> list[ReadableSpan]:
    """plan → {fast, slow}, fast → after: `after` needs only `fast`, and the superstep makes it wait for `slow`."""
    from langgraph.graph import END, START, StateGraph
    from openinference.instrumentation.langchain import LangChainInstrumentor

    exporter = InMemorySpanExporter()
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider("agent", exporter))
    try:
        graph: Any = StateGraph(State)
        graph.add_node("plan", _node("plan", 0.05, lambda state: f"Plan {state['topic']}"))
        graph.add_node("fast", _node("fast", 0.1, lambda state: f"Quickly: {state['plan']}"))
        graph.add_node("slow", _node("slow", 0.5, lambda state: f"Slowly: {state['plan']}"))
        graph.add_node("after", _node("after", 0.2, lambda state: f"Go on: {state['fast']}"))
        for one, other in ((START, "plan"), ("plan", "fast"), ("plan", "slow"), ("fast", "after"), ("after", END)):
            graph.add_edge(one, other)
        graph.compile().invoke({"topic": "cats", "plan": "", "fast": "", "slow": "", "after": "", "log": []})
    finally:
        instrumentor.uninstrument()
    return list(exporter.get_finished_spans())


@pytest.mark.slow
def test_langgraphs_trace_gives_its_graph(langgraph_spans: list[ReadableSpan]) -> None:
    run = run_of(langgraph_spans)
    found = {pair: label for pair, (label, source) in edges_of(run).items() if source == "langgraph"}
    assert found == dict.fromkeys([("plan", "fast"), ("plan", "slow"), ("fast", "after")], "inferred")
    assert [one.name for one in run.envelopes] == ["LangGraph"]
    nested = {
        run.timeline.step_ids[above] for above in run.timeline.nested_in if above >= 0
    }  # each node calls the model
    assert nested == {"plan", "fast", "slow", "after"}


@pytest.mark.slow
def test_the_cost_of_langgraphs_barrier_is_found(langgraph_spans: list[ReadableSpan]) -> None:
    [(reason, start, end), *_] = waits_of(run_of(langgraph_spans), "after")
    assert reason == "barrier"
    # How much longer `slow` took than `fast` this time: 400 ms, and what else the machine did.
    ends = {span.name: span.end_time or 0 for span in langgraph_spans}
    assert end - start == pytest.approx((ends["slow"] - ends["fast"]) / 1e6, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["protobuf", "otlp json", "protobuf's json", "console"])
def test_every_export_of_a_trace_gives_the_same_run(langgraph_spans: list[ReadableSpan], form: str) -> None:
    message = encode_spans(langgraph_spans)
    written = {
        "protobuf": message.SerializeToString(),
        "otlp json": request_text(langgraph_spans).encode(),
        "protobuf's json": json.dumps(MessageToDict(message)).encode(),  # ids in base64
        "console": "\n".join(one.to_json() for one in langgraph_spans).encode(),
    }[form]
    [trace] = read(written)
    run, direct = foreign_run(trace), run_of(langgraph_spans)
    if form == "console":  # it cuts times to microseconds
        assert edges_of(run) == edges_of(direct)
        assert run.timeline.makespan_seconds == pytest.approx(direct.timeline.makespan_seconds, abs=2e-6)
    else:
        assert as_written(run) == as_written(direct)


# ---------------------------------------------------------------------- FastAPI and httpx


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The app on a loopback port."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def service_spans() -> list[ReadableSpan]:
    """A shop that asks its stock twice, one question after the other, each answered in 100 ms. On a busy machine a
    server may end long after its client has the answer: that is another trace.
    """
    for _ in range(10):
        spans = _two_services()
        ends = {one.context.span_id: one.end_time or 0 for one in spans if one.context is not None}
        if all(one.parent is None or (one.end_time or 0) < ends.get(one.parent.span_id, 0) + MOMENT for one in spans):
            return spans
    pytest.fail("ten times a server went on after its client")


def _two_services() -> list[ReadableSpan]:
    import httpx
    from fastapi import FastAPI
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    exporter = InMemorySpanExporter()
    shop, stock = FastAPI(), FastAPI()

    @stock.get("/stock/{name}")
    def in_stock(name: str) -> dict[str, str]:
        time.sleep(0.1)
        return {"name": name}

    FastAPIInstrumentor.instrument_app(stock, tracer_provider=provider("stock", exporter))
    with serving(stock) as stock_url, httpx.Client(base_url=stock_url) as client:
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider("shop", exporter))

        @shop.get("/order")
        def order() -> list[str]:
            return [client.get(f"/stock/{name}").json()["name"] for name in ("cat", "dog")]

        FastAPIInstrumentor.instrument_app(shop, tracer_provider=provider("shop", exporter))
        with serving(shop) as shop_url:
            assert httpx.get(f"{shop_url}/order").json() == ["cat", "dog"]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not any(
            one.name == "GET /order" for one in exporter.get_finished_spans()
        ):
            time.sleep(0.01)
    return list(exporter.get_finished_spans())


@pytest.mark.slow
def test_two_services_are_one_run_whose_path_goes_through_the_server(service_spans: list[ReadableSpan]) -> None:
    run = run_of(service_spans)
    assert [one.name for one in run.envelopes] == ["GET /order"]
    calls = [step for step, above in enumerate(run.timeline.nested_in) if above < 0]
    assert [run.spans[step][0].kind for step in calls] == ["client", "client"]
    assert not any(run.names[step].endswith(("http receive", "http send")) for step in range(len(run.names)))
    served = [run.spans[step][0] for step, above in enumerate(run.timeline.nested_in) if above in calls]
    assert [(one.service, one.kind) for one in served] == [("stock", "server")] * 2
    parts: dict[str, int] = {}
    for part in RunAnalysis(run.timeline).critical_path.parts:
        step = list(run.timeline.step_ids).index(part.step_id)
        service = run.spans[step][0].service
        parts[service] = parts.get(service, 0) + part.nanoseconds
    # However long the way between them took this time.
    assert parts["stock"] == pytest.approx(sum(one.end - one.start for one in served), rel=0.01)


@pytest.mark.slow
def test_calls_one_after_the_other_are_only_assumed_to_need_each_other(service_spans: list[ReadableSpan]) -> None:
    found = {
        pair: label for pair, label in edges_of(run_of(service_spans)).items() if all("GET" in name for name in pair)
    }
    assert set(found.values()) == {("assumed", "observed order")}
    assert len(found) == 1


# ---------------------------------------------------------------------- our own


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_the_trace_of_every_scenario_gives_the_figures_of_its_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    called(
        "run", str(shipped_scenarios()[name]), "--set", "scale=0.005", "--trace-file", "t.jsonl", "--json", "run.json",
        "--trace", "recorded", "--quiet",
    )  # fmt: skip
    [result] = json.loads((tmp_path / "run.json").read_text())["results"]
    [trace] = read_traces(tmp_path / "t.jsonl")
    run = foreign_run(trace)
    assert run.from_makespan
    assert not run.findings
    assert run.timeline.makespan_seconds == pytest.approx(result["makespan_seconds"]["median"], abs=1e-9)
    path = RunAnalysis(run.timeline).critical_path
    assert path.nanoseconds / 1e9 == pytest.approx(result["critical_path_seconds"], abs=1e-6)
    assert [part.step_id for part in path.parts] == [part["step_id"] for part in result["critical_path"]]
    assert [one["step_id"] for one in result["steps"]] == list(run.timeline.step_ids)

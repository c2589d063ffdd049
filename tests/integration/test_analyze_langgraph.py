"""A real LangGraph graph with OpenInference's instrumentation: the barrier between its supersteps has a known cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.calling import called, folder

__all__ = ["folder"]

# `after` needs `quick` alone, and waits for `slow`: 1.0 − 0.2 seconds are lost to the superstep, more or less of them
# where the machine does other things. The program writes down when its nodes really ended.
PROGRAM = """
import json
import time
from typing import TypedDict

from google.protobuf.json_format import MessageToJson
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class State(TypedDict, total=False):
    plan: str
    slow: str
    quick: str
    after: str
    join: str


class Model(GenericFakeChatModel):
    seconds: float

    def _generate(self, *arguments, **options):
        time.sleep(self.seconds)
        return super()._generate(*arguments, **options)


SECONDS = {"plan": 0.3, "slow": 1.0, "quick": 0.2, "after": 0.8, "join": 0.2}
ENDS = {}
NEEDS = {"plan": [], "slow": ["plan"], "quick": ["plan"], "after": ["quick"], "join": ["slow", "after"]}


def node(name):
    def call(state):
        text = f"The answer of {name} is a text of its own, number {len(name) * 7919}."
        model = Model(seconds=SECONDS[name], messages=iter([AIMessage(text)]))
        found = {name: model.invoke("Go on from: " + " ".join(state[one] for one in NEEDS[name])).content}
        ENDS[name] = time.monotonic()
        return found

    return call


graph = StateGraph(State)
for name in SECONDS:
    graph.add_node(f"{name}_node", node(name))
graph.add_edge(START, "plan_node")
graph.add_edge("plan_node", "slow_node")
graph.add_edge("plan_node", "quick_node")
graph.add_edge("quick_node", "after_node")
graph.add_edge(["slow_node", "after_node"], "join_node")
graph.add_edge("join_node", END)
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
LangChainInstrumentor().instrument(tracer_provider=provider)
graph.compile().invoke({})
with open("ends.json", "w") as stream:
    json.dump(ENDS, stream)
with open("langgraph.json", "w") as stream:
    stream.write(MessageToJson(encode_spans(exporter.get_finished_spans())))
"""


@pytest.mark.slow
def test_the_barrier_of_a_real_langgraph_is_found_with_its_cost(folder: Path) -> None:
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    subprocess.run([sys.executable, "-W", "ignore", "program.py"], check=True, cwd=folder, timeout=100)
    done = called("analyze", "langgraph.json", "--json", "-")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (barrier,) = found["barriers"]
    assert (barrier["slowest"], barrier["waiting"], barrier["certain"]) == ("slow_node", ["after_node"], True)
    ends = json.loads((folder / "ends.json").read_text(encoding="utf-8"))
    really = ends["slow"] - ends["quick"]
    assert barrier["lost_seconds"] == pytest.approx(really, abs=0.04)
    assert found["lost_seconds"]["barrier"] == pytest.approx(really, abs=0.04)
    gained = found["makespan_seconds"] - found["predictions"]["dataflow"]["unlimited"]["makespan_seconds"]
    assert gained == pytest.approx(really, abs=0.04)

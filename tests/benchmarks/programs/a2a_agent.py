"""An A2A server and its client around a LangGraph agent with tools: a tool waits for a superstep that it does not need.

After: the two tools in a row are one node, so nothing waits.
"""

import asyncio
import socket
import sys
import threading
import time
from operator import add
from typing import Annotated, Any, TypedDict

import httpx
import uvicorn
from a2a.client import ClientConfig, create_client
from a2a.helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, Role, SendMessageRequest
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from starlette.applications import Starlette

SECONDS = {"plan": 0.2, "weather": 0.2, "flights": 0.9, "packing": 0.7, "answer": 0.2}


@tool
async def look_up(name: str) -> str:
    """Look something up."""
    await asyncio.sleep(SECONDS[name])
    return f"what is known of {name}, looked up by the tool"


class Notes(TypedDict):
    notes: Annotated[list[str], add]


def node(*names: str) -> Any:
    async def run(state: Notes) -> Notes:
        return {"notes": [await look_up.ainvoke({"name": name}) for name in names]}

    return run


def agent() -> Any:
    graph = StateGraph(Notes)
    for name in ("plan", "flights", "answer"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "weather")
    graph.add_edge("plan", "flights")
    if sys.argv[1] == "before":
        graph.add_node("weather", node("weather"))
        graph.add_node("packing", node("packing"))
        graph.add_edge("weather", "packing")
        graph.add_edge(["packing", "flights"], "answer")
    else:
        graph.add_node("weather", node("weather", "packing"))
        graph.add_edge(["weather", "flights"], "answer")
    graph.add_edge("answer", END)
    return graph.compile()


class Travel(AgentExecutor):
    def __init__(self) -> None:
        self.graph = agent()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        found = await self.graph.ainvoke({"notes": []})
        await updater.complete(new_text_message("; ".join(found["notes"])))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


async def main(card: AgentCard) -> None:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        client = await create_client(card, ClientConfig(streaming=False, httpx_client=http))
        message = new_text_message("Plan a journey to Rome.", role=Role.ROLE_USER)
        async for _ in client.send_message(SendMessageRequest(message=message)):
            pass


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
url = f"http://127.0.0.1:{port}/"
card = AgentCard(
    name="travel",
    version="1",
    supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
    capabilities=AgentCapabilities(streaming=False),
    default_input_modes=["text"],
    default_output_modes=["text"],
)
handler = DefaultRequestHandler(agent_executor=Travel(), task_store=InMemoryTaskStore(), agent_card=card)
app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
asyncio.run(main(card))
server.should_exit = True
thread.join()

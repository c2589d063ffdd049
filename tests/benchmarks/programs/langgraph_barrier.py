"""A LangGraph graph under OpenInference's defaults: a node waits for a superstep that it does not need.

After: the two nodes in a row are one, so nothing waits.
"""

import asyncio
import sys
from operator import add
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

SECONDS = {"plan": 0.2, "fast": 0.2, "slow": 0.9, "after_fast": 0.7, "report": 0.2}


class Notes(TypedDict):
    notes: Annotated[list[str], add]


def node(*names: str) -> Any:
    async def run(state: Notes) -> Notes:
        for name in names:
            await asyncio.sleep(SECONDS[name])
        return {"notes": [f"notes of the node {name}" for name in names]}

    return run


graph = StateGraph(Notes)
graph.add_node("plan", node("plan"))
graph.add_node("slow", node("slow"))
graph.add_node("report", node("report"))
graph.add_edge(START, "plan")
graph.add_edge("plan", "slow")
graph.add_edge("plan", "fast")
if sys.argv[1] == "before":
    graph.add_node("fast", node("fast"))
    graph.add_node("after_fast", node("after_fast"))
    graph.add_edge("fast", "after_fast")
    graph.add_edge(["after_fast", "slow"], "report")
else:
    graph.add_node("fast", node("fast", "after_fast"))
    graph.add_edge(["fast", "slow"], "report")
graph.add_edge("report", END)
asyncio.run(graph.compile().ainvoke({"notes": []}))

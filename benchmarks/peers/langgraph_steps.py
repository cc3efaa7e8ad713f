"""LangGraph: one graph that comes back to a node that does nothing, with its SQLite checkpointer and durability "sync".
Prints the milliseconds from one run of the node to the next: in between a checkpoint is made durable (full sync).

    python langgraph_steps.py file.sqlite 2000
"""

from __future__ import annotations

import json
import sys
import time
from typing import TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """The graph's state."""

    number: int


def main(file: str, count: int) -> None:
    """Measure, print."""
    reached: list[float] = []

    def node(state: State) -> State:
        reached.append(time.perf_counter())
        return {"number": state["number"] + 1}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", lambda state: "node" if state["number"] <= count else END)
    with SqliteSaver.from_conn_string(file) as saver:
        thread = {"configurable": {"thread_id": "1"}, "recursion_limit": count + 10}
        graph.compile(checkpointer=saver).invoke({"number": 0}, thread, durability="sync")
    print(json.dumps([(after - before) * 1e3 for before, after in zip(reached, reached[1:], strict=False)]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

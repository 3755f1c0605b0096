"""Graphs for tests: a chat of two nodes, one whose model stalls, one with tools and an interrupt."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = [
    "END",
    "START",
    "Answering",
    "Stalled",
    "chat",
    "config_of",
    "messages_graph",
    "state_graph",
    "texts",
    "turn",
]

Answering = Callable[[Any], Awaitable[dict[str, Any]]]

# LangGraph's builder has no types that a strict checker accepts.
GRAPH: Any = importlib.import_module("langgraph.graph")
START, END = "__start__", "__end__"


def messages_graph() -> Any:
    """Return a builder of graphs whose state is a list of messages."""
    return GRAPH.StateGraph(GRAPH.MessagesState)


def state_graph(schema: Any) -> Any:
    """Return a builder of graphs of this state."""
    return GRAPH.StateGraph(schema)


async def _answer(state: Any) -> dict[str, Any]:
    return {"messages": [AIMessage(f"answer {len(state['messages'])}")]}


async def _review(state: Any) -> dict[str, Any]:
    return {"messages": [AIMessage(f"review {len(state['messages'])}")]}


def chat(saver: BaseCheckpointSaver[Any], answer: Answering = _answer, review: Answering = _review) -> Any:
    """Return a graph of two nodes, one after the other, each of which adds a message."""
    builder = messages_graph()
    builder.add_node("answer", answer)
    builder.add_node("review", review)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "review")
    builder.add_edge("review", END)
    return builder.compile(checkpointer=saver)


def config_of(thread_id: str, **more: Any) -> Any:
    """Return the config of a run."""
    return {"configurable": {"thread_id": thread_id, **more}}


async def turn(saver: BaseCheckpointSaver[Any], thread_id: str, text: str, answer: Answering = _answer) -> list[str]:
    """Run the chat once, and return the texts of all messages."""
    question = {"messages": [{"role": "user", "content": text}]}
    state = await chat(saver, answer).ainvoke(question, config_of(thread_id))
    return [message.content for message in state["messages"]]


async def texts(saver: BaseCheckpointSaver[Any], thread_id: str) -> list[str]:
    """Return the texts of the messages of the newest checkpoint."""
    state = await chat(saver).aget_state(config_of(thread_id))
    return [message.content for message in state.values.get("messages", [])]


class Stalled:
    """A model that stalls in its call until somebody wakes it."""

    def __init__(self) -> None:
        self.is_called = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def answer(self, state: Any) -> dict[str, Any]:
        self.is_called.set()
        await self.may_go_on.wait()
        return {"messages": [AIMessage("a late answer")]}

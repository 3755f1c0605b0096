"""The graph: a model, its tools, one of which asks a person first, and a memory of the trips that a person has made."""

# LangGraph's builder is typed for its own generics only: a strict checker does not know the types of its parts.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any

from agents_store_cloudflare.adapters.langgraph import D1Saver, D1Store  # isort: skip - before LangGraph

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

from travel_model import reply

__all__ = ["answer", "ask", "config_of", "go_back", "history", "trips"]

PRICES = {"Oslo": 120, "Rome": 80, "Lima": 700}
TRIPS = ("travel", "trips")


@tool
def look_up(city: str) -> str:
    """What a trip costs."""
    return f"{city} costs {PRICES[city]}" if city in PRICES else f"nobody flies to {city}"


@tool
async def book(city: str, price: int) -> str:
    """Book a trip, once a person agrees."""
    if interrupt(f"book {city} for {price}?") != "yes":
        return f"{city} is not booked"
    await get_store().aput(TRIPS, city, {"price": price})
    return f"{city} is booked for {price}"


async def think(state: MessagesState) -> MessagesState:
    """The model's turn."""
    return MessagesState(messages=[reply(state["messages"])])


BUILDER: Any = StateGraph(MessagesState)
BUILDER.add_node("model", think)
BUILDER.add_node("tools", ToolNode([look_up, book]))
BUILDER.add_edge(START, "model")
BUILDER.add_conditional_edges("model", tools_condition)
BUILDER.add_edge("tools", "model")


def config_of(thread: str, **more: Any) -> Any:
    """The config of a run."""
    return {"configurable": {"thread_id": thread, **more}}


def _graph(database: object, lock: Any) -> Any:
    return BUILDER.compile(
        checkpointer=D1Saver(database, fencing_token=lock), store=D1Store(database, fencing_token=lock)
    )


async def ask(database: object, lock: Any, thread: str, text: str) -> dict[str, Any]:
    """Run the graph with a question: what was said, and what it waits for."""
    return _view(await _graph(database, lock).ainvoke({"messages": [HumanMessage(text)]}, config_of(thread)))


async def answer(database: object, lock: Any, thread: str, said: str) -> dict[str, Any]:
    """Go on after an interrupt, with a person's answer."""
    return _view(await _graph(database, lock).ainvoke(Command(resume=said), config_of(thread)))


async def go_back(database: object, lock: Any, thread: str, checkpoint_id: str) -> dict[str, Any]:
    """Go on from an earlier checkpoint. What came after it stays in the history."""
    return _view(await _graph(database, lock).ainvoke(None, config_of(thread, checkpoint_id=checkpoint_id)))


async def history(database: object, thread: str) -> list[dict[str, Any]]:
    """The checkpoints of a thread, the newest first."""
    graph = BUILDER.compile(checkpointer=D1Saver(database))
    return [
        {
            "checkpoint": each.config["configurable"]["checkpoint_id"],
            "next": list(each.next),
            "messages": len(each.values.get("messages", [])),
        }
        async for each in graph.aget_state_history(config_of(thread), limit=50)
    ]


async def trips(database: object) -> dict[str, Any]:
    """What the memory knows, whatever the thread."""
    return {item.key: item.value["price"] for item in await D1Store(database).asearch(TRIPS, limit=100)}


def _view(state: dict[str, Any]) -> dict[str, Any]:
    said = [each.text for each in state["messages"] if isinstance(each, AIMessage | HumanMessage) and each.text]
    return {"said": said, "waitsFor": [each.value for each in state.get("__interrupt__", [])]}

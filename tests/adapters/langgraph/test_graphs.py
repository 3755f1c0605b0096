"""Whole graphs: tools, an interrupt, time travel, subgraphs, parallel tasks, delta channels, pruning, synchronous calls."""

import asyncio
import importlib
import operator
import sys
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.types import Command, Send, interrupt

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Homes, OneDatabase, Statement
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from tests.adapters.langgraph.graphs import END, START, chat, config_of, messages_graph, state_graph, texts, turn

PREBUILT: Any = importlib.import_module("langgraph.prebuilt")
DELTA: Any = importlib.import_module("langgraph.channels.delta")


@tool
def look_up(city: str) -> str:
    """Return the weather of a city after a person agrees."""
    answer = interrupt(f"look up {city}?")
    return f"{city}: sunny" if answer == "yes" else "not allowed"


async def _model(state: Any) -> dict[str, Any]:
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(f"It is {last.content}")]}
    call = {"name": "look_up", "args": {"city": str(last.content)}, "id": f"call-{len(state['messages'])}"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def weather(saver: D1Saver) -> Any:
    """Return a graph of a model, and a tool that asks a person."""
    builder = messages_graph()
    builder.add_node("model", _model)
    builder.add_node("tools", PREBUILT.ToolNode([look_up]))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", PREBUILT.tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=saver)


def _named(found: Any) -> Any:
    return found.config["configurable"]


def _said(state: Any) -> list[Any]:
    return [message.content for message in state["messages"]]


async def test_tools_and_an_interrupt(database: SqliteDatabase) -> None:
    """LG-1: The run stops at the interrupt, and another saver in another request resumes it."""
    asked = await weather(D1Saver(database)).ainvoke({"messages": [HumanMessage("Oslo")]}, config_of("t"))
    assert asked["__interrupt__"][0].value == "look up Oslo?"
    waiting = await weather(D1Saver(database)).aget_state(config_of("t"))
    assert waiting.next == ("tools",)
    assert [each.value for each in waiting.interrupts] == ["look up Oslo?"]
    done = await weather(D1Saver(database)).ainvoke(Command(resume="yes"), config_of("t"))
    assert _said(done) == ["Oslo", "", "Oslo: sunny", "It is Oslo: sunny"]


async def test_time_travel(database: SqliteDatabase) -> None:
    """LG-1: A run can go on from an earlier checkpoint. Both branches stay in the history."""
    graph = weather(D1Saver(database))
    await graph.ainvoke({"messages": [HumanMessage("Oslo")]}, config_of("t"))
    await graph.ainvoke(Command(resume="yes"), config_of("t"))
    history = [each async for each in graph.aget_state_history(config_of("t"))]
    stopped = next(each for each in history if each.next == ("tools",))
    again = weather(D1Saver(database))
    asked = await again.ainvoke(None, stopped.config)
    assert asked["__interrupt__"]
    done = await again.ainvoke(Command(resume="no"), config_of("t"))
    assert _said(done)[-1] == "It is not allowed"
    said = [
        _said(each.values) for each in [each async for each in again.aget_state_history(config_of("t"))] if each.values
    ]
    assert ["Oslo", "", "Oslo: sunny", "It is Oslo: sunny"] in said
    assert said[0] == ["Oslo", "", "not allowed", "It is not allowed"]


async def test_updates_from_outside(database: SqliteDatabase) -> None:
    """LG-1: `aupdate_state` makes a checkpoint of its own, also beside an older one."""
    graph = chat(D1Saver(database))
    await turn(D1Saver(database), "t", "hello")
    await graph.aupdate_state(config_of("t"), {"messages": [HumanMessage("edited")]})
    assert (await texts(D1Saver(database), "t"))[-1] == "edited"
    past = [each async for each in graph.aget_state_history(config_of("t"))][-3]
    await graph.aupdate_state(past.config, {"messages": [HumanMessage("of the past")]})
    assert (await texts(D1Saver(database), "t"))[-1] == "of the past"


def _nothing(_: Any) -> dict[str, Any]:
    return {}


def _spread(_: Any) -> list[Send]:
    return [Send("work", {"number": n}) for n in range(12)]


class Many(TypedDict):
    numbers: Annotated[list[int], operator.add]


async def test_parallel_tasks(database: SqliteDatabase) -> None:
    """LG-2, LG-3: The writes of tasks that end at different times are in the history, each once."""

    async def work(state: dict[str, int]) -> dict[str, list[int]]:
        for _ in range(state["number"] * 7):
            await asyncio.sleep(0)
        return {"numbers": [state["number"]]}

    builder = state_graph(Many)
    builder.add_node("spread", _nothing)
    builder.add_node("work", work)
    builder.add_edge(START, "spread")
    builder.add_conditional_edges("spread", _spread)
    builder.add_edge("work", END)
    graph = builder.compile(checkpointer=D1Saver(database))
    done = await graph.ainvoke({"numbers": []}, config_of("t"))
    assert done["numbers"] == list(range(12))
    fresh = builder.compile(checkpointer=D1Saver(database))
    spread = [each async for each in fresh.aget_state_history(config_of("t")) if len(each.tasks) == 12]
    assert [task.result for task in spread[0].tasks] == [{"numbers": [n]} for n in range(12)]


async def test_subgraphs(database: SqliteDatabase) -> None:
    """LG-1: A subgraph's checkpoints have a namespace of their own in the thread."""

    async def ask(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"heard {interrupt('go on?')}")]}

    inner = messages_graph().add_node("ask", ask).add_edge(START, "ask").compile()
    outer = messages_graph().add_node("inner", inner).add_edge(START, "inner")
    await outer.compile(checkpointer=D1Saver(database)).ainvoke({"messages": [HumanMessage("hi")]}, config_of("t"))
    graph = outer.compile(checkpointer=D1Saver(database))
    state = await graph.aget_state(config_of("t"), subgraphs=True)
    assert state.tasks[0].state.config["configurable"]["checkpoint_ns"].startswith("inner:")
    done = await graph.ainvoke(Command(resume="yes"), config_of("t"))
    assert _said(done) == ["hi", "heard yes"]
    spaces = {_named(each)["checkpoint_ns"] async for each in D1Saver(database).alist(config_of("t"))}
    assert len(spaces) == 2


async def test_streaming(database: SqliteDatabase) -> None:
    """LG-1: Updates and messages are streamed while checkpoints are put."""
    seen = [
        kind
        async for kind, _ in chat(D1Saver(database)).astream(
            {"messages": [HumanMessage("hi")]}, config_of("t"), stream_mode=["updates", "messages"]
        )
    ]
    assert seen.count("updates") == 2
    assert len(await texts(D1Saver(database), "t")) == 3


def _append(before: list[str], writes: list[Any]) -> list[str]:
    return [*before, *(each for write in writes for each in write)]


CHANGES: Any = DELTA.DeltaChannel(_append, snapshot_frequency=5)


class Log(TypedDict):
    lines: Annotated[list[str], CHANGES]


def _one(state: Any) -> dict[str, Any]:
    return {"lines": [f"one {len(state['lines'])} {'x' * 80}"]}


def _two(state: Any) -> dict[str, Any]:
    return {"lines": [f"two {len(state['lines'])}"]}


def delta(saver: D1Saver) -> Any:
    """Return a graph whose channel is stored by its changes."""
    builder = state_graph(Log)
    builder.add_node("one", _one)
    builder.add_node("two", _two)
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("turns", [1, 2, 3, 5])
async def test_delta_channels(database: SqliteDatabase, turns: int) -> None:
    """LG-1, LG-11: Delta channels are rebuilt from their writes, also after pruning, and the thread goes on."""
    for number in range(turns):
        await delta(D1Saver(database)).ainvoke({"lines": [f"turn {number}"]}, config_of("t"))
    expected = (await delta(D1Saver(database)).aget_state(config_of("t"))).values["lines"]
    assert len(expected) == 3 * turns
    count = len([each async for each in D1Saver(database).alist(config_of("t"))])
    await D1Saver(database).aprune(["t"])
    left = len([each async for each in D1Saver(database).alist(config_of("t"))])
    assert left < count or turns == 1
    assert (await delta(D1Saver(database)).aget_state(config_of("t"))).values["lines"] == expected
    done = await delta(D1Saver(database)).ainvoke({"lines": ["after"]}, config_of("t"))
    assert done["lines"][: len(expected) + 1] == [*expected, "after"]


async def test_a_long_delta_chain(database: SqliteDatabase) -> None:
    """LG-11: A delta channel may have more ancestors than one batch reads."""
    graph = delta(D1Saver(database))
    graph.channels["lines"] = DELTA.DeltaChannel(_append, snapshot_frequency=10_000)
    for number in range(70):
        await graph.ainvoke({"lines": [str(number)]}, config_of("t"))
    counted = FaultyDatabase(database)
    found = await D1Saver(counted).aget_delta_channel_history(config=config_of("t"), channels=["lines", "none"])
    assert len(counted.sent) == 3
    assert len(found["lines"]["writes"]) == 210
    assert found["none"] == {"writes": []}


async def test_pruning_keeps_the_newest(database: SqliteDatabase) -> None:
    """LG-11: The newest checkpoint stays with all its values, unneeded lines are deleted, and the thread goes on."""
    for text in ("one", "two", "three"):
        said = await turn(D1Saver(database), "t", text)
    await turn(D1Saver(database), "other", "hello")
    await D1Saver(database).aprune(["t", "none"])
    assert len([each async for each in D1Saver(database).alist(config_of("t"))]) == 1
    assert await texts(D1Saver(database), "t") == said
    assert len(await turn(D1Saver(database), "t", "four")) == 12
    assert len(await texts(D1Saver(database), "other")) == 3


async def test_deleted_runs(database: SqliteDatabase) -> None:
    """LG-11: The checkpoints of a run are deleted from every thread. The others keep their values, and unneeded lines are deleted."""
    for thread in ("a", "b"):
        for run in ("r1", "r2"):
            config = config_of(thread, run_id=run)
            await chat(D1Saver(database)).ainvoke({"messages": [HumanMessage(run)]}, config)
    await D1Saver(database).adelete_for_runs(["r2", "none"])
    for thread in ("a", "b"):
        assert await texts(D1Saver(database), thread) == ["r1", "answer 1", "review 2"]
    await D1Saver(database).adelete_for_runs(["r1"])
    [rows] = await database.batch([Statement("SELECT * FROM __agents_graph_lines")])
    assert rows == []
    await D1Saver(database).adelete_for_runs([])


async def test_copied_threads(database: SqliteDatabase) -> None:
    """LG-11: A copy has the whole history, and the copy and its source go on independently."""
    await turn(D1Saver(database), "t", "hello")
    await D1Saver(database).acopy_thread("t", "copy")
    await turn(D1Saver(database), "copy", "only here")
    assert len(await texts(D1Saver(database), "t")) == 3
    assert len(await texts(D1Saver(database), "copy")) == 6
    await D1Saver(database).adelete_thread("t")
    assert (await texts(D1Saver(database), "copy"))[0] == "hello"


class TwoHomes:
    """Threads in two databases."""

    def __init__(self, one: SqliteDatabase, other: SqliteDatabase) -> None:
        self._places = {"t": one, "other": other}

    def of(self, session_id: str) -> SqliteDatabase:
        return self._places[session_id.partition("//")[0]]

    def of_new(self, session_id: str) -> SqliteDatabase:
        return self.of(session_id)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        raise AssertionError("no session is made here")


async def test_homes(database: SqliteDatabase) -> None:
    """LG-10: Threads live where their sessions live. Calls about several threads raise an error that says so."""
    from agents_store_cloudflare.migrations import run_migration

    elsewhere = SqliteDatabase()
    await run_migration(elsewhere)
    homes: Homes = TwoHomes(database, elsewhere)
    saver = D1Saver(homes)
    await turn(saver, "t", "hello")
    await turn(saver, "other", "hello")
    assert len(await texts(D1Saver(OneDatabase(database)), "t")) == 3
    assert await texts(D1Saver(database), "other") == []
    await saver.acopy_thread("t", "t//copy")
    with pytest.raises(InvalidArgumentError, match="one home"):
        await saver.acopy_thread("t", "other")
    with pytest.raises(InvalidArgumentError, match="several threads"):
        await saver.adelete_for_runs(["r"])
    with pytest.raises(InvalidArgumentError, match="several threads"):
        [each async for each in saver.alist(None)]


async def test_lists_of_all_threads(database: SqliteDatabase) -> None:
    """LG-1: Without a config the newest checkpoints of all threads come first, page after page."""
    for number in range(60):
        await turn(D1Saver(database), f"t{number % 7}", "hello")
    listed = [each async for each in D1Saver(database).alist(None, filter={"source": "loop"})]
    ids = [_named(each)["checkpoint_id"] for each in listed]
    assert len(set(ids)) == 180
    assert ids == sorted(ids, reverse=True)
    first = [each async for each in D1Saver(database).alist(None, limit=5)]
    assert len(first) == 5


def _question() -> Any:
    return {"messages": [HumanMessage("hi")]}


def _sync(_: Any) -> dict[str, Any]:
    return {"messages": [AIMessage("sync")]}


@pytest.mark.skipif(sys.platform == "emscripten", reason="the next test tells what a Worker says")
def test_synchronous_calls(database: SqliteDatabase) -> None:
    """LG-13: `invoke` and similar calls work on CPython, with and without an event loop around them."""
    saver = D1Saver(database)
    builder = messages_graph().add_node("answer", _sync)
    graph = builder.add_edge(START, "answer").compile(checkpointer=saver)
    assert _said(graph.invoke(_question(), config_of("t"))) == ["hi", "sync"]
    assert _said(graph.get_state(config_of("t")).values) == ["hi", "sync"]
    assert len(list(graph.get_state_history(config_of("t")))) == 3

    async def inside() -> None:
        graph.invoke(_question(), config_of("t"))
        await graph.ainvoke(_question(), config_of("t"))

    asyncio.run(inside())
    assert len(graph.get_state(config_of("t")).values["messages"]) == 6
    saver.copy_thread("t", "copy")
    saver.prune(["t"])
    assert len(list(saver.list(config_of("t")))) == 1
    assert saver.get_tuple(config_of("copy")) is not None
    assert saver.get_delta_channel_history(config=config_of("copy"), channels=["x"]) == {"x": {"writes": []}}
    saver.delete_for_runs(["none"])
    saver.delete_thread("copy")
    assert saver.get_tuple(config_of("copy")) is None


def test_synchronous_calls_in_a_worker(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """LG-13: In a Worker the error of a synchronous call names the calls that work."""
    monkeypatch.setattr(sys, "platform", "emscripten")
    with pytest.raises(NotImplementedError, match="ainvoke"):
        D1Saver(database).get_tuple(config_of("t"))

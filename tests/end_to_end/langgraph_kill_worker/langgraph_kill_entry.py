"""Turns of a LangGraph graph on request, and what they leave behind, so that a test outside can compare it."""

import asyncio
import importlib
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from import_cost import import_cost
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import AgentsStoreError, DurableObjectLockManager, LockServer, run_migration
from orjson_place import fill_in_orjson

__all__ = ["Default", "LockServer"]

PAUSE_S = 0.02
DONE = ("turns",)

fill_in_orjson()


class Default(WorkerEntrypoint):
    """GET /?op=…: migrate, turn, report."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Do one thing, with a saver and a store of its own."""
        asked = dict(parse_qsl(urlsplit(request.url).query))
        try:
            answer = await getattr(self, f"_{asked['op']}")(asked)
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)
        return Response(json.dumps(answer))

    async def _migrate(self, _: dict[str, str]) -> object:
        await run_migration(self.env.AGENT_DB)
        return import_cost("agents_store_cloudflare.adapters.langgraph", "langgraph.graph")

    async def _turn(self, asked: dict[str, str]) -> object:
        """Finish what a dead Worker has begun, then answer, and reply when everything is stored."""
        session, name = asked["session"], asked["turn"]
        config = {"configurable": {"thread_id": session}}
        locks = DurableObjectLockManager(self.env.LOCKS, default_ttl=2)
        async with locks.lock(session, wait=8, auto_refresh=True) as lock:
            graph = _graph(self.env.AGENT_DB, fencing_token=lock)
            # `next` would not do: it is empty too where a node has written and the next checkpoint is not there yet.
            said = _texts((await graph.aget_state(config)).values)
            if said and not said[-1].startswith("answer "):
                said = _texts(await graph.ainvoke(None, config))
            if f"question {name}" not in said:
                await graph.ainvoke({"messages": [{"role": "user", "content": f"question {name}"}]}, config)
        return {"status": "completed"}

    async def _report(self, asked: dict[str, str]) -> object:
        graph = _graph(self.env.AGENT_DB)
        config = {"configurable": {"thread_id": asked["session"]}}
        state = await graph.aget_state(config)
        items = await graph.store.asearch((*DONE, asked["session"]), limit=1_000)
        return {
            "messages": _texts(state.values),
            "history": [_texts(each.values) async for each in graph.aget_state_history(config)],
            "remembered": sorted(item.key for item in items),
        }


def _graph(database: object, **token: Any) -> Any:
    """A graph that thinks, answers, and remembers that it has answered."""
    adapter: Any = importlib.import_module("agents_store_cloudflare.adapters.langgraph")
    langgraph: Any = importlib.import_module("langgraph.graph")
    builder = langgraph.StateGraph(langgraph.MessagesState)
    builder.add_node("think", _think)
    builder.add_node("answer", _answer)
    builder.add_edge("__start__", "think")
    builder.add_edge("think", "answer")
    return builder.compile(checkpointer=adapter.D1Saver(database, **token), store=adapter.D1Store(database, **token))


async def _think(state: Any) -> Any:
    await asyncio.sleep(PAUSE_S)
    return {"messages": [{"role": "assistant", "content": f"step {_name(state)}"}]}


async def _answer(state: Any) -> Any:
    config: Any = importlib.import_module("langgraph.config")
    session = config.get_config()["configurable"]["thread_id"]
    await config.get_store().aput((*DONE, session), _name(state), {"messages": len(state["messages"])})
    await asyncio.sleep(PAUSE_S)
    return {"messages": [{"role": "assistant", "content": f"answer {_name(state)}"}]}


def _name(state: Any) -> str:
    questions = [text for text in _texts(state) if text.startswith("question ")]
    return questions[-1].removeprefix("question ")


def _texts(values: Any) -> list[str]:
    return [message.content for message in values.get("messages", [])]

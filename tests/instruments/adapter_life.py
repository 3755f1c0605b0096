"""Conversations of every adapter in one database: made, read, and continued."""

from __future__ import annotations

from typing import Any

from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, UserPromptPart

from agents_store_cloudflare.adapters.langgraph import D1Saver
from agents_store_cloudflare.adapters.openai_agents import D1Session
from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.langgraph.graphs import chat, config_of

__all__ = ["AdapterLife"]

TEXTS = (
    "plain",
    'line\nline \\n "quoted" \\r\r\0 it\'s',
    "日本 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
)
GRAPH, TALK, ITEMS = "graph", "talk", "items"


class AdapterLife:
    """A graph's thread, a conversation and a session of items, each continued with every text."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._graph = chat(D1Saver(database))
        self._saver = D1Saver(database)
        self._talks = D1ConversationStore(database)
        self._items = D1Session(ITEMS, database)

    async def live(self) -> None:
        """Go on with each of them; the last item is taken away and added again."""
        for text in TEXTS:
            await self._graph.ainvoke({"messages": [{"role": "user", "content": text}]}, config_of(GRAPH))
            talk = await self._talks.load(TALK) or Conversation(conversation_id=TALK)
            talk.messages.append(ModelRequest(parts=[UserPromptPart(text)]))
            await self._talks.save(talk)
            await self._items.add_items([{"role": "user", "content": text}])
        last: Any = await self._items.pop_item()
        await self._items.add_items([last])

    async def reads(self) -> list[Any]:
        """What is there, read by read. Each value of a graph is compared by its own text."""
        saved = [each async for each in self._saver.alist(config_of(GRAPH))]
        talk = await self._talks.load(TALK)
        return [
            [
                (each.config, repr(each.checkpoint), each.metadata, each.parent_config, repr(each.pending_writes))
                for each in saved
            ],
            None if talk is None else (talk.messages, talk.usage),
            await self._items.get_items(),
        ]

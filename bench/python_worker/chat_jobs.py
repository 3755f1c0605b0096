"""A chat's turn as a user feels it, by `store.turn`: the whole turn, the first chunk at a reader, and a reader that comes back.

The bindings are behind delays. The model speaks in groups of chunks, with a pause after each group.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench_job import Job
from live_jobs import listening, messages_of

from agents_store_cloudflare import CloudflareStore, Meter, create_cloudflare_store
from agents_store_cloudflare.contract.costs import Cost

__all__ = ["CHAT_JOBS"]

STORED_S = 1.0
"""Longer than a writer keeps a chunk before it flushes."""

APPENDED_AT_ONCE = 1_000
HISTORY_CHUNKS = 1
"""The closing chunk of the turn that stores the history."""


@dataclass(kw_only=True)
class Chat(Job):
    """One session with a history.

    Attributes:
        meters: of each store, if the order wants counts.
        stopped: set when the model stops in its middle.
        goes_on: set to let it go on.
    """

    meters: list[Meter] = field(default_factory=list[Meter])
    open_meters: ExitStack = field(default_factory=ExitStack)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = None

    async def set_up(self) -> None:
        store = self.store()
        async with store.turn(self.key, agent_type="bench") as turn:
            for message in self.input["history"]:
                turn.add(message)

    def store(self) -> CloudflareStore:
        """The store of one request."""
        env = self.env
        sessions = {"sessions": env.SESSIONS} if self.input["homes"] else {}
        store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS, **sessions)
        if self.input["counted"]:
            self.meters.append(self.open_meters.enter_context(store.meter()))
        return store

    async def costs(self) -> dict[str, Any]:
        """What all stores have cost so far. D1 and the objects count rows here, so none is None."""
        cost = sum((meter.cost() for meter in self.meters), Cost())
        return {
            "batches": cost.d1.round_trips,
            "rowsRead": cost.d1.rows_read,
            "rowsWritten": cost.d1.rows_written,
            "calls": cost.objects.calls,
            "objectRowsRead": cost.objects.rows_read,
            "objectRowsWritten": cost.objects.rows_written,
        }

    async def turn(self, store: CloudflareStore, *, stops: bool = False) -> None:
        """Take the question, stream the answer, store it with its usage."""
        given = self.input
        async with store.turn(self.key, agent_type="bench", messages=[given["question"]]) as turn:
            async for chunk in self._model(stops=stops):
                await turn.write(chunk)
            turn.add(given["answer"])
            turn.record_tokens(**given["usage"])

    async def _model(self, *, stops: bool) -> AsyncGenerator[dict[str, Any]]:
        given = self.input
        for number, chunk in enumerate(given["chunks"], start=1):
            yield chunk
            if number % given["groupChunks"] == 0:
                await asyncio.sleep(given["groupMs"] / 1_000)
            if stops and number == given["middle"]:
                self.stopped.set()
                await self.goes_on.wait()

    async def read_back(self) -> object:
        self.goes_on.set()
        if self.running is not None:
            await self.running
        store = self.store()
        state = await store.state_store.load_state(self.key, required=True)
        async with store.stream_manager.create_reader(self.key, follow=False) as reader:
            stored = [chunk async for chunk in reader]
        usage = await store.usage_store.get_rollup(self.key)
        return {
            "messages": state.messages,
            "chunks": [chunk["text"] for chunk in stored if chunk["type"] == "text-delta"],
            "tokens": usage.tokens.total,
            **self.seen(),
        }

    def seen(self) -> dict[str, Any]:
        """What the job itself read."""
        return {}


@dataclass(kw_only=True)
class ChatTurn(Chat):
    """A whole turn."""

    async def once(self) -> None:
        await self.turn(self.store())


@dataclass(kw_only=True)
class ChatHistory(Chat):
    """The history alone: read it, store the question, store the answer."""

    loaded: Any = None

    async def once(self) -> None:
        state_store = self.store().state_store
        state = await state_store.load_state(self.key, required=True)
        self.loaded = list(state.messages)
        for message in (self.input["question"], self.input["answer"]):
            await state_store.append_messages(self.key, [message])

    async def read_back(self) -> object:
        state = await self.store().state_store.load_state(self.key, required=True)
        return {"loaded": self.loaded, "messages": state.messages}


@dataclass(kw_only=True)
class ChatFirst(Chat):
    """A reader waits already. Ends when it has the turn's first chunk."""

    reader: Any = None
    waiting: Any = None
    first: Any = None

    async def set_up(self) -> None:
        await Chat.set_up(self)
        self.reader = await self.store().stream_manager.create_resumable_reader(self.key, HISTORY_CHUNKS)
        self.waiting = asyncio.ensure_future(anext(aiter(self.reader)))
        await asyncio.sleep(STORED_S)

    async def once(self) -> None:
        self.running = asyncio.ensure_future(self.turn(self.store()))
        self.first = await self.waiting

    async def read_back(self) -> object:
        result = await Chat.read_back(self)
        await self.reader.close()
        return result

    def seen(self) -> dict[str, Any]:
        return {"first": self.first["text"]}


@dataclass(kw_only=True)
class ChatCrowd(Chat):
    """Many readers wait already, on WebSockets. Ends when the last of them has the turn's first chunk."""

    readers: list[Any] = field(default_factory=list[Any])
    arrived: Any = None
    events: Any = None

    async def set_up(self) -> None:
        await Chat.set_up(self)
        namespace = self.env.SESSIONS if self.input["homes"] else self.env.STREAMS
        self.readers = await listening(namespace.target, self.key, self.input["readers"], after=HISTORY_CHUNKS)
        self.arrived = messages_of(self.readers)

    async def once(self) -> None:
        self.running = asyncio.ensure_future(self.turn(self.store()))
        self.events = await self.arrived

    async def read_back(self) -> object:
        result = await Chat.read_back(self)
        for reader in self.readers:
            reader.close()
        return result

    def seen(self) -> dict[str, Any]:
        frames = [json.loads(event.data.split("\n")[0]) for event in self.events]
        return {"heard": [frame["data"]["text"] for frame in frames]}


@dataclass(kw_only=True)
class ChatResume(Chat):
    """The model stops in the middle. A reader comes back with a quarter: ends when it has the middle."""

    resumed: list[Any] = field(default_factory=list[Any])

    async def set_up(self) -> None:
        await Chat.set_up(self)
        self.running = asyncio.ensure_future(self.turn(self.store(), stops=True))
        await self.stopped.wait()
        await asyncio.sleep(STORED_S)

    async def once(self) -> None:
        wanted = self.input["middle"] - self.input["quarter"]
        position = HISTORY_CHUNKS + self.input["quarter"]
        async with self.store().stream_manager.create_resumable_reader(self.key, position) as reader:
            async for chunk in reader:
                self.resumed.append(chunk["text"])
                if len(self.resumed) == wanted:
                    break

    def seen(self) -> dict[str, Any]:
        return {"resumed": self.resumed}


@dataclass(kw_only=True)
class ChatPage(Chat):
    """A page of a long history, which is made once."""

    page: Any = None

    async def set_up(self) -> None:
        state_store, count = self.store().state_store, self.input["page"]["count"]
        if await state_store.exists(self.key):
            return
        for first in range(0, count, APPENDED_AT_ONCE):
            numbers = range(first, first + APPENDED_AT_ONCE)
            messages = [{"role": "user", "content": f"message {number}"} for number in numbers]
            await state_store.append_messages(self.key, messages, create="bench")

    async def once(self) -> None:
        given = self.input["page"]
        self.page = await self.store().state_store.get_messages(self.key, offset=given["offset"], limit=given["limit"])

    async def read_back(self) -> object:
        return {"page": self.page.messages}


CHAT_JOBS: Mapping[str, type[Chat]] = {
    "chat_turn": ChatTurn,
    "chat_history": ChatHistory,
    "chat_first": ChatFirst,
    "chat_crowd": ChatCrowd,
    "chat_resume": ChatResume,
    "chat_page": ChatPage,
}

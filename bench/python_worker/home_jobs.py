"""Jobs that are the same work on sessions in D1 and on sessions in homes, as a user of `create_cloudflare_store` does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench_job import Job, described, new_state
from state_jobs import fill_session

from agents_store_cloudflare import AgentState, CloudflareStore, MessagePage, create_cloudflare_store

__all__ = ["HOME_JOBS", "prepare_placed_session"]


@dataclass(kw_only=True)
class PlacedJob(Job):
    """A job whose sessions live where `place` says: "d1" or "homes"."""

    def store(self) -> CloudflareStore:
        """The store of one request."""
        return placed_store(self.env, self.input)

    async def load(self, session_id: str) -> AgentState:
        """The stored session."""
        return await self.store().state_store.load_state(session_id, required=True)


@dataclass(kw_only=True)
class PlacedSave(PlacedJob):
    state: AgentState = field(init=False)

    async def set_up(self) -> None:
        self.state = new_state(self.key, self.input)
        await self.store().state_store.save(self.state)

    async def once(self) -> None:
        self.state.messages += self.input["added"]
        self.state.step_count += 1
        await self.store().state_store.save(self.state)

    async def read_back(self) -> object:
        return described(await self.load(self.key))


@dataclass(kw_only=True)
class PlacedLoad(PlacedJob):
    state: AgentState = field(init=False)

    async def once(self) -> None:
        self.state = await self.load(self.input["session"])

    async def read_back(self) -> object:
        return described(self.state)


@dataclass(kw_only=True)
class PlacedPage(PlacedJob):
    page: MessagePage = field(init=False)

    async def once(self) -> None:
        self.page = await self.store().state_store.get_messages(
            self.input["session"], offset=self.input["offset"], limit=self.input["limit"]
        )

    async def read_back(self) -> object:
        return self.page.to_dict()


@dataclass(kw_only=True)
class NewSession(PlacedJob):
    """The first save of a session that nobody knows, each time another one."""

    made: int = 0

    async def once(self) -> None:
        self.made += 1
        await self.store().state_store.save(new_state(f"{self.key}-{self.made}", self.input))

    async def read_back(self) -> object:
        return described(await self.load(f"{self.key}-{self.made}"))


@dataclass(kw_only=True)
class PlacedTurn(PlacedJob):
    """A whole turn of an agent whose model takes no time. Without chunks it has no stream."""

    async def set_up(self) -> None:
        async with self.store().turn(self.key, agent_type="bench", stream=self.has_stream()) as turn:
            turn.add(*self.input["history"])

    async def once(self) -> None:
        given = self.input
        block = self.store().turn(self.key, agent_type="bench", messages=[given["question"]], stream=self.has_stream())
        async with block as turn:
            for chunk in given["chunks"]:
                await turn.write(chunk)
            turn.add(given["answer"])
            turn.record_tokens(**given["usage"])

    def has_stream(self) -> bool:
        """Whether the turn writes chunks."""
        return bool(self.input["chunks"])

    async def read_back(self) -> object:
        store = self.store()
        texts: list[str] = []
        if self.has_stream():
            async with store.stream_manager.create_reader(self.key, follow=False) as reader:
                texts = [str(chunk["text"]) async for chunk in reader if chunk["type"] == "text-delta"]
        usage = await store.usage_store.get_rollup(self.key)
        return {
            "messages": (await self.load(self.key)).messages,
            "chunks": texts,
            "tokens": usage.tokens.total,
        }


HOME_JOBS: Mapping[str, type[Job]] = {
    "placed_save": PlacedSave,
    "placed_load": PlacedLoad,
    "placed_page": PlacedPage,
    "placed_new": NewSession,
    "placed_turn": PlacedTurn,
}


def placed_store(env: Any, given: Mapping[str, Any]) -> CloudflareStore:
    """The store of sessions in D1, or of sessions in homes."""
    sessions = {"sessions": env.SESSIONS} if given["place"] == "homes" else {}
    return create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS, **sessions)


async def prepare_placed_session(env: Any, given: Mapping[str, Any]) -> None:
    """A session saved once a turn, in D1 or in its home."""
    await fill_session(placed_store(env, given).state_store, given)

"""The operations of openai-agents' sessions."""

from __future__ import annotations

from typing import Any

from agents_store_cloudflare.adapters.openai_agents import D1Session
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.openai_items import CALL, OUTPUT, users
from tests.adapters.disturbed.worlds import AdapterWorld, by_others, op, plain_op, role_of
from tests.instruments.operations import plain

__all__ = ["SDK_SESSIONS"]


class SdkSessions(AdapterWorld):
    """A session of three items, the last of which is a call."""

    def client(self, database: Any) -> D1Session:
        return D1Session("ada", database)

    async def fill(self) -> None:
        await self.theirs.add_items([*users("one", "two"), CALL])

    async def picture(self) -> str:
        return plain(await D1Session("ada", self.database).get_items())

    async def probe(self, client: D1Session) -> None:
        await client.add_items(users("probe"))
        await client.pop_item()


async def add(session: D1Session, items: list[Any]) -> None:
    await session.add_items(items)


async def clear_and_add(session: D1Session) -> None:
    await session.clear_session()
    await session.add_items(users("anew"))


async def make_again(session: D1Session) -> None:
    database: Any = vars(session)["_database"]
    await D1StateStore(database).delete_session("ada")
    await session.add_items(users("made again"))


SDK_SESSIONS = role_of(
    "SDK sessions",
    SdkSessions,
    op("add", add, lambda: users("three", "four")),
    op("add an answer", add, lambda: [{**OUTPUT}]),
    plain_op("pop", lambda session: session.pop_item()),
    plain_op("clear", lambda session: session.clear_session()),
    by_others("add too", lambda session: session.add_items(users("theirs"))),
    by_others("pop too", lambda session: session.pop_item()),
    by_others("clear and add", clear_and_add),
    by_others("make again", make_again),
)

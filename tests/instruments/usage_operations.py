"""The operations of the usage store, budgets included."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

from agents_store_cloudflare import run_migration
from agents_store_cloudflare.contract.usage.store import UsageStore
from agents_store_cloudflare.testing import FakeClock, SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.instruments.operations import NOW_MS, Call, Operation, Role, plain
from tests.instruments.seams import Seam, WatchedDatabase

__all__ = ["USAGE", "UsageWorld"]

READS = {"get_entries", "get_rollup", "get_tree_rollups", "get_totals", "get_budget"}
SOURCE = {"type": "agent", "name": "x"}


def entry(entry_id: str, session_id: str = "s") -> dict[str, Any]:
    data: dict[str, Any] = {"deep": [1]}
    return {
        "id": entry_id, "sessionId": session_id, "kind": "custom", "source": dict(SOURCE), "name": "n", "value": 3,
        "data": data, "timestamp": NOW_MS,
    }  # fmt: skip


class UsageWorld:
    """Entries of two sessions, a budget within a budget, and two reservations."""

    store_type: type[D1UsageStore] = D1UsageStore

    def __init__(self) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.database = SqliteDatabase(now_ms=self.clock.now_ms)
        self.mine = self.store_type(WatchedDatabase(self.database, self.seam), now_ms=self.clock.now_ms)
        self.theirs = D1UsageStore(self.database, now_ms=self.clock.now_ms)
        self.held: list[Any] = []

    @classmethod
    async def open(cls) -> UsageWorld:
        world = cls()
        await run_migration(world.database)
        await world.theirs.record_entries([entry("e1"), entry("e2", "t"), {**entry("e3"), "timestamp": 5}])
        await world.theirs.set_budget("org", 100, "tokens")
        await world.theirs.set_budget("team", 50, "tokens", parent="org")
        world.held = [await world.theirs.reserve("team", amount) for amount in (10, 20)]
        return world

    async def picture(self) -> str:
        store, sessions = self.theirs, ("s", "t")
        return plain(
            {
                "entries": [await store.get_entries(each) for each in sessions],
                "rollups": [await store.get_rollup(each) for each in sessions],
                "totals": [await store.get_totals("day"), await store.get_totals("agent")],
                "budgets": [await store.get_budget(each) for each in ("org", "team", "new")],
            }
        )

    async def left_over(self) -> list[str]:
        team = await self.theirs.get_budget("team")
        known = sum(each.amount for each in self.held)
        return [] if team is None or team.reserved <= known else [f"{team.reserved - known} reserved for nobody"]

    async def probe(self, client: Any) -> None:
        await client.record_entry(entry("probe", "probe"))
        assert await client.delete("probe") == 1

    def close(self) -> None:
        self.database.close()


def _op(name: str, method: str, *arguments: Any, is_retried: bool = True, **keywords: Any) -> Operation:
    async def prepare(world: UsageWorld, client: D1UsageStore) -> Call:
        own = [world.held[0] if each == "FIRST" else deepcopy(each) for each in arguments]
        return Call(getattr(client, method), own, keywords)

    return Operation(name, (f"UsageStore.{method}",), prepare, is_retried)


async def _reserve(world: UsageWorld, client: D1UsageStore) -> Call:
    async def reserve() -> Any:
        return await client.reserve("team", 15)

    return Call(reserve)


async def _reserve_block(world: UsageWorld, client: D1UsageStore) -> Call:
    async def block() -> None:
        async with client.reserve("team", 15):
            await asyncio.sleep(0)

    return Call(block)


async def _settle_block(world: UsageWorld, client: D1UsageStore) -> Call:
    async def block() -> None:
        async with client.reserve("team", 15) as held:
            await client.settle(held, 12)

    return Call(block)


USAGE = Role(
    "usage",
    (UsageStore,),
    frozenset(f"UsageStore.{name}" for name in READS),
    False,
    UsageWorld.open,
    (
        _op("record", "record_entry", entry("n1")),
        _op("record without an id", "record_entry", {**entry("x"), "id": None}),
        _op("record several", "record_entries", [entry("n1"), entry("n2", "t")]),
        _op("record with a commit id", "record_entries", [{**entry("x"), "id": None}], commit_id="c"),
        _op("record what is there", "record_entry", entry("e1")),
        _op("delete", "delete", "s", is_retried=False),
        _op("delete old", "delete_old_entries", 3600, is_retried=False),
        _op("delete old, keep totals", "delete_old_entries", 3600, is_retried=False, keep_totals=True),
        _op("delete with a commit id", "delete", "s", commit_id="d"),
        _op("delete old with a commit id", "delete_old_entries", 3600, keep_totals=True, commit_id="o"),
        _op("forget settlements with a commit id", "delete_old_settlements", 0, commit_id="f"),
        _op("count anew", "rebuild_rollups"),
        _op("set a new budget", "set_budget", "new", 7, "tokens", parent="org"),
        _op("change a budget", "set_budget", "team", 40, "tokens", parent="org"),
        Operation("reserve", ("UsageStore.reserve",), _reserve),
        Operation("reserve in a block", ("UsageStore.reserve",), _reserve_block, is_retried=False, is_block=True),
        Operation("settle in a block", ("UsageStore.reserve",), _settle_block, is_retried=False, is_block=True),
        _op("settle", "settle", "FIRST", 8),
        _op("settle over", "settle", "FIRST", 12),
        _op("release", "release", "FIRST"),
        _op("forget settlements", "delete_old_settlements", 0, is_retried=False),
    ),
)

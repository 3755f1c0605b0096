"""A budget that another program has damaged, or deleted, does not keep a turn from ending, nor a session from its next turn."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any, cast

import pytest

from agents_store_cloudflare import CloudflareStore, UsageError, create_cloudflare_store, run_migration
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.turn_fixtures import begin, die, enter

DAMAGES = {
    **{
        f"settled is {value}": f"settled = {value}"
        for value in ("'abc'", "1.5", "x'00ff'", "9223372036854775807", "-5")
    },
    **{f"reserved is {value}": f"reserved = {value}" for value in ("'abc'", "1.5", "x'00ff'")},
    **{f"chain is {value}": f"chain = {value}" for value in ("'{'", "'5'", "'[]'", "x'00ff'")},
    "root is another": "root = 'nobody'",
    "cap is no number": "cap = 'abc'",
}


async def _damage(database: SqliteDatabase, how: str) -> None:
    sql = "DELETE FROM __agents_budgets" if how == "gone" else f"UPDATE __agents_budgets SET {DAMAGES[how]}"
    await database.batch([Statement(cast("Any", sql))])


@pytest.mark.parametrize("how", [*DAMAGES, "gone"])
@pytest.mark.parametrize("ends_by", ["its end", "an exception", "a death"])
async def test_a_damaged_budget(how: str, ends_by: str) -> None:
    """TU-3, US-19: the turn ends with its messages and usage, and the next one enters; the budget alone is damaged."""
    database = SqliteDatabase()
    await run_migration(database)
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))
    await store.usage_store.set_budget("b", 100, "tokens")
    if ends_by == "a death":
        await die(store, "s", budget=("b", 10), records=3)
        await _damage(database, how)
    else:
        with pytest.raises(ZeroDivisionError) if ends_by == "an exception" else nullcontext():
            await _take_a_turn(store, database, how, ends_by)
    await asyncio.create_task(enter(begin(store, "s"), leave=True))
    assert (await store.state_store.list_runs("s"))[0].status == "completed"
    assert (await store.usage_store.get_rollup("s")).tokens.total == 3
    await store.usage_store.set_budget("another", 5, "tokens")
    assert await store.usage_store.reserve("another", 5) is not None
    database.close()


async def _take_a_turn(store: CloudflareStore, database: SqliteDatabase, how: str, ends_by: str) -> None:
    async with begin(store, "s", budget=("b", 10)) as turn:
        turn.record_tokens(model="m", prompt=3)
        await _damage(database, how)
        if ends_by == "an exception":
            raise ZeroDivisionError


async def test_a_reservation_by_hand_is_told() -> None:
    """US-17: `settle` by hand on a damaged sum is refused, because its caller can act."""
    database = SqliteDatabase()
    await run_migration(database)
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))
    await store.usage_store.set_budget("b", 100, "tokens")
    held = await store.usage_store.reserve("b", 10)
    assert held is not None
    await database.batch([Statement("DELETE FROM __agents_budgets")])
    with pytest.raises(UsageError):
        await store.usage_store.settle(held, 3)
    database.close()

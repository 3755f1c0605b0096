"""`D1Store` on real D1: the same answers as LangGraph's store in memory, and what it costs by D1's own count."""

import random
from typing import Any

from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp

from agents_store_cloudflare.adapters.langgraph import D1Store, item_sql
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.database import BatchCost
from tests.adapters.langgraph.test_items_against_memory import World

OPERATIONS = 500
ADA = ("users", "ada")


async def test_no_difference(database: Any) -> None:
    """LG-16, LG-17: random operations, with lost replies."""
    world, done = World(database, random.Random(7)), 0
    while done < OPERATIONS:
        done += await world.step()


async def test_every_statement(database: Any) -> None:
    """LG-16 to LG-20: D1 runs each statement of the store."""
    store = D1Store(database, ttl={"default_ttl": 1}, item_check=True)
    await store.aput(ADA, "k", {"n": 1})
    assert (await store.abatch([GetOp(ADA, "k"), SearchOp(ADA, {"n": 1}), ListNamespacesOp()]))[2] == [ADA]
    await store.aput(ADA, "k", {"n": 2})
    assert await store.sweep_ttl() == 0
    statements = {text for name in item_sql.__all__ if isinstance(text := getattr(item_sql, name), str)}
    assert statements - database.sent == set()


async def test_costs(env: Any, database: Any) -> None:
    """LG-22, LG-18: batches, and the rows that D1 counts."""
    costs: list[BatchCost] = []
    observed = as_database(env.AGENT_DB, observer=costs.append)
    store, timed = D1Store(observed), D1Store(observed, ttl={})

    async def cost(asked: D1Store, *ops: Any) -> tuple[int, int, int]:
        costs.clear()
        await asked.abatch(ops)
        return len(costs), sum(each.rows_read for each in costs), sum(each.rows_written for each in costs)

    assert (await cost(store, *(PutOp(ADA, f"{number:02}", {"n": number}) for number in range(40))))[::2] == (1, 40)
    batches, _, written = await cost(store, PutOp(ADA, "00", {"n": 0}))
    assert (batches, written) == (1, 1)
    assert (await cost(timed, PutOp(("t",), "k", {"n": 0}, ttl=1)))[::2] == (1, 2)
    batches, read, written = await cost(store, GetOp(ADA, "01"))
    assert (batches, written) == (1, 0)
    assert read <= 3
    batches, read, written = await cost(store, SearchOp(ADA, {"n": 39}))
    assert (batches, written) == (1, 0)
    assert 40 <= read <= 170, read
    batches, read, written = await cost(store, ListNamespacesOp())
    assert (batches, written) == (1, 0)
    assert read <= 20, read

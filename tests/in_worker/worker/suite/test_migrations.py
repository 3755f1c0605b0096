"""Migrations on real D1: callers that race, bindings as the SDK wraps them, read-replica sessions."""

import asyncio
from typing import Any

from agents_store_cloudflare.cloudflare.d1 import D1Database, as_database
from agents_store_cloudflare.database import BatchCost, Statement
from agents_store_cloudflare.migrations import (
    CURRENT_SCHEMA_VERSION,
    TABLE_NAMES,
    drop_all_tables,
    get_agents_table_names,
    is_migrated,
    run_migration,
)


async def test_racers_all_succeed(env: Any) -> None:
    """MG-1, MG-3, MG-7: twenty at once on an empty database; the claim lets one of them do it."""
    await drop_all_tables(env.AGENT_DB)
    assert await get_agents_table_names(env.AGENT_DB) == []
    versions = await asyncio.gather(*(run_migration(env.AGENT_DB) for _ in range(20)))
    assert versions == [CURRENT_SCHEMA_VERSION] * 20
    assert await get_agents_table_names(env.AGENT_DB) == list(TABLE_NAMES)
    [rows] = await as_database(env.AGENT_DB).batch([Statement("SELECT count(*) AS claims FROM __agents_schema")])
    assert rows == [[CURRENT_SCHEMA_VERSION - 1]]


async def test_when_current_one_row_is_read(env: Any) -> None:
    """MG-2: by D1's own count: one row read, none written."""
    await run_migration(env.AGENT_DB)
    costs: list[BatchCost] = []
    await run_migration(as_database(env.AGENT_DB, observer=costs.append))
    assert [(cost.statements, cost.rows_read, cost.rows_written) for cost in costs] == [(1, 1, 0)]


async def test_every_kind_of_binding(env: Any) -> None:
    """MG-2: a wrapped binding, a raw one and a read-replica session are databases."""
    await run_migration(env.AGENT_DB)
    raw = getattr(env.AGENT_DB, "_binding", env.AGENT_DB)
    for binding in (env.AGENT_DB, raw, raw.withSession("first-primary"), D1Database(raw)):
        assert await is_migrated(binding)

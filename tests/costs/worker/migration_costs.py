"""Migrations, and what leaves nothing behind."""

from cost_ledger import Ledger

from agents_store_cloudflare import (
    drop_all_tables,
    get_agents_migration_version,
    get_agents_table_names,
    is_migrated,
    run_migration,
)

__all__ = ["leaving_costs", "migration_costs"]


async def migration_costs(ledger: Ledger) -> None:
    """From an empty database on."""
    database = ledger.database
    with ledger.line("run_migration", "an empty database"):
        await run_migration(database)
    with ledger.line("run_migration", "a current one"):
        await run_migration(database)
    with ledger.line("store.migrate", "a current one"):
        await ledger.store.migrate()
    with ledger.line("is_migrated"):
        await is_migrated(database)
    with ledger.line("get_agents_migration_version"):
        await get_agents_migration_version(database)
    with ledger.line("get_agents_table_names"):
        await get_agents_table_names(database)


async def leaving_costs(ledger: Ledger) -> None:
    """The last of all."""
    for name in await ledger.states.cleanup_expired_sessions(now=2**52):
        raise ValueError(f"{name} is left")
    await ledger.usage.delete_old_entries(0)
    with ledger.line("drop_all_tables", "what this table was measured on"):
        await drop_all_tables(ledger.database)

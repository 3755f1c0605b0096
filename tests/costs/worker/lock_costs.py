"""Locks. One object a key."""

from cost_ledger import Ledger

__all__ = ["lock_costs"]


async def lock_costs(ledger: Ledger) -> None:
    """Each line on what the one before left."""
    locks = ledger.locks
    with ledger.line("lock_manager.is_locked", "a key that was never locked"):
        await locks.is_locked("key")
    with ledger.line("lock_manager.acquire", "the first of a key"):
        lock = await locks.acquire("key")
    assert lock is not None
    with ledger.line("lock_manager.acquire", "held by somebody else"):
        await locks.acquire("key")
    with ledger.line("lock_manager.is_locked", "held"):
        await locks.is_locked("key")
    with ledger.line("lock_manager.get_holder", "held"):
        await locks.get_holder("key")
    with ledger.line("lock.refresh"):
        await lock.refresh()
    with ledger.line("lock.release"):
        await lock.release()
    with ledger.line("lock_manager.acquire", "free"):
        lock = await locks.acquire("key")
    assert lock is not None
    await lock.release()
    with ledger.line("lock_manager.lock", "a block, free: both its ends"):
        async with locks.lock("key"):
            pass
    with ledger.line("lock_manager.delete", "a free key"):
        await locks.delete("key")
    await _several(ledger)


async def _several(ledger: Ledger) -> None:
    locks = ledger.locks
    with ledger.line("lock_manager.acquire_all", "3 new keys"):
        held = await locks.acquire_all(["a", "b", "c"])
    assert held is not None
    with ledger.line("held_locks.release", "3 keys"):
        await held.release()
    with ledger.line("lock_manager.locks", "a block, 3 free keys: both its ends"):
        async with locks.locks(["a", "b", "c"]):
            pass
    sharded = ledger.sharded_locks(2)
    for key in ("a", "b", "c"):
        async with sharded.lock(key):
            pass
    with ledger.line("lock_manager.clean_up", "2 shards, 3 keys, none is idle for a day"):
        await sharded.clean_up()

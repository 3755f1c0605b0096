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

"""Locks: the leases of a Durable Object (`LeaseTable`), the object's logic (`LockObject`), and the manager that users hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.locks.held_locks import HeldLocks
    from agents_store_cloudflare.locks.lock import DurableObjectLock
    from agents_store_cloudflare.locks.lock_object import LockObject
    from agents_store_cloudflare.locks.manager import DurableObjectLockManager
    from agents_store_cloudflare.locks.options import LockOptions
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "held_locks": ("HeldLocks",),
            "lock": ("DurableObjectLock",),
            "lock_object": ("LockObject",),
            "manager": ("DurableObjectLockManager",),
            "options": ("LockOptions",),
        },
    )

__all__ = ["DurableObjectLock", "DurableObjectLockManager", "HeldLocks", "LockObject", "LockOptions"]

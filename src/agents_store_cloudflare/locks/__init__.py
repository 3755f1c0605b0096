"""Locks: the leases of a Durable Object (`LeaseTable`), the object's logic (`LockObject`), and the manager that users hold."""

from agents_store_cloudflare.locks.held_locks import HeldLocks
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.locks.manager import DurableObjectLockManager
from agents_store_cloudflare.locks.options import LockOptions

__all__ = ["DurableObjectLock", "DurableObjectLockManager", "HeldLocks", "LockObject", "LockOptions"]

"""Test an agent on CPython with plain pytest: D1 and Durable Objects in process, and a clock that the test moves.

Example:
    >>> store = create_cloudflare_store(
    ...     db=SqliteDatabase(), streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject)
    ... )
"""

from agents_store_cloudflare.database.sqlite import SqliteDatabase, SqliteObjectSql
from agents_store_cloudflare.testing.clock import Clock, FakeClock, SystemClock
from agents_store_cloudflare.testing.faults import FaultyDatabase, FaultyNamespace
from agents_store_cloudflare.testing.lagging_database import LaggingDatabase
from agents_store_cloudflare.testing.local_objects import LocalObjects
from agents_store_cloudflare.testing.local_wires import LocalEvents, LocalSocket

__all__ = [
    "Clock",
    "FakeClock",
    "FaultyDatabase",
    "FaultyNamespace",
    "LaggingDatabase",
    "LocalEvents",
    "LocalObjects",
    "LocalSocket",
    "SqliteDatabase",
    "SqliteObjectSql",
    "SystemClock",
]

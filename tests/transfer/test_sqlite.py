"""Export and import on sqlite and objects in process, through the same conformance class as in the Worker."""

import pytest

from agents_store_cloudflare import create_cloudflare_store
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.transfer import TransferConformance


class TestTransfer(TransferConformance):
    @pytest.fixture
    async def database(self) -> SqliteDatabase:
        database = SqliteDatabase()
        await run_migration(database)
        return database

    @pytest.fixture
    def store(self, database: SqliteDatabase) -> CloudflareStore:
        return create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))

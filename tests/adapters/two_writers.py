"""What every adapter owes two writers of one thread: the one whose lock was lost is refused by name, and nothing of it is stored."""

from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import MissingFencingTokenError, StaleFencingTokenError
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase

__all__ = ["TwoWriters"]

OLD, NEW = 3, 4
THREAD = "thread"


class TwoWriters:
    """A adapter's test is a subclass that says how to make a writer, to load, to write and to read."""

    def writer(self, database: Any, **token: Any) -> Any:
        """A writer of the adapter; without `fencing_token` one that takes part in no lock."""
        raise NotImplementedError

    async def load(self, writer: Any) -> Any:
        """What a writer loads before it writes."""
        raise NotImplementedError

    async def write(self, writer: Any, loaded: Any, text: str) -> None:
        """Write a text after what was loaded."""
        raise NotImplementedError

    async def texts(self, database: Any) -> list[str]:
        """All texts of the thread, as a new reader finds them."""
        raise NotImplementedError

    async def test_the_stalled_holder_is_refused(self, database: SqliteDatabase) -> None:
        """LG-4: A loads, B takes over and writes, A writes: refused by name, with both tokens; only B's text is there."""
        a, b = self.writer(database, fencing_token=OLD), self.writer(database, fencing_token=NEW)
        loaded = await self.load(a)
        await self.write(b, await self.load(b), "b")
        with pytest.raises(StaleFencingTokenError) as raised:
            await self.write(a, loaded, "a")
        assert (raised.value.expected, raised.value.actual) == (NEW, OLD)
        assert await self.texts(database) == ["b"]
        await self.write(b, await self.load(b), "b again")
        assert await self.texts(database) == ["b", "b again"]

    async def test_it_may_still_read(self, database: SqliteDatabase) -> None:
        """LG-4: a fence is for writes."""
        await self.write(b := self.writer(database, fencing_token=NEW), await self.load(b), "b")
        assert await self.load(self.writer(database, fencing_token=OLD)) is not None

    async def test_the_fence_of_the_session(self, database: SqliteDatabase) -> None:
        """LG-4: what the state store has seen refuses here, and what was seen here refuses there."""
        store = D1StateStore(database)
        await store.create_session(THREAD, agent_type="x", fencing_token=NEW)
        old = self.writer(database, fencing_token=OLD)
        with pytest.raises(StaleFencingTokenError):
            await self.write(old, await self.load(old), "old")
        await self.write(newest := self.writer(database, fencing_token=NEW + 1), await self.load(newest), "newest")
        with pytest.raises(StaleFencingTokenError):
            await store.update_status(THREAD, "late", fencing_token=NEW)
        assert await self.texts(database) == ["newest"]

    async def test_one_holder_writes_on(self, database: SqliteDatabase) -> None:
        """LG-4: the token of the holder is good as long as nobody has a higher one."""
        writer = self.writer(database, fencing_token=OLD)
        for text in "abc":
            await self.write(writer, await self.load(writer), text)
        assert await self.texts(database) == ["a", "b", "c"]

    async def test_a_lock_that_was_not_acquired(self, database: SqliteDatabase) -> None:
        """LG-4: None is no token."""
        with pytest.raises(MissingFencingTokenError):
            self.writer(database, fencing_token=None)

    @pytest.mark.parametrize("token", [{}, {"fencing_token": NEW}], ids=["no lock", "a lock"])
    async def test_a_lost_reply(self, database: SqliteDatabase, token: dict[str, int]) -> None:
        """LG-7: the same batch twice has happened once."""
        faulty = FaultyDatabase(database)
        writer = self.writer(faulty, **token)
        await self.write(writer, await self.load(writer), "first")
        loaded = await self.load(writer)
        faulty.fail("after", "after")
        await self.write(writer, loaded, "second")
        await self.write(writer, await self.load(writer), "third")
        assert await self.texts(database) == ["first", "second", "third"]

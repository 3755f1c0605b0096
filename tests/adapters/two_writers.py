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
    """The tests for two writers of one thread. An adapter's subclass makes a writer, loads, writes and reads."""

    def writer(self, database: Any, **token: Any) -> Any:
        """Return a writer of the adapter. Without `fencing_token` it uses no lock."""
        raise NotImplementedError

    async def load(self, writer: Any) -> Any:
        """Return what a writer loads before it writes."""
        raise NotImplementedError

    async def write(self, writer: Any, loaded: Any, text: str) -> None:
        """Write a text after the loaded ones."""
        raise NotImplementedError

    async def texts(self, database: Any) -> list[str]:
        """Return all texts of the thread for a new reader."""
        raise NotImplementedError

    async def test_the_stalled_holder_is_refused(self, database: SqliteDatabase) -> None:
        """LG-4: A loads, B takes over and writes, then A writes: A is refused with both tokens, and only B's text is stored."""
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
        """LG-4: A holder whose lock was lost may still read."""
        await self.write(b := self.writer(database, fencing_token=NEW), await self.load(b), "b")
        assert await self.load(self.writer(database, fencing_token=OLD)) is not None

    async def test_the_fence_of_the_session(self, database: SqliteDatabase) -> None:
        """LG-4: A token that the state store has seen counts here, and a token that was seen here counts there."""
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
        """LG-4: The holder's token is accepted as long as nobody has a higher one."""
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
        """LG-7: A batch that is sent twice has one effect."""
        faulty = FaultyDatabase(database)
        writer = self.writer(faulty, **token)
        await self.write(writer, await self.load(writer), "first")
        loaded = await self.load(writer)
        faulty.fail("after", "after")
        await self.write(writer, loaded, "second")
        await self.write(writer, await self.load(writer), "third")
        assert await self.texts(database) == ["first", "second", "third"]
